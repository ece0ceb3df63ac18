"""A prompt as pieces that know whether they are control tokens or content."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from caravan.types.v1 import types_pb2


class Segment(NamedTuple):
    """A piece of a prompt."""

    text: str
    """The piece's text."""
    is_control: bool
    """Whether the text is one control token. Content is never read as control tokens, whatever it looks like."""


@dataclass(frozen=True)
class Prompt:
    """What a model is asked to continue."""

    segments: tuple[Segment, ...]
    """The pieces in order; no two pieces of content follow each other."""
    images: tuple[types_pb2.Image, ...] = ()
    """The images, in the order of their placeholders in the text."""
    tool_prompt_format: types_pb2.ToolPromptFormat.ValueType = types_pb2.TOOL_PROMPT_FORMAT_UNSPECIFIED
    """Form in which the prompt asks for tool calls, and in which the answer is to be decoded."""

    @cached_property
    def text(self) -> str:
        """The whole prompt as text, to show and to compare. Encode the segments, not this: content may look like control tokens."""
        return "".join(segment.text for segment in self.segments)


@dataclass
class PromptBuilder:
    """Collects the pieces of a prompt."""

    image_token: str
    """Control token that stands for an image."""
    _segments: list[Segment] = field(default_factory=list)
    _content: list[str] = field(default_factory=list)
    _images: list[types_pb2.Image] = field(default_factory=list)

    def control(self, token: str) -> None:
        """Appends a control token."""
        self._flush()
        self._segments.append(Segment(token, is_control=True))

    def text(self, text: str) -> None:
        """Appends content."""
        if text:
            self._content.append(text)

    def items(self, items: Iterable[types_pb2.InterleavedContentItem]) -> None:
        """Appends content of texts and images."""
        for item in items:
            if item.HasField("image"):
                self.control(self.image_token)
                self._images.append(item.image)
            else:
                self.text(item.text)

    def build(self, tool_prompt_format: types_pb2.ToolPromptFormat.ValueType) -> Prompt:
        """The prompt made of everything that was appended."""
        self._flush()
        return Prompt(tuple(self._segments), tuple(self._images), tool_prompt_format)

    def _flush(self) -> None:
        if self._content:
            self._segments.append(Segment("".join(self._content), is_control=False))
            self._content.clear()
