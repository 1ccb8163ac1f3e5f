"""The colours of outcomes, states, steps and reasons. Their words come from `rc_import_exporter.core.advice`.

Good is blue and bad is orange to red, which people with every kind of colour vision can tell apart. Panels map and
tables sort numbers, so a query returns a word's position in its list here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from rc_import_exporter.core import advice
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
    """A member of a closed set: `value` is the label's value, `text` and `color` are what people see."""

    value: StrEnum
    text: str
    color: str


_OUTCOME_COLORS: Final = {
    Outcome.NONE: GREY,
    Outcome.SUCCEEDED: DEEP_BLUE,
    Outcome.CANCELED: GREY,
    Outcome.DISCARDED: GREY,
    Outcome.WAITING: YELLOW,
    Outcome.LOADING: SKY,
    Outcome.RUNNING: BLUE,
    Outcome.UNKNOWN: SLATE,
    Outcome.COMPLETED_WITH_ERRORS: ORANGE,
    Outcome.UNCONFIRMED: ORANGE,
    Outcome.INTERRUPTED: VERMILION,
    Outcome.INCOMPLETE: VERMILION,
    Outcome.FAILED: MAROON,
}
OUTCOMES: Final = [
    Word(value=outcome, text=advice.OUTCOMES[outcome].title, color=color) for outcome, color in _OUTCOME_COLORS.items()
]
"""From the best to the worst. If two exporters differ, the worse outcome is shown."""

UNSEEN: Final = 100
"""The number for a workspace whose state is not known: it is sorted as worse than every outcome."""

_STATE_COLORS: Final = {
    State.NONE: GREY,
    State.NEW: YELLOW,
    State.LOADING: SKY,
    State.READY: YELLOW,
    State.IMPORTING: BLUE,
    State.DONE: DEEP_BLUE,
    State.CANCELED: GREY,
    State.ERROR: VERMILION,
    State.UNKNOWN: SLATE,
}
STATES: Final = [Word(value=state, text=advice.STATES[state], color=color) for state, color in _STATE_COLORS.items()]

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


STEPS: Final = [Word(value=step, text=advice.STEPS[step], color=_step_color(step)) for step in Step]

_TO_BE_CONFIGURED: Final = {
    Reason.FORBIDDEN,
    Reason.NOT_FOUND,
    Reason.RATE_LIMITED,
    Reason.TOO_LARGE,
    Reason.REDIRECTED,
}
REASONS: Final = [
    Word(
        value=reason,
        text=words.title,
        color=MAROON if reason is Reason.INTERNAL else ORANGE if reason in _TO_BE_CONFIGURED else VERMILION,
    )
    for reason, words in advice.REASONS.items()
]


def numbers(words: Sequence[Word]) -> Mapping[str, tuple[str, str]]:
    """Text and colour of each word by its position, and of the number for a workspace whose state is not known."""
    return {str(place): (word.text, word.color) for place, word in enumerate(words)} | {
        str(UNSEEN): (advice.UNSEEN, SLATE)
    }


def values(words: Sequence[Word]) -> Mapping[str, tuple[str, str]]:
    """Text and colour of each word by the label's value."""
    return {word.value: (word.text, word.color) for word in words}


OUTCOME_NUMBERS: Final = numbers(OUTCOMES)
STATE_NUMBERS: Final = numbers(STATES)
STEP_NUMBERS: Final = numbers(STEPS)
