"""Settings of the agents service."""

from pydantic import Field

from services.agents.store.settings import StoreSettings
from services.agents.tools.maker import ToolSettings
from services.core.gateway import CallingSettings


class AgentsSettings(CallingSettings):
    """Settings of one replica of the agents service."""

    store: StoreSettings = Field(description="Where agents, sessions and turns are kept.")
    tools: ToolSettings = Field(default_factory=ToolSettings, description="The tools that run in the service.")
    session_embedding_model: str = Field(
        default="",
        description="Embedding model for the documents of sessions. Empty: the only one that there is.",
    )
    session_seconds: float = Field(
        default=3600.0,
        ge=1,
        description="Seconds that sessions are kept after their last turn when they are not to be persistent.",
    )
    max_turns: int = Field(default=256, ge=1, description="Most turns that run in this process at once.")
    scan_seconds: float = Field(
        default=2.0,
        gt=0,
        le=60,
        description="Seconds between two looks for turns of processes that died, and for sessions to clear away.",
    )
    inference_seconds: float = Field(default=600.0, gt=0, description="Longest time that one inference may take.")
    inference_attempts: int = Field(
        default=4, ge=1, le=20, description="Most attempts at one inference whose replica dies."
    )
    peer_seconds: float = Field(
        default=60.0, gt=0, description="Longest time that one call of a shield or a memory bank may take."
    )
