"""`python -m services.safety`: serves one replica of one safety provider."""

import sys

from services.core.server import parse_settings, run
from services.safety.app import build
from services.safety.settings import SafetySettings

if __name__ == "__main__":
    sys.exit(run(build, parse_settings(SafetySettings)))
