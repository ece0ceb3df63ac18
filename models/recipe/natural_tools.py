"""Tools that people know, with the requests people make of them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from models.recipe import parameters as p
from models.recipe import words
from models.recipe.dialog import Call, Json, Tool
from models.recipe.offers import OfferedTool, Request, as_shown, in_order, with_fresh_name
from models.recipe.outcomes import natural_outcome
from models.recipe.parameters import Kind
from models.recipe.source import Source


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
        ("Search the web", "Search the internet for information"), (p.QUERY,), (),
        ("Search the web for {0}.", "Look up {0} on the internet.", "Find information about {0}.", "Search for {0}.",
         "Can you search {0}?", "Please look up {0} online.", "Google {0}."),
        (('{{"results": ["{word} guide", "{word} news"]}}', "I found {word} guide and {word} news."),
         ("Top result: {word} guide", "The top result is {word} guide.")),
    ),
    NaturalTool(
        "email", ("send_email", "email_send", "mail", "send_mail"),
        ("Send an email", "Sends a mail to an address"), (p.EMAIL, p.TITLE, p.TEXT), (),
        ('Send an email to {0} with the subject "{1}" and the text "{2}".', 'Email {0} about "{1}": "{2}"',
         'Write to {0}, subject "{1}", saying "{2}".', 'Please mail {0} with subject "{1}" and message "{2}".',
         'Send {0} a mail titled "{1}" that says "{2}".'),
        (("sent", "I sent the email to {0}."), ('{{"status": "sent", "id": "{code}"}}', "The email to {0} was sent with id {code}.")),
    ),
    NaturalTool(
        "reminder", ("set_reminder", "create_reminder", "add_reminder", "reminder"),
        ("Set a reminder", "Creates a reminder at a time"), (p.TEXT, p.TIME), (p.WEEKDAY,),
        ('Remind me at {1}: "{0}".', 'Set a reminder "{0}" at {1}.', 'Add a reminder at {1} that says "{0}".',
         'At {1}, remind me: "{0}".', 'I need a reminder at {1}: "{0}".', 'Please remind me about "{0}" at {1}.'),
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
        ('Translate "{0}" into {1}.', 'How do you say "{0}" in {1}?', 'Translate "{0}" to {1}.', 'What is "{0}" in {1}?',
         'Please give me the {1} translation of "{0}".', 'I need "{0}" in {1}.'),
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
    NaturalTool(
        "news", ("get_news", "latest_news", "news_search", "headlines"),
        ("Get the latest news on a topic", "Returns headlines about a subject"), (p.QUERY,), (p.COUNT,),
        ("What is new about {0}?", "Show me the news about {0}.", "Any headlines on {0}?", "What do the papers say about {0}?",
         "Tell me what happened with {0}.", "I want to read the news on {0}.", "Latest news: {0}."),
        (('{{"headline": "{word} wins"}}', "The headline is {word} wins."), ("{word} and {word2}", "The news: {word} and {word2}.")),
    ),
    NaturalTool(
        "note", ("save_note", "create_note", "add_note", "note_down"),
        ("Save a note", "Writes a note down for later"), (p.TEXT,), (p.TITLE,),
        ('Write this down: "{0}".', 'Save the note "{0}".', 'Note that "{0}".', 'Make a note: "{0}".', 'Keep "{0}" in mind for me.',
         'Do not let me forget "{0}".', 'Put "{0}" into my notes.'),
        (("saved", "I saved your note: {0}."), ('{{"note_id": "{code}"}}', "Your note is saved as {code}.")),
    ),
    NaturalTool(
        "taxi", ("call_taxi", "order_taxi", "book_taxi", "get_ride"),
        ("Order a taxi", "Calls a taxi from one place to another"), (p.ORIGIN, p.TARGET), (p.TIME, p.PEOPLE),
        ("I need a taxi from {0} to {1}", "Take me from {0} to {1}", "Call a cab from {0} to {1}", "Get me a ride to {1} from {0}",
         "Drive me from {0} to {1}", "A taxi from {0} to {1}, please"),
        (("{n} minutes", "Your taxi from {0} to {1} comes in {n} minutes."), ('{{"driver": "{word}"}}', "Your driver is {word}.")),
    ),
    NaturalTool(
        "message", ("send_message", "send_sms", "text_message", "message"),
        ("Send a text message to a person", "Sends a short message"), (p.PERSON, p.TEXT), (),
        ('Tell {0} "{1}".', 'Text {0}: "{1}".', 'Send {0} the message "{1}".', 'Let {0} know: "{1}".', 'Write to {0} that "{1}".',
         'Message {0} saying "{1}".', '{0} should hear this: "{1}".'),
        (("sent", "I told {0}: {1}."), ('{{"status": "delivered"}}', "Your message to {0} was delivered.")),
    ),
    NaturalTool(
        "meeting", ("schedule_meeting", "create_event", "add_event", "plan_meeting"),
        ("Schedule a meeting with a person", "Puts a meeting into the calendar"), (p.PERSON, p.DATE), (p.TIME, p.MINUTES),
        ("Plan a meeting with {0} on {1}", "I want to meet {0} on {1}", "Put {0} into my calendar on {1}", "Set up a call with {0} on {1}",
         "On {1} I see {0}, add it", "Schedule {0} for {1}", "Arrange a meeting with {0} on {1}"),
        (("ok", "You meet {0} on {1}."), ('{{"event": "{code}"}}', "The meeting {code} with {0} is on {1}.")),
    ),
    NaturalTool(
        "thermostat", ("set_temperature", "set_thermostat", "heat_room", "thermostat"),
        ("Set the temperature of a room", "Sets the thermostat"), (Kind(("degrees", "temperature", "target"), "integer",
         ("The temperature in degrees", "How warm it should be"), p.integer(10, 30), ("{} degrees",)),), (p.UNIT,),
        ("Make it {0} degrees in here", "I am cold, set it to {0}", "Heat the room to {0} degrees", "Turn the heating to {0}",
         "Set the thermostat to {0} degrees", "{0} degrees would be nice", "It should be {0} degrees warm"),
        (("ok", "It will be {0} degrees."), ('{{"now": {n}}}', "It is {n} degrees now, going to {0}.")),
    ),
    NaturalTool(
        "dictionary", ("define_word", "dictionary", "lookup_word", "word_meaning"),
        ("Look a word up in the dictionary", "Returns the meaning of a word"), (Kind(("word", "term", "entry"), "string",
         ("The word", "The word to look up"), p.said_as_is(words.invented_word), ("of {}",)),), (p.LANGUAGE,),
        ("What does the word {0} mean?", "Look up the word {0}.", "Define the word {0}.", "What is the meaning of {0}?",
         "Check the dictionary for {0}.", "I do not understand the word {0}."),
        (("a {word}", "It means: a {word}."), ('{{"meaning": "{word} {word2}"}}', "{0} means {word} {word2}.")),
    ),
    NaturalTool(
        "movie", ("find_movie", "movie_info", "get_movie", "search_movies"),
        ("Get information about a movie", "Finds a film by its title"), (p.TITLE,), (),
        ('Who plays in "{0}"?', 'Is the film "{0}" any good?', 'Tell me about the movie "{0}".', 'Find the movie "{0}".',
         'I want to watch "{0}".', 'When did the movie "{0}" come out?', 'What is the film "{0}" about?'),
        (('{{"director": "{word}"}}', "The director is {word}."), ("{n} minutes", "The movie {0} takes {n} minutes.")),
    ),
    NaturalTool(
        "train", ("find_train", "train_times", "next_train", "train_search"),
        ("Find trains between two cities", "Next train connection"), (p.ORIGIN, p.TARGET), (p.TIME, p.DATE),
        ("When does the next train go from {0} to {1}", "I take the train from {0} to {1}", "Trains from {0} to {1}",
         "How do I get from {0} to {1} by train", "Is there a train to {1} from {0}", "Look for a train from {0} to {1}"),
        (("{clock}", "The next train from {0} to {1} leaves at {clock}."), ('{{"train": "{code}"}}', "Take the train {code} to {1}.")),
    ),
    NaturalTool(
        "lights", ("set_lights", "switch_lights", "control_lights", "lights"),
        ("Turn the lights of a room on or off", "Switches lights"), (Kind(("room", "area", "place"), "string",
         ("The room", "Which room"), p.choice("kitchen", "bedroom", "bathroom", "garage", "hall", "office", "attic",
         "cellar"), ("in the {}",)),
         p.SWITCH), (p.COLOUR,),
        ("Turn the lights in the {0} {1}", "Switch {1} the lights in the {0}", "Lights {1} in the {0}", "The {0} lights should be {1}",
         "Put the light in the {0} {1}", "In the {0}, turn the lights {1}"),
        (("ok", "The lights in the {0} are {1}."), _DONE),
    ),
)  # fmt: skip


def natural_tool(source: Source, spec: NaturalTool | None = None) -> OfferedTool:
    """Draws one of the hand-written tools, with names and optional parameters of its own."""
    spec = spec or natural_spec(source)
    optional = [kind for kind in spec.optional if source.chance(0.35)]
    required = [p.declare(source, kind) for kind in spec.required]
    extra = [with_fresh_name(p.declare(source, kind, required=False), required) for kind in optional]
    tool = Tool(
        source.pick(spec.names),
        source.pick(spec.descriptions),
        as_shown([*required, *{item.name: item for item in extra}.values()]),
    )

    def ask(again: Source) -> Request:
        values = [kind.draw(again) for kind in spec.required]
        arguments: dict[str, Json] = {par.name: value for par, (value, _) in zip(required, values, strict=True)}
        texts = [text for _, text in values]
        # Training never draws a held-out tool, so any of its requests is new; it has to name what the tool does.
        requests = _named(spec.requests, tool) if again.held_out else spec.requests
        said = (again.pick if again.held_out else again.phrasing)(requests).format(*texts)
        for kind, parameter in zip(optional, extra, strict=True):
            if again.chance(0.5) and parameter.name in {q.name for q in tool.parameters}:
                value, text = kind.draw(again)
                arguments[parameter.name] = value
                said = (
                    f"{said.rstrip('.?')} {p.said(again, kind, parameter).format(text)}{said[len(said.rstrip('.?')) :]}"
                )
        result, answer = natural_outcome(again, spec.subject, spec.results, texts)
        return Request(said, Call(tool.name, in_order(tool, arguments)), result, answer)

    return OfferedTool(tool, spec.subject, ask)


def _named(requests: tuple[str, ...], tool: Tool) -> tuple[str, ...]:
    """The requests that share a word, or its first four letters, with the tool's name or description."""
    stems = set(re.findall("[a-z]{4}", " ".join(word[:4] for word in _words(f"{tool.name} {tool.description}"))))
    return tuple(said for said in requests if any(word[:4] in stems for word in _words(said))) or requests


def _words(text: str) -> list[str]:
    return re.findall("[a-z]{4,}", text.lower())


def natural_spec(source: Source) -> NaturalTool:
    """Picks a hand-written tool from the side of the split that the source may use."""
    part = [spec for spec in NATURAL_TOOLS if words.is_held_out(spec.subject, 6) == source.held_out]
    return source.pick(part)
