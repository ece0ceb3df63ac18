"""Caravan's services, one package each."""

import os

# Before gRPC is imported. Services start programs while calls run, and gRPC's handlers of a fork then crash the new process before it
# becomes the program. Nothing here forks without becoming another program: nobody needs them.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
