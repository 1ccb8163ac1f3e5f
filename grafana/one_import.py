"""The dashboard "Rocket.Chat import": for someone who runs a migration, or who answers an alert about one."""

from typing import Final

from grafana.frame import (
    ANNOTATIONS,
    EXPORTER_PAGE,
    EXPORTER_VARIABLE,
    FOR_ONE,
    IMPORT,
    OUTWARD,
    PLACE,
    RUNBOOK,
    TO_EXPORTER,
    TO_IMPORTS,
    TO_RUNBOOK,
)
from grafana.panels import DEFAULT, Board, Column, Panel, Query, Section, colored, mappings, of_frame, renamed
from grafana.queries import (
    ALIVE,
    BANNER,
    DATA_AGE,
    FRAGILE,
    LEFT,
    OUTCOME,
    PACE,
    PROCESSED,
    PROGRESS,
    STATE,
    STEP,
    TOTAL,
    WORKSPACE_LABELS,
    by_word,
    each,
    one_of_each,
    series,
    since,
    where,
)
from grafana.words import (
    BLUE,
    DEEP_BLUE,
    GREY,
    ORANGE,
    OUTCOME_NUMBERS,
    OUTCOMES,
    REASONS,
    SLATE,
    STATE_NUMBERS,
    STEP_NUMBERS,
    VERMILION,
    values,
)
from rc_import_exporter.config.options import POLL_INTERVAL, POLL_INTERVAL_IDLE
from rc_import_exporter.core import advice
from rc_import_exporter.core.domain import FINISHED, Outcome
from rc_import_exporter.core.thresholds import STALLED_AFTER

_NO_EXPORTER: Final = "Prometheus scrapes no exporter"
_PLACE: Final = "{{namespace}} {{cluster}}"
"""Tells two workspaces of the same name apart. Grafana leaves out absent labels."""
_FINISHED_WORDS: Final = [word for word in OUTCOMES if word.value in FINISHED]

_NOW: Final = Section(
    panels=[
        Panel(
            kind="stat",
            title="May Rocket.Chat be restarted?",
            description=(
                "A server of the cluster that starts while an import loads or runs cuts the import off. An import "
                "cannot be resumed. If the state is not known, an import may be running."
            ),
            size=(24, 3),
            queries=[Query(expr=BANNER)],
            words={
                "0": ("Yes: no import is loading or running", DEEP_BLUE),
                "1": ("Not known: the state cannot be read, an import may be running", SLATE),
                "2": ("DO NOT RESTART OR SCALE ROCKET.CHAT NOW: an import is under way", VERMILION),
            },
            options={"colorMode": "background", "textMode": "value", "text": {"valueSize": 34}},
            nothing=_NO_EXPORTER,
        ),
        Panel(
            kind="stat",
            title="Outcome",
            description=(
                "The outcome of the newest import, as the exporter judges it. Rocket.Chat's own state says done also "
                "for an incomplete import and for one with rejected records, and error also for a discarded one."
            ),
            size=(7, 4),
            queries=[Query(expr=OUTCOME, legend=_PLACE)],
            words=OUTCOME_NUMBERS,
            options={"colorMode": "background"},
            nothing=_NO_EXPORTER,
        ),
        Panel(
            kind="bargauge",
            title="Progress",
            description=(
                "The share of all records that are completed or rejected. It is not known before all records are "
                "loaded. It can end below 100 %, because deselected records are not processed, and it can reach 100 % "
                "early, because file imports count users twice."
            ),
            size=(7, 4),
            queries=[Query(expr=PROGRESS, legend=_PLACE)],
            unit="percentunit",
            decimals=0,
            limits=(0, 1),
            steps=[(None, BLUE)],
            nothing="Not known before an import is loaded",
        ),
        Panel(
            kind="stat",
            title="Time left",
            description="The time left at the pace of the last 10 minutes, while an import runs and makes progress.",
            size=(5, 4),
            queries=[Query(expr=LEFT, legend=_PLACE)],
            unit="dtdurations",
            decimals=0,
            nothing="Not running",
        ),
        Panel(
            kind="stat",
            title="Expected end",
            description="When the import will end at the pace of the last 10 minutes, in your browser's time zone.",
            size=(5, 4),
            queries=[Query(expr=f"(time() + {LEFT}) * 1000", legend=_PLACE)],
            unit="time:ddd HH:mm",
            nothing="Not running",
        ),
        Panel(
            kind="stat",
            title="State",
            description=(
                "Rocket.Chat's own state. Error can mean failed, cut off or discarded; done can mean succeeded, done "
                "with errors or incomplete."
            ),
            size=(4, 4),
            queries=[Query(expr=STATE, legend=_PLACE)],
            words=STATE_NUMBERS,
            options={"colorMode": "background"},
            nothing=_NO_EXPORTER,
        ),
        Panel(
            kind="stat",
            title="Step",
            description=(
                "The import's current step, as Rocket.Chat says. After a crash it stays at the step of the crash."
            ),
            size=(4, 4),
            queries=[Query(expr=STEP, legend=_PLACE)],
            words=STEP_NUMBERS,
            options={"colorMode": "background"},
            nothing=_NO_EXPORTER,
        ),
        Panel(
            kind="stat",
            title="Records",
            description="Records completed or rejected, and the total. The total grows while the import loads.",
            size=(3, 4),
            queries=[
                Query(expr=PROCESSED, legend=f"done {_PLACE}"),
                Query(expr=TOTAL, legend=f"of {_PLACE}"),
            ],
            unit="locale",
            options={"textMode": "value_and_name", "orientation": "vertical"},
            nothing="None counted yet",
        ),
        Panel(
            kind="stat",
            title="Records/s",
            description=(
                "The pace of the last 10 minutes, or since the run started if that is later, while an import runs."
            ),
            size=(3, 4),
            queries=[Query(expr=PACE, legend=_PLACE)],
            decimals=1,
            steps=[(None, ORANGE), (0.001, DEFAULT)],
            unit="short",
            nothing="Not running",
        ),
        Panel(
            kind="stat",
            title="Rejected",
            description=(
                "Records that were rejected. The real number can be greater, because Rocket.Chat does not count "
                "messages that fail. An API import counts each user who already exists as rejected, so thousands can "
                "be normal for a nightly synchronization."
            ),
            size=(3, 4),
            queries=[Query(expr=each("operation_records_failed"), legend=_PLACE)],
            unit="locale",
            steps=[(None, DEFAULT), (1, ORANGE)],
            nothing="None counted yet",
        ),
        Panel(
            kind="stat",
            title="Last progress",
            description="Time since the step or the counts last changed, while an import loads or runs.",
            size=(4, 4),
            queries=[
                Query(
                    expr=where(since("operation_progress_timestamp_seconds"), FRAGILE),
                    legend=_PLACE,
                )
            ],
            unit="dtdurations",
            decimals=0,
            steps=[(None, DEFAULT), (600, ORANGE), (int(STALLED_AFTER), VERMILION)],
            nothing="Not running",
        ),
        Panel(
            kind="stat",
            title="Data age",
            description=(
                f"Time since the last poll that read the state. By default it is polled every {POLL_INTERVAL.default} "
                f"while an import is unfinished, and every {POLL_INTERVAL_IDLE.default} otherwise. After three failed "
                "polls the data is stale."
            ),
            size=(3, 4),
            queries=[Query(expr=DATA_AGE, legend=_PLACE)],
            unit="dtdurations",
            decimals=0,
            steps=[(None, DEFAULT), (120, ORANGE), (180, VERMILION)],
            nothing="Never read yet",
        ),
        Panel(
            kind="state-timeline",
            title="Timeline",
            description="Outcome and step over time, with marks where an import was created or ended.",
            size=(24, 6),
            queries=[
                Query(expr=OUTCOME, legend=f"Outcome {_PLACE}", range=True),
                Query(expr=STEP, legend=f"Step {_PLACE}", range=True),
            ],
            words=OUTCOME_NUMBERS,
            overrides=[of_frame("B", "mappings", mappings(STEP_NUMBERS))],
            nothing=_NO_EXPORTER,
        ),
    ]
)

_COURSE: Final = Section(
    title="Progress over time",
    panels=[
        Panel(
            kind="timeseries",
            title="Records over time",
            description=(
                "The counts that Rocket.Chat writes every 50 records, or every 500 for messages. If the counts go "
                "back, a new import was created."
            ),
            size=(12, 8),
            queries=[
                Query(expr=TOTAL, legend=f"total {_PLACE}", range=True),
                Query(expr=each("operation_records_completed"), legend=f"completed {_PLACE}", range=True),
                Query(expr=each("operation_records_failed"), legend=f"rejected {_PLACE}", range=True),
            ],
            unit="locale",
            overrides=[colored("A", GREY), colored("B", BLUE), colored("C", ORANGE)],
            nothing="No records in this time range",
        ),
        Panel(
            kind="timeseries",
            title="Records per second",
            description="Records completed and rejected per second, averaged over at least four minutes.",
            size=(12, 8),
            queries=[
                Query(
                    expr=f"max by ({WORKSPACE_LABELS}) (rate({series('records_completed_total')}[$__rate_interval]))",
                    legend=f"completed {_PLACE}",
                    range=True,
                ),
                Query(
                    expr=f"max by ({WORKSPACE_LABELS}) (rate({series('records_failed_total')}[$__rate_interval]))",
                    legend=f"rejected {_PLACE}",
                    range=True,
                ),
            ],
            unit="short",
            overrides=[colored("A", BLUE), colored("B", ORANGE)],
            nothing="Prometheus scraped no exporter in this time range",
        ),
    ],
)


_ITS_PAGE: Final = f"{EXPORTER_PAGE}workspaces/${{workspace}}"


def _titles(*outcomes: Outcome) -> str:
    return ", ".join(dict.fromkeys(f"*{advice.OUTCOMES[outcome].title}*" for outcome in outcomes))


_STEPS: Final = f"""\
**[The workspace's own page]({_ITS_PAGE}) says what to do now.** In short, by the outcome above:

- {_titles(Outcome.LOADING, Outcome.RUNNING)}, *{advice.UNSEEN}*: an import runs or may be running.
  **Do not restart, update or scale Rocket.Chat.**
- {_titles(Outcome.FAILED, Outcome.INTERRUPTED, Outcome.INCOMPLETE, Outcome.COMPLETED_WITH_ERRORS)}: save
  Rocket.Chat's log and the collection `rocketchat_import_data` before anyone starts or clears an import, because that
  deletes them. Then follow the [runbook]({RUNBOOK}).
- {_titles(Outcome.UNCONFIRMED)}: compare the number of records in Rocket.Chat with the source.
- {_titles(Outcome.WAITING)}: someone has to choose what to import and start it in Rocket.Chat.
- {_titles(Outcome.NONE, Outcome.SUCCEEDED, Outcome.DISCARDED, Outcome.CANCELED)}: nothing to do.
"""

_TROUBLE: Final = Section(
    title="Problems and what to do",
    panels=[
        Panel(
            kind="table",
            title="Failing API calls",
            description=(
                "Endpoints of Rocket.Chat's API whose last call failed. This does no harm while the state is known: a "
                "token with the read-only permission may not call import.status, and is enough. An endpoint links to "
                "the workspace's page on the exporter, which says what to do."
            ),
            size=(14, 6),
            queries=[
                Query(
                    expr=f"{each('failing', 'api', 'reason')}\n* on ({WORKSPACE_LABELS}) group_left () {each('up')}",
                    table=True,
                )
            ],
            columns=[
                Column(
                    source="api",
                    title="Endpoint",
                    width=210,
                    link=("What to do", _ITS_PAGE),
                ),
                Column(source="reason", title="Reason", words=values(REASONS), cell="color-text"),
                Column(
                    source="A",
                    title="State known?",
                    words={"0": ("no", VERMILION), "1": ("yes", DEEP_BLUE)},
                    width=115,
                ),
            ],
            nothing="No call fails",
        ),
        Panel(
            kind="alertlist",
            title="Alerts",
            description=(
                "Pending and firing alerts about this workspace, evaluated by Prometheus or by Grafana. The list stays "
                "empty if neither has loaded the rules: see deploy/prometheus and grafana/provisioning/alerting."
            ),
            size=(10, 6),
            options={"alertInstanceLabelFilter": '{workspace="$workspace"}'},
        ),
        Panel(
            kind="table",
            title="Times of the newest import",
            description=(
                "When the newest import was created, started to import, entered its step, last made progress and "
                "ended, by the server's clock, and when it was last seen. A dash means that this was not seen, or has "
                "not happened."
            ),
            size=(24, 5),
            queries=[
                Query(expr=OUTCOME, table=True),
                Query(
                    expr=one_of_each(each("operation_info", "operation_id", "importer", "source")),
                    table=True,
                ),
                Query(expr=f"{each('operation_created_timestamp_seconds')} * 1000", table=True),
                Query(expr=f"{each('operation_run_started_timestamp_seconds')} * 1000", table=True),
                Query(expr=f"{each('operation_step_started_timestamp_seconds')} * 1000", table=True),
                Query(expr=f"{each('operation_progress_timestamp_seconds')} * 1000", table=True),
                Query(expr=f"{each('operation_finished_timestamp_seconds')} * 1000", table=True),
                Query(expr=f"{each('last_successful_poll_timestamp_seconds')} * 1000", table=True),
                Query(expr=each("operation_valid"), table=True),
            ],
            columns=[
                *PLACE,
                Column(source="A", title="Outcome", words=OUTCOME_NUMBERS, width=170),
                Column(source="importer", title="Importer", width=80),
                Column(source="operation_id", title="Operation", width=160),
                Column(source="C", title="Created", unit="time:MMM D, HH:mm:ss"),
                Column(source="D", title="Run started", unit="time:MMM D, HH:mm:ss"),
                Column(source="E", title="Step started", unit="time:MMM D, HH:mm:ss"),
                Column(source="F", title="Last progress", unit="time:MMM D, HH:mm:ss"),
                Column(source="G", title="Ended", unit="time:MMM D, HH:mm:ss"),
                Column(source="H", title="Last seen", unit="time:MMM D, HH:mm:ss"),
                Column(
                    source="I",
                    title="Valid",
                    words={"0": ("no", DEFAULT), "1": ("yes", DEFAULT)},
                    cell="color-text",
                    width=60,
                ),
            ],
            nothing=_NO_EXPORTER,
        ),
        Panel(
            kind="text",
            title="What to do",
            description="The first steps for each outcome, and a link to the page that knows this workspace's own.",
            size=(24, 7),
            options={"content": _STEPS},
            links=[TO_RUNBOOK],
        ),
    ],
)

_HISTORY: Final = Section(
    title="Past imports",
    panels=[
        Panel(
            kind="table",
            title="Last end by importer and outcome",
            description=(
                "When an import of each importer last ended with each outcome, as far as the exporter and the server "
                "remember."
            ),
            size=(12, 7),
            queries=[
                Query(expr=f"{each('last_finished_timestamp_seconds', 'importer', 'outcome')} * 1000", table=True)
            ],
            columns=[
                Column(source="A", title="Last time", unit="time:YYYY-MM-DD HH:mm", width=150),
                *PLACE,
                Column(source="importer", title="Importer"),
                Column(source="outcome", title="Outcome", words=values(_FINISHED_WORDS)),
            ],
            sort="Last time",
            nothing="No import has ended yet",
        ),
        Panel(
            kind="bargauge",
            title="Latest imports",
            description="The imports in the server's list of the latest 20, by outcome.",
            size=(6, 7),
            queries=[
                Query(
                    expr=f"{by_word(each('recent_operations', 'outcome'))} > 0",
                    legend="{{word}}",
                )
            ],
            unit="none",
            decimals=0,
            limits=(0, None),
            overrides=[
                renamed(word.value.value, word.text, word.color) for word in OUTCOMES if word.value is not Outcome.NONE
            ],
            nothing="The list is empty or not readable",
        ),
        Panel(
            kind="bargauge",
            title="Records by kind",
            description="The records that the newest import has loaded, by kind.",
            size=(6, 7),
            queries=[Query(expr=f"sum by (kind) ({each('operation_staged_records', 'kind')})", legend="{{kind}}")],
            unit="locale",
            limits=(0, None),
            steps=[(None, BLUE)],
            nothing="Not known",
        ),
        Panel(
            kind="table",
            title="Last result by importer",
            description=(
                "The newest finished import of each importer that was not discarded: its records, and the share of "
                "them, or of its users, that was rejected. Alerts judge each importer by these numbers."
            ),
            size=(18, 7),
            queries=[
                Query(expr=each("last_finished_records", "importer"), table=True),
                Query(expr=each("last_finished_records_completed", "importer"), table=True),
                Query(expr=each("last_finished_records_failed", "importer"), table=True),
                Query(expr=each("last_finished_failed_ratio", "importer"), table=True),
                Query(expr=each("last_finished_duration_seconds", "importer"), table=True),
            ],
            columns=[
                *PLACE,
                Column(source="importer", title="Importer"),
                Column(source="A", title="Records", unit="locale"),
                Column(source="B", title="Completed", unit="locale"),
                Column(source="C", title="Rejected", unit="locale", steps=[(None, DEFAULT), (1, ORANGE)]),
                Column(source="D", title="Share rejected", unit="percentunit", decimals=1),
                Column(source="E", title="Duration", unit="dtdurations", decimals=0),
            ],
            nothing="No import has ended yet",
        ),
        Panel(
            kind="stat",
            title="Age of the newest import",
            description="Time since its creation, while it waits, loads or runs.",
            size=(6, 7),
            queries=[Query(expr=where(each("operation_age_seconds"), ALIVE), legend=_PLACE)],
            unit="dtdurations",
            decimals=0,
            nothing="No unfinished import",
        ),
        Panel(
            kind="bargauge",
            title="Imports that ended in this time range",
            description=(
                "By outcome, and including imports that started and ended between two polls. An import that was cut "
                "off is counted twice if Rocket.Chat first calls it error and then done."
            ),
            size=(24, 7),
            queries=[
                Query(
                    expr=(
                        "round("
                        + by_word(
                            f"max by ({WORKSPACE_LABELS}, outcome) "
                            f"(increase({series('operations_finished_total')}[$__range]))"
                        )
                        + ") > 0"
                    ),
                    legend="{{word}}",
                )
            ],
            unit="none",
            decimals=0,
            limits=(0, None),
            overrides=[renamed(word.value.value, word.text, word.color) for word in _FINISHED_WORDS],
            nothing="No import ended in this time range",
        ),
    ],
)

BOARD: Final = Board(
    uid=IMPORT,
    title="Rocket.Chat import",
    description="What is my import doing, when will it end, and did it really work?",
    since="3h",
    variables=[*FOR_ONE, EXPORTER_VARIABLE],
    links=[TO_IMPORTS, TO_EXPORTER, *OUTWARD],
    annotations=ANNOTATIONS,
    workspaces='workspace="$workspace"',
    sections=[_NOW, _COURSE, _TROUBLE, _HISTORY],
)
