"""The web process listens beyond this machine with TLS only, its own or a proxy's."""

from __future__ import annotations

from pathlib import Path

import pytest

from lakehouse.listening import check_listening, local_url, server_options
from lakehouse.market.errors import BadInput
from lakehouse.settings import Settings, load_settings
from tests.certificates import made_certificate


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "localhost", "::1"])
def test_this_machine_alone_needs_no_tls(host: str) -> None:
    """What does not leave the machine nobody else reads."""
    options = server_options(Settings(host=host, port=1))
    assert (options["host"], options["port"], options["proxy_headers"]) == (host, 1, False)


def test_an_idle_connection_is_not_closed_before_a_proxy_closes_it() -> None:
    assert server_options(Settings())["timeout_keep_alive"] > 120


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.5", "2001:db8::5", "lakehouse.example", "localhost.example"])
def test_beyond_this_machine_without_tls_is_refused(host: str) -> None:
    """The error says what is in the way and both ways out."""
    with pytest.raises(
        BadInput, match=rf"^LAKEHOUSE_HOST {host} lies .* in the clear: set .*_KEY, or .* --behind-proxy"
    ):
        server_options(Settings(host=host))
    check_listening(Settings(host=host, behind_proxy=True))


def test_a_certificate_is_used_with_its_key(tmp_path: Path) -> None:
    """One of them alone, another's key, and a file that is none are told at the start."""
    certificate, key = made_certificate(tmp_path)
    _, other_key = made_certificate(tmp_path, "other.test")
    options = server_options(Settings(host="0.0.0.0", tls_certificate=certificate, tls_key=key))
    assert (options["ssl_certfile"], options["ssl_keyfile"]) == (str(certificate), str(key))
    with pytest.raises(
        BadInput, match=r"^LAKEHOUSE_TLS_CERTIFICATE is set and LAKEHOUSE_TLS_KEY is not: TLS needs both"
    ):
        check_listening(Settings(tls_certificate=certificate))
    with pytest.raises(BadInput, match=r"^LAKEHOUSE_TLS_KEY is set and LAKEHOUSE_TLS_CERTIFICATE is not"):
        check_listening(Settings(tls_key=key))
    for wrong in (other_key, tmp_path / "none.key", certificate):
        with pytest.raises(BadInput, match=r"cannot be used \(.*\): give a certificate .* both PEM, the key without a"):
            check_listening(Settings(tls_certificate=certificate, tls_key=wrong))


def test_own_calls_go_to_an_address_that_can_be_called(tmp_path: Path) -> None:
    """All addresses of a machine are none to call."""
    assert local_url(Settings(host="0.0.0.0"), 80) == "http://127.0.0.1:80"
    assert local_url(Settings(host="::"), 80) == "http://[::1]:80"
    assert local_url(Settings(host="10.0.0.5", tls_certificate=tmp_path), 443) == "https://10.0.0.5:443"


def test_a_proxy_is_named_by_address_or_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name would have to be looked up, and a network with bits of a host is a slip of the pen."""
    monkeypatch.setenv("LAKEHOUSE_PROXY_ADDRESSES", "10.0.0.7, 2001:db8::/32")
    assert [str(network) for network in load_settings().proxy_networks] == ["10.0.0.7/32", "2001:db8::/32"]
    monkeypatch.setenv("LAKEHOUSE_PROXY_ADDRESSES", "10.0.0.7/8")
    with pytest.raises(BadInput, match=r"^LAKEHOUSE_PROXY_ADDRESSES: 10.0.0.7/8 has host bits set: write addresses or"):
        load_settings()
