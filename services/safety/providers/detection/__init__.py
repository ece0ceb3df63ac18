"""What shields share that detect things of known forms."""
