"""What the exchange does wrong, by what is to be done about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lakehouse.market.errors import LakehouseError

if TYPE_CHECKING:
    from lakehouse.iss.answer import Answer


class IssError(LakehouseError):
    """The exchange's API did not give what was asked."""


class IssUnavailable(IssError):
    """
    Reset, time-out, 429, 500-504, a cut or empty body, or a web page instead of JSON: asked again, then raised.

    *reason* is the message without the request, such as "503 Service Unavailable".
    """

    def __init__(self, url: str, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(f"{url}: {reason}")
        self.reason = reason
        self.retry_after_s = retry_after_s


class PagingBroken(IssError):
    """The pages do not add up: the window is to be read again from its start."""


class IssContractError(IssError):
    """
    An answer whose shape we do not know; asking again would give the same.

    *answer* is kept in Bronze under ``rejected/`` for whoever mends the client.
    """

    def __init__(self, message: str, answer: Answer | None = None) -> None:
        super().__init__(message)
        self.answer = answer
