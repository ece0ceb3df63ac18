"""The one Redis that data sets and jobs share."""

from services.core.redis.connection import Connection, ConnectionSettings
from services.core.redis.failures import StoreFailures

FAILURES = StoreFailures("the post-training service's store", refused_reason="POST_TRAINING_STORE")
"""What callers hear when it fails."""


def connect(settings: ConnectionSettings) -> Connection:
    """Returns the way to it; connects with the first command.

    Args:
        settings: Where it is, and how long to try.
    """
    return Connection(settings, FAILURES)
