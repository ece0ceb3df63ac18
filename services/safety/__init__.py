"""The safety service: shields that judge content."""
