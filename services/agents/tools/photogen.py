"""Images from descriptions, by any endpoint that speaks OpenAI's images API.

Source: https://platform.openai.com/docs/api-reference/images/create
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from caravan.agents.v1 import turns_pb2
from services.agents.tools.tool import Outcome, Tool, ToolError, built_in, string_argument, text_content
from services.agents.tools.web_api import WebApi
from services.core.fetch import FetchLimits, fetch

_SIGNATURES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif"}
_EXTENSIONS = {"image/png": "png", "image/jpeg": "jpg", "image/gif": "gif", "image/webp": "webp"}


class Photogen(Tool):
    """The built-in tool `photogen`."""

    definition = built_in("photogen", "Makes an image from a description.", "query", "What the image shows")

    def __init__(self, api: WebApi, url: str, key: str, model: str, limits: FetchLimits) -> None:
        """Makes the tool.

        Args:
            api: The web API.
            url: Address of the endpoint up to and with `/v1`.
            key: API key.
            model: Model of the endpoint; empty: its default.
            limits: For images that the endpoint answers with an address.
        """
        self._api, self._url, self._key, self._model, self._limits = api, url.rstrip("/"), key, model, limits

    async def run(self, arguments: Mapping[str, Any]) -> Outcome:
        """Makes the image."""
        body: dict[str, Any] = {"prompt": string_argument(arguments, "query"), "n": 1}
        if self._model:
            body["model"] = self._model
        headers = {"Authorization": f"Bearer {self._key}"}
        answer = await self._api.post(f"{self._url}/images/generations", body, headers)
        image = await self._image(answer)
        mime_type = _mime_type(image)
        attachment = turns_pb2.Attachment(data=image, mime_type=mime_type, file_name=f"image.{_EXTENSIONS[mime_type]}")
        said = text_content(f"The image is made ({mime_type}, {len(image)} bytes) and shown to the user.")
        return Outcome(said, attachments=(attachment,))

    async def _image(self, answer: Any) -> bytes:
        data = answer.get("data") if isinstance(answer, Mapping) else None
        first = data[0] if isinstance(data, list) and data else None
        if isinstance(first, Mapping) and isinstance(first.get("b64_json"), str):
            try:
                return base64.b64decode(first["b64_json"], validate=True)
            except binascii.Error:
                raise ToolError("the image endpoint answered with an image that is not valid base64") from None
        if isinstance(first, Mapping) and isinstance(first.get("url"), str):
            return (await fetch(first["url"], self._limits, "data[0].url")).content
        raise ToolError("the image endpoint answered without an image")


def _mime_type(image: bytes) -> str:
    if image[:4] == b"RIFF" and image[8:12] == b"WEBP":
        return "image/webp"
    for signature, mime_type in _SIGNATURES.items():
        if image.startswith(signature):
            return mime_type
    raise ToolError("the image endpoint answered with something that is no PNG, JPEG, GIF or WebP image")
