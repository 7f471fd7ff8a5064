"""What a page of another site can do with the session of somebody who is logged in: nothing."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.browser.contexts import new_context
from tests.browser.running import Platform

pytestmark = [pytest.mark.browser, pytest.mark.postgres]

# Each way a page has to ask another origin with its cookies; each gives what the page learned.
ATTACKS = {
    "a form that is sent by itself": """async (url) => {
        const sink = Object.assign(document.createElement("iframe"), {name: "sink"});
        const form = Object.assign(document.createElement("form"), {method: "post", target: "sink"});
        form.action = `${url}/logout`;
        document.body.append(sink, form);
        const answered = new Promise((resolve) => { sink.onload = resolve; });
        form.submit();
        await answered;
        return "";
    }""",
    "requests without preflight": """async (url) => {
        const body = '{"instruments": ["SBER"], "timeframes": ["1d"]}';
        const options = {method: "POST", mode: "no-cors", credentials: "include", body};
        const paths = ["/api/v1/ingest", "/api/v1/jobs/redrive", "/gradio_api/reset", "/gradio_api/queue/join"];
        const of = (path) => fetch(url + path, options).then((answer) => answer.text(), () => "");
        return (await Promise.all(paths.map(of))).join("");
    }""",
    "a request with preflight": """async (url) => {
        const headers = {"Content-Type": "application/json"};
        const options = {method: "PUT", credentials: "include", headers, body: '{"is_on": false}'};
        return fetch(`${url}/api/v1/schedules/increment`, options).then((answer) => answer.text(), () => "");
    }""",
    "reading with cookies": """async (url) => {
        const paths = ["/", "/session", "/config", "/gradio_api/info", "/api/v1/instruments", "/static/app.css"];
        const of = (path) => fetch(url + path, {credentials: "include"}).then((answer) => answer.text(), () => "");
        return (await Promise.all(paths.map(of))).join("");
    }""",
    "a stream of events": """async (url) => {
        const stream = new EventSource(`${url}/gradio_api/heartbeat/abcdef`, {withCredentials: true});
        return new Promise((resolve) => {
            stream.onerror = () => resolve("");
            stream.onmessage = stream.onopen = () => resolve("opened");
        });
    }""",
    "a web socket": """async (url) => new Promise((resolve) => {
        const socket = new WebSocket(`${url.replace("http", "ws")}/gradio_api/queue/join`);
        socket.onopen = () => resolve("opened");
        socket.onerror = () => resolve("");
    })""",
    "a script, a style and an image": """async (url) => {
        const load = (name, attributes) => new Promise((resolve) => {
            const element = Object.assign(document.createElement(name), attributes);
            element.onload = () => resolve(name);
            element.onerror = () => resolve("");
            document.head.append(element);
        });
        return (await Promise.all([
            load("script", {src: `${url}/static/theme.js`}),
            load("link", {rel: "stylesheet", href: `${url}/static/app.css`}),
            load("img", {src: `${url}/favicon.ico`}),
        ])).join("");
    }""",
    "a frame": """async (url) => {
        const frame = Object.assign(document.createElement("iframe"), {src: `${url}/`});
        const loaded = new Promise((resolve) => { frame.onload = resolve; });
        document.body.append(frame);
        await loaded;
        return frame.contentWindow.length ? "framed" : "";
    }""",
    "a window that it opened": """async (url) => {
        const opened = window.open(`${url}/schema`);
        const pause = () => new Promise((resume) => setTimeout(resume, 100));
        for (let tries = 0; !opened.closed && tries < 1200; tries += 1) await pause();
        return opened.closed ? "" : "kept a hold on it";
    }""",
}


class _Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>elsewhere</title><body>")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[int]:
    """Return the port of a web server that is not the platform."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture(scope="module")
def browser_of_admin(browser: Browser, platform: Platform) -> Iterator[BrowserContext]:
    with new_context(browser, platform) as context:
        context.new_page()  # stays: others are tabs of its window
        yield context


@pytest.fixture
def victim(browser_of_admin: BrowserContext, platform: Platform) -> Iterator[BrowserContext]:
    """A browser in which an admin is logged in; its cookies are those of a login."""
    context, password = browser_of_admin, platform.passwords["admin"]
    context.clear_cookies()
    assert context.request.post("/login", form={"name": "admin", "password": password}).ok
    yield context
    for page in context.pages[1:]:
        page.close()


def state(platform: Platform) -> list[tuple[object, ...]]:
    """Return what the attacks try to change."""
    return platform.query(
        """
        SELECT (SELECT count(*) FROM lake.job), (SELECT count(*) FROM lake.audit),
            (SELECT count(*) FROM lake.session WHERE revoked_at IS NULL), (SELECT jsonb_agg(s) FROM lake.schedule AS s)
        """
    )


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])  # the same site on another port, and another site
def test_a_page_of_another_origin_reads_and_changes_nothing(
    victim: BrowserContext, platform: Platform, elsewhere: int, host: str
) -> None:
    """Whatever a page elsewhere tries with the cookie of an admin: it learns nothing, and nothing has changed."""
    before = state(platform)

    learned = {}
    page = victim.new_page()
    for name, attack in ATTACKS.items():
        page.goto(f"http://{host}:{elsewhere}/")
        learned[name] = page.evaluate(attack, platform.url)

    assert learned == dict.fromkeys(ATTACKS, "")
    assert state(platform) == before
    assert victim.request.get(f"{platform.url}/session").json() == {"user": "admin", "role": "admin"}


def test_our_own_page_may_do_what_others_may_not(log_in: Callable[..., Page]) -> None:
    """The same requests from a page of ours are answered, so it is the origin that was refused."""
    page = log_in("admin")

    names = ("reading with cookies", "a script, a style and an image", "requests without preflight")
    learned = {name: page.evaluate(ATTACKS[name], "") for name in names}

    assert '"secid":"SBER"' in learned["reading with cookies"]
    assert learned["a script, a style and an image"] == "scriptlinkimg"
    assert "application/json" in learned["requests without preflight"]  # what the API says of them itself


def test_a_link_from_another_site_is_followed(victim: BrowserContext, platform: Platform, elsewhere: int) -> None:
    """Somebody who is logged in and follows a link to a page of ours sees it."""
    page = victim.new_page()
    page.goto(f"http://localhost:{elsewhere}/")
    page.evaluate("(url) => { location.href = url; }", f"{platform.url}/quality")
    page.wait_for_selector(".lh-role:has-text('admin')")


CHANGING = ("/api/v1/ingest", "/api/v1/logout", "/gradio_api/queue/join", "/gradio_api/reset", "/logout", "/login")
OF_ANOTHER = (
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": "null"},
    {"Origin": "https://{host}"},
    {"Origin": "http://{host}.example.org"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://{host}"},
    {"Origin": "http://example.org", "Forwarded": "host=example.org;proto=http"},
)


@pytest.mark.parametrize("path", CHANGING)
def test_raw_requests_of_another_origin_are_refused(platform: Platform, path: str) -> None:
    """What browsers say of a foreign page is refused before anything else is looked at, with the cookie and without."""
    host, token = urlsplit(platform.url).netloc, platform.begin_session("admin")
    before = state(platform)

    for headers in OF_ANOTHER:
        for who in ({"Cookie": f"lakehouse_session={token}"}, {"Authorization": f"Bearer {token}"}, {}):
            sent = {name: value.format(host=host) for name, value in headers.items()} | who
            assert asked(platform, path, sent) == 403, sent

    assert state(platform) == before


@pytest.mark.parametrize("path", ["/", "/gradio_api/queue/join", "/api/v1/health"])
def test_no_web_socket_is_opened(platform: Platform, path: str) -> None:
    """An upgrade is never answered with 101, not even with a session."""
    headers = {
        "Host": "x",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Cookie": f"lakehouse_session={platform.begin_session('admin')}",
    }
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    address = urlsplit(platform.url)
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=120) as connection:
        connection.sendall("\r\n".join(lines).encode())
        assert connection.recv(200).split()[1] != b"101"


def test_an_inline_script_that_got_in_does_not_run(victim: BrowserContext) -> None:
    """Markup with a script or a handler stays text to the browser: only Gradio's own scripts have the nonce."""
    page = victim.new_page()
    page.goto("/schema")
    page.wait_for_selector(".lh-role:not(:empty)")

    violated = page.evaluate("""async () => {
        const violated = [];
        document.addEventListener("securitypolicyviolation", (event) => violated.push(event.effectiveDirective));
        const place = document.createElement("div");
        place.innerHTML = '<img src="data:," onerror="window.gotIn = true">';
        const script = Object.assign(document.createElement("script"), {textContent: "window.gotIn = true"});
        document.body.append(place, script);
        while (violated.length < 2) await new Promise((resume) => setTimeout(resume, 50));
        return violated.sort();
    }""")

    assert violated == ["script-src-attr", "script-src-elem"]
    assert page.evaluate("window.gotIn") is None


def asked(platform: Platform, path: str, headers: dict[str, str]) -> int:
    """Return the status of a POST with these headers and an empty JSON object."""
    connection = HTTPConnection(urlsplit(platform.url).netloc, timeout=120)
    connection.request("POST", path, b"{}", {"Content-Type": "application/json", **headers})
    status = connection.getresponse().status
    connection.close()
    return status
