"""What shields catch and what they miss: sets of texts made from a seed, and the figures. `python -m benchmarks.shields --help`."""
