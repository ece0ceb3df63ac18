"""What tools are about: things of everyday life and work, what one does with them, and the parameters that go with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from models.recipe import parameters as p
from models.recipe import words
from models.recipe.dialog import Json
from models.recipe.parameters import Kind, Value, choice, integer, said_as_is
from models.recipe.source import Source


@dataclass(frozen=True)
class Action:
    """Something to do with a thing."""

    verbs: tuple[str, ...]
    """Any of them may be in the tool's name and description."""
    requests: tuple[str, ...]
    """Ways to ask for it, whichever verb the tool has; `{}` is the thing."""


@dataclass(frozen=True)
class Domain:
    """Things of one sort."""

    nouns: tuple[str, ...]
    actions: tuple[Action, ...]
    kinds: tuple[Kind, ...]
    """Parameters that tools for them have."""
    own: float
    """How often a tool takes the thing's own name, number or code."""


def _whole(names: str, descriptions: tuple[str, ...], low: int, high: int, *phrases: str) -> Kind:
    return Kind(tuple(names.split()), "integer", descriptions, integer(low, high), phrases)


def _number(names: str, descriptions: tuple[str, ...], low: float, high: float, *phrases: str) -> Kind:
    def draw(source: Source) -> Value:
        number = round(source.rng.uniform(low, high), source.pick((1, 1, 2)))
        value = int(number) if number == int(number) else number
        return value, str(value)

    return Kind(tuple(names.split()), "number", descriptions, draw, phrases)


def _one_of(names: str, options: str, *phrases: str) -> Kind:
    listed = options.split()
    descriptions = (f"One of: {', '.join(listed)}", f"{', '.join(listed[:-1])} or {listed[-1]}")
    return Kind(tuple(names.split()), "string", descriptions, choice(*listed), phrases)


def _named(names: str, descriptions: tuple[str, ...], draw: Callable[[Source], Value], *phrases: str) -> Kind:
    return Kind(tuple(names.split()), "string", descriptions, draw, phrases)


def _flag(name: str, description: str) -> Kind:
    said = name.replace("_", " ")
    true = (f"with {said}", f"{said}: yes", f"with {said} on", f"{said} on", f"{said} true", f"and {said}, yes", f"turn {said} on",
            f"with {said} enabled", f"{said} should be on")  # fmt: skip
    false = (f"without {said}", f"{said}: no", f"with {said} off", f"{said} off", f"{said} false", f"not {said}", f"turn {said} off",
             f"with {said} disabled", f"{said} should be off", f"no {said}")  # fmt: skip

    def draw(source: Source) -> Value:
        value = source.chance(0.5)
        return value, source.phrasing(true if value else false)

    descriptions = (
        description,
        f"Whether to use {said}",
        f"True for {said}, false otherwise",
        f"Turn {said} on or off",
    )
    return Kind((name,), "boolean", descriptions, draw, ("{}",))


def _list(names: str, descriptions: tuple[str, ...], draw: Callable[[Source], str], *phrases: str) -> Kind:
    def value(source: Source) -> Value:
        items: list[str] = []
        count = source.pick((2, 2, 3, 3, 4))
        while len(items) < count:
            item = draw(source)
            if item not in items:
                items.append(item)
        return [*items], ", ".join(items[:-1]) + f" and {items[-1]}"

    return Kind(tuple(names.split()), "array", descriptions, value, phrases)


def _object(names: str, description: str, fields: dict[str, Callable[[Source], Value]]) -> Kind:
    """An object, said field by field: `size: height 20, width 30`."""

    def value(source: Source) -> Value:
        drawn = {name: draw(source) for name, draw in fields.items()}
        parts = [f"{name} {text}" for name, (_, text) in drawn.items()]
        return {name: item for name, (item, _) in drawn.items()}, ", ".join(parts[:-1]) + f" and {parts[-1]}"

    def type_of(draw: Callable[[Source], Value]) -> str:
        return "integer" if isinstance(draw(Source("type"))[0], int) else "string"

    schema: dict[str, Json] = {
        "type": "object",
        "properties": {name: {"type": type_of(draw)} for name, draw in fields.items()},
    }
    said = names.split(maxsplit=1)[0]
    phrases = (f"with {said} {{}}", f"{said}: {{}}", f"with the {said} {{}}", f"the {said} is {{}}", f"with a {said} of {{}}",
               f"and {said} {{}}", f"using {said} {{}}")  # fmt: skip
    return Kind(tuple(names.split()), "object", (description,), value, phrases, schema)


def _word(source: Source) -> str:
    return source.phrasing(words.COMMON_NOUNS) if source.chance(0.7) else words.invented_word(source.rng)


def _some_word(source: Source) -> Value:
    text = _word(source)
    return text, text


_NAME = said_as_is(words.invented_name)
_WORD_NAME = _some_word
_ROOM = _named(
    "room area location", ("The room", "Which room", "Name of the room"),
    choice("kitchen", "bedroom", "bathroom", "garage", "hall", "office", "cellar", "nursery", "library", "lobby"),
    "in the {}", "of the {}", "for the {}",
)  # fmt: skip
_PERCENT = _whole(
    "percent level intensity", ("Level in percent", "How strong, in percent", "A number from 0 to 100"), 1, 100,
    "to {} percent", "at {} percent", "{} percent", "down to {} percent", "up to {} percent",
)  # fmt: skip
_DEGREES = _whole(
    "degrees temperature target_temperature", ("The temperature in degrees", "Degrees Celsius", "How warm"), 5, 40,
    "to {} degrees", "at {} degrees", "{} degrees",
)  # fmt: skip
_HOURS = _whole("hours duration_hours num_hours", ("How many hours", "Number of hours", "For how many hours"), 1, 24,
                "for {} hours", "{} hours", "during {} hours", "over {} hours")  # fmt: skip
_SECONDS = _whole("seconds timeout delay", ("Number of seconds", "Time in seconds"), 5, 600,
                  "after {} seconds", "{} seconds", "for {} seconds")  # fmt: skip
_YEAR = _whole("year", ("The year", "Which year"), 1950, 2035, "from {}", "of {}", "for the year {}", "in {}")
_NIGHTS = _whole("nights num_nights", ("Number of nights", "How many nights"), 1, 21, "for {} nights", "{} nights")
_SPEED = _whole("speed", ("The speed", "How fast"), 1, 200, "at speed {}", "with a speed of {}", "speed {}")
_FLOOR = _whole(
    "storey level_number",
    ("Which storey", "The storey of the building"),
    1,
    40,
    "on storey {}",
    "storey {}",
    "at storey {}",
)
_REPLICAS = _whole("replicas instances", ("Number of replicas", "How many replicas"), 1, 50,
                   "with {} replicas", "to {} replicas", "{} replicas")  # fmt: skip
_PORT = _whole("port", ("The port number", "Which port"), 1000, 9999, "on port {}", "at port {}", "port {}")
_MEMORY = _whole("memory_mb memory", ("Memory in megabytes", "How much memory, in MB"), 64, 9000,
                 "with {} MB", "{} MB of memory", "using {} MB")  # fmt: skip
_RATING = _whole("rating stars score", ("Stars, from 1 to 5", "The rating from 1 to 5"), 1, 5,
                 "with {} stars", "{} stars", "rated {}")  # fmt: skip
_PAGES = _whole(
    "pages page_count", ("Number of pages", "How many pages"), 1, 400, "with {} pages", "{} pages", "of {} pages"
)
_COPIES = _whole(
    "copies", ("Number of copies", "How many copies"), 1, 50, "{} copies", "in {} copies", "with {} copies"
)
_WEIGHT = _number("weight weight_kg", ("Weight in kilograms", "How heavy, in kilograms"), 0.5, 90,
                  "weighing {} kilograms", "of {} kg", "with a weight of {}", "{} kilograms")  # fmt: skip
_PRICE = _number("max_price budget price_limit", ("The most to pay", "Highest price"), 5, 900,
                 "for at most {} dollars", "below {} dollars", "under {} dollars", "with a budget of {}")  # fmt: skip
_SUM = _number("amount total sum", ("The amount of money", "Amount in dollars", "How much money"), 1, 900,
               "of {} dollars", "over {} dollars", "of {}", "for {} dollars", "{} dollars")  # fmt: skip
_PERCENTAGE = _number("rate discount percentage", ("The rate in percent", "Percentage"), 0.5, 60,
                      "at {} percent", "of {} percent", "with {} percent")  # fmt: skip
_REASON = _named("reason comment remark", ("The reason", "Why, in a few words", "A remark"), said_as_is(words.phrase),
                 'because of "{}"', 'with the reason "{}"', 'reason: "{}"', 'since "{}"')  # fmt: skip
_STATUS = _one_of("status", "open closed pending paid active", "with status {}", "as {}", "to {}", "that is {}")
_CATEGORY = _named("category group type", ("The category", "Which category", "What sort"), _WORD_NAME,
                   "in category {}", "in the category {}", "under {}", "of category {}")  # fmt: skip
_GENRE = _one_of(
    "genre", "jazz rock comedy drama classical horror pop folk", "of the genre {}", "in the genre {}", "genre {}"
)
_CUISINE = _one_of(
    "cuisine kitchen_style",
    "italian thai mexican indian french greek turkish",
    "with {} food",
    "{} cuisine",
    "that is {}",
)
_FORMAT = _one_of(
    "format file_format output", "pdf csv json html txt png", "as {}", "in {} format", "as a {} file", "format {}"
)
_REGION = _one_of("region zone", "north south east west central", "in the {} region", "in region {}", "region {}")
_CLASS = _one_of("class travel_class", "economy business first", "in {} class", "{} class", "class {}")
_ENVIRONMENT = _one_of("environment stage", "production staging testing", "in {}", "on {}", "to {}")
_MODE = _one_of("mode", "eco normal turbo sleep auto", "in {} mode", "mode {}", "with mode {}")
_ARTIST = _named("artist author by_whom", ("The artist", "Who made it", "Name of the artist"), said_as_is(words.person),
                 "by {}", "from {}", "made by {}", "of {}")  # fmt: skip
_STREET = _named("street address", ("The street", "Street and number"),
                 lambda source: (text := f"{words.invented_name(source.rng)} Street {source.rng.randint(1, 99)}", text),
                 "at {}", "in {}", "to {}")  # fmt: skip
_PATH = _named("path file_path", ("The path", "Where the file is"),
               lambda source: (text := f"/{_word(source)}/{words.invented_word(source.rng)}", text),
               "at {}", "under {}", "in {}", "from {}")  # fmt: skip
_HOST = _named("host hostname node", ("Name of the host", "Which host"),
               lambda source: (text := f"{words.invented_word(source.rng)}-{source.rng.randint(1, 40)}", text),
               "on {}", "at {}", "on host {}")  # fmt: skip
_GUEST_LIST = _list("guests attendees participants", ("Names of the guests", "Who takes part, a list of names"),
                    lambda source: words.person(source.rng), "with {}", "for {}", "together with {}")  # fmt: skip
_TAGS = _list("tags labels keywords", ("List of tags", "Tags, a list of strings"), _word,
              "with the tags {}", "tagged {}", "tags: {}")  # fmt: skip
_INGREDIENTS = _list("ingredients toppings", ("What goes in, a list", "List of ingredients"), _word,
                     "with {}", "made with {}", "using {}")  # fmt: skip
_WEEKDAYS = _list("weekdays days_of_week", ("List of weekdays", "On which weekdays"),
                  lambda source: source.pick(words.WEEKDAYS), "on {}", "every {}")  # fmt: skip


def _numbers(source: Source) -> Value:
    items = [source.rng.randint(1, 500) for _ in range(source.rng.randint(2, 4))]
    return [*items], ", ".join(map(str, items[:-1])) + f" and {items[-1]}"


_NUMBERS = Kind(
    ("numbers", "values", "data"), "array", ("List of numbers", "The numbers"), _numbers, ("of {}", "for {}", "with {}", "from {}"),
)  # fmt: skip
_DIMENSIONS = _object("size dimensions", "Height and width", {"height": integer(1, 500), "width": integer(1, 500)})
_PERIOD = _object("period range", "First and last hour", {"first": integer(1, 12), "last": integer(13, 24)})
_CUSTOMER = _object(
    "customer contact", "Who it is for", {"city": said_as_is(words.place), "name": said_as_is(words.person)}
)
_LIMITS = _object("limits bounds", "Smallest and largest value", {"max": integer(100, 900), "min": integer(1, 99)})
_POSITION = _object("position spot", "Where it is", {"column": integer(1, 60), "row": integer(1, 60)})
_OWNER = _object("owner sender", "Who owns it", {"id": integer(1, 900), "name": said_as_is(words.person)})

QUALIFIERS = words.listed(
    "weekly office city family summer travel student night garden company holiday backup online main second monthly morning winter sports "
    "home guest music school test business street weekend group kitchen private"
)
"""What a thing is called more closely: `office printer`."""

_LOOK = Action(
    ("get", "show", "fetch", "read", "view", "retrieve"),
    ("Show me the {}", "Get the {}", "What is the {}", "I want to see the {}", "Give me the {}", "Let me see the {}",
     "Tell me about the {}",
     "How is the {}", "Read me the {}", "What do we know about the {}", "Pull up the {}", "I would like to look at the {}",
     "Where is the {}",
     "Can I see the {}", "Bring up the {}", "Fetch the {}", "What does the {} say", "I am curious about the {}"),
)  # fmt: skip
_CHECK = Action(
    ("check", "track", "inspect", "monitor", "verify"),
    ("Check the {}", "What is the state of the {}", "Is the {} in order", "How is the {} doing", "Look after the {}",
     "Is there any news of the {}",
     "What happened to the {}", "Did anything happen with the {}", "I am waiting for the {}", "How far is the {}", "Is the {} all right",
     "Make sure that the {} is fine", "Please verify the {}", "Keep an eye on the {}", "Has the {} changed", "Any update on the {}"),
)  # fmt: skip
_FIND = Action(
    ("find", "search", "list", "lookup"),
    ("Find a {}", "Search for a {}", "Look for a {}", "Is there a {}", "I am looking for a {}", "Which {} can you find",
     "Help me find a {}",
     "Show me any {}", "Do you know a {}", "Are there any {} offers", "I need a {}", "Recommend a {}", "We are searching for a {}",
     "Where can I find a {}", "Suggest a {}", "Can you find me a {}", "Which {} is there", "Point me to a {}"),
)  # fmt: skip
_CREATE = Action(
    ("create", "add", "make", "register"),
    ("Create a {}", "Add a {}", "Make a new {}", "Set up a {}", "I want a new {}", "We need another {}", "Please add a {}",
     "Start a new {}",
     "Put in a {}", "I would like to have a {}", "Write a new {}", "Let us have a {}", "Prepare a {}", "There should be a {}",
     "Open a new {}",
     "Get a {} ready"),
)  # fmt: skip
_REMOVE = Action(
    ("delete", "remove", "cancel", "drop"),
    ("Delete the {}", "Remove the {}", "Cancel the {}", "Get rid of the {}", "I no longer need the {}", "Throw the {} away",
     "Take the {} out",
     "We do not want the {} any more", "The {} can go", "Drop the {}", "Please cancel the {}", "The {} is not needed", "Erase the {}",
     "I changed my mind about the {}"),
)  # fmt: skip
_CHANGE = Action(
    ("update", "change", "edit", "modify"),
    ("Update the {}", "Change the {}", "Edit the {}", "I want to change the {}", "The {} has to change", "Correct the {}", "Adjust the {}",
     "Please modify the {}", "Make a change to the {}", "The {} is wrong, mend it", "The {} should be different", "Fix the {}",
     "Let us change the {}"),
)  # fmt: skip
_SET = Action(
    ("set", "adjust", "control", "tune"),
    ("Set the {}", "Put the {}", "Adjust the {}", "Turn the {}", "Bring the {}", "I want the {}", "Make the {} run", "Control the {}",
     "The {} should be", "Please put the {}", "Keep the {}", "Move the {}", "Let the {} be", "I would like the {}", "Have the {}"),
)  # fmt: skip
_START = Action(
    ("start", "run", "launch", "activate"),
    ("Start the {}", "Run the {}", "Launch the {}", "Switch the {} on", "Turn on the {}", "Let the {} run", "Activate the {}",
     "Please start the {}",
     "Get the {} going", "It is time to start the {}", "I want to use the {}", "The {} should start", "Fire up the {}",
     "Have the {} begin"),
)  # fmt: skip
_STOP = Action(
    ("stop", "pause", "halt", "disable"),
    ("Stop the {}", "Pause the {}", "Switch the {} off", "Turn off the {}", "Halt the {}", "The {} must stop", "Shut down the {}",
     "Let the {} rest", "Please stop the {}", "Enough of the {}", "Bring the {} to a halt", "The {} should not run"),
)  # fmt: skip
_BOOK = Action(
    ("book", "reserve", "order", "rent"),
    ("Book a {}", "Reserve a {}", "Order a {}", "I would like a {}", "Get me a {}", "I need a {}", "We want a {}", "Rent a {}",
     "Please book me a {}", "Can I have a {}", "I want to reserve a {}", "Arrange a {}", "Get hold of a {}", "How about a {}",
     "Find us a {}",
     "A {} would be nice", "Organize a {}", "I am in need of a {}"),
)  # fmt: skip
_SEND = Action(
    ("send", "share", "forward", "deliver"),
    ("Send a {}", "Send the {}", "Share the {}", "Forward the {}", "Please send a {}", "Let a {} go", "Pass the {} on",
     "I want to send a {}",
     "Hand the {} over", "Get the {} delivered", "Deliver the {}", "Mail the {}", "Have a {} sent", "A {} has to go out"),
)  # fmt: skip
_COMPUTE = Action(
    ("calculate", "compute", "estimate", "get"),
    ("Calculate the {}", "What is the {}", "Compute the {}", "Work out the {}", "How high is the {}", "Tell me the {}", "I need the {}",
     "Estimate the {}", "What would the {} be", "Give me the {}", "How much is the {}", "Find out the {}", "Could you calculate the {}"),
)  # fmt: skip
_PLAY = Action(
    ("play", "open", "stream", "start"),
    ("Play the {}", "Open the {}", "I want to enjoy the {}", "Put on the {}", "Let me hear the {}", "Start the {}", "Stream the {}",
     "I feel like the {}", "How about the {}", "Let us have the {}", "Please play the {}", "Could you put the {} on"),
)  # fmt: skip
_RATE = Action(
    ("rate", "review", "grade"),
    ("Rate the {}", "Review the {}", "Give a rating to the {}", "I want to rate the {}", "Grade the {}", "My opinion of the {}",
     "Leave a review for the {}", "Judge the {}", "The {} gets a rating"),
)  # fmt: skip

DOMAINS: tuple[Domain, ...] = (
    Domain(
        words.listed(
            "order invoice shipment booking reservation claim contract license permit prescription payment refund voucher coupon receipt "
            "subscription membership policy deposit account case complaint delivery application certificate warranty donation fine bill"
        ),
        (_LOOK, _CHECK, _REMOVE, _CHANGE, _CREATE),
        (p.PERSON, p.DATE, p.EMAIL, _SUM, _REASON, _STATUS, p.PRIORITY, _CUSTOMER, _flag("express", "Whether it is express"),
         _flag("refundable", "Whether money is given back"), _flag("urgent", "Whether it is urgent")),
        0.75,
    ),
    Domain(
        words.listed(
            "heater fan oven alarm speaker printer robot pump projector boiler dryer washer kettle toaster sprinkler thermostat curtain "
            "blind "
            "radiator mixer humidifier freezer dishwasher vacuum shower sauna fountain conveyor crane generator turbine furnace"
        ),
        (_SET, _START, _STOP, _CHECK),
        (_ROOM, _PERCENT, _DEGREES, p.MINUTES, p.TIME, _SPEED, _MODE, _HOURS, p.COLOUR, _PERIOD, p.SWITCH,
         _flag("heating", "Whether to heat"), _flag("quiet", "Whether to be quiet"), _flag("timer", "Whether to use the timer")),
        0.25,
    ),
    Domain(
        words.listed(
            "hotel restaurant library cafe cinema theater gym pool park beach clinic pharmacy dentist school shop market bakery garage zoo "
            "campsite hostel stadium gallery apartment hospital office warehouse embassy bank church"
        ),
        (_FIND, _LOOK, _BOOK, _RATE),
        (p.PLACE, p.DATE, p.PEOPLE, _NIGHTS, _RATING, _PRICE, _CUISINE, p.WEEKDAY, p.TIME, _STREET, _REGION,
         _flag("parking", "Whether it has parking"), _flag("breakfast", "Whether breakfast is served"),
         _flag("garden", "Whether it has a garden")),
        0.3,
    ),
    Domain(
        words.listed(
            "message letter invitation postcard reminder notification report newsletter fax memo gift flyer questionnaire package greeting "
            "survey note announcement warning proposal quote summary"
        ),
        (_SEND, _CREATE),
        (p.PERSON, p.EMAIL, p.TEXT, p.TITLE, p.DATE, p.TIME, p.LANGUAGE, p.PRIORITY, _TAGS, _CUSTOMER,
         _flag("anonymous", "Whether to hide the sender"), _flag("confirmation", "Whether to ask for a confirmation")),
        0.0,
    ),
    Domain(
        words.listed(
            "song movie album podcast video game book series concert show magazine comic opera documentary album musical trailer episode "
            "story "
            "poem audiobook channel"
        ),
        (_PLAY, _FIND, _RATE, _LOOK),
        (p.TITLE, _ARTIST, _GENRE, _YEAR, p.COUNT, _RATING, p.LANGUAGE, _PERCENT, _MODE,
         _flag("subtitles", "Whether to show subtitles"), _flag("repeat", "Whether to repeat")),
        0.2,
    ),
    Domain(
        words.listed(
            "file folder document backup table page chart spreadsheet presentation photo image record entry bookmark draft archive "
            "template "
            "diagram comment form poster map list label"
        ),
        (_CREATE, _REMOVE, _CHANGE, _LOOK, _SEND),
        (p.TITLE, _PATH, _FORMAT, p.TEXT, _PAGES, _COPIES, _TAGS, _OWNER, _DIMENSIONS, p.COLOUR, p.SIZE,
         _flag("encrypted", "Whether to encrypt"), _flag("overwrite", "Whether to overwrite"), _flag("public", "Whether all may see it")),
        0.3,
    ),
    Domain(
        words.listed(
            "server container cluster job deployment database branch build pod queue cache gateway worker service certificate volume "
            "bucket "
            "replica endpoint pipeline experiment session process instance workflow"
        ),
        (_START, _STOP, _CHECK, _CREATE, _REMOVE, _CHANGE),
        (_HOST, _REPLICAS, _PORT, _MEMORY, _ENVIRONMENT, _REGION, _SECONDS, _LIMITS, _TAGS, p.IDENTIFIER,
         _flag("dry_run", "Whether only to try"), _flag("force", "Whether to force it"), _flag("verbose", "Whether to log more")),
        0.5,
    ),
    Domain(
        words.listed(
            "tax tip loan mortgage interest profit discount salary fee average median area volume distance speed calories budget pension "
            "rent cost margin dose footprint score deviation"
        ),
        (_COMPUTE,),
        (_SUM, _PERCENTAGE, p.PEOPLE, _YEAR, _WEIGHT, p.DAYS, _NUMBERS, _DIMENSIONS, p.UNIT, p.PLACE, _LIMITS,
         _flag("rounded", "Whether to round"), _flag("monthly", "Whether it is by the month")),
        0.0,
    ),
    Domain(
        words.listed("pizza coffee cake salad soup sandwich burger breakfast lunch dinner smoothie tea pasta curry dessert juice meal "
                     "snack stew"),
        (_BOOK, _CREATE, _FIND),
        (p.SIZE, _COPIES, _INGREDIENTS, p.TIME, _STREET, p.PERSON, _PRICE, _CUISINE, p.PEOPLE,
         _flag("vegan", "Whether it is vegan"), _flag("spicy", "Whether it is spicy"), _flag("takeaway", "Whether to take it away")),
        0.0,
    ),
    Domain(
        words.listed("taxi train flight bus bike car boat limousine van tram helicopter truck ride cruise seat trip motorcycle canoe "
                     "shuttle"),
        (_BOOK, _FIND, _REMOVE, _CHECK),
        (p.ORIGIN, p.TARGET, p.DATE, p.TIME, p.PEOPLE, _CLASS, _HOURS, p.PLACE, _PRICE, p.IDENTIFIER,
         _flag("insured", "Whether it is insured"), _flag("luggage", "Whether there is luggage")),
        0.2,
    ),
    Domain(
        words.listed(
            "meeting appointment event party lesson course exam workout rehearsal interview conference workshop training session tour "
            "match "
            "visit call ceremony wedding class shift task goal project"
        ),
        (_CREATE, _REMOVE, _CHANGE, _LOOK, _BOOK),
        (p.TITLE, p.DATE, p.TIME, p.PERSON, p.MINUTES, _GUEST_LIST, p.PLACE, p.WEEKDAY, _FLOOR, _WEEKDAYS, p.PRIORITY, _POSITION,
         _flag("online", "Whether it is online"), _flag("private", "Whether it is private")),
        0.2,
    ),
    Domain(
        words.listed(
            "patient student employee customer member player driver teacher doctor nurse tenant guest supplier partner candidate pilot "
            "artist "
            "neighbor volunteer witness owner cat dog horse parrot"
        ),
        (_LOOK, _CREATE, _REMOVE, _CHANGE, _FIND),
        (p.EMAIL, p.PLACE, p.DATE, _STREET, _CATEGORY, p.IDENTIFIER, _WEIGHT, p.LANGUAGE, _TAGS, _OWNER,
         _flag("active", "Whether active"), _flag("vaccinated", "Whether vaccinated")),
        0.55,
    ),
)  # fmt: skip
