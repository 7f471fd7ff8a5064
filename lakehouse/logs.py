"""
Logs: a line for each event on standard error, as text for people or as JSON for programs, and never a secret.

What is bound by ``structlog.contextvars`` (a request's id, a step's run, its job) stands in every line of it.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

if TYPE_CHECKING:
    from lakehouse.settings import Settings

_HIDDEN = "***"
# What looks like a secret, wherever it comes from: a library's error may hold an address with its password
_PATTERNS = (
    (re.compile(r"(://[^/\s:@]*:)[^@\s/]+(?=@)"), rf"\1{_HIDDEN}"),
    (re.compile(r"(?i)(\bbearer\s+)[\w.~+/=-]{8,}"), rf"\1{_HIDDEN}"),
    (re.compile(r"(?i)((?:password|secret|token)[\"']?\s*[=:]\s*[\\\"']*)[^\s\"'\\,;&}]{4,}"), rf"\1{_HIDDEN}"),
)
_SHORTEST_SECRET = 6
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def configure_logs(level: str, log_format: str = "text", secrets: Collection[str] = ()) -> None:
    """
    Log *level* (debug, info, warning, error) and above; libraries from warning on.

    Args:
        log_format: ``text``, or ``json``: one object a line, of libraries too.
        secrets: What must stand in no line.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    render = _rendering(log_format, secrets)
    structlog.configure(
        processors=[*shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        # Standard error as it is then: who runs a command within a process may have put another in its place
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )
    _log_libraries(shared, render)


def configure_logs_of(settings: Settings) -> None:
    """Log as *settings* say, and none of their secrets."""
    configure_logs(settings.log_level, settings.log_format, settings.secrets)


def _rendering(log_format: str, secrets: Collection[str]) -> Processor:
    renderer: Processor
    if log_format == "json":
        renderer = structlog.processors.JSONRenderer(default=str)
    else:
        renderer = structlog.dev.ConsoleRenderer(
            colors=False, pad_event_to=0, pad_level=False, exception_formatter=structlog.dev.plain_traceback
        )
    known = sorted((each for each in secrets if len(each) >= _SHORTEST_SECRET), key=len, reverse=True)

    def render(logger: WrappedLogger, name: str, event: EventDict) -> str:
        if log_format == "json":
            event = structlog.processors.format_exc_info(logger, name, event)
        text = str(renderer(logger, name, event))
        for secret in known:
            text = text.replace(secret, _HIDDEN)
        for pattern, hidden in _PATTERNS:
            text = pattern.sub(hidden, text)
        return text

    return render


def _log_libraries(shared: list[Processor], render: Processor) -> None:
    handler = _StandardError()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    root = logging.getLogger()
    root.handlers = [*(each for each in root.handlers if not isinstance(each, _StandardError)), handler]
    root.setLevel(logging.WARNING)
    # It logs each failed step with a traceback, and so do we, with the job's id.
    logging.getLogger("procrastinate").setLevel(logging.CRITICAL)
    # It tells of every attempt to reach a server that is away; we say once that it is, and once that it is back.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)


class _StandardError(logging.StreamHandler[TextIO]):
    """Writes to standard error as it is then."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> Any:  # type: ignore[override]  # looked up for each line
        return sys.stderr


@dataclass
class Asked:
    """A request that is being answered: its id, and who asks, once that is known."""

    request_id: str
    user: str = ""


_asked: ContextVar[Asked | None] = ContextVar("asked", default=None)


@contextmanager
def asking(asked: Asked) -> Iterator[None]:
    """Have every line that is logged in the block, or in threads that it hands over to, carry the request's id."""
    former = _asked.set(asked)
    try:
        with structlog.contextvars.bound_contextvars(request_id=asked.request_id):
            yield
    finally:
        _asked.reset(former)


def being_asked() -> Asked | None:
    """Return the request that is being answered, None outside of one."""
    return _asked.get()


def asked_by(user: str) -> None:
    """Note who asks, for the line that the request leaves in the log."""
    if (asked := _asked.get()) is not None:
        asked.user = user


def request_id(given: str) -> str:
    """Return the id that a request brought along; empty if that is none."""
    return given if _REQUEST_ID.fullmatch(given) else ""
