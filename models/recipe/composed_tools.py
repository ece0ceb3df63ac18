"""Tools that no list holds: composed from a verb, nouns and parameters, known or invented."""

from __future__ import annotations

from models.recipe import parameters as p
from models.recipe import words
from models.recipe.dialog import Call, Json, Parameter, Tool
from models.recipe.domains import DOMAINS, QUALIFIERS
from models.recipe.invented_parameters import invented_kind
from models.recipe.offers import OfferedTool, Request, as_shown, in_order, with_fresh_name
from models.recipe.outcomes import composed_outcome
from models.recipe.parameters import Kind
from models.recipe.source import Source
from models.recipe.subjects import subject_kind
from models.recipe.wordings import request, with_articles

VERBS: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("get", "fetch", "show", "read", "lookup"), ("Get the {}", "Show me the {}", "What is the {}",
      "I want to see the {}", "Give me the {}",
     "Fetch the {}", "Look up the {}", "Can you get the {}", "I need the {}")),
    (("find", "search", "list", "query"), ("Find the {}", "Search for a {}", "Look for a {}", "List every {}",
      "Find me a {}", "Can you find a {}",
     "Which {} is there")),
    (("create", "add", "make", "build"), ("Create a {}", "Add a {}", "Make a new {}", "I want a new {}", "Set up a {}",
      "Please create a {}",
     "Can you add a {}")),
    (("delete", "remove", "cancel", "drop"), ("Delete the {}", "Remove the {}", "Cancel the {}", "Get rid of the {}",
      "Please delete the {}",
     "I no longer need the {}")),
    (("update", "change", "set", "edit"), ("Update the {}", "Change the {}", "Set the {}", "Edit the {}",
      "Please change the {}", "Adjust the {}")),
    (("send", "share", "forward"), ("Send the {}", "Share the {}", "Forward the {}", "Please send a {}",
      "Can you send the {}")),
    (("start", "run", "open", "launch"), ("Start the {}", "Run the {}", "Open the {}", "Launch the {}",
      "Please start the {}", "Switch on the {}")),
    (("stop", "close", "pause"), ("Stop the {}", "Close the {}", "Pause the {}", "Please stop the {}",
      "Switch off the {}")),
    (("book", "reserve", "order", "buy"), ("Book a {}", "Reserve a {}", "Order a {}", "Buy a {}",
      "I would like to order a {}", "Please book a {}")),
    (("check", "test", "verify", "validate"), ("Check the {}", "Test the {}", "Verify the {}", "Please check the {}",
      "Can you verify the {}")),
)  # fmt: skip
_MATTERS = words.listed(
    "account agenda alarm album appointment archive article asset auction backup badge balance banner battery bill blog "
    "booking budget bus cabin calendar campaign car card case catalog certificate channel chart claim clinic comment "
    "company contract coupon course cursor database deal delivery deposit device diary diet dinner discount document domain "
    "door dose draft drone engine event exam exercise expense fee festival file fine form forum game garage gift goal "
    "grade graph guide heater insurance inventory invoice job journal key lamp lease lesson library license light loan "
    "locker log lottery machine map match meal measurement medicine meeting member menu meter mission movie museum "
    "newsletter note notification oven painting parcel park parking party passport patient payment permit photo plan player "
    "playlist podcast policy poll portfolio post prescription printer product profile project promotion quiz quote rating "
    "receipt recipe refund rental repair report reservation review reward ride robot room route salary sale sample "
    "schedule score season seat sensor server shift shipment shop signal skill speaker station storage story subscription "
    "survey talk task tax taxi team template test theater ticket tour trade train training transfer trip tutor vehicle "
    "video visa visit voucher warehouse website workout workshop"
)
NOUNS = tuple(dict.fromkeys((*_MATTERS, *words.OBJECTS)))
_DESCRIPTIONS = (
    "{v} a {n}", "{v} the {n}", "{v}s a {n} in the system", "Use this to {v} the {n}", "Tool to {v} a {n} for the user", "{v} {n} data",
    "{v} a {n} of the house", "{v}s the {n} that is named", "Lets the user {v} a {n}", "{v} one {n}", "{n}: {v}",
    "{v} a {n} for a customer",
)  # fmt: skip


def composed_tool(source: Source) -> OfferedTool:
    """Draws a tool that no list holds: something to do with a thing, and up to three parameters.

    Most are put together from what belongs together (`domains.py`), some from any verb, noun and parameters, so that nothing is sure.
    """
    if source.chance(0.12):
        verbs, requests = source.pick(VERBS)
        return _composed(source, source.pick(verbs), requests, _noun(source), _any_kinds(source), own_share=0.35)
    domain = source.pick(DOMAINS)
    action = source.pick(domain.actions)
    noun = _noun(source) if source.chance(0.4 if source.noise else 0.15) else source.phrasing(domain.nouns)
    if source.chance(0.12):
        noun = f"{source.phrasing(QUALIFIERS)} {noun}"
    kinds = source.rng.sample(domain.kinds, source.weighted(((0, 1.0), (1, 5.0), (2, 4.0), (3, 0.8))))
    kinds = [invented_kind(source) if source.chance(0.12) else kind for kind in kinds]
    return _composed(source, source.pick(action.verbs), action.requests, noun, kinds, own_share=domain.own)


def _composed(
    source: Source, verb: str, requests: tuple[str, ...], noun: str, kinds: list[Kind], *, own_share: float
) -> OfferedTool:
    own = subject_kind(source, noun) if source.chance(own_share) else None
    if own:
        kinds = [own, *kinds[:2]]
    declared: list[Parameter] = []
    for index, kind in enumerate(kinds):
        required = index == 0 or source.chance(0.7)
        declared.append(with_fresh_name(p.declare(source, kind, required=required), declared))
    description = source.phrasing(_DESCRIPTIONS).format(v=verb, n=noun).replace("ss a", "s a")
    description = with_articles(description[0].upper() + description[1:])
    tool = Tool(_function_name(source, verb, noun.split()), description, as_shown(declared))
    types = [parameter.param_type for parameter in declared]

    def ask(again: Source) -> Request:
        arguments: dict[str, Json] = {}
        pieces: list[str] = []
        named = noun
        for kind, parameter in zip(kinds, declared, strict=True):
            if not (parameter.required or again.chance(0.5)):
                continue
            arguments[parameter.name], text = kind.draw(again)
            if kind is own:
                named = again.phrasing(kind.phrases).format(n=noun, v=text)
            else:
                alone = types.count(parameter.param_type) == 1
                pieces.append(p.said(again, kind, parameter, alone=alone).format(text))
        again.rng.shuffle(pieces)
        said = request(again, requests, verb, named, pieces)
        result, answer = composed_outcome(again, noun)
        return Request(said, Call(tool.name, in_order(tool, arguments)), result, answer)

    return OfferedTool(tool, noun, ask)


def _noun(source: Source) -> str:
    return source.phrasing(NOUNS) if source.chance(0.5) else words.invented_word(source.rng)


def _any_kinds(source: Source) -> list[Kind]:
    """Parameter kinds of any sort: each natural kind at most once."""
    natural = source.rng.sample(p.NATURAL, source.weighted(((0, 0.6), (1, 5.0), (2, 3.6), (3, 0.8))))
    return [kind if source.chance(0.4) else invented_kind(source) for kind in natural]


def _function_name(source: Source, verb: str, nouns: list[str]) -> str:
    parts = [verb, *nouns] if source.chance(0.9) else [*nouns, verb]
    if source.chance(0.06):
        return parts[0] + "".join(part.capitalize() for part in parts[1:])
    return "_".join(parts)
