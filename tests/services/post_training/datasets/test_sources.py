"""Where rows may come from, and where not: addresses, files of the service's, Hugging Face."""

import http.server
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pyarrow as pa
import pytest
from pyarrow import parquet

from caravan.datasets.v1 import datasets_pb2
from tests.services.post_training.datasets.server import Served, digest_of, refused, served
from tests.support.valkey import ValkeyServer

INVALID, FAILED = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION
ROWS = [{"n": number, "text": f"row {number}"} for number in range(10)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def source(**fields: Any) -> datasets_pb2.DatasetSource:
    return datasets_pb2.DatasetSource(**fields)


class Site(http.server.BaseHTTPRequestHandler):
    """A third party's server: some files, redirects, and a hub of data sets."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.server.seen.append((self.path, self.headers.get("authorization")))  # type: ignore[attr-defined]
        path = self.path.partition("?")[0]
        files = {
            "README.md": b"---\nconfigs:\n- config_name: small\n  data_files:\n  - split: train\n    path: data/train.jsonl\n---\n# Hi\n",
            "data/train.jsonl": LINES.encode(),
            "code.py": b"raise SystemExit",
        }
        resolve = f"/datasets/owner/rows/resolve/{COMMIT}/"
        if path == "/rows.jsonl":
            self._say(200, LINES.encode())
        elif path == "/to-rows":
            self._say(302, b"", {"Location": "/rows.jsonl"})
        elif path == "/to-metadata":
            self._say(302, b"", {"Location": "http://169.254.169.254/latest/meta-data"})
        elif path == "/loop":
            self._say(302, b"", {"Location": "/loop"})
        elif path == "/broken":
            self._say(500, b"")
        elif path in ("/api/datasets/owner/rows", "/api/datasets/owner/rows/revision/main"):
            siblings = [{"rfilename": name, "size": len(content)} for name, content in files.items()]
            self._say(200, json.dumps({"id": "owner/rows", "sha": COMMIT, "siblings": siblings}).encode())
        elif path.startswith("/api/datasets/owner/secret"):
            self._say(401, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif path.startswith(resolve) and path.removeprefix(resolve) in files:
            etag = {"ETag": '"0123"', "X-Repo-Commit": COMMIT}
            self._say(200, files[path.removeprefix(resolve)], etag)
        else:
            self._say(404, b"{}", {"X-Error-Code": "EntryNotFound"})

    def _say(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def site() -> Iterator[Any]:
    server: Any = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
    server.seen = []
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


async def test_an_address_is_fetched_and_shown(service: Served, site: Any):
    made = await service.create(source=source(uri={"uri": f"{site.url}/to-rows"}))
    assert made.current.sha256 == digest_of(ROWS)
    assert made.url.uri == made.source.uri.uri == f"{site.url}/to-rows"
    assert (await service.create(url={"uri": f"{site.url}/rows.jsonl"})).current.row_count == 10


async def test_a_data_uri_is_read_and_not_kept(service: Served):
    made = await service.create(url={"uri": "data:application/jsonl," + LINES.replace("\n", "%0A")})
    assert made.current.row_count == 10
    assert not made.HasField("url")
    assert made.source.HasField("rows")


async def test_addresses_that_lead_nowhere_are_refused(
    service: Served, site: Any, valkey: ValkeyServer, tmp_path: Path
):
    for path, code in {
        "/none": FAILED,
        "/loop": INVALID,
        "/broken": grpc.StatusCode.UNAVAILABLE,
    }.items():
        assert (await refused(service.create(url={"uri": site.url + path}))).code is code, path
    for uri in ("ftp://x/y", "file:///etc/passwd", "rows.jsonl", "http://user:secret@127.0.0.1/x"):
        error = await refused(service.create(url={"uri": uri}))
        assert (error.code, list(error.fields)) == (INVALID, ["source.uri"]), uri
        assert "secret" not in error.message
    async with served(valkey, tmp_path, allow_private_addresses=False) as strict:
        seen = len(site.seen)
        for uri in (f"{site.url}/rows.jsonl", "http://localhost:1/x", "http://[::1]/x", "http://169.254.169.254/x"):
            error = await refused(strict.create(url={"uri": uri}))
            assert (error.code, list(error.fields)) == (INVALID, ["source.uri"])
        assert len(site.seen) == seen
        assert strict.files() == []


async def test_too_large_a_file_at_an_address_is_refused(site: Any, valkey: ValkeyServer, tmp_path: Path):
    async with served(valkey, tmp_path, max_bytes=100) as small:
        error = await refused(small.create(url={"uri": f"{site.url}/rows.jsonl"}))
        assert (error.code, error.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "DATASET_TOO_LARGE")
        assert small.files() == []


@pytest.fixture
def inside(allowed: Path) -> Path:
    folder = allowed / os.urandom(4).hex()
    folder.mkdir()
    (folder / "rows.jsonl").write_text(LINES)
    return folder


async def test_a_file_in_an_allowed_folder_is_read(service: Served, inside: Path, allowed: Path):
    for path in (str(inside / "rows.jsonl"), f"{inside.name}/rows.jsonl", f"{inside}/../{inside.name}/rows.jsonl"):
        made = await service.create(source=source(file={"path": path}))
        assert made.current.sha256 == digest_of(ROWS)
        assert made.source.file.path == path


async def test_no_path_leads_out_of_the_allowed_folders(service: Served, inside: Path, tmp_path: Path):
    (tmp_path / "secret.jsonl").write_text(LINES)
    (inside / "link.jsonl").symlink_to(tmp_path / "secret.jsonl")
    (inside / "folder").symlink_to(tmp_path)
    for path in (
        "/etc/passwd",
        "/etc/no-such-file",
        str(tmp_path / "secret.jsonl"),
        "../../../../../../etc/passwd",
        f"{inside.name}/link.jsonl",
        f"{inside.name}/folder/secret.jsonl",
        str(inside / "link.jsonl"),
        f"/proc/self/root{inside}/../../../../../etc/passwd",
    ):
        error = await refused(service.create(source=source(file={"path": path})))
        assert (error.code, error.reason) == (INVALID, "OUTSIDE_FOLDERS"), path
        error = await refused(service.create(source=source(huggingface={"path": "/" + path.lstrip("/")})))
        assert error.code in (INVALID, FAILED), path
    error = await refused(service.create(source=source(file={"path": "x\0y"})))
    assert error.code is INVALID


async def test_what_is_no_file_is_refused(service: Served, inside: Path):
    os.mkfifo(inside / "pipe")
    for name in ("none.jsonl", "pipe", "."):
        error = await refused(service.create(source=source(file={"path": str(inside / name)})))
        assert (error.code, error.reason) == (FAILED, "SOURCE_UNREADABLE"), name
    assert not [path for path in service.files() if path.parent == service.storage.spool]


async def test_without_allowed_folders_no_file_is_read(valkey: ValkeyServer, tmp_path: Path):
    async with served(valkey, tmp_path) as closed:
        error = await refused(closed.create(source=source(file={"path": "/etc/passwd"})))
        assert (error.code, error.reason) == (FAILED, "NO_FOLDERS")


async def test_a_folder_laid_out_like_a_hugging_face_data_set_is_read(service: Served, inside: Path):
    (inside / "rows.jsonl").unlink()
    (inside / "data").mkdir()
    parquet.write_table(pa.Table.from_pylist(ROWS), inside / "data" / "train-00000-of-00001.parquet")
    parquet.write_table(pa.Table.from_pylist(ROWS[:3]), inside / "data" / "test-00000-of-00001.parquet")
    (inside / "evil.py").write_text("raise SystemExit")
    whole = await service.create(source=source(huggingface={"path": str(inside)}))
    assert whole.current.sha256 == digest_of(ROWS)
    part = await service.create(source=source(huggingface={"path": str(inside), "split": "train[2:5]"}))
    assert await service.rows(part.dataset_id) == ROWS[2:5]
    test = await service.create(source=source(huggingface={"path": str(inside), "split": "test"}))
    assert await service.rows(test.dataset_id) == ROWS[:3]
    error = await refused(service.create(source=source(huggingface={"path": str(inside), "split": "valid"})))
    assert (error.code, error.reason, list(error.fields)) == (
        INVALID,
        "DATASET_UNREADABLE",
        ["source.huggingface.path"],
    )
    assert not [path for path in service.files() if path.parent == service.storage.spool]


@pytest.mark.parametrize(
    "pattern",
    ["/etc/passwd", "../**", "http://127.0.0.1:1/x.jsonl", "hf://datasets/x/y/z.jsonl", "zip://x::/etc/y.zip", "~/x"],
)
async def test_a_description_that_names_other_files_is_refused(service: Served, inside: Path, pattern: str):
    (inside / "README.md").write_text(
        f"---\nconfigs:\n- config_name: default\n  data_files: {json.dumps(pattern)}\n---\n"
    )
    error = await refused(service.create(source=source(huggingface={"path": str(inside)})))
    assert (error.code, error.reason) == (INVALID, "DATASET_UNREADABLE")
    assert "leads out of its folder" in error.message


async def test_a_data_set_of_the_hub_is_read_and_its_commit_recorded(
    site: Any, valkey: ValkeyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # Services that load models from folders set it, and other tests run them in this process.
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    settings = {"huggingface_endpoint": site.url, "huggingface_token": "hf_hidden"}
    async with served(valkey, tmp_path, **settings) as hub:
        wanted = {"path": "owner/rows", "name": "small", "split": "train[:4]"}
        made = await hub.create(source=source(huggingface=wanted))
        assert await hub.rows(made.dataset_id) == ROWS[:4]
        assert made.source.huggingface.revision == COMMIT
        paths = [path for path, _ in site.seen]
        assert not any("code.py" in path for path in paths)
        assert ("/api/datasets/owner/rows?blobs=True", "Bearer hf_hidden") in site.seen or any(
            token == "Bearer hf_hidden" for _, token in site.seen
        )
        error = await refused(hub.create(source=source(huggingface={"path": "owner/secret"})))
        assert (error.code, error.reason) == (FAILED, "SOURCE_UNREADABLE")
        assert "datasets.huggingface_token" in error.message
        assert "hf_hidden" not in error.message
        assert len(hub.files()) == 2


async def test_a_hub_that_cannot_be_reached_is_told_with_what_to_do(valkey: ValkeyServer, tmp_path: Path):
    async with served(valkey, tmp_path, huggingface_endpoint="http://127.0.0.1:9") as alone:
        error = await refused(alone.create(source=source(huggingface={"path": "owner/rows"})))
        assert (error.code, error.reason) == (FAILED, "SOURCE_UNREACHABLE")
        assert "give a folder laid out like the data set" in error.message
        for path in ("a/b/c", "../x", "hf://x", "a b"):
            error = await refused(alone.create(source=source(huggingface={"path": path})))
            assert (error.code, list(error.fields)) == (INVALID, ["source.huggingface.path"])
        assert alone.files() == []
