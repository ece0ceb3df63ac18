"""What a collector sees of the memory service."""

import asyncio
import re
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

import caravan
from caravan.providers.v1 import providers_pb2, providers_pb2_grpc
from tests.services.memory.loopback import Models, served
from tests.support.processes import serving


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def bank(bank_id: str, **params: object) -> providers_pb2.LoadResourceRequest:
    resource = providers_pb2.Resource()
    resource.memory_bank.memory_bank_id = bank_id
    resource.memory_bank.entry.revision = 1
    for kind, values in params.items():
        getattr(resource.memory_bank.params, kind).SetInParent()
        for name, value in values.items():  # type: ignore[attr-defined]
            setattr(getattr(resource.memory_bank.params, kind), name, value)
    return providers_pb2.LoadResourceRequest(resource=resource)


def samples(port: int) -> Iterator[tuple[str, str, float]]:
    """Name, labels and value of everything that is measured."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as page:
        for line in page.read().decode().splitlines():
            if found := re.fullmatch(r"(caravan_memory_\w+)\{(.*)\} (\S+)", line):
                yield found[1], found[2], float(found[3])


def value(port: int, name: str, label: str) -> float:
    return sum(number for each, labels, number in samples(port) if each == name and label in labels)


async def test_chunks_searches_cached_vectors_and_banks_are_counted(tmp_path: Path, port: int) -> None:
    arguments = ["--provider.type", "inline::embedded", "--provider.folder", str(tmp_path / "banks")]
    async with served(Models()) as gateway:
        arguments += ["--gateway.address", gateway, "--prometheus-port", str(port)]

        def use() -> None:
            with serving("services.memory", *arguments) as (_, address), caravan.Client(address) as client:
                providers = providers_pb2_grpc.ProviderServiceStub(client.channel)
                providers.LoadResource(bank("words", keyword={"language": "en"}))
                providers.LoadResource(bank("vectors", vector={"embedding_model": "vectors"}))
                for bank_id in ("words", "vectors"):
                    client.memory.insert(bank_id, {"document_id": "d", "content": "one tide mill"})
                    client.memory.query(bank_id, "mill")
                client.memory.query("vectors", "mill")
                assert value(port, "caravan_memory_chunks_inserted_total", 'kind="keyword"') == 1
                assert value(port, "caravan_memory_chunks_inserted_total", 'kind="vector"') == 1
                assert value(port, "caravan_memory_query_duration_seconds_count", 'mode="keyword"') == 1
                assert value(port, "caravan_memory_query_duration_seconds_count", 'mode="vector"') == 2
                assert value(port, "caravan_memory_embedding_texts_total", 'cached="false"') == 2
                assert value(port, "caravan_memory_embedding_texts_total", 'cached="true"') == 1
                assert value(port, "caravan_memory_banks", 'kind="vector"') == 1

        await asyncio.to_thread(use)
