"""Tools that no list holds: composed from a verb, nouns and parameters, known or invented."""

from __future__ import annotations

from models.recipe import parameters as p
from models.recipe import words
from models.recipe.dialog import Call, Json, Parameter, Tool
from models.recipe.offers import OfferedTool, Request, as_shown, in_order, with_fresh_name
from models.recipe.outcomes import composed_outcome
from models.recipe.parameters import Kind
from models.recipe.source import Source

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
NOUNS = words.listed(
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
_OPENINGS = (
    "{v} the {n}", "{v} a {n}", "I need you to {v} the {n}", "Could you {v} a {n}", "Can you {v} the {n}", "{v} {n}", "I want to {v} a {n}",
    "Would you {v} the {n}", "Help me to {v} a {n}", "It is time to {v} the {n}", "Time to {v} a {n}", "Go and {v} the {n}",
    "I must {v} the {n}", "My boss wants to {v} a {n}", "We should {v} the {n}", "Use a tool to {v} the {n}", "Please {v} the {n}",
    "I would like to {v} the {n}", "I have to {v} a {n}", "Somebody should {v} the {n}", "They told me to {v} the {n}", "Let us {v} a {n}",
    "I forgot to {v} the {n}", "Kindly {v} the {n}", "We need to {v} a {n}", "Are you able to {v} the {n}", "Is it possible to {v} a {n}",
    "You should {v} the {n}", "Let me {v} a {n}",
)  # fmt: skip
"""Ways to ask with the tool's own verb."""
_POLITE = (
    "{}.", "{}.", "{}.", "{}?", "{}", "Please: {}.", "Hi! {}.", "{}, please.", "{}, thanks.", "Hello, {}.", "Now {}.", "Hey, {}.",
    "{}, will you?", "Next: {}.", "Ok, {}.", "{} right now.", "{}, if you can.", "So {}.", "One more thing: {}.", "Good morning! {}.",
    "Quickly: {}.", "{}!", "Dear assistant, {}.", "I have a task for you: {}.", "Well, {}.", "Right, {}.", "Excuse me, {}.",
    "Quick one: {}.", "Hello there! {}.",
    "Say, {}.", "{} for me.", "{}, would you?", "{} today.", "{} as soon as you can.", "Task: {}.", "Request: {}.",
    "{} now, please.", "{} when you have a moment.", "To do: {}.", "Good afternoon. {}.", "{}. Thank you.", "{}. Thanks!",
    "Could be urgent: {}.",
)  # fmt: skip
_DESCRIPTIONS = (
    "{v} a {n}",
    "{v} the {n}",
    "{v}s a {n} in the system",
    "Use this to {v} the {n}",
    "Tool to {v} a {n} for the user",
    "{v} {n} data",
)


def composed_tool(source: Source) -> OfferedTool:
    """Draws a tool that no list holds: a verb, one or two nouns and up to five parameters."""
    rng = source.rng
    verbs, openings = source.pick(VERBS)
    nouns = [source.phrasing(NOUNS) if rng.random() < 0.35 else words.invented_word(rng)]
    if rng.random() < 0.45:
        nouns.append(source.phrasing(NOUNS) if rng.random() < 0.35 else words.invented_word(rng))
    subject = " ".join(nouns)
    verb = source.pick(verbs)
    kinds = _kinds(source)
    declared: list[Parameter] = []
    for index, kind in enumerate(kinds):
        declared.append(with_fresh_name(p.declare(source, kind, required=index == 0 or rng.random() < 0.8), declared))
    description = source.pick(_DESCRIPTIONS).format(v=verb, n=subject).replace("ss a", "s a")
    tool = Tool(_function_name(source, verb, nouns), description[0].upper() + description[1:], as_shown(declared))

    def ask(again: Source) -> Request:
        arguments: dict[str, Json] = {}
        pieces: list[str] = []
        for kind, parameter in zip(kinds, declared, strict=True):
            if parameter.required or again.chance(0.6):
                value, text = kind.draw(again)
                arguments[parameter.name] = value
                pieces.append(p.said(again, kind, parameter).format(text))
        again.rng.shuffle(pieces)
        if again.chance(0.3):
            opening = again.phrasing(openings).format(subject)
        else:
            opening = again.phrasing(_OPENINGS).format(v=verb, n=subject)
            opening = opening[0].upper() + opening[1:]
        joint = again.pick((" ", " ", ", "))
        said = joint.join([opening, *pieces]).replace(" : ", ": ").replace(", : ", ": ")
        polite = again.phrasing(_POLITE)
        said = polite.format(said if polite[0] == "{" or polite[1] in ":!" else said[0].lower() + said[1:])
        result, answer = composed_outcome(again, subject)
        return Request(said[0].upper() + said[1:], Call(tool.name, in_order(tool, arguments)), result, answer)

    return OfferedTool(tool, subject, ask)


def _kinds(source: Source) -> list[Kind]:
    """Parameter kinds of a composed tool: each natural kind at most once."""
    count = source.weighted(((0, 0.4), (1, 5.0), (2, 4.0), (3, 1.0)))
    natural = source.rng.sample(p.NATURAL, count)
    return [kind if source.chance(0.5) else p.invented_kind(source) for kind in natural]


def _function_name(source: Source, verb: str, nouns: list[str]) -> str:
    parts = [verb, *nouns] if source.chance(0.8) else [*nouns, verb]
    if source.chance(0.1):
        return parts[0] + "".join(part.capitalize() for part in parts[1:])
    return "_".join(parts)
