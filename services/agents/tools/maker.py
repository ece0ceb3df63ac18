"""Makes the tools of an agent's configuration."""

import asyncio
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from caravan.agents.v1 import tools_pb2
from caravan.types.v1 import types_pb2
from services.agents.tools.code_interpreter.interpreter import CodeInterpreter
from services.agents.tools.code_interpreter.sandbox import Sandbox, SandboxLimits
from services.agents.tools.keys import api_key
from services.agents.tools.mcp import StdioServerSettings
from services.agents.tools.photogen import Photogen
from services.agents.tools.remote import RemoteTool
from services.agents.tools.search import DEFAULT_TOP_K, BingSearch, BraveSearch
from services.agents.tools.tool import DEFAULT_TIMEOUT, Outcome, Tool, ToolError
from services.agents.tools.web_api import WebApi
from services.agents.tools.wolfram_alpha import WolframAlpha
from services.core.fetch import FetchLimits

_BUILT_IN = {
    "brave_search": BraveSearch.definition,
    "wolfram_alpha": WolframAlpha.definition,
    "photogen": Photogen.definition,
    "code_interpreter": CodeInterpreter.definition,
}


class ToolSettings(BaseModel):
    """The tools that run in the service."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    brave_url: str = Field(
        default="https://api.search.brave.com/res/v1/web/search", description="Address of Brave's web search."
    )
    bing_url: str = Field(
        default="https://api.bing.microsoft.com/v7.0/search", description="Address of Bing's web search."
    )
    wolfram_alpha_url: str = Field(
        default="https://api.wolframalpha.com/v2/query", description="Address of Wolfram Alpha's full results API."
    )
    photogen_url: str = Field(
        default="https://api.openai.com/v1", description="Endpoint that speaks OpenAI's images API, up to and with /v1."
    )
    photogen_model: str = Field(default="", description="Model of the images endpoint. Empty: its default.")
    brave_search_api_key: SecretStr | None = Field(default=None, description="Key of Brave Search.")
    bing_search_api_key: SecretStr | None = Field(default=None, description="Key of Bing.")
    wolfram_alpha_api_key: SecretStr | None = Field(default=None, description="App id of Wolfram Alpha.")
    photogen_api_key: SecretStr | None = Field(default=None, description="Key of the images endpoint.")
    timeout_seconds: float = Field(
        default=DEFAULT_TIMEOUT, gt=0, le=3600, description="Longest time that a call of a tool may take."
    )
    max_result_bytes: int = Field(default=8 << 20, ge=1024, description="Largest answer of a remote tool.")
    allow_private_addresses: bool = Field(
        default=False, description="Let remote tools and documents be at loopback, link-local and private addresses."
    )
    code_sandbox: Literal["auto", "bubblewrap", "webassembly"] = Field(
        default="auto",
        description="Where code runs. auto: in namespaces of Linux where that works, else in WebAssembly.",
    )
    code_cache: Path | None = Field(
        default=None,
        description="Folder for the WebAssembly interpreter as it is compiled on this machine. Default: in the user's cache folder.",
    )
    code_seconds: float = Field(default=30.0, gt=0, le=600, description="Longest time that code may run.")
    code_memory_bytes: int = Field(default=512 << 20, ge=64 << 20, description="Most memory that code may use.")
    code_slots: int = Field(default=4, ge=1, le=256, description="Most executions of code at once.")
    mcp_servers: tuple[StdioServerSettings, ...] = Field(
        default=(), description="MCP servers that are programs on this machine, each with the tool group that it is."
    )
    mcp_headers: dict[str, dict[str, SecretStr]] = Field(
        default_factory=dict, description="Headers for MCP servers by endpoint, for instance Authorization."
    )

    @model_validator(mode="after")
    def _one_server_a_group(self) -> Self:
        names = [server.toolgroup_id for server in self.mcp_servers]
        if len(set(names)) < len(names) or any(name.startswith("builtin::") for name in names):
            message = "mcp_servers: every server needs a toolgroup_id of its own, and builtin:: is the service's"
            raise ValueError(message)
        return self

    @property
    def fetch_limits(self) -> FetchLimits:
        """How far calls to addresses of the callers' may go."""
        return FetchLimits(self.timeout_seconds, self.max_result_bytes, self.allow_private_addresses)


class SettingsToolMaker:
    """Makes tools as the service's settings say."""

    def __init__(self, settings: ToolSettings, sandbox: Sandbox) -> None:
        """Connects to nothing yet.

        Args:
            settings: The settings.
            sandbox: Where code runs.
        """
        self._settings, self._sandbox = settings, sandbox
        self._slots = asyncio.Semaphore(settings.code_slots)
        self._limits = SandboxLimits(settings.code_seconds, memory_bytes=settings.code_memory_bytes)
        self._apis = {name: WebApi(name) for name in ("Brave Search", "Bing", "Wolfram Alpha")}
        self._images = WebApi("The image endpoint", timeout=settings.timeout_seconds, max_bytes=32 << 20)

    async def close(self) -> None:
        """Ends the connections."""
        for api in (*self._apis.values(), self._images):
            await api.close()

    def definition(self, tool: tools_pb2.AgentTool) -> types_pb2.ToolDefinition:
        """What the model sees of a tool."""
        kind = tool.WhichOneof("tool")
        if kind == "function_call":
            function = tool.function_call
            return types_pb2.ToolDefinition(
                tool_name=function.function_name, description=function.description, parameters=function.parameters
            )
        return _BUILT_IN[str(kind)]

    def make(self, tool: tools_pb2.AgentTool, files: dict[str, bytes]) -> Tool | None:
        """Makes a tool; None: the client runs it."""
        made = self._made(tool, files)
        if made is not None:
            made.idempotent = made.idempotent or tool.idempotent
            if tool.HasField("timeout"):
                made.timeout = tool.timeout.ToNanoseconds() / 1e9
        return made

    def _made(self, tool: tools_pb2.AgentTool, files: dict[str, bytes]) -> Tool | None:
        if tool.HasField("remote_execution"):
            limits = self._settings.fetch_limits
            if tool.HasField("timeout"):
                limits = FetchLimits(tool.timeout.ToNanoseconds() / 1e9, limits.max_bytes, limits.allow_private)
            return RemoteTool(self.definition(tool), tool.remote_execution, limits)
        try:
            return self._built_in(tool, files)
        except ToolError as error:
            # Offered all the same: the model, and whoever reads the turn, learns why it does not work.
            return _Unusable(self.definition(tool), error)

    def _built_in(self, tool: tools_pb2.AgentTool, files: dict[str, bytes]) -> Tool | None:
        settings = self._settings
        match tool.WhichOneof("tool"):
            case "brave_search":
                return self._search(tool.brave_search)
            case "wolfram_alpha":
                key = api_key("wolfram_alpha", tool.wolfram_alpha.api_key, settings.wolfram_alpha_api_key)
                return WolframAlpha(self._apis["Wolfram Alpha"], settings.wolfram_alpha_url, key)
            case "photogen":
                key = api_key("photogen", tool.photogen.api_key, settings.photogen_api_key)
                model = tool.photogen.model or settings.photogen_model
                return Photogen(self._images, settings.photogen_url, key, model, settings.fetch_limits)
            case "code_interpreter":
                own = tool.code_interpreter
                if own.HasField("enable_inline_code_execution") and not own.enable_inline_code_execution:
                    return None
                return CodeInterpreter(self._sandbox, self._limits, self._slots, files)
            case _:
                return None

    def _search(self, tool: tools_pb2.SearchToolDefinition) -> Tool:
        settings, top_k = self._settings, tool.top_k if tool.HasField("top_k") else DEFAULT_TOP_K
        if tool.engine == tools_pb2.SEARCH_ENGINE_BING:
            key = api_key("bing_search", tool.api_key, settings.bing_search_api_key)
            return BingSearch(self._apis["Bing"], settings.bing_url, key, top_k)
        key = api_key("brave_search", tool.api_key, settings.brave_search_api_key)
        return BraveSearch(self._apis["Brave Search"], settings.brave_url, key, top_k)


class _Unusable(Tool):
    """A tool that lacks something."""

    idempotent = True

    def __init__(self, definition: types_pb2.ToolDefinition, why: ToolError) -> None:
        self.definition, self._why = definition, why

    async def run(self, arguments: object) -> Outcome:
        raise ToolError(self._why.message)
