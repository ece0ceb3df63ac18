"""An MCP server made with the official SDK: `python mcp_program.py` on stdio, `python mcp_program.py PORT` over HTTP."""

import asyncio
import itertools
import os
import sys

from mcp.server.mcpserver import Image, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations

PNG = b"\x89PNG\r\n\x1a\n" + bytes(16)

server = MCPServer("program", log_level="CRITICAL")


@server.tool(annotations=ToolAnnotations(idempotent_hint=True))
def add(a: int, b: int = 1) -> int:
    """Adds two numbers."""
    return a + b


calls = itertools.count(1)


@server.tool()
async def count(seconds: float = 0.0) -> str:
    """Tells how often it was called so far."""
    await asyncio.sleep(seconds)
    return str(next(calls))


@server.tool()
def picture() -> Image:
    """Makes a picture."""
    return Image(data=PNG, format="png")


@server.tool()
def fail(why: str) -> str:
    """Fails."""
    raise ToolError(why)


@server.tool()
def die() -> str:
    """Ends the process."""
    os._exit(1)


@server.tool(annotations=ToolAnnotations(idempotent_hint=True))
async def wait(seconds: float) -> str:
    """Waits."""
    await asyncio.sleep(seconds)
    return "waited"


@server.tool()
def much(characters: int) -> str:
    """Says much."""
    return "x" * characters


@server.tool()
def process(note: str = "") -> str:
    """Tells which process this is."""
    return f"{os.getpid()} {os.environ.get('NOTE', '')}{note}"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        server.run("streamable-http", port=int(sys.argv[1]))
    else:
        server.run()
