"""Kinds of tool parameters: how they are named, described, drawn and said."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
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


def choice(*options: str) -> Callable[[Source], Value]:
    """Returns a drawer of one of the options."""

    def value(source: Source) -> Value:
        text = source.pick(options)
        return text, text

    return value


def integer(low: int, high: int) -> Callable[[Source], Value]:
    """Returns a drawer of whole numbers."""

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


def _switch(source: Source) -> Value:
    value = source.chance(0.5)
    return value, "on" if value else "off"


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
    choice(*words.WEEKDAYS), ("on {}", "for {}", "this {}", "next {}"),
)  # fmt: skip
TIME = Kind(
    ("time", "at_time", "hour", "start_time"), "string", ("The time of day", "When, as a clock time"),
    said_as_is(words.clock_time), ("at {}", "at {}", "at the time {}", "starting at {}"),
)  # fmt: skip
COUNT = Kind(
    ("count", "limit", "number", "max_results", "n", "quantity"), "integer", ("How many", "The number of items",
     "Maximum number of results"),
    integer(1, 60), ("limit {}", "with a limit of {}", "{} of them", "at most {}", "{} in total", "up to {}"),
)  # fmt: skip
DAYS = Kind(
    ("days", "num_days", "duration_days"), "integer", ("Number of days", "How many days"),
    integer(2, 30), ("for {} days", "over {} days", "for the next {} days", "during {} days"),
)  # fmt: skip
MINUTES = Kind(
    ("minutes", "duration", "duration_minutes"), "integer", ("Length in minutes", "How many minutes"),
    integer(1, 180), ("for {} minutes", "lasting {} minutes", "of {} minutes", "{} minutes long"),
)  # fmt: skip
PEOPLE = Kind(
    ("people", "guests", "party_size", "num_people"), "integer", ("Number of people", "How many guests"),
    integer(2, 20), ("for {} people", "for {} guests", "for a group of {}", "with {} people"),
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
    choice(*words.LANGUAGES), ("in {}", "into {}", "to {}"),
)  # fmt: skip
COLOUR = Kind(
    ("color", "colour", "shade"), "string", ("The color", "Which color to use"),
    choice(*words.COLOURS), ("in {}", "in the color {}", "colored {}", "with color {}"),
)  # fmt: skip
UNIT = Kind(
    ("unit", "units", "scale"), "string", ("celsius or fahrenheit", "One of: celsius, fahrenheit", "Temperature unit"),
    choice("celsius", "fahrenheit", "kelvin"), ("in {}", "using {}", "in degrees {}"),
)  # fmt: skip
PRIORITY = Kind(
    ("priority", "level", "urgency"), "string", ("One of: low, medium, high", "low, medium or high"),
    choice("low", "medium", "high"), ("with {} priority", "with priority {}", "priority {}", "at level {}"),
)  # fmt: skip
SIZE = Kind(
    ("size", "format_size"), "string", ("One of: small, medium, large", "small, medium or large"),
    choice("small", "medium", "large"), ("in size {}", "size {}", "in {}", "of size {}"),
)  # fmt: skip
SWITCH = Kind(
    ("on", "switch_on", "state", "is_on"), "boolean", ("Whether to turn it on", "True to switch on, false to switch off"),
    _switch, ("{}",),
)  # fmt: skip
FROM_CURRENCY = Kind(
    ("from_currency", "source_currency", "base"), "string", ("Currency to convert from", "The source currency code"),
    choice("USD", "EUR", "GBP", "JPY", "CHF", "INR", "AUD"), ("from {}",),
)  # fmt: skip
TO_CURRENCY = Kind(
    ("to_currency", "target_currency", "target"), "string", ("Currency to convert to", "The target currency code"),
    choice("SEK", "NOK", "CAD", "BRL", "MXN", "CNY", "PLN"), ("to {}",),
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


_GENERIC_PHRASES = (
    "with {} {{}}", "{}: {{}}", "with the {} {{}}", "{} {{}}", "the {} is {{}}", "where the {} is {{}}", "with {{}} as the {}",
    "use {{}} as {}",
    "take {{}} for the {}", "the {} should be {{}}", "{} = {{}}", "with {} as {{}}", "its {} is {{}}", "at {} {{}}", "with a {} of {{}}",
    "my {} is {{}}", "the {}: {{}}", "{{}} as {}", "whose {} is {{}}", "having {} {{}}", "set {} to {{}}", "using {} {{}}", "{}={{}}",
    "the {} would be {{}}", "under {} {{}}", "for {} {{}}",
)  # fmt: skip


def said(source: Source, kind: Kind, parameter: Parameter, *, alone: bool = False) -> str:
    """Draws a way to say a parameter: one of its kind's own, one with its name, or the value alone; `{}` is the value.

    Args:
        source: Where it is drawn from.
        kind: The parameter's kind.
        parameter: Its declaration.
        alone: Whether no other parameter of the tool has its type, so that the value needs no words.
    """
    if kind.phrases == ("{}",) or kind.schema:
        return source.phrasing(kind.phrases)
    mark = '"{}"' if any(mark in kind.phrases[0] for mark in "\"'") else "{}"
    if alone and kind.param_type in ("string", "integer", "number") and source.chance(0.03):
        return mark
    if source.chance(0.65):
        return source.phrasing(kind.phrases)
    return (
        source.disturbed(source.phrasing(_GENERIC_PHRASES)).format(parameter.name.replace("_", " ")).replace("{}", mark)
    )


_OTHER_TYPE_NAMES = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "array": "list"}


def declare(source: Source, kind: Kind, *, required: bool = True) -> Parameter:
    """Draws a declaration of a parameter of this kind, its type now and then in Python's words."""
    type_name = _OTHER_TYPE_NAMES.get(kind.param_type, kind.param_type) if source.chance(0.03) else kind.param_type
    name = source.pick(kind.names)
    if kind in NATURAL and source.chance(0.08):
        first = source.phrasing(PARTS) if source.chance(0.65) else words.invented_word(source.rng)
        name = f"{first}_{name}"
    return Parameter(name, type_name, source.pick(kind.descriptions), required, schema=kind.schema)
