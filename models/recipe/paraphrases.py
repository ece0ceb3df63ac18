"""Wordings written by hand for the evaluation alone. Nothing that trains may import this module.

They say what the recipe's templates say, in words of their own: other tools, other sentences, other names.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from models.recipe.dialog import Call, Dialog, Json, Parameter, Tool, Turn
from models.recipe.retrieval import UNANSWERABLE

_TODAY = date(2026, 3, 14)


def _tool(name: str, description: str, **parameters: str) -> Tool:
    """A tool from `name="type: description"`, a question mark behind the type for an optional parameter."""
    declared = []
    for parameter, text in parameters.items():
        kind, said = text.split(": ")
        declared.append(Parameter(parameter, kind.removesuffix("?"), said, not kind.endswith("?")))
    return Tool(name, description, tuple(sorted(declared, key=lambda item: (not item.required, item.name))))


_FERRY = _tool(
    "find_ferry", "Find a ferry to an island", island="string: The island to go to", deck="string?: Which deck"
)
_LAMP = _tool(
    "dim_lamp", "Dim a lamp in the house", room="string: The room of the lamp", percent="integer: Brightness in percent"
)
_LOCKER = _tool("open_locker", "Open a locker at the station", locker_id="string: The id of the locker")
_BADGE = _tool(
    "print_badge",
    "Print a badge for a visitor",
    visitor="string: Name of the visitor",
    color="string?: The color of the badge",
)
_RECIPE = _tool(
    "save_recipe",
    "Save a recipe in the cookbook",
    title="string: The title of the recipe",
    servings="integer: Number of servings",
)
_PARCEL = _tool("locate_parcel", "Locate a parcel on its way", tracking_code="string: The tracking code of the parcel")
_GREENHOUSE = _tool(
    "water_greenhouse",
    "Water the greenhouse",
    minutes="integer: For how many minutes",
    warm="boolean: Whether to use warm water",
)
_CHESS = _tool(
    "start_chess_game",
    "Start a game of chess",
    opponent="string: Who to play against",
    level="integer?: Strength of the opponent",
)
_TRANSLATE = _tool(
    "translate_sentence",
    "Translate a sentence",
    sentence="string: The sentence",
    language="string: The language to translate to",
)
_MUSEUM = _tool(
    "museum_hours",
    "Opening hours of a museum",
    museum="string: The name of the museum",
    weekday="string?: The day of the week",
)
_LEDGER = _tool(
    "add_expense",
    "Add an expense to the ledger",
    amount="number: The amount of money",
    category="string: The category of the expense",
)
_DRONE = _tool(
    "launch_drone",
    "Launch a drone",
    altitude="integer: The altitude in meters",
    silent="boolean?: Whether to fly in silent mode",
)
_PLAYLIST = _tool("shuffle_playlist", "Shuffle a playlist", playlist="string: The name of the playlist")
_TIDE = _tool(
    "get_tide", "Get the tide at a harbor", harbor="string: The harbor", date="string?: The date in ISO format"
)
_GROCERY = _tool("order_groceries", "Order groceries for delivery", items="array: The items, a list of strings")
_VAULT = _tool(
    "lock_vault",
    "Lock the vault",
    vault_number="integer: The number of the vault",
    alarm="boolean: Whether to turn the alarm on",
)
_ELEVATOR = _tool("call_elevator", "Call the elevator to a floor", floor="integer: The floor")
_SCOOTER = _tool(
    "rent_scooter", "Rent a scooter in a city", city="string: The name of the city", hours="integer: How many hours"
)
_PASSPORT = _tool(
    "renew_passport",
    "Renew a passport",
    passport_number="string: The passport number",
    email="string: The email address",
)
_CAMERA = _tool(
    "rotate_camera",
    "Rotate a security camera",
    camera="string: The camera code",
    degrees="integer: The angle in degrees",
)

CALLS: tuple[tuple[Tool, str, dict[str, Json]], ...] = (
    (_FERRY, "Is there any ferry that would bring me to Skarvoy?", {"island": "Skarvoy"}),
    (_FERRY, "We would love to see the island Belmora. Which ferry should we take?", {"island": "Belmora"}),
    (_LAMP, "It is too bright in the Kitchen, bring the lamp down to 35 percent.", {"room": "Kitchen", "percent": 35}),
    (_LAMP, "Let the lamp in the room Attic shine at 80 percent only.", {"room": "Attic", "percent": 80}),
    (_LOCKER, "My bag is in locker T-417, let me have it.", {"locker_id": "T-417"}),
    (_LOCKER, "Would you kindly unlock locker PQ9931 at the station?", {"locker_id": "PQ9931"}),
    (_BADGE, "A visitor called Tamsin Orkvald has arrived and needs a badge.", {"visitor": "Tamsin Orkvald"}),
    (_BADGE, "Make sure that visitor Delroy gets a badge, a green one.", {"visitor": "Delroy", "color": "green"}),
    (_RECIPE, 'I cooked "lentil stew", it made 6 servings. Keep the recipe for me.', {"title": "lentil stew", "servings": 6}),
    (_RECIPE, 'The cookbook lacks "cold plum soup" for 3 servings, put the recipe in.', {"title": "cold plum soup", "servings": 3}),
    (_PARCEL, "I am still waiting for parcel ZX-20417, where did it get to?", {"tracking_code": "ZX-20417"}),
    (_PARCEL, "Whereabouts is the parcel having tracking code 7fd20a?", {"tracking_code": "7fd20a"}),
    (_GREENHOUSE, "The greenhouse looks dry. Give it 12 minutes, warm: yes.", {"minutes": 12, "warm": True}),
    (_GREENHOUSE, "Let water run in the greenhouse during 25 minutes, not warm please.", {"minutes": 25, "warm": False}),
    (_CHESS, "I challenge Brunhilde to chess.", {"opponent": "Brunhilde"}),
    (_CHESS, "How about a chess game against Okonjo, at level 4?", {"opponent": "Okonjo", "level": 4}),
    (_TRANSLATE, 'What would "the bakery is closed" be in Greek?', {"sentence": "the bakery is closed", "language": "Greek"}),
    (_TRANSLATE, 'My aunt speaks only Polish; put "see you at noon" in her language.', {"sentence": "see you at noon",
    "language": "Polish"}),
    (_MUSEUM, "From when to when may one visit the Kestrel museum?", {"museum": "Kestrel"}),
    (_MUSEUM, "Is the museum Valdoro open on a Tuesday?", {"museum": "Valdoro", "weekday": "Tuesday"}),
    (_LEDGER, "I just spent 48.5 on travel, note the expense.", {"amount": 48.5, "category": "travel"}),
    (_LEDGER, "Another expense: food, 19 in all.", {"amount": 19, "category": "food"}),
    (_DRONE, "Let a drone rise to an altitude of 120 meters.", {"altitude": 120}),
    (_DRONE, "Get a drone into the air, altitude 45, silent mode on.", {"altitude": 45, "silent": True}),
    (_PLAYLIST, "I am bored of the order of playlist Nightdrive, mix it up.", {"playlist": "Nightdrive"}),
    (_PLAYLIST, "Put the songs of the playlist Morvanta in a random order.", {"playlist": "Morvanta"}),
    (_TIDE, "When will the water be high in the harbor of Quillhaven?", {"harbor": "Quillhaven"}),
    (_TIDE, "I sail from Drostad harbor on 2026-07-02, what about the tide?", {"harbor": "Drostad", "date": "2026-07-02"}),
    (_GROCERY, "We have run out of milk, rice and lemons. Have groceries delivered.", {"items": ["milk", "rice", "lemons"]}),
    (_GROCERY, "Groceries for tonight: bread and cheese.", {"items": ["bread", "cheese"]}),
    (_VAULT, "Shut vault 7 and turn the alarm on.", {"vault_number": 7, "alarm": True}),
    (_VAULT, "Vault number 31 has to be locked, but leave the alarm off.", {"vault_number": 31, "alarm": False}),
    (_ELEVATOR, "I am waiting on floor 9 for the elevator.", {"floor": 9}),
    (_ELEVATOR, "Have the elevator come up to floor 14.", {"floor": 14}),
    (_SCOOTER, "For 3 hours I would like to have a scooter in Lisbon.", {"city": "Lisbon", "hours": 3}),
    (_SCOOTER, "Get hold of a scooter for us: Vorsk, 5 hours.", {"city": "Vorsk", "hours": 5}),
    (_PASSPORT, "My passport KD84412 runs out soon. Renew it and write to lena@post.example.",
     {"passport_number": "KD84412", "email": "lena@post.example"}),
    (_PASSPORT, "Passport AX-7002 needs to be renewed, mail goes to omar@example.org.",
     {"passport_number": "AX-7002", "email": "omar@example.org"}),
    (_CAMERA, "Let camera C12 look 90 degrees further.", {"camera": "C12", "degrees": 90}),
    (_CAMERA, "Camera gate_7 should be turned by 45 degrees.", {"camera": "gate_7", "degrees": 45}),
)  # fmt: skip

PAIRS = (
    "{} {}", "{} Besides, {}", "{} On top of that: {}", "Here is my list. {} {}", "{} And one more wish: {}",
)  # fmt: skip
"""Ways to ask for two calls at once."""

NO_TOOL_NEEDED = (
    "Hello there, how do you do?", "Hi friend!", "Good to see you.", "Many thanks for that.", "That was very kind of you.", "So long!",
    "I have to run, goodbye.", "And who might you be?", "May I ask what your name is?", "What sort of things can you do for me?",
    "Am I chatting with a person or a program?", "Who is it that built you?", "Could you tell me what vLLM does?",
    "I keep reading about gRPC, what is that?",
    "What is Redis good for?", "What role does the gateway play?", "What do you mean by an embedding?",
    "In a few words, what is Kubernetes?",
    "I never understood what a token is.", "What is the idea of a shield?", "Just curious, what is a memory bank?", "3 + 4 makes?",
    "What does 6 times 7 give?", "Take 5 away from 12.", "Sum of 8 and 9?", "If I split 20 by 4, what do I get?",
    "How much would 2 plus 2 be?",
    "An hour has how many minutes?", "How many days make up a week?", "3 hours, in minutes?", "Which weekday follows Monday?",
    "What month is right before May?",
    "Make me smile with a joke.", "I feel a bit down today.", "Today is a wonderful day!", "You did well.",
    "Which city is the capital of Italy?",
    "Remind me, what is the capital of Japan?", "What is the Llama Stack about?", "Please say what the registry is for.",
)  # fmt: skip

RESULTS: tuple[tuple[str, str], ...] = (
    ("It leaves at 17:40 from pier 6", "17:40 6"), ('{"ferry": "Nordlys", "price": 32}', "Nordlys 32"),
    ('{"percent": 35, "lamp": "ceiling"}', "35 ceiling"),
    ('{"door": "opened", "code": "4471"}', "opened 4471"), ("locker T-417 is now open", "open"), ('{"printer": "north hall"}',
    "north hall"),
    ('{"parcel": "in Graz", "days": 2}', "Graz 2"), ("The parcel waits in Hamburg", "Hamburg"), ('{"recipe_number": 88}', "88"),
    ('{"liters": 140, "soil": "wet"}', "140 wet"), ('{"game": "g-551", "first_move": "white"}', "551 white"), ("Okonjo accepts at 9 pm",
    "Okonjo 9"),
    ('{"translation": "velmar tosk"}', "velmar tosk"), ('{"opens": "10:00", "closes": "18:30"}', "10 00 18 30"),
    ("Closed until 3 March", "Closed 3 March"),
    ('{"balance": 219.5}', "219 5"), ('{"battery": 76, "wind": "weak"}', "76 weak"), ('{"songs": 43}', "43"), ('{"high_tide": "05:12"}',
    "05 12"),
    ("Low water at 23:05", "23 05"),
)  # fmt: skip
"""Tool outputs, and the words of each that an answer has to hold."""

CONTEXTS: tuple[tuple[str, tuple[tuple[str, str], ...], tuple[str, ...]], ...] = (
    (
        "The lighthouse of Varn was built in 1834. It stands on the rock Osk, and Mirela Tandy looks after it. A visit costs 7 dollars.",
        (("In what year was the lighthouse of Varn built?", "1834"), ("Who looks after the lighthouse?", "Mirela Tandy"),
         ("What does a visit cost?", "7")),
        ("How tall is the lighthouse of Varn?", "Which ships pass the lighthouse?"),
    ),
    (
        "Our office in Brillo opens at 8 am. The director is Hanno Quist. The office has 52 employees and a garden.",
        (("At what hour does the office in Brillo open?", "8"), ("What is the name of the director?", "Hanno Quist"),
         ("How many employees does the office have?", "52")),
        ("What is the phone number of the office?", "When was the office painted?"),
    ),
    (
        "The Talmek pump uses a filter of type F-90. The filter lasts 14 months. Spare parts are sold in Lugano.",
        (("Which type of filter does the Talmek pump use?", "F 90"), ("How long does the filter last?", "14 months"),
         ("Where are spare parts sold?", "Lugano")),
        ("How heavy is the Talmek pump?", "Who invented the Talmek pump?"),
    ),
    (
        "Train R7 goes from Ostrin to Pell. It leaves Ostrin at 06:45. The driver of train R7 is Bo Lindqvar.",
        (("Where does train R7 go?", "Pell"), ("When does the train leave Ostrin?", "06 45"), ("Who is the driver of train R7?",
        "Bo Lindqvar")),
        ("What does a ticket for train R7 cost?", "What color is train R7?"),
    ),
    (
        "Project Heron was started by Aya Moreno. Its budget is 8400 dollars. The password of the project is never sent by mail.",
        (("Who started project Heron?", "Aya Moreno"), ("How large is the budget of project Heron?", "8400")),
        ("In which city is project Heron?", "When does project Heron end?"),
    ),
    (
        "The bakery Krumm makes bread from rye. It closes at 19:00. Its oven was bought in 2011.",
        (("From what does the bakery Krumm make bread?", "rye"), ("When does the bakery close?", "19 00"), ("When was the oven bought?",
        "2011")),
        ("Who owns the bakery Krumm?", "How many people work at the bakery Krumm?"),
    ),
    (
        "Lake Sorvel lies in the north of Dunmark. Its water is 9 degrees cold. The only boat on the lake is called Piva.",
        (("Where does Lake Sorvel lie?", "Dunmark"), ("How cold is the water of Lake Sorvel?", "9"),
        ("What is the boat on the lake called?", "Piva")),
        ("How deep is Lake Sorvel?", "Which fish live in Lake Sorvel?"),
    ),
)  # fmt: skip
"""A text, questions that it answers with the words that count, and questions that it does not answer."""


def call_dialogs(tool_format: str) -> Iterator[Dialog]:
    """Every request with one or two other tools beside the right one."""
    for index, (tool, said, arguments) in enumerate(CALLS):
        turns = (Turn("user", said), Turn("assistant", calls=(_call(tool, arguments),)))
        yield Dialog(turns, _among_others(tool, index), tool_format, _TODAY)


def parallel_dialogs(tool_format: str) -> Iterator[Dialog]:
    """Two requests at once, for different tools."""
    for index, (tool, said, arguments) in enumerate(CALLS):
        other, also, others = CALLS[(index + 7) % len(CALLS)]
        turns = (
            Turn("user", PAIRS[index % len(PAIRS)].format(said, also)),
            Turn("assistant", calls=(_call(tool, arguments), _call(other, others))),
        )
        yield Dialog(turns, (tool, other) if index % 2 else (other, tool), tool_format, _TODAY)


def no_tool_dialogs() -> Iterator[Dialog]:
    """Questions that call for no tool, with tools on offer."""
    for index, said in enumerate(NO_TOOL_NEEDED):
        tools = _among_others(CALLS[index % len(CALLS)][0], index)
        yield Dialog(
            (Turn("user", said), Turn("assistant", "Any answer.")),
            tools,
            ("json", "function_tag", "python_list")[index % 3],
            _TODAY,
        )


def result_dialogs() -> Iterator[Dialog]:
    """What tools returned, to be told to the user; each in two formats."""
    for index, (output, words) in enumerate((*RESULTS, *RESULTS)):
        tool, said, arguments = CALLS[index % len(CALLS)]
        turns = (
            Turn("user", said),
            Turn("assistant", calls=(_call(tool, arguments),)),
            Turn("tool", output),
            Turn("assistant", words, key=words),
        )
        yield Dialog(turns, (tool,), ("json", "python_list")[index >= len(RESULTS)], _TODAY)


def context_dialogs() -> Iterator[Dialog]:
    """Questions over a text: as it is, and set out as retrieved chunks."""
    for text, answered, unanswered in CONTEXTS:
        for context in (text, f"Retrieved for you:\nid:doc-3; content:{text}\nEnd of what was retrieved."):
            for question, words in answered:
                yield Dialog(
                    (Turn("user", question, context=context), Turn("assistant", words, key=words)), today=_TODAY
                )
        for context in (
            text,
            f"Context from the archive:\n{text}",
            f"Retrieved for you:\nid:doc-3; content:{text}\nEnd of what was retrieved.",
        ):
            for question in unanswered:
                yield Dialog((Turn("user", question, context=context), Turn("assistant", UNANSWERABLE)), today=_TODAY)


def _call(tool: Tool, arguments: dict[str, Json]) -> Call:
    return Call(tool.name, {item.name: arguments[item.name] for item in tool.parameters if item.name in arguments})


def _among_others(tool: Tool, index: int) -> tuple[Tool, ...]:
    """The tool with one or two others, in changing places."""
    others = [other for other, _, _ in CALLS if other is not tool]
    tools = [others[(index * 7) % len(others)]]
    if index % 2 and (second := others[(index * 11 + 5) % len(others)]) is not tools[0]:
        tools.append(second)
    tools.insert(index % (len(tools) + 1), tool)
    return tuple(tools)
