"""Checkpoints are read, sent, exported and deleted; nothing else of the disk is."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from caravan.post_training.v1 import checkpoints_pb2, post_training_pb2, training_pb2
from services.core.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError, OutOfRangeError
from tests.services.post_training.jobs.world import Replica, a_request


async def trained(here: Replica, **changes: Any) -> str:
    job = await here.create(a_request(6, **changes))
    await here.ended(job.job_uuid)
    return job.job_uuid


async def sent(here: Replica, job_uuid: str, identifier: str, **wanted: Any) -> tuple[dict[str, bytes], str]:
    request = post_training_pb2.DownloadCheckpointRequest(job_uuid=job_uuid, identifier=identifier, **wanted)
    files: dict[str, bytes] = {}
    name, digest = "", ""
    async for response in here.artifacts.download(request):
        match response.WhichOneof("event"):
            case "file":
                name = response.file.path
                files[name] = b""
            case "data":
                files[name] += response.data
            case _:
                digest = response.complete.sha256
    return files, digest


async def test_a_checkpoint_arrives_whole_and_from_any_byte_on(here: Replica) -> None:
    uuid = await trained(here)
    checkpoint = await here.artifacts.get(uuid, "final")
    files, digest = await sent(here, uuid, "final")
    assert digest == checkpoint.sha256
    assert {name: hashlib.sha256(data).hexdigest() for name, data in files.items()} == {
        file.path: file.sha256 for file in checkpoint.files
    }
    whole = files["weights/model.bin"]
    rest, _ = await sent(here, uuid, "final", from_path="weights/model.bin", offset=1000, single_file=True)
    assert rest["weights/model.bin"] == whole[1000:]
    with pytest.raises(OutOfRangeError):
        await sent(here, uuid, "final", offset=len(whole) + 1)
    with pytest.raises(NotFoundError):
        await sent(here, uuid, "final", from_path="../../spec.json")


async def test_what_leads_out_of_a_checkpoint_is_not_sent(here: Replica, tmp_path: Path) -> None:
    uuid = await trained(here)
    checkpoint = await here.artifacts.get(uuid, "final")
    secret = tmp_path / "secret"
    secret.write_text("x" * checkpoint.files[0].size_bytes)
    weights = Path(checkpoint.path) / "weights" / "model.bin"
    weights.unlink()
    weights.symlink_to(secret)
    with pytest.raises(FailedPreconditionError) as caught:
        await sent(here, uuid, "final")
    assert caught.value.reason == "CHECKPOINT_DAMAGED"


async def test_checkpoints_are_listed_newest_first_over_all_jobs(here: Replica) -> None:
    first, second = await trained(here), await trained(here)

    async def names(**wanted: Any) -> list[tuple[str, str]]:
        found, token = [], ""
        while True:
            request = post_training_pb2.ListCheckpointsRequest(page_size=3, page_token=token, **wanted)
            page = await here.artifacts.list(request)
            found += [(one.post_training_job_id, one.identifier) for one in page.items]
            token = page.next_token
            if not token:
                return found

    every = await names()
    assert sorted(every) == sorted((job, one) for job in (first, second) for one in ("step-000005", "final"))
    assert {job for job, _ in every[:2]} == {second}
    assert await names(final_only=True) == [(second, "final"), (first, "final")]
    assert sorted(await names(job_uuid=first)) == [(first, "final"), (first, "step-000005")]
    artifacts = await here.artifacts.of_job(first)
    assert artifacts.final_identifier == "final"
    assert [one.identifier for one in artifacts.checkpoints] == ["step-000005", "final"]


async def test_a_checkpoint_that_another_job_goes_on_from_stays(here: Replica) -> None:
    uuid = await trained(here)
    source = training_pb2.ContinueFrom(checkpoint={"job_uuid": uuid})
    other = await here.create(a_request(200, continue_from=source, labels={"seconds": 0.05}))
    assert other.supervised_fine_tune.continue_from.checkpoint.identifier == "final"
    delete = post_training_pb2.DeleteCheckpointRequest(job_uuid=uuid, identifier="final")
    with pytest.raises(FailedPreconditionError) as caught:
        await here.artifacts.delete(delete)
    assert caught.value.metadata == {"job_uuid": other.job_uuid}
    with pytest.raises(FailedPreconditionError):
        await here.jobs.delete(post_training_pb2.DeleteJobRequest(job_uuid=uuid))
    await here.jobs.cancel(post_training_pb2.CancelJobRequest(job_uuid=other.job_uuid))
    await here.ended(other.job_uuid)
    await here.artifacts.delete(delete)
    assert not (here.storage.job(uuid) / "checkpoints" / "final").exists()
    with pytest.raises(NotFoundError):
        await here.artifacts.get(uuid, "final")


async def test_the_checkpoint_that_a_resting_job_needs_stays(here: Replica) -> None:
    job = await here.create(a_request(200, labels={"seconds": 0.05}))
    await here.until(job.job_uuid, lambda job: job.progress.step >= 1)
    await here.jobs.pause(post_training_pb2.PauseJobRequest(job_uuid=job.job_uuid))
    paused = await here.until(job.job_uuid, lambda job: job.status == 6)
    delete = post_training_pb2.DeleteCheckpointRequest(
        job_uuid=job.job_uuid, identifier=paused.checkpoints[-1].identifier
    )
    with pytest.raises(FailedPreconditionError, match="goes on from it"):
        await here.artifacts.delete(delete)


async def test_an_export_is_a_checkpoint_of_its_own_and_is_made_once(here: Replica) -> None:
    uuid = await trained(here)
    request = post_training_pb2.ExportCheckpointRequest(
        job_uuid=uuid, identifier="final", format=checkpoints_pb2.CHECKPOINT_FORMAT_MERGED
    )
    made = await here.artifacts.export(request)
    assert (made.identifier, made.format) == ("final-merged", checkpoints_pb2.CHECKPOINT_FORMAT_MERGED)
    assert (made.resumable, made.is_final) == (False, False)
    assert [file.path for file in made.files] == ["model.bin"]
    assert await here.artifacts.export(request) == made
    assert await here.artifacts.get(uuid, "final-merged") == made
    files, _ = await sent(here, uuid, "final-merged")
    assert hashlib.sha256(files["model.bin"]).hexdigest() == made.files[0].sha256
    request.identifier = "final-merged"
    with pytest.raises(InvalidArgumentError):
        await here.artifacts.export(request)
