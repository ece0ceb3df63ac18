"""Images in messages: fetched, decoded and checked before a model sees them."""

import asyncio
import io
from collections.abc import Iterator, Sequence

from PIL import Image, UnidentifiedImageError

from caravan.types.v1 import types_pb2
from services.core.errors import InvalidArgumentError
from services.core.fetch import FetchLimits, fetch

FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
# Decoded, three bytes each: an image this large takes 192 MiB.
MOST_PIXELS = 64 << 20
AT_ONCE = 8


def images_of(messages: Sequence[types_pb2.Message]) -> Iterator[tuple[str, types_pb2.Image]]:
    """The images of a conversation in reading order, each with the path of its field."""
    for index, message in enumerate(messages):
        role = message.WhichOneof("role") or ""
        for part in ("content", "context") if role == "user" else ("content",):
            for place, item in enumerate(getattr(getattr(message, role), part).items):
                if item.HasField("image"):
                    yield f"messages[{index}].{role}.{part}.items[{place}].image", item.image


async def load_images(images: Sequence[tuple[str, types_pb2.Image]], limits: FetchLimits) -> list[Image.Image]:
    """Fetches and decodes images, some at a time.

    Args:
        images: The images, each with the path of its field.
        limits: How far to go for images given by address.

    Returns:
        The decoded images, RGB, in order.

    Raises:
        InvalidArgumentError: An image cannot be fetched or decoded, or is too large.
        DeadlineExceededError: An address did not answer in time.
        UnavailableError: An address fails.
    """
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(field: str, image: types_pb2.Image) -> Image.Image:
        async with slots:
            data = image.data
            if image.WhichOneof("source") == "url":
                data = (await fetch(image.url.uri, limits, f"{field}.url.uri")).content
            elif len(data) > limits.max_bytes:
                raise InvalidArgumentError.of(field, f"the image is larger than {limits.max_bytes} bytes")
            return await asyncio.to_thread(decode, data, field)

    tasks = [asyncio.ensure_future(one(field, image)) for field, image in images]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


def decode(data: bytes, field: str) -> Image.Image:
    """Decodes one image; of a moving one, the first picture.

    Args:
        data: PNG, JPEG, WebP or GIF.
        field: Path of the request's field that holds it.

    Raises:
        InvalidArgumentError: It is none of these, is damaged, or has too many pixels.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        if image.width * image.height > MOST_PIXELS:
            raise InvalidArgumentError.of(
                field, f"has {image.width} x {image.height} pixels; at most {MOST_PIXELS} are taken"
            )
        return image.convert("RGB")
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InvalidArgumentError.of(field, "is no PNG, JPEG, WebP or GIF image, or is damaged") from error
