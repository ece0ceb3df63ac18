"""The trials of a search: values that fit, in a known order."""

import pytest

from caravan.post_training.v1 import training_pb2
from services.core.errors import InvalidArgumentError
from services.post_training.jobs.trials import metric_of, request_of_trial, trials_of

LR = "training_config.optimizer_config.lr"
RANK = "algorithm_config.lora.rank"


def searched(parameters: dict[str, dict[str, object]], **config: object) -> training_pb2.SupervisedFineTuneRequest:
    request = training_pb2.SupervisedFineTuneRequest(
        model="base",
        training_config={"data_config": {"dataset_id": "rows"}},
        hyperparam_search_config=training_pb2.HyperparamSearchConfig(**config),  # type: ignore[arg-type]
    )
    for path, wanted in parameters.items():
        values = wanted.pop("values", [])
        made = training_pb2.HyperparamRange(**wanted)  # type: ignore[arg-type]
        for value in values:  # type: ignore[attr-defined]
            one = made.values.add()
            if isinstance(value, bool):
                one.bool_value = value
            elif isinstance(value, str):
                one.string_value = value
            else:
                one.number_value = value
        request.hyperparam_search_config.parameters[path].CopyFrom(made)
    return request


def test_a_grid_is_every_combination_in_the_order_of_paths_and_values() -> None:
    request = searched({LR: {"values": [0.1, 0.2]}, RANK: {"values": [4, 8]}})
    found = [dict(trial.parameters) for trial in trials_of(request)]
    assert found == [{RANK: rank, LR: lr} for rank in (4, 8) for lr in (0.1, 0.2)]
    own = request_of_trial(request, trials_of(request)[3])
    assert own.algorithm_config.lora.rank == 8
    assert own.training_config.optimizer_config.lr == 0.2
    assert not own.HasField("hyperparam_search_config")


def test_a_random_search_draws_the_same_values_for_the_same_seed() -> None:
    wanted = {LR: {"min": 1e-6, "max": 1e-2, "log_scale": True}, RANK: {"min": 1.0, "max": 64.0}}
    config = {"method": training_pb2.SEARCH_METHOD_RANDOM, "max_trials": 20}
    first = trials_of(searched({path: dict(how) for path, how in wanted.items()}, **config, seed=7))
    again = trials_of(searched({path: dict(how) for path, how in wanted.items()}, **config, seed=7))
    other = trials_of(searched({path: dict(how) for path, how in wanted.items()}, **config, seed=8))
    assert first == again != other
    assert len(first) == 20
    assert all(1e-6 <= float(trial.parameters[LR]) <= 1e-2 for trial in first)
    assert all(isinstance(trial.parameters[RANK], int) for trial in first)


def test_a_random_search_over_few_values_tries_none_twice() -> None:
    request = searched({RANK: {"values": [4, 8, 16]}}, method=training_pb2.SEARCH_METHOD_RANDOM, max_trials=10)
    assert sorted(int(trial.parameters[RANK]) for trial in trials_of(request)) == [4, 8, 16]


@pytest.mark.parametrize(
    ("parameters", "field", "told"),
    [
        ({"training_config.optimizer_config.speed": {"values": [1]}}, "", "there is no"),
        ({"training_config.optimizer_config": {"values": [1]}}, "", "not a message"),
        ({"model": {"values": ["other"]}}, "", "must be a field of one of"),
        ({"training_config.data_config.dataset_id": {"values": ["other"]}}, "", "not a data set"),
        ({RANK: {"values": [4, 2.5]}}, ".values[1]", "a whole number"),
        ({LR: {"values": ["fast"]}}, ".values[0]", "a number"),
        ({LR: {"values": [0.1, 5]}}, ".values[1]", "less than or equal to 1"),
        ({LR: {"min": 0.1, "max": 3.0}}, ".max", "less than or equal to 1"),
        ({"training_config.dtype": {"values": ["BF17"]}}, ".values[0]", "TRAINING_DTYPE_BF16"),
        ({"training_config.data_config.shuffle": {"min": 0.0, "max": 1.0}}, "", "only a number"),
    ],
)
def test_what_does_not_fit_is_told_with_its_place(
    parameters: dict[str, dict[str, object]], field: str, told: str
) -> None:
    config = {} if "values" in next(iter(parameters.values())) else {"method": training_pb2.SEARCH_METHOD_RANDOM}
    with pytest.raises(InvalidArgumentError) as caught:
        trials_of(searched(parameters, **config))
    (violation, *_) = caught.value.violations
    assert violation.field == f'hyperparam_search_config.parameters["{next(iter(parameters))}"]{field}'
    assert told in violation.description


def test_a_value_of_a_member_that_the_request_does_not_have_is_refused() -> None:
    request = searched({RANK: {"values": [4]}})
    request.algorithm_config.full.SetInParent()
    with pytest.raises(InvalidArgumentError, match="sets full and not lora"):
        trials_of(request)


def test_a_grid_that_is_larger_than_allowed_is_refused() -> None:
    request = searched({RANK: {"values": list(range(1, 12))}})
    with pytest.raises(InvalidArgumentError, match="must be at least 11"):
        trials_of(request)


def test_the_compared_metric_is_the_validation_loss_where_there_is_one() -> None:
    request = searched({RANK: {"values": [4]}})
    assert metric_of(request) == "loss"
    request.training_config.data_config.validation_dataset_id = "others"
    assert metric_of(request) == "validation_loss"
