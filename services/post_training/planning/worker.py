"""`python -m services.post_training.planning`: checks and estimates trainings, a line of JSON in, a line out, until its input ends."""

import json
import sys
from pathlib import Path
from typing import Any

from google.protobuf import json_format

from caravan.post_training.v1 import jobs_pb2
from services.core.errors import FieldViolation
from services.post_training.planning.checks import model_field, quantization_missing, violations
from services.post_training.planning.estimate import estimate, gpu
from services.post_training.spec import TrainingSpec
from services.post_training.trainer.chat import ChatTokenizer
from services.post_training.trainer.checkpoints import ADAPTER_CONFIG
from services.post_training.trainer.problems import ModelError, PlatformError, RowError, TrainingError
from services.post_training.trainer.recipe import Recipe, recipe_of
from services.post_training.trainer.weights import Weights

_ROWS = "training_config.data_config.dataset_id"
_VALIDATION_ROWS = "training_config.data_config.validation_dataset_id"


def serve() -> None:
    """Answers requests until there are no more."""
    for line in sys.stdin:
        question = json.loads(line)
        answer = answer_to(TrainingSpec.from_json(json.dumps(question["spec"])), question["sampled_rows"])
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def answer_to(spec: TrainingSpec, sampled_rows: int) -> dict[str, Any]:
    """Returns a training's estimate, or what is wrong with it, as JSON.

    Args:
        spec: What it would be given.
        sampled_rows: Most rows that are turned into tokens.
    """
    request = spec.parsed_request()
    recipe = recipe_of(spec.kind, request)
    try:
        model = _model_folder(spec)
        weights = Weights.read(model)
        _look_at_model(model, weights, recipe)
        found = violations(spec, recipe, weights)
        if found:
            return _refusal(found)
        _look_at_platform(recipe)
        return {"estimate": _as_json(estimate(spec, recipe, weights, model, sampled_rows))}
    except ModelError as error:
        return _refusal([FieldViolation(model_field(request), error.message)], error.reason)
    except PlatformError as error:
        return {"precondition": error.message, "reason": error.reason}
    except RowError as error:
        field = _VALIDATION_ROWS if error.metadata.get("set") == "validation" else _ROWS
        return _refusal([FieldViolation(field, error.message)], error.reason)
    except TrainingError as error:
        return _refusal([FieldViolation("", error.message)], error.reason)


def _model_folder(spec: TrainingSpec) -> Path:
    continued = Path(spec.continue_from) if spec.continue_from else None
    return Path(spec.base_model) if continued is None or (continued / ADAPTER_CONFIG).is_file() else continued


def _look_at_model(model: Path, weights: Weights, recipe: Recipe) -> None:
    architecture = weights.architecture
    generative = architecture.endswith(("ForCausalLM", "ForConditionalGeneration", "LMHeadModel"))
    scores = architecture.endswith("ForSequenceClassification") and recipe.kind == "train_reward_model"
    if not generative and not scores:
        raise ModelError(f"is a {architecture or 'model of no known kind'}; a model that writes text is needed")
    if not ChatTokenizer(model).has_template:
        raise ModelError(
            "has no chat template (chat_template.jinja); name a model that is made for dialogs, or add one"
        )


def _look_at_platform(recipe: Recipe) -> None:
    if quantization_missing(recipe):
        raise PlatformError("QLoRA needs 4-bit kernels, and bitsandbytes is not installed; use LoRA, or install it")
    if recipe.dtype == "fp16" and not gpu():
        raise PlatformError("training_config.dtype: fp16 needs a GPU; use bf16 or fp32")


def _refusal(found: list[FieldViolation], reason: str = "INVALID_TRAINING") -> dict[str, Any]:
    return {"violations": [[violation.field, violation.description] for violation in found], "reason": reason}


def _as_json(estimated: jobs_pb2.TrainingEstimate) -> dict[str, Any]:
    text: dict[str, Any] = json_format.MessageToDict(estimated, preserving_proto_field_name=True)
    return text
