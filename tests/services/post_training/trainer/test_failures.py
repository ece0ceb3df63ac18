"""What went wrong, as the service tells it."""

import errno
import logging
import os
from pathlib import Path

import pytest
from google.protobuf import json_format
from google.rpc import error_details_pb2

from caravan.post_training.v1 import jobs_pb2, training_pb2
from services.post_training.trainer.events import Events
from services.post_training.trainer.failures import status_of_failure
from services.post_training.trainer.problems import LossError, RowError
from services.post_training.trainer.recipe import Recipe, recipe_of


def recipe() -> Recipe:
    data = training_pb2.DataConfig(dataset_id="rows", batch_size=8)
    training = training_pb2.TrainingConfig(data_config=data)
    return recipe_of("supervised_fine_tune", training_pb2.SupervisedFineTuneRequest(training_config=training))


def reason(error: BaseException) -> tuple[int, str, str]:
    status = status_of_failure(error, recipe(), Path("/jobs/one"))
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return status.code, info.reason, status.message


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:119] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"
        ),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    ],
)
def test_a_full_memory_comes_with_advice(error: BaseException) -> None:
    code, why, message = reason(error)
    assert (code, why) == (8, "OUT_OF_MEMORY")
    assert "a smaller batch_size (it is 8)" in message
    assert "LoRA instead of all weights" in message


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_told_as_such(error: BaseException) -> None:
    code, why, message = reason(error)
    assert (code, why) == (8, "DISK_FULL")
    assert "/jobs/one" in message


def test_rows_and_losses_keep_their_reasons() -> None:
    assert reason(RowError("row 3: no"))[:2] == (3, "ROWS_DO_NOT_FIT")
    assert reason(LossError("no number", step="4"))[:2] == (9, "LOSS_NOT_FINITE")


def test_what_nobody_expected_may_be_tried_again() -> None:
    assert reason(ZeroDivisionError("by zero"))[:2] == (13, "INTERNAL")


def test_lines_are_events_of_the_level_that_is_asked_for() -> None:
    read, write = os.pipe()
    events = Events("one", rank=2, processes=2, least_level=training_pb2.LOG_LEVEL_WARN, descriptor=write)
    events.log(logging.INFO, "quiet")
    events.log(logging.WARNING, "loud\nlines")
    (line,) = os.read(read, 65536).splitlines()
    os.close(write)
    os.close(read)
    event = json_format.Parse(line, jobs_pb2.JobEvent())
    assert (event.job_uuid, event.log.line, event.log.rank) == ("one", "loud\nlines", 2)
    assert event.log.level == training_pb2.LOG_LEVEL_WARN


def test_a_pipe_that_nobody_reads_does_not_end_a_training() -> None:
    read, write = os.pipe()
    os.close(read)
    Events("one", descriptor=write).end(jobs_pb2.JOB_STATUS_COMPLETED, "")
    os.close(write)
