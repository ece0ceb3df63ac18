"""The filters, as laws that hold for all scores and numbers."""

import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caravan.synthetic_data.v1.synthetic_data_pb2 import (
    FILTERING_FUNCTION_NONE,
    FILTERING_FUNCTION_RANDOM,
    FILTERING_FUNCTION_SIGMOID,
    FILTERING_FUNCTION_TOP_K,
    FILTERING_FUNCTION_TOP_K_TOP_P,
    FILTERING_FUNCTION_TOP_P,
    FILTERING_FUNCTION_UNSPECIFIED,
    FilterParams,
)
from services.post_training.synthesis.filters import Filter, FilterNumbers, fewest_to_reach, numbers_of, sigmoid

FUNCTIONS = [
    FILTERING_FUNCTION_NONE,
    FILTERING_FUNCTION_RANDOM,
    FILTERING_FUNCTION_TOP_K,
    FILTERING_FUNCTION_TOP_P,
    FILTERING_FUNCTION_TOP_K_TOP_P,
    FILTERING_FUNCTION_SIGMOID,
]
SCORES = st.floats(min_value=-1e6, max_value=1e6)


@st.composite
def cases(draw: st.DrawFn) -> tuple[FilterNumbers, int, int, list[float]]:
    dialogs, answers = draw(st.integers(1, 6)), draw(st.integers(1, 5))
    numbers = FilterNumbers(
        function=draw(st.sampled_from(FUNCTIONS)),
        seed=draw(st.integers(-(2**63), 2**63 - 1)),
        top_k=draw(st.integers(1, 40)),
        top_p=draw(st.floats(min_value=0, max_value=1, exclude_min=True)),
        sample_rate=draw(st.floats(min_value=0, max_value=1, exclude_min=True)),
        shift=draw(SCORES),
        scale=draw(st.floats(min_value=1e-6, max_value=1e6)),
        per_dialog=draw(st.booleans()),
    )
    scores = draw(st.lists(SCORES, min_size=dialogs * answers, max_size=dialogs * answers))
    return numbers, dialogs, answers, scores


def kept(function: int, scores: Sequence[float], dialogs: int = 1, **numbers: Any) -> list[int]:
    filled = FilterNumbers(**{"function": function, "seed": 0, "top_k": 1, **numbers})
    return Filter(filled, dialogs, len(scores) // dialogs).of_all(scores)


@settings(max_examples=300)
@given(cases())
def test_the_same_seed_keeps_the_same_answers_in_order_and_early_decisions_are_the_final_ones(
    case: tuple[FilterNumbers, int, int, list[float]],
) -> None:
    numbers, dialogs, answers, scores = case
    found = Filter(numbers, dialogs, answers).of_all(scores)
    assert found == Filter(numbers, dialogs, answers).of_all(scores)
    assert found == sorted(set(found))
    assert all(0 <= place < dialogs * answers for place in found)
    decider = Filter(numbers, dialogs, answers)
    if not decider.needs_all_scores:
        # Whatever order the dialogs become complete in.
        early = [
            dialog * answers + place
            for dialog in reversed(range(dialogs))
            for place in decider.of_dialog(dialog, scores[dialog * answers : (dialog + 1) * answers])
        ]
        assert sorted(early) == found


@given(cases())
def test_nothing_left_out_by_rank_is_better_than_what_is_kept(
    case: tuple[FilterNumbers, int, int, list[float]],
) -> None:
    numbers, dialogs, answers, scores = case
    if numbers.function not in (FILTERING_FUNCTION_TOP_K, FILTERING_FUNCTION_TOP_P, FILTERING_FUNCTION_TOP_K_TOP_P):
        return
    found = set(Filter(numbers, dialogs, answers).of_all(scores))
    groups = (
        [range(dialog * answers, (dialog + 1) * answers) for dialog in range(dialogs)]
        if numbers.per_dialog
        else [range(dialogs * answers)]
    )
    for group in groups:
        inside = [scores[place] for place in group if place in found]
        outside = [scores[place] for place in group if place not in found]
        assert inside
        assert not outside or min(inside) >= max(outside)
        if numbers.function == FILTERING_FUNCTION_TOP_K:
            assert len(inside) == min(numbers.top_k, len(group))
        if numbers.function == FILTERING_FUNCTION_TOP_K_TOP_P:
            assert len(inside) <= numbers.top_k


@given(st.lists(SCORES, min_size=1, max_size=30), st.floats(min_value=0.01, max_value=1))
def test_top_p_keeps_the_fewest_whose_share_reaches_p(scores: list[float], share: float) -> None:
    ranked = sorted(scores, reverse=True)
    count = fewest_to_reach(share, ranked)
    weights = [math.exp(score - ranked[0]) for score in ranked]
    assert count == len(ranked) or math.fsum(weights[:count]) >= share * math.fsum(weights) * (1 - 1e-12)
    assert count == 1 or share == 1 or math.fsum(weights[: count - 1]) < share * math.fsum(weights) * (1 + 1e-12)


def test_top_p_worked_by_hand() -> None:
    # Shares 0.7, 0.2 and 0.1.
    scores = [math.log(share) for share in (0.1, 0.7, 0.2)]
    assert kept(FILTERING_FUNCTION_TOP_P, scores, top_p=0.7 - 1e-9) == [1]
    assert kept(FILTERING_FUNCTION_TOP_P, scores, top_p=0.8) == [1, 2]
    assert kept(FILTERING_FUNCTION_TOP_P, scores, top_p=1.0) == [0, 1, 2]
    # Of the two best alone the shares are 7/9 and 2/9.
    assert kept(FILTERING_FUNCTION_TOP_K_TOP_P, scores, top_k=2, top_p=0.77) == [1]
    assert kept(FILTERING_FUNCTION_TOP_K_TOP_P, scores, top_k=2, top_p=0.95) == [1, 2]


def test_of_equal_scores_the_earlier_answer_comes_first() -> None:
    assert kept(FILTERING_FUNCTION_TOP_K, [1.0, 1.0, 1.0], top_k=2) == [0, 1]


def test_a_random_sample_has_the_share_that_is_asked_for() -> None:
    assert len(kept(FILTERING_FUNCTION_RANDOM, [0.0] * 1000, sample_rate=0.25)) == 250
    # One answer to each dialog cannot be halved: half of the dialogs keep theirs.
    many = kept(FILTERING_FUNCTION_RANDOM, [0.0] * 2000, dialogs=2000, sample_rate=0.5, per_dialog=True)
    assert len(many) == pytest.approx(1000, abs=100)
    assert kept(FILTERING_FUNCTION_RANDOM, [0.0] * 100, seed=1) != kept(FILTERING_FUNCTION_RANDOM, [0.0] * 100, seed=2)


@pytest.mark.parametrize(("score", "share"), [(2.0, 0.5), (4.0, sigmoid(1.0)), (-1e9, 0.0), (1e9, 1.0)])
def test_sigmoid_keeps_with_the_chance_of_the_score(score: float, share: float) -> None:
    found = kept(FILTERING_FUNCTION_SIGMOID, [score] * 2000, shift=2.0, scale=2.0)
    assert len(found) / 2000 == pytest.approx(share, abs=0.04)


def test_what_a_request_leaves_out_is_filled_in() -> None:
    assert numbers_of(FILTERING_FUNCTION_UNSPECIFIED, FilterParams(), 7, 5) == FilterNumbers(
        FILTERING_FUNCTION_NONE, seed=5, top_k=7
    )
    params = FilterParams(seed=0, per_dialog=True, scale=0.5)
    filled = numbers_of(FILTERING_FUNCTION_TOP_K, params, 7, 5)
    assert (filled.seed, filled.top_k, filled.scale) == (0, 1, 0.5)
