"""The API as a Chalice application: what is refused before a handler is reached, in the form of all other refusals."""

from __future__ import annotations

import base64
import json
from typing import Any

from chalice.app import Chalice

MAX_BODY_BYTES = 1 << 20
TOO_LARGE = ("too_large", "the body is larger than 1 MiB")
NO_PATH = ("not_found", "there is no such path under /v1")
# What Chalice refuses itself
_CHALICE = {
    405: ("method_not_allowed", "the path does not take this method: the header Allow says which it takes"),
    415: ("unsupported_media_type", "send the body with Content-Type: {types}"),
    500: ("internal", "the platform failed at this request, and wrote down why in its log"),
}


class Api(Chalice):
    """An application that takes bodies up to 1 MiB, and whose every refusal has a code and a message."""

    def __call__(self, event: Any, context: Any) -> dict[str, Any]:
        if _size(event) > MAX_BODY_BYTES:
            return _answer(413, *TOO_LARGE)
        answer = super().__call__(event, context)
        status = answer["statusCode"]
        if status not in _CHALICE or '"Code"' not in answer["body"]:
            return answer
        code, message = _CHALICE[status]
        return _answer(status, code, message.format(types=self._types(event["requestContext"])), answer["headers"])

    def _types(self, context: dict[str, Any]) -> str:
        """Return what the path asked for takes."""
        entry = self.routes.get(context["resourcePath"], {}).get(context["httpMethod"])
        return " or ".join(entry.content_types) if entry else ""


def refusal(code: str, message: str) -> str:
    """Return the body of a refusal."""
    return json.dumps({"code": code, "message": message})


def _answer(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> dict[str, Any]:
    said = {**(headers or {}), "Content-Type": "application/json"}
    return {"statusCode": status, "headers": said, "multiValueHeaders": {}, "body": refusal(code, message)}


def _size(event: dict[str, Any]) -> int:
    """Return the bytes of the event's body."""
    body = event.get("body") or b""
    if event.get("isBase64Encoded"):
        return len(base64.b64decode(body))
    return len(body if isinstance(body, bytes) else body.encode())
