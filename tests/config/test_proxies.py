"""`proxy_from_environment` reads the usual variables as curl and Go programs do, and only where it is set."""

from collections.abc import Mapping

import pytest

from rc_import_exporter.config import settings
from rc_import_exporter.errors import ConfigurationError

WORKSPACE = {"url": "https://chat.example.org", "user_id": "u", "auth_token": "t", "proxy_from_environment": "true"}


def proxy(environ: Mapping[str, str], **options: str) -> str | None:
    """The proxy of a workspace."""
    (workspace,) = settings.load({**WORKSPACE, **options}, environ).workspaces.values()
    return None if workspace.proxy_url is None else workspace.proxy_url.get_secret_value()


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        ({"HTTPS_PROXY": "http://gate:3128"}, "http://gate:3128"),
        ({"https_proxy": "http://gate:3128", "HTTPS_PROXY": "http://other:1"}, "http://gate:3128"),
        ({"https_proxy": "", "HTTPS_PROXY": "http://gate:3128"}, "http://gate:3128"),
        ({"HTTPS_PROXY": "gate:3128"}, "http://gate:3128"),
        ({"HTTP_PROXY": "http://gate:3128"}, None),
        ({"ALL_PROXY": "http://gate:3128"}, "http://gate:3128"),
        ({"HTTPS_PROXY": "http://mon:p%C3%A4ss@gate:3128"}, "http://mon:p%C3%A4ss@gate:3128"),
    ],
)
def test_the_variable_of_the_url_s_scheme_counts(environ: Mapping[str, str], expected: str | None) -> None:
    assert proxy(environ) == expected


@pytest.mark.parametrize(
    ("excluded", "url", "through"),
    [
        ("example.org", "https://chat.example.org", False),
        (".example.org", "https://chat.example.org", False),
        ("*.example.org", "https://chat.example.org", False),
        ("a.net, CHAT.example.org", "https://chat.example.org", False),
        ("*", "https://chat.example.org", False),
        ("ample.org", "https://chat.example.org", True),
        ("chat.example.org:443", "https://chat.example.org", False),
        ("chat.example.org:8443", "https://chat.example.org", True),
        ("", "https://chat.example.org", True),
        (",", "https://chat.example.org", True),
        ("10.0.0.0/8", "https://10.1.2.3:3000", False),
        ("10.0.0.0/8", "https://11.1.2.3:3000", True),
        ("10.1.2.3", "https://10.1.2.3:3000", False),
        ("10.0.0.0/8", "https://chat.example.org", True),
        ("::1", "https://[::1]:3000", False),
        ("[::1]", "https://[::1]:3000", False),
        ("fd00::/8", "https://[::1]", True),
    ],
)
def test_excluded_hosts_are_reached_directly(excluded: str, url: str, through: bool) -> None:  # noqa: FBT001
    """Domains, addresses and networks, as Kubernetes clusters list them."""
    assert (proxy({"HTTPS_PROXY": "http://gate:3128", "NO_PROXY": excluded}, url=url) is not None) is through


def test_the_variables_are_ignored_unless_asked_for() -> None:
    """Requests with a token must not use a proxy that is not configured for them."""
    assert proxy({"HTTPS_PROXY": "http://gate:3128"}, proxy_from_environment="false") is None
    assert proxy({"HTTPS_PROXY": "http://gate:3128"}, proxy_url="http://own:1") == "http://own:1"


@pytest.mark.parametrize("value", ["socks5://gate:1080", "http://gate:0", "http://gate/path", "gate:s3cret@@/"])
def test_a_value_that_is_no_http_proxy_is_a_mistake(value: str) -> None:
    """The variable is named, and its value, which may hold a password, is not shown."""
    with pytest.raises(ConfigurationError, match="environment variable HTTPS_PROXY: must") as refused:
        proxy({"HTTPS_PROXY": value})
    assert value not in str(refused.value)
