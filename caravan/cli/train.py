"""`caravan train`: supervised fine-tuning, preference optimisation, reward models."""

from pathlib import Path
from typing import Annotated, Any, cast

import typer
from google.protobuf.message import Message

from caravan.cli.generation import read_json
from caravan.cli.jobs import follow, pair
from caravan.cli.session import Session, with_session
from caravan.post_training.v1 import jobs_pb2
from caravan.trainings import TrainingParameters

app = typer.Typer(help="Train a model, and follow the training.", no_args_is_help=True)

Model = Annotated[
    str, typer.Argument(help="Registered model, Hugging Face id, or folder of the service's.", show_default=False)
]
Dataset = Annotated[str, typer.Argument(help="Data set to train on.", show_default=False)]
JobId = Annotated[str | None, typer.Option("--id", help="Identifier of the job. Default: the service makes one.")]
Validation = Annotated[str | None, typer.Option("--validation", help="Data set to evaluate on.")]
Epochs = Annotated[int | None, typer.Option("--epochs", "-e", min=1, help="Times that the rows are gone through.")]
MaxSteps = Annotated[int | None, typer.Option("--max-steps", min=1, help="Most steps.")]
BatchSize = Annotated[int | None, typer.Option("--batch-size", "-b", min=1, help="Rows of one step.")]
Rate = Annotated[float | None, typer.Option("--lr", help="Highest learning rate.")]
MaxLength = Annotated[int | None, typer.Option("--max-length", min=8, help="Longest row in tokens.")]
Packed = Annotated[bool | None, typer.Option("--packed/--not-packed", help="Put several rows into one sequence.")]
Seed = Annotated[int | None, typer.Option("--seed", help="Seed of everything that is left to chance.")]
Algorithm = Annotated[str | None, typer.Option("--algorithm", "-a", help="What is trained: full, lora, qlora or dora.")]
Rank = Annotated[int | None, typer.Option("--rank", min=1, help="Rank of the adapter.")]
Alpha = Annotated[int | None, typer.Option("--alpha", min=1, help="Scale of the adapter.")]
Modules = Annotated[
    list[str] | None, typer.Option("--module", help="Attention projection that gets an adapter; again for more.")
]
Mlp = Annotated[bool | None, typer.Option("--mlp/--no-mlp", help="Adapt the feed-forward layers too.")]
Register = Annotated[str | None, typer.Option("--register", "-r", help="Serve the result as a model of this name.")]
Prompt = Annotated[str | None, typer.Option("--canary-prompt", help="Prompt that the new model must answer first.")]
Expected = Annotated[str | None, typer.Option("--canary-expected", help="Text that the answer must contain.")]
Config = Annotated[
    Path | None, typer.Option("--config", help="File with the training_config as JSON; options win over it.")
]
Label = Annotated[list[str] | None, typer.Option("--label", help="A label of the job, name=value; again for more.")]
Check = Annotated[bool, typer.Option("--check", help="Check and estimate; no job is made.")]
Detach = Annotated[bool, typer.Option("--detach", "-d", help="Do not follow the job.")]


@with_session
def sft(  # noqa: PLR0913 - one parameter an option
    session: Session,
    *,
    model: Model,
    dataset: Dataset,
    job_id: JobId = None,
    validation: Validation = None,
    epochs: Epochs = None,
    max_steps: MaxSteps = None,
    batch_size: BatchSize = None,
    lr: Rate = None,
    max_length: MaxLength = None,
    packed: Packed = None,
    seed: Seed = None,
    algorithm: Algorithm = "lora",
    rank: Rank = None,
    alpha: Alpha = None,
    modules: Modules = None,
    mlp: Mlp = None,
    register: Register = None,
    canary_prompt: Prompt = None,
    canary_expected: Expected = None,
    config: Config = None,
    label: Label = None,
    check: Check = False,
    detach: Detach = False,
) -> None:
    """Fine-tune a model on dialogs or instructions."""
    parameters = _parameters(locals())
    made = session.client.post_training.supervised_fine_tune(model, dataset, **parameters)
    _go_on(session, made, detach=detach)


@with_session
def dpo(  # noqa: PLR0913 - one parameter an option
    session: Session,
    *,
    model: Model,
    dataset: Dataset,
    beta: Annotated[float | None, typer.Option("--beta", help="How closely it keeps to where it started.")] = None,
    loss: Annotated[str | None, typer.Option("--loss", help="sigmoid, hinge, ipo or kto_pair.")] = None,
    job_id: JobId = None,
    validation: Validation = None,
    epochs: Epochs = None,
    max_steps: MaxSteps = None,
    batch_size: BatchSize = None,
    lr: Rate = None,
    max_length: MaxLength = None,
    packed: Packed = None,
    seed: Seed = None,
    algorithm: Algorithm = "lora",
    rank: Rank = None,
    alpha: Alpha = None,
    modules: Modules = None,
    mlp: Mlp = None,
    register: Register = None,
    canary_prompt: Prompt = None,
    canary_expected: Expected = None,
    config: Config = None,
    label: Label = None,
    check: Check = False,
    detach: Detach = False,
) -> None:
    """Optimise a model for preferences."""
    parameters = _parameters(locals())
    made = session.client.post_training.preference_optimize(model, dataset, beta=beta, loss=loss, **parameters)
    _go_on(session, made, detach=detach)


@with_session
def reward(  # noqa: PLR0913 - one parameter an option
    session: Session,
    *,
    model: Model,
    dataset: Dataset,
    job_id: JobId = None,
    validation: Validation = None,
    epochs: Epochs = None,
    max_steps: MaxSteps = None,
    batch_size: BatchSize = None,
    lr: Rate = None,
    max_length: MaxLength = None,
    seed: Seed = None,
    algorithm: Algorithm = None,
    rank: Rank = None,
    alpha: Alpha = None,
    config: Config = None,
    label: Label = None,
    check: Check = False,
    detach: Detach = False,
) -> None:
    """Train a reward model on preferences."""
    parameters = _parameters(locals())
    made = session.client.post_training.train_reward_model(model, dataset, **parameters)
    _go_on(session, made, detach=detach)


def _parameters(options: dict[str, Any]) -> TrainingParameters:
    """What the options ask for, in the client's words."""
    given = {name: value for name, value in options.items() if value is not None and value != []}
    known = set(TrainingParameters.__annotations__)
    parameters: dict[str, Any] = {name: value for name, value in given.items() if name in known}
    if path := given.get("config"):
        parameters["training_config"] = read_json(path, "--config", dict)
    named = {"job_id": "job_uuid", "validation": "validation_dataset", "check": "validate_only"}
    parameters |= {theirs: given[ours] for ours, theirs in named.items() if given.get(ours)}
    parameters["labels"] = dict(pair(one) for one in given.get("label", ()))
    if any(name in given for name in ("register", "canary_prompt", "canary_expected")):
        parameters["auto_register"] = {
            "model_id": given.get("register", ""),
            "canary_prompt": given.get("canary_prompt", ""),
            "canary_expected": given.get("canary_expected", ""),
        }
    return cast("TrainingParameters", parameters)


def _go_on(session: Session, made: Any, *, detach: bool) -> None:
    """Shows what a training will take, and follows it."""
    if not made.job_uuid:
        _tell_estimate(session, made.estimate, made)
        return
    if detach:
        if session.json:
            session.write_json(made)
        else:
            session.write(f"{made.job_uuid}\n")
        return
    if not session.json:
        session.err.print(f"job {made.job_uuid}", style="bold", markup=False)
    follow(session, made.job_uuid)
    if not session.json:
        session.write(f"{made.job_uuid}\n")


def _tell_estimate(session: Session, estimate: jobs_pb2.TrainingEstimate, made: Message) -> None:
    if session.json:
        session.write_json(made)
        return
    facts = [
        ["rows", f"{estimate.rows:,}"],
        ["tokens", f"{estimate.tokens:,}"],
        ["steps", f"{estimate.steps:,}"],
        ["parameters that are trained", f"{estimate.trainable_parameters:,} of {estimate.total_parameters:,}"],
        ["memory of a process", f"{estimate.memory_bytes / 2**20:,.0f} MiB"],
        ["space on disk", f"{estimate.disk_bytes / 2**20:,.0f} MiB"],
        ["time", str(estimate.duration.ToTimedelta())],
        *(["note", note] for note in estimate.notes),
    ]
    session.write_table(["estimate", ""], facts, empty="")


app.command("sft")(sft)
app.command("dpo")(dpo)
app.command("reward")(reward)
