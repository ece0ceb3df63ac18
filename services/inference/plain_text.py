"""The text of content, for what takes text only."""

from caravan.types.v1 import types_pb2
from services.core.errors import InvalidArgumentError


def plain_text(content: types_pb2.InterleavedContent, path: str) -> str:
    """Returns the texts of a content's pieces, one after the other.

    Args:
        content: The content.
        path: Path of the content's field in the request, for instance `contents[3]`.

    Raises:
        InvalidArgumentError: A piece is an image.
    """
    for place, item in enumerate(content.items):
        if item.HasField("image"):
            raise InvalidArgumentError.of(
                f"{path}.items[{place}].image", "this model takes text only; leave the image out"
            )
    return "".join(item.text for item in content.items)


def plain_texts(request_field: str, contents: list[types_pb2.InterleavedContent]) -> list[str]:
    """Returns the text of each content.

    Args:
        request_field: Name of the field that holds the contents.
        contents: The contents.

    Raises:
        InvalidArgumentError: A content holds an image, or no text.
    """
    texts = [plain_text(content, f"{request_field}[{place}]") for place, content in enumerate(contents)]
    for place, text in enumerate(texts):
        if not text:
            raise InvalidArgumentError.of(f"{request_field}[{place}]", "must not be empty")
    return texts
