"""Which language a text is in, told offline by py3langid's Bayes model of byte sequences (97 languages)."""

from functools import cache

from py3langid.langid import MODEL_FILE, LanguageIdentifier

from services.core.errors import InvalidArgumentError

LONGEST = 4000
"""Characters that are looked at; more do not make the answer better."""


@cache
def identifier() -> LanguageIdentifier:
    """Returns the model, loaded once: 0.8 s and 100 MB."""
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def check(codes: list[str], field: str) -> None:
    """Checks that all languages are known.

    Args:
        codes: ISO 639-1 codes.
        field: Path of the parameter, for errors.

    Raises:
        InvalidArgumentError: One is not.
    """
    unknown = sorted(set(codes) - set(identifier().labels))
    if unknown:
        known = ", ".join(sorted(identifier().labels))
        raise InvalidArgumentError.of(field, f"{', '.join(unknown)}: not among the known languages, which are {known}")


def language(text: str) -> tuple[str, float]:
    """Returns the likeliest language of a text, and how likely it is, 0 to 1."""
    code, probability = identifier().classify(text[:LONGEST])
    return code, float(probability)
