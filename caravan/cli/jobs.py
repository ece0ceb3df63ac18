"""`caravan jobs`: trainings and generations, what they do and what they made."""

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from caravan.cli.job_plots import Curves, as_picture, in_terminal
from caravan.cli.job_view import JobView
from caravan.cli.session import Session, with_session
from caravan.errors import InvalidInputError
from caravan.post_training.v1 import jobs_pb2
from caravan.trainings import kind_name, status_name

app = typer.Typer(help="See what trainings do, stop them, and fetch what they made.", no_args_is_help=True)
_STYLES = {"completed": "green", "failed": "red", "cancelled": "yellow", "in progress": "cyan"}
_PLOT_LINES = 18

JobId = Annotated[str, typer.Argument(help="Identifier of the job.", show_default=False)]
Checkpoint = Annotated[
    str, typer.Option("--checkpoint", "-c", help="Checkpoint. Default: the job's result, or its last one.")
]
Reason = Annotated[str, typer.Option("--reason", help="Why, for people to read.", show_default=False)]


@with_session
def list_jobs(
    session: Session,
    *,
    status: Annotated[
        list[str] | None,
        typer.Option("--status", "-s", help="Only those: scheduled, in_progress, ...; again for more."),
    ] = None,
    kind: Annotated[
        list[str] | None, typer.Option("--kind", "-k", help="Only those: supervised_fine_tune, ...; again for more.")
    ] = None,
    label: Annotated[list[str] | None, typer.Option("--label", help="Only those with a label, name=value.")] = None,
    parent: Annotated[str, typer.Option("--search", help="Only trials of this search.", show_default=False)] = "",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Most jobs.")] = 50,
) -> None:
    """List jobs, newest first."""
    found = []
    wanted = session.client.post_training.list(
        statuses=status or (), kinds=kind or (), labels=dict(pair(one) for one in label or ()), parent=parent
    )
    for job in wanted:
        found.append(job)
        if len(found) >= limit:
            break
    if session.json:
        session.write_list("jobs", found)
        return
    rows: list[list[str | Text]] = [
        [
            job.job_uuid,
            kind_name(job.kind),
            _status(job),
            _how_far(job),
            f"{job.scheduled_at.ToDatetime():%Y-%m-%d %H:%M:%S}",
        ]
        for job in found
    ]
    session.write_table(["job", "kind", "status", "progress", "scheduled"], rows, empty="there are no jobs")


@with_session
def show(session: Session, job_uuid: JobId) -> None:
    """Show a job."""
    job = session.client.post_training.get(job_uuid)
    if session.json:
        session.write_json(job)
        return
    facts: list[list[str | Text]] = [
        ["kind", kind_name(job.kind)],
        ["status", _status(job)],
        ["why", job.error.message or job.status_reason],
        ["progress", _how_far(job)],
        ["attempts", str(job.attempts)],
        ["model", job.registered_model_id],
        ["checkpoints", ", ".join(checkpoint.identifier for checkpoint in job.checkpoints)],
    ]
    session.write_table(["job", job.job_uuid], [fact for fact in facts if fact[1]], empty="")


@with_session
def watch(
    session: Session,
    *,
    job_uuid: JobId,
    from_sequence: Annotated[int, typer.Option("--from", min=0, help="Number of the first event. 0: all.")] = 0,
    logs: Annotated[bool, typer.Option("--logs", help="Show log lines of every level.")] = False,
) -> None:
    """Follow a job to its end, with a bar and its loss. Ctrl-C leaves it running."""
    follow(session, job_uuid, from_sequence=from_sequence, logs=logs)


@with_session
def logs(session: Session, job_uuid: JobId) -> None:
    """Write a job's log lines, those to come as they come."""
    for event in session.client.post_training.watch(job_uuid):
        if not event.HasField("log"):
            continue
        if session.json:
            session.write_json_line(event)
        else:
            session.write(f"{event.log.line}\n")


@with_session
def plot(
    session: Session,
    *,
    job_uuid: JobId,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Picture to write (.png, .svg, .pdf). Default: drawn here.")
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option("--metric", "-m", help="Metric. Default: the losses; again for more.")
    ] = None,
) -> None:
    """Draw a job's metrics, as far as they are there."""
    curves = Curves()
    job = session.client.post_training.get(job_uuid)
    if job.last_sequence:
        for event in session.client.post_training.watch(job_uuid):
            curves.add(event)
            if event.sequence >= job.last_sequence:
                break
    names = curves.wanted(metric or [])
    if out is None:
        session.write(in_terminal(curves, names, min(session.out.width, 120), _PLOT_LINES) + "\n")
        return
    as_picture(curves, names, job_uuid, out)
    session.err.print(f"{out} is written", markup=False)


@with_session
def cancel(session: Session, job_uuid: JobId, reason: Reason = "") -> None:
    """Cancel a job; what it has trained is kept as a checkpoint."""
    _tell(session, session.client.post_training.cancel(job_uuid, reason=reason))


@with_session
def pause(session: Session, job_uuid: JobId, reason: Reason = "") -> None:
    """Make a job rest, with a checkpoint."""
    _tell(session, session.client.post_training.pause(job_uuid, reason=reason))


@with_session
def resume(session: Session, job_uuid: JobId, reason: Reason = "") -> None:
    """Put a job that rests, failed or was cancelled back into the queue."""
    _tell(session, session.client.post_training.resume(job_uuid, reason=reason))


@with_session
def delete(session: Session, job_uuid: JobId) -> None:
    """Delete a job that has ended, with what it made. A model that is served from it stays."""
    session.client.post_training.delete(job_uuid)
    if session.json:
        session.write("{}\n")
    else:
        session.err.print(f"{job_uuid} is deleted", markup=False)


@with_session
def checkpoints(session: Session, job_uuid: JobId) -> None:
    """List what a job has made."""
    artifacts = session.client.post_training.artifacts(job_uuid)
    if session.json:
        session.write_json(artifacts)
        return
    rows = [
        [one.identifier, str(one.iters), f"{one.size_bytes:,}", one.sha256[:12], "result" if one.is_final else ""]
        for one in artifacts.checkpoints
    ]
    session.write_table(["checkpoint", "steps", "bytes", "sha256", ""], rows, empty="there are no checkpoints")


@with_session
def download(session: Session, job_uuid: JobId, folder: Path, checkpoint: Checkpoint = "") -> None:
    """Fetch a checkpoint's files into a folder; they are compared with their digests."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    quiet = session.json or not session.err.is_terminal
    with Progress(*columns, console=session.err, transient=True, disable=quiet) as progress:
        bar = progress.add_task(job_uuid, total=None)
        fetched = session.client.post_training.download(
            job_uuid,
            folder,
            identifier=checkpoint,
            received=lambda count: progress.update(bar, completed=count),
        )
    if session.json:
        session.write_json(fetched)
    else:
        session.err.print(f"{fetched.identifier} is in {folder}: {len(fetched.files)} files", markup=False)


@with_session
def export(
    session: Session,
    *,
    job_uuid: JobId,
    checkpoint: Annotated[str, typer.Argument(help="The checkpoint.", show_default=False)],
    form: Annotated[str, typer.Option("--form", help="peft_adapter or merged.")] = "merged",
) -> None:
    """Write a checkpoint in another form beside it."""
    with session.waiting("writing"):
        made = session.client.post_training.export(job_uuid, checkpoint, form)
    if session.json:
        session.write_json(made)
    else:
        session.write(f"{made.identifier}\n")


def follow(session: Session, job_uuid: str, *, from_sequence: int = 0, logs: bool = False) -> None:
    """Shows a job until it has ended; Ctrl-C leaves it running. Ends the command with 1 when the job did not complete.

    Args:
        session: Where to write.
        job_uuid: The job.
        from_sequence: Number of the first event.
        logs: Shows log lines of every level.
    """
    with JobView(session, logs=logs) as view:
        try:
            view.show_all(session.client.post_training.watch(job_uuid, from_sequence=from_sequence))
        except KeyboardInterrupt:
            session.err.print(f"{job_uuid} goes on; `caravan jobs watch {job_uuid}` follows it again", markup=False)
            return
    if view.ended is not None and view.ended.status != jobs_pb2.JOB_STATUS_COMPLETED:
        if view.ended.error.message:
            session.err.print(view.ended.error.message, style="red", markup=False)
        raise typer.Exit(1)


def pair(text: str) -> tuple[str, str]:
    """Splits `name=value`.

    Raises:
        InvalidInputError: There is no equals sign.
    """
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise InvalidInputError(f"--label: {text!r} is not name=value")
    return name, value


def _tell(session: Session, job: jobs_pb2.Job) -> None:
    if session.json:
        session.write_json(job)
    else:
        session.err.print(f"{job.job_uuid} is {status_name(job.status)}", markup=False)


def _status(job: jobs_pb2.Job) -> Text:
    name = status_name(job.status)
    place = f" ({job.queue_position} in the queue)" if job.HasField("queue_position") else ""
    return Text(name + place, style=_STYLES.get(name, ""))


def _how_far(job: jobs_pb2.Job) -> str:
    progress = job.progress
    if progress.rows:
        return f"{progress.rows} answers"
    loss = f", loss {progress.loss:.4g}" if progress.HasField("loss") else ""
    return f"{progress.step}/{progress.total_steps}{loss}" if progress.total_steps else ""


app.command("list")(list_jobs)
app.command("show")(show)
app.command("watch")(watch)
app.command("logs")(logs)
app.command("plot")(plot)
app.command("cancel")(cancel)
app.command("pause")(pause)
app.command("resume")(resume)
app.command("delete")(delete)
app.command("checkpoints")(checkpoints)
app.command("download")(download)
app.command("export")(export)
