"""Jobs: durable records with a queue, a state, numbered events and artifacts."""
