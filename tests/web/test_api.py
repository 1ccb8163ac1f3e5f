"""The JSON API follows its schema, whatever a server sends, and says what the page says."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Final

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from rc_import_exporter.core.domain import Counts, Kind, Operation, Reason, Step
from rc_import_exporter.core.snapshot import Record
from rc_import_exporter.turns import all_taken
from rc_import_exporter.web import api, view
from tests.support.gallery import LATER, crowd, gallery, importing, refused, showing, told, workspace
from tests.support.pictures import NOW, finished, lost, picture, running, untouched

GOLDEN: Final = Path(__file__).parents[1] / "golden" / "workspaces.json"
WORDED: Final = {"title", "sentence", "source_note", "text", "detail", "advice"}
SCHEMA: Final = json.loads(api.schema())
VALIDATOR: Final = Draft202012Validator(SCHEMA, format_checker=Draft202012Validator.FORMAT_CHECKER)

counts = st.integers(0, 10**9) | st.none()
instants = st.floats(allow_nan=False, allow_infinity=False) | st.floats(0, 2e9) | st.none()
operations = st.builds(
    Operation,
    id=st.text(min_size=1, max_size=24),
    importer=st.text(max_size=24),
    step=st.sampled_from(Step),
    valid=st.booleans(),
    created=instants,
    updated=instants,
    dated_as_text=st.booleans(),
    counts=st.none()
    | st.builds(
        Counts,
        total=counts,
        completed=counts,
        failed=counts,
        staged=st.dictionaries(st.sampled_from(Kind), st.integers(0, 10**9)),
    ),
)


async def ask(url: str) -> tuple[int, object]:
    """The status and the JSON of an answer."""
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        assert response.content_type == "application/json"
        return response.status, await response.json()


def member(value: object, *path: str | int) -> object:
    """The part of a JSON value at this path."""
    for key in path:
        if isinstance(value, Mapping) and isinstance(key, str):
            value = value[key]
        else:
            assert isinstance(value, list)
            assert isinstance(key, int)
            value = value[key]
    return value


def test_the_schema_is_one_and_describes_every_field() -> None:
    """People write scripts from it. It must also refuse unknown keys."""
    Draft202012Validator.check_schema(SCHEMA)
    for name, definition in SCHEMA["$defs"].items():
        assert definition["description"], name
        if "enum" in definition:
            continue
        undescribed = [field for field, value in definition["properties"].items() if "description" not in value]
        assert undescribed == [], name
        assert definition["additionalProperties"] is False, name


async def test_every_kind_of_workspace_answers_by_the_schema() -> None:
    """Only the answer for one workspace has earlier operations."""
    async with showing(gallery()) as shown:
        status, everything = await ask(f"{shown.url}/api/v1/workspaces")
        assert status == 200
        VALIDATOR.validate(everything)
        assert member(everything, "total") == len(shown.snapshot.records)
        for name in shown.snapshot.records:
            status, one = await ask(f"{shown.url}/api/v1/workspaces/{name}")
            assert status == 200
            VALIDATOR.validate(one)
            assert member(one, "name") == name
            assert isinstance(member(one, "earlier_operations"), list)


def test_the_json_stays_as_it_was() -> None:
    """Scripts read it. A changed key or type breaks them. Only sentences may change."""
    golden = json.loads(GOLDEN.read_text())
    seen = view.overview(gallery(), LATER)
    everything = json.loads(b"".join(map(bytes, all_taken(api.overview_steps(seen)))))
    assert wordless({**everything, "workspaces": [each["name"] for each in everything["workspaces"]]}) == golden["all"]
    for name, one in golden["workspaces"].items():
        assert wordless(json.loads(api.workspace_json(view.details(gallery().records[name], LATER)))) == one


def wordless(value: object) -> object:
    """The value without its sentences."""
    if isinstance(value, Mapping):
        return {key: bool(inner) if key in WORDED else wordless(inner) for key, inner in value.items()}
    return [wordless(each) for each in value] if isinstance(value, list) else value


async def test_the_schema_is_published() -> None:
    """People find it next to the API."""
    async with (
        showing(picture([])) as shown,
        aiohttp.ClientSession() as session,
        session.get(f"{shown.url}/api/v1/workspaces.schema.json") as response,
    ):
        assert response.content_type == "application/schema+json"
        assert json.loads(await response.text()) == SCHEMA


@given(st.lists(operations, min_size=1, max_size=4, unique_by=lambda each: each.id), st.floats(0, 4e9))
def test_whatever_a_server_sends_is_shown(seen: list[Operation], now: float) -> None:
    """Counts and dates of any size must give valid JSON, which has no NaN."""
    record = told(told(workspace("acme"), 15.0, *reversed(seen)), 0.0, *seen)
    body = api.workspace_json(view.details(record, now))
    VALIDATOR.validate(json.loads(body))


async def test_a_running_import_has_its_counts() -> None:
    """These are the fields that scripts read."""
    async with showing(picture([running("acme")])) as shown:
        _, one = await ask(f"{shown.url}/api/v1/workspaces/acme")
    assert [member(one, name) for name in ("up", "state", "step", "outcome", "restart_safe")] == [
        True,
        "importing",
        "importing_messages",
        "running",
        False,
    ]
    assert member(one, "operation", "records") == {
        "total": 5020,
        "completed": 1500,
        "failed": 2,
        "staged": {"users": 20, "channels": 8, "messages": 4992, "contacts": 0},
    }
    created = member(one, "operation", "created")
    assert isinstance(created, str)
    assert datetime.fromisoformat(created).timestamp() == pytest.approx(NOW - 2_520.25)


async def test_an_unknown_state_is_null() -> None:
    """A script must not take an old state for the current one."""
    async with showing(picture([running("acme")])) as shown:
        shown.now = NOW + 3_600.0
        _, one = await ask(f"{shown.url}/api/v1/workspaces/acme")
    told_now = [member(one, name) for name in ("state", "step", "outcome", "source", "operation")]
    assert told_now == [None] * 5
    assert member(one, "last_known", "outcome") == "running"
    assert member(one, "up") is False


@pytest.mark.parametrize(
    ("records", "safe"),
    [
        ([untouched("acme"), finished("beta")], True),
        ([untouched("acme"), workspace("beta")], None),
        ([untouched("acme"), refused(finished("beta"), 0.0, Reason.CONNECTION, None)], None),
        ([untouched("acme"), told(workspace("beta"), 0.0, importing(10, 5.0, step=Step.UNKNOWN))], None),
        ([running("acme"), workspace("beta")], False),
        ([untouched("acme"), lost("beta"), workspace("new")], False),
    ],
    ids=["at rest", "not polled yet", "down", "unknown step", "running", "lost while running"],
)
async def test_a_restart_of_all_is_safe_only_where_it_is_for_each(records: list[Record], *, safe: bool | None) -> None:
    """`jq -e` passes only on true: an unknown state must not allow a restart."""
    async with showing(picture(records)) as shown:
        _, body = await ask(f"{shown.url}/api/v1/workspaces")
        _, searched = await ask(f"{shown.url}/api/v1/workspaces?q=acme")
    VALIDATOR.validate(body)
    assert member(body, "restart_safe") is safe
    assert member(searched, "restart_safe") is safe
    each = [member(body, "workspaces", index, "restart_safe") for index in range(len(records))]
    assert safe is (False if False in each else None if None in each else True)


async def test_an_unknown_workspace_is_404_in_json() -> None:
    """A script cannot read a page."""
    async with showing(gallery()) as shown:
        status, body = await ask(f"{shown.url}/api/v1/workspaces/%3Cb%3E")
    assert (status, body) == (404, {"error": "no workspace is called '<b>'"})


async def test_a_search_narrows_the_list_and_not_the_summary() -> None:
    """Whether a restart is safe must not depend on a search."""
    async with showing(crowd(30)) as shown:
        _, body = await ask(f"{shown.url}/api/v1/workspaces?q=region%3Deu&level=critical")
    workspaces = member(body, "workspaces")
    assert isinstance(workspaces, list)
    assert {(each["labels"]["region"], each["level"]) for each in workspaces} <= {("eu", "critical")}
    assert member(body, "total") == 30
    assert member(body, "restart_safe") is False


async def test_failures_are_told_with_advice() -> None:
    """A chat bot can then say the same as the page."""
    record = refused(workspace("acme"), 0.0, Reason.UNAUTHORIZED, 401)
    async with showing(picture([record])) as shown:
        _, one = await ask(f"{shown.url}/api/v1/workspaces/acme")
    assert member(one, "problems", 0, "reason") == "unauthorized"
    assert member(one, "problems", 0, "advice")
    assert member(one, "alerts") == ["CredentialsRefused"]


async def test_answers_are_at_most_a_second_old() -> None:
    """Within a second many readers cost as much as one."""
    async with showing(picture([running("acme"), workspace("beta")])) as shown:
        url = f"{shown.url}/api/v1/workspaces"
        _, first = await ask(url)
        records = {**shown.snapshot.records, "beta": refused(workspace("beta"), 0.0, Reason.TIMEOUT, None)}
        shown.snapshot = replace(shown.snapshot, records=records)
        shown.now = LATER + 1.0
        _, later = await ask(url)
    assert member(first, "levels", "waiting") == 1
    assert (member(later, "levels", "waiting"), member(later, "levels", "warning")) == (0, 2)
