"""The text of content."""

from caravan.types.v1 import types_pb2


def text_of(content: types_pb2.InterleavedContent) -> str:
    """Returns the texts of a content's pieces, one after the other; images have none."""
    return "".join(item.text for item in content.items)


def of_text(text: str) -> types_pb2.InterleavedContent:
    """Returns a text as content."""
    return types_pb2.InterleavedContent(items=[types_pb2.InterleavedContentItem(text=text)])
