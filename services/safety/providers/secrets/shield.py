"""A shield that finds secrets."""

from collections.abc import Callable, Iterator

from services.safety.expressions import EncodedText
from services.safety.providers.detection.shield import Detected, DetectionShield
from services.safety.providers.secrets.config import SecretsParams
from services.safety.providers.secrets.detectors import detectors, hints
from services.safety.providers.secrets.values import Value, named_values, random_values, url_passwords

_DESCRIPTIONS = {
    "password": "A value given to a name of a password.",
    "secret_value": "A value given to a name of a secret, a key or a token.",
    "url_password": "A password in a URL or in the arguments of a command.",
    "high_entropy_string": "A quoted string that looks random.",
}


class SecretsShield(DetectionShield):
    """Finds secrets; what it reports never holds them."""

    quick_chars = 6000
    # Any secret with its name fits in, but for key blocks and tokens of many claims. Those are found as far as they go while they go on,
    # which holds back everything from their beginning.
    overlap = 1024

    def __init__(self, params: SecretsParams) -> None:
        """Sets the parameters.

        Args:
            params: The parameters.

        Raises:
            InvalidArgumentError: An exception is not one of RE2's expressions, or too large.
        """
        super().__init__(params)
        self._issued = detectors() if "issued" in params.kinds else ()
        values: dict[str, Callable[[EncodedText], Iterator[Value]]] = {
            "named": named_values,
            "url_password": url_passwords,
            "high_entropy": random_values,
        }
        self._values = [find for kind, find in values.items() if kind in params.kinds]

    def detect(self, text: EncodedText) -> Iterator[Detected]:
        """Yields secrets."""
        for find in self._values:
            for value in find(text):
                label = f"[{value.category.upper()}]"
                yield Detected(
                    value.start, value.end, value.category, _DESCRIPTIONS[value.category], label, value.score
                )
        if not hints().found(text):
            return
        for detector in self._issued:
            for start, end in detector.expression.spans(text, detector.group):
                category = detector.category
                yield Detected(start, end, category, f"{detector.title}.", f"[{category.upper()}]", detector.score)
