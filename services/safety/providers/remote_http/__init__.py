"""`remote::http`: a third party's moderation endpoint."""
