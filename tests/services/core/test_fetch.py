"""Fetching what callers name, and nothing that they must not reach."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from services.core.errors import CaravanError, DeadlineExceededError, InvalidArgumentError, UnavailableError
from services.core.fetch import FetchLimits, fetch

FIELD = "url.uri"
HERE = FetchLimits(allow_private=True, timeout=2.0)
Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[Answer], Awaitable[str]]]:
    """Starts HTTP servers on loopback that answer as they are told."""
    servers: list[asyncio.Server] = []

    async def start(answer: Answer) -> str:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await reader.readuntil(b"\r\n\r\n")
                await answer(reader, writer)
            finally:
                writer.close()

        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        servers.append(server)
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    yield start
    for server in servers:
        server.close()


def says(text: str) -> Answer:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(text.replace("\n", "\r\n").encode())
        await writer.drain()

    return answer


async def failure_of(uri: str, limits: FetchLimits = HERE) -> CaravanError:
    with pytest.raises(CaravanError) as caught:
        await fetch(uri, limits, FIELD)
    return caught.value


async def test_content_comes_with_its_type(serve) -> None:
    url = await serve(says("HTTP/1.1 200 OK\nContent-Type: text/plain; charset=utf-8\nContent-Length: 5\n\nhello"))
    fetched = await fetch(url, HERE, FIELD)
    assert (fetched.content, fetched.mime_type) == (b"hello", "text/plain")


async def test_a_data_uri_is_decoded() -> None:
    assert (await fetch("data:text/plain;base64,aGVsbG8=", FetchLimits(), FIELD)).content == b"hello"
    assert (await fetch("data:,a%20b", FetchLimits(), FIELD)).content == b"a b"


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1/",
        "http://[::1]/",
        "http://10.0.0.1/",
        "http://169.254.169.254/latest/meta-data",
        "http://localhost/",
        "http://0.0.0.0/",
        "http://[::ffff:127.0.0.1]/",
        "http://2130706433/",
    ],
)
async def test_private_addresses_are_refused_in_every_spelling(uri: str) -> None:
    assert isinstance(await failure_of(uri, FetchLimits()), InvalidArgumentError)


@pytest.mark.parametrize(
    "uri", ["file:///etc/passwd", "gopher://x/", "relative", "http://", "data:nothing", "data:;base64,%%%"]
)
async def test_other_schemes_and_malformed_uris_are_refused(uri: str) -> None:
    assert isinstance(await failure_of(uri), InvalidArgumentError)


async def test_a_server_that_hangs_is_given_up_in_time(serve) -> None:
    async def hang(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        await asyncio.sleep(30)

    url = await serve(hang)
    started = asyncio.get_running_loop().time()
    assert isinstance(await failure_of(url, FetchLimits(timeout=0.2, allow_private=True)), DeadlineExceededError)
    assert asyncio.get_running_loop().time() - started < 2


async def test_content_that_never_ends_is_cut_off(serve) -> None:
    async def endless(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"x" * 65536)
            await writer.drain()

    url = await serve(endless)
    error = await failure_of(url, FetchLimits(max_bytes=100_000, allow_private=True))
    assert "larger than 100000 bytes" in error.message


async def test_a_redirect_to_a_private_address_is_refused(serve, monkeypatch: pytest.MonkeyPatch) -> None:
    url = await serve(says("HTTP/1.1 302 Found\nLocation: http://10.0.0.1/secret\nContent-Length: 0\n\n"))
    from services.core import fetch as module

    checked = module.checked_address

    async def first_is_public(host: str, port: int, limits: FetchLimits, field: str) -> str:
        return host if host == "127.0.0.1" else await checked(host, port, limits, field)

    monkeypatch.setattr(module, "checked_address", first_is_public)
    assert isinstance(await failure_of(url, FetchLimits()), InvalidArgumentError)


async def test_redirects_without_end_are_given_up(serve) -> None:
    url = await serve(says("HTTP/1.1 302 Found\nLocation: /again\nContent-Length: 0\n\n"))
    assert "redirects" in (await failure_of(url)).message


@pytest.mark.parametrize(("status", "kind"), [(404, InvalidArgumentError), (503, UnavailableError)])
async def test_a_refusal_is_the_callers_fault_and_a_failure_the_servers(
    serve, status: int, kind: type[CaravanError]
) -> None:
    url = await serve(says(f"HTTP/1.1 {status} No\nContent-Length: 0\n\n"))
    assert isinstance(await failure_of(url), kind)


async def test_a_port_where_nobody_listens_is_unavailable() -> None:
    assert isinstance(await failure_of("http://127.0.0.1:1/"), UnavailableError)
