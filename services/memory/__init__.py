"""The memory service: banks of documents, chunks, values and entities."""
