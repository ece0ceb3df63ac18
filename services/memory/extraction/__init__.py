"""Text out of documents: one form a file, each run in a process of its own that may be killed."""
