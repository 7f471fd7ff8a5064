"""The news of an object store that calls us over HTTP, as MinIO does."""

from __future__ import annotations

import hmac

from chalice.app import Request

from functions import context
from functions.answers import NotFound
from functions.models import Answered
from functions.operation import Call, operation
from functions.requests import bearer_of
from lakehouse.access.roles import NotLoggedIn
from lakehouse.jobs.events import hear
from lakehouse.storage.events import created_keys


class Heard(Answered):
    objects: int


def check_token(request: Request) -> None:
    """Raise NotLoggedIn unless the request carries ``Authorization: Bearer`` and LAKEHOUSE_STORAGE_TOKEN."""
    token = context.settings().storage_token
    if token is None:
        raise NotFound("no object store may send events here: LAKEHOUSE_STORAGE_TOKEN is not set")
    if not hmac.compare_digest(bearer_of(request).encode(), token.get_secret_value().encode()):
        raise NotLoggedIn("this takes the token of the object store: it is not in the header Authorization")


@operation(
    None,
    "take an event of the object store",
    admits=check_token,
    body=dict,
    answers={200: Heard},
    refuses={401: "the store's token is missing", 404: "no store may send events here"},
    holds_connection=False,
)
def hear_store(call: Call) -> object:
    """
    Take an event of the store of Bronze: ``{"objects": n}``, n of them ours.

    Raises:
        BadInput: if the body is no event.
        StoreUnavailable: if the store does not answer; it sends the event again.
    """
    keys = created_keys(call.body, context.settings().bronze_location)
    with context.api_pool().connection() as conn:
        return {"objects": hear(conn, context.store(), keys)}
