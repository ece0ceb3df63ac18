"""Making data by real models."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from caravan.datasets.v1 import datasets_pb2
from caravan.synthetic_data.v1 import synthetic_data_pb2
from services.core.errors import (
    AlreadyExistsError,
    CaravanError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
    UnavailableError,
)
from tests.services.post_training.synthesis.conftest import World
from tests.support.models_stack import CHAT, JUDGE
from tests.support.requests import metrics, user

Response = synthetic_data_pb2.GenerateResponse
QUESTIONS = ["Hello!", "Tell me a story.", "What is the capital of France?"]
SHORT = {"max_tokens": 12}
TOP_K = synthetic_data_pb2.FILTERING_FUNCTION_TOP_K


def wanted(*questions: str, **fields: Any) -> synthetic_data_pb2.GenerateRequest:
    dialogs = [{"messages": [user(question)]} for question in questions]
    return synthetic_data_pb2.GenerateRequest(
        **{"dialogs": dialogs, "model": CHAT, "sampling_params": {"max_tokens": 12}, **fields}
    )


def as_job(
    request: synthetic_data_pb2.GenerateRequest, job_uuid: str = "job-1"
) -> synthetic_data_pb2.StartGenerationRequest:
    job = synthetic_data_pb2.StartGenerationRequest.FromString(request.SerializeToString())
    job.job_uuid = job_uuid
    return job


def answers(response: Response) -> list[tuple[int, str]]:
    return [
        (one.dialog_index, "".join(item.text for item in one.generation.assistant.content.items))
        for one in response.synthetic_data
    ]


async def rows(world: World, dataset_id: str) -> list[dict[str, Any]]:
    return [json.loads(text) async for batch in world.datasets.rows(dataset_id) for text in batch.texts]


async def make_dataset(world: World, dataset_id: str, format_number: int, *found: dict[str, Any]) -> None:
    request = datasets_pb2.CreateDatasetRequest(dataset_id=dataset_id, format=format_number)  # type: ignore[arg-type]
    request.source.rows.rows_json.extend(json.dumps(row) for row in found)
    await world.datasets.create(request)


async def test_answers_are_scored_filtered_and_stored(world: World) -> None:
    request = wanted(
        *QUESTIONS,
        k_generations=3,
        reward_model=JUDGE,
        filtering_function=TOP_K,
        filter_params={"top_k": 1, "per_dialog": True},
        output_dataset_id="made",
    )
    response = await world.synthesis().generate(request)
    assert [index for index, _ in answers(response)] == [0, 1, 2]
    statistics = response.statistics
    assert (statistics.generated, statistics.kept) == (9, 3)
    assert statistics.min_score <= statistics.mean_score <= statistics.mean_kept_score <= statistics.max_score
    used = metrics(statistics.metrics)
    assert used["total_tokens"] == used["prompt_tokens"] + used["completion_tokens"] > 9
    assert response.output_dataset_id == "made"
    assert (await world.datasets.get("made")).format == datasets_pb2.DATASET_FORMAT_DIALOG
    for row, example in zip(await rows(world, "made"), response.synthetic_data, strict=True):
        assert [message["role"] for message in row["dialog"]] == ["user", "assistant"]
        assert row["dialog"][1]["content"] == example.generation.assistant.content.items[0].text
        assert row["score"] == pytest.approx(example.score)


async def test_a_stream_brings_what_is_kept_and_ends_with_the_numbers(world: World) -> None:
    request = wanted(*QUESTIONS, k_generations=2)
    streamed = synthetic_data_pb2.StreamGenerateRequest.FromString(request.SerializeToString())
    events = [event async for event in world.synthesis().stream(streamed)]
    assert sorted(event.example.dialog_index for event in events if event.HasField("example")) == [0, 0, 1, 1, 2, 2]
    assert [event.WhichOneof("event") for event in events].count("complete") == 1
    assert events[-1].complete.statistics.kept == 6
    assert not events[-1].complete.statistics.HasField("mean_score")


async def test_rows_of_a_data_set_are_answered_after_the_dialogs(world: World) -> None:
    await make_dataset(
        world,
        "asked",
        datasets_pb2.DATASET_FORMAT_PROMPT,
        {"prompt": "Hi"},
        {"prompt": [{"role": "user", "content": "Ho"}]},
    )
    told = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "A"},
        {"role": "assistant", "content": "B"},
    ]
    await make_dataset(world, "told", datasets_pb2.DATASET_FORMAT_DIALOG, {"dialog": told})
    response = await world.synthesis().generate(wanted("Hello!", dataset_id="asked"))
    found = [example.dialog[-1].user.content.items[0].text for example in response.synthetic_data]
    assert found == ["Hello!", "Hi", "Ho"]
    again = await world.synthesis().generate(wanted(dataset_id="told", output_dataset_id="retold"))
    assert [message.WhichOneof("role") for message in again.synthetic_data[0].dialog] == ["system", "user"]
    assert [message["role"] for message in (await rows(world, "retold"))[0]["dialog"]] == [
        "system",
        "user",
        "assistant",
    ]


async def test_a_call_that_comes_again_is_answered_as_before(world: World) -> None:
    request = wanted(*QUESTIONS, k_generations=2, request_id="once", output_dataset_id="made")
    first, second = await asyncio.gather(world.synthesis().generate(request), world.synthesis().generate(request))
    assert first == second == await world.synthesis().generate(request)
    assert world.chat.answered.total() == 6
    request.k_generations = 1
    with pytest.raises(InvalidArgumentError) as caught:
        await world.synthesis().generate(request)
    assert caught.value.reason == "REQUEST_ID_REUSED"


async def test_a_call_that_broke_off_goes_on_where_it_was(world: World) -> None:
    request = wanted(*QUESTIONS, k_generations=4, request_id="again", reward_model=JUDGE)
    world.chat.hang_after = 5
    call = asyncio.create_task(world.synthesis().generate(request))
    await world.chat.until_it_hangs(call)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    world.chat.hang_after = None
    response = await world.synthesis().generate(request)
    assert response.statistics.generated == 12
    assert response.statistics.HasField("mean_score")
    # What was on its way when the call broke off is asked for again, and nothing else.
    assert world.chat.answered.total() <= 12 + 4


async def test_a_job_goes_on_after_its_process_died_and_stores_the_same(world: World, tmp_path: Path) -> None:
    request = as_job(wanted(*QUESTIONS, k_generations=3, reward_model=JUDGE, output_dataset_id="made"))
    folder = tmp_path / "job-1"

    async def ignore(_: object) -> None:
        return

    world.chat.hang_after = 4
    died = asyncio.create_task(world.synthesis().run_job(request, folder, ignore))
    await world.chat.until_it_hangs(died)
    died.cancel()
    await asyncio.gather(died, return_exceptions=True)
    with (folder / "generations.jsonl").open("ab") as journal:
        journal.write(b'{"dialog": 2, "answer": 0, "mess')
    world.chat.hang_after = None
    told = []

    async def tell(event: synthetic_data_pb2.StreamGenerateResponse) -> None:
        told.append(event)

    await world.synthesis().run_job(request, folder, tell)
    made = world.chat.answered.total()
    assert made <= 9 + 4
    assert told[-1].complete.statistics.kept == 9
    assert len(await rows(world, "made")) == 9
    # As after a crash between the data set and the job's end.
    await world.synthesis().run_job(request, folder, tell)
    assert told[-1] == told[-2] or told[-1].complete == told[-2].complete
    assert world.chat.answered.total() == made


async def test_the_sampling_seed_repeats_all_answers_and_tells_those_of_a_dialog_apart(world: World) -> None:
    request = wanted("Tell me a story.", k_generations=4, sampling_params={**SHORT, "seed": 7})
    first = await world.synthesis(concurrency=1).generate(request)
    second = await world.synthesis(concurrency=1).generate(request)
    assert answers(first) == answers(second)
    assert len({text for _, text in answers(first)}) > 1


async def test_a_model_that_is_overloaded_is_asked_again(world: World) -> None:
    world.chat.failures = [ResourceExhaustedError("full", retry_after=0.01), UnavailableError("away", retry_after=0.01)]
    response = await world.synthesis().generate(wanted("Hello!"))
    assert response.statistics.kept == 1
    world.chat.failures = [UnavailableError("away", retry_after=0.1) for _ in range(1000)]
    with pytest.raises(UnavailableError):
        await world.synthesis(patience_seconds=0.5).generate(wanted("Hello!"))


async def refused(world: World, request: synthetic_data_pb2.GenerateRequest, **settings: object) -> CaravanError:
    with pytest.raises(CaravanError) as caught:
        await world.synthesis(**settings).generate(request)
    return caught.value


async def test_what_does_not_fit_is_refused_in_words(world: World) -> None:
    await make_dataset(world, "taken", datasets_pb2.DATASET_FORMAT_PROMPT, {"prompt": "Hi"})
    await make_dataset(
        world, "pairs", datasets_pb2.DATASET_FORMAT_PREFERENCE, {"prompt": "a", "chosen": "b", "rejected": "c"}
    )
    ended = wanted("Hello!")
    ended.dialogs[0].messages.add().assistant.content.items.add(text="Hi")
    pictured = wanted("Hello!", output_dataset_id="new")
    pictured.dialogs[0].messages[0].user.content.items.add().image.data = b"x"
    for request, kind, word in [
        (wanted("a", model="nobody"), NotFoundError, "nobody"),
        (wanted("a", model=""), InvalidArgumentError, "no default"),
        (wanted("a", model=JUDGE), FailedPreconditionError, "answers dialogs"),
        (wanted("a", reward_model=CHAT), FailedPreconditionError, "reward model"),
        (wanted("a", dataset_id="nowhere"), NotFoundError, "nowhere"),
        (wanted("a", dataset_id="pairs"), InvalidArgumentError, "not preference"),
        (wanted("a", output_dataset_id="taken"), AlreadyExistsError, "taken"),
        (wanted("a", "b", k_generations=256), InvalidArgumentError, "StartGeneration"),
        (ended, InvalidArgumentError, r"dialogs\[0\]"),
        (pictured, InvalidArgumentError, "image"),
    ]:
        error = await refused(world, request, max_answers=500)
        assert isinstance(error, kind), error
        assert word.replace("\\", "") in str(error)
    assert world.chat.answered.total() == 0


async def test_a_dialog_that_the_model_cannot_answer_fails_the_call_by_its_place(world: World) -> None:
    error = await refused(world, wanted("Hello!", "long " * 9000))
    assert isinstance(error, InvalidArgumentError)
    assert [violation.field for violation in error.violations] == ["dialogs[1].messages"]
    error = await refused(world, wanted("long " * 700, reward_model=JUDGE))
    assert error.reason == "NOT_SCORABLE"
    assert "dialogs[0]" in error.message


async def test_a_filter_that_keeps_nothing_stores_nothing_and_says_so(world: World) -> None:
    request = wanted(
        "Hello!",
        reward_model=JUDGE,
        filtering_function=synthetic_data_pb2.FILTERING_FUNCTION_SIGMOID,
        filter_params={"shift": 1e9},
    )
    assert (await world.synthesis().generate(request)).statistics.kept == 0
    request.output_dataset_id = "empty"
    assert (await refused(world, request)).reason == "NOTHING_KEPT"
    with pytest.raises(NotFoundError):
        await world.datasets.get("empty")
