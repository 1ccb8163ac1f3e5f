"""The words for outcomes, states, steps and reasons, and what to do about an outcome or a reason.

One table for each closed set, with every member in it. Page, commands and dashboards take their words from here. Text
in backticks is to be typed or searched for exactly as it is.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from rc_import_exporter.core.alerts import Alert
from rc_import_exporter.core.domain import Api, Outcome, Reason, State, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """A title of one to three words, and the advice: steps in the order in which to take them.

    `alert` is the alert about it, without the prefix `RocketChatImport`; the runbook has more.
    """

    title: str
    advice: tuple[str, ...] = ()
    alert: str = ""


PERMISSIONS: Final[Mapping[Api, str]] = {
    Api.STATUS: "run-import",
    Api.LIST: "view-import-operations",
    Api.PROGRESS: "run-import",
}
"""The permission that each endpoint needs; `/api/info` needs none."""

WHERE_TO_GRANT: Final = "Administration → Workspace → Permissions"

UNSEEN: Final = "Cannot tell"
"""The word for a workspace whose state is not known, because no endpoint answers or the last answer is too old."""

WHERE_TO_IMPORT: Final = "Administration → Workspace → Import"

_WHO: Final = "Find out who was rejected, before anyone starts or clears an import: that deletes the errors."
_SAVE: Final = "Save the errors of the records, before anyone starts or clears an import: that deletes them."
_SETTINGS: Final = (
    "Check four settings that a crash leaves changed (Workspace → Settings): `FileUpload_MaxFileSize`, "
    "`FileUpload_MediaTypeWhiteList`, `FileUpload_MediaTypeBlackList` and `Accounts_AllowUsernameChange`."
)
_CUTTER: Final = (
    "Find out what ended it: Rocket.Chat restarted, another server of the cluster started, or someone cleared the "
    "import. Do not start or stop servers during the next import."
)
_AGAIN: Final = (
    "Start the import again; it cannot be resumed. Find out first whether this importer creates records a second time."
)
_LOG: Final = (
    "Search Rocket.Chat's log for “Importer encountered an error during import”, “Import record conversion failed” and "
    "“Failed to import message”."
)
_LOG_OF_RECORDS: Final = (
    "Search Rocket.Chat's log for “Import record conversion failed” and “Failed to import message”."
)
_MISSING: Final = "Correct the source, and import the missing records."
_DO_NOT_RESTART: Final = "Do not restart, update or scale Rocket.Chat: any server that starts ends the import."
_WAITS: Final = (
    "Find out what Rocket.Chat waits for: its load, its database, the disk, or a download. Its log has the last "
    "“Import progress update”."
)
_LAST_RESORT: Final = (
    "Restart Rocket.Chat only if neither its log nor the counts have moved for half an hour: this ends the import. "
    "Then check the four settings that the runbook names under “After a crash”, and import again."
)
_COMPARE: Final = (
    "Compare the users that were sent with the users in Rocket.Chat. Those that an API import rejects are in no "
    "collection and in no log."
)
_AGAIN_SAFELY: Final = "Start the import again; it cannot be resumed. A second run is safe: "
_SPECIFIC: Final[Mapping[tuple[str, str], str]] = {
    (_AGAIN, "slack"): f"{_AGAIN_SAFELY}messages have fixed ids, and users are updated.",
    (_AGAIN, "slack-users"): f"{_AGAIN_SAFELY}users are updated.",
    (_AGAIN, "pending-files"): f"{_AGAIN_SAFELY}it fetches the files that are still missing.",
    (_AGAIN, "pending-avatars"): f"{_AGAIN_SAFELY}it fetches the avatars that are still missing.",
    (_AGAIN, "csv"): (
        "Remove the messages that were imported already, then start the import again: it cannot be resumed, and a "
        "second run creates all messages a second time. Users are updated."
    ),
    (_AGAIN, "api"): (
        f"{_AGAIN_SAFELY}no user is created twice, but each user who already exists is counted as an error."
    ),
    (_WHO, "api"): _COMPARE,
    (_SAVE, "api"): _COMPARE,
    (_LOG_OF_RECORDS, "api"): "",
    (_MISSING, "api"): (
        "An API import counts each user who already exists as an error. If that is normal, set `expect.failed_ratio` "
        "to the share that you expect."
    ),
}
"""What a step is for this importer if it differs; empty if there is none."""
_FURTHER: Final = {
    _AGAIN: "Start again",
    _COMPARE: "Before a new import",
    _CUTTER: "Why the server stopped",
    **dict.fromkeys((_SETTINGS, _LAST_RESORT), "After a crash"),
    **dict.fromkeys((_LOG, _LOG_OF_RECORDS), "Rocket.Chat's log"),
    _WAITS: "What Rocket.Chat waits for",
}
SECTIONS: Final = {text: _FURTHER.get(step, "") for (step, _), text in _SPECIFIC.items()} | _FURTHER
"""The section of the runbook that says how to take a step; empty if none does."""


def _in_forms(script: str, rest: str = "") -> Mapping[str, str]:
    mongosh = f"mongosh \"$MONGO_URL\" --quiet --eval '{script}'{rest}"
    return {
        "mongosh": mongosh,
        "docker": f'docker exec "$MONGODB" {mongosh}',
        "kubectl": f'kubectl --namespace "$NAMESPACE" exec "$MONGODB" -- {mongosh}',
    }


LIST_REJECTED: Final = _in_forms(
    'db.rocketchat_import_data.find({dataType: {$in: ["user", "contact"]}, errors: {$exists: true}})'
    '.forEach((one) => print([one.data.username || one.data.name, (one.data.emails || []).join(" "), '
    'one.errors.map((error) => error.message).join("; ")].join("\\t")))'
)
"""Prints name, e-mail addresses and error of each user and contact that the last import rejected."""
SAVE_ERRORS: Final = _in_forms(
    "EJSON.stringify(db.rocketchat_import_data.find({errors: {$exists: true}}).toArray())", " > errors.json"
)
"""Writes every record with an error to the file `errors.json`."""
COMMANDS: Final[Mapping[str, Mapping[str, str]]] = {_WHO: LIST_REJECTED, _SAVE: SAVE_ERRORS}
"""The command for a step, in three forms. The runbook says under "Prepare the terminal" how to set the variables."""

OUTCOMES: Final[Mapping[Outcome, Words]] = {
    Outcome.NONE: Words(title="Nothing imported yet"),
    Outcome.WAITING: Words(
        alert="WaitingForStart",
        title="Waiting",
        advice=(f"Choose what to import, and start it: {WHERE_TO_IMPORT}.",),
    ),
    Outcome.LOADING: Words(title="Loading", advice=(_DO_NOT_RESTART,)),
    Outcome.RUNNING: Words(title="Importing", advice=(_DO_NOT_RESTART,)),
    Outcome.SUCCEEDED: Words(title="Succeeded"),
    Outcome.COMPLETED_WITH_ERRORS: Words(
        alert="CompletedWithErrors", title="Done with errors", advice=(_WHO, _LOG_OF_RECORDS, _MISSING)
    ),
    Outcome.INCOMPLETE: Words(alert="CutOff", title="Cut off", advice=(_SAVE, _CUTTER, _AGAIN)),
    Outcome.UNCONFIRMED: Words(
        alert="Unconfirmed",
        title="Unconfirmed",
        advice=(
            (
                "Compare the number of records in Rocket.Chat with the source, or ask who started the import whether "
                "records were deselected. Rocket.Chat calls it done, but a restart came before the exporter saw that."
            ),
            "Do nothing more if no record is missing.",
            _AGAIN,
        ),
    ),
    Outcome.FAILED: Words(alert="Failed", title="Failed", advice=(_LOG, _SAVE, _AGAIN)),
    Outcome.INTERRUPTED: Words(alert="CutOff", title="Cut off", advice=(_SETTINGS, _SAVE, _CUTTER, _AGAIN)),
    Outcome.DISCARDED: Words(
        title="Discarded",
        advice=(
            "If this was a mistake, create the import again. It never ran: another one replaced it, or it was cleared.",
        ),
    ),
    Outcome.CANCELED: Words(
        alert="Canceled",
        title="Canceled",
        advice=("Ask who canceled it. The records imported before that remain.", _AGAIN),
    ),
    Outcome.UNKNOWN: Words(
        alert="UnknownState",
        title="Unknown",
        advice=(
            (
                f"Grant `view-import-operations` under {WHERE_TO_GRANT} if only `getImportProgress` answers. It is "
                "read-only, and with it the exporter can tell the outcome."
            ),
            "Install a newer release of the exporter if this one does not know the import's step.",
        ),
    ),
}

ALERTS: Final[Mapping[Alert, tuple[str, ...]]] = {
    Alert.STALLED: (
        _WAITS,
        "Let it go on if the log still shows progress. A restart ends the import, and it cannot be resumed.",
        _SAVE,
        _LAST_RESORT,
    ),
    Alert.OVERDUE: ("Check the job that starts the import, and its log. Then start it by hand.",),
    Alert.RUNNING_TOO_LONG: ("Check the load of Rocket.Chat and its database, and let the import end.",),
    Alert.HIGH_ERROR_RATIO: (
        _WHO,
        "Decide whether the import should go on. An administrator can clear it; do not restart the server.",
    ),
    Alert.NOTHING_IMPORTED: (
        "Check the source: was it empty or incomplete, or were all records deselected or rejected?",
        _WHO,
    ),
    Alert.DATA_STALE: ("Read the exporter's log. Restart the exporter if it does not poll again.",),
}
"""What to do about an alert that neither an outcome nor a reason explains, step by step."""

SILENT: Final = (
    (
        "Open Rocket.Chat in a browser. If it is down, start it: the import is cut off already. If it runs, do not "
        "restart it: the import may go on."
    ),
    "Do not start a new import before you know how this one ended.",
)
"""What to do if an import ran and the server gives no answer any more."""
REPEATED: Final = (
    "Do not start it yet. First take the steps for the earlier import of the same kind, which ended badly. Its "
    "records may have to be removed."
)
"""What to do if an import waits to be started, and the one before with the same importer still needs someone."""
UNREAD: Final = ("Do not restart or scale Rocket.Chat: the import may go on. Only its state cannot be read.",)
"""What to do if an import ran and the server's answers no longer tell the state."""

REASONS: Final[Mapping[Reason, Words]] = {
    Reason.TIMEOUT: Words(
        alert="WorkspaceUnreachable",
        title="No answer in time",
        advice=(
            (
                "Rocket.Chat or its database is overloaded, or a firewall drops the packets. Open Rocket.Chat in a "
                "browser."
            ),
            "If it is only slow, raise `timeout`.",
        ),
    ),
    Reason.CONNECTION: Words(
        alert="WorkspaceUnreachable",
        title="No connection",
        advice=(
            (
                "Rocket.Chat is down, is restarting, or cannot be reached from here. If it comes back within minutes, "
                "you need not do anything, but an import that was running is lost."
            ),
            "If it never answered, check host and port of `url`.",
        ),
    ),
    Reason.TLS: Words(
        alert="WorkspaceUnreachable",
        title="TLS failed",
        advice=(
            (
                "If a private certificate authority signed the certificate, set `tls.ca_file` to that authority's "
                "certificate."
            ),
            "If the certificate is for another name, correct `url`, or set `tls.server_name` to that name.",
            "If the certificate has expired, renew it on the server.",
        ),
    ),
    Reason.UNAUTHORIZED: Words(
        alert="CredentialsRefused",
        title="Credentials refused",
        advice=(
            (
                "Create a new token (Profile → Personal Access Tokens, with “Ignore Two Factor Authentication”) and "
                "set `auth_token` to it. A token file is read again when it changes."
            ),
            "`user_id` is the 17 characters shown with the token, not the user's name. The user must be active.",
        ),
    ),
    Reason.FORBIDDEN: Words(
        alert="PermissionMissing",
        title="Permission missing",
        advice=(
            (
                "Grant the permission `view-import-operations` to a role of the exporter's user: "
                f"{WHERE_TO_GRANT}. It is read-only and is enough. The exporter notices within 5 minutes."
            ),
        ),
    ),
    Reason.NOT_FOUND: Words(
        alert="WorkspaceUnreachable",
        title="No such endpoint",
        advice=(
            (
                "Check `url`: it is the address of the workspace, with its path if it has one (`https://host/chat`), "
                "but without `/home` or `/admin`."
            ),
            "`import.status` exists since Rocket.Chat 6.3. With older servers the list of operations is enough.",
        ),
    ),
    Reason.RATE_LIMITED: Words(
        alert="RateLimited",
        title="Rate limit reached",
        advice=(
            (
                "By default Rocket.Chat allows each address 10 calls a minute. Look for a second exporter, or for a "
                "proxy that gives all clients one address. The exporter waits until the limit ends."
            ),
            (
                "Raise `poll_interval`, or grant `api-bypass-rate-limit` to a role of the exporter's user: "
                f"{WHERE_TO_GRANT}."
            ),
        ),
    ),
    Reason.SERVER: Words(
        alert="WorkspaceUnreachable",
        title="Server error",
        advice=("Read Rocket.Chat's log. Most often it cannot reach its database (MongoDB).",),
    ),
    Reason.INVALID: Words(
        alert="WorkspaceUnreachable",
        title="Not Rocket.Chat's answer",
        advice=("Another program answers at `url`, or a proxy changes the answers. Open the address in a browser.",),
    ),
    Reason.TOO_LARGE: Words(
        alert="WorkspaceUnreachable",
        title="Answer too large",
        advice=(
            (
                "Old operations in the list contain the data of their files. Raise `max_response_bytes`, or grant "
                f"`run-import`, which lets the exporter use `import.status`: {WHERE_TO_GRANT}."
            ),
        ),
    ),
    Reason.REDIRECTED: Words(
        alert="WorkspaceUnreachable",
        title="Redirected",
        advice=(
            "If the server uses https or has another host name, set `url` to the address that the redirect leads to.",
            "If a proxy in front of Rocket.Chat asks for a login, let it pass `/api/` without one.",
        ),
    ),
    Reason.PROXY: Words(
        alert="WorkspaceUnreachable",
        title="A proxy answers",
        advice=(
            (
                "A proxy in front of Rocket.Chat answers in its place. If Rocket.Chat is restarting, wait. Otherwise "
                "let the proxy or firewall pass `/api/` from the exporter's address."
            ),
        ),
    ),
    Reason.INTERNAL: Words(
        alert="WorkspaceUnreachable",
        title="Bug in the exporter",
        advice=("The exporter's log has the details; please report them. The exporter continues with the next poll.",),
    ),
}

STATES: Final[Mapping[State, str]] = {
    State.NONE: "no import",
    State.NEW: "new",
    State.LOADING: "loading",
    State.READY: "ready to start",
    State.IMPORTING: "importing",
    State.DONE: "done",
    State.ERROR: "error",
    State.CANCELED: "canceled",
    State.UNKNOWN: "unknown",
}

STEPS: Final[Mapping[Step, str]] = {
    Step.NONE: "none",
    Step.NEW: "created",
    Step.UPLOADING: "uploading the file",
    Step.DOWNLOADING_FILE: "downloading the file",
    Step.FILE_LOADED: "file loaded",
    Step.PREPARING_STARTED: "preparing",
    Step.PREPARING_USERS: "preparing users",
    Step.PREPARING_CHANNELS: "preparing channels",
    Step.PREPARING_MESSAGES: "preparing messages",
    Step.PREPARING_CONTACTS: "preparing contacts",
    Step.USER_SELECTION: "waiting for the selection",
    Step.IMPORTING_STARTED: "import started",
    Step.IMPORTING_USERS: "importing users",
    Step.IMPORTING_CONTACTS: "importing contacts",
    Step.IMPORTING_CHANNELS: "importing channels",
    Step.IMPORTING_MESSAGES: "importing messages",
    Step.IMPORTING_FILES: "importing files",
    Step.FINISHING: "finishing",
    Step.DONE: "done",
    Step.IMPORT_FAILED: "import failed",
    Step.IMPORT_CANCELLED: "import cancelled",
    Step.UNKNOWN: "unknown",
}


def fitting(steps: Iterable[str], importer: str) -> tuple[str, ...]:
    """These steps as they are for this importer."""
    return tuple(step for each in steps if (step := _SPECIFIC.get((each, importer), each)))


def advice_on(reason: Reason, apis: Iterable[Api], remedy: str = "") -> tuple[str, ...]:
    """What to do if these endpoints fail for this reason, with the permission that each needs if that is missing.

    A `remedy` that fits this one failure replaces the advice on the reason.
    """
    if remedy:
        return (remedy,)
    if reason is not Reason.FORBIDDEN:
        return REASONS[reason].advice
    needs = [f"`{api}` needs `{PERMISSIONS[api]}`" for api in apis if api in PERMISSIONS]
    return (*REASONS[reason].advice, *([f"{'; '.join(needs)}."] if needs else []))
