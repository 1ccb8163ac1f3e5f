"""Every client gets a format and an encoding that it accepts, and any header gets a page."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rc_import_exporter.metrics.negotiation import Encoding, Format, choose_encoding, choose_format

TEXT, OPENMETRICS = Format.TEXT, Format.OPENMETRICS

PROMETHEUS_2_42 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_2_30 = "application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
PROMETHEUS_PROTOBUF = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.2"
)
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (PROMETHEUS_2_30, OPENMETRICS),
        (PROMETHEUS_2_42, OPENMETRICS),
        (PROMETHEUS_3, OPENMETRICS),
        (PROMETHEUS_PROTOBUF, TEXT),
        (BROWSER, TEXT),
        ("*/*", TEXT),
        (None, TEXT),
        ("", TEXT),
    ],
)
def test_known_clients_get_the_format_that_they_prefer(accept: str | None, expected: Format) -> None:
    """These headers were sent by real releases of Prometheus, browsers and curl."""
    assert choose_format(accept) is expected


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("application/openmetrics-text;q=0.5,text/plain;q=0.6", TEXT),
        ("application/openmetrics-text;q=0.6,text/plain;q=0.5", OPENMETRICS),
        ("application/openmetrics-text;q=0,text/plain;q=0", TEXT),
        ("application/openmetrics-text;q=0,*/*", TEXT),
        ("text/plain;q=0,*/*;q=0.1", OPENMETRICS),
        (
            "application/openmetrics-text;version=1.0.0;q=0,application/openmetrics-text;version=0.0.1,text/plain;q=0.1",
            TEXT,
        ),
        ("application/openmetrics-text;version=1.0.0;q=0.2,application/openmetrics-text,text/plain;q=0.5", TEXT),
        ("*/*;q=0", TEXT),
        ("Application/OpenMetrics-Text ; Q=0.7 , text/plain ; q=.2", OPENMETRICS),
    ],
)
def test_a_quality_of_the_most_specific_range_decides(accept: str, expected: Format) -> None:
    """A quality of 0 refuses a format, and a wildcard does not overrule a range that names it."""
    assert choose_format(accept) is expected


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("text/plain,application/openmetrics-text", OPENMETRICS),
        ("text/plain;version=0.0.4,application/openmetrics-text;version=1.0.0", OPENMETRICS),
        ("text/plain;version=0.0.4,application/openmetrics-text;version=0.0.1", OPENMETRICS),
        ("text/plain;version=0.0.4,application/openmetrics-text", TEXT),
        ("application/openmetrics-text,text/*", OPENMETRICS),
        ("text/*,*/*", TEXT),
        ("application/*,*/*", OPENMETRICS),
        ("application/*,text/*", TEXT),
    ],
)
def test_between_equals_the_range_that_says_more_wins(accept: str, expected: Format) -> None:
    """OpenMetrics is for clients that name it; a client that sends wildcards may not know it."""
    assert choose_format(accept) is expected


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("application/openmetrics-text", OPENMETRICS),
        ("application/openmetrics-text;version=1.0.0", OPENMETRICS),
        ('application/openmetrics-text; version="1.0.0"; charset=utf-8', OPENMETRICS),
        (r'application/openmetrics-text; version="1\.0.0"', OPENMETRICS),
        ("application/openmetrics-text;version=0.0.1", OPENMETRICS),
        ("application/openmetrics-text;version=2.0.0", TEXT),
        ("application/openmetrics-text;version=1.0.0;q=0.4,text/plain;version=1.0.0;q=0.9", OPENMETRICS),
        ("text/plain;version=latest,application/openmetrics-text;version=one", TEXT),
        ("text/plain;version=", TEXT),
    ],
)
def test_a_version_that_is_not_served_does_not_match(accept: str, expected: Format) -> None:
    """A client that asks for a newer version must not get an older one under its name."""
    assert choose_format(accept) is expected


@pytest.mark.parametrize(
    "accept",
    [
        "application/openmetrics-text;q=2",
        "application/openmetrics-text;q=-1",
        "application/openmetrics-text;q=nan",
        "application/openmetrics-text;q=",
        "application/openmetrics-text;q=1e0",
        "application/openmetrics-text;q=\u0661",
        'text/plain;x="application/openmetrics-text,application/openmetrics-text',
        ",;=,;q=;,",
    ],
)
def test_what_cannot_be_read_counts_for_nothing(accept: str) -> None:
    """A broken header must not stop a scrape."""
    assert choose_format(accept) is TEXT


def test_a_comma_in_quotes_does_not_end_a_range() -> None:
    """The quality after the quoted string still counts."""
    assert choose_format('application/openmetrics-text;a="x,\\";y";q=0.3,text/plain;q=0.2') is OPENMETRICS


@pytest.mark.parametrize(
    ("accept_encoding", "expected"),
    [
        (None, Encoding.IDENTITY),
        ("", Encoding.IDENTITY),
        ("gzip", Encoding.GZIP),
        ("x-gzip", Encoding.GZIP),
        ("GZip;Q=0.001", Encoding.GZIP),
        ("gzip, deflate, br, zstd", Encoding.GZIP),
        ("gzip;q=0.5, x-gzip;q=0", Encoding.GZIP),
        ("deflate, br", Encoding.IDENTITY),
        ("gzip;q=0", Encoding.IDENTITY),
        ("gzip;q=0.000, *", Encoding.IDENTITY),
        ("*", Encoding.GZIP),
        ("*;q=0", Encoding.IDENTITY),
        ("*;q=0, gzip;q=0.1", Encoding.GZIP),
        ("*;q=0.3, gzip;q=0.2", Encoding.IDENTITY),
        ("identity, gzip;q=0.5", Encoding.IDENTITY),
        ("identity;q=0.5, gzip;q=0.5", Encoding.GZIP),
        ("identity;q=0, gzip;q=0", Encoding.IDENTITY),
        ("gzip;q=x", Encoding.IDENTITY),
    ],
)
def test_gzip_is_sent_where_it_is_wanted_no_less_than_identity(accept_encoding: str | None, expected: Encoding) -> None:
    """A proxy that refuses gzip could pass on bytes that its client cannot read."""
    assert choose_encoding(accept_encoding) is expected


headers = st.binary().map(lambda raw: raw.decode(errors="surrogateescape")) | st.text()
fragments = st.lists(
    st.sampled_from(
        [*'*/;,=q"\\ \t', "gzip", "text/plain", "application/openmetrics-text", "version", "1.0.0", "0.5", "identity"]
    )
).map("".join)


@given(headers | fragments)
def test_any_header_is_answered_with_a_choice(header: str) -> None:
    """An exception would turn a scrape into a 500."""
    assert choose_format(header) in Format
    assert choose_encoding(header) in Encoding


@given(st.lists(st.sampled_from([*PROMETHEUS_3.split(","), "text/*", "application/*;q=0.2"]), max_size=6).map(tuple))
def test_the_order_of_ranges_does_not_matter(ranges: tuple[str, ...]) -> None:
    """Clients and proxies write the ranges in any order."""
    assert choose_format(",".join(ranges)) is choose_format(",".join(reversed(ranges)))


@given(headers)
def test_a_refusal_of_gzip_is_kept_whatever_else_is_sent(header: str) -> None:
    """The rest of a header, however broken, must not overrule the refusal."""
    rest = header.lower().replace("gzip", "").replace('"', "")
    assert choose_encoding(f"gzip;q=0,{rest}") is Encoding.IDENTITY
