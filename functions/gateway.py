"""The API as a Chalice application: operations as routes, and problems for what is refused before one is reached."""

from __future__ import annotations

import base64
import re
import time
import uuid
from collections.abc import Callable
from typing import Any

import structlog
from chalice.app import Chalice

from functions import problems
from functions.operation import BODY_BYTES, Handler, operation_of
from lakehouse.logs import Asked, asking, being_asked, request_id

log = structlog.get_logger()

NO_PATH = ("not_found", "there is no such path under /v1")
# What Chalice refuses itself
_CHALICE = {
    405: ("method_not_allowed", "the path does not take this method: the header Allow says which it takes"),
    415: ("unsupported_media_type", "send the body with Content-Type: {types}"),
    500: ("internal", "the platform failed at this request, and wrote down why in its log"),
}
_IN_PATH = re.compile(r"{(\w+)}")


class Api(Chalice):
    """An application whose routes are operations, and whose every refusal is a problem."""

    def route(self, path: str, **options: Any) -> Callable[[Handler], Handler]:
        """Register a handler that ``operation`` declared under *path*, for its *methods*."""

        def register(handler: Handler) -> Handler:
            declared = operation_of(handler)
            if set(declared.path) != set(_IN_PATH.findall(path)):
                raise TypeError(f"{path}: the operation says of {', '.join(declared.path) or 'nothing'} what it is")

            def view(**parts: str) -> Any:
                request = self.current_request
                if request is None:
                    raise RuntimeError("no request is being answered")
                return declared.respond(handler, request, parts)

            view.__doc__ = handler.__doc__
            view.operation = declared  # type: ignore[attr-defined]
            register_view = super(Api, self).route(
                path, name=handler.__name__, content_types=[declared.content_type], **options
            )
            register_view(view)
            return handler

        return register

    def __call__(self, event: Any, context: Any) -> dict[str, Any]:
        """Answer a request of HTTP; where no server of ours stands around it, it gets its id and its line here."""
        if being_asked() is not None:
            return self._respond(event, context)
        headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
        asked = Asked(request_id(headers.get("x-request-id", "")) or uuid.uuid4().hex)
        with asking(asked):
            began = time.perf_counter()
            answer = self._respond(event, context)
            where = event.get("requestContext", {})
            log.info(
                "http.answered",
                user=asked.user,
                operation=f"{where.get('httpMethod')} {where.get('resourcePath')}",
                status=answer["statusCode"],
                milliseconds=round((time.perf_counter() - began) * 1000, 1),
            )
        return {**answer, "headers": {**(answer.get("headers") or {}), "X-Request-Id": asked.request_id}}

    def _respond(self, event: Any, context: Any) -> dict[str, Any]:
        most = self._most_bytes(event.get("requestContext", {}))
        if _size(event) > most:
            return _answer(413, *too_large(most))
        answer = super().__call__(event, context)
        status = answer["statusCode"]
        if status not in _CHALICE or '"Code"' not in answer["body"]:
            return answer
        code, detail = _CHALICE[status]
        return _answer(status, code, detail.format(types=self._types(event["requestContext"])), answer["headers"])

    def _types(self, context: dict[str, Any]) -> str:
        """Return what the path asked for takes."""
        entry = self._entry(context)
        return " or ".join(entry.content_types) if entry else ""

    def _most_bytes(self, context: dict[str, Any]) -> int:
        entry = self._entry(context)
        return operation_of(entry.view_function).body_bytes if entry else BODY_BYTES

    def _entry(self, context: dict[str, Any]) -> Any:
        return self.routes.get(context.get("resourcePath", ""), {}).get(context.get("httpMethod", ""))


def too_large(most: int) -> tuple[str, str]:
    """Return code and detail of the problem that a body of more than *most* bytes is."""
    unit = "1 MiB" if most == 1 << 20 else f"{most >> 10} KiB"
    return "too_large", f"the body is larger than {unit}"


def _answer(status: int, code: str, detail: str, headers: dict[str, str] | None = None) -> dict[str, Any]:
    said = {**(headers or {}), "Content-Type": problems.CONTENT_TYPE}
    return {"statusCode": status, "headers": said, "multiValueHeaders": {}, "body": problems.text(code, detail)}


def _size(event: dict[str, Any]) -> int:
    """Return the bytes of the event's body."""
    body = event.get("body") or b""
    if event.get("isBase64Encoded"):
        return len(base64.b64decode(body))
    return len(body if isinstance(body, bytes) else body.encode())
