"""Tools that tell one thing about another: `get_email`, "Tells the e-mail address of a person", asked for in a question."""

from __future__ import annotations

from models.recipe import parameters as p
from models.recipe import words
from models.recipe.composed_tools import NOUNS
from models.recipe.dialog import Call, Json, Tool
from models.recipe.invented_parameters import invented_kind
from models.recipe.offers import OfferedTool, Request, as_shown, in_order, with_fresh_name
from models.recipe.outcomes import composed_outcome
from models.recipe.source import Source

_VERBS = ("get", "find", "show", "lookup", "tell", "fetch", "check", "read")
_DESCRIPTIONS = (
    "Tells the {n} of a {o}", "Get the {n} of a {o}", "Returns the {n} of a {o}", "The {n} of a {o}", "Gives the {n} for a {o}",
    "Look up the {n} of a {o}", "Finds the {n} that a {o} has", "{n} of a {o}", "Says which {n} a {o} has", "Shows the {n} of the {o}",
)  # fmt: skip
_QUESTIONS = (
    "What is the {n} of {v}?", "Tell me the {n} of {v}.", "Which {n} does {v} have?", "{n} of {v}?", "I need the {n} of {v}.",
    "What {n} does {v} have?", "Do you know the {n} of {v}?", "Can you tell me the {n} of {v}?", "{n} for {v}, please.",
    "Give me the {n} of {v}.",
    "I wonder about the {n} of {v}.", "What about the {n} of {v}?", "The {n} of {v}, please.", "How is the {n} of {v}?",
    "Say the {n} of {v}.",
    "Is the {n} of {v} known?", "{v}: what is the {n}?", "Please find out the {n} of {v}.", "For {v}, which {n} is it?", "{n} in {v}?",
    "I forgot the {n} of {v}.", "What would be the {n} of {v}?", "Does {v} have a {n}?", "Let me know the {n} of {v}.",
    "How about the {n} of {v}?",
    "I am looking for the {n} of {v}.", "{v} has which {n}?", "My boss asks for the {n} of {v}.", "Show the {n} of {v}.",
    "Any {n} for {v}?",
)  # fmt: skip

_OF_A_PERSON = words.listed(
    "e-mail address|phone number|home town|date of birth|postal code|first name|fax number|web-site|job title|address|age|birthday|salary|"
    "manager|height|nickname|shoe size|blood type|office|role|hobby|passport|password hint|profession|language|department|badge color|team|"
    "account number|balance|calendar|schedule|status|workplace|seat|rank|diet|car",
    separator="|",
)
_OF_A_PLACE = words.listed(
    "population|altitude|mayor|area|currency|time zone|river|humidity|wind|sunrise|sunset|forecast|flag|language|dialing code|air quality|"
    "rainfall|pollen count|founder|nickname|history|newspaper|airport|traffic|crime rate|tax rate|rent|mascot|anthem|temperature|coast|"
    "climate|"
    "subway map|festival",
    separator="|",
)
_OF_A_THING = words.listed(
    "status|price|owner|weight|color|location|size|age|version|model|supplier|warranty|due date|total|deadline|author|capacity|history|"
    "length|"
    "manual|maker|origin|expiry date|battery level|serial|stock|discount|rating|speed|value",
    separator="|",
)


def lookup_tool(source: Source) -> OfferedTool:
    """Draws a tool that tells a noun of a person, a place or a thing, now and then with one optional parameter more."""
    kind, thing, details = source.pick(
        (
            (p.PLACE, "place", _OF_A_PLACE), (p.PLACE, "city", _OF_A_PLACE), (p.PERSON, "person", _OF_A_PERSON),
            (p.PERSON, source.pick(("user", "customer", "employee", "student", "player")), _OF_A_PERSON),
            (p.IDENTIFIER, source.phrasing(NOUNS), _OF_A_THING),
        )
    )  # fmt: skip
    noun = source.phrasing(details) if source.chance(0.75) else _noun(source)
    required = p.declare(source, kind)
    more = invented_kind(source) if source.chance(0.15) else None
    extra = [with_fresh_name(p.declare(source, more, required=False), [required])] if more else []
    description = source.phrasing(_DESCRIPTIONS).format(n=noun, o=thing)
    name = (
        "_".join((source.pick(_VERBS), *noun.split())) if source.chance(0.8) else f"{noun}_of_{thing}".replace(" ", "_")
    )
    tool = Tool(name, description[0].upper() + description[1:], as_shown([required, *extra]))

    def ask(again: Source) -> Request:
        value, text = kind.draw(again)
        arguments: dict[str, Json] = {required.name: value}
        said = again.disturbed(again.phrasing(_QUESTIONS)).format(n=noun, v=text)
        if more and again.chance(0.5):
            arguments[extra[0].name], words_of_it = more.draw(again)
            said = f"{said[:-1]} {p.said(again, more, extra[0]).format(words_of_it)}{said[-1]}"
        result, answer = composed_outcome(again, noun)
        return Request(said[0].upper() + said[1:], Call(tool.name, in_order(tool, arguments)), result, answer)

    return OfferedTool(tool, noun, ask)


def _noun(source: Source) -> str:
    return source.phrasing(NOUNS) if source.chance(0.5) else words.invented_word(source.rng)
