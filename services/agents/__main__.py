"""`python -m services.agents`: serves one replica of the agents service."""

import sys

from services.agents.app import build
from services.agents.settings import AgentsSettings
from services.core.server import parse_settings, run

if __name__ == "__main__":
    sys.exit(run(build, parse_settings(AgentsSettings)))
