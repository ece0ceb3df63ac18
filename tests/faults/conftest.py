"""Tests that break things start their own, so that nobody else is hurt."""
