"""`python -m services.memory`: serves one replica of one memory provider."""

import sys

from services.core.server import parse_settings, run
from services.memory.app import build
from services.memory.settings import MemorySettings

if __name__ == "__main__":
    sys.exit(run(build, parse_settings(MemorySettings)))
