"""A hundred requests that the API refuses: what is sent, by whom, the status, and what the answer says."""

from __future__ import annotations

import json
from dataclasses import dataclass

JSON = b"Content-Type: application/json"
INGEST, LOGIN = "/v1/ingest", "/v1/login"
_TOKEN = "the token does not continue this query: send it with the same parameters, or start without one"
_LIST_TOKEN = "^the token is not one that this list gave: start again without it$"
_NO_PATH = r"^there is no such path under /v1$"
_JSON_ONLY = r"^send the body with Content-Type: application/json$"
_BEARER = b"Authorization: Bearer "
_NOBODY = "^log in first: there is no session, or it is over$"


@dataclass(frozen=True)
class Hostile:
    """
    A request and its answer.

    Attributes:
        role: Whose session it carries, "" for none.
        message: Pattern of what the answer says.
    """

    method: str
    target: bytes
    status: int
    message: str
    body: bytes = b""
    role: str = "admin"
    headers: tuple[bytes, ...] = ()

    @property
    def is_routed(self) -> bool:
        """Whether there is a route for its path and method: what API Gateway hands on."""
        return self.status != 405 and self.message != _NO_PATH

    def __str__(self) -> str:
        shown = self.body if len(self.body) < 40 else self.body[:37] + b"..."
        return f"{self.method} {self.target[:50]!r} {shown!r} {self.role}"


def get(target: str | bytes, status: int, message: str, role: str = "admin") -> Hostile:
    return Hostile("GET", target.encode() if isinstance(target, str) else target, status, message, role=role)


def post(path: str, body: object, message: str, status: int = 400, role: str = "admin") -> Hostile:
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Hostile("POST", path.encode(), status, message, sent, role, (JSON,))


def ingest(message: str, **document: object) -> Hostile:
    return post(INGEST, {"instruments": ["SBER"], **document}, message)


BODIES = [
    post(INGEST, b"{", r"^the body is not JSON: Expecting property name"),
    post(INGEST, b"[]", r"^the body must be a JSON object$"),
    post(INGEST, b"null", r"^the body must be a JSON object$"),
    post(INGEST, b'"SBER"', r"^the body must be a JSON object$"),
    post(INGEST, b"{}", r"^instruments: is missing$"),
    post(INGEST, b"[" * 100_000, r"^the body is nested too deep$"),
    post(INGEST, b'{"a":' * 50_000 + b"1" + b"}" * 50_000, r"^the body is nested too deep$"),
    post(INGEST, b"\xff\xfe{}", r"^the body is not UTF-8$"),
    post(INGEST, b'{"instruments": ["\xd0"]}', r"^the body is not UTF-8$"),
    post(INGEST, b'{"instruments":["SBER"],"instruments":["GAZP"]}', r"^the body names 'instruments' twice$"),
    post(INGEST, b'{"instruments":[NaN]}', r"^the body is not JSON: NaN is no number there$"),
    post(INGEST, b'{"from":-Infinity}', r"^the body is not JSON: -Infinity is no number there$"),
    post(INGEST, b'{"instruments":["SBER"]}\0', r"^the body is not JSON: Extra data"),
    post(INGEST, b'{"instruments":["SB\0ER"]}', r"^the body is not JSON: Invalid control character"),
    post(INGEST, b'{"instruments":' + b"9" * 10_000 + b"}", r"^a number in the body has 10,000 digits$"),
    post(INGEST, b"x" * (10 << 20), r"^the body is larger than 1 MiB$", 413),
    Hostile("POST", b"/v1/ingest", 415, _JSON_ONLY,
            b"<a/>", headers=(b"Content-Type: text/xml",)),
    Hostile("POST", b"/v1/ingest", 415, _JSON_ONLY, b"{}", headers=(b"Content-Type: \xff",)),
    Hostile("POST", b"/v1/ingest", 413, r"^the body is larger than 1 MiB$", b"200000\r\n" + b"x" * 0x200000
            + b"\r\n0\r\n\r\n", headers=(JSON, b"Transfer-Encoding: chunked")),
    Hostile("POST", b"/v1/ingest", 400, r"^instruments: is missing$", b"2\r\n{}\r\n0\r\n\r\n",
            headers=(JSON, b"Transfer-Encoding: chunked")),
]  # fmt: skip

INGESTS = [
    ingest(r"^instruments: is empty: name at least one$", instruments=[]),
    ingest(r"^instruments: must be a list, was 'SBER'$", instruments="SBER"),
    ingest(r"^instruments: must be a list, was \{'a': 1\}$", instruments={"a": 1}),
    ingest(r"^instruments: must be a list, was None$", instruments=None),
    ingest(r"^instruments.0: must be a text, was 7$", instruments=[7]),
    ingest(r"^instruments.0: must be a text, was \[\['SBER'\]\]$", instruments=[[["SBER"]]]),
    ingest(r"^instruments: 10,000 were given, at most 1,000 are taken at once: split the request$",
           instruments=["SBER"] * 10_000),
    ingest(r"^instruments.0: 'SBER\\x00' is not a ticker: use the exchange's SECID", instruments=["SBER\0"]),
    ingest(r"^instruments.0: '\\ud800' is not a ticker", instruments=["\ud800"]),
    ingest(r"^instruments.0: '\.\./\.\./etc/passwd' is not a ticker", instruments=["../../etc/passwd"]),
    ingest(r"^instruments.0: \"'; DROP TABLE lake.job\" is not a ticker", instruments=["'; DROP TABLE lake.job"]),
    ingest(r"^instruments.0: 'СБЕР' is not a ticker", instruments=["СБЕР"]),
    ingest(r"^instruments.0: '' is not a ticker", instruments=[""]),
    ingest(r"^instruments.0: 'A{40}\.\.\.' is not a ticker", instruments=["A" * 100_000]),
    ingest(r"^instruments.0: 'SBER@' names no board: write SECID@BOARD", instruments=["SBER@"]),
    ingest(r"^instruments.0: 'SBER@\.\./x' names no board: write SECID@BOARD", instruments=["SBER@../x"]),
    ingest(r"^instruments.0: 'a b' is not .*; and 895 more in 'instruments'$", instruments=["a b"] * 900),
    ingest(r"^timeframes.0: timeframe '5m' is not one of 1m, 10m, 1h, 1d, 1w, 1mo, 1q$", timeframes=["5m"]),
    ingest(r"^timeframes: is empty: name at least one$", timeframes=[]),
    ingest(r"^timeframes.0: a timeframe is a text, one of 1m", timeframes=[24]),
    ingest(r"^timeframes: must be a list, was '1d'$", timeframes="1d"),
    ingest(r"^timeframes: 5,000 were given, at most 1,000", timeframes=["1d"] * 5000),
    ingest(r"^from: there is no day 2024-02-30$", **{"from": "2024-02-30"}),
    ingest(r"^from: there is no day 0000-01-01$", **{"from": "0000-01-01"}),
    ingest(r"^from: '2024-1-1' is not a date: write YYYY-MM-DD$", **{"from": "2024-1-1"}),
    ingest(r"^from: '２０２４-01-01' is not a date: write YYYY-MM-DD$", **{"from": "２０２４-01-01"}),
    ingest(r"^from: 20240101 is not a date: write YYYY-MM-DD$", **{"from": 20240101}),
    post(INGEST, b'{"instruments":["SBER"],"from":1e400}', r"^from: inf is not a date: write YYYY-MM-DD$"),
    ingest(r"^from: \{\} is not a date: write YYYY-MM-DD$", **{"from": {}}),
    ingest(r"^till: True is not a date: write YYYY-MM-DD$", till=True),
    ingest(r"^request: from 1989-12-31 lies before 1990-01-01: the exchange did not exist; leave from out",
           **{"from": "1989-12-31"}),
    ingest(r"^request: till 1989-12-31 lies before 1990-01-01", till="1989-12-31"),
    ingest(r"^request: till 9999-12-31 lies after 2999-12-31: leave till out for all up to today$", till="9999-12-31"),
    ingest(r"^request: till 2024-01-01 lies before from 2024-01-02: swap them$", till="2024-01-01",
           **{"from": "2024-01-02"}),
    ingest(r"^request: a re-read needs from: say the first date to read again$", reread=True),
    ingest(r"^reread: must be true or false, was 'yes'$", reread="yes"),
    ingest(r"^form: there is no such field; the fields are instruments, timeframes, .*, reread, held$", form="x"),
    ingest(r"^held: must be true or false, was 'yes'$", held="yes"),
    ingest(r"^held: stands for all that is held: leave out instruments, timeframes$", held=True, timeframes=["1d"]),
    post(INGEST, {"\ud800": 1, "instruments": ["SBER"]}, r"^request: holds a text that is not Unicode$"),
]  # fmt: skip

CANDLES = [
    get("/v1/candles", 400, r"^secid: is missing$"),
    get("/v1/candles?secid=", 400, r"^secid: is missing$"),
    get("/v1/candles?secid=SBER&secid=GAZP", 400, r"^the parameter secid is given 2 times$"),
    get("/v1/candles?secid=NOPE", 400, r"^'NOPE' is not a ticker that is loaded: look for it in /v1/instruments, or"),
    get("/v1/candles?secid=SBER'--", 400, r"^secid: \"SBER'--\" is not a ticker: use the exchange's SECID"),
    get("/v1/candles?secid=%00", 400, r"^the parameter secid holds characters that cannot be printed: '\\x00'$"),
    get("/v1/candles?secid=%1b%5b2J", 400, r"^the parameter secid holds characters that cannot be printed"),
    get("/v1/candles?secid=%ff", 400, r"^secid: '(�|%FF)' is not a ticker"),
    get("/v1/candles?secid=" + "A" * 5000, 400, r"^the parameter secid is longer than 1,000 characters$"),
    get("/v1/candles?secid=SBER&timeframe=5m", 400, r"^timeframe: '5m' is not one of 1m, 10m, 1h, 1d, 1w, 1mo, 1q$"),
    get("/v1/candles?secid=SBER&from=0000-01-01", 400, r"^from: there is no day 0000-01-01$"),
    get("/v1/candles?secid=SBER&from=2024-02-30", 400, r"^from: there is no day 2024-02-30$"),
    get("/v1/candles?secid=SBER&from=20240101", 400, r"^from: '20240101' is not a date: write YYYY-MM-DD$"),
    get("/v1/candles?secid=SBER&till=9999-12-31", 400, r"^till 9999-12-31 does not lie between 1900-01-01 and 2999"),
    get("/v1/candles?secid=SBER&from=1899-12-31", 400, r"^from 1899-12-31 does not lie between 1900-01-01 and 2999"),
    get("/v1/candles?secid=SBER&from=2024-01-02&till=2024-01-01", 400, r"^till 2024-01-01 lies before from 2024-01-02"),
    get("/v1/candles?secid=SBER&limit=-1", 400, r"^limit: '-1' is not a whole number$"),
    get("/v1/candles?secid=SBER&limit=0", 400, r"^limit: must be at least 1, was '0'$"),
    get("/v1/candles?secid=SBER&limit=10001", 400, r"^limit: must be at most 10,000, was '10001'$"),
    get("/v1/candles?secid=SBER&limit=" + "9" * 900, 400, r"^limit: '9{35}\.\.\. is not a whole number$"),
    get("/v1/candles?secid=SBER&limit=%D9%A1", 400, r"^limit: '١' is not a whole number$"),
    get("/v1/candles?secid=SBER&limit=1e3", 400, r"^limit: '1e3' is not a whole number$"),
    get("/v1/candles?secid=SBER&adjust=both", 400, r"^adjust: 'both' is not one of none, split$"),
    get("/v1/candles?secid=SBER&format=xml", 400, r"^format: 'xml' is not one of json, csv$"),
    get(
        "/v1/candles?secid=SBER&form=2024-01-01", 400, r"^there is no parameter 'form': the parameters are secid, board"
    ),
    get("/v1/candles?secid=SBER&token=AAAA", 400, _TOKEN),
    get("/v1/candles?secid=SBER&token=%F0%9F%92%A9", 400, _TOKEN),
    get(
        "/v1/candles?secid=SBER&format=csv&token=", 400, r"^the parameter token is empty: the page that gave none was "
    ),
]

LISTS = [
    get("/v1/jobs?limit=501", 400, r"^limit: must be at most 500, was '501'$"),
    get("/v1/jobs?offset=1", 400, r"^there is no parameter 'offset': the parameters are limit$"),
    get("/v1/jobs/abc", 404, r"^there is no job abc$"),
    get("/v1/jobs/-1", 404, r"^there is no job -1$"),
    get("/v1/jobs/99999999999999999", 404, r"^there is no job 99999999999999999$"),
    get("/v1/jobs/" + "9" * 9000, 404, r"^there is no job 9{40}$"),
    get("/v1/jobs/1%00", 404, r"^there is no job 1\\x00$"),
    get("/v1/jobs/1%20OR%201=1", 404, r"^there is no job 1 OR 1=1$"),
    get("/v1/jobs/%3flimit=1", 404, r"^there is no job \?limit=1$"),
    post("/v1/jobs/1/cancel", {}, r"^job 1 is over \(done\): nothing to cancel$"),
    post("/v1/jobs/2/cancel", {}, r"^there is no job 2$", 404),
    post("/v1/jobs/1/retry", {}, r"^nothing of job 1 failed: nothing to retry$"),
    post("/v1/jobs/x/retry", {}, r"^there is no job x$", 404),
    post("/v1/uploads/accept", {"upload_key": "uploads/\ud800"}, r"^upload_key: holds characters that cannot be kept$"),
    post("/v1/uploads/accept", {"upload_key": "uploads/\0"}, r"^upload_key: holds characters that cannot be kept$"),
    post("/v1/jobs/1/retry", {"again": True}, r"^this takes no body: leave it out, or send \{\}$"),
    get("/v1/instruments?q=%00", 400, r"^the parameter q holds characters that cannot be printed: '\\x00'$"),
    get("/v1/instruments?q=" + "x" * 2000, 400, r"^the parameter q is longer than 1,000 characters$"),
    get("/v1/instruments?Q=SBER", 400, r"^there is no parameter 'Q': the parameters are q, limit$"),
    get("/v1/health?verbose=1", 400, r"^there is no parameter 'verbose': the parameters are probe$"),
    get("/v1/health?probe=alive", 400, r"^probe: "),
    get("/v1/quarantine?table=users", 400, r"^table 'users' is not one of silver\.candles, silver\.history"),
    get("/v1/quarantine?secid=x%20y", 400, r"^secid: 'x y' is not a ticker"),
    get("/v1/quarantine?limit=1001", 400, r"^limit: must be at most 1,000, was '1001'$"),
    get("/v1/quarantine?token=AAAA", 400, _LIST_TOKEN),
    get("/v1/quarantine?token=", 400, r"^the parameter token is empty: the page that gave none was the last one"),
    get(
        "/v1/audit?before=", 400, r"^the parameter before is empty: the page that gave none was the last one; leave it"
    ),
    get("/v1/quarantine?token=WyIyMDI2LTAzLTA1VDA3OjAwOjAwKzAwOjAwIiwiXHUwMDAwIl0", 400, _LIST_TOKEN),
    get("/v1/quality?state=bad", 400, r"^state: 'bad' is not one of all, differs, not provable$"),
]

PATHS = [
    get("/", 404, _NO_PATH),
    get("/v1", 404, _NO_PATH),
    get("/v1/jobs/../../etc/passwd", 404, _NO_PATH),
    get("/v1/%2e%2e/%2e%2e/etc/passwd", 404, _NO_PATH),
    get("//evil.example/v1/health", 404, _NO_PATH),
    get("/" + "a" * 15_000, 404, _NO_PATH),
    Hostile("DELETE", b"/v1/jobs", 405, r"^the path does not take this method: the header Allow says which it takes$"),
    Hostile("PUT", b"/v1/jobs/1", 405, r"^the path does not take this method"),
    Hostile("PATCH", b"/v1/ingest", 405, r"^the path does not take this method"),
    Hostile("TRACE", b"/v1/health", 405, r"^the path does not take this method"),
    Hostile("PROPFIND", b"/v1/health", 405, r"^the path does not take this method"),
    Hostile("OPTIONS", b"/v1/candles", 405, r"^the path does not take this method"),
    get("/v1/ingest", 405, r"^the path does not take this method"),
]

ACCESS = [
    *[get(path, 401, _NOBODY, role="") for path in ("/v1/jobs", "/v1/candles?secid=SBER", "/v1/quarantine")],
    Hostile("POST", b"/v1/logout", 401, _NOBODY, role=""),
    Hostile("GET", b"/v1/jobs", 401, _NOBODY, role="", headers=(_BEARER + b"x" * 5000,)),
    Hostile("GET", b"/v1/jobs", 401, _NOBODY, role="", headers=(_BEARER + b"\xff\xfe",)),
    Hostile("GET", b"/v1/jobs", 401, _NOBODY, role="", headers=(_BEARER + b"' OR '1'='1",)),
    Hostile("GET", b"/v1/jobs", 401, _NOBODY, role="", headers=(b"Authorization: Basic YWRtaW46YWRtaW4=",)),
    Hostile("GET", b"/v1/jobs", 401, _NOBODY, role="", headers=(b"Cookie: lakehouse_session=\xff; ;;=",)),
    Hostile("GET", b"/v1/nothing", 404, _NO_PATH, role="", headers=(_BEARER + b"\xff",)),
    post(INGEST, {"instruments": ["SBER"]}, r"^this needs the role admin, and viewer is viewer", 403, "viewer"),
    post(INGEST, {"instruments": ["SBER"]}, r"^this needs the role admin, and analyst is analyst", 403, "analyst"),
    post("/v1/jobs/1/cancel", {}, r"^this needs the role admin, and analyst is analyst", 403, "analyst"),
    post("/v1/jobs/1/retry", {}, r"^this needs the role admin, and analyst is analyst", 403, "analyst"),
    get("/v1/jobs", 403, r"^this needs the role analyst, and viewer is viewer: ask an admin$", "viewer"),
    get("/v1/quarantine", 403, r"^this needs the role admin, and analyst is analyst", "analyst"),
    get("/v1/quality", 403, r"^this needs the role admin, and viewer is viewer", "viewer"),
    post("/v1/events/storage", {"Records": []}, r"^no object store may send events here: ", 404),
    post(LOGIN, {}, r"^user: is missing; password: is missing$", role=""),
    post(LOGIN, {"user": 1, "password": 2}, r"^user: must be a text, was 1; password: must be a text, was 2$", role=""),
    post(
        LOGIN,
        {"user": "admin", "password": "x", "role": "admin"},
        r"^role: there is no such field; the fields are user, password$",
        role="",
    ),
    post(LOGIN, {"user": "a\0b", "password": "x"}, r"^name or password is wrong$", 401, ""),
    post(LOGIN, {"user": "\ud800", "password": "\ud800"}, r"^name or password is wrong$", 401, ""),
    post(LOGIN, {"user": "x' OR 1=1 --", "password": "x"}, r"^name or password is wrong$", 401, ""),
    post(LOGIN, {"user": "a" * 5_000, "password": "b" * 5_000}, r"^name or password is wrong$", 401, ""),
    post(LOGIN, {"user": "a" * 10_000, "password": "b" * 10_000}, r"^the body is larger than 16 KiB$", 413, ""),
]

REQUESTS = [*BODIES, *INGESTS, *CANDLES, *LISTS, *PATHS, *ACCESS]
