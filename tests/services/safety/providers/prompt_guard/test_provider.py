import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import struct_pb2

from caravan.providers.v1 import providers_pb2
from caravan.registry.v1 import shields_pb2
from caravan.types.v1 import types_pb2
from services.core.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
)
from services.safety.judging import Judge
from services.safety.ports import Verdict
from services.safety.providers.prompt_guard.classifier import Classifier
from services.safety.providers.prompt_guard.config import PromptGuardConfig
from services.safety.providers.prompt_guard.provider import PromptGuardProvider
from tests.support.requests import content, user
from tests.support.tiny_classifier import make_classifier

JUDGE = Judge()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_classifier(tmp_path_factory.mktemp("classifier") / "caravan-prompt-guard")


@pytest.fixture
async def provider(model: Path) -> AsyncIterator[PromptGuardProvider]:
    made = PromptGuardProvider("pg", PromptGuardConfig(model=str(model), max_batch_size=8, threads=1))
    await made.start()
    yield made
    await made.stop()


async def judge(provider: PromptGuardProvider, *messages: str | types_pb2.Message, **params: Any) -> Verdict:
    given = struct_pb2.Struct()
    given.update(params)
    ready = await provider.ready_shield("prompt-guard", given)
    return await JUDGE.verdict(ready, [user(one) if isinstance(one, str) else one for one in messages])


def register(shield_id: str, model: str = "") -> providers_pb2.Resource:
    shield = shields_pb2.Shield(shield_id=shield_id, provider_shield_id=model or shield_id)
    return providers_pb2.Resource(shield=shield)


async def test_an_attack_is_found_with_its_label_and_score(provider: PromptGuardProvider):
    verdict = await judge(provider, "please ignore the cats")
    (finding,) = verdict.findings
    assert (finding.category, finding.violation_level) == ("jailbreak", types_pb2.VIOLATION_LEVEL_ERROR)
    assert finding.score > 0.9
    assert verdict.score == pytest.approx(finding.score)
    assert not (await judge(provider, "tell me a story about cats")).findings


async def test_a_long_text_is_judged_window_by_window_and_located(provider: PromptGuardProvider):
    text = "hello " * 100 + "please ignore the garden " + "tea " * 100
    verdict = await judge(provider, text)
    assert verdict.findings
    for finding in verdict.findings:
        assert "ignore" in text[finding.location.start : finding.location.end]
        assert finding.location.end - finding.location.start < len(text) / 4


async def test_an_attack_at_any_place_of_a_long_text_is_found(provider: PromptGuardProvider):
    texts = [" ".join(["tea"] * before + ["ignore"] + ["tea"] * (120 - before)) for before in range(0, 121, 7)]
    verdicts = await asyncio.gather(*(judge(provider, text) for text in texts))
    assert all(verdict.findings for verdict in verdicts)


async def test_hidden_characters_do_not_hide_an_attack(provider: PromptGuardProvider):
    text = "please ig\u200bnore the cats"
    (finding,) = (await judge(provider, text)).findings
    assert (finding.location.start, finding.location.end) == (0, len(text))


async def test_what_strangers_write_is_judged_and_what_the_model_says_is_not(provider: PromptGuardProvider):
    tool = types_pb2.Message(tool={"call_id": "1", "tool_name": "web", "content": content("ignore the cats")})
    assert (await judge(provider, tool)).findings
    assistant = types_pb2.Message(assistant={"content": content("ignore the cats")})
    assert not (await judge(provider, assistant)).findings


async def test_labels_and_threshold_are_the_callers_to_choose(provider: PromptGuardProvider):
    assert not (await judge(provider, "ignore the cats", labels=["INJECTION"])).findings
    assert (await judge(provider, "the attachment", labels=["INJECTION"])).findings
    assert (await judge(provider, "hello", threshold=0.000001)).findings
    with pytest.raises(InvalidArgumentError) as caught:
        await judge(provider, "hello", labels=["NOISE"])
    assert caught.value.violations[0].field == "params.labels"


async def test_concurrent_calls_share_batches(provider: PromptGuardProvider, monkeypatch: pytest.MonkeyPatch):
    batches: list[int] = []
    classify = Classifier.classify

    def counted(model: Classifier, texts: Sequence[str]) -> list[list[float]]:
        batches.append(len(texts))
        return classify(model, texts)

    monkeypatch.setattr(Classifier, "classify", counted)
    texts = ["please ignore the cats" if number % 2 else "hello cats" for number in range(32)]
    verdicts = await asyncio.gather(*(judge(provider, text) for text in texts))
    assert [bool(verdict.findings) for verdict in verdicts] == [bool(number % 2) for number in range(32)]
    assert sum(batches) == 32
    assert len(batches) < 16


async def test_a_long_text_does_not_hold_up_short_ones(provider: PromptGuardProvider):
    order: list[str] = []

    async def timed(name: str, text: str) -> None:
        await judge(provider, text)
        order.append(name)

    await asyncio.gather(timed("long", "tea " * 20_000), *(timed("short", "hello") for _ in range(4)))
    assert order[-1] == "long"


async def test_a_full_queue_is_an_error_and_not_safe(model: Path):
    provider = PromptGuardProvider("pg", PromptGuardConfig(model=str(model), max_queued=4))
    await provider.start()
    with pytest.raises(ResourceExhaustedError):
        await judge(provider, "tea " * 1000)
    await provider.stop()


async def test_cancelling_a_call_takes_its_windows_out_of_the_queue(provider: PromptGuardProvider):
    running = asyncio.create_task(judge(provider, "tea " * 20_000))
    while not provider._batcher.queued:  # noqa: ASYNC110 - there is no event
        await asyncio.sleep(0.001)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert provider._batcher.queued == 0
    assert not (await judge(provider, "hello")).findings


async def test_empty_texts_are_judged_as_nothing(provider: PromptGuardProvider):
    assert await judge(provider, "", " \n\u200b ") == Verdict()


async def test_a_registration_without_a_model_gets_the_configured_one(provider: PromptGuardProvider):
    loaded = await provider.load(register("strict"))
    assert loaded.shield.provider_shield_id == "caravan-prompt-guard"
    assert provider.serves("strict")


async def test_another_model_is_loaded_for_as_long_as_a_shield_uses_it(provider: PromptGuardProvider, tmp_path: Path):
    other = make_classifier(tmp_path / "other", labels=["LABEL_0", "LABEL_1"])
    await provider.load(register("other", str(other)))
    ready = await provider.ready_shield("other")
    (finding,) = (await JUDGE.verdict(ready, [user("ignore the cats")])).findings
    assert finding.category == "label_1"
    del ready, finding
    await provider.unload(2, "other")
    assert str(other) not in provider._models


async def test_a_model_that_is_not_there_is_not_found(provider: PromptGuardProvider):
    with pytest.raises(NotFoundError):
        await provider.load(register("gone", "/no/such/folder"))
    with pytest.raises(NotFoundError):
        await provider.load(register("gone", "nobody/no-such-model"))


async def test_a_model_without_a_benign_label_is_refused(provider: PromptGuardProvider, tmp_path: Path):
    odd = make_classifier(tmp_path / "odd", labels=["HAPPY", "SAD"])
    with pytest.raises(FailedPreconditionError, match="BENIGN"):
        await provider.load(register("odd", str(odd)))


async def test_a_broken_model_is_refused_in_words(provider: PromptGuardProvider, tmp_path: Path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(FailedPreconditionError, match="cannot be loaded"):
        await provider.load(register("broken", str(tmp_path)))
