"""Reads pages of metrics with prometheus-client's own parsers."""

from dataclasses import replace

from prometheus_client import Metric as ParsedFamily
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from rc_import_exporter.core.snapshot import Record, Snapshot
from rc_import_exporter.metrics.negotiation import Format

Sample = tuple[str, frozenset[tuple[str, str]], float]


def families(page: bytes, form: Format) -> list[ParsedFamily]:
    """A page as prometheus-client's own parser reads it."""
    parse = parse_text if form is Format.TEXT else parse_openmetrics
    return list(parse(page.decode()))


def samples(page: bytes, form: Format = Format.TEXT) -> set[Sample]:
    """A page's samples."""
    return {
        (sample.name, frozenset(sample.labels.items()), sample.value)
        for family in families(page, form)
        for sample in family.samples
    }


def workspaces(page: bytes) -> set[str]:
    """The workspaces in a page."""
    return {value for _, labels, _ in samples(page) for name, value in labels if name == "workspace"}


def named(page: bytes, name: str) -> set[Sample]:
    """The samples of one name, without the common prefix."""
    return {sample for sample in samples(page) if sample[0] == f"rocketchat_import_{name}"}


def with_record(snapshot: Snapshot, record: Record) -> Snapshot:
    """The snapshot with one workspace's record replaced."""
    return replace(snapshot, records={**snapshot.records, record.target.name: record})
