"""What turns run with."""

from collections.abc import Callable
from dataclasses import dataclass

from services.agents.inferring import Inferring
from services.agents.peers import Memory, Shields
from services.agents.ports import Store
from services.agents.retrieving import Retrieving
from services.agents.telemetry import TurnMetrics
from services.agents.toolbox import Groups, ToolMaker
from services.core.fetch import FetchLimits


@dataclass(frozen=True, slots=True)
class Desk:
    """What a turn runs with, beside its own record."""

    store: Store
    """The state."""
    inferring: Inferring
    """The models."""
    shields: Shields
    """The shields."""
    retrieving: Retrieving
    """Retrieval."""
    memory: Memory
    """The banks."""
    maker: ToolMaker
    """Makes tools."""
    groups: Groups
    """Finds the tools of tool groups."""
    limits: FetchLimits
    """For documents that come as addresses."""
    new_id: Callable[[], str]
    """Makes identifiers of steps and calls."""
    metrics: TurnMetrics
    """Counts and times what turns do."""
