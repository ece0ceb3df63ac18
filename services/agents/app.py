"""Composition root of the agents service."""

import uuid
from datetime import timedelta

from caravan.agents.v1 import agents_pb2_grpc, tool_runtime_pb2_grpc
from services.agents.agents import Agents
from services.agents.calling_once import CallingOnce
from services.agents.desk import Desk
from services.agents.inferring import Inferring, RetryPolicy
from services.agents.peers_over_grpc import GrpcInference, GrpcMemory, GrpcShields
from services.agents.provider import AGENTS, TOOL_RUNTIME, AgentsProvider
from services.agents.retrieving import Retrieving
from services.agents.runner import RunnerLimits, TurnRunner
from services.agents.servicer import AgentsServicer
from services.agents.sessions import Sessions
from services.agents.settings import AgentsSettings
from services.agents.store.redis_store import RedisStore
from services.agents.telemetry import TurnMetrics
from services.agents.tool_runtime import ToolRuntime
from services.agents.tool_runtime_servicer import ToolRuntimeServicer
from services.agents.tools.code_interpreter.bubblewrap import BubblewrapSandbox
from services.agents.tools.code_interpreter.first_that_works import FirstThatWorks
from services.agents.tools.code_interpreter.sandbox import Sandbox
from services.agents.tools.code_interpreter.webassembly import WebAssemblySandbox
from services.agents.tools.groups import ToolGroups
from services.agents.tools.maker import SettingsToolMaker, ToolSettings
from services.agents.tools.mcp import McpGroups
from services.agents.tools.mcp_registry import GrpcToolGroups
from services.agents.turns import Turns
from services.core.gateway import Gateway
from services.core.server import Binding, ServiceServer


def new_id() -> str:
    """Makes an identifier: 32 hexadecimal digits."""
    return uuid.uuid4().hex


def build(settings: AgentsSettings) -> ServiceServer:
    """Builds the server of one replica.

    Args:
        settings: How it is served.
    """
    gateway = Gateway(settings.gateway)
    sandbox = _sandbox(settings.tools)
    maker = SettingsToolMaker(settings.tools, sandbox)
    tools = settings.tools
    registry = GrpcToolGroups(gateway, settings.provider_id, settings.peer_seconds)
    mcp = McpGroups(tools.mcp_servers, tools.mcp_headers, tools.fetch_limits, registry.find)
    groups = ToolGroups(maker, mcp)
    desk = _desk(settings, gateway, maker, groups)
    runner = TurnRunner(desk, RunnerLimits(settings.max_turns, settings.scan_seconds))
    agents = Agents(runner.store, new_id)
    sessions = Sessions(
        agents,
        runner.store,
        runner.store,
        new_id,
        short_life=timedelta(seconds=settings.session_seconds),
        max_bytes=settings.max_send_bytes,
    )
    servicer = AgentsServicer(agents, sessions, Turns(agents, sessions, runner, new_id))
    runtime = ToolRuntime(groups, mcp, settings.provider_id, CallingOnce(runner.store), desk.metrics)
    bindings = [
        Binding(AGENTS, agents_pb2_grpc.add_AgentsServiceServicer_to_server, servicer),
        Binding(
            TOOL_RUNTIME, tool_runtime_pb2_grpc.add_ToolRuntimeServiceServicer_to_server, ToolRuntimeServicer(runtime)
        ),
    ]
    provider = AgentsProvider(settings.provider_id, settings.store, runner, gateway, maker, sandbox, groups, mcp)
    return ServiceServer(settings, bindings, provider)


def _sandbox(settings: ToolSettings) -> FirstThatWorks:
    kinds: dict[str, Sandbox] = {
        "bubblewrap": BubblewrapSandbox(),
        "webassembly": WebAssemblySandbox(settings.code_cache),
    }
    wanted = kinds if settings.code_sandbox == "auto" else [settings.code_sandbox]
    return FirstThatWorks([kinds[name] for name in wanted])


def _desk(settings: AgentsSettings, gateway: Gateway, maker: SettingsToolMaker, groups: ToolGroups) -> Desk:
    inference = GrpcInference(gateway, settings.inference_seconds)
    shields = GrpcShields(gateway, settings.peer_seconds)
    memory = GrpcMemory(gateway, settings.peer_seconds, settings.session_embedding_model)
    limits = settings.tools.fetch_limits
    return Desk(
        store=RedisStore(settings.store),
        inferring=Inferring(inference, shields, RetryPolicy(settings.inference_attempts)),
        shields=shields,
        retrieving=Retrieving(inference, memory, limits),
        memory=memory,
        maker=maker,
        groups=groups.find,
        limits=limits,
        new_id=new_id,
        metrics=TurnMetrics(),
    )
