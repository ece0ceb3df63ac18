"""`caravan train` and `caravan jobs`, against a post-training service on loopback."""

import hashlib
import io
import json
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from caravan import Client
from caravan.cli.app import app
from caravan.cli.job_view import JobView
from caravan.cli.session import Session
from caravan.post_training.v1 import jobs_pb2, post_training_pb2, post_training_pb2_grpc, training_pb2
from caravan.reward_scoring.v1 import reward_scoring_pb2, reward_scoring_pb2_grpc
from caravan.synthetic_data.v1 import synthetic_data_pb2, synthetic_data_pb2_grpc

FILES = {"adapter_config.json": b"{}", "deep/adapter_model.safetensors": bytes(range(256)) * 4000}
JOB = "job-1"


def events(status: str = "COMPLETED") -> list[jobs_pb2.JobEvent]:
    number = jobs_pb2.JobStatus.Value(f"JOB_STATUS_{status}")
    error = {"message": "the loss is not a number"} if status == "FAILED" else {}
    found: list[dict[str, Any]] = [
        {"state": {"status": jobs_pb2.JOB_STATUS_SCHEDULED, "queue_position": 2}},
        {"log": {"line": "begins", "level": training_pb2.LOG_LEVEL_INFO}},
        *({"metrics": {"step": step, "metrics": {"loss": 4 / step, "learning_rate": 1e-4}}} for step in (1, 2, 3)),
        {"progress": {"step": 3, "total_steps": 3, "epoch": 1, "loss": 1.25, "tokens_per_second": 1000}},
        {"metrics": {"step": 3, "evaluation": True, "metrics": {"validation_loss": 1.5}}},
        {"log": {"line": "something is odd", "level": training_pb2.LOG_LEVEL_WARN}},
        {"end": {"job": {"job_uuid": JOB, "status": number, "error": error}}},
    ]
    return [jobs_pb2.JobEvent(sequence=place, job_uuid=JOB, **one) for place, one in enumerate(found, start=1)]


class Service(
    post_training_pb2_grpc.PostTrainingServiceServicer,
    reward_scoring_pb2_grpc.RewardScoringServiceServicer,
    synthetic_data_pb2_grpc.SyntheticDataGenerationServiceServicer,
):
    """Answers as scripted; keeps the requests, and breaks streams off on demand."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.events = events()
        self.breaks = 0
        """Streams to break off, each after some messages."""
        self._server = grpc.server(futures.ThreadPoolExecutor(4))
        post_training_pb2_grpc.add_PostTrainingServiceServicer_to_server(self, self._server)
        reward_scoring_pb2_grpc.add_RewardScoringServiceServicer_to_server(self, self._server)
        synthetic_data_pb2_grpc.add_SyntheticDataGenerationServiceServicer_to_server(self, self._server)
        self.target = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def close(self) -> None:
        self._server.stop(None)

    def SupervisedFineTune(self, request: Any, context: Any) -> Any:
        self.requests.append(request)
        estimate = {"rows": 1200, "memory_bytes": 1 << 30, "notes": ["packing saves half"]}
        uuid = "" if request.validate_only else JOB
        return post_training_pb2.SupervisedFineTuneResponse(job_uuid=uuid, estimate=estimate)

    def PreferenceOptimize(self, request: Any, context: Any) -> Any:
        self.requests.append(request)
        return post_training_pb2.PreferenceOptimizeResponse(job_uuid=JOB)

    def TrainRewardModel(self, request: Any, context: Any) -> Any:
        self.requests.append(request)
        return post_training_pb2.TrainRewardModelResponse(job_uuid=JOB)

    def ListJobs(self, request: Any, context: Any) -> Any:
        self.requests.append(request)
        job = {
            "job_uuid": JOB,
            "kind": jobs_pb2.JOB_KIND_SUPERVISED_FINE_TUNE,
            "status": jobs_pb2.JOB_STATUS_IN_PROGRESS,
        }
        progress = {"step": 5, "total_steps": 10, "loss": 0.5}
        return post_training_pb2.ListJobsResponse(data=[{**job, "progress": progress}])

    def GetJobStatus(self, request: Any, context: Any) -> Any:
        status = self.events[-1].end.job.status
        job = {"job_uuid": JOB, "status": status, "status_reason": "all went well", "last_sequence": len(self.events)}
        return post_training_pb2.GetJobStatusResponse(job=job)

    def WatchJob(self, request: Any, context: Any) -> Iterator[Any]:
        self.requests.append(request)
        for event in self.events[max(request.from_sequence, 1) - 1 :]:
            yield post_training_pb2.WatchJobResponse(event=event)
            if self.breaks and event.sequence % 4 == 0:
                self.breaks -= 1
                context.abort(grpc.StatusCode.UNAVAILABLE, "the replica stops")

    def CancelJob(self, request: Any, context: Any) -> Any:
        self.requests.append(request)
        return post_training_pb2.CancelJobResponse(job={"job_uuid": JOB, "status": jobs_pb2.JOB_STATUS_CANCELLING})

    def PauseJob(self, request: Any, context: Any) -> Any:
        return post_training_pb2.PauseJobResponse(job={"job_uuid": JOB, "status": jobs_pb2.JOB_STATUS_PAUSING})

    def ResumeJob(self, request: Any, context: Any) -> Any:
        return post_training_pb2.ResumeJobResponse(job={"job_uuid": JOB, "status": jobs_pb2.JOB_STATUS_SCHEDULED})

    def GetJobArtifacts(self, request: Any, context: Any) -> Any:
        files = [{"path": p, "size_bytes": len(c), "sha256": hashlib.sha256(c).hexdigest()} for p, c in FILES.items()]
        made = [{"identifier": "step-2"}, {"identifier": "step-3", "is_final": True, "files": files}]
        return post_training_pb2.GetJobArtifactsResponse(job_uuid=JOB, checkpoints=made, final_identifier="step-3")

    def DownloadCheckpoint(self, request: Any, context: Any) -> Iterator[Any]:
        self.requests.append(request)
        paths = list(FILES)
        for path in paths[paths.index(request.from_path) if request.from_path else 0 :]:
            content = FILES[path]
            begin = request.offset if path == request.from_path else 0
            file = {"path": path, "size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            yield post_training_pb2.DownloadCheckpointResponse(file=file)
            for place in range(begin, len(content), 100_000):
                yield post_training_pb2.DownloadCheckpointResponse(data=content[place : place + 100_000])
                if self.breaks and place:
                    self.breaks -= 1
                    context.abort(grpc.StatusCode.UNAVAILABLE, "the replica stops")
        yield post_training_pb2.DownloadCheckpointResponse(complete={})

    def Score(self, request: Any, context: Any) -> Any:
        response = reward_scoring_pb2.ScoreResponse()
        for one in request.dialog_generations:
            scored = response.scored_generations.add(dialog=one.dialog)
            for place, message in enumerate(one.sampled_generations):
                scored.scored_generations.add(message=message, score=place)
        return response

    def Generate(self, request: Any, context: Any) -> Any:
        self.requests.append(request)
        return synthetic_data_pb2.GenerateResponse(statistics={"kept": 1})

    def StreamGenerate(self, request: Any, context: Any) -> Iterator[Any]:
        yield synthetic_data_pb2.StreamGenerateResponse(complete={"statistics": {"kept": 1}})

    def StartGeneration(self, request: Any, context: Any) -> Any:
        self.requests.append(request)
        return synthetic_data_pb2.StartGenerationResponse(job_uuid=request.job_uuid or JOB)


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()
    yield service
    service.close()


def run(service: Service, *arguments: object) -> Result:
    return CliRunner().invoke(app, [*(str(one) for one in arguments), "--target", service.target])


def test_a_training_is_started_as_asked_and_followed_to_its_end(service: Service) -> None:
    ended = run(
        service, "train", "sft", "caravan-chat", "facts", "--epochs", 3, "--lr", 0.001, "--algorithm", "dora", "--rank", 4,
        "--validation", "held-out", "--register", "facts-1", "--canary-expected", "Paris", "--label", "team=a",
    )  # fmt: skip
    assert ended.exit_code == 0, ended.output
    request = service.requests[0]
    assert (request.model, request.training_config.data_config.dataset_id) == ("caravan-chat", "facts")
    assert request.training_config.data_config.validation_dataset_id == "held-out"
    assert (request.training_config.n_epochs, request.training_config.optimizer_config.lr) == (3, 0.001)
    assert (request.algorithm_config.lora.rank, request.algorithm_config.lora.use_dora) == (4, True)
    assert (request.auto_register.model_id, request.auto_register.canary_expected) == ("facts-1", "Paris")
    assert dict(request.labels) == {"team": "a"}
    assert request.request_id
    assert ended.stdout == "job-1\n"
    for said in ("place 2 in the queue", "step 3/3", "loss 1.25", "something is odd"):
        assert said in ended.stderr
    assert "begins" not in ended.stderr


def test_a_check_shows_the_estimate_and_starts_nothing(service: Service) -> None:
    checked = run(service, "train", "sft", "caravan-chat", "facts", "--check")
    assert service.requests[0].validate_only
    assert "1,200" in checked.stdout
    assert "1,024 MiB" in checked.stdout
    assert "packing saves half" in checked.stdout


def test_preferences_and_reward_models_are_trained_too(service: Service, tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"n_epochs": 9, "data_config": {"packed": False}, "seed": 3}))
    asked = ["pairs", "--beta", "0.2", "--loss", "ipo", "--epochs", "2", "--config", str(config), "--detach"]
    assert run(service, "train", "dpo", "caravan-chat", *asked).stdout == "job-1\n"
    request = service.requests[0]
    assert (request.finetuned_model, request.algorithm_config.beta) == ("caravan-chat", 0.2)
    assert request.algorithm_config.loss_type == training_pb2.DPO_LOSS_TYPE_IPO
    assert request.finetuning_config.HasField("lora")
    assert (request.training_config.n_epochs, request.training_config.seed) == (2, 3)
    assert run(service, "train", "reward", "caravan-chat", "pairs", "-d").exit_code == 0
    assert service.requests[-1].training_config.data_config.dataset_id == "pairs"


def test_a_wrong_option_is_told_in_words(service: Service) -> None:
    assert "none of full, lora" in run(service, "train", "sft", "m", "d", "--algorithm", "lore").stderr
    assert "rank is of an adapter" in run(service, "train", "sft", "m", "d", "--algorithm", "full", "--rank", 3).stderr
    assert "not name=value" in run(service, "jobs", "list", "--label", "team").stderr
    assert not service.requests


def test_a_job_that_failed_ends_the_command_with_its_error(service: Service) -> None:
    service.events = events("FAILED")
    ended = run(service, "jobs", "watch", JOB)
    assert ended.exit_code == 1
    assert "the loss is not a number" in ended.stderr


def test_a_watch_that_breaks_off_misses_and_repeats_nothing(service: Service) -> None:
    service.breaks = 2
    ended = run(service, "jobs", "watch", JOB, "--json")
    assert [json.loads(line)["sequence"] for line in ended.stdout.splitlines()] == [str(n) for n in range(1, 10)]
    assert [request.from_sequence for request in service.requests] == [0, 5, 9]


def test_jobs_are_listed_and_stopped(service: Service) -> None:
    listed = run(service, "jobs", "list", "--status", "in_progress", "--label", "team=a").stdout
    assert [cell.strip() for cell in listed.splitlines()[1].split("  ") if cell.strip()][:4] == [
        "job-1",
        "supervised fine tune",
        "in progress",
        "5/10, loss 0.5",
    ]
    assert list(service.requests[0].statuses) == [jobs_pb2.JOB_STATUS_IN_PROGRESS]
    assert "cancelling" in run(service, "jobs", "cancel", JOB, "--reason", "too slow").stderr
    assert service.requests[-1].reason == "too slow"
    assert "pausing" in run(service, "jobs", "pause", JOB).stderr
    assert "scheduled" in run(service, "jobs", "resume", JOB).stderr
    assert "all went well" in run(service, "jobs", "show", JOB).stdout


def test_log_lines_are_written_as_they_are(service: Service) -> None:
    assert run(service, "jobs", "logs", JOB).stdout == "begins\nsomething is odd\n"


def test_metrics_are_drawn_in_the_terminal_and_as_a_picture(service: Service, tmp_path: Path) -> None:
    drawn = run(service, "jobs", "plot", JOB).stdout
    assert "loss, validation_loss (o)" in drawn
    assert "4.0" in drawn
    picture = tmp_path / "curve.png"
    assert run(service, "jobs", "plot", JOB, "--out", picture, "--metric", "learning_rate").exit_code == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    wrong = run(service, "jobs", "plot", JOB, "--metric", "accuracy")
    assert "it has learning_rate, loss, validation_loss" in wrong.stderr


def test_a_download_goes_on_where_it_broke_off_and_is_checked(service: Service, tmp_path: Path) -> None:
    service.breaks = 3
    assert run(service, "jobs", "download", JOB, tmp_path / "out").exit_code == 0
    assert {path: (tmp_path / "out" / path).read_bytes() for path in FILES} == FILES
    assert len(service.requests) == 4
    assert service.requests[-1].from_path == "deep/adapter_model.safetensors"
    listed = run(service, "jobs", "checkpoints", JOB).stdout
    assert "step-3" in listed
    missing = run(service, "jobs", "download", JOB, tmp_path / "out", "--checkpoint", "step-9")
    assert "it has step-2, step-3" in missing.stderr


def test_the_client_scores_and_makes_data(service: Service) -> None:
    with Client(service.target) as client:
        assert client.reward_scoring.score("judge", "Hello!", ["a", "b"]) == [0.0, 1.0]
        made = client.synthetic_data.generate(
            "caravan-chat", ["Hi", [{"role": "user", "content": "Ho"}]], k=2, filter="none"
        )
        assert made.statistics.kept == 1
        request = service.requests[-1]
        assert (len(request.dialogs), request.k_generations) == (2, 2)
        (event,) = client.synthetic_data.stream("caravan-chat", ["Hi"])
        assert event.HasField("complete")
        started = client.synthetic_data.start(
            "caravan-chat", dataset="asked", output_dataset="made", filter="top_k", reward_model="judge",
            filter_params={"top_k": 3}, job_uuid="j",
        )  # fmt: skip
        assert started == "j"
        assert service.requests[-1].filter_params.top_k == 3
        assert client.post_training.wait(JOB).status == jobs_pb2.JOB_STATUS_COMPLETED


def test_a_terminal_shows_a_bar_and_a_curve(service: Service) -> None:
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=80, height=40)
    with Client(service.target) as client, JobView(Session(client, False, terminal, terminal)) as view:
        view.show_all(client.post_training.watch(JOB))
    shown = screen.getvalue()
    assert "step 3/3" in shown
    assert "loss, validation_loss (o)" in shown
