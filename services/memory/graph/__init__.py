"""Graph banks: what documents tell of, and retrieval through it."""
