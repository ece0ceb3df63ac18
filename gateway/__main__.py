"""`python -m gateway`: serves the gateway with its worker processes."""

import sys

from gateway.settings import GatewaySettings
from gateway.supervisor import run
from services.core.settings import parse_settings

if __name__ == "__main__":
    sys.exit(run(parse_settings(GatewaySettings)))
