"""All benchmarks. `python -m benchmarks.gateway --help`, and the same for `inference` and `safety`, show what each can do alone."""

import argparse

from benchmarks import agents, gateway, inference, memory, post_training, safety
from benchmarks.command import add_options


def main() -> None:
    """Runs them one after the other."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measures Caravan beside its peers.")
    add_options(parser, "the pages of docs/", "times that everything is measured (default: 3)")
    chosen = parser.parse_args()
    arguments = [f"--{name}" for name in ("quick", "write") if getattr(chosen, name)]
    if chosen.rounds:
        arguments += ["--rounds", str(chosen.rounds)]
    gateway.main(arguments)
    inference.main(arguments)
    safety.main(arguments)
    memory.main(arguments)
    agents.main(arguments)
    post_training.main(arguments)


if __name__ == "__main__":
    main()
