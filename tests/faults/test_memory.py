"""A memory service that is killed while documents come."""

import signal
import time
from pathlib import Path

import grpc
import pytest

import caravan
from caravan.errors import RpcError
from caravan.memory.v1 import memory_pb2
from caravan.messages import text_of
from caravan.providers.v1 import providers_pb2, providers_pb2_grpc
from tests.support.processes import ServiceProcess, serving

pytestmark = pytest.mark.faults
WORDS = 2000


def load(address: str) -> None:
    """Registers a keyword bank as the gateway would."""
    resource = providers_pb2.Resource()
    resource.memory_bank.memory_bank_id = "bank"
    resource.memory_bank.params.keyword.chunk_size_in_tokens = 50
    resource.memory_bank.entry.revision = 1
    with grpc.insecure_channel(address) as channel:
        providers_pb2_grpc.ProviderServiceStub(channel).LoadResource(
            providers_pb2.LoadResourceRequest(resource=resource)
        )


def document(number: int) -> memory_pb2.Document:
    words = " ".join(f"d{number}w{place}" for place in range(WORDS))
    return memory_pb2.Document(document_id=f"d{number:05}", content={"items": [{"text": words}]})


def until_killed(client: caravan.Client, process: ServiceProcess) -> set[str]:
    """Inserts documents and kills the service when some are acknowledged; returns those that are."""
    acknowledged: set[str] = set()
    try:
        for event in client.memory.bulk_insert("bank", (document(number) for number in range(100_000))):
            if event.HasField("document"):
                acknowledged.add(event.document.document_id)
            if len(acknowledged) == 60:
                process.send(signal.SIGKILL)
    except RpcError:
        return acknowledged
    message = "the call outlived the service"
    raise AssertionError(message)


def test_after_a_kill_every_acknowledged_document_is_there_and_none_is_there_in_half(tmp_path: Path) -> None:
    arguments = ["--provider.type", "inline::embedded", "--provider.folder", str(tmp_path / "banks")]
    with serving("services.memory", *arguments) as (process, address):
        load(address)
        with caravan.Client(address) as client:
            acknowledged = until_killed(client, process)
    assert len(acknowledged) >= 60
    with serving("services.memory", *arguments) as (_, address):
        load(address)
        with caravan.Client(address) as client:
            stored = {one.document_id: one for one in client.memory.list("bank")}
            assert acknowledged <= set(stored)
            for document_id, one in stored.items():
                number = int(document_id[1:])
                found = client.memory.query("bank", f"d{number}w0 d{number}w{WORDS - 1}", max_chunks=10)
                assert {chunk.document_id for chunk in found.chunks} == {document_id}
                assert max(chunk.location.chunk_index for chunk in found.chunks) == one.chunk_count - 1
            (whole,) = client.memory.get("bank", max(stored))
            assert text_of(whole.content).endswith(f"w{WORDS - 1}")
            statistics = client.memory.statistics("bank")
            assert statistics.chunk_count == sum(one.chunk_count for one in stored.values())


def test_a_stopped_service_finishes_the_call_that_runs(tmp_path: Path) -> None:
    arguments = ["--provider.type", "inline::embedded", "--provider.folder", str(tmp_path / "banks")]
    with serving("services.memory", *arguments) as (process, address), caravan.Client(address) as client:
        load(address)
        call = client.memory.bulk_insert("bank", (document(number) for number in range(30)))
        next(call)
        process.send(signal.SIGTERM)
        events = list(call)
        assert events[-1].complete.documents_done == 30
        started = time.monotonic()
        assert process.wait(30) == 0
        assert time.monotonic() - started < 20
