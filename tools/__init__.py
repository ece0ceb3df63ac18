"""What builds and checks the tree: stubs, API reference, set-up."""
