"""The table of faults, and the README's short table of them."""

from typing import Final

from rc_import_exporter.metrics import table
from tests.hostile import bodies, connections, encryption, http_answers, machine, names
from tests.hostile.fault import Fault

BY_PYTHON: Final[tuple[Fault, ...]] = (*connections.FAULTS, *encryption.FAULTS, *names.FAULTS)
"""Faults that asyncio and Python's `ssl` tell of in their own words, which change."""
FAULTS: Final[tuple[Fault, ...]] = (
    *BY_PYTHON,
    *http_answers.FAULTS,
    *bodies.FAULTS,
    *machine.FAULTS,
)


def summary() -> str:
    """A line for each symptom, in the order of the table."""
    symptoms = dict.fromkeys(fault.symptom for fault in FAULTS)
    rows = [(each.fault, each.reported, each.recovery) for each in symptoms]
    return table.markdown_table(("fault", "what is reported", "next poll"), rows)
