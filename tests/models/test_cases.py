"""How answers are judged."""

from dataclasses import replace

from models.recipe.cases import Answer, Case, is_right
from models.recipe.chat_evaluation import held_out_cases, paraphrased_cases
from models.recipe.dialog import Turn
from models.recipe.evaluation import Row, table

DRAWN = held_out_cases(seed=1)


def reference(case: Case) -> Answer:
    """What the recipe expects."""
    return Answer(case.expected.text, tuple((call.name, dict(call.arguments)) for call in case.expected.calls))


def test_each_row_has_at_least_100_answers_and_40_of_the_paraphrases():
    held_out = [case.row for case in DRAWN]
    paraphrased = [case.row for case in paraphrased_cases()]
    assert min(held_out.count(row) for row in held_out) >= 100
    assert min(paraphrased.count(row) for row in paraphrased) >= 40


def test_the_reference_answer_is_right():
    assert all(is_right(case, reference(case)) for case in [*DRAWN, *paraphrased_cases()])


def test_a_call_with_one_wrong_value_is_wrong():
    for case in (case for case in DRAWN if case.expected.calls and case.expected.calls[0].arguments):
        (name, arguments), *others = reference(case).calls
        first = next(iter(arguments))
        assert not is_right(case, Answer("", ((name, {**arguments, first: "cheese"}), *others)))
        assert not is_right(case, Answer("", ((f"{name}_", arguments), *others)))


def test_a_call_where_none_is_needed_is_wrong():
    for case in (case for case in DRAWN if not case.expected.calls):
        assert not is_right(case, Answer("", (("get_weather", {"city": "Oslo"}),)))
        assert case.row == "no tool needed" or not is_right(case, Answer("Blue cheese."))


def test_an_answer_over_a_tools_result_may_be_worded_freely():
    drawn = next(case for case in DRAWN if case.row == "answer uses the tool result")
    case = replace(
        drawn,
        expected=Turn("assistant", "The price is 12 and the owner is Ines."),
        evidence='{"price": 12, "owner": "Ines"}',
    )
    assert is_right(case, Answer("Ines owns it, the price is 12, owner known."))
    assert not is_right(case, Answer("The price is 13 and the owner is Ines."))


def test_the_table_is_markdown_with_shares():
    rows = [Row("m", "calls", ">= 95%", (9, 10), (1, 2)), Row("m", "talks", "", (1, 4))]
    assert table(rows).splitlines()[2:] == [
        "| m | calls | >= 95% | 90.0% | 10 | 50.0% | 2 |",
        "| m | talks |  | 25.0% | 4 |  |  |",
    ]
