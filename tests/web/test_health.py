"""Who is waited for before the exporter may be scraped."""

from dataclasses import replace

from rc_import_exporter.core.domain import Api, Reason, Target
from rc_import_exporter.core.snapshot import Record
from rc_import_exporter.web.health import awaited
from tests.support.pictures import NOW, failure, picture, polled, untouched

FRESH = Record(target=Target(name="acme", url="https://x"))


def test_a_workspace_is_awaited_until_its_first_outcome() -> None:
    """Success and failure count alike."""
    failed = polled(FRESH, NOW, failure(Api.STATUS, Reason.CONNECTION), failure(Api.LIST, Reason.CONNECTION))
    assert awaited(picture([FRESH]), ["acme"]) == ["acme"]
    assert awaited(picture([failed]), ["acme"]) == []
    assert awaited(picture([untouched("acme")]), ["acme"]) == []


def test_a_poll_that_died_of_a_fault_is_an_outcome() -> None:
    """A fault of ours must not keep the other workspaces from being scraped."""
    assert awaited(picture([replace(FRESH, polls=1)]), ["acme"]) == []


def test_nobody_waits_for_what_is_configured_no_longer() -> None:
    """Nor for what was not asked for."""
    assert awaited(picture([FRESH]), ["gone"]) == []
