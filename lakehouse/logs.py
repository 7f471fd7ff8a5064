"""Logs: one JSON object a line on standard error."""

from __future__ import annotations

import logging
import sys

import structlog


def configure_logs(level: str) -> None:
    """Log *level* (debug, info, warning, error) and above; libraries from warning on."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        # Standard error as it is then: who runs a command within a process may have put another in its place
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    # It logs each failed step with a traceback, and so do we, with the job's id.
    logging.getLogger("procrastinate").setLevel(logging.CRITICAL)
    # It tells of every attempt to reach a server that is away; we say once that it is, and once that it is back.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
