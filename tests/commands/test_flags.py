"""The command line is read to the letter, and help says everything."""

import pytest

from rc_import_exporter.commands import flags
from rc_import_exporter.commands.flags import Command, Extra, Invocation
from rc_import_exporter.config.options import FLAG, VARIABLE
from rc_import_exporter.config.settings import OPTIONS
from rc_import_exporter.errors import ConfigurationError

COMMANDS = (
    Command(name="check", help="Finds the mistake before the daemon runs."),
    Command(
        name="once",
        help="One poll of everything.",
        extras=(
            Extra(name="output", help="Where to.", metavar="FILE", default="-"),
            Extra(name="quiet", help="Say nothing."),
        ),
    ),
    Command(name="watch", help="Follows an import.", operands="[WORKSPACE]"),
)
SECRET = "Zt0k3n-Zt0k3n_Zt0k3n-Zt0k3n_Zt0k3n-Zt0k3n_Z"


def parse(*argv: str) -> Invocation:
    """Read these words with all options and the commands above."""
    return flags.parse(argv, OPTIONS, COMMANDS)


def mistakes(*argv: str) -> tuple[str, ...]:
    """What is wrong with these words."""
    with pytest.raises(ConfigurationError) as refused:
        parse(*argv)
    return refused.value.mistakes


def test_no_words_start_the_daemon_with_nothing_set() -> None:
    """All of it may come from the environment."""
    assert parse() == Invocation()


@pytest.mark.parametrize("words", [("--log.level", "debug"), ("--log.level=debug",)])
def test_a_value_follows_its_flag_or_an_equals_sign(words: tuple[str, ...]) -> None:
    """Both habits are served."""
    assert parse(*words).options == {"log.level": "debug"}


def test_dashes_in_flags_are_underscores_in_options() -> None:
    """`--a.b-c` is `a.b_c`, and only so."""
    assert parse("--poll-interval-idle=2m", "--tls.ca-file=x").options == {
        "poll_interval_idle": "2m",
        "tls.ca_file": "x",
    }
    assert mistakes("--poll_interval=1s") == ("flag --poll_interval: no such flag; did you mean --poll-interval?",)


@pytest.mark.parametrize(
    ("flag", "path"),
    [
        ("--workspaces.acme.url", "workspaces.acme.url"),
        ("--workspaces.chat.example.org.tls.ca-file", "workspaces.chat.example.org.tls.ca_file"),
        ("--workspaces.my-team_1.auth-token-file", "workspaces.my-team_1.auth_token_file"),
        ("--workspaces.acme.labels.cost-center", "workspaces.acme.labels.cost_center"),
        ("--workspaces.tls.tls.server-name", "workspaces.tls.tls.server_name"),
    ],
)
def test_a_workspace_s_name_stands_as_it_is_dots_and_dashes_included(flag: str, path: str) -> None:
    """It ends where an option begins."""
    assert parse(f"{flag}=x").options == {path: "x"}


def test_a_boolean_option_alone_is_true() -> None:
    """It takes a value after `=`, or the word true or false."""
    assert parse("--tls.verify", "check").options == {"tls.verify": "true"}
    assert parse("--tls.verify=false").options == {"tls.verify": "false"}
    assert parse("--tls.verify", "false", "check") == Invocation(command="check", options={"tls.verify": "false"})


def test_a_value_may_begin_with_dashes() -> None:
    """Tokens do."""
    assert parse("--auth-token", "--Ab").options == {"auth_token": "--Ab"}
    assert parse("--auth-token", "-").options == {"auth_token": "-"}


def test_a_flag_is_no_other_flag_s_value() -> None:
    """Who forgets a value learns which."""
    assert mistakes("--config.file", "--log.level", "debug") == ("flag --config.file: its value is missing",)
    assert mistakes("--config.file") == ("flag --config.file: its value is missing",)


def test_a_flag_twice_is_a_mistake() -> None:
    """One of them would be lost."""
    assert mistakes("--log.level=info", "--log.level=info") == ("flag --log.level: is there twice",)


def test_a_misspelt_flag_is_named_with_what_was_meant() -> None:
    """At any level, and without taking its value for a command."""
    assert mistakes("--log.levle", "debug") == ("flag --log.levle: no such flag; did you mean --log.level?",)
    meant = "--workspaces.a.b.expect.success-every"
    assert mistakes("--workspaces.a.b.expect.sucess-every=1d") == (
        f"flag --workspaces.a.b.expect.sucess-every: no such flag; did you mean {meant}?",
    )
    assert mistakes("--labls.team=x") == ("flag --labls.team: no such flag; did you mean --labels.team?",)
    assert mistakes("--frobnicate") == ("flag --frobnicate: no such flag; see --help",)


def test_flags_are_not_abbreviated() -> None:
    """A later flag would change what an abbreviation means."""
    assert len(mistakes("--log.form=json")) == 1
    assert len(mistakes("--vers")) == 1


def test_all_mistakes_are_told_at_once() -> None:
    """Nobody should have to start it three times."""
    assert len(mistakes("--log.levle=x", "chek", "--config.file")) == 3


@pytest.mark.parametrize(
    "words",
    [
        (SECRET,),
        (f"--{SECRET}",),
        ("--auth-tokn", SECRET),
        (f"--auth-tokn={SECRET}",),
        ("check", SECRET),
        (f"-{SECRET}",),
    ],
)
def test_no_message_shows_a_secret_that_stands_in_a_wrong_place(words: tuple[str, ...]) -> None:
    """A lost quote or dash must not put a token into a log."""
    assert SECRET not in "\n".join(mistakes(*words))


def test_a_command_s_own_flags_follow_it() -> None:
    """Options stand anywhere; defaults of the command are filled in."""
    assert parse("--log.level=debug", "once", "--quiet", "--output", "page.prom") == Invocation(
        command="once", options={"log.level": "debug"}, extras={"quiet": "true", "output": "page.prom"}
    )
    assert parse("once").extras == {"output": "-"}
    assert mistakes("--quiet", "once") == ("flag --quiet: no such flag; see --help",)
    assert mistakes("once", "--qiet") == ("flag --qiet: no such flag; did you mean --quiet?",)


def test_only_a_command_with_operands_takes_further_words() -> None:
    """And a misspelt command is recognised."""
    assert parse("watch", "acme", "other").operands == ("acme", "other")
    assert mistakes("check", "acme") == ("word 2 of the command line: check takes no such word",)
    assert mistakes("chekc")[0].endswith("did you mean check?")
    assert mistakes("frobnicate")[0].endswith("commands are check, once, watch")


def test_help_and_version_outweigh_mistakes() -> None:
    """Who asks for help has probably made one."""
    assert parse("--frobnicate", "--help").help
    assert parse("once", "-h").command == "once"
    assert parse("--version", "nonsense").version


def test_help_names_every_option_with_what_is_allowed_and_its_default() -> None:
    """It is made from the options themselves."""
    text = " ".join(flags.help_text(OPTIONS, COMMANDS).split())
    for option in OPTIONS:
        assert FLAG.write(tuple("NAME" if key == "*" else key for key in option.path)) in text
        assert f"{option.help} Allowed: {option.allowed}." in text
        assert not option.default or f"Default: {option.default}." in text
    for command in COMMANDS:
        assert command.help in text
    assert VARIABLE.write(("log", "level")) in text


def test_a_command_s_help_lists_its_own_flags() -> None:
    """Usage line first."""
    text = flags.help_text(OPTIONS, COMMANDS, "once")
    assert text.startswith("Usage: rc-import-exporter once [flags]\n")
    assert "--output FILE\n      Where to. Default: -." in text
    assert flags.help_text(OPTIONS, COMMANDS, "watch").startswith(
        "Usage: rc-import-exporter watch [flags] [WORKSPACE]\n"
    )


def test_help_fits_a_terminal() -> None:
    """No line is longer than 100 characters."""
    assert max(map(len, flags.help_text(OPTIONS, COMMANDS).splitlines())) <= 100
