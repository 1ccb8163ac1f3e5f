"""Addresses can be written in several ways, and each is read as one."""

from collections.abc import Callable

import pytest

from rc_import_exporter.config import address
from rc_import_exporter.config.address import Listen


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
    """Without a host, it is every address."""
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
    """Scheme and host become lower case, and the slash at the end goes. All else stays."""
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
    """The mistake is found before the first request. The message does not repeat the URL."""
    with pytest.raises(ValueError, match=r"^must ") as refused:
        address.workspace_url(text)
    assert not text or f"'{text}'" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("HTTPS://Imports.Example.org/", "https://imports.example.org"),
        ("http://a:19458", "http://a:19458"),
        ("https://a/Tools/imports//", "https://a/Tools/imports"),
    ],
)
def test_links_begin_without_a_slash_at_the_end(text: str, url: str) -> None:
    """A path follows it."""
    assert address.link_url(text) == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "imports.example.org",
        "ftp://a",
        "http://a?b",
        "http://a/#b",
        "https://u@a",
        "https://u:Pa55@a",
        "http://a b",
    ],
)
def test_links_begin_with_nothing_else(text: str) -> None:
    """All readers of the metrics see the URL, so it must not have a password."""
    with pytest.raises(ValueError, match=r"^must ") as refused:
        address.link_url(text)
    assert "Pa55" not in str(refused.value)


@pytest.mark.parametrize("read", [address.workspace_url, address.proxy_url])
@pytest.mark.parametrize("character", ["/", "?", "#"])
@pytest.mark.parametrize("before", ["12", "twelve"])
def test_a_password_that_would_be_taken_for_a_path_is_refused(
    read: Callable[[str], str], character: str, before: str
) -> None:
    """The URL without user and password is published.

    If the user is taken for the host, the password would be published too.
    """
    with pytest.raises(ValueError, match="percent-encode") as refused:
        read(f"https://admin:{before}{character}34PASSWORD@chat.example.org")
    assert "PASSWORD" not in str(refused.value)


def test_a_password_may_hold_anything_that_is_percent_encoded() -> None:
    """The password is not changed."""
    url = "https://admin:%2F%3F%23%40@chat.example.org/a"
    assert address.workspace_url(url) == url
    assert address.public(url) == "https://chat.example.org/a"


@pytest.mark.parametrize("read", [address.workspace_url, address.proxy_url])
@pytest.mark.parametrize(
    "host", ["h\u200b", "ex\u00adample", "[::1]x", "a..b", "\u2488.x", f"{'a' * 64}.org", "u:p@h\u200b"]
)
def test_a_host_that_no_request_can_be_sent_to_is_refused(read: Callable[[str], str], host: str) -> None:
    """It may contain an invisible character that was copied."""
    with pytest.raises(ValueError, match=r"^must name a valid host"):
        read(f"http://{host}")


@pytest.mark.parametrize("host", ["münchen.example", "xn--mnchen-3ya.example", "a_b", "a.", "[fe80::1%25eth0]:80"])
def test_a_host_of_any_script_is_one(host: str) -> None:
    """A name that only this machine knows is valid too."""
    assert address.workspace_url(f"http://{host}") == f"http://{host}"


def test_a_public_url_has_no_name_and_password() -> None:
    """This is also true if the password has an @."""
    assert address.public("https://u:p@q@a:1/b") == "https://a:1/b"
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
    """The name has only letters that are allowed in names of workspaces."""
    assert address.name_of(url) == name


@pytest.mark.parametrize("read", [address.workspace_url, address.proxy_url])
@pytest.mark.parametrize("user", ["a%3Ab:PASSWORD", "a:%FFPASSWORD", "%E2%82:PASSWORD"])
def test_a_name_or_password_that_cannot_be_sent_is_refused(read: Callable[[str], str], user: str) -> None:
    """Basic authentication is UTF-8, and the name ends at the first colon."""
    with pytest.raises(ValueError, match="in UTF-8, and no colon in the name") as refused:
        read(f"https://{user}@chat.example.org")
    assert "PASSWORD" not in str(refused.value)


def test_an_authorization_is_in_utf_8() -> None:
    assert address.authorization("https://mon:%E2%82%AC@a/b") == "Basic bW9uOuKCrA=="
    assert address.authorization("https://a/b@c") is None
