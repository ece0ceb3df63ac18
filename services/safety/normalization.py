"""Unicode without its disguises: compatibility forms, invisible characters, accents, look-alike letters.

What has no printable shape is dropped after https://www.unicode.org/reports/tr36/ and https://www.unicode.org/reports/tr39/; the letters
in `LOOK_ALIKES` are those of TR39's confusables that pass for a Latin letter in running text.
"""

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache

LOOK_ALIKES = {
    ord(letter): latin
    for latin, letters in {
        # Cyrillic, Greek, Armenian, Cherokee, Coptic, Lisu and Latin letters that NFKC leaves as they are.
        "A": "АΑᎪꓮ", "B": "ВΒᏴꓐ", "C": "СϹᏟꓚⲤ", "D": "ᎠꓓᗪԀ", "E": "ЕΕᎬꓰ", "F": "ϜꓝҒ", "G": "ԌᏀꓖᏳ", "H": "НΗᎻꓧⲎ", "I": "ІΙӀꓲ",
        "J": "ЈͿᎫꓙ", "K": "КΚᏦꓗⲔ", "L": "ᏞꓡԼ", "M": "МΜᎷꓟⲘ", "N": "ΝꓠⲚ", "O": "ОΟՕꓳⲞ", "P": "РΡᏢꓑⲢ", "Q": "Ԛ", "R": "ᏒꓣᖇƦ",
        "S": "ЅՏᏚꓢ", "T": "ТΤᎢꓔⲦ", "U": "ՍꓴሀՄ", "V": "ѴᏙꓦ", "W": "ԜᎳꓪ", "X": "ХΧꓫⲬ", "Y": "ҮΥꓬⲨУ", "Z": "ΖᏃꓜ",
        "a": "аαɑⲁ", "b": "ЬƄᏏ", "c": "сϲᴄⲥ", "d": "ԁᏧɖ", "e": "еҽℯ", "f": "ẝꬵſ", "g": "ɡցᶃ", "h": "һհᏂ", "i": "іιıɩӏⲓ", "j": "јϳ",
        "k": "κкᴋⲕ", "l": "ⅼןɭ", "m": "мᴍ", "n": "пոռηɴ", "o": "оοօσᴏⲟ", "p": "рρⲣ", "q": "ԛզ", "r": "гᴦⲅɾ", "s": "ѕꜱʂ", "t": "тτᴛ",
        "u": "υսᴜʋ", "v": "νѵᴠט", "w": "ѡԝᴡɯш", "x": "хχⲭ", "y": "уγүყʏ", "z": "ᴢʐᏃ",
    }.items()
    for letter in letters
}  # fmt: skip
_FEW_LETTERS = 16
_BLANK = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"
_SELECTORS = [*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0), *range(0x180B, 0x1810)]
# Vowels and finals, which join with the syllable before them.
_HANGUL = [*range(0x1161, 0x1176), *range(0x11A8, 0x11C3)]

Place = tuple[int, int, str]
"""Where a character or several stand in a text, and what stands in for them."""


def normalized_places(text: str) -> list[Place]:
    """Returns what NFKC and the removal of invisible characters change in a text, in order."""
    return _places(text, _NORMALIZED, _normalize)


def folded_places(text: str) -> list[Place]:
    """Returns what normalizing changes in a text, in order, with accents dropped; `folded` does the rest."""
    return _places(text, _NORMALIZED, _fold)


def folded(text: str) -> str:
    """Returns a text of the same length with the letters folded that `folded_places` leaves: look-alikes and accented letters."""
    here = [letter for letter in set(text) if ord(letter) in _PLAIN_LETTERS]
    if len(here) > _FEW_LETTERS:
        return text.translate(_PLAIN_LETTERS)
    # `translate` looks at every letter of a text that has one foreign letter; to replace a few is several times as fast.
    for letter in here:
        text = text.replace(letter, _PLAIN_LETTERS[ord(letter)])
    return text


def _places(text: str, changing: re.Pattern[str], change: Callable[[str], str]) -> list[Place]:
    places: list[Place] = []
    behind = 0
    for found in changing.finditer(text):
        start, end = found.span()
        if start > behind and ord(text[start]) in _EXTENDING:
            # A mark belongs to the letter before it.
            start -= 1
        instead = change(text[start:end])
        if instead != text[start:end]:
            places.append((start, end, instead))
            behind = end
    return places


@lru_cache(maxsize=16_384)
def _normalize(cluster: str) -> str:
    visible = "".join(letter for letter in cluster if ord(letter) not in _INVISIBLE)
    normal = unicodedata.normalize("NFKC", visible)
    return "".join(letter for letter in normal if ord(letter) not in _INVISIBLE)


@lru_cache(maxsize=16_384)
def _fold(cluster: str) -> str:
    letters: list[str] = []
    for letter in unicodedata.normalize("NFKD", _normalize(cluster)):
        if letters and letters[-1].isascii() and unicodedata.category(letter) == "Mn":
            continue
        letters.append(LOOK_ALIKES.get(ord(letter), letter))
    return unicodedata.normalize("NFC", "".join(letters))


def _pattern(points: set[int]) -> re.Pattern[str]:
    """A pattern that finds characters of `points` with the marks on them.

    Beyond the Basic Multilingual Plane it finds all: single ranges there are slow.
    """
    basic = _character_class({point for point in points | _EXTENDING if point < 0x10000})
    return re.compile(f"{basic[:-1]}\U00010000-\U0010ffff]{_character_class(_EXTENDING)}*")


def _character_class(points: set[int]) -> str:
    ranges: list[list[int]] = []
    for point in sorted(points):
        if ranges and ranges[-1][1] == point - 1:
            ranges[-1][1] = point
        else:
            ranges.append([point, point])
    return "[" + "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in ranges) + "]"


_ALL = [*range(0x80, 0xD800), *range(0xE000, 0x20000), *range(0xE0000, 0xE1000)]
_INVISIBLE = {ord(letter) for letter in _BLANK} | set(_SELECTORS)
_INVISIBLE |= {point for point in _ALL if unicodedata.category(chr(point)) == "Cf"}
_EXTENDING = {point for point in _ALL if unicodedata.category(chr(point)) in ("Mn", "Me")} | set(_HANGUL) | _INVISIBLE
_COMPATIBLE = {point for point in _ALL if not unicodedata.is_normalized("NFKC", chr(point))}
_NORMALIZED = _pattern(_COMPATIBLE)
_PLAIN_LETTERS = {
    point: plain
    for point in _ALL
    if (point in LOOK_ALIKES or unicodedata.decomposition(chr(point))) and point not in _COMPATIBLE
    if len(plain := _fold(chr(point))) == 1 and plain != chr(point)
}
