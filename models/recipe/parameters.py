"""Kinds of tool parameters: how they are named, described, drawn and said."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from random import Random

from models.recipe import words
from models.recipe.dialog import Json, Parameter
from models.recipe.source import Source

Value = tuple[Json, str]
"""An argument's value and the way the user says it."""


@dataclass(frozen=True)
class Kind:
    """A kind of parameter."""

    names: tuple[str, ...]
    param_type: str
    descriptions: tuple[str, ...]
    draw: Callable[[Source], Value]
    phrases: tuple[str, ...]
    """Ways to say it within a request; `{}` is the value."""
    schema: Mapping[str, Json] | None = None
    """JSON Schema, where the type alone does not say what the value holds."""


def said_as_is(draw: Callable[[Random], str]) -> Callable[[Source], Value]:
    """Returns a drawer of values that the user says as they are."""

    def value(source: Source) -> Value:
        text = draw(source.rng)
        return text, text

    return value


def _choice(*options: str) -> Callable[[Source], Value]:
    def value(source: Source) -> Value:
        text = source.pick(options)
        return text, text

    return value


def _integer(low: int, high: int) -> Callable[[Source], Value]:
    def value(source: Source) -> Value:
        number = source.rng.randint(low, high)
        return number, str(number)

    return value


def _decimal(source: Source) -> Value:
    number = source.rng.choice(
        (source.rng.randint(1, 999), round(source.rng.uniform(0, 200), source.rng.choice((1, 2))))
    )
    return number, str(number)


def _items(source: Source) -> Value:
    chosen = source.rng.sample(words.COMMON_NOUNS, source.rng.randint(2, 4))
    if source.chance(0.3):
        chosen[0] = words.invented_word(source.rng)
    return list(chosen), ", ".join(chosen[:-1]) + " and " + chosen[-1]


def _expression(source: Source) -> Value:
    rng = source.rng
    terms = [str(rng.randint(1, 999)) for _ in range(rng.randint(2, 3))]
    text = terms[0]
    for term in terms[1:]:
        text += f" {rng.choice('+-*/')} {term}"
    return text, text


def _symbol(source: Source) -> Value:
    text = "".join(source.rng.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ") for _ in range(source.rng.randint(2, 5)))
    return text, text


PLACE = Kind(
    ("city", "location", "place", "town", "destination"), "string",
    ("The name of the city", "The city and region", "Where to look", "Name of the place"), said_as_is(words.place),
    ("in {}", "in {}", "at {}", "near {}", "in the city of {}"),
)  # fmt: skip
ORIGIN = Kind(
    ("origin", "from_city", "departure", "start_place"), "string", ("Where the trip starts", "City of departure"),
    said_as_is(words.place), ("from {}", "leaving from {}", "starting in {}", "departing from {}"),
)  # fmt: skip
TARGET = Kind(
    ("destination", "to_city", "arrival", "end_place"), "string", ("Where the trip ends", "City of arrival"),
    said_as_is(words.place), ("to {}", "going to {}", "towards {}", "ending in {}"),
)  # fmt: skip
PERSON = Kind(
    ("name", "person", "recipient", "contact", "user"), "string", ("The name of the person", "Who it is for",
     "Full name"),
    said_as_is(words.person), ("for {}", "with {}", "to {}", "for my friend {}", "for a person called {}"),
)  # fmt: skip
DATE = Kind(
    ("date", "day", "on_date", "start_date"), "string", ("The date in ISO format", "The day as YYYY-MM-DD"),
    said_as_is(words.iso_date), ("on {}", "for {}", "dated {}", "for the date {}", "on the day {}"),
)  # fmt: skip
WEEKDAY = Kind(
    ("weekday", "day", "day_of_week"), "string", ("The day of the week", "Name of the weekday"),
    _choice(*words.WEEKDAYS), ("on {}", "for {}", "this {}", "next {}"),
)  # fmt: skip
TIME = Kind(
    ("time", "at_time", "hour", "start_time"), "string", ("The time of day", "When, as a clock time"),
    said_as_is(words.clock_time), ("at {}", "at {}", "at the time {}", "starting at {}"),
)  # fmt: skip
COUNT = Kind(
    ("count", "limit", "number", "max_results", "n", "quantity"), "integer", ("How many", "The number of items",
     "Maximum number of results"),
    _integer(1, 60), ("limit {}", "with a limit of {}", "{} of them", "at most {}", "{} in total", "up to {}"),
)  # fmt: skip
DAYS = Kind(
    ("days", "num_days", "duration_days"), "integer", ("Number of days", "How many days"),
    _integer(2, 30), ("for {} days", "over {} days", "for the next {} days", "during {} days"),
)  # fmt: skip
MINUTES = Kind(
    ("minutes", "duration", "duration_minutes"), "integer", ("Length in minutes", "How many minutes"),
    _integer(1, 180), ("for {} minutes", "lasting {} minutes", "of {} minutes", "{} minutes long"),
)  # fmt: skip
PEOPLE = Kind(
    ("people", "guests", "party_size", "num_people"), "integer", ("Number of people", "How many guests"),
    _integer(2, 20), ("for {} people", "for {} guests", "for a group of {}", "with {} people"),
)  # fmt: skip
AMOUNT = Kind(
    ("amount", "value", "price", "sum"), "number", ("The amount", "The amount of money", "A number"),
    _decimal, ("of {}", "for the amount of {}", "with an amount of {}", "worth {}"),
)  # fmt: skip
EMAIL = Kind(
    ("email", "to", "address", "recipient"), "string", ("The email address", "Where to send it"),
    said_as_is(words.email), ("to {}", "for {}", "to the address {}", "using {}"),
)  # fmt: skip
IDENTIFIER = Kind(
    ("id", "code", "reference", "order_id", "number", "key", "serial"), "string", ("The identifier",
     "The reference code", "Unique id"),
    said_as_is(words.code), ("with id {}", "{}", "number {}", "with code {}", "with the reference {}"),
)  # fmt: skip
TEXT = Kind(
    ("text", "message", "note", "body", "content"), "string", ("The text", "The message to use", "What to write"),
    said_as_is(words.phrase), ('saying "{}"', 'with the text "{}"', 'that says "{}"', "with the message '{}'", ': "{}"',
     'and the words "{}"'),
)  # fmt: skip
TITLE = Kind(
    ("title", "subject", "label", "headline"), "string", ("The title", "A short title", "The subject line"),
    said_as_is(words.phrase), ('titled "{}"', 'called "{}"', 'with the title "{}"', "named '{}'", 'with the subject "{}"',
     'under the title "{}"'),
)  # fmt: skip
QUERY = Kind(
    ("query", "q", "search_term", "keywords"), "string", ("The search query", "What to search for"),
    said_as_is(words.phrase), ('about "{}"', "for '{}'", 'for "{}"', 'on "{}"'),
)  # fmt: skip
LANGUAGE = Kind(
    ("language", "target_language", "to_language", "lang"), "string", ("The language", "The language to translate to"),
    _choice(*words.LANGUAGES), ("in {}", "into {}", "to {}"),
)  # fmt: skip
COLOUR = Kind(
    ("color", "colour", "shade"), "string", ("The color", "Which color to use"),
    _choice(*words.COLOURS), ("in {}", "in the color {}", "colored {}", "with color {}"),
)  # fmt: skip
UNIT = Kind(
    ("unit", "units", "scale"), "string", ("celsius or fahrenheit", "One of: celsius, fahrenheit", "Temperature unit"),
    _choice("celsius", "fahrenheit", "kelvin"), ("in {}", "using {}", "in degrees {}"),
)  # fmt: skip
PRIORITY = Kind(
    ("priority", "level", "urgency"), "string", ("One of: low, medium, high", "low, medium or high"),
    _choice("low", "medium", "high"), ("with {} priority", "with priority {}", "priority {}", "at level {}"),
)  # fmt: skip
SIZE = Kind(
    ("size", "format_size"), "string", ("One of: small, medium, large", "small, medium or large"),
    _choice("small", "medium", "large"), ("in size {}", "size {}", "in {}", "of size {}"),
)  # fmt: skip
FROM_CURRENCY = Kind(
    ("from_currency", "source_currency", "base"), "string", ("Currency to convert from", "The source currency code"),
    _choice("USD", "EUR", "GBP", "JPY", "CHF", "INR", "AUD"), ("from {}",),
)  # fmt: skip
TO_CURRENCY = Kind(
    ("to_currency", "target_currency", "target"), "string", ("Currency to convert to", "The target currency code"),
    _choice("SEK", "NOK", "CAD", "BRL", "MXN", "CNY", "PLN"), ("to {}",),
)  # fmt: skip
SYMBOL = Kind(
    ("symbol", "ticker", "ticker_symbol", "stock"), "string", ("The ticker symbol", "Stock symbol, upper case"),
    _symbol, ("of {}", "for {}", "for the symbol {}", "for ticker {}"),
)  # fmt: skip
EXPRESSION = Kind(
    ("expression", "formula", "calculation"), "string", ("The expression to evaluate", "An arithmetic expression"),
    _expression, ("of {}", "for {}"),
)  # fmt: skip
ITEMS = Kind(
    ("items", "names", "things", "entries"), "array", ("List of items", "The items, a list of strings"),
    _items, ("with {}", "containing {}", "for {}", "with the items {}"),
)  # fmt: skip
NATURAL = (
    PLACE, PERSON, DATE, WEEKDAY, TIME, COUNT, DAYS, MINUTES, PEOPLE, AMOUNT, EMAIL, IDENTIFIER, TEXT, TITLE, LANGUAGE,
    COLOUR, UNIT, PRIORITY, SIZE, ITEMS,
)  # fmt: skip

PARTS = words.listed(
    "account age batch block bonus branch brand budget bundle cabin channel chapter class client color course depth "
    "device distance door draft engine factor filter floor folder gate grade grid group guest height index job key "
    "kind lane layer length line lock margin mark mode motor node offset option order owner page panel part path "
    "plan point pool port power prefix product profile project radius range rank rate ratio region role room rule "
    "score section sector seed segment series shelf side signal skill slot source speed stage state station status "
    "step store strength style suffix table tag target task team theme threshold token topic track unit user vendor "
    "version volume wall weight width window year zone"
)


def invented_kind(source: Source) -> Kind:
    """Returns a parameter that no list above holds, said by its own name, such as `with shelf code KX-4821`."""
    name, said = _invented_name(source)
    make = source.weighted(((_text_or_number, 7.0), (_flag, 2.0), (_numbers, 0.5), (_object, 1.0)))
    return make(source, name, said)


def _invented_name(source: Source) -> tuple[str, str]:
    """A parameter's name, and how a user says it."""
    rng = source.rng
    parts = [source.phrasing(PARTS) if rng.random() < 0.4 else words.invented_word(rng)]
    if rng.random() < 0.5:
        parts.append(rng.choice(("id", "name", "code", "type", "value", "number", "level", source.phrasing(PARTS))))
    return "_".join(parts), " ".join(parts)


def _descriptions(said: str) -> tuple[str, ...]:
    return (
        f"The {said}",
        f"Which {said} to use",
        f"{said.capitalize()} of the item",
        f"The {said} to set",
        said.capitalize(),
    )


def _text_or_number(source: Source, name: str, said: str) -> Kind:
    base = source.pick((PLACE, PERSON, IDENTIFIER, TEXT, AMOUNT, COUNT, AMOUNT, COUNT))
    draw = said_as_is(words.invented_word) if base is PERSON and source.chance(0.5) else base.draw
    mark = '"{}"' if base is TEXT else "{}"
    phrases = (f"with {said} {mark}", f"and {said} {mark}", f"{said} {mark}", f"{said}: {mark}", f"with a {said} of {mark}",
        f"set {said} to {mark}",
               f"using {said} {mark}", f"whose {said} is {mark}", f"where the {said} is {mark}", f"{said} = {mark}")  # fmt: skip
    return replace(base, names=(name,), descriptions=_descriptions(said), phrases=phrases, draw=draw)


def _flag(_source: Source, name: str, said: str) -> Kind:
    """A boolean: the value is said by the words around its name."""

    def draw(source: Source) -> Value:
        value = source.chance(0.5)
        if value:
            return True, source.phrasing(
                (
                    f"with {said}",
                    f"with {said} on",
                    f"{said}: yes",
                    f"{said} true",
                    f"with {said} enabled",
                    f"{said} on",
                    f"turn {said} on",
                )
            )
        return False, source.phrasing(
            (f"without {said}", f"with {said} off", f"{said}: no", f"{said} false", f"with {said} disabled", f"no {said}",
            f"turn {said} off")
        )  # fmt: skip

    return Kind((name,), "boolean", (f"Whether to use {said}", f"Turn {said} on", f"True for {said}"), draw, ("{}",))


def _numbers(_source: Source, name: str, said: str) -> Kind:
    """An array of whole numbers."""

    def draw(source: Source) -> Value:
        numbers = [source.rng.randint(0, 200) for _ in range(source.rng.randint(2, 3))]
        return list(numbers), ", ".join(map(str, numbers[:-1])) + f" and {numbers[-1]}"

    phrases = (f"with {said} {{}}", f"{said}: {{}}", f"using {said} {{}}", f"and {said} {{}}", f"{said} {{}}")
    return Kind((name,), "array", (f"The {said} numbers", f"List of {said}"), draw, phrases)


def _object(source: Source, name: str, said: str) -> Kind:
    """An object of two or three fields, said field by field: `with shelf: height 20 and maker Brelvaix`."""
    fields: dict[str, Callable[[Source], Value]] = {}
    count = source.weighted(((2, 3.0), (3, 1.0)))
    while len(fields) < count:
        field = source.phrasing(PARTS)
        if field not in name:
            fields[field] = source.pick((said_as_is(words.invented_name), said_as_is(words.place), _integer(1, 500)))
    draws = dict(sorted(fields.items()))
    numeric = {field: isinstance(draw(Source(field))[0], int) for field, draw in draws.items()}

    def value(again: Source) -> Value:
        drawn = {field: draw(again) for field, draw in draws.items()}
        parts = [f"{field} {text}" for field, (_, text) in drawn.items()]
        return {field: value for field, (value, _) in drawn.items()}, ", ".join(parts[:-1]) + f" and {parts[-1]}"

    schema: dict[str, Json] = {
        "type": "object",
        "properties": {field: {"type": "integer" if numeric[field] else "string"} for field in draws},
    }
    phrases = (
        f"with {said}: {{}}",
        f"with the {said} {{}}",
        f"with {said} of {{}}",
        f"using {said} {{}}",
        f"{said}: {{}}",
    )
    return Kind((name,), "object", _descriptions(said), value, phrases, schema)


_GENERIC_PHRASES = (
    "with {} {{}}", "{}: {{}}", "with the {} {{}}", "{} {{}}", "the {} is {{}}", "where the {} is {{}}", "with {{}} as the {}",
    "and {} {{}}", "({}: {{}})", "use {{}} as {}", "having {} {{}}", "take {{}} for the {}", "{} equal to {{}}", "the {} should be {{}}",
    "make the {} {{}}", "put {} at {{}}", "[{}: {{}}]", "{} - {{}}", "let {} be {{}}", "with {} as {{}}", "the {} must be {{}}",
)  # fmt: skip


def said(source: Source, kind: Kind, parameter: Parameter) -> str:
    """Draws a way to say a parameter: one of its kind's own, or one with its name; `{}` is the value."""
    if kind.phrases == ("{}",) or kind.schema or source.chance(0.7):
        return source.phrasing(kind.phrases)
    mark = '"{}"' if any(mark in kind.phrases[0] for mark in "\"'") else "{}"
    return source.phrasing(_GENERIC_PHRASES).format(parameter.name.replace("_", " ")).replace("{}", mark)


_OTHER_TYPE_NAMES = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "array": "list"}


def declare(source: Source, kind: Kind, *, required: bool = True) -> Parameter:
    """Draws a declaration of a parameter of this kind, its type now and then in Python's words."""
    type_name = _OTHER_TYPE_NAMES.get(kind.param_type, kind.param_type) if source.chance(0.1) else kind.param_type
    name = source.pick(kind.names)
    if kind in NATURAL and source.chance(0.4):
        first = source.phrasing(PARTS) if source.chance(0.4) else words.invented_word(source.rng)
        name = f"{first}_{name}"
    return Parameter(name, type_name, source.pick(kind.descriptions), required, schema=kind.schema)
