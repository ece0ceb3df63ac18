"""`python -m services.post_training`: serves one replica of the post-training service."""

import sys

from services.core.server import parse_settings, run
from services.post_training.app import build
from services.post_training.settings import PostTrainingSettings

if __name__ == "__main__":
    sys.exit(run(build, parse_settings(PostTrainingSettings)))
