"""Reads the JSON of Rocket.Chat's import API. No other module knows what it looks like.

A body that is not the endpoint's JSON raises `BodyError`. In a valid body, a field of the wrong type or size counts as
absent: servers from 1.0 to 8 wrote these documents, and one odd field must not hide the rest or reach a page.
"""

import math
import re
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Annotated, Final, TypeVar, assert_never

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, RootModel, ValidationError

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
GREATEST_COUNT: Final = 2**53
"""The greatest whole number that JavaScript, which writes these bodies, holds exactly."""
GREATEST_INSTANT: Final = 253402300800.0
"""The year 10000 in Unix seconds. ISO 8601 has four digits for a year."""
UNKNOWN_IMPORTER: Final = "unknown"
LONGEST_LIST: Final = 1000
"""The server sends 20 operations. A list of thousands is from something else."""

MOST_IN_PIECES: Final = 64 * 1024
"""Bytes of a list that is read piece by piece. A larger one holds file data, which is full of inner arrays."""

# Half of a character outside of Unicode's first 65,536, as JSON writes it.
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_WORD = re.compile(r"[\w-]{1,64}")
_VERSION = re.compile(r"\d+(\.\d+){0,3}([-+.][0-9A-Za-z.-]+)?", re.ASCII)
_EPOCH_DIGITS = re.compile(r"\d{1,15}", re.ASCII)
_ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)


def _text(value: object) -> str | None:
    fits = isinstance(value, str) and 0 < len(value) <= LONGEST_TEXT and value.isprintable() and "\ufffd" not in value
    return value if isinstance(value, str) and fits else None


def _flag(value: object) -> bool:
    return value is True


def _count(value: object) -> int | None:
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


_Model = TypeVar("_Model", bound=BaseModel)


def _success(value: object) -> bool:
    if value is not True:
        raise ValueError("success is not true")
    return True


_Success = Annotated[bool, BeforeValidator(_success)]


class _Json(BaseModel):
    """A JSON object. Only the fields that are named here are read."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)


_KINDS: Final = tuple(Kind)


class _Counts(_Json):
    total: Annotated[int | None, BeforeValidator(_count)] = None
    completed: Annotated[int | None, BeforeValidator(_count)] = None
    error: Annotated[int | None, BeforeValidator(_count)] = None
    users: Annotated[int | None, BeforeValidator(_count)] = None
    channels: Annotated[int | None, BeforeValidator(_count)] = None
    messages: Annotated[int | None, BeforeValidator(_count)] = None
    contacts: Annotated[int | None, BeforeValidator(_count)] = None

    def value(self) -> Counts:
        staged = {kind: count for kind in _KINDS if (count := getattr(self, kind)) is not None}
        return Counts(total=self.total, completed=self.completed, failed=self.error, staged=MappingProxyType(staged))


def _object(value: object) -> object:
    return value if isinstance(value, dict) else None


class _Operation(_Json):
    id: Annotated[str, Field(alias="_id", min_length=1, max_length=LONGEST_TEXT, pattern=r"^[0-9A-Za-z_-]+$")]
    importer: Annotated[str | None, BeforeValidator(_text), Field(alias="importerKey")] = None
    status: Annotated[str | None, BeforeValidator(_text)] = None
    valid: Annotated[bool, BeforeValidator(_flag)] = False
    ts: object = None  # read twice: its value, and whether it was text
    updated: Annotated[float | None, BeforeValidator(_instant), Field(alias="_updatedAt")] = None
    count: Annotated[_Counts | None, BeforeValidator(_object)] = None

    def value(self) -> Operation:
        return Operation(
            id=self.id,
            importer=self.importer or UNKNOWN_IMPORTER,
            step=_step(self.status),
            valid=self.valid,
            created=_instant(self.ts),
            dated_as_text=isinstance(self.ts, str) and not _EPOCH_DIGITS.fullmatch(self.ts),
            updated=self.updated,
            counts=None if self.count is None else self.count.value(),
        )


class _Status(_Json):
    success: _Success
    state: Annotated[str | None, BeforeValidator(_text)] = None
    operation: _Operation | None = None


class _Wrapped(_Json):
    success: _Success
    operations: Annotated[list[_Operation], Field(max_length=LONGEST_LIST)]


class _Bare(RootModel[Annotated[list[_Operation], Field(max_length=LONGEST_LIST)]]):
    pass


class _Progress(_Json):
    success: _Success
    key: Annotated[str | None, BeforeValidator(_text)] = None
    step: Annotated[str, Field(max_length=LONGEST_TEXT)]
    count: Annotated[_Counts | None, BeforeValidator(_object)] = None


class _Release(_Json):
    version: Annotated[str | None, BeforeValidator(_text)] = None


class _Info(_Release):
    success: _Success
    info: Annotated[_Release | None, BeforeValidator(_object)] = None


class _Error(_Json):
    success: object = None
    status: object = None
    message: object = None
    kind: object = Field(default=None, alias="errorType")


def parse_status(body: bytes) -> StatusAnswer:
    """The answer of `import.status`. The state is unknown if its word is, or if the server leaves the key out.

    The server leaves the key out for a step that it does not know itself.
    """
    status = _validated(_Status, body)
    if status.state == State.NONE:
        return StatusAnswer(state=State.NONE, operation=None)
    if status.operation is None:
        raise BodyError("it has no operation, and its state is not none")
    return StatusAnswer(state=_state(status.state), operation=status.operation.value())


def parse_list(body: bytes, known: dict[bytes, Operation] | None = None) -> ListAnswer:
    """The answer of `getLatestImportOperations`: an array, or the object that one snapshot of 8.3 sent around it.

    `known` holds the operations of this workspace's last list by their JSON, and then those of this one. From poll to
    poll most stay as they were, and reading them again is most of what a poll costs.
    """
    if known is not None and (read := _read_pieces(body, known)) is not None:
        return ListAnswer(operations=read)
    if body.lstrip().startswith(b"{"):
        operations = _validated(_Wrapped, body).operations
    else:
        operations = _validated(_Bare, body).root
    return ListAnswer(operations=tuple(operation.value() for operation in operations))


def _read_pieces(body: bytes, known: dict[bytes, Operation]) -> tuple[Operation, ...] | None:
    """The operations of a small array, each read by itself. `None` if that is not possible.

    An array that is cut between objects is valid if each piece is an object: a cut at another place, in a text or in
    an inner array, leaves pieces that are no JSON.
    """
    if len(body) > MOST_IN_PIECES or not (body.startswith(b"[{") and body.endswith(b"}]")):
        return None
    read: dict[bytes, Operation] = {}
    operations = []
    try:
        for piece in body[2:-2].split(b"},{"):
            operation = known.get(piece) or _validated(_Operation, b"{%b}" % piece).value()
            read[piece] = operation
            operations.append(operation)
    except BodyError:
        return None
    known.clear()
    known.update(read)
    return tuple(operations) if len(operations) <= LONGEST_LIST else None


def parse_progress(body: bytes) -> ProgressAnswer:
    """The answer of `getImportProgress`. It has no id, no dates and no validity."""
    progress = _validated(_Progress, body)
    counts = None if progress.count is None else progress.count.value()
    # Servers before 6.3 always say 0 of 0, whatever they have counted.
    if counts is not None and not counts.total and not counts.processed:
        counts = None
    operation = Operation(
        id="", importer=progress.key or UNKNOWN_IMPORTER, step=_step(progress.step), valid=None, counts=counts
    )
    return ProgressAnswer(operation=operation)


def parse_info(body: bytes) -> InfoAnswer:
    """The answer of `/api/info`. Only with the right permission it holds the whole version, in `info.version`."""
    info = _validated(_Info, body)
    for version in (info.info.version if info.info is not None else None, info.version):
        if version is not None and _VERSION.fullmatch(version):
            return InfoAnswer(version=version)
    raise BodyError("it has no version")


def parse(api: Api, body: bytes, known: dict[bytes, Operation] | None = None) -> Answer:
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
        said = _validated(_Error, body)
    except BodyError:
        return None
    if said.success is not False and not (said.status == "error" and "message" in said.model_fields_set):
        return None
    return said.kind if isinstance(said.kind, str) and _WORD.fullmatch(said.kind) else ""


def _validated(model: type[_Model], body: bytes) -> _Model:
    """The body as this model. pydantic skips all other fields without building them; they can be megabytes."""
    # Old `fileData` holds names that were cut in the middle of an emoji. The half that is left is no JSON for pydantic.
    try:
        return model.model_validate_json(_SURROGATE.sub(rb"\\ufffd", body))
    except ValidationError as error:
        raise BodyError(_where(error)) from None


def _where(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    if first["type"] == "json_invalid":
        return "it is not JSON"
    path = ".".join(str(part) for part in first["loc"]) or "the body"
    return f"{path} has the wrong form"


_STATES: Final[Mapping[str | None, State]] = {str(state): state for state in State}
_STEPS: Final[Mapping[str, Step]] = {str(step): step for step in Step if step is not Step.NONE}


def _state(word: str | None) -> State:
    return _STATES.get(word, State.UNKNOWN)


def _step(status: str | None) -> Step:
    return _STEPS.get((status or "").removeprefix("importer_"), Step.UNKNOWN)
