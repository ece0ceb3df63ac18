"""How long it takes from a finished adapter to a model that has answered: `python -m benchmarks.adapter_in_service`.

What a job does after its last step, on a running gateway and engine: the adapter is published, registered, loaded by the engine and asked
one question. Beside it what the engine alone takes to load the same adapter.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path

import grpc

from caravan.options.v1 import options_pb2
from caravan.post_training.v1 import checkpoints_pb2, jobs_pb2
from caravan.providers.v1 import providers_pb2, providers_pb2_grpc
from services.core.gateway import Gateway, GatewaySettings
from services.post_training.serving.adapter_files import AdapterFiles
from services.post_training.serving.conversion import ChildConverter
from services.post_training.serving.models_over_grpc import GrpcChat, GrpcModels
from services.post_training.serving.registrar import ModelRegistrar
from services.post_training.serving.settings import ServingSettings
from services.post_training.storage import Storage
from tests.support.lora import make_adapter
from tests.support.models_stack import CHAT, ModelsStack, models_stack
from tests.support.processes import CHAT_MODEL


async def seconds_in_service(stack: ModelsStack, folder: Path, rounds: int) -> list[float]:
    """Returns the seconds from an adapter on disk to its proven answer through the gateway, one each round.

    Args:
        stack: A running gateway and engine.
        folder: Where adapters are made.
        rounds: Number of adapters.
    """
    gateway = Gateway(GatewaySettings(address=stack.target))
    models = GrpcModels(gateway)
    files = AdapterFiles(Storage(folder / "storage"), ChildConverter(60))
    registrar = ModelRegistrar(models, GrpcChat(gateway), files, ServingSettings())
    taken = []
    for number in range(rounds):
        adapter = await asyncio.to_thread(make_adapter, folder / str(number), CHAT_MODEL, seed=number)
        request = {"model": CHAT, "algorithm_config": {"lora": {}}, "auto_register": {}}
        job = jobs_pb2.Job(job_uuid=f"bench-{number}", supervised_fine_tune=request)
        checkpoint = checkpoints_pb2.Checkpoint(identifier="final", path=str(adapter), sha256=f"{number:064x}")
        started = time.perf_counter()
        await registrar.register(job, checkpoint)
        taken.append(time.perf_counter() - started)
        model = await models.find(job.job_uuid)
        if model is not None:
            await models.unregister(job.job_uuid, model.entry.revision)
    await gateway.close()
    return taken


def seconds_in_engine(address: str, folder: Path, rounds: int) -> list[float]:
    """Returns the seconds that the engine alone takes to load an adapter, one each round.

    Args:
        address: The inference service.
        folder: Where `seconds_in_service` made the adapters.
        rounds: Number of adapters.
    """
    taken = []
    with grpc.insecure_channel(address) as channel:
        provider = providers_pb2_grpc.ProviderServiceStub(channel)
        for number in range(rounds):
            model = {
                "model_id": f"alone-{number}",
                "adapter": {"base_model_id": CHAT, "source": str(folder / str(number))},
                "entry": {"revision": 1},
            }
            started = time.perf_counter()
            provider.LoadResource(providers_pb2.LoadResourceRequest(resource={"model": model}))
            taken.append(time.perf_counter() - started)
            kind = options_pb2.RESOURCE_KIND_MODEL
            provider.UnloadResource(providers_pb2.UnloadResourceRequest(kind=kind, resource_id=f"alone-{number}"))
    return taken


def measure(rounds: int) -> list[float]:
    """Returns the seconds from an adapter on disk to its proven answer, on a gateway and an engine of its own.

    Args:
        rounds: Number of adapters.
    """
    with models_stack() as stack, tempfile.TemporaryDirectory() as name:
        return asyncio.run(seconds_in_service(stack, Path(name), rounds))


def main() -> None:
    """Measures and prints the medians."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.adapter_in_service", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="adapters (default: 5)")
    rounds = parser.parse_args().rounds
    with models_stack() as stack, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        service = asyncio.run(seconds_in_service(stack, folder, rounds))
        engine = seconds_in_engine(stack.chat_address, folder, rounds)
    for what, seconds in (("published, registered, proven", service), ("loaded by the engine alone", engine)):
        print(f"{what}: median {statistics.median(seconds):.2f} s, most {max(seconds):.2f} s")


if __name__ == "__main__":
    main()
