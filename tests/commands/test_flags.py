"""The command line is read exactly, or refused without repeating a secret. Help lists all flags and commands."""

from collections.abc import Mapping

import pytest

from rc_import_exporter.cli import COMMANDS as REAL_COMMANDS
from rc_import_exporter.commands import flags
from rc_import_exporter.commands.flags import OPTION_FLAGS, SWITCH, Command, Flag, Invocation
from rc_import_exporter.config import values
from rc_import_exporter.config.notation import DOTTED, VARIABLE
from rc_import_exporter.config.options import OPTIONS, Group
from rc_import_exporter.errors import ConfigurationError


def run(invocation: Invocation, environ: Mapping[str, str]) -> int:
    """Does nothing, because no test runs a command."""
    return 0


OUTPUT = Flag(name="--output", value=values.text(r"[a-z.-]+", "a name", "FILE"), default="-", help="Where to.")
QUIET = Flag(name="--quiet", value=SWITCH, default="false", help="Say nothing.")
WITHIN = Flag(name="--within", value=values.seconds(0, 60), help="How long.")
CHECK = Command(name="check", run=run, summary="Finds the mistake before the daemon runs.", details="Exit code: 0.")
ONCE = Command(
    name="once",
    run=run,
    summary="One poll of everything.",
    flags=(OUTPUT, QUIET, WITHIN),
    examples=("once --quiet", "once --output=page"),
)
WATCH = Command(name="watch", run=run, summary="Follows an import.", operands="[WORKSPACE]")
COMMANDS = (CHECK, ONCE, WATCH)
SECRET = "Zt0k3n-Zt0k3n_Zt0k3n-Zt0k3n_Zt0k3n-Zt0k3n_Z"


def parse(*argv: str) -> Invocation:
    """Read these words with the commands above."""
    return flags.parse(argv, COMMANDS)


def mistakes(*argv: str) -> tuple[str, ...]:
    """The mistakes in these words."""
    with pytest.raises(ConfigurationError) as refused:
        parse(*argv)
    return refused.value.mistakes


def test_no_words_start_the_daemon_with_nothing_set() -> None:
    """All options may come from the environment."""
    assert parse() == Invocation()


@pytest.mark.parametrize("words", [("--log.level", "debug"), ("--log.level=debug",)])
def test_a_value_follows_its_flag_or_an_equals_sign(words: tuple[str, ...]) -> None:
    """People write both."""
    assert parse(*words).options == {"log.level": "debug"}


def test_the_flags_are_those_of_the_process_and_the_quick_start() -> None:
    """All other options are variables and YAML, so that a setup is in one place and help stays short."""
    quick_start = {"url", "user_id", "user_id_file", "auth_token_file"}
    process = {DOTTED.write(option.path) for option in OPTIONS if option.group is Group.PROCESS}
    process -= {"grafana_url", "workspaces_files"}  # a shell would expand the wildcards of the second
    assert {DOTTED.write(option.path) for option in OPTION_FLAGS.values()} == process | quick_start
    assert parse("--auth-token-file=x", "--user-id", "u").options == {"auth_token_file": "x", "user_id": "u"}


@pytest.mark.parametrize("words", [("--auth-token", SECRET), (f"--auth-token={SECRET}",), ("--auth-token", "--Ab")])
def test_a_token_on_the_command_line_is_refused_with_what_to_use(words: tuple[str, ...]) -> None:
    """Other users of the machine can read a command line. The message does not repeat the token."""
    (told,) = mistakes(*words)
    assert told == (
        "flag --auth-token: other users of this machine can read the command line; use --auth-token-file, or set "
        "RC_IMPORT_EXPORTER_AUTH_TOKEN in the environment"
    )


@pytest.mark.parametrize(
    ("flag", "path"),
    [
        ("--poll-interval", "poll_interval"),
        ("--poll_interval", "poll_interval"),
        ("--tls.ca-file", "tls.ca_file"),
        ("--workspaces.acme.url", "workspaces.acme.url"),
        ("--workspaces.chat.example.org.tls.ca-file", "workspaces.chat.example.org.tls.ca_file"),
        ("--workspaces.my-team_1.auth-token-file", "workspaces.my-team_1.auth_token_file"),
        ("--workspaces.acme.labels.cost-center", "workspaces.acme.labels.cost_center"),
        ("--workspaces.tls.tls.server-name", "workspaces.tls.tls.server_name"),
    ],
)
def test_another_option_is_refused_with_its_variable_and_its_key(flag: str, path: str) -> None:
    """The name of a workspace may have dots and dashes. The next word is the value."""
    variable = VARIABLE.write(tuple(DOTTED.read(path) or ()))
    told = f"flag {flag}: this option is not a flag; set {path} in the YAML file, or {variable} in the environment"
    assert mistakes(flag, SECRET) == mistakes(f"{flag}={SECRET}") == (told,)


def test_a_token_of_a_workspace_is_refused_with_what_to_use() -> None:
    (told,) = mistakes("--workspaces.my-team.auth-token", SECRET)
    assert told == (
        "flag --workspaces.my-team.auth-token: other users of this machine can read the command line; set "
        "workspaces.my-team.auth_token_file in the YAML file, or set "
        "RC_IMPORT_EXPORTER_WORKSPACES__MY-TEAM__AUTH_TOKEN in the environment"
    )


def test_a_header_on_the_command_line_is_refused_with_what_to_use() -> None:
    """Its value is a secret, too."""
    (told,) = mistakes("--headers.x-gate", SECRET)
    assert "set headers_file.x_gate in the YAML file" in told


def test_a_switch_among_the_options_needs_no_value() -> None:
    """As in Prometheus; the next word is not its value."""
    assert parse("--web.enable-lifecycle", "--url", "u").options == {"web.enable_lifecycle": "true", "url": "u"}
    assert parse("--web.enable-lifecycle=false").options == {"web.enable_lifecycle": "false"}


def test_a_value_may_begin_with_dashes() -> None:
    """A path or an id may begin with dashes."""
    assert parse("--user-id", "--Ab").options == {"user_id": "--Ab"}
    assert parse("--config.file", "-").options == {"config.file": "-"}


def test_a_flag_is_no_other_flag_s_value() -> None:
    """A forgotten value must not swallow the next flag."""
    assert mistakes("--config.file", "--log.level", "debug") == ("flag --config.file: its value is missing",)
    assert mistakes("--config.file") == ("flag --config.file: its value is missing",)


def test_a_flag_twice_is_a_mistake() -> None:
    """One of the two values would be lost."""
    assert mistakes("--log.level=info", "--log.level=info") == ("flag --log.level: is set twice",)
    assert mistakes("once", "--quiet", "--quiet") == ("flag --quiet: is set twice",)


def test_a_misspelt_flag_is_named_with_what_was_meant() -> None:
    """The value of the flag is not taken for a command."""
    assert mistakes("--log.levle", "debug") == ("flag --log.levle: no such flag; did you mean --log.level?",)
    assert mistakes("--frobnicate") == ("flag --frobnicate: no such flag; see --help",)


@pytest.mark.parametrize(
    ("flag", "meant"),
    [
        ("--workspaces.a.b.expect.sucess-every", "workspaces.a.b.expect.success_every"),
        ("--labls.team", "labels.team"),
        ("--pol-interval", "poll_interval"),
    ],
)
def test_a_misspelt_option_is_named_with_what_was_meant(flag: str, meant: str) -> None:
    """This works at any level, although the right spelling is not a flag."""
    wanted = (
        f"flag {flag}: no such flag; did you mean the option {meant}? Set it in the YAML file or in the environment"
    )
    assert mistakes(f"{flag}=1d") == mistakes(flag, "1d") == (wanted,)


def test_flags_are_not_abbreviated() -> None:
    """A later flag would change what an abbreviation means."""
    assert len(mistakes("--log.form=json")) == 1
    assert len(mistakes("--vers")) == 1


def test_all_mistakes_are_told_at_once() -> None:
    """Otherwise it takes one start for each mistake."""
    assert len(mistakes("--log.levle=x", "chek", "--config.file")) == 3
    assert len(mistakes("once", "--within=x", "--output=1", "--auth-token=x")) == 3


@pytest.mark.parametrize(
    "words",
    [
        (SECRET,),
        (f"--{SECRET}",),
        ("--auth-tokn", SECRET),
        (f"--auth-tokn={SECRET}",),
        ("check", SECRET),
        (f"-{SECRET}",),
        ("--auth-token", SECRET),
        ("--proxy-url", SECRET),
        (f"--workspaces.{SECRET}.url=x",),
        (f"--labels.{SECRET}", "x"),
        ("once", "--within", SECRET),
        ("once", "--output", SECRET),
    ],
)
def test_no_message_shows_a_secret_that_stands_in_a_wrong_place(words: tuple[str, ...]) -> None:
    """A lost quote or dash must not put a token into a log."""
    assert SECRET not in "\n".join(mistakes(*words))


def test_a_command_s_own_flags_follow_it() -> None:
    """Other flags may be anywhere. Flags that are not given have their defaults."""
    read = parse("--log.level=debug", "once", "--quiet", "--output", "page.prom")
    assert (read.command, read.options, read.given) == (
        ONCE,
        {"log.level": "debug"},
        {"--quiet": True, "--output": "page.prom"},
    )
    assert (read[QUIET], read[OUTPUT], read.get(WITHIN)) == (True, "page.prom", None)
    assert (parse("once")[QUIET], parse("once")[OUTPUT]) == (False, "-")
    assert parse("once", "--within=1m")[WITHIN] == 60
    assert mistakes("--quiet", "once") == ("flag --quiet: no such flag; see --help",)
    assert mistakes("once", "--qiet") == ("flag --qiet: no such flag; did you mean --quiet?",)


def test_a_command_s_flag_keeps_to_its_bounds() -> None:
    """The error comes before the command runs."""
    (told,) = mistakes("once", "--within=soon")
    assert told.startswith("flag --within: must be a duration from 0s to 1m")


def test_only_a_command_with_operands_takes_further_words() -> None:
    """A misspelt command is recognised."""
    assert parse("watch", "acme", "other").operands == ("acme", "other")
    assert mistakes("check", "acme") == ("word 2 of the command line: check takes no such word",)
    assert mistakes("chekc")[0].endswith("did you mean check?")
    assert mistakes("frobnicate")[0].endswith("the commands are check, once, watch")


def test_help_and_version_outweigh_mistakes() -> None:
    """Someone who asks for help has probably made one."""
    assert parse("--frobnicate", "--help").help
    assert parse("once", "-h").command is ONCE
    assert parse("--version", "nonsense").version


def test_help_names_every_flag_and_command() -> None:
    """Help shows allowed values and defaults, from the options themselves."""
    text = " ".join(flags.help_text(COMMANDS).split())
    for name, option in OPTION_FLAGS.items():
        assert name in text
        assert f"{option.help} Allowed: {option.value.allowed}." in text
        assert not option.default or f"Default: {option.default}." in text
    for command in COMMANDS:
        assert command.summary in text
    assert "rc_import_exporter/config/README.md" in text
    assert "--poll-interval" not in text


def test_a_command_s_help_lists_its_own_flags_and_examples() -> None:
    """The usage comes first, the reference of all options last."""
    text = flags.help_text(COMMANDS, ONCE)
    assert text.startswith("Usage: rc-import-exporter once [flags]\n\nOne poll of everything.\n")
    assert "--output FILE\n      Where to. Allowed: a name. Default: -.\n  --quiet\n      Say nothing.\n" in text
    assert "Examples:\n  rc-import-exporter once --quiet\n  rc-import-exporter once --output=page\n" in text
    assert "--log.level" not in text
    assert "rc_import_exporter/config/README.md" in text.splitlines()[-1]
    assert flags.help_text(COMMANDS, WATCH).startswith("Usage: rc-import-exporter watch [flags] [WORKSPACE]\n")


@pytest.mark.parametrize("command", [None, *REAL_COMMANDS], ids=lambda command: command.name if command else "none")
def test_help_fits_a_terminal(command: Command | None) -> None:
    """No line is longer than 100 characters."""
    assert max(map(len, flags.help_text(REAL_COMMANDS, command).splitlines())) <= 100


@pytest.mark.parametrize("command", REAL_COMMANDS, ids=lambda command: command.name)
def test_every_example_in_help_can_be_typed(command: Command) -> None:
    """Each command has two or three examples."""
    assert len(command.examples) in {2, 3}
    for example in command.examples:
        read = flags.parse(example.partition(" |")[0].split(), REAL_COMMANDS)
        assert read.command is command
