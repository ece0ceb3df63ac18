"""The registry: what can be requested, and the records of what was registered at run time."""
