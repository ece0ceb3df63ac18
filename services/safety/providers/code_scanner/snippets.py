"""Where code is in a text, and what language it is in: by the fence's label, else by what it looks like."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from services.safety.expressions import EncodedText, Expression
from services.safety.providers.code_scanner.config import Language

_FENCE = re.compile(r"[ \t>]{0,12}(`{3,64}|~{3,64})[ \t]*([A-Za-z0-9+#_.-]{0,32})")
_LABELS: dict[str, Language] = {
    **dict.fromkeys(("python", "py", "python3", "py3", "ipython", "pycon", "python2"), "python"),
    **dict.fromkeys(("javascript", "js", "jsx", "node", "mjs", "cjs"), "javascript"),
    **dict.fromkeys(("typescript", "ts", "tsx"), "typescript"),
    "java": "java",
    **dict.fromkeys(("go", "golang"), "go"),
    "c": "c",
    **dict.fromkeys(("cpp", "c++", "cc", "cxx", "hpp"), "cpp"),
    **dict.fromkeys(("php", "php7", "php8"), "php"),
    **dict.fromkeys(("ruby", "rb", "rails"), "ruby"),
    **dict.fromkeys(
        ("bash", "sh", "shell", "zsh", "ksh", "console", "shell-session", "shellsession", "terminal"), "bash"
    ),
    **dict.fromkeys(("sql", "mysql", "postgres", "postgresql", "psql", "plsql", "tsql", "sqlite"), "sql"),
}
_ENOUGH = 2
"""Points from which on a text is taken for code."""
_SIGNS: tuple[tuple[Language, int, str], ...] = (
    ("python", 2, r"(?m)^\s*(?:def \w+\(.*\).*:|class \w+.*:|import [a-z]\w*|from [\w.]+ import )"),
    ("python", 2, r"\b(?:os\.(?:system|popen)|subprocess\.\w+|pickle\.loads?|yaml\.load|hashlib\.\w+|requests\.\w+)\("),
    ("python", 1, r"(?m)^\s*(?:if|for|while|with|try|elif|else|except)\b.*:\s*$"),
    ("python", 1, r"(?m)\bself\.|^\s*@\w+|\bprint\(|\b(?:True|False|None)\b"),
    ("python", 2, r"(?m)^\s*(?:[\w.]+ ?= ?)?(?:eval|exec)\(|^>>> |\.execute\(f?['\"]|\bapp\.run\("),
    ("javascript", 2, r"\b(?:const|let|var) [\w${}, ]+\s*="),
    ("javascript", 2, r"\brequire\(['\"]|(?m)^import .* from ['\"]|\bmodule\.exports\b"),
    ("javascript", 2, r"\bfunction\s*\w*\([^)]*\)\s*\{|\bconsole\.log\(|\b(?:document|window)\.\w+|\bprocess\.env\b"),
    (
        "javascript",
        2,
        r"(?m)^\s*(?:[\w.]+ ?= ?)?eval\(|\.innerHTML\b|\bcrypto\.create|\breq\.(?:query|body|params)\b|\bjwt\.\w+\(",
    ),
    ("javascript", 1, r"=>|===|\bawait |\bnew Function\("),
    (
        "typescript",
        3,
        r"(?m)^\s*(?:export )?(?:interface \w+ \{|type \w+ =)|\w\??: (?:string|number|boolean|unknown|any)\b",
    ),
    (
        "java",
        3,
        r"\b(?:public|private|protected)\s+(?:static\s+)?(?:final\s+)?(?:class|void|interface|[A-Z]\w*)\b.*[({]",
    ),
    (
        "java",
        3,
        r"\bSystem\.out\.print|(?m)^import javax?\.|\bRuntime\.getRuntime\(|\bMessageDigest\.|\bCipher\.getInstance",
    ),
    ("java", 3, r"\bclass [A-Z]\w* (?:extends \w+ )?(?:implements [\w, ]+ )?\{"),
    ("java", 1, r"\b(?:String|int|boolean|List<\w+>) \w+\s*[=;]|\bthrows [A-Z]\w+"),
    ("go", 3, r"(?m)^package \w+\s*$|^func (?:\(\w+ \*?\w+\) )?\w+\("),
    ("go", 2, r":= |\bfmt\.\w+\(|\bexec\.Command|\btls\.Config\{"),
    ("c", 3, r"#include\s*[<\"]|\bint main\s*\("),
    ("c", 2, r"\bchar\s*\*?\s*\w+\s*\[|\b(?:void|int|char|size_t)\s+\*?\w+\([^)]*\)\s*\{"),
    ("c", 1, r"\b(?:printf|scanf|malloc|strcpy|gets|sprintf|sizeof)\s*\("),
    ("cpp", 4, r"\bstd::|\busing namespace \w+;|#include\s*<(?:iostream|vector|string|memory)>"),
    ("php", 4, r"<\?php|\$_(?:GET|POST|REQUEST|COOKIE|SERVER)\b"),
    ("php", 2, r"(?m)^\s*\$\w+\s*=[^=\n].*;\s*$"),
    ("ruby", 2, r"(?m)^\s*end\s*$|^require(?:_relative)? ['\"]|\.each do\b|\bparams\[:|^\s*class \w+ < [A-Z]"),
    ("ruby", 1, r"(?m)^\s*def \w+[^:\n]*$|^\s*puts "),
    ("ruby", 2, r"\b(?:Marshal|YAML)\.load|\bDigest::|\bOpenSSL::"),
    ("bash", 4, r"(?m)^#!.*\b(?:ba|z|da|k)?sh\b"),
    (
        "bash",
        2,
        r"(?m)^\s*(?:\$ |# )?(?:sudo |rm -\w|chmod (?:-R )?[0-7ugoa]|curl (?:-|https?:)|wget (?:-|https?:)|eval \"?\$|apt(?:-get)? )",
    ),
    ("bash", 2, r"\|\s*(?:sudo )?(?:ba|z)?sh\b|2>&1|>\s*/dev/null|(?m)^\s*(?:if \[|for \w+ in .*; do|fi|done|esac)\s*"),
    ("bash", 1, r"(?m)^\s*(?:echo|export|source|cd|mkdir|grep|tar|ssh|scp|dd|mkfs\S*) \S|\$\{?[A-Z_]{2,}\b"),
    (
        "sql",
        2,
        r"(?m)^\s*(?:SELECT|INSERT INTO|UPDATE|DELETE FROM|CREATE TABLE|DROP|ALTER TABLE|GRANT|EXEC(?:UTE)?|TRUNCATE|COPY)\b\s*[\w*'(@]",
    ),
    (
        "sql",
        2,
        r"(?i)\binsert into \S+.{0,200}\bvalues\b|\bselect\b.{1,200}\bfrom\b.{1,200}\bwhere\b|\bdelete from \w+\s*(?:;|where|$)",
    ),
    ("sql", 2, r"(?i)\b(?:drop|truncate) (?:table|database) \w+\s*(?:;|$)|\bxp_cmdshell\b"),
)
_EXPRESSIONS = tuple((language, points, Expression(source)) for language, points, source in _SIGNS)
_CODE_TOOLS = frozenset(["code_interpreter", "python", "execute_python"])


@dataclass(frozen=True, slots=True)
class Snippet:
    """A piece of code."""

    start: int
    """Its first code point in the text."""
    code: str
    """The code."""
    languages: tuple[Language, ...]
    """What it is written in; several where that is not sure."""
    fenced: bool
    """It stands in a fence."""


def snippets(text: str, tool_name: str = "") -> list[Snippet]:
    """Returns the code in a text: in fences, and between them what looks like code.

    Args:
        text: The text.
        tool_name: The tool, when the text is an argument of its call.
    """
    found = []
    for start, code, label, fenced in _pieces(text):
        languages = (_LABELS[label],) if label in _LABELS else guessed(code)
        if not languages and not fenced and tool_name in _CODE_TOOLS and code.strip():
            languages = ("python",)
        if languages:
            found.append(Snippet(start, code, languages, fenced))
    return found


def guessed(code: str) -> tuple[Language, ...]:
    """Returns the languages that a text looks like, the likeliest first; none: it does not look like code."""
    encoded = EncodedText(code)
    points: dict[Language, int] = {}
    for language, worth, expression in _EXPRESSIONS:
        if expression.found(encoded):
            points[language] = points.get(language, 0) + worth
    if "typescript" in points and "javascript" in points:
        points["typescript"] += points.pop("javascript")
    best = max(points.values(), default=0)
    if best < _ENOUGH:
        return ()
    likely = [language for language in points if points[language] >= max(_ENOUGH, best - 1)]
    return tuple(sorted(likely, key=lambda language: -points[language])[:3])


def _pieces(text: str) -> Iterator[tuple[int, str, str, bool]]:
    """Yields start, text, label and whether it is in a fence, of the pieces of a text."""
    start = place = 0
    fence = label = ""
    for line in text.splitlines(keepends=True):
        found = _FENCE.match(line)
        behind = place + len(line)
        if found and not fence:
            yield start, text[start:place], "", False
            fence, label, start = found[1], found[2].lower(), behind
        elif found and found[1].startswith(fence) and not found[2]:
            yield start, text[start:place], label, True
            fence, label, start = "", "", behind
        place = behind
    yield start, text[start:], label, bool(fence)
