"""Logs go to standard error."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import re
from typing import Any

import pytest
import structlog
from pydantic import SecretStr

from lakehouse.logs import configure_logs, request_id
from lakehouse.settings import Settings


def test_logs_go_to_standard_error_as_it_is_then(capsys: pytest.CaptureFixture[str]) -> None:
    """A command that was run within a process, with a standard error of its own, leaves no closed file behind."""
    log = structlog.get_logger()
    with io.StringIO() as own, contextlib.redirect_stderr(own):
        configure_logs("warning", "json")
        log.warning("test.first")
        assert "test.first" in own.getvalue()
    log.warning("test.second")
    assert '"event": "test.second"' in capsys.readouterr().err


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_each_line_is_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    """Of libraries too, and with a traceback; what is bound stands in it."""
    configure_logs("info", "json")
    with structlog.contextvars.bound_contextvars(job_id=7, run_id="fetch-1"):
        structlog.get_logger().info("test.one", rows=2)
        logging.getLogger("a.library").warning("it said %s", "no")
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        structlog.get_logger().exception("test.two")
        logging.getLogger("a.library").exception("again")
    one, other, two, again = lines(capsys)
    assert (one["event"], one["level"], one["rows"], one["job_id"], one["run_id"]) == (
        *("test.one", "info", 2),
        *(7, "fetch-1"),
    )
    assert (other["event"], other["logger"], other["job_id"]) == ("it said no", "a.library", 7)
    assert all("ZeroDivisionError" in line["exception"] for line in (two, again))


def test_lines_for_people_are_text(capsys: pytest.CaptureFixture[str]) -> None:
    """Time, level, event and the rest."""
    configure_logs("info")
    structlog.get_logger().warning("test.one", rows=2)
    assert re.fullmatch(r"2\S+Z \[warning\] test.one rows=2\n", capsys.readouterr().err)


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_no_line_shows_a_secret(capsys: pytest.CaptureFixture[str], log_format: str) -> None:
    """Neither one that is known, wherever it stands, nor what looks like one."""
    settings = Settings(
        database_url=SecretStr("postgresql://app:p%40ss-of-app@db:5432/lake"),
        s3_secret_access_key=SecretStr("the secret of the store"),
        metrics_token=SecretStr("a token of Prometheus"),
    )
    configure_logs("debug", log_format, settings.secrets)
    log = structlog.get_logger()
    log.info("test.known", error=f"no: {settings.secrets[0]}", deep={"a": ["the secret of the store"]})
    log.info("test.decoded", said="p@ss-of-app")
    log.info("test.alike", url="postgresql://other:hush-hush@db/x", header="Authorization: Bearer abcdefghijkl")
    log.info("test.named", text="password=opensesame token: 'abcdef123456'")
    try:
        raise ValueError(f"cannot reach {settings.secrets[0]}")
    except ValueError:
        log.exception("test.traceback")
        logging.getLogger("a.library").exception("it had a token of Prometheus")
    said = capsys.readouterr().err
    hidden = (*settings.secrets, "p@ss-of-app", "hush-hush", "abcdefghijkl", "opensesame", "abcdef123456")
    assert [secret for secret in hidden if secret in said] == []
    assert said.count("test.") == 5


def test_all_secrets_of_the_settings_are_known() -> None:
    """Whatever is declared as one; and the password in the database's address, as it is and as it is written."""
    declared = [name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)]
    given = {name: SecretStr(f"secret-{name}-0123456789") for name in declared}
    given["database_url"] = SecretStr("postgresql://app:p%40ss@db/lake")
    secrets = Settings(**given).secrets  # type: ignore[arg-type]
    assert {f"secret-{name}-0123456789" for name in declared if name != "database_url"} <= set(secrets)
    assert {"p%40ss", "p@ss"} <= set(secrets)


def test_an_id_of_a_request_is_believed_if_it_is_one() -> None:
    """It goes into every line: no spaces, no quotes, no book."""
    assert request_id("a-B_c.9") == "a-B_c.9"
    for wrong in ("", "a b", 'a"', "a\nb", "ж", "x" * 65):
        assert request_id(wrong) == ""
