"""Addresses are read in the spellings that operators use, and come out in one."""

import pytest

from rc_import_exporter import address
from rc_import_exporter.address import Listen


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:19458", "127.0.0.1", 19458),
        (":19458", "", 19458),
        ("[::1]:0", "::1", 0),
        ("[::]:80", "::", 80),
        ("localhost:65535", "localhost", 65535),
    ],
)
def test_a_listen_address_is_a_host_and_a_port(text: str, host: str, port: int) -> None:
    """No host means every address."""
    assert address.listen(text) == Listen(host=host, port=port)


@pytest.mark.parametrize(
    "text", ["", "19458", "a:", "a:b", "::1:80", "[::1]", "[a]:1", "a:65536", "a b:1", "a:1 ", "a:-1"]
)
def test_anything_else_is_no_listen_address(text: str) -> None:
    """A bare port or a bare IPv6 address is ambiguous."""
    with pytest.raises(ValueError, match="must be HOST:PORT"):
        address.listen(text)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("HTTPS://Chat.Example.org", "https://chat.example.org"),
        ("http://chat:3000/", "http://chat:3000"),
        ("https://a/Sub/Path//", "https://a/Sub/Path"),
        ("https://User:P4ss@A", "https://User:P4ss@a"),
        ("http://[::1]:3000", "http://[::1]:3000"),
    ],
)
def test_a_workspace_s_url_has_one_spelling(text: str, url: str) -> None:
    """Scheme and host in small letters, no slash at the end, everything else as it is."""
    assert address.workspace_url(text) == url


@pytest.mark.parametrize(
    "text",
    [
        *("", "chat.example.org", "localhost:3000", "ftp://a", "//a", "http:a", "http://", "http://:80", "http:///x"),
        *("http://a:99999", "http://a:0", "http://a:b", "http://[::1", "http://a b", "http://a\n", "http://a\\b"),
        *("http://a?b", "http://a#", "http://a/?", "https://a/api/v1", "https://a/chat/api/v1/"),
    ],
)
def test_anything_else_is_no_workspace_s_url(text: str) -> None:
    """Found before the first request, in words that do not repeat it."""
    with pytest.raises(ValueError, match=r"^must ") as refused:
        address.workspace_url(text)
    assert not text or f"'{text}'" not in str(refused.value)


def test_a_public_url_has_no_name_and_password() -> None:
    """An @ in the path stays."""
    assert address.public("https://u:p@a:1/b@c") == "https://a:1/b@c"
    assert address.public("https://a/b") == "https://a/b"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://chat.example.org:8443/x", "chat.example.org"),
        ("http://[2001:db8::1]:80", "2001-db8-1"),
        ("http://[::1]", "1"),
        ("https://münchen.example", "xn--mnchen-3ya.example"),
        ("http://_dmarc.a", "dmarc.a"),
    ],
)
def test_a_workspace_is_named_after_its_host(url: str, name: str) -> None:
    """In the letters that a workspace's name may have."""
    assert address.name_of(url) == name
