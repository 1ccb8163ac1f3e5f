"""How outcomes, states, steps and reasons are written and coloured; every board reads it.

A word is shown as text and in colour. Good and bad differ as blue and orange do, which every kind of eye tells apart.
A member of a closed set becomes the number of its place here, so that a panel can map it and a table can sort by it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from rc_import_exporter.core.domain import Outcome, Reason, State, Step

GREY: Final = "#8E99A8"
SKY: Final = "#7FC4F2"
BLUE: Final = "#3B8BD4"
DEEP_BLUE: Final = "#2166AC"
YELLOW: Final = "#F2CC4D"
ORANGE: Final = "#CC7A0A"
VERMILION: Final = "#D9540F"
MAROON: Final = "#8F1D3F"
SLATE: Final = "#4B515C"


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A member of a closed set as people read it; `value` is what the label holds."""

    value: StrEnum
    text: str
    color: str


def _words(members: Mapping[StrEnum, tuple[str, str]]) -> Sequence[Word]:
    return [Word(value=value, text=text, color=color) for value, (text, color) in members.items()]


OUTCOMES: Final = _words(
    {
        Outcome.NONE: ("Nothing imported yet", GREY),
        Outcome.SUCCEEDED: ("✔ Succeeded", DEEP_BLUE),
        Outcome.CANCELED: ("Canceled", GREY),
        Outcome.DISCARDED: ("Discarded before it ran", GREY),
        Outcome.WAITING: ("Waiting for its start", YELLOW),
        Outcome.LOADING: ("▶ Loading", SKY),
        Outcome.RUNNING: ("▶ Running", BLUE),
        Outcome.UNKNOWN: ("? Unknown", SLATE),
        Outcome.COMPLETED_WITH_ERRORS: ("⚠ Done, with rejected records", ORANGE),
        Outcome.UNCONFIRMED: ("? Unconfirmed", ORANGE),
        Outcome.INTERRUPTED: ("✖ Interrupted", VERMILION),
        Outcome.INCOMPLETE: ("✖ Cut off", VERMILION),
        Outcome.FAILED: ("✖ Failed", MAROON),
    }
)
"""From the best to the worst: where two exporters differ, and in tables, the worse one comes first."""

OUT_OF_SIGHT: Final = 20
"""The number for a workspace whose outcome nobody can tell: worse to know than any of them."""
OUT_OF_SIGHT_TEXT: Final = "✖ Out of sight"

STATES: Final = _words(
    {
        State.NONE: ("none", GREY),
        State.NEW: ("new", YELLOW),
        State.LOADING: ("loading", SKY),
        State.READY: ("ready", YELLOW),
        State.IMPORTING: ("importing", BLUE),
        State.DONE: ("done", DEEP_BLUE),
        State.CANCELED: ("canceled", GREY),
        State.ERROR: ("error", VERMILION),
        State.UNKNOWN: ("unknown", SLATE),
    }
)

_STEP_COLORS: Final = {
    Step.NONE: GREY,
    Step.NEW: YELLOW,
    Step.USER_SELECTION: YELLOW,
    Step.DONE: DEEP_BLUE,
    Step.IMPORT_FAILED: MAROON,
    Step.IMPORT_CANCELLED: GREY,
    Step.UNKNOWN: SLATE,
}


def _step_color(step: Step) -> str:
    return _STEP_COLORS.get(step, BLUE if step.startswith(("importing", "finishing")) else SKY)


STEPS: Final = _words({step: (step.replace("_", " "), _step_color(step)) for step in Step})

REASONS: Final = _words(
    {
        Reason.TIMEOUT: ("No whole answer in time: is the server overloaded?", VERMILION),
        Reason.CONNECTION: ("No connection: is Rocket.Chat up, are name and port right?", VERMILION),
        Reason.TLS: ("The certificate is not trusted: see the exporter's tls options", VERMILION),
        Reason.UNAUTHORIZED: ("The token is not accepted: make a new one", VERMILION),
        Reason.FORBIDDEN: ("The permission is missing: grant it, or live with the other endpoint", ORANGE),
        Reason.NOT_FOUND: ("This server has no such endpoint: an older release, or a wrong URL", ORANGE),
        Reason.RATE_LIMITED: ("Too many calls: poll less often, or let the user bypass the limit", ORANGE),
        Reason.SERVER: ("Rocket.Chat answered with an error: look at its log and its database", VERMILION),
        Reason.INVALID: ("The answer is not the API's: does the URL lead to Rocket.Chat?", VERMILION),
        Reason.TOO_LARGE: ("The answer is over the size limit: raise max_response_bytes", ORANGE),
        Reason.REDIRECTED: ("Redirected: give the final URL, or bypass the login page", ORANGE),
        Reason.PROXY: ("A proxy in front answered instead of Rocket.Chat", VERMILION),
        Reason.INTERNAL: ("A fault of the exporter: please report it, with its log", MAROON),
    }
)


def numbers(words: Sequence[Word], **further: tuple[int, str, str]) -> dict[str, tuple[str, str]]:
    """Text and colour by the number of a word's place, for a mapping of values; `further` adds numbers of its own."""
    placed = {str(place): (word.text, word.color) for place, word in enumerate(words)}
    return placed | {str(number): (text, color) for number, text, color in further.values()}


def values(words: Sequence[Word]) -> dict[str, tuple[str, str]]:
    """Text and colour by the label's own value."""
    return {word.value: (word.text, word.color) for word in words}


OUTCOME_NUMBERS: Final = numbers(OUTCOMES, lost=(OUT_OF_SIGHT, OUT_OF_SIGHT_TEXT, SLATE))
STATE_NUMBERS: Final = numbers(STATES, lost=(OUT_OF_SIGHT, "out of sight", SLATE))
STEP_NUMBERS: Final = numbers(STEPS, lost=(OUT_OF_SIGHT + len(STEPS), "out of sight", SLATE))
