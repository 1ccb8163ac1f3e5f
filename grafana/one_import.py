"""The board "Rocket.Chat import": for whoever runs a migration tonight, and for whoever is woken by it."""

from typing import Final

from grafana.frame import (
    ANNOTATIONS,
    DATA_SOURCE_VARIABLE,
    EXPORTER_VARIABLE,
    IMPORT,
    INSTANCE,
    JOB,
    OUTWARD,
    RUNBOOK,
    TO_EXPORTER,
    TO_IMPORTS,
    TO_RUNBOOK,
    WORKSPACE,
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
    each,
    series,
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
from rc_import_exporter.core.domain import FINISHED, Outcome

_NO_EXPORTER: Final = "No exporter is scraped"
_FINISHED_WORDS: Final = [word for word in OUTCOMES if word.value in FINISHED]

_NOW: Final = Section(
    panels=[
        Panel(
            kind="stat",
            title="May Rocket.Chat be restarted?",
            description=(
                "A server of the cluster that starts, restarts or is added while an import loads or runs cuts the "
                "import off for good: there is no resume. Judged by all selected workspaces."
            ),
            size=(24, 3),
            queries=[Query(expr=BANNER)],
            words={
                "0": ("Yes: no import is loading or running", DEEP_BLUE),
                "1": ("Not known: a workspace is out of sight, an import may be running", SLATE),
                "2": ("DO NOT RESTART OR SCALE ROCKET.CHAT NOW: an import is under way", VERMILION),
            },
            options={"colorMode": "background", "textMode": "value"},
            nothing=_NO_EXPORTER,
        ),
        Panel(
            kind="stat",
            title="What has it come to?",
            description=(
                "The exporter's verdict on the newest import. Unlike Rocket.Chat's own state, it tells an import that "
                "succeeded from one that was cut off or lost records, and one that failed from one that was discarded."
            ),
            size=(7, 4),
            queries=[Query(expr=OUTCOME, legend="{{workspace}}")],
            words=OUTCOME_NUMBERS,
            options={"colorMode": "background"},
            nothing=_NO_EXPORTER,
        ),
        Panel(
            kind="bargauge",
            title="How far is it?",
            description=(
                "Records completed or rejected, of all. There is no figure before everything is loaded. It may end "
                "below 100 % (deselected records are never processed) and reach it early (file imports count users "
                "twice)."
            ),
            size=(7, 4),
            queries=[Query(expr=PROGRESS, legend="{{workspace}}")],
            unit="percentunit",
            decimals=0,
            limits=(0, 1),
            steps=[(None, BLUE)],
            nothing="Nothing to measure before an import is loaded",
        ),
        Panel(
            kind="stat",
            title="Time left",
            description="What is left, at the pace of the last 10 minutes. Only while an import runs and moves.",
            size=(5, 4),
            queries=[Query(expr=LEFT, legend="{{workspace}}")],
            unit="dtdurations",
            decimals=1,
            nothing="Not running",
        ),
        Panel(
            kind="stat",
            title="It will end at about",
            description="The hour at which it is through, at the pace of the last 10 minutes, in your browser's time.",
            size=(5, 4),
            queries=[Query(expr=f"(time() + {LEFT}) * 1000", legend="{{workspace}}")],
            unit="time:ddd HH:mm",
            nothing="Not running",
        ),
        Panel(
            kind="stat",
            title="State, by Rocket.Chat",
            description=(
                "The server's own word, which hides much: error covers failed, interrupted and discarded, done covers "
                "succeeded, done with rejected records, and cut off."
            ),
            size=(3, 4),
            queries=[Query(expr=STATE, legend="{{workspace}}")],
            words=STATE_NUMBERS,
            options={"colorMode": "background"},
            nothing=_NO_EXPORTER,
        ),
        Panel(
            kind="stat",
            title="Step",
            description="What the import is at, as the server writes it. After a crash it stays frozen where it was.",
            size=(4, 4),
            queries=[Query(expr=STEP, legend="{{workspace}}")],
            words=STEP_NUMBERS,
            options={"colorMode": "background"},
            nothing=_NO_EXPORTER,
        ),
        Panel(
            kind="stat",
            title="Records",
            description="How many records were completed or rejected, and of how many. The total grows while loading.",
            size=(4, 4),
            queries=[
                Query(expr=PROCESSED, legend="{{workspace}} done"),
                Query(expr=TOTAL, legend="{{workspace}} of"),
            ],
            unit="locale",
            options={"textMode": "value_and_name", "orientation": "vertical"},
            nothing="None counted yet",
        ),
        Panel(
            kind="stat",
            title="Records per second",
            description="Over the last 10 minutes, or since it began to import if that is later. Only while it runs.",
            size=(3, 4),
            queries=[Query(expr=PACE, legend="{{workspace}}")],
            decimals=1,
            steps=[(None, ORANGE), (0.001, DEFAULT)],
            unit="short",
            nothing="Not running",
        ),
        Panel(
            kind="stat",
            title="Rejected records",
            description=(
                "A lower bound: messages that fail are not counted. An import through the API counts every user who "
                "already exists as rejected, so a nightly synchronisation may rightly show thousands."
            ),
            size=(3, 4),
            queries=[Query(expr=each("operation_records_failed"), legend="{{workspace}}")],
            unit="locale",
            steps=[(None, DEFAULT), (1, ORANGE)],
            nothing="None counted yet",
        ),
        Panel(
            kind="stat",
            title="Last moved",
            description=(
                "Since when neither step nor counts moved, while an import is loading or running: a stall shows here."
            ),
            size=(4, 4),
            queries=[
                Query(
                    expr=where(f"time() - {each('operation_progress_timestamp_seconds')}", FRAGILE),
                    legend="{{workspace}}",
                )
            ],
            unit="dtdurations",
            decimals=1,
            steps=[(None, DEFAULT), (600, ORANGE), (1800, VERMILION)],
            nothing="Not under way",
        ),
        Panel(
            kind="stat",
            title="Age of the data",
            description=(
                "How long ago the state could last be told. Polls come every 15 s while an import is under way and "
                "every 60 s otherwise, unless configured; two to three missed polls make the data stale."
            ),
            size=(3, 4),
            queries=[Query(expr=DATA_AGE, legend="{{workspace}}")],
            unit="dtdurations",
            decimals=1,
            steps=[(None, DEFAULT), (120, ORANGE), (180, VERMILION)],
            nothing="Never told yet",
        ),
        Panel(
            kind="state-timeline",
            title="What happened when?",
            description=(
                "The outcome and the step of each workspace over time, with a mark where an import began or ended."
            ),
            size=(24, 6),
            queries=[
                Query(expr=OUTCOME, legend="{{workspace}}", range=True),
                Query(expr=STEP, legend="{{workspace}} step", range=True),
            ],
            words=OUTCOME_NUMBERS,
            overrides=[of_frame("B", "mappings", mappings(STEP_NUMBERS))],
            nothing=_NO_EXPORTER,
        ),
    ]
)

_COURSE: Final = Section(
    title="How it goes",
    panels=[
        Panel(
            kind="timeseries",
            title="How many records are done, and of how many?",
            description=(
                "The counts that the server writes every 50 records, every 500 for messages. A step back is a new "
                "import."
            ),
            size=(12, 8),
            queries=[
                Query(expr=TOTAL, legend="{{workspace}} total", range=True),
                Query(expr=each("operation_records_completed"), legend="{{workspace}} completed", range=True),
                Query(expr=each("operation_records_failed"), legend="{{workspace}} rejected", range=True),
            ],
            unit="locale",
            overrides=[colored("A", GREY), colored("B", BLUE), colored("C", ORANGE)],
            nothing="Nothing was counted in this time",
        ),
        Panel(
            kind="timeseries",
            title="How fast is it?",
            description="Records per second, completed and rejected, smoothed over four minutes or more.",
            size=(12, 8),
            queries=[
                Query(
                    expr=f"max by (workspace) (rate({series('records_completed_total')}[$__rate_interval]))",
                    legend="{{workspace}} completed",
                    range=True,
                ),
                Query(
                    expr=f"max by (workspace) (rate({series('records_failed_total')}[$__rate_interval]))",
                    legend="{{workspace}} rejected",
                    range=True,
                ),
            ],
            unit="short",
            overrides=[colored("A", BLUE), colored("B", ORANGE)],
            nothing="No exporter was scraped in this time",
        ),
    ],
)

_STEPS: Final = f"""\
1. **Read the verdict above.** *Failed*, *Interrupted* and *Cut off* are over and do not resume.
   *Out of sight* may still be running: **restart nothing**.
2. **Keep the evidence** before anybody starts or clears an import, for that deletes it: Rocket.Chat's log,
   and the collection `rocketchat_import_data`.
3. **Mend and repeat**: check the settings that a crash leaves changed, then import again, as the
   [runbook]({RUNBOOK}) says for this alert.
"""

_TROUBLE: Final = Section(
    title="What is wrong, since when, and what to do",
    panels=[
        Panel(
            kind="table",
            title="What is failing, and why?",
            description=(
                "Calls to Rocket.Chat's API whose last try failed. One endpoint that fails is no harm as long as the "
                "state is still told: a token with the read-only permission is refused by import.status, and is "
                "enough."
            ),
            size=(14, 6),
            queries=[
                Query(
                    expr=f"{each('failing', 'api', 'reason')}\n* on (workspace) group_left () {each('up')}",
                    table=True,
                )
            ],
            columns=[
                Column(source="workspace", title="Workspace", width=150),
                Column(source="api", title="Endpoint", width=190),
                Column(source="reason", title="Why, and what to do", words=values(REASONS), cell="color-text"),
                Column(
                    source="A",
                    title="State told?",
                    words={"0": ("no", VERMILION), "1": ("yes, otherwise", DEEP_BLUE)},
                    width=115,
                ),
            ],
            nothing="Nothing is failing: every endpoint that is asked answers",
        ),
        Panel(
            kind="alertlist",
            title="Which alerts fire?",
            description=(
                "Alerts of this exporter that are pending or firing, whether Prometheus or Grafana evaluates them. "
                "The list is empty where no rules are loaded: see the files beside this dashboard."
            ),
            size=(10, 6),
        ),
        Panel(
            kind="table",
            title="Since when?",
            description=(
                "The newest import of each workspace: when it was created, when it entered its step and began to "
                "import, when it last moved, when it ended, and when it was last seen. An empty cell: it has not "
                "come to that."
            ),
            size=(24, 5),
            queries=[
                Query(expr=OUTCOME, table=True),
                Query(
                    expr=f"topk by (workspace) (1, {each('operation_info', 'operation_id', 'importer', 'source')})",
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
                Column(source="workspace", title="Workspace", width=130),
                Column(source="A", title="Verdict", words=OUTCOME_NUMBERS, width=180),
                Column(source="importer", title="Importer", width=80),
                Column(source="operation_id", title="Operation", width=160),
                Column(source="C", title="Created", unit="time:MMM D, HH:mm:ss"),
                Column(source="D", title="Began to import", unit="time:MMM D, HH:mm:ss"),
                Column(source="E", title="Entered its step", unit="time:MMM D, HH:mm:ss"),
                Column(source="F", title="Last moved", unit="time:MMM D, HH:mm:ss"),
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
            title="Three steps to take",
            description="What to do first, whichever alert woke you.",
            size=(24, 5),
            options={"content": _STEPS},
            links=[TO_RUNBOOK],
        ),
    ],
)

_HISTORY: Final = Section(
    title="Before",
    panels=[
        Panel(
            kind="table",
            title="When did an import last end, and how?",
            description=(
                "The latest end of each kind for each importer, in all that the exporter and the server remember."
            ),
            size=(12, 7),
            queries=[
                Query(expr=f"{each('last_finished_timestamp_seconds', 'importer', 'outcome')} * 1000", table=True)
            ],
            columns=[
                Column(source="A", title="Last time", unit="time:YYYY-MM-DD HH:mm", width=150),
                Column(source="workspace", title="Workspace"),
                Column(source="importer", title="Importer"),
                Column(source="outcome", title="How it ended", words=values(_FINISHED_WORDS)),
            ],
            sort="Last time",
            nothing="No import has ended yet, as far as is remembered",
        ),
        Panel(
            kind="bargauge",
            title="How did the latest 20 end?",
            description="The operations in the server's own list, by what they came to.",
            size=(6, 7),
            queries=[
                Query(expr=f"sum by (outcome) ({each('recent_operations', 'outcome')}) > 0", legend="{{outcome}}")
            ],
            unit="none",
            decimals=0,
            limits=(0, None),
            overrides=[
                renamed(word.value.value, word.text, word.color) for word in OUTCOMES if word.value is not Outcome.NONE
            ],
            nothing="The list is empty, or may not be read",
        ),
        Panel(
            kind="bargauge",
            title="What does it consist of?",
            description="Records that the newest import staged, by kind.",
            size=(6, 7),
            queries=[Query(expr=f"sum by (kind) ({each('operation_staged_records', 'kind')})", legend="{{kind}}")],
            unit="locale",
            limits=(0, None),
            steps=[(None, BLUE)],
            nothing="Nothing was counted by kind",
        ),
        Panel(
            kind="bargauge",
            title="How many ended in this time, and how?",
            description=(
                "Imports that ended in the time shown, by what they came to: also those that came and went between "
                "two polls. One that was interrupted and then seen to be cut off counts as both."
            ),
            size=(12, 7),
            queries=[
                Query(
                    expr=(
                        "round(sum by (outcome) (max by (workspace, outcome) "
                        f"(increase({series('operations_finished_total')}[$__range])))) > 0"
                    ),
                    legend="{{outcome}}",
                )
            ],
            unit="none",
            decimals=0,
            limits=(0, None),
            overrides=[renamed(word.value.value, word.text, word.color) for word in _FINISHED_WORDS],
            nothing="No import ended in this time",
        ),
        Panel(
            kind="stat",
            title="How long did the last one take?",
            description=(
                "From its creation to its end, for the importer of each kind; longer than expected shows in orange "
                "on the table of all workspaces."
            ),
            size=(6, 7),
            queries=[
                Query(expr=each("last_finished_duration_seconds", "importer"), legend="{{workspace}} {{importer}}")
            ],
            unit="dtdurations",
            decimals=1,
            nothing="No import has ended yet",
        ),
        Panel(
            kind="stat",
            title="How old is the newest import?",
            description="Since its creation, while it waits, loads or runs.",
            size=(6, 7),
            queries=[Query(expr=where(each("operation_age_seconds"), ALIVE), legend="{{workspace}}")],
            unit="dtdurations",
            decimals=1,
            nothing="None is under way",
        ),
    ],
)

BOARD: Final = Board(
    uid=IMPORT,
    title="Rocket.Chat import",
    description="What is my import doing, when will it end, and did it really work?",
    since="3h",
    variables=[DATA_SOURCE_VARIABLE, JOB, INSTANCE, WORKSPACE, EXPORTER_VARIABLE],
    links=[TO_IMPORTS, TO_EXPORTER, *OUTWARD],
    annotations=ANNOTATIONS,
    sections=[_NOW, _COURSE, _TROUBLE, _HISTORY],
)
