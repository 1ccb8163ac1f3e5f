"""The lines of the README's table: what the exporter reports of each kind of fault, and when it tries again."""

from typing import Final

from rc_import_exporter.core.domain import Reason
from tests.hostile.fault import SECOND_CALL, Symptom

MINUTE: Final = "within 1 minute"
MINUTES: Final = "within 5 minutes"
NEXT: Final = "at the next poll"

SILENT: Final = Symptom(
    fault="No complete answer within `timeout`: silence, slow bytes, a look-up or a handshake that hangs",
    reason=Reason.TIMEOUT,
    within=60,
    recovery=MINUTE,
)
GONE: Final = Symptom(
    fault="Nothing listens, or the connection is reset or closed before the answer is complete",
    reason=Reason.CONNECTION,
    within=60,
    recovery=MINUTE,
)
NO_HOST: Final = Symptom(
    fault="The host is unknown, no name server answers, or none of its addresses can be reached",
    reason=Reason.CONNECTION,
    within=60,
    recovery=MINUTE,
)
NO_ROOM: Final = Symptom(
    fault="This machine has no file descriptor or thread left for the call",
    reason=Reason.CONNECTION,
    within=60,
    recovery=MINUTE,
)
UNTRUSTED: Final = Symptom(
    fault="The certificate has expired or is from another authority or for another name; TLS is old or missing",
    reason=Reason.TLS,
    within=60,
    recovery=MINUTE,
)
PROXY: Final = Symptom(
    fault="An error (4xx, 5xx) that is not Rocket.Chat's own: from a proxy, a load balancer or a firewall",
    reason=Reason.PROXY,
    within=60,
    recovery=MINUTE,
)
REDIRECTED: Final = Symptom(
    fault="A redirect, for example to a login page. It is not followed",
    reason=Reason.REDIRECTED,
    within=300,
    recovery=MINUTES,
)
NO_ENDPOINT: Final = Symptom(
    fault="A web page with status 200: a captive portal, the start page of an old server",
    reason=Reason.NOT_FOUND,
    within=60,
    recovery=MINUTE,
)
MISSING: Final = Symptom(
    fault="Rocket.Chat does not have the endpoint",
    reason=Reason.NOT_FOUND,
    within=300,
    recovery=MINUTES,
)
UNAUTHORIZED: Final = Symptom(
    fault="Rocket.Chat refuses the token",
    reason=Reason.UNAUTHORIZED,
    within=300,
    recovery="within 5 minutes; in the same poll if the token's file has just changed",
)
FORBIDDEN: Final = Symptom(
    fault="The user lacks the permission",
    reason=Reason.FORBIDDEN,
    within=300,
    recovery=MINUTES,
)
LIMITED: Final = Symptom(
    fault="429, with any headers",
    reason=Reason.RATE_LIMITED,
    within=60,
    recovery="when `X-RateLimit-Reset` says, if that is within 1 hour; else after 1 minute",
)
BROKEN: Final = Symptom(
    fault="Rocket.Chat reports an error of its own",
    reason=Reason.SERVER,
    within=60,
    recovery=MINUTE,
)
NO_HTTP: Final = Symptom(
    fault="The answer is not HTTP, breaks its rules, or has a status below 400 that is not 200",
    reason=Reason.INVALID,
    within=60,
    recovery=MINUTE,
)
UNREADABLE: Final = Symptom(
    fault="The body cannot be decompressed",
    reason=Reason.INVALID,
    within=60,
    recovery=MINUTE,
)
NO_JSON: Final = Symptom(
    fault="The body is not the endpoint's JSON, is cut, is not UTF-8, or has millions of values",
    reason=Reason.INVALID,
    within=60,
    recovery=MINUTE,
)
TOO_LARGE: Final = Symptom(
    fault="The body is larger than `max_response_bytes`, compressed or not",
    reason=Reason.TOO_LARGE,
    within=300,
    recovery=MINUTES,
)
ONE_WAY: Final = Symptom(
    fault="Only `import.status` or only the list fails, in any of these ways",
    reason=Reason.INVALID,
    within=60,
    recovery="as above",
    note=" or another reason; the other endpoint tells the state",
)
ODD_VALUE: Final = Symptom(
    fault="A field has the wrong type, a negative or huge number, a text that is too long or not printable",
    reason=None,
    within=SECOND_CALL,
    recovery=NEXT,
    note="the field counts as missing or unknown",
)
ODD_LIST: Final = Symptom(
    fault="A list that is empty, very long, in another order, or has an operation twice",
    reason=None,
    within=SECOND_CALL,
    recovery=NEXT,
    note="each operation counts once",
)
HARMLESS: Final = Symptom(
    fault="Idle connections that are closed or get answers without a request, early hints, odd headers, dead addresses",
    reason=None,
    within=SECOND_CALL,
    recovery=NEXT,
    note="the answer is used",
)
WRONG_CLOCK: Final = Symptom(
    fault="The server's clock is wrong or jumps, or it sends no date",
    reason=None,
    within=SECOND_CALL,
    recovery=NEXT,
    note="ages are corrected by `server_clock_offset_seconds`",
)
SICK_MACHINE: Final = Symptom(
    fault="A token file that can no longer be read, a full disk under the log",
    reason=None,
    within=SECOND_CALL,
    recovery=NEXT,
    note="the last token stays in use, and lost log lines are counted",
)
