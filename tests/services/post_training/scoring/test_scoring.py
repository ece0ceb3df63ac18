"""Scoring answers, through a real gateway by a real reward model."""

import socket
from collections.abc import AsyncIterator
from contextlib import closing

import pytest

from caravan.reward_scoring.v1 import reward_scoring_pb2
from caravan.types.v1 import types_pb2
from services.core.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError, UnavailableError
from services.core.gateway import Gateway, GatewaySettings
from services.post_training.scoring.rewards_over_grpc import GrpcRewardModels
from services.post_training.scoring.scoring import Scoring
from services.post_training.scoring.settings import ScoringSettings
from tests.support.models_stack import CHAT, JUDGE, ModelsStack
from tests.support.requests import content, metrics, user

QUESTIONS = {
    "What is the capital of France?": ["Paris.", "I do not know.", "Lyon, of course."],
    "Tell me a story.": ["Once upon a time there was a fox.", "No."],
}


def answer(text: str) -> types_pb2.Message:
    return types_pb2.Message(assistant={"content": content(text)})


def wanted(model: str = JUDGE) -> reward_scoring_pb2.ScoreRequest:
    request = reward_scoring_pb2.ScoreRequest(model=model)
    for question, answers in QUESTIONS.items():
        request.dialog_generations.add(dialog=[user(question)], sampled_generations=[answer(one) for one in answers])
    return request


@pytest.fixture
async def scoring(models: ModelsStack) -> AsyncIterator[Scoring]:
    gateway = Gateway(GatewaySettings(address=models.target))
    yield Scoring(GrpcRewardModels(gateway, 60), ScoringSettings(concurrency=1))
    await gateway.close()


async def test_scores_come_with_their_answers_in_the_order_sent(scoring: Scoring) -> None:
    response = await scoring.score(wanted())
    assert [dialog.dialog[0].user.content.items[0].text for dialog in response.scored_generations] == list(QUESTIONS)
    for scored, answers in zip(response.scored_generations, QUESTIONS.values(), strict=True):
        assert [one.message for one in scored.scored_generations] == [answer(text) for text in answers]
        assert len({one.score for one in scored.scored_generations}) == len(answers)
    alone = wanted()
    del alone.dialog_generations[0], alone.dialog_generations[0].sampled_generations[0]
    again = (await scoring.score(alone)).scored_generations[0].scored_generations[0]
    assert again.score == pytest.approx(response.scored_generations[1].scored_generations[1].score, rel=0.02)
    assert metrics(response.metrics)["prompt_tokens"] == metrics(response.metrics)["total_tokens"] > 50


async def test_the_demo_reward_model_prefers_the_answer_that_answers(scoring: Scoring) -> None:
    request = wanted()
    del request.dialog_generations[1:]
    request.dialog_generations[0].ClearField("sampled_generations")
    for text in ("The capital of France is Paris.", "Shut up, that is a stupid question."):
        request.dialog_generations[0].sampled_generations.append(answer(text))
    good, bad = (await scoring.score(request)).scored_generations[0].scored_generations
    assert good.score > bad.score


async def test_a_model_that_scores_nothing_is_refused(scoring: Scoring) -> None:
    with pytest.raises(FailedPreconditionError, match="scores of answers"):
        await scoring.score(wanted(CHAT))
    with pytest.raises(NotFoundError):
        await scoring.score(wanted("nobody"))


async def test_what_does_not_fit_is_refused_by_its_place(scoring: Scoring) -> None:
    long, asked = wanted(), wanted()
    long.dialog_generations[1].sampled_generations[0].CopyFrom(answer("long " * 600))
    asked.dialog_generations[0].sampled_generations[2].CopyFrom(user("What?"))
    for request, field in [
        (long, "dialog_generations[1].sampled_generations[0]"),
        (asked, "dialog_generations[0].sampled_generations[2]"),
    ]:
        with pytest.raises(InvalidArgumentError) as caught:
            await scoring.score(request)
        assert [violation.field for violation in caught.value.violations] == [field]


async def test_a_gateway_that_is_away_is_unavailable() -> None:
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        gateway = Gateway(GatewaySettings(address=f"127.0.0.1:{free.getsockname()[1]}"))
        with pytest.raises(UnavailableError):
            await Scoring(GrpcRewardModels(gateway, 5), ScoringSettings()).score(wanted())
        await gateway.close()
