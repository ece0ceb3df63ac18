"""`python -m services.agents`: serves one replica of the agents service."""

import os
import sys

# Before gRPC is imported. MCP servers and sandboxes are programs that are started while calls run, and gRPC's handlers of a fork then crash
# the new process before it becomes the program. Nothing here forks without becoming another program: nobody needs them.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

from services.agents.app import build
from services.agents.settings import AgentsSettings
from services.core.server import parse_settings, run

if __name__ == "__main__":
    sys.exit(run(build, parse_settings(AgentsSettings)))
