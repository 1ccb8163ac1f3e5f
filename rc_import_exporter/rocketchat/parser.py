"""Reads the JSON of Rocket.Chat's import API. No other module knows what it looks like.

A body that is not the endpoint's JSON raises `BodyError`. In a valid body, a field of the wrong type or size counts as
absent: servers from 1.0 to 8 wrote these documents, and one odd field must not hide the rest or reach a page.
"""

import math
import re
from collections.abc import Mapping
from datetime import datetime
from sys import intern
from types import MappingProxyType
from typing import Annotated, Final, TypeVar, assert_never

import msgspec
from msgspec import Meta, Raw, Struct, field

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

LONGEST_TEXT: Final = 64
"""Characters of an id, an importer's key or a version. The server's own have 24 at most."""
LONGEST_SCALAR: Final = 512
"""Bytes of a JSON text or number. 64 characters have 386 bytes at most, if each is written as an escape."""
GREATEST_COUNT: Final = 2**53
"""The greatest whole number that JavaScript, which writes these bodies, holds exactly."""
GREATEST_INSTANT: Final = 253402300800.0
"""The year 10000 in Unix seconds. ISO 8601 has four digits for a year."""
UNKNOWN_IMPORTER: Final = "unknown"
LONGEST_LIST: Final = 1000
"""The server sends 20 operations. A list of thousands is from something else."""
MOST_BRACKETS: Final = 200_000
MOST_COMMAS: Final = 1_000_000
"""A real list of 8 MB, full of old `fileData`, has about 53,000 objects and 430,000 commas and colons."""
MOST_HALVES: Final = 100_000
"""Halves of characters that are replaced. A list has a few, if any."""

LARGEST_CUT_LIST: Final = 64 * 1024
"""Bytes of a list that is read piece by piece. A larger one holds file data, which is full of inner arrays."""

_STRUCTURE: Final = b"[{,"
_NO_STRUCTURE: Final = bytes(set(range(256)) - set(_STRUCTURE))
_ABSENT: Final = Raw()
_WORD = re.compile(r"[\w-]{1,64}")
_VERSION = re.compile(r"\d+(\.\d+){0,3}([-+.][0-9A-Za-z.-]+)?", re.ASCII)
_EPOCH_DIGITS = re.compile(r"\d{1,15}", re.ASCII)
_ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)
_PATH = re.compile(r"`\$\.?([^`]*)`$")
"""The place of a mistake at the end of a message of msgspec."""


def _head(raw: Raw) -> bytes:
    return bytes(memoryview(raw)[:8])


def _scalar(raw: Raw) -> object:
    """The text, number or word in this JSON. `None` if it is longer than any that is of use, an array or an object."""
    if len(raw) > LONGEST_SCALAR or _head(raw)[:1] in (b"", b"[", b"{"):
        return None
    try:
        value: object = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):  # a number beyond 64 bits, or bytes that are no UTF-8
        return None
    return value


def _text(raw: Raw) -> str | None:
    value = _scalar(raw)
    fits = isinstance(value, str) and 0 < len(value) <= LONGEST_TEXT and value.isprintable() and "\ufffd" not in value
    return value if isinstance(value, str) and fits else None


def _count(raw: Raw) -> int | None:
    value = _scalar(raw)
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= GREATEST_COUNT else None


def _instant(value: object) -> float | None:
    """Unix seconds of a date in ISO 8601 or in epoch milliseconds.

    Servers write ISO 8601 since 6.3 and wrote a number before. One list can hold both, and digits can be in a string.
    """
    if isinstance(value, str) and not _EPOCH_DIGITS.fullmatch(value):
        instant = _from_iso(value)
    elif isinstance(value, int | float | str) and not isinstance(value, bool):
        instant = _from_milliseconds(float(value) if isinstance(value, str) else value)
    else:
        instant = None
    return instant if instant is not None and 0 <= instant < GREATEST_INSTANT else None


def _from_milliseconds(value: float) -> float | None:
    # A JSON number can have hundreds of digits, and Python cannot divide an integer that large by 1000.
    return value / 1000 if -GREATEST_COUNT < value < GREATEST_COUNT else None


def _from_iso(text: str) -> float | None:
    if not _ISO.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return None


class _Json(Struct, frozen=True, gc=False):
    """A JSON object. Only the fields that are named here are read.

    msgspec skips all other fields without building them; they can be megabytes. A field of type `Raw` holds its JSON.
    """


class _Counts(_Json, frozen=True, gc=False):
    total: Raw = _ABSENT
    completed: Raw = _ABSENT
    error: Raw = _ABSENT
    users: Raw = _ABSENT
    channels: Raw = _ABSENT
    messages: Raw = _ABSENT
    contacts: Raw = _ABSENT


def _counts(raw: Raw) -> Counts | None:
    if not _head(raw).startswith(b"{"):
        return None
    read = msgspec.json.decode(raw, type=_Counts)
    staged = {kind: count for kind in Kind if (count := _count(getattr(read, kind))) is not None}
    return Counts(
        total=_count(read.total),
        completed=_count(read.completed),
        failed=_count(read.error),
        staged=MappingProxyType(staged),
    )


class _Operation(_Json, frozen=True, gc=False):
    id: Annotated[str, Meta(min_length=1, max_length=LONGEST_TEXT, pattern=r"\A[0-9A-Za-z_-]+\Z")] = field(name="_id")
    importer: Raw = field(name="importerKey", default=_ABSENT)
    status: Raw = _ABSENT
    valid: Raw = _ABSENT
    ts: Raw = _ABSENT
    updated: Raw = field(name="_updatedAt", default=_ABSENT)
    count: Raw = _ABSENT

    def value(self) -> Operation:
        created = _scalar(self.ts)
        return Operation(
            id=self.id,
            importer=intern(_text(self.importer) or UNKNOWN_IMPORTER),
            step=_step(_text(self.status)),
            valid=_is_true(self.valid),
            created=_instant(created),
            dated_as_text=isinstance(created, str) and not _EPOCH_DIGITS.fullmatch(created),
            updated=_instant(_scalar(self.updated)),
            counts=_counts(self.count),
        )


def _is_true(raw: Raw) -> bool:
    return _head(raw) == b"true"


class _Answer(_Json, frozen=True, gc=False):
    success: Raw = _ABSENT


class _Status(_Answer, frozen=True, gc=False):
    state: Raw = _ABSENT
    operation: _Operation | None = None


class _Anything(_Json, frozen=True, gc=False):
    """Any object. A list of them costs little memory."""


class _Counted(_Json, frozen=True, gc=False):
    operations: list[_Anything]


class _Wrapped(_Answer, frozen=True, gc=False, kw_only=True):
    operations: list[_Operation]


class _Progress(_Answer, frozen=True, gc=False, kw_only=True):
    step: Annotated[str, Meta(max_length=LONGEST_TEXT)]
    key: Raw = _ABSENT
    count: Raw = _ABSENT


class _Info(_Answer, frozen=True, gc=False):
    version: Raw = _ABSENT
    info: Raw = _ABSENT


class _Error(_Answer, frozen=True, gc=False):
    status: Raw = _ABSENT
    message: Raw = _ABSENT
    kind: Raw = field(name="errorType", default=_ABSENT)


_Model = TypeVar("_Model")
_Success = TypeVar("_Success", bound=_Answer)


def parse_status(body: bytes) -> StatusAnswer:
    """The answer of `import.status`. The state is unknown if its word is, or if the server leaves the key out.

    The server leaves the key out for a step that it does not know itself.
    """
    status = _successful(_Status, _checked(body))
    state = _text(status.state)
    if state == State.NONE:
        return StatusAnswer(state=State.NONE, operation=None)
    if status.operation is None:
        raise BodyError("it has no operation, and its state is not none")
    return StatusAnswer(state=_state(state), operation=status.operation.value())


def parse_list(body: bytes, known: dict[int, Operation] | None = None) -> ListAnswer:
    """The answer of `getLatestImportOperations`: an array, or the object that one snapshot of 8.3 sent around it.

    `known` holds the operations of this workspace's last list by the hash of their JSON, and then those of this one.
    From poll to poll most stay as they were, and reading them again is most of what a poll costs.
    """
    if known is not None and (read := _read_pieces(body, known)) is not None:
        return ListAnswer(operations=read)
    checked = _checked(body)
    if checked.lstrip().startswith(b"{"):
        _check_length(_decoded(_Counted, checked).operations)
        operations = _successful(_Wrapped, checked).operations
    else:
        _check_length(_decoded(list[_Anything], checked))
        operations = _decoded(list[_Operation], checked)
    return ListAnswer(operations=tuple(operation.value() for operation in operations))


def _read_pieces(body: bytes, known: dict[int, Operation]) -> tuple[Operation, ...] | None:
    """The operations of a small array, each read by itself. `None` if that is not possible.

    An array that is cut between objects is valid if each piece is an object: a cut at another place, in a text or in
    an inner array, leaves pieces that are no JSON.
    """
    if len(body) > LARGEST_CUT_LIST or not (body.startswith(b"[{") and body.endswith(b"}]")):
        return None
    read: dict[int, Operation] = {}
    operations = []
    try:
        for piece in body[2:-2].split(b"},{"):
            # The JSON itself would take more memory than the operation. A server that finds two texts with the same 64
            # bits could confuse only its own operations.
            key = hash(piece)
            operation = known.get(key) or _decoded(_Operation, _checked(b"{%b}" % piece)).value()
            read[key] = operation
            operations.append(operation)
    except BodyError:
        return None
    known.clear()
    known.update(read)
    return tuple(operations) if len(operations) <= LONGEST_LIST else None


def _check_length(operations: list[_Anything]) -> None:
    if len(operations) > LONGEST_LIST:
        raise BodyError(f"it has more than {LONGEST_LIST} operations")


def parse_progress(body: bytes) -> ProgressAnswer:
    """The answer of `getImportProgress`. It has no id, no dates and no validity."""
    progress = _successful(_Progress, _checked(body))
    counts = _counts(progress.count)
    # Servers before 6.3 always say 0 of 0, whatever they have counted.
    if counts is not None and not counts.total and not counts.processed:
        counts = None
    operation = Operation(
        id="",
        importer=_text(progress.key) or UNKNOWN_IMPORTER,
        step=_step(progress.step),
        valid=None,
        counts=counts,
    )
    return ProgressAnswer(operation=operation)


def parse_info(body: bytes) -> InfoAnswer:
    """The answer of `/api/info`. Only with the right permission it holds the whole version, in `info.version`."""
    info = _successful(_Info, _checked(body))
    detailed = msgspec.json.decode(info.info, type=_Info).version if _head(info.info).startswith(b"{") else _ABSENT
    for version in (_text(detailed), _text(info.version)):
        if version is not None and _VERSION.fullmatch(version):
            return InfoAnswer(version=version)
    raise BodyError("it has no version")


def parse(api: Api, body: bytes, known: dict[int, Operation] | None = None) -> Answer:
    """The answer of an endpoint. Raises `BodyError` if the body is not that endpoint's JSON.

    For `known`, see `parse_list`.
    """
    match api:
        case Api.STATUS:
            return parse_status(body)
        case Api.LIST:
            return parse_list(body, known)
        case Api.PROGRESS:
            return parse_progress(body)
        case Api.INFO:
            return parse_info(body)
    assert_never(api)


def error_of(body: bytes) -> str | None:
    """`errorType` from the body of an error, "" without one. `None` if the body is not from Rocket.Chat.

    Rocket.Chat writes `{"success": false, …}` and, up to about 7.2, `{"status": "error", "message": …}`. All other text
    is left out, because it can hold anything.
    """
    try:
        said = _decoded(_Error, _checked(body))
    except BodyError:
        return None
    if _scalar(said.success) is not False and not (_text(said.status) == "error" and len(said.message)):
        return None
    kind = _scalar(said.kind)
    return kind if isinstance(kind, str) and _WORD.fullmatch(kind) else ""


def _checked(body: bytes) -> bytes:
    """The body as msgspec can read it. Raises `BodyError` if it has more structure than any real answer.

    A small body can hold millions of arrays. Counting takes less time than parsing, and no memory.
    """
    structure = body.translate(None, delete=_NO_STRUCTURE)
    commas = structure.count(b",")
    if commas > MOST_COMMAS or len(structure) - commas > MOST_BRACKETS:
        raise BodyError("it has too many values")
    # Old `fileData` holds names that were cut in the middle of an emoji. The half that is left is no JSON for msgspec.
    # Unicode has no characters from U+E000 on: no text with one is printable, so none is used.
    return body.replace(b"\\ud", b"\\ue", MOST_HALVES).replace(b"\\uD", b"\\ue", MOST_HALVES)


def _decoded(model: type[_Model], body: bytes) -> _Model:
    try:
        return msgspec.json.decode(body, type=model)
    except msgspec.ValidationError as error:
        raise BodyError(_where(error)) from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise BodyError("it is not JSON") from None


def _successful(model: type[_Success], body: bytes) -> _Success:
    decoded = _decoded(model, body)
    if not _is_true(decoded.success):
        raise BodyError("success has the wrong form")
    return decoded


def _where(error: msgspec.ValidationError) -> str:
    found = _PATH.search(str(error))
    return f"{(found and found[1]) or 'the body'} has the wrong form"


_STATES: Final[Mapping[str | None, State]] = {str(state): state for state in State}
_STEPS: Final[Mapping[str, Step]] = {str(step): step for step in Step if step is not Step.NONE}


def _state(word: str | None) -> State:
    return _STATES.get(word, State.UNKNOWN)


def _step(status: str | None) -> Step:
    return _STEPS.get((status or "").removeprefix("importer_"), Step.UNKNOWN)
