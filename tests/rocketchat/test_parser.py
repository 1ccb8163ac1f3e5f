"""The documents of servers from 1.0 to 8 can be read, and odd values in them are left out."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rc_import_exporter.core.domain import (
    Answer,
    Api,
    Counts,
    InfoAnswer,
    Kind,
    ListAnswer,
    Operation,
    ProgressAnswer,
    State,
    StatusAnswer,
    Step,
)
from rc_import_exporter.errors import BodyError
from rc_import_exporter.rocketchat import parser

AT = datetime(2026, 1, 5, 22, 0, 0, 125_000, UTC).timestamp()
DOCUMENT: Mapping[str, object] = {
    "_id": "6650a1b2c3d4e5f601234567",
    "type": "CSV",
    "importerKey": "csv",
    "ts": "2026-01-05T22:00:00.125Z",
    "_updatedAt": "2026-01-05T22:01:00.125Z",
    "status": "importer_importing_messages",
    "valid": True,
    "user": "Q4gTj8xxsecret",
    "file": "Q4gTj8xxsecret-staff.zip",
    "messagesstatus": "board-room/2026-01-05",
    "count": {"total": 5020, "users": 20, "messages": 5000, "completed": 1500, "error": 2},
}
OPERATION = Operation(
    id="6650a1b2c3d4e5f601234567",
    importer="csv",
    step=Step.IMPORTING_MESSAGES,
    valid=True,
    created=AT,
    dated_as_text=True,
    updated=AT + 60,
    counts=Counts(total=5020, completed=1500, failed=2, staged={Kind.USERS: 20, Kind.MESSAGES: 5000}),
)
ABSENT = object()


def document(**changed: object) -> dict[str, object]:
    """The document with some fields changed, or without those that are `ABSENT`."""
    return {key: value for key, value in {**DOCUMENT, **changed}.items() if value is not ABSENT}


def body(value: object) -> bytes:
    """The value as a body."""
    return json.dumps(value).encode()


def listed(*documents: object) -> tuple[Operation, ...]:
    """The operations in a list of these documents."""
    return parser.parse_list(body(list(documents))).operations


def read(**changed: object) -> Operation:
    """The operation in a document with these fields."""
    (operation,) = listed(document(**changed))
    return operation


def test_a_present_day_document_is_read_whole() -> None:
    """Both feeds send the same document."""
    status = {"state": "importing", "operation": DOCUMENT, "success": True}
    assert parser.parse_status(body(status)) == StatusAnswer(state=State.IMPORTING, operation=OPERATION)
    assert listed(DOCUMENT) == (OPERATION,)


def test_what_is_personal_is_left_behind() -> None:
    """Names of users, files and channels must not reach a label, a log or a page."""
    assert "secret" not in repr(read())
    assert "board-room" not in repr(read())


@pytest.mark.parametrize(
    ("written", "instant", "as_text"),
    [
        (1767650400125, AT, False),
        (1767650400125.0, AT, False),
        ("1767650400125", AT, False),
        ("2026-01-05T22:00:00.125Z", AT, True),
        ("2026-01-05T23:00:00.125+01:00", AT, True),
        ("2026-01-05T22:00:00Z", AT - 0.125, True),
        ("0", 0.0, False),
    ],
)
def test_a_start_is_read_in_every_form_that_servers_wrote(written: object, instant: float, *, as_text: bool) -> None:
    """Servers wrote a number before 6.3 and write ISO 8601 since, and one list can hold both."""
    operation = read(ts=written)
    assert operation.created == instant
    assert operation.dated_as_text is as_text


@pytest.mark.parametrize(
    "written",
    [
        ABSENT,
        None,
        True,
        -1,
        pytest.param(10**400, id="four hundred digits"),
        pytest.param(10**4000, id="four thousand digits"),
        1e300,
        253402300800000,
        "99999999999999999999",
        "",
        "yesterday",
        "2026-13-05T22:00:00Z",
        "2026-01-05T22:00:00",
        "0000-01-05T22:00:00Z",
        "\u0662026-01-05T22:00:00Z",
        [],
        {"$date": 1767650400125},
    ],
)
def test_what_is_no_date_is_as_good_as_absent(written: object) -> None:
    """A wrong date would become a wrong age and a wrong alert."""
    assert read(ts=written).created is None
    assert read(_updatedAt=written).updated is None


@pytest.mark.parametrize("written", [ABSENT, None, False, "true", 1, {}])
def test_only_true_is_valid(written: object) -> None:
    """A missing `valid` means false."""
    assert read(valid=written).valid is False


@pytest.mark.parametrize("written", [ABSENT, None, [], 7, "many"])
def test_counts_that_are_none_are_none(written: object) -> None:
    """The server writes `count` only when it has counted something; 0 would look like an empty import."""
    assert read(count=written).counts is None


@pytest.mark.parametrize("written", [None, True, -1, 1.5, "12", 2**53 + 1, pytest.param(10**400, id="huge"), [1], {}])
@pytest.mark.parametrize("key", ["total", "completed", "error", "users"])
def test_a_count_of_the_wrong_kind_or_size_is_as_good_as_absent(key: str, written: object) -> None:
    """One odd count must not hide the others."""
    counts = read(count={"total": 9, "completed": 9, "error": 9, "users": 9, key: written}).counts
    assert counts is not None
    values = {"total": counts.total, "completed": counts.completed, "error": counts.failed}
    values |= {"users": counts.staged.get(Kind.USERS)}
    assert values == {**dict.fromkeys(values, 9), key: None}


def test_a_whole_number_may_be_written_as_a_fraction() -> None:
    """JavaScript has only one type of number, so `12.0` is 12."""
    assert read(count={"total": 12.0}).counts == Counts(total=12)


@pytest.mark.parametrize("step", [step for step in Step if step not in (Step.NONE, Step.UNKNOWN)])
def test_every_step_is_read(step: Step) -> None:
    """The server writes steps with a prefix."""
    assert read(status=f"importer_{step}").step is step


@pytest.mark.parametrize(
    "written",
    [ABSENT, None, 7, "", "importer_none", "importer_unknown", "importer_polls", "download_complete", "x" * 99],
)
def test_a_step_that_no_release_knows_is_unknown(written: object) -> None:
    """A newer server can have new steps. `none` is our own word and must not come from a server."""
    assert read(status=written).step is Step.UNKNOWN


@pytest.mark.parametrize("written", [ABSENT, None, "", 7, "a\nb", "a\x00b", "\ud800", "x" * 65, ["csv"]])
def test_an_importer_that_no_label_should_hold_is_unknown(written: object) -> None:
    """An importer's key becomes a label, so it must be short printable text."""
    assert read(importerKey=written).importer == "unknown"


@pytest.mark.parametrize("written", [ABSENT, None, "", 7, "a b", "x" * 65, "a\n"])
def test_an_operation_without_an_id_is_none(written: object) -> None:
    """Without an id an operation could be counted twice."""
    with pytest.raises(BodyError):
        listed(document(_id=written))


def test_both_lists_are_read_and_nothing_else() -> None:
    """Releases send an array, and one snapshot of 8.3 sent an object."""
    assert parser.parse_list(b"[]") == ListAnswer(operations=())
    wrapped = {"operations": [DOCUMENT], "success": True}
    assert parser.parse_list(body(wrapped)) == ListAnswer(operations=(OPERATION,))
    for wrong in (
        {"operations": [DOCUMENT]},
        {"operations": [DOCUMENT], "success": False},
        {"operations": {}, "success": True},
        {"success": True},
        {"update": [DOCUMENT], "success": True},
        [DOCUMENT, 7],
        [dict(DOCUMENT)] * 1001,
        7,
        None,
        "[]",
    ):
        with pytest.raises(BodyError):
            parser.parse_list(body(wrong))


@pytest.mark.parametrize("state", [state for state in State if state is not State.NONE])
def test_every_state_is_read(state: State) -> None:
    """The state is a word from the server, and the label has the same."""
    answer = parser.parse_status(body({"state": state, "operation": DOCUMENT, "success": True}))
    assert answer.state is state


@pytest.mark.parametrize("fields", [{}, {"state": "dreaming"}, {"state": 7}, {"state": None}, {"state": "Done"}])
def test_a_state_that_is_missing_or_unheard_of_is_unknown(fields: dict[str, object]) -> None:
    """The key is absent for a step that the server does not know."""
    answer = parser.parse_status(body({**fields, "operation": DOCUMENT, "success": True}))
    assert answer == StatusAnswer(state=State.UNKNOWN, operation=OPERATION)


def test_a_server_that_never_imported_says_none_without_an_operation() -> None:
    """A new workspace is not a failure, but any other state without an operation is."""
    assert parser.parse_status(b'{"state":"none","success":true}') == StatusAnswer(state=State.NONE, operation=None)
    wrong_ones: tuple[object, ...] = (
        {"state": "done", "success": True},
        {"success": True},
        {"state": "none"},
        [],
        {"state": "none", "success": 1},
    )
    for wrong in wrong_ones:
        with pytest.raises(BodyError):
            parser.parse_status(body(wrong))


def test_progress_names_neither_id_nor_validity() -> None:
    """A missing id or validity must not look like a known one."""
    answer = parser.parse_progress(
        body(
            {
                "key": "csv",
                "name": "CSV",
                "step": "importer_importing_users",
                "count": {"completed": 50, "total": 120},
                "success": True,
            }
        )
    )
    assert answer == ProgressAnswer(
        operation=Operation(
            id="",
            importer="csv",
            step=Step.IMPORTING_USERS,
            valid=None,
            counts=Counts(total=120, completed=50),
        )
    )


def test_nought_of_nought_is_no_count() -> None:
    """Servers before 6.3 always say 0 of 0, whatever they have counted."""
    answer = parser.parse_progress(
        body({"key": "csv", "step": "importer_done", "count": {"completed": 0, "total": 0}, "success": True})
    )
    assert answer.operation is not None
    assert answer.operation.counts is None


@pytest.mark.parametrize(
    "wrong", [{"key": "csv", "success": True}, {"step": 7, "success": True}, {"step": "importer_done"}]
)
def test_progress_without_a_step_is_none(wrong: object) -> None:
    """Without a step the body is from something else."""
    with pytest.raises(BodyError):
        parser.parse_progress(body(wrong))


@pytest.mark.parametrize(
    ("fields", "version"),
    [
        ({"version": "6.7"}, "6.7"),
        ({"version": "8.6", "info": {"version": "8.6.1"}}, "8.6.1"),
        ({"version": "8.3.0-develop"}, "8.3.0-develop"),
        ({"version": "0.74.3", "info": 7}, "0.74.3"),
    ],
)
def test_a_version_is_read_as_whole_as_it_is_told(fields: dict[str, object], version: str) -> None:
    """Without the right permission the server leaves out the patch number."""
    assert parser.parse_info(body({**fields, "success": True})) == InfoAnswer(version=version)


@pytest.mark.parametrize("version", [None, 8, "", "latest", "8.6\n", "8" * 65, "\u0668.\u0666"])
def test_what_is_no_version_is_refused(version: object) -> None:
    """The version becomes a label."""
    with pytest.raises(BodyError):
        parser.parse_info(body({"version": version, "success": True}))


@pytest.mark.parametrize("api", Api)
@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"\x00",
        b'{"state":"\xff"}',
        b"<!DOCTYPE html>",
        b'{"success":false}',
        b'{"state":NaN,"success":true}',
        b"[" * 100_000,
        b"1" * 5000,
    ],
)
def test_what_is_not_the_endpoint_s_json_is_refused(api: Api, raw: bytes) -> None:
    """The caller handles one exception; any other would count as a bug."""
    with pytest.raises(BodyError):
        parser.parse(api, raw)


def test_an_error_quotes_nothing_of_the_body() -> None:
    """A body can hold names and e-mail addresses."""
    with pytest.raises(BodyError) as refused:
        listed(document(_id="jane.doe@example.org"))
    assert "jane" not in str(refused.value)


def test_names_cut_in_the_middle_of_a_character_do_no_harm() -> None:
    """Old `fileData` holds names cut in the middle of an emoji, and must not make the whole list unreadable."""
    raw = b'[{"_id":"a1","fileData":{"users":[{"name":"\\ud83d"}]},"ts":1767650400125,"valid":true}]'
    assert parser.parse_list(raw).operations[0].created == AT


def within(values: bytes) -> bytes:
    """A list of one operation that holds these values beside its own."""
    return b'[{"_id":"a1","fileData":[' + values + b"0]}]"


@pytest.mark.parametrize(
    ("fits", "too_many"),
    [
        (within(b"[0]," * 199_996), within(b"[0]," * 199_998)),
        (within(b'{"a":0},' * 199_996), within(b'{"a":0},' * 199_998)),
        (within(b"0," * 999_990), within(b"0," * 1_000_000)),
        (within(b"[0,0,0,0,0]," * 199_000), within(b"[0,0,0,0,0,0]," * 199_000)),
    ],
    ids=["arrays", "objects", "numbers", "both"],
)
def test_a_body_may_have_more_structure_than_any_real_one_but_not_without_end(fits: bytes, too_many: bytes) -> None:
    """A small body can hold millions of arrays, and a parser that builds them needs a gigabyte."""
    assert parser.parse_list(fits).operations[0].id == "a1"
    with pytest.raises(BodyError, match="too many values"):
        parser.parse_list(too_many)
    assert parser.error_of(b'{"success":false,"x":' + too_many + b"}") is None


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ({"success": False, "error": "x [error-unauthorized]"}, ""),
        ({"status": "error", "message": "You must be logged in to do this."}, ""),
        ({"success": False, "errorType": "not_authorized"}, "not_authorized"),
        ({"success": False, "errorType": "<script>"}, ""),
        ({"success": False, "errorType": 7}, ""),
        ({"success": True}, None),
        ({"status": "error"}, None),
        ({"error": "access_denied"}, None),
        ([], None),
    ],
)
def test_rocket_chat_s_errors_are_told_from_a_stranger_s(content: object, error: str | None) -> None:
    """A proxy's 401 says nothing about the token, so it must be known who wrote the error."""
    assert parser.error_of(body(content)) == error


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=70) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
fields = st.dictionaries(st.sampled_from([*DOCUMENT, "state", "operation", "success", "step", "key"]), json_values)


@given(api=st.sampled_from(Api), changes=fields, counts=fields)
def test_whatever_the_fields_hold_an_answer_or_one_exception_comes_back(
    api: Api, changes: dict[str, object], counts: dict[str, object]
) -> None:
    """No field, however odd, may cause another exception or a number out of bounds."""
    inner = {**DOCUMENT, "count": counts, **changes}
    content = [inner] if api is Api.LIST else {"success": True, "state": "new", "operation": inner, **changes}
    try:
        answer = parser.parse(api, json.dumps(content).encode())
    except BodyError:
        return
    for operation in operations_of(answer):
        assert len(operation.id) <= 64
        assert len(operation.importer) <= 64
        assert all(at is None or 0 <= at < 253402300800 for at in (operation.created, operation.updated))


def operations_of(answer: Answer) -> tuple[Operation, ...]:
    """The operations of an answer."""
    match answer:
        case ListAnswer(operations=operations):
            return operations
        case StatusAnswer(operation=Operation() as operation) | ProgressAnswer(operation=Operation() as operation):
            return (operation,)
        case _:
            return ()


def test_a_body_is_utf_8() -> None:
    """JSON over HTTP is UTF-8, and another encoding is a sign of another server."""
    with pytest.raises(BodyError):
        parser.parse_list("[]".encode("utf-16"))


compact = st.lists(
    st.builds(lambda changes, counts: {**DOCUMENT, "count": counts, **changes}, fields, fields), max_size=4
)
broken = st.sampled_from([b"},{", b'"', b"]", b"[", b"{", b"}", b",", b"\\", b"\\ud83d", b"\xff", b" ", b"0"])


def outcome_of(raw: bytes, known: dict[int, Operation] | None = None) -> ListAnswer | str:
    """The answer, or the message."""
    try:
        return parser.parse_list(raw, known)
    except BodyError as error:
        return str(error)


@given(documents=compact, later=compact, piece=broken, at=st.integers(0, 400))
def test_what_is_known_of_the_last_list_changes_no_answer(
    documents: list[object], later: list[object], piece: bytes, at: int
) -> None:
    """A list is cut into its objects, and a cut inside of a text or an inner array must not be taken for one."""
    known: dict[int, Operation] = {}
    for content in (documents, documents + later, later + documents):
        raw = json.dumps(content, separators=(",", ":")).encode()
        assert outcome_of(raw, known) == outcome_of(raw)
        hurt = raw[:at] + piece + raw[at:]
        assert outcome_of(hurt, known) == outcome_of(hurt)


@pytest.mark.parametrize("text", ["a},{b", '"},{"', "\\},{"])
def test_a_text_with_braces_is_not_cut(text: str) -> None:
    """Old documents hold names that people wrote."""
    raw = json.dumps([document(file=text), document(_id="x", file=text)], separators=(",", ":")).encode()
    assert [each.id for each in parser.parse_list(raw, {}).operations] == [DOCUMENT["_id"], "x"]


def test_only_the_operations_of_the_last_list_are_kept() -> None:
    """The memory must not grow with every version of an operation."""
    known: dict[int, Operation] = {}
    for completed in range(10):
        content = [document(count={"completed": completed}), document(_id="old")]
        answer = parser.parse_list(json.dumps(content, separators=(",", ":")).encode(), known)
        assert tuple(known.values()) == answer.operations
