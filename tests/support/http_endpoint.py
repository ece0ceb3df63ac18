"""An HTTP server on loopback that records what it gets and answers what it was told: a third party at the network's edge."""

import json
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Seen:
    """A request."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def query(self) -> dict[str, str]:
        """The query parameters."""
        return {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Says:
    """An answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Endpoint:
    """The server, as a test sees it. Answers are given once each in their order; the last one again and again."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.seen: list[Seen] = []
        self.answers: deque[Says] = deque()
        self.seconds = 0.0

    def says(self, body: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        """Adds an answer: a text, bytes, or JSON."""
        is_text = isinstance(body, str | bytes)
        content = body if isinstance(body, bytes) else (body if is_text else json.dumps(body)).encode()
        self.answers.append(Says(status, {"Content-Type": "application/json", **(headers or {})}, content))

    def takes(self, seconds: float) -> None:
        """Makes it slow."""
        self.seconds = seconds

    def answer(self, seen: Seen) -> Says:
        """Records a request and picks its answer."""
        self.seen.append(seen)
        time.sleep(self.seconds)
        if not self.answers:
            return Says(200, {"Content-Type": "application/json"}, b"{}")
        return self.answers.popleft() if len(self.answers) > 1 else self.answers[0]


class _Handler(BaseHTTPRequestHandler):
    def _answer(self) -> None:
        server: Any = self.server
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        says = server.endpoint.answer(Seen(self.command, self.path, headers, body))
        self.send_response(says.status)
        for name, value in says.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(says.body)))
        self.end_headers()
        self.wfile.write(says.body)

    do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815 - the names are http.server's

    def log_message(self, *_: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    endpoint: Endpoint

    def handle_error(self, *_: Any) -> None:
        """A client that goes away is no error here."""


@contextmanager
def http_endpoint() -> Iterator[Endpoint]:
    """Runs one."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.endpoint = Endpoint(f"http://127.0.0.1:{server.server_address[1]}")
    thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server.endpoint
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
