"""Images in messages."""

import io

import pytest
from PIL import Image

from caravan.types.v1 import types_pb2
from services.core.errors import InvalidArgumentError
from services.core.fetch import FetchLimits
from services.inference import images
from services.inference.images import decode, images_of, load_images

FIELD = "messages[0].user.content.items[0].image"


def encoded(file_format: str = "PNG", size: tuple[int, int] = (4, 3)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, "red").save(buffer, file_format)
    return buffer.getvalue()


@pytest.mark.parametrize("file_format", images.FORMATS)
def test_each_format_is_decoded_to_rgb(file_format: str) -> None:
    image = decode(encoded(file_format), FIELD)
    assert (image.mode, image.size) == ("RGB", (4, 3))


@pytest.mark.parametrize("data", [b"not an image", encoded()[:40], b"%PDF-1.7"], ids=["text", "truncated", "pdf"])
def test_what_is_no_image_is_refused_by_the_path_of_its_field(data: bytes) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        decode(data, FIELD)
    assert caught.value.violations[0].field == FIELD


def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MOST_PIXELS", 10)
    with pytest.raises(InvalidArgumentError, match="pixels"):
        decode(encoded(), FIELD)


async def test_images_come_back_in_order_from_bytes_and_data_uris() -> None:
    import base64

    uri = "data:image/png;base64," + base64.b64encode(encoded(size=(2, 2))).decode()
    found = [
        (FIELD, types_pb2.Image(data=encoded(size=(1, 1)))),
        (FIELD, types_pb2.Image(url=types_pb2.URL(uri=uri))),
    ]
    loaded = await load_images(found, FetchLimits())
    assert [image.size for image in loaded] == [(1, 1), (2, 2)]


async def test_an_image_over_the_limit_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="larger than 10 bytes"):
        await load_images([(FIELD, types_pb2.Image(data=encoded()))], FetchLimits(max_bytes=10))


def test_images_are_found_in_reading_order_with_their_paths() -> None:
    message = types_pb2.Message()
    message.user.content.items.add(text="look")
    message.user.content.items.add(image={"data": b"1"})
    message.user.context.items.add(image={"data": b"2"})
    assert [(path, image.data) for path, image in images_of([message])] == [
        ("messages[0].user.content.items[1].image", b"1"),
        ("messages[0].user.context.items[0].image", b"2"),
    ]
