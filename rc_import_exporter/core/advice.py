"""The words for what an import has come to and for why a call failed, and what to do about either.

`view` puts them beside what was seen; the commands may. One table for each closed set, and every member is in it. What
stands between backticks is to be typed or looked for as it is.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from rc_import_exporter.core.domain import Api, Outcome, Reason, State, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """A title of two or three words, and the advice, one sentence or two each, in the order of doing.

    `alert` is the alert that tells of it, without its prefix; the runbook has more.
    """

    title: str
    advice: tuple[str, ...] = ()
    alert: str = ""


PERMISSIONS: Final[Mapping[Api, str]] = {
    Api.STATUS: "run-import",
    Api.LIST: "view-import-operations",
    Api.PROGRESS: "run-import",
}
"""What each endpoint asks for; `/api/info` asks for nothing."""

WHERE_TO_GRANT: Final = "Administration → Workspace → Permissions"

_SAVE: Final = (
    "Before anyone starts or clears an import, save the collection `rocketchat_import_data`: the errors of single "
    "records stand in it, and the next import deletes it."
)
_SETTINGS: Final = (
    "A crash leaves four settings as the import had set them. Check `FileUpload_MaxFileSize`, "
    "`FileUpload_MediaTypeWhiteList`, `FileUpload_MediaTypeBlackList` and `Accounts_AllowUsernameChange` by hand."
)
_AGAIN: Final = (
    "It does not go on by itself and cannot be resumed. Running it again is safe for Slack messages, doubles CSV "
    "messages, and lets an API import count the users who are there by now as errors."
)
_LOG: Final = (
    "Look in Rocket.Chat's log for “Importer encountered an error during import”, “Import record conversion "
    "failed” and “Failed to import message”."
)

OUTCOMES: Final[Mapping[Outcome, Words]] = {
    Outcome.NONE: Words(title="Nothing imported"),
    Outcome.WAITING: Words(
        alert="WaitingForStart",
        title="Waiting",
        advice=("Someone has to choose what is imported and start it: Administration → Workspace → Import.",),
    ),
    Outcome.LOADING: Words(
        title="Loading", advice=("Do not restart, update or scale Rocket.Chat: a server that starts ends the import.",)
    ),
    Outcome.RUNNING: Words(
        title="Importing",
        advice=("Do not restart, update or scale Rocket.Chat: a server that starts ends the import.",),
    ),
    Outcome.SUCCEEDED: Words(title="Succeeded"),
    Outcome.COMPLETED_WITH_ERRORS: Words(
        alert="CompletedWithErrors",
        title="Completed with errors",
        advice=(
            f"Records are missing, unless it was an API import. {_SAVE}",
            _LOG,
            (
                "An API import counts everyone who already exists as an error: for a nightly synchronisation that "
                "is normal, and `expect.failed_ratio` says how much of it is."
            ),
        ),
    ),
    Outcome.INCOMPLETE: Words(
        alert="CutOff",
        title="Cut off",
        advice=(
            (
                "Rocket.Chat calls it done, and it is not: another server of the cluster started, or someone "
                "cleared it. Find out which, and keep the cluster still during the next try."
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
        advice=("It never ran: it was replaced by another or cleared. If that was a mistake, start anew.",),
    ),
    Outcome.CANCELED: Words(
        alert="Canceled", title="Canceled", advice=("Someone canceled it. What was imported until then stays.", _AGAIN)
    ),
    Outcome.UNKNOWN: Words(
        alert="UnknownState",
        title="Cannot be told",
        advice=(
            (
                f"If only `getImportProgress` answers, grant `view-import-operations` under {WHERE_TO_GRANT}: it is"
                " read-only, and enough to tell."
            ),
            "If the step is a word that this release does not know, a newer release of the exporter may.",
        ),
    ),
}

REASONS: Final[Mapping[Reason, Words]] = {
    Reason.TIMEOUT: Words(
        alert="WorkspaceUnreachable",
        title="No answer in time",
        advice=(
            "Rocket.Chat or its database is overloaded, or a firewall drops the packets. Open it in a browser.",
            "If it is merely slow, raise `timeout`.",
        ),
    ),
    Reason.CONNECTION: Words(
        alert="WorkspaceUnreachable",
        title="No connection",
        advice=(
            (
                "Rocket.Chat is down, is restarting, or cannot be reached from here. If it comes back within "
                "minutes nothing needs to be done; an import that ran meanwhile is lost."
            ),
            "If it never answered, check `url`: host and port.",
        ),
    ),
    Reason.TLS: Words(
        alert="WorkspaceUnreachable",
        title="TLS failed",
        advice=(
            (
                "A private authority signed the certificate: give it as `tls.ca_file`. Or it is made out to "
                "another name: correct `url`, or give the name as `tls.server_name`."
            ),
            "An expired certificate has to be renewed on the server.",
        ),
    ),
    Reason.UNAUTHORIZED: Words(
        alert="CredentialsRefused",
        title="Credentials refused",
        advice=(
            (
                "Make a new token (Profile → Personal Access Tokens, with “Ignore Two Factor Authentication”) and "
                "give it as `auth_token`; a token file is read again by itself."
            ),
            "`user_id` is the 17 characters shown with the token, not the name; and the user must be active.",
        ),
    ),
    Reason.FORBIDDEN: Words(
        alert="PermissionMissing",
        title="Permission missing",
        advice=(
            (
                f"Grant the permission `view-import-operations` to a role of the exporter's user: {WHERE_TO_GRANT}."
                " It is read-only, and enough. The exporter notices within 5 minutes."
            ),
        ),
    ),
    Reason.NOT_FOUND: Words(
        alert="WorkspaceUnreachable",
        title="No such endpoint",
        advice=(
            (
                "Check `url`: it is the workspace's root, with its path if it has one (`https://host/chat`), and "
                "without `/home` or `/admin`."
            ),
            "`import.status` exists since Rocket.Chat 6.3; older servers are read by the list of operations.",
        ),
    ),
    Reason.RATE_LIMITED: Words(
        alert="RateLimited",
        title="Rate limit reached",
        advice=(
            (
                "Rocket.Chat allows 10 calls a minute for each address: look for a second exporter, or a proxy "
                "that makes all clients one. The exporter waits until the limit is lifted."
            ),
            (
                "Raise `poll_interval`, or grant `api-bypass-rate-limit` to a role of the exporter's user: "
                f"{WHERE_TO_GRANT}."
            ),
        ),
    ),
    Reason.SERVER: Words(
        alert="WorkspaceUnreachable",
        title="Server in trouble",
        advice=("Look in Rocket.Chat's log; most often its database (MongoDB) cannot be reached.",),
    ),
    Reason.INVALID: Words(
        alert="WorkspaceUnreachable",
        title="Not Rocket.Chat's answer",
        advice=("Something else answers at `url`, or a proxy changes the answers. Open the address in a browser.",),
    ),
    Reason.TOO_LARGE: Words(
        alert="WorkspaceUnreachable",
        title="Answer too large",
        advice=(
            (
                "Old operations carry their files' data in the list: raise `max_response_bytes`, or grant "
                f"`run-import`, which lets `import.status` tell: {WHERE_TO_GRANT}."
            ),
        ),
    ),
    Reason.REDIRECTED: Words(
        alert="WorkspaceUnreachable",
        title="Redirected",
        advice=(
            (
                "`url` says http where https is served, or another host; or a proxy in front wants a login. Give "
                "the address that the redirect leads to, and let the proxy pass `/api/`."
            ),
        ),
    ),
    Reason.PROXY: Words(
        alert="WorkspaceUnreachable",
        title="A proxy answers",
        advice=(
            (
                "What stands in front of Rocket.Chat answers for it. If Rocket.Chat is restarting, wait; else let "
                "the proxy or firewall pass `/api/` from the exporter's address."
            ),
        ),
    ),
    Reason.INTERNAL: Words(
        alert="WorkspaceUnreachable",
        title="Fault of the exporter",
        advice=("The exporter's own log has the details; please report them. It goes on with the next poll.",),
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
    State.UNKNOWN: "a word that this release does not know",
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
    Step.USER_SELECTION: "waiting for the choice of what to import",
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
    Step.UNKNOWN: "a step that this release does not know",
}


def advice_on(reason: Reason, apis: Iterable[Api]) -> tuple[str, ...]:
    """What to do where these endpoints fail so: for a missing permission, which one each of them needs."""
    if reason is not Reason.FORBIDDEN:
        return REASONS[reason].advice
    needs = [f"`{api}` needs `{PERMISSIONS[api]}`" for api in apis if api in PERMISSIONS]
    return (*REASONS[reason].advice, *([f"{'; '.join(needs)}."] if needs else []))
