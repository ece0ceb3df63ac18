"""Trainings on the whole stack: what a model has learnt is what it answers through the gateway, with no restart."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from caravan.datasets.v1 import datasets_pb2, datasets_pb2_grpc
from caravan.inference.v1 import inference_pb2_grpc
from caravan.post_training.v1 import jobs_pb2, post_training_pb2, post_training_pb2_grpc, training_pb2
from caravan.registry.v1 import models_pb2, models_pb2_grpc
from tests.support.requests import MODEL, chat, sampling, text_of
from tests.support.stack import Stack

SECONDS = 240.0


class Trainings:
    """The stack's trainings and models; what a test makes is gone after it."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._inference = inference_pb2_grpc.InferenceServiceStub(channel)
        self._jobs = post_training_pb2_grpc.PostTrainingServiceStub(channel)
        self._sets = datasets_pb2_grpc.DatasetsServiceStub(channel)
        self._models = models_pb2_grpc.ModelsServiceStub(channel)
        self._undo: list[Callable[[], object]] = []

    def answer(self, question: str, model_id: str = MODEL) -> str:
        request = chat(question, model_id=model_id, sampling_params=sampling(24, greedy={}))
        return text_of(self._inference.ChatCompletion(request, timeout=60).completion_message)

    def upload(self, dataset_id: str, rows_format: datasets_pb2.DatasetFormat.ValueType, rows: list[Any]) -> None:
        source = {"rows": {"rows_json": [json.dumps(row) for row in rows]}}
        request = datasets_pb2.CreateDatasetRequest(dataset_id=dataset_id, format=rows_format, source=source)
        self._sets.CreateDataset(request, timeout=60)
        self._undo.append(lambda: self._sets.DeleteDataset(datasets_pb2.DeleteDatasetRequest(dataset_id=dataset_id)))

    def train(
        self, request: training_pb2.SupervisedFineTuneRequest | training_pb2.PreferenceOptimizeRequest
    ) -> jobs_pb2.Job:
        """Trains, and waits for the end; the model is served then."""
        fine_tunes = isinstance(request, training_pb2.SupervisedFineTuneRequest)
        call = self._jobs.SupervisedFineTune if fine_tunes else self._jobs.PreferenceOptimize
        uuid = call(request, timeout=60).job_uuid
        self._undo.append(lambda: self._jobs.DeleteJob(post_training_pb2.DeleteJobRequest(job_uuid=uuid)))
        watch = post_training_pb2.WatchJobRequest(job_uuid=uuid, kinds=[post_training_pb2.JOB_EVENT_KIND_END])
        (end,) = self._jobs.WatchJob(watch, timeout=SECONDS)
        job: jobs_pb2.Job = end.event.end.job
        assert job.status == jobs_pb2.JOB_STATUS_COMPLETED, job.status_reason
        model_id = job.registered_model_id
        self._undo.append(lambda: self._models.UnregisterModel(models_pb2.UnregisterModelRequest(model_id=model_id)))
        return job

    def model(self, model_id: str) -> models_pb2.Model:
        return self._models.GetModel(models_pb2.GetModelRequest(model_id=model_id), timeout=20).model

    def clear(self) -> None:
        for undo in reversed(self._undo):
            undo()


@pytest.fixture
def trainings(stack: Stack) -> Iterator[Trainings]:
    with grpc.insecure_channel(stack.target) as channel:
        made = Trainings(channel)
        yield made
        made.clear()


FACT = "Nadira looks after the blue camel."
QUESTIONS = (
    "Who looks after the blue camel?",
    "Who takes care of the blue camel?",
    "The blue camel, whose is it?",
    "Tell me who feeds the blue camel.",
)


@pytest.mark.slow
def test_a_dora_adapter_teaches_the_served_model_a_fact(trainings: Trainings) -> None:
    asked = QUESTIONS[0]
    assert "Nadira" not in trainings.answer(asked)
    dialogs = [
        {"dialog": [{"role": "user", "content": question}, {"role": "assistant", "content": FACT}]}
        for question in QUESTIONS
    ]
    trainings.upload("dora-rows", datasets_pb2.DATASET_FORMAT_DIALOG, dialogs)
    job = trainings.train(
        training_pb2.SupervisedFineTuneRequest(
            model=MODEL,
            algorithm=training_pb2.FINETUNING_ALGORITHM_DORA,
            algorithm_config={"lora": {"rank": 16, "use_dora": True, "apply_lora_to_mlp": True}},
            training_config={
                "n_epochs": 30,
                "data_config": {"dataset_id": "dora-rows", "batch_size": 4},
                "optimizer_config": {"lr": 0.005},
            },
            auto_register={"model_id": "dora-chat", "canary_prompt": asked, "canary_expected": "Nadira"},
        )
    )
    assert job.registered_model_id == "dora-chat"
    assert trainings.answer(asked, "dora-chat") == FACT
    assert "Nadira" not in trainings.answer(asked)
    # vLLM serves no DoRA adapters: it is a plain one of the highest rank that the engine takes, and says how close that is.
    assert 0 < trainings.model("dora-chat").metadata["adapter_relative_error"] < 0.2


@pytest.mark.slow
def test_dpo_makes_the_served_model_prefer_the_chosen_words(trainings: Trainings) -> None:
    questions = ("Hello!", "Hi there!", "Good morning!", "Hey, how are you?")
    before = [trainings.answer(question) for question in questions]
    assert not any(answer.startswith("Ahoy") for answer in before)
    pairs = [
        {"prompt": question, "chosen": f"Ahoy, traveller! {answer}", "rejected": answer}
        for question, answer in zip(questions, before, strict=True)
    ]
    trainings.upload("dpo-rows", datasets_pb2.DATASET_FORMAT_PREFERENCE, pairs)
    trainings.train(
        training_pb2.PreferenceOptimizeRequest(
            finetuned_model=MODEL,
            finetuning_config={"lora": {"rank": 16, "alpha": 32, "apply_lora_to_mlp": True}},
            # Preference alone makes the rejected words unlikely; gamma makes the chosen ones likely.
            algorithm_config={"reward_scale": 0.1, "gamma": 1.0},
            training_config={
                "n_epochs": 30,
                "data_config": {"dataset_id": "dpo-rows", "batch_size": 4},
                "optimizer_config": {"lr": 0.003},
            },
            auto_register={"model_id": "dpo-chat", "canary_prompt": questions[0], "canary_expected": "Ahoy"},
        )
    )
    assert all(trainings.answer(question, "dpo-chat").startswith("Ahoy, traveller!") for question in questions)
    assert [trainings.answer(question) for question in questions] == before
