"""`python -m services.post_training.serving.convert ADAPTER BASE OUT MAX_RANK`: a plain LoRA adapter of a DoRA adapter.

Exit code 0: written. 2: it cannot be converted; one line on stderr says why.
"""

import argparse
import sys
from pathlib import Path

from services.post_training.serving.dora import ConversionError, plain_adapter


def main() -> int:
    """Converts as the arguments say; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m services.post_training.serving.convert")
    parser.add_argument("adapter", type=Path, help="folder of the DoRA adapter")
    parser.add_argument("base", type=Path, help="folder of the base model")
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("max_rank", type=int, help="highest rank of the plain adapter")
    arguments = parser.parse_args()
    try:
        plain_adapter(arguments.adapter, arguments.base, arguments.out, arguments.max_rank)
    except ConversionError as error:
        print(error, file=sys.stderr)  # noqa: T201 - read by whoever started the process
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
