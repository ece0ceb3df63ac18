"""A training that only counts: it speaks as the real one does, writes checkpoints as it does, and does what its spec tells it to.

`python trainer_program.py SPEC`, the spec a JSON object: folder, steps, seconds (of one step), every (steps between checkpoints), and what
goes wrong: kill_at, exit_at, fail_at (step), grab (bytes), deaf (does not hear SIGTERM), once (goes wrong the first time only), chatter
(log lines a step).
"""

import ctypes
import hashlib
import json
import os
import signal
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

stopping = threading.Event()


def say(**event: Any) -> None:
    """An event on a line of its own."""
    try:
        sys.stdout.write(json.dumps(event) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def stop(*_: Any) -> None:
    stopping.set()


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def save(folder: Path, step: int, *, final: bool = False) -> dict[str, Any]:
    name = "final" if final else f"step-{step:06d}"
    place = folder / "checkpoints" / name
    weights = json.dumps({"step": step}).encode() * 100
    made = {
        "identifier": name,
        "iters": str(step),
        "created_at": datetime.now(UTC).isoformat(),
        "files": [{"path": "weights/model.bin", "size_bytes": str(len(weights)), "sha256": digest(weights)}],
        "size_bytes": str(len(weights)),
        "sha256": digest(f"{digest(weights)}  weights/model.bin\n".encode()),
        "resumable": True,
        "is_final": final,
        "format": "CHECKPOINT_FORMAT_PEFT_ADAPTER",
        "metrics": {"loss": 1 / step if step else 9.0},
    }
    if not place.exists():
        part = place.with_name(f".part-{name}")
        (part / "weights").mkdir(parents=True, exist_ok=True)
        (part / "weights" / "model.bin").write_bytes(weights)
        (part / "checkpoint.json").write_text(json.dumps(made))
        part.rename(place)
    return made


def newest(folder: Path) -> int:
    steps = [0]
    for path in (folder / "checkpoints").glob("[!.]*/checkpoint.json"):
        made = json.loads(path.read_text())
        say(checkpoint={"checkpoint": made})
        steps.append(int(made["iters"]))
    return max(steps)


def goes_wrong(spec: dict[str, Any], folder: Path, step: int) -> None:
    mark = folder / "went-wrong"
    if spec.get("once") and mark.exists():
        return
    for what in ("kill_at", "exit_at", "fail_at"):
        if spec.get(what) == step:
            mark.touch()
            if what == "kill_at":
                os.kill(os.getpid(), signal.SIGKILL)
            if what == "exit_at":
                print("Traceback: out of ideas", file=sys.stderr, flush=True)
                os._exit(3)
            info = {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "LOSS_NOT_FINITE",
                "domain": "caravan",
            }
            error = {"code": 9, "message": f"the loss is not a number at step {step}", "details": [info]}
            say(end={"job": {"status": "JOB_STATUS_FAILED", "error": error}})
            os._exit(1)


def main() -> None:
    spec = json.loads(Path(sys.argv[1]).read_text())
    folder = Path(spec["folder"])
    signal.signal(signal.SIGTERM, signal.SIG_IGN if spec.get("deaf") else stop)
    # As the real one: it hears of its parent's death.
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
    (folder / "pids").open("a").write(f"{os.getpid()}\n")
    step = newest(folder)
    # What was told to a service that died before it had passed it on is told again.
    for earlier in range(spec["told_step"] + 1, step + 1):
        say(metrics={"step": str(earlier), "metrics": {"loss": 1 / earlier}})
    print(f"begins after step {step}, niceness {os.nice(0)}", file=sys.stderr, flush=True)
    held = b"x" * spec.get("grab", 0)
    while step < spec["steps"]:
        if stopping.is_set():
            say(checkpoint={"checkpoint": save(folder, step)})
            say(end={"job": {"status": "JOB_STATUS_PAUSED"}})
            return
        step += 1
        goes_wrong(spec, folder, step)
        time.sleep(spec.get("seconds", 0.01))
        say(metrics={"step": str(step), "metrics": {"loss": 1 / step, "at": time.time()}})
        say(progress={"step": str(step), "total_steps": str(spec["steps"]), "loss": 1 / step})
        for line in range(spec.get("chatter", 0)):
            print(f"line {line} of step {step}", flush=True)
        if step % spec.get("every", 5) == 0:
            say(checkpoint={"checkpoint": save(folder, step)})
    say(metrics={"step": str(step), "metrics": {"validation_loss": spec.get("result", 0.5)}, "evaluation": True})
    say(checkpoint={"checkpoint": save(folder, step, final=True)})
    say(end={"job": {"status": "JOB_STATUS_COMPLETED"}})
    del held


if __name__ == "__main__":
    main()
