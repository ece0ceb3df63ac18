"""Word lists and random values that the generators draw from.

Everything here was written for this recipe or is a public-domain fact. Invented words come from a syllable grammar, so that
a model has to copy them from the prompt: it cannot have learnt them by heart.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from datetime import date
from random import Random
from typing import TypeVar

T = TypeVar("T")


def listed(text: str, separator: str | None = None) -> tuple[str, ...]:
    """Splits running text into a word list, so that the lists stay short to read."""
    return tuple(text.split(separator))


CITIES = listed(
    "Paris|London|Berlin|Madrid|Rome|Tokyo|Oslo|Lisbon|Vienna|Prague|Athens|Dublin|Cairo|Lima|Delhi|Seoul|Boston|"
    "Chicago|Seattle|Denver|Austin|Toronto|Sydney|Melbourne|Nairobi|Helsinki|Stockholm|Warsaw|Budapest|Zurich|"
    "Geneva|Munich|Hamburg|Milan|Naples|Venice|Barcelona|Valencia|Porto|Brussels|Amsterdam|Kyoto|Osaka|Beijing|"
    "Shanghai|Mumbai|Bangkok|Hanoi|Manila|Jakarta|Singapore|Dubai|Istanbul|Ankara|Moscow|Kyiv|Miami|Dallas|"
    "Houston|Phoenix|Portland|Montreal|New York|San Francisco|Los Angeles|Cape Town|Hong Kong|Buenos Aires|"
    "Mexico City|Rio de Janeiro",
    separator="|",
)
FIRST_NAMES = listed(
    "Alice Bob Carol David Emma Frank Grace Henry Irene Jack Karen Leo Maria Nina Oscar Paula Quinn Rosa Sam Tina Uma "
    "Victor Wendy Yusuf Zoe Anna Ben Clara Daniel Elena Felix Hana Ivan Julia Kai Lena Marco Nora Omar Priya Ravi Sara "
    "Tom Lucy Peter Mia Noah Olga Hugo Ines"
)
WEEKDAYS = listed("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
MONTHS = listed("January February March April May June July August September October November December")
COLOURS = listed("red blue green yellow black white orange purple pink brown grey silver")
LANGUAGES = listed("French German Spanish Italian Dutch Polish Greek Turkish Hindi Korean Arabic")
COMMON_NOUNS = listed(
    "apple bread bridge candle camera carpet chair clock coffee cookie desk door dream engine feather fence flower forest "
    "garden guitar hammer honey island jacket kettle ladder lamp lemon letter lion market melon mirror mountain needle "
    "ocean onion paper pencil pepper piano pillow planet pocket potato puzzle rabbit ribbon river rocket salad sandal "
    "school shadow shirt silver soup spoon stone storm sugar table teapot tiger tomato tower train tunnel turtle valley "
    "violin wagon wallet whistle window winter wolf yogurt zebra milk eggs rice beans cheese keys phone laptop book bike "
    "boat sofa oven plant horse goat duck whale eagle"
)
ADJECTIVES = listed(
    "old new small large quiet bright dark cheap fast slow warm cold heavy light soft loud happy sweet fresh dry round "
    "golden simple modern local rare early late long short deep clean wild spicy green blue"
)
TOPICS = listed(
    "music|history|cooking|chess|football|gardening|travel|science|space|painting|robots|ancient Rome|modern art|"
    "deep sea fish|electric cars|solar power|jazz piano|bread baking|bird watching|rock climbing|film noir|"
    "machine learning|board games|street food|wild flowers|old maps|train travel|coffee beans|river fishing",
    separator="|",
)

_ONSETS = listed("b c d f g h j k l m n p r s t v w z br ch cl cr dr fl gr kr pl pr qu sh sk sl st th tr vl zh")
_VOWELS = listed("a e i o u a e i o ai ea ei io ou y")
_CODAS = ("", "", "", "n", "r", "l", "s", "th", "x", "k", "m", "nd", "rt", "sk", "v", "z")


OBJECTS = listed(
    "actor airport album anchor apron arena atlas attic bag balcony ballot band bank barn barrel basin basket bath beach bench "
    "bin blanket boiler bonus bottle bowl box bracelet brush bucket buffet bulb bundle cable cage cake canal canoe canvas cap "
    "carriage cart cellar center chamber channel chapel choir circuit circus citizen clerk cloud coach coat coin column comet "
    "compass concert console cooker costume cottage counter cradle crane crew crown cube cup cupboard curtain cushion cycle "
    "dance dashboard dentist deposit dialog dish dock doctor dome drawer dress driver drum dryer echo editor elbow envelope "
    "essay fabric fan farm faucet field filter finger fire flag flashlight fleet flute folder fork formula fountain frame fridge "
    "fund fuse gallery gate gear glass globe glove gown grill grove gym hall harvest hat hedge helmet herb hood hook horn hose "
    "hostel hut icon index ink jar jeep jet joystick judge jug juice keyboard kit kiosk knife knot lab label lake landing lane "
    "laser lawn lawyer layer leaf league lens level lever lift line linen list logo lounge lunch magazine mail mailbox manual "
    "marble mask mast mat mayor medal memo merchant message metro microphone mill mixer modem monitor monument mop mosaic motor "
    "mug mural nest net nurse oar opera orchard order organ outfit outlet package paddle page palace panel parade parrot passage "
    "path pattern pavilion peach pen pension petition pharmacy phrase pier pilot pipe pitch pizza plate platform plaza plug poem "
    "pond pool pot pottery pump pupil purse rack radar radio rail ramp range raft reader record reel refund register relay "
    "remote resort rink ring roof rope rug ruler runner saddle sail sauna saw scale scarf scene school screen screw script sheet "
    "shelf shield shoe shower shuttle sink siren sketch ski sled sleeve slide slot socket sock song sound spray sprinkler stage "
    "stall stamp statue steamer stereo stool store stove strap street studio suit suitcase switch tablet tank tape target tent "
    "terminal thermostat thread throne tile timetable tire toaster token tool torch toy tractor trail tray tree trolley trumpet "
    "truck trunk tube tunnel tutor tweet umbrella uniform vacation vacuum valve van vase veil vest villa vine voice volcano vote "
    "wagon waiter walk wall wardrobe washer watch wave well wheel wing wire workshop wreath yacht yard zoo"
)


def is_held_out(key: str, share: int = 8) -> bool:
    """Tells whether a word, tool or phrase is kept for evaluation: one in `share`, by a hash that never changes."""
    return zlib.crc32(key.encode()) % share == 0


def training_part(items: Sequence[T]) -> tuple[T, ...]:
    """Returns the items that training may use."""
    return tuple(item for item in items if not is_held_out(str(item)))


def held_out_part(items: Sequence[T]) -> tuple[T, ...]:
    """Returns the items kept for evaluation."""
    return tuple(item for item in items if is_held_out(str(item)))


def invented_word(rng: Random, syllables: int | None = None) -> str:
    """Returns a lower-case word, most likely of no language: of syllables such as `brelvaix`, or spelt like English such as `penter`."""
    if syllables is None and rng.random() < 0.5:
        return _spelt_like_english(rng)
    count = syllables or rng.choice((1, 2, 2, 2))
    return "".join(rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_CODAS) for _ in range(count))


def _spelt_like_english(rng: Random) -> str:
    """A word whose every three letters follow one another in some word that training may use."""
    while True:
        word = "  "
        while not word.endswith(" ") or word == "  ":
            word += rng.choice(_FOLLOWERS[word[-2:]])
        if 3 <= len(word.strip()) <= 10 and not is_held_out(word.strip()):
            return word.strip()


def _followers() -> dict[str, str]:
    """The letters that follow two letters in the word lists, as often as they do."""
    found: dict[str, str] = {}
    for word in (*training_part(COMMON_NOUNS), *training_part(ADJECTIVES), *map(str.lower, FIRST_NAMES), *_ENGLISH):
        padded = f"  {word} "
        for index in range(len(padded) - 2):
            found[padded[index : index + 2]] = found.get(padded[index : index + 2], "") + padded[index + 2]
    return found


_ENGLISH = listed(
    "above across action address advice agree allow amount animal annual answer appear approve arrange arrive artist "
    "aspect attend author average avoid become before behind believe benefit beyond border borrow bottom branch bring "
    "build burden button camp capital career carry cause center chance change charge choose circle citizen climate "
    "close collect combine common compare complete concern connect consider contain control copper correct cotton "
    "cover create credit crowd current damage danger decide defend degree demand depend describe desire detail "
    "develop differ digital discover distant divide double doubt drawer duty eager earth easy effect effort either "
    "employ enable energy enjoy enter equal escape even exact example exchange excite expect expert explain express "
    "extra fabric factory fair famous farmer fashion favor figure final finger finish flavor float follow foreign "
    "formal fortune forward freedom frequent fresh frozen function further gather general gentle giant govern grand "
    "gravel grocery grow habit handle happen harvest healthy height hidden highway history hold honest hope hospital "
    "humor hunger idea image import improve include increase industry inform inside instead invite iron issue jewel "
    "joint judge junior keep kitchen knowledge labor lately laugh launder leather leave legal length liberty lift "
    "limb linen liquid listen logic lonely loyal lunch magic maintain manage manner marble margin master matter "
    "meadow mention merchant metal middle mineral minister model moment motion movement muscle mystery narrow nation "
    "native nearby neighbor nerve noble normal notice number object observe obtain occur offer office often operate "
    "opinion orange ordinary organ orbit origin outline outside parent partner passage pattern perfect perform permit "
    "person picture pleasant pocket polite popular portion position possess powder practice prefer prepare present "
    "prevent pride primary print private problem process produce promise proper protect provide public punish purpose "
    "quality quantity quarter question quick rapid rather reach reason receive recover reduce refer reform refuse "
    "regard relate remain remember remote repeat replace reply rescue resist respect restore result return reveal "
    "ridge rough rubber safe satisfy scatter science search second secret select serious serve settle shallow share "
    "shelter shift shoulder signal silence similar single skill smooth social solid solve sorrow special spend spirit "
    "spread square stable steady steel strange strike strong student subject succeed sudden suggest supply support "
    "suppose surface surprise surround suspect swallow switch symbol temper tender thick thorough thread throat "
    "timber together tongue tough toward trace tradition treasure trouble trust tunnel twist typical under union "
    "unless useful usual valley vapor various vessel view village virtue visible vital volume wander warning waste "
    "water weather weight welcome wheel whisper wide willing wire wisdom wonder worker worth wrap yellow yield young"
)
FILLERS = training_part(
    (*_ENGLISH, *listed("the a of for with and to in on at is by my our this that it please now then also still just"))
)
"""Words that may stand in for those that only fill a sentence."""
_FOLLOWERS = _followers()


def invented_name(rng: Random) -> str:
    """Returns an invented proper name."""
    return invented_word(rng).capitalize()


def person(rng: Random) -> str:
    """Returns a given name, often an invented one, sometimes with a family name."""
    first = rng.choice(FIRST_NAMES) if rng.random() < 0.5 else invented_name(rng)
    return f"{first} {invented_name(rng)}" if rng.random() < 0.3 else first


def place(rng: Random) -> str:
    """Returns a city, half of the time an invented one."""
    if rng.random() < 0.5:
        return rng.choice(CITIES)
    name = invented_name(rng)
    return f"{rng.choice(('New', 'Port', 'Saint', 'North', 'East', 'Lake'))} {name}" if rng.random() < 0.2 else name


def code(rng: Random) -> str:
    """Returns an identifier such as `KX-4821`, `b7f03` or `ORD5519`."""
    letters = "".join(rng.choice("ABCDEFGHJKLMNPQRSTUVWXYZ") for _ in range(rng.randint(1, 3)))
    digits = "".join(rng.choice("0123456789") for _ in range(rng.randint(2, 5)))
    shape = rng.randrange(4)
    if shape == 0:
        return f"{letters}-{digits}"
    if shape == 1:
        return f"{letters}{digits}"
    if shape == 2:
        return "".join(rng.choice("0123456789abcdef") for _ in range(rng.randint(4, 8)))
    return f"{letters.lower()}_{digits}"


def iso_date(rng: Random) -> str:
    """Returns a date such as `2025-03-09`."""
    return f"{rng.randint(1990, 2035)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"


def day(rng: Random) -> date:
    """Returns a day on which someone may use the model."""
    return date(rng.randint(2024, 2035), rng.randint(1, 12), rng.randint(1, 28))


def clock_time(rng: Random) -> str:
    """Returns a time of day."""
    if rng.random() < 0.5:
        return f"{rng.randint(0, 23):02d}:{rng.choice((0, 5, 10, 15, 20, 30, 40, 45, 50)):02d}"
    return f"{rng.randint(1, 12)} {rng.choice(('am', 'pm'))}"


def email(rng: Random) -> str:
    """Returns a mail address in a reserved domain."""
    user = rng.choice((rng.choice(FIRST_NAMES).lower(), invented_word(rng)))
    return f"{user}@{rng.choice(('example.com', 'example.org', 'mail.example', invented_word(rng) + '.example'))}"


def phrase(rng: Random) -> str:
    """Returns a free text of two to six words."""
    noun, other = rng.choice(COMMON_NOUNS), rng.choice(COMMON_NOUNS)
    adjective = rng.choice(ADJECTIVES)
    return rng.choice(
        (
            f"{adjective} {noun}",
            f"{adjective} {noun} and {other}",
            f"buy {noun} and {other}",
            f"call {person(rng)} about the {noun}",
            f"the {adjective} {noun} near {place(rng)}",
            f"{invented_word(rng)} {noun}",
            f"fix the {noun} by {rng.choice(WEEKDAYS)}",
            f"{noun} {other} {invented_word(rng)}",
            f"how to clean a {adjective} {noun}",
            f"meet {person(rng)} at the {noun}",
        )
    )
