"""What a proxy says of a request is believed from the proxy, and from nobody else."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from functions.proxy import Forwarded
from functions.requests import SESSION, cookie_name, cookie_of, set_cookie
from lakehouse.settings import Settings

BEHIND = Settings(behind_proxy=True)
NAMED = Settings(behind_proxy=True, proxy_addresses="10.0.0.2,10.0.0.3,2001:db8::/32")


async def passed(
    settings: Settings, peer: str, *headers: tuple[str, str], scheme: str = "http", path: str = "/"
) -> dict[str, Any]:
    """Return the request as the application sees it, or ``refused`` with what is answered instead."""
    seen: dict[str, Any] = {}

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        seen.update(scope, headers={name.decode(): value.decode() for name, value in scope["headers"]})

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            seen["refused"] = message["body"].decode()

    scope: dict[str, Any] = {"type": "http", "client": (peer, 5000), "server": ("192.0.2.1", 8000), "scheme": scheme}
    scope["path"] = path
    scope["headers"] = [(b"host", b"internal:8000"), *((name.encode(), value.encode()) for name, value in headers)]
    await Forwarded(application, settings)(scope, receive, send)
    return seen


async def test_without_a_proxy_no_header_is_believed() -> None:
    """A client on this machine cannot be somebody else either."""
    said = (("x-forwarded-for", "203.0.113.9"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "evil.example"))
    seen = await passed(Settings(), "127.0.0.1", *said, ("forwarded", "for=203.0.113.9"))
    assert (seen["client"][0], seen["scheme"]) == ("127.0.0.1", "http")
    assert seen["headers"] == {"host": "internal:8000", "x-forwarded-proto": "http"}


@pytest.mark.parametrize(
    ("said", "client"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("198.51.100.1, 203.0.113.9", "203.0.113.9"),  # the client wrote the first itself
        ("198.51.100.1, 10.0.0.5", "10.0.0.5"),  # a client of the private network is no proxy
        ("203.0.113.9:4711", "203.0.113.9"),
        ("[2001:db8::9]:4711", "2001:db8::9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("fe80::1%eth0", "fe80::1"),
        ("203.0.113.9, nonsense", "10.0.0.2"),
        ("", "10.0.0.2"),
    ],
)
async def test_behind_a_proxy_the_client_is_whom_the_proxy_saw(said: str, client: str) -> None:
    """Only the last address was written by the proxy: those before it the client may have sent."""
    assert (await passed(BEHIND, "10.0.0.2", ("x-forwarded-for", said)))["client"][0] == client


async def test_the_header_given_twice_is_one_list() -> None:
    """A proxy that adds a line of its own adds it after the client's."""
    twice = (("x-forwarded-for", "198.51.100.1"), ("x-forwarded-for", "203.0.113.9"))
    assert (await passed(BEHIND, "10.0.0.2", *twice))["client"][0] == "203.0.113.9"


@pytest.mark.parametrize(
    ("said", "client"),
    [
        ("198.51.100.1, 203.0.113.9, 10.0.0.3", "203.0.113.9"),
        ("198.51.100.1, 10.0.0.4, 10.0.0.3", "10.0.0.4"),
        ("2001:db8::7, 10.0.0.3", "2001:db8::7"),
        ("nonsense, 10.0.0.3", "10.0.0.3"),
    ],
)
async def test_a_chain_of_named_proxies_is_followed_to_its_end(said: str, client: str) -> None:
    """The client is the last that is none of them."""
    assert (await passed(NAMED, "10.0.0.2", ("x-forwarded-for", said)))["client"][0] == client


@pytest.mark.parametrize(("settings", "peer"), [(BEHIND, "203.0.113.9"), (NAMED, "10.0.0.4")])
async def test_nobody_gets_past_the_proxy(settings: Settings, peer: str) -> None:
    """Without TLS a password would go in the clear, and any address could be claimed."""
    seen = await passed(settings, peer, ("x-forwarded-for", "10.0.0.2"))
    assert f"{peer} is none: come through it, or name that address in LAKEHOUSE_PROXY_ADDRESSES" in seen["refused"]
    assert "client" not in seen


async def test_this_machine_itself_may_ask_and_is_no_proxy() -> None:
    """A health check comes from the server's own address; what it says of others is not believed."""
    seen = await passed(NAMED, "192.0.2.1", ("x-forwarded-for", "203.0.113.9"), ("x-forwarded-host", "evil.example"))
    assert (seen["client"][0], seen["headers"]["host"]) == ("192.0.2.1", "internal:8000")


async def test_behind_a_proxy_all_is_https() -> None:
    """Whether the proxy says so or not; what came to it without TLS is refused."""
    for headers in ([], [("x-forwarded-proto", "https")]):
        seen = await passed(BEHIND, "10.0.0.2", *headers)
        assert (seen["scheme"], seen["headers"]["x-forwarded-proto"]) == ("https", "https")
    refused = await passed(BEHIND, "10.0.0.2", ("x-forwarded-proto", "http"))
    assert "came to the proxy without TLS: use https" in refused["refused"]


@pytest.mark.parametrize("host", ["lake.example", "lake.example:8443", "[2001:db8::1]:443"])
async def test_the_host_is_the_one_that_the_browser_asked(host: str) -> None:
    """A proxy may ask us by another: the page's origin is compared with the browser's."""
    assert (await passed(BEHIND, "10.0.0.2", ("x-forwarded-host", host)))["headers"]["host"] == host


@pytest.mark.parametrize("host", ["", "a b", "a/b", "a@b", "<x>"])
async def test_a_host_that_is_none_is_not_taken(host: str) -> None:
    """It ends in addresses that the pages show."""
    assert (await passed(BEHIND, "10.0.0.2", ("x-forwarded-host", host)))["headers"]["host"] == "internal:8000"


def test_cookies_behind_tls_are_this_hosts_alone() -> None:
    """Secure and with the prefix that a browser refuses to take from another host, and to send without TLS."""
    plain, secure = {"x-forwarded-proto": "http"}, {"x-forwarded-proto": "https"}
    assert set_cookie(plain, SESSION, "x") == "lakehouse_session=x; Path=/; HttpOnly; SameSite=Lax"
    assert set_cookie(secure, SESSION, "x") == "__Host-lakehouse_session=x; Path=/; Secure; HttpOnly; SameSite=Lax"
    assert cookie_name(secure, SESSION) == "__Host-lakehouse_session"
    assert cookie_of({**secure, "cookie": "lakehouse_session=planted; __Host-lakehouse_session=x"}, SESSION) == "x"
    assert cookie_of({**secure, "cookie": "lakehouse_session=planted"}, SESSION) == ""


async def test_a_store_beside_the_proxy_tells_of_its_objects() -> None:
    """It is nobody's proxy: there it is heard for its token, elsewhere refused, and believed nowhere."""
    said = (("x-forwarded-for", "203.0.113.9"), ("x-forwarded-host", "evil.example"))
    seen = await passed(NAMED, "10.0.9.9", *said, path="/api/v1/events/storage")
    assert (seen["client"][0], seen["headers"]["host"]) == ("10.0.9.9", "internal:8000")
    for path in ("/", "/api/v1/events/storage/", "/api/v1/login", "/x/api/v1/events/storage"):
        assert "is none: come through it" in (await passed(NAMED, "10.0.9.9", *said, path=path))["refused"]
