"""Where banks are kept: one adapter a package."""
