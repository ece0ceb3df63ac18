"""`python -m services.inference`: serves one replica of one inference provider."""

import sys

from services.core.server import parse_settings, run
from services.inference.app import build
from services.inference.settings import InferenceSettings

if __name__ == "__main__":
    sys.exit(run(build, parse_settings(InferenceSettings)))
