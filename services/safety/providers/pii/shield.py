"""A shield that finds what identifies a person."""

from collections.abc import Callable, Iterator
from functools import partial

from services.safety.expressions import EncodedText
from services.safety.providers.detection.shield import Detected, DetectionShield
from services.safety.providers.pii import entities
from services.safety.providers.pii.config import EntityType, PiiParams
from services.safety.providers.pii.entities import CONTEXT, Entity
from services.safety.providers.pii.national import NATIONAL_IDS, WITH_CONTEXT, NationalId, form, words

_LONGEST_EMAIL = 320
_KINDS: dict[EntityType, tuple[str, str]] = {
    # Label and description.
    "email_address": ("[EMAIL]", "An e-mail address."),
    "phone_number": ("[PHONE]", "A phone number."),
    "credit_card": ("[CARD]", "A payment card's number."),
    "iban": ("[IBAN]", "A bank account's number."),
    "ip_address": ("[IP]", "An internet address."),
    "date_of_birth": ("[BIRTH_DATE]", "A date of birth."),
}
_DIGITS = bytes(range(ord("0"), ord("9") + 1))


class PiiShield(DetectionShield):
    """Finds what identifies a person."""

    # A millisecond where every line holds something to find.
    quick_chars = 4500
    overlap = 2 * _LONGEST_EMAIL + CONTEXT

    def __init__(self, params: PiiParams) -> None:
        """Sets the parameters.

        Args:
            params: The parameters.

        Raises:
            InvalidArgumentError: An exception is not one of RE2's expressions, or too large.
        """
        super().__init__(params)
        finders: dict[EntityType, Callable[[EncodedText], Iterator[Entity]]] = {
            "phone_number": partial(entities.phone_numbers, regions=params.phone_regions),
            "credit_card": entities.credit_cards,
            "iban": entities.ibans,
            "ip_address": entities.ip_addresses,
            "date_of_birth": entities.birth_dates,
        }
        self._emails = "email_address" in params.entity_types
        self._finders = [(kind, find) for kind, find in finders.items() if kind in params.entity_types]
        wanted = "national_id" in params.entity_types
        self._national = [
            one for one in NATIONAL_IDS if wanted and (params.countries is None or one.country in params.countries)
        ]
        for one in self._national:
            form(one), words(one)

    def detect(self, text: EncodedText) -> Iterator[Detected]:
        """Yields what identifies a person."""
        if self._emails:
            yield from _detected("email_address", entities.email_addresses(text))
        # Everything else has digits.
        if len(text.data.translate(None, _DIGITS)) == len(text.data) and "::" not in text.text:
            return
        for kind, find in self._finders:
            yield from _detected(kind, find(text))
        for one in self._national:
            yield from _national(one, text)


def _detected(kind: EntityType, found: Iterator[Entity]) -> Iterator[Detected]:
    label, description = _KINDS[kind]
    for entity in found:
        yield Detected(entity.start, entity.end, kind, description, label, entity.score)


def _national(one: NationalId, text: EncodedText) -> Iterator[Detected]:
    description = f"A national identifier of a person ({one.country})."
    for start, end in form(one).spans(text, 1):
        value = text.data[start:end].decode(errors="replace")
        if not entities.stands_alone(text, start, end) or not one.is_valid(value):
            continue
        named = words(one).found(entities.context(text, start))
        if not named and not entities.is_whole(text, start, end):
            continue
        score = WITH_CONTEXT if named else one.score_of(value)
        yield Detected(start, end, one.category, description, "[NATIONAL_ID]", score, {"country": one.country})
