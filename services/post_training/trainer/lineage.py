"""Where a training's checkpoints come from."""

import hashlib
import json
import platform
import threading
from importlib import metadata
from pathlib import Path

from caravan.post_training.v1 import checkpoints_pb2
from services.post_training.spec import TrainingSpec
from services.post_training.trainer.recipe import Recipe
from services.post_training.trainer.weights import digest

_LIBRARIES = ("accelerate", "bitsandbytes", "peft", "safetensors", "tokenizers", "torch", "transformers", "trl")


class LineageOf:
    """The lineage of a training; the base model's digest is taken meanwhile, since that reads all of it."""

    def __init__(self, spec: TrainingSpec, recipe: Recipe) -> None:
        """Begins to take the digest.

        Args:
            spec: What the training was given.
            recipe: The training.
        """
        self._spec = spec
        self._recipe = recipe
        self._digest = ""
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._take_digest, daemon=True)
        self._thread.start()

    def _take_digest(self) -> None:
        try:
            self._digest = digest(Path(self._spec.base_model))
        except OSError as error:
            self._error = error

    def get(self) -> checkpoints_pb2.Lineage:
        """Returns the lineage.

        Raises:
            OSError: The base model's files cannot be read.
        """
        self._thread.join()
        if self._error is not None:
            raise self._error
        spec = self._spec
        request = spec.parsed_request()
        lineage = checkpoints_pb2.Lineage(
            base_model=self._recipe.model,
            base_model_sha256=self._digest,
            dataset_id=spec.rows.dataset_id,
            dataset_revision=spec.rows.revision,
            dataset_sha256=spec.rows.sha256,
            config_sha256=config_digest(spec),
            seed=self._recipe.seed,
            versions=versions(),
        )
        if request.HasField("continue_from"):
            lineage.continued_from.CopyFrom(request.continue_from)
        return lineage


def config_digest(spec: TrainingSpec) -> str:
    """Returns the SHA-256 of a training's whole configuration.

    Args:
        spec: What the training was given.
    """
    text = json.dumps([spec.kind, spec.request, spec.num_processes], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def versions() -> dict[str, str]:
    """Returns the versions of the libraries that a training rests on."""
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
