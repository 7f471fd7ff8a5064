"""The news of an object store that calls us over HTTP, as MinIO does."""

from __future__ import annotations

import hmac

from chalice.app import Request, Response

from functions import context
from functions.answers import NotFound, answer, document
from functions.requests import bearer_of, no_others
from lakehouse.access.roles import NotLoggedIn
from lakehouse.jobs.events import hear
from lakehouse.storage.events import created_keys


def hear_store(request: Request) -> Response:
    """
    Take an event of the store of Bronze: ``{"objects": n}``, n of them ours.

    Raises:
        NotFound: if no token is set: then nobody may send events.
        NotLoggedIn: if the request does not carry the token.
        BadInput: if the body is no event.
        StoreUnavailable: if the store does not answer; it sends the event again.
    """
    check_token(request)
    no_others(request)
    keys = created_keys(document(request.raw_body), context.settings().bronze_location)
    with context.pool().connection() as conn:
        return answer({"objects": hear(conn, context.store(), keys)})


def check_token(request: Request) -> None:
    """Raise NotLoggedIn unless the request carries ``Authorization: Bearer`` and LAKEHOUSE_STORAGE_TOKEN."""
    token = context.settings().storage_token
    if token is None:
        raise NotFound("no object store may send events here: LAKEHOUSE_STORAGE_TOKEN is not set")
    if not hmac.compare_digest(bearer_of(request).encode(), token.get_secret_value().encode()):
        raise NotLoggedIn("this takes the token of the object store: it is not in the header Authorization")
