"""Tools: natural ones written by hand and composed ones from a grammar, each with requests that call for it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from models.recipe import parameters as p
from models.recipe import words
from models.recipe.dialog import Call, Json, Parameter, Tool
from models.recipe.parameters import Kind, Value
from models.recipe.source import Source


@dataclass(frozen=True)
class Request:
    """What the user asks, the call that answers it, and what the tool returns."""

    said: str
    call: Call
    result: str
    """The tool's output as it stands in the tool turn."""
    answer: str


@dataclass(frozen=True)
class OfferedTool:
    """A tool together with the way to ask for it."""

    tool: Tool
    subject: str
    """The noun that sets it apart from other tools."""
    ask: Callable[[Source], Request]
    is_builtin: bool = False


@dataclass(frozen=True)
class NaturalTool:
    """A tool that people know; `{0}`, `{1}` in requests and answers stand for its required arguments."""

    subject: str
    names: tuple[str, ...]
    descriptions: tuple[str, ...]
    required: tuple[Kind, ...]
    optional: tuple[Kind, ...]
    requests: tuple[str, ...]
    results: tuple[tuple[str, str], ...]
    """Pairs of tool output and answer; `{n}`, `{m}`, `{code}`, `{word}`, `{mood}` are drawn for each."""


_DONE = ('{{"status": "ok"}}', "Done.")

NATURAL_TOOLS: tuple[NaturalTool, ...] = (
    NaturalTool(
        "weather", ("get_weather", "get_current_weather", "weather", "weather_lookup", "current_weather"),
        ("Get the current weather for a city", "Returns the weather at a place", "Get weather information"),
        (p.PLACE,), (p.UNIT, p.DAYS),
        ("What is the weather in {0}?", "What's the weather like in {0}?", "How is the weather in {0}?",
         "Tell me the weather in {0}.",
         "Is it sunny in {0}?", "Weather in {0}?", "Do I need an umbrella in {0}?", "Check the weather for {0}.",
         "What is the weather like in {0} today?", "I am going to {0}, how is the weather there?"),
        (('{{"temperature": {n}, "condition": "{mood}"}}', "It is {n} degrees and {mood} in {0}."),
         ("{mood}, {n} degrees", "The weather in {0} is {mood} with {n} degrees."),
         ('{{"city": "{0}", "temperature": {n}}}', "The temperature in {0} is {n} degrees.")),
    ),
    NaturalTool(
        "time", ("get_time", "current_time", "get_current_time", "clock"),
        ("Get the current time in a city", "Returns the local time of a place"), (p.PLACE,), (),
        ("What time is it in {0}?", "What is the time in {0}?", "Tell me the time in {0}.", "Current time in {0}?",
         "How late is it in {0}?", "Can you check the time in {0}?"),
        (("{clock}", "It is {clock} in {0}."), ('{{"time": "{clock}"}}', "The time in {0} is {clock}.")),
    ),
    NaturalTool(
        "calculator", ("calculator", "calculate", "evaluate_expression", "compute"),
        ("Evaluate an arithmetic expression", "Calculates the value of an expression"), (p.EXPRESSION,), (),
        ("Use the calculator for {0}.", "Calculate {0} with the calculator.", "Please compute {0} with the tool.",
         "Evaluate {0}.",
         "Work out {0} exactly.", "Run the calculation {0}."),
        (("{n}", "{0} = {n}."), ('{{"result": {n}}}', "The result of {0} is {n}.")),
    ),
    NaturalTool(
        "search", ("web_search", "search", "search_web", "internet_search"),
        ("Search the web", "Search the internet for information"), (p.QUERY,), (p.COUNT,),
        ("Search the web for {0}.", "Look up {0} on the internet.", "Find information about {0}.", "Search for {0}.",
         "Can you search {0}?", "Please look up {0} online.", "Google {0}."),
        (('{{"results": ["{word} guide", "{word} news"]}}', "I found {word} guide and {word} news."),
         ("Top result: {word} guide", "The top result is {word} guide.")),
    ),
    NaturalTool(
        "email", ("send_email", "email_send", "mail", "send_mail"),
        ("Send an email", "Sends a mail to an address"), (p.EMAIL, p.TITLE, p.TEXT), (),
        ('Send an email to {0} with the subject "{1}" and the text "{2}".', "Email {0} about {1}: {2}",
         'Write to {0}, subject "{1}", saying "{2}".', "Please mail {0} with subject {1} and message {2}.",
         'Send {0} a mail titled "{1}" that says "{2}".'),
        (("sent", "I sent the email to {0}."), ('{{"status": "sent", "id": "{code}"}}', "The email to {0} was sent with id {code}.")),
    ),
    NaturalTool(
        "reminder", ("set_reminder", "create_reminder", "add_reminder", "reminder"),
        ("Set a reminder", "Creates a reminder at a time"), (p.TEXT, p.TIME), (p.WEEKDAY,),
        ("Remind me to {0} at {1}.", 'Set a reminder "{0}" at {1}.', "Add a reminder at {1} to {0}.",
         "At {1}, remind me to {0}.",
         "I need a reminder at {1}: {0}.", "Please remind me at {1} to {0}."),
        (("ok", "I will remind you at {1}: {0}."), ('{{"reminder_id": "{code}"}}', "The reminder {code} is set for {1}.")),
    ),
    NaturalTool(
        "currency", ("convert_currency", "currency_converter", "exchange_money"),
        ("Convert money between currencies", "Converts an amount from one currency to another"),
        (p.AMOUNT, p.FROM_CURRENCY, p.TO_CURRENCY), (),
        ("Convert {0} {1} to {2}.", "How much is {0} {1} in {2}?", "What is {0} {1} in {2}?",
         "Change {0} {1} into {2}.",
         "I have {0} {1}, how many {2} is that?"),
        (("{n}", "{0} {1} is {n} {2}."), ('{{"converted": {n}}}', "{0} {1} converts to {n} {2}.")),
    ),
    NaturalTool(
        "stock", ("get_stock_price", "stock_price", "get_ticker_price", "quote"),
        ("Get the price of a stock", "Returns the current stock price for a ticker symbol"), (p.SYMBOL,), (p.DATE,),
        ("What is the stock price of {0}?", "How much is {0} stock?", "Get the price of {0}.", "How is {0} trading?",
         "Stock price for {0}?", "Tell me the share price of {0}."),
        (('{{"price": {n}}}', "The price of {0} is {n}."), ("{n} USD", "{0} stands at {n} USD.")),
    ),
    NaturalTool(
        "translation", ("translate", "translate_text", "translator"),
        ("Translate a text", "Translates text into another language"), (p.TEXT, p.LANGUAGE), (),
        ('Translate "{0}" into {1}.', "How do you say {0} in {1}?", "Translate {0} to {1}.", 'What is "{0}" in {1}?',
         "Please give me the {1} translation of {0}.", 'I need "{0}" in {1}.'),
        (("{word} {word2}", 'In {1} it is "{word} {word2}".'),
         ('{{"translation": "{word} {word2}"}}', 'The translation is "{word} {word2}".')),
    ),
    NaturalTool(
        "flights", ("search_flights", "find_flights", "book_flight", "flight_search"),
        ("Find flights between two cities", "Search for flights"), (p.ORIGIN, p.TARGET), (p.DATE, p.COUNT),
        ("Find flights from {0} to {1}", "Search a flight from {0} to {1}", "I want to fly from {0} to {1}",
         "Book a flight from {0} to {1}",
         "I need a plane to {1} from {0}", "Which flights go from {0} to {1}"),
        (('{{"flight": "{code}", "price": {n}}}', "Flight {code} from {0} to {1} costs {n}."),
         ("{code} at {clock}", "Flight {code} from {0} to {1} leaves at {clock}.")),
    ),
    NaturalTool(
        "restaurant", ("book_table", "reserve_table", "restaurant_booking"),
        ("Book a table at a restaurant", "Reserve a restaurant table"), (p.PERSON, p.PEOPLE), (p.TIME, p.WEEKDAY),
        ("Book a table at {0} for {1} people", "Reserve a table for {1} at {0}", "I want to eat at {0} with {1} people",
         "Get me a table for {1} guests at {0}", "Please book {0} for {1} people"),
        (("confirmed", "Your table at {0} for {1} is confirmed."), ('{{"booking": "{code}"}}', "Your booking at {0} is {code}.")),
    ),
    NaturalTool(
        "hotel", ("find_hotel", "search_hotels", "hotel_search"),
        ("Find a hotel in a city", "Search hotels"), (p.PLACE,), (p.DATE, p.PEOPLE, p.DAYS),
        ("Find a hotel in {0}", "I need a hotel in {0}", "Search hotels in {0}", "Where can I stay in {0}",
         "Look for a room in {0}",
         "Show me hotels in {0}"),
        (('{{"hotel": "{word}", "price": {n}}}', "The hotel {word} in {0} costs {n}."), ("Hotel {word}",
        "You can stay at Hotel {word} in {0}.")),
    ),
    NaturalTool(
        "music", ("play_music", "play_song", "music_player"),
        ("Play a song or artist", "Plays music"), (p.TITLE,), (),
        ("Play {0}.", 'Play the song "{0}".', "I want to hear {0}.",
         "Put on {0}, please.", 'Start playing "{0}".', "Play some music: {0}"),
        (("playing", "I am playing {0}."), ('{{"now_playing": "{0}"}}', "Now playing {0}.")),
    ),
    NaturalTool(
        "order", ("get_order_status", "track_order", "order_status", "track_package"),
        ("Get the status of an order", "Track an order by its number"), (p.IDENTIFIER,), (),
        ("Where is my order {0}?", "What is the status of order {0}?", "Track order {0}.", "Has order {0} shipped?",
         "Check my order {0}.", "Did the package {0} arrive?"),
        (('{{"status": "{state}"}}', "Your order {0} is {state}."), ("{state}", "Order {0} is {state}.")),
    ),
    NaturalTool(
        "boiling point", ("get_boiling_point", "boiling_point"),
        ("Returns the boiling point of a liquid", "Get the boiling point of a liquid"),
        (Kind(("liquid_name", "liquid", "substance"), "string", ("The name of the liquid", "Which liquid"),
              p.said_as_is(words.invented_word), ("of {}",)),), (p.UNIT,),
        ("What is the boiling point of {0}?", "At what temperature does {0} boil?", "When does {0} boil?",
         "Tell me the boiling point of {0}.",
         "Get the boiling point of {0}.", "Boiling point of {0}?"),
        (("{n}", "The boiling point of {0} is {n} degrees."), ("-{n}", "The boiling point of {0} is -{n} degrees."),
         ('{{"celsius": {n}}}', "The liquid {0} boils at {n} degrees Celsius.")),
    ),
    NaturalTool(
        "distance", ("get_distance", "distance_between", "route_distance"),
        ("Distance between two cities", "Returns how far two places are apart"), (p.ORIGIN, p.TARGET), (),
        ("How far is it from {0} to {1}?", "What is the distance from {0} to {1}?", "Distance between {0} and {1}?",
         "How many kilometers are between {0} and {1}?", "Tell me how far {0} is from {1}."),
        (("{n} km", "It is {n} km from {0} to {1}."), ('{{"kilometers": {n}}}', "The distance from {0} to {1} is {n} kilometers.")),
    ),
    NaturalTool(
        "list", ("add_to_list", "shopping_list_add", "add_items"),
        ("Add items to the shopping list", "Puts things on a list"), (p.ITEMS,), (),
        ("Add {0} to my shopping list.", "Put {0} on the list.", "I need to buy {0}.", "Please add {0} to the list.",
         "My list needs {0}."),
        (("added", "I added {0} to your list."), _DONE),
    ),
    NaturalTool(
        "timer", ("set_timer", "start_timer", "timer"), ("Start a timer", "Sets a timer for some minutes"),
        (p.MINUTES,), (p.TITLE,),
        ("Set a timer for {0} minutes", "Start a {0} minute timer", "Wake me in {0} minutes",
         "Timer for {0} minutes, please",
         "Count down {0} minutes"),
        (("started", "The timer is running for {0} minutes."), ('{{"timer": "{code}"}}', "Timer {code} runs for {0} minutes.")),
    ),
    NaturalTool(
        "population", ("get_population", "city_population", "population_lookup"),
        ("Get the population of a city", "How many people live in a place"), (p.PLACE,), (),
        ("How many people live in {0}?", "What is the population of {0}?", "Population of {0}?",
         "Get the population of {0}.",
         "Tell me how many people live in {0}."),
        (("{m}", "{m} people live in {0}."), ('{{"population": {m}}}', "The population of {0} is {m}.")),
    ),
    NaturalTool(
        "contact", ("get_phone_number", "find_contact", "lookup_contact"),
        ("Look up a person's phone number", "Find a contact"), (p.PERSON,), (),
        ("What is the phone number of {0}?", "How can I call {0}?", "Find the number of {0}.",
         "Look up {0} in my contacts.",
         "I need the phone number of {0}."),
        (("555-{n}", "The number of {0} is 555-{n}."), ('{{"phone": "555-{n}"}}', "You can reach {0} at 555-{n}.")),
    ),
)  # fmt: skip

_VERBS: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("get", "fetch", "show", "read", "lookup"), ("Get the {}", "Show me the {}", "What is the {}",
      "I want to see the {}", "Give me the {}",
     "Fetch the {}", "Look up the {}", "Can you get the {}", "I need the {}")),
    (("find", "search", "list", "query"), ("Find the {}", "Search for a {}", "Look for a {}", "List every {}",
      "Find me a {}", "Can you find a {}",
     "Which {} is there")),
    (("create", "add", "make", "new"), ("Create a {}", "Add a {}", "Make a new {}", "I want a new {}", "Set up a {}",
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
_NOUNS = words.listed(
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
_POLITE = (
    "{}.",
    "{}.",
    "{}.",
    "{}?",
    "{}",
    "Please: {}.",
    "Hi! {}.",
    "{}, please.",
    "{}, thanks.",
    "Hello, {}.",
    "Now {}.",
)
_DESCRIPTIONS = (
    "{v} a {n}",
    "{v} the {n}",
    "{v}s a {n} in the system",
    "Use this to {v} the {n}",
    "Tool to {v} a {n} for the user",
    "{v} {n} data",
)


def natural_tool(source: Source, spec: NaturalTool | None = None) -> OfferedTool:
    """Draws one of the hand-written tools, with names and optional parameters of its own."""
    spec = spec or natural_spec(source)
    optional = [kind for kind in spec.optional if source.chance(0.35)]
    required = [p.declare(source, kind) for kind in spec.required]
    extra = [_fresh(p.declare(source, kind, required=False), required) for kind in optional]
    tool = Tool(source.pick(spec.names), source.pick(spec.descriptions), _as_shown([*required, *_distinct(extra)]))

    def ask(again: Source) -> Request:
        values = [kind.draw(again) for kind in spec.required]
        arguments: dict[str, Json] = {par.name: value for par, (value, _) in zip(required, values, strict=True)}
        texts = [text for _, text in values]
        said = again.phrasing(spec.requests).format(*texts)
        for kind, parameter in zip(optional, extra, strict=True):
            if again.chance(0.6) and parameter.name in {q.name for q in tool.parameters}:
                value, text = kind.draw(again)
                arguments[parameter.name] = value
                said = (
                    f"{said.rstrip('.?')} {again.phrasing(kind.phrases).format(text)}{said[len(said.rstrip('.?')) :]}"
                )
        result, answer = _outcome(again, spec, texts)
        return Request(said, Call(tool.name, _in_order(tool, arguments)), result, answer)

    return OfferedTool(tool, spec.subject, ask)


def natural_spec(source: Source) -> NaturalTool:
    """Picks a hand-written tool from the side of the split that the source may use."""
    part = [spec for spec in NATURAL_TOOLS if words.is_held_out(spec.subject, 6) == source.held_out]
    return source.pick(part)


def composed_tool(source: Source) -> OfferedTool:
    """Draws a tool that no list holds: a verb, one or two nouns and up to five parameters."""
    rng = source.rng
    verbs, openings = source.pick(_VERBS)
    nouns = [source.phrasing(_NOUNS) if rng.random() < 0.7 else words.invented_word(rng)]
    if rng.random() < 0.45:
        nouns.append(source.phrasing(_NOUNS) if rng.random() < 0.7 else words.invented_word(rng))
    subject = " ".join(nouns)
    verb = source.pick(verbs)
    kinds = _kinds(source)
    declared: list[Parameter] = []
    for index, kind in enumerate(kinds):
        declared.append(_fresh(p.declare(source, kind, required=index == 0 or rng.random() < 0.65), declared))
    description = source.pick(_DESCRIPTIONS).format(v=verb, n=subject).replace("ss a", "s a")
    tool = Tool(_function_name(source, verb, nouns), description[0].upper() + description[1:], _as_shown(declared))

    def ask(again: Source) -> Request:
        arguments: dict[str, Json] = {}
        pieces: list[tuple[bool, str]] = []
        for kind, parameter in zip(kinds, declared, strict=True):
            if parameter.required or again.chance(0.6):
                value, text = kind.draw(again)
                arguments[parameter.name] = value
                pieces.append((" " in text and kind.param_type == "string", again.phrasing(kind.phrases).format(text)))
        again.rng.shuffle(pieces)
        pieces.sort(key=lambda piece: piece[0])
        said = " ".join([again.phrasing(openings).format(subject), *(piece for _, piece in pieces)]).replace(
            " : ", ": "
        )
        polite = again.phrasing(_POLITE)
        said = polite.format(said if polite[0] == "{" or polite[1] in ":!" else said[0].lower() + said[1:])
        result, answer = _composed_outcome(again, subject)
        return Request(said[0].upper() + said[1:], Call(tool.name, _in_order(tool, arguments)), result, answer)

    return OfferedTool(tool, subject, ask)


_SEARCH_REQUESTS = (
    "Search the web for {}.", "Look up {} on the internet.", "Find {} online.", "What is the latest on {}?", "Search for {}.",
    "Use brave search to find {}.", "Who or what is {}? Please search.", "Can you search for {}?",
)  # fmt: skip


def _web_search(source: Source) -> Request:
    rng = source.rng
    query, title = words.phrase(rng), words.invented_name(rng)
    fact = f"{words.invented_name(rng)} {source.pick(('has', 'found', 'made'))} {words.phrase(rng)}"
    result = f'{{"query": "{query}", "top_k": [{{"title": "{title}", "content": "{fact}"}}]}}'
    said = source.phrasing(_SEARCH_REQUESTS).format(query)
    return Request(said, Call("brave_search", {"query": query}), result, f"I found this: {fact}.")


BUILT_IN_SEARCH = OfferedTool(Tool("brave_search", "Search the web", ()), "search", _web_search, is_builtin=True)
"""The web search that Llama models know by name and call in a syntax of its own."""


def offered_tool(source: Source) -> OfferedTool:
    """Draws a tool of either sort."""
    return natural_tool(source) if source.chance(0.35) else composed_tool(source)


def _kinds(source: Source) -> list[Kind]:
    """Parameter kinds of a composed tool: each natural kind at most once."""
    count = source.weighted(((0, 0.5), (1, 4.0), (2, 4.0), (3, 2.0), (4, 1.0), (5, 0.4)))
    natural = source.rng.sample(p.NATURAL, count)
    return [kind if source.chance(0.5) else p.invented_kind(source) for kind in natural]


def _fresh(parameter: Parameter, others: list[Parameter]) -> Parameter:
    """Renames a parameter whose name is taken."""
    taken = {other.name for other in others}
    name = parameter.name
    while name in taken:
        name += "_2" if not name.endswith("_2") else "b"
    return Parameter(name, parameter.param_type, parameter.description, parameter.required, parameter.default)


def _distinct(items: list[Parameter]) -> list[Parameter]:
    return list({item.name: item for item in items}.values())


def _as_shown(parameters: list[Parameter]) -> tuple[Parameter, ...]:
    """Puts parameters in the order in which prompts list them."""
    return tuple(sorted(parameters, key=lambda parameter: (not parameter.required, parameter.name)))


def _in_order(tool: Tool, arguments: dict[str, Json]) -> dict[str, Json]:
    """Puts arguments in the order of the declaration."""
    return {par.name: arguments[par.name] for par in tool.parameters if par.name in arguments}


def _function_name(source: Source, verb: str, nouns: list[str]) -> str:
    parts = [verb, *nouns] if source.chance(0.8) else [*nouns, verb]
    if source.chance(0.1):
        return parts[0] + "".join(part.capitalize() for part in parts[1:])
    return "_".join(parts)


def _draws(source: Source) -> dict[str, str]:
    rng = source.rng
    return {
        "n": str(rng.randint(1, 999)),
        "m": str(rng.randint(1000, 9_999_999)),
        "code": words.code(rng),
        "word": words.invented_name(rng),
        "word2": words.invented_word(rng),
        "clock": words.clock_time(rng),
        "mood": rng.choice(("sunny", "cloudy", "rainy", "windy", "clear", "foggy", "snowy")),
        "state": rng.choice(("shipped", "delivered", "delayed", "on its way", "being packed", "lost", "ready")),
    }


_ERRORS = ("Error: {} not found", "Error: {} timed out", "Error: {} is not available", "error: no access to {}")


def _outcome(source: Source, spec: NaturalTool, texts: list[str]) -> tuple[str, str]:
    """What a natural tool returns, an error now and then, and the answer made of it."""
    if source.chance(0.06):
        error = source.pick(_ERRORS).format(spec.subject)
        return error, f"I am sorry, the tool failed: {re.sub('^[Ee]rror: ', '', error)}."
    result, answer = source.pick(spec.results)
    draws = _draws(source)
    return result.format(*texts, **draws), answer.format(*texts, **draws)


def _composed_outcome(source: Source, subject: str) -> tuple[str, str]:
    """What a composed tool returns: a word, a sentence or an object, and the answer made of it."""
    draws = _draws(source)
    if source.chance(0.06):
        error = source.pick(_ERRORS).format(subject)
        return error, f"I am sorry, the tool failed: {re.sub('^[Ee]rror: ', '', error)}."
    if source.chance(0.25):
        state = source.pick((draws["word"], draws["code"], draws["n"], draws["state"]))
        return state, f"The {subject} is {state}."
    if source.chance(0.25):
        sentence = f"{draws['word']} {source.pick(('has', 'found', 'made', 'needs'))} {draws['n']} {source.pick(words.COMMON_NOUNS)}"
        return sentence, f"For the {subject}: {sentence}."
    names = source.rng.sample(
        ("status", "price", "total", "owner", "name", "code", "count", "place", "date", "score"),
        source.rng.randint(1, 3),
    )
    values: dict[str, Value] = {name: _field(source, name) for name in names}
    said = [f"the {name} is {text}" for name, (_, text) in values.items()]
    body = ", ".join(f'"{name}": {value}' for name, (value, _) in values.items())
    answer = said[0] if len(said) == 1 else ", ".join(said[:-1]) + " and " + said[-1]
    return "{" + body + "}", f"For the {subject}, {answer}."


def _field(source: Source, name: str) -> Value:
    """A field of a result object: its JSON text and its spoken form."""
    if name in ("price", "total", "count", "score"):
        number = str(source.rng.randint(1, 5000))
        return number, number
    text = {
        "status": lambda: source.pick(("open", "closed", "ready", "done", "active", "pending")),
        "owner": lambda: words.person(source.rng),
        "name": lambda: words.invented_name(source.rng),
        "code": lambda: words.code(source.rng),
        "place": lambda: words.place(source.rng),
        "date": lambda: words.iso_date(source.rng),
    }[name]()
    return f'"{text}"', text
