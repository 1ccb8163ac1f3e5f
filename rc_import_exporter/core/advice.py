"""The words for outcomes, states, steps and reasons, and what to do about an outcome or a reason.

One table for each closed set, with every member in it. Page, commands and dashboards take their words from here. Text
in backticks is to be typed or searched for exactly as it is.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

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

_SAVE: Final = (
    "Before anyone starts or clears an import, save the collection `rocketchat_import_data`: it holds the errors of "
    "single records, and the next import deletes it."
)
_SETTINGS: Final = (
    "A running import changes four settings, and a crash leaves them changed. Check `FileUpload_MaxFileSize`, "
    "`FileUpload_MediaTypeWhiteList`, `FileUpload_MediaTypeBlackList` and `Accounts_AllowUsernameChange`."
)
_AGAIN: Final = (
    "An import cannot be resumed; it has to start again. This is safe for Slack. A CSV import then creates all "
    "messages a second time. An API import counts users who already exist as errors."
)
_LOG: Final = (
    "Search Rocket.Chat's log for “Importer encountered an error during import”, “Import record conversion failed” and "
    "“Failed to import message”."
)
_DO_NOT_RESTART: Final = "Do not restart, update or scale Rocket.Chat: any server that starts ends the import."

OUTCOMES: Final[Mapping[Outcome, Words]] = {
    Outcome.NONE: Words(title="Nothing imported yet"),
    Outcome.WAITING: Words(
        alert="WaitingForStart",
        title="Waiting",
        advice=("Someone has to choose what to import and start it: Administration → Workspace → Import.",),
    ),
    Outcome.LOADING: Words(title="Loading", advice=(_DO_NOT_RESTART,)),
    Outcome.RUNNING: Words(title="Importing", advice=(_DO_NOT_RESTART,)),
    Outcome.SUCCEEDED: Words(title="Succeeded"),
    Outcome.COMPLETED_WITH_ERRORS: Words(
        alert="CompletedWithErrors",
        title="Done with errors",
        advice=(
            f"Records are missing, unless this was an API import. {_SAVE}",
            _LOG,
            (
                "An API import counts each user who already exists as an error. For a nightly synchronization this is "
                "normal: set `expect.failed_ratio` to the share that you expect."
            ),
        ),
    ),
    Outcome.INCOMPLETE: Words(
        alert="CutOff",
        title="Cut off",
        advice=(
            (
                "Rocket.Chat says that the import is done, but it was cut off: another server of the cluster started, "
                "or someone cleared the import. Find out which. Do not start or stop servers during the next import."
            ),
            _SAVE,
            _AGAIN,
        ),
    ),
    Outcome.UNCONFIRMED: Words(
        alert="Unconfirmed",
        title="Unconfirmed",
        advice=(
            (
                "Rocket.Chat calls it done, and a restart came before this exporter could see that it was. Compare the "
                "number of records in Rocket.Chat with the source, or ask who started the import whether records were "
                "deselected."
            ),
            _AGAIN,
        ),
    ),
    Outcome.FAILED: Words(alert="Failed", title="Failed", advice=(_LOG, _SAVE, _AGAIN)),
    Outcome.INTERRUPTED: Words(
        alert="CutOff",
        title="Cut off",
        advice=(
            "Rocket.Chat restarted, another server of the cluster started, or someone cleared the import.",
            _SETTINGS,
            _SAVE,
            _AGAIN,
        ),
    ),
    Outcome.DISCARDED: Words(
        title="Discarded",
        advice=(
            "It never ran: another import replaced it, or someone cleared it. If this was a mistake, create it again.",
        ),
    ),
    Outcome.CANCELED: Words(
        alert="Canceled",
        title="Canceled",
        advice=("Someone canceled it. The records imported before that remain.", _AGAIN),
    ),
    Outcome.UNKNOWN: Words(
        alert="UnknownState",
        title="Unknown",
        advice=(
            (
                "If only `getImportProgress` answers, grant `view-import-operations` under "
                f"{WHERE_TO_GRANT}. It is read-only, and with it the exporter can tell the outcome."
            ),
            "If this release does not know the import's step, a newer release of the exporter may know it.",
        ),
    ),
}

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
                "Rocket.Chat allows each address 10 calls a minute. Look for a second exporter, or for a proxy that "
                "gives all clients one address. The exporter waits until the limit ends."
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
