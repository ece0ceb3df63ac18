import pytest

from benchmarks.shields.code_cases import code_cases
from services.safety.providers.code_scanner.config import LANGUAGES
from services.safety.providers.code_scanner.rulebook import Rule, rulebook
from services.safety.providers.code_scanner.scanning import scan
from services.safety.providers.code_scanner.snippets import snippets

RULES = [(language, rule) for language, rules in rulebook().items() for rule in rules]
NAMES = [f"{language}-{rule.rule_id}" for language, rule in RULES]


def test_every_language_has_rules():
    assert set(rulebook()) == LANGUAGES


@pytest.mark.parametrize(("language", "rule"), RULES, ids=NAMES)
def test_a_rule_finds_what_is_bad_and_leaves_alone_what_is_good(language: str, rule: Rule):
    # Bandit reads what is valid Python; the rules are for what is not.
    broken = "\n)(\n" if language == "python" else ""
    assert rule.rule_id in {issue.rule_id for issue in scan(language, rule.bad + broken)}
    assert scan(language, rule.good + broken) == []


def test_a_comment_does_not_switch_the_scanner_off():
    [issue] = [
        one
        for one in scan("python", "import os\nos.system(command)  # nosec\n")
        if one.severity == "medium" or one.line == 2
    ]
    assert issue.rule_id == "B605"
    assert issue.line == 2


@pytest.mark.parametrize(
    "code",
    ["(" * 5000, "-" * 20_000 + "1", "a." * 5000 + "b", "\x00", "\ud800", "if x:\n" * 500, "[" * 90 + "]" * 90, ""],
)
@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_no_code_crashes_the_scanner(language: str, code: str):
    scan(language, code)


def test_lines_are_those_of_the_code_also_where_a_grammar_needs_more_around_it():
    assert [issue.line for issue in scan("php", "$x = 1;\nsystem($x);")] == [2]
    assert [issue.line for issue in scan("go", 'x := 1\nexec.Command("sh", "-c", x)')] == [2]
    assert [issue.line for issue in scan("sql", "SELECT 1;\n-- DELETE FROM a;\n\nDELETE FROM users;\n")] == [4]


def test_a_comment_or_a_text_in_sql_is_no_statement():
    assert scan("sql", "/* DROP TABLE a; */ SELECT 'DROP TABLE b;';") == []


def test_characters_that_reorder_code_are_found():
    assert [issue.rule_id for issue in scan("c", "int a; /* \u202e } if (admin) { */")] == ["bidirectional-controls"]


@pytest.mark.parametrize(
    ("text", "languages"),
    [
        ("```python\nx\n```", [("python",)]),
        ("~~~js\nx\n~~~", [("javascript",)]),
        ("> ```sh\n> x\n> ```", [("bash",)]),
        ("```\nimport os\nos.system(x)\n```", [("python",)]),
        ("```text\nsubprocess.run(x, shell=True)\n```", [("python",)]),
        ("````md\n```python\nx\n```\n````", []),
        ("```python\nnever closed", [("python",)]),
        ("Please select a seat from the front row, and import nothing.", []),
        ("#include <stdio.h>\nint main() { gets(b); }", [("c",)]),
    ],
)
def test_code_is_found_in_fences_and_without_them(text: str, languages: list[tuple[str, ...]]):
    assert [snippet.languages for snippet in snippets(text)] == languages


def test_places_of_snippets_are_those_of_the_text():
    text = "Run\n```python\nimport os\n```\nor\n```js\nlet a = 1\n```\n"
    assert [text[one.start : one.start + len(one.code)] for one in snippets(text)] == ["import os\n", "let a = 1\n"]


def test_an_argument_of_the_code_interpreter_is_python():
    assert [one.languages for one in snippets("compute(3)", "code_interpreter")] == [("python",)]
    assert snippets("compute(3)", "search") == []


def test_the_evaluations_language_is_recognized_without_a_label():
    texts = [
        case for case in code_cases(2, 200) if case.bad and "```\n" in case.text and f"```{case.kind}" not in case.text
    ]
    assert texts
    for case in texts:
        assert any(case.kind in one.languages for one in snippets(case.text)), case.text
