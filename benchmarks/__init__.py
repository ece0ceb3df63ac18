"""What Caravan costs and how fast it is, beside what else serves a vLLM engine. `make bench` runs all of it; see docs/performance.md."""
