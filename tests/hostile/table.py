"""The table of faults, and what the documents say of them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from rc_import_exporter.core.domain import Reason
from rc_import_exporter.metrics import table
from tests.hostile import bodies, connections, encryption, http_answers, machine, names
from tests.hostile.fault import Fault, Symptom
from tests.hostile.symptoms import ONE_WAY

BY_PYTHON: Final[tuple[Fault, ...]] = (*connections.FAULTS, *encryption.FAULTS, *names.FAULTS)
"""Faults that asyncio and Python's `ssl` tell of in their own words, which change."""
FAULTS: Final[tuple[Fault, ...]] = (
    *BY_PYTHON,
    *http_answers.FAULTS,
    *bodies.FAULTS,
    *machine.FAULTS,
)


REMEDIES: Final[Mapping[Reason | None, str]] = MappingProxyType(
    {
        Reason.CONNECTION: "Start the server, or correct the host and port of `url`.",
        Reason.FORBIDDEN: (
            "Grant `view-import-operations`. If only `import.status` is forbidden: nothing, this is normal for a "
            "read-only token."
        ),
        Reason.INVALID: "Look which program answers at `url`; it may not be Rocket.Chat.",
        Reason.NOT_FOUND: "Correct `url`: it ends in `/home`, or a path like `/chat` is missing.",
        Reason.PROXY: "Wait if the server restarts. Otherwise let the proxy or firewall pass `/api`.",
        Reason.RATE_LIMITED: (
            "Rocket.Chat allows each address 10 calls per minute. Stop a second exporter, look for a proxy that hides "
            "the addresses, grant `api-bypass-rate-limit`, or raise `poll_interval`."
        ),
        Reason.REDIRECTED: "Use https in `url`, or let the proxy pass `/api` without a login.",
        Reason.SERVER: "Read Rocket.Chat's log; often its database is down.",
        Reason.TIMEOUT: "Look at the server's load, or raise `timeout`.",
        Reason.TLS: "Set `tls.ca_file` for a private authority, `tls.server_name` for another name, or renew it.",
        Reason.TOO_LARGE: "Raise `max_response_bytes`.",
        Reason.UNAUTHORIZED: "Use the user's id, not its name. Create a new token. The user must be active.",
        None: "Nothing.",
    }
)
"""What to do, in short. The page and `check` say more."""


def reasons() -> str:
    """A row for each reason: the faults that have it, what to do, and when the next poll comes."""
    symptoms: dict[Reason | None, list[Symptom]] = {reason: [] for reason in REMEDIES}
    for symptom in dict.fromkeys(fault.symptom for fault in FAULTS):
        if symptom is not ONE_WAY:
            symptoms[symptom.reason].append(symptom)
    rows = [
        (
            f"`{reason}`" if reason else "none",
            ".<br>".join(symptom.fault for symptom in same),
            REMEDIES[reason],
            ", or ".join(dict.fromkeys(symptom.recovery for symptom in same)),
        )
        for reason, same in symptoms.items()
    ]
    return table.markdown_table(("reason", "fault", "what to do", "next poll"), rows)


def summary() -> str:
    """A row for each symptom, in the order of the table."""
    symptoms = dict.fromkeys(fault.symptom for fault in FAULTS)
    rows = [(each.fault, each.reported, each.recovery) for each in symptoms]
    return table.markdown_table(("fault", "what is reported", "next poll"), rows)
