"""A whole stack on one machine, as `caravan up` runs it: store, inference, embeddings, gateway."""
