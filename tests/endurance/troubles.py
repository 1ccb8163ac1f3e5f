"""Servers in trouble from time to time: a story whose answers have a fault in some random stretches of time."""

from random import Random
from typing import Final

from rc_import_exporter.simulator.answers import Fault, unauthorized
from rc_import_exporter.simulator.faults import FAULTS
from rc_import_exporter.simulator.script import Answer, Call, Outage, Reply, Script

QUIET: Final = 0.7
"""The share of stretches without trouble."""
LARGE: Final = ("padded", "gzip bomb")
"""Faults whose bodies take long to make and to read."""


def _refused(reply: Reply) -> Answer:
    return Outage.REFUSED


def _wrong_token(reply: Reply) -> Answer:
    return unauthorized((8, 6, 1))


TROUBLES: Final[tuple[Fault, ...]] = (
    _refused,
    _wrong_token,
    *(fault for name, fault in FAULTS.items() if name not in LARGE),
)


class Troubled:
    """A script in which each stretch of `stretch` seconds may have one fault, from some time in it until its end.

    The same name and time always have the same fault.
    """

    def __init__(self, script: Script, name: str, stretch: float) -> None:
        self._script = script
        self._name = name
        self._stretch = stretch

    def answer(self, call: Call) -> Answer:
        """The story's answer, or a bad one."""
        good = self._script.answer(call)
        fault = self.trouble(call.at)
        return good if fault is None or not isinstance(good, Reply) else fault(good)

    def trouble(self, at: float) -> Fault | None:
        """The fault at this time."""
        number = int(at // self._stretch)
        dice = Random(f"{self._name} {number}")
        quiet, begins, fault = dice.random() < QUIET, dice.random() * self._stretch, dice.choice(TROUBLES)
        return None if quiet or at - number * self._stretch < begins else fault

    def limit(self, at: float, /) -> int | None:
        """The story's limit."""
        return self._script.limit(at)
