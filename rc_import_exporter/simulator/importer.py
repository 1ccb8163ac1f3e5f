"""How Rocket.Chat's import service behaves: its documents, counts and states.

Loading and running an import is a series of writes, each at a share of the whole time. All times are seconds since the
story began, negative before it. They become dates when a document is rendered.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from types import MappingProxyType
from typing import Final

Version = tuple[int, ...]

NOTHING: Final[Mapping[str, object]] = MappingProxyType({})
ABSENT: Final = object()
"""A value in `Document.amended` that removes the field."""

IMPORTERS: Final = MappingProxyType(
    {
        "api": "API",
        "csv": "CSV",
        "slack": "Slack",
        "slack-users": "Slack Users",
        "pending-files": "Pending Files",
        "pending-avatars": "Pending Avatars",
        "omnichannel_contact": "Omnichannel Contacts",
        "hipchatenterprise": "HipChat Enterprise",
    }
)
FILE_FETCHERS: Final = frozenset({"pending-files", "pending-avatars"})
LISTED: Final = 20
"""Operations that `getLatestImportOperations` returns."""

KINDS: Final = ("users", "channels", "messages", "contacts")
FILES: Final = "files"
"""Counted only in the total: no server writes a number of files."""

_STATES: Final = MappingProxyType(
    {"new": "new", "user_selection": "ready", "done": "done", "import_failed": "error", "import_cancelled": "canceled"}
    | dict.fromkeys(("uploading", "downloading_file", "file_loaded", "preparing_started"), "loading")
    | dict.fromkeys((f"preparing_{kind}" for kind in KINDS), "loading")
    | dict.fromkeys((f"importing_{kind}" for kind in (*KINDS, FILES, "started")), "importing")
    | {"finishing": "importing"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One operation as the database holds it.

    `number` counts a workspace's operations. An `old` document was created before 6.3, so its `ts` is a number.
    `counts` holds the keys that were written so far. The fields in `amended` replace the document's own.
    """

    number: int
    importer: str
    status: str
    created: float
    updated: float
    valid: bool = True
    old: bool = False
    counts: Mapping[str, int] | None = None
    extra: Mapping[str, object] = field(default_factory=lambda: NOTHING)
    amended: Mapping[str, object] = field(default_factory=lambda: NOTHING)

    @property
    def step(self) -> str:
        """The status without its prefix."""
        return self.status.removeprefix("importer_")

    @property
    def importing(self) -> bool:
        """Whether its step is one of those that import."""
        return _STATES.get(self.step) == "importing"

    def count(self, key: str) -> int:
        """A number in `count`, 0 if it was never written."""
        return (self.counts or {}).get(key, 0)

    def id(self, started: float) -> str:
        """Since 6.3 like MongoDB's: the second of creation, then other digits. Before, 17 characters."""
        digest = sha256(f"{self.importer} {self.number} {started:.3f}".encode()).hexdigest()
        return digest[:17] if self.old else f"{int(started + self.created):08x}{digest[:16]}"


def invalidated(document: Document, now: float) -> Document:
    """The document after it was made invalid. The server does not write documents that are already invalid."""
    return replace(document, valid=False, updated=now) if document.valid else document


def restarted(documents: tuple[Document, ...], now: float) -> tuple[Document, ...]:
    """The documents after a server started. Only the newest import stays valid, and only if it waits for its start."""
    newest = newest_of(documents)
    kept = newest if newest is not None and newest.valid and newest.step == "user_selection" else None
    return tuple(document if document is kept else invalidated(document, now) for document in documents)


def newest_of(documents: tuple[Document, ...]) -> Document | None:
    """The operation with the greatest `ts`, which `import.status` reports."""
    return max(documents, key=lambda document: document.created, default=None)


def listed_of(documents: tuple[Document, ...]) -> tuple[Document, ...]:
    """The operations last written to, the latest first. Those of the same moment are in the order of creation."""
    return tuple(sorted(documents, key=lambda document: document.updated, reverse=True)[:LISTED])


def state_of(document: Document) -> str | None:
    """The state in `import.status`. `None` for a step that it does not know: then it leaves the key out."""
    if not document.valid and document.step != "done":
        return "error"
    return _STATES.get(document.step)


def iso_date(instant: float) -> str:
    """Unix seconds as a date like the server's, with milliseconds and `Z`."""
    written = datetime.fromtimestamp(round(instant, 3), UTC).isoformat(timespec="milliseconds")
    return written.replace("+00:00", "Z")


def rendered(document: Document, started: float) -> dict[str, object]:
    """The document as both feeds send it. `started` is when the story began, in Unix seconds."""
    created = started + document.created
    shown: dict[str, object] = {
        "_id": document.id(started),
        "type": "api" if document.importer == "api" else IMPORTERS.get(document.importer, document.importer),
        "importerKey": document.importer,
        "ts": round(created * 1000) if document.old else iso_date(created),
        "status": document.status,
        "valid": document.valid,
        "user": "U1",
        "_updatedAt": iso_date(started + document.updated),
    }
    shown |= document.extra
    if document.counts is not None:
        shown["count"] = dict(document.counts)
    shown |= document.amended
    return {key: value for key, value in shown.items() if value is not ABSENT}


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One write to an operation's document. `share` says when, from 0 for the start to 1 for the end."""

    share: float
    step: str
    counts: Mapping[str, int] | None
    extra: Mapping[str, object] = field(default_factory=lambda: NOTHING)


def loading(importer: str, staged: Mapping[str, int], *, batches: int, from_url: bool) -> Iterator[Write]:
    """The writes from the upload, or from the first call of an API import, until the import is ready."""
    total = sum(staged.values())
    if importer == "api":
        for batch in range(1, batches + 1):
            users = total * batch // batches
            yield Write(share=(batch - 1) / batches, step="user_selection", counts={"total": users, "users": users})
        return
    kinds = [kind for kind in KINDS if staged.get(kind)]
    opening = ("downloading_file" if from_url else "uploading", "file_loaded", "preparing_started")
    parts = len(opening) + max(1, len(kinds))
    for part, step in enumerate(opening):
        yield Write(share=part / parts, step=step, counts=None)
    loaded: dict[str, int] = {}
    for part, kind in enumerate(kinds, start=len(opening)):
        for batch in range(batches if loaded else 1):
            counts = loaded | _staged(kind, staged[kind] * batch // batches, loaded)
            channel = {"messagesstatus": "general/2023-01-03"} if kind == "messages" else {}
            share = (part + batch / batches) / parts
            yield Write(share=share, step=f"preparing_{kind}", counts=counts or None, extra=channel)
        loaded |= _staged(kind, staged[kind], loaded)
    forgotten = {"messagesstatus": None} if "messages" in kinds else {}
    everything = loaded | {"total": total} if total else None
    yield Write(share=1.0, step="user_selection", counts=everything, extra=forgotten)


def _staged(kind: str, number: int, loaded: Mapping[str, int]) -> dict[str, int]:
    return {kind: number, "total": number + loaded.get("total", 0)} if number else {}


def running(
    document: Document, *, version: Version, rejected: int = 0, selected: float = 1.0, last_write: bool = True
) -> Iterator[Write]:
    """The writes from the start of an import to its end, with counts as the server makes them.

    `rejected` users are refused, evenly spread. `selected` is the share of each kind that was selected. Without
    `last_write` the last counts of a phase are not written, as can happen on a real server.
    """
    counts = dict(document.counts or {})
    phases = _phases(document.importer, version)
    records = {step: list(_results(document, step, version, rejected, selected)) for step in phases}
    weights = _weights({step: len(results) for step, results in records.items()})
    tally, share = _Tally(), 0.0
    for step, results in records.items():
        yield Write(share=share, step=step, counts=counts)
        every = 500 if step == "importing_messages" or version < (6, 3) else 50
        for part in _due(tally, results, every=every, last_write=last_write):
            counts = counts | {"completed": tally.completed, "error": tally.failed}
            yield Write(share=share + weights[step] * part, step=step, counts=counts)
        share += weights[step]
    yield Write(share=1.0, step="done", counts=counts)


@dataclass(slots=True)
class _Tally:
    """What the server has counted in memory. It writes only some of it."""

    completed: int = 0
    failed: int = 0


def _due(tally: _Tally, results: list[tuple[int, int]], *, every: int, last_write: bool) -> Iterator[float]:
    """Counts a phase's records. Yields the share of the phase at each point where the server writes."""
    for position, (success, failure) in enumerate(results, start=1):
        tally.completed += success
        tally.failed += failure
        if (tally.completed + tally.failed) % every == 0 or (last_write and position == len(results)):
            yield position / len(results)


def _phases(importer: str, version: Version) -> tuple[str, ...]:
    if importer in FILE_FETCHERS:
        return ("importing_started", "importing_files", "finishing")
    contacts = ("importing_contacts",) if version >= (7, 0) else ()
    phases = ("importing_users", *contacts, "importing_channels", "importing_messages")
    return ("importing_started", *phases, "finishing")


def _weights(records: Mapping[str, int]) -> dict[str, float]:
    """Each phase's share of the time: by its records, but never too short to be seen."""
    total = sum(records.values()) or 1
    raw = {step: (10 + 80 * number / total) if number else 2.0 for step, number in records.items()}
    whole = sum(raw.values())
    return {step: weight / whole for step, weight in raw.items()}


def _results(
    document: Document, step: str, version: Version, rejected: int, selected: float
) -> Iterator[tuple[int, int]]:
    """What each record of a phase adds to `completed` and to `error`."""
    kind = step.removeprefix("importing_")
    staged = document.count("total") if kind == FILES else document.count(kind)
    number = round(staged * selected) if kind in (*KINDS, FILES) else 0
    if kind != "users":
        yield from ((1, 0) for _ in range(number))
        return
    refused = [(one + 1) * rejected // number > one * rejected // number for one in range(number)]
    if document.importer == "api":
        yield from ((0, 1) if refusal else (1, 0) for refusal in refused)
    elif version >= (7, 0):
        yield from ((1, 0) for _ in refused)
        yield from ((0, 1) if refusal else (1, 0) for refusal in refused)
    else:
        yield from ((1, 1) if refusal else (1, 0) for refusal in refused)
