"""Reads the command line, and writes the help text. Used by cli, which knows the commands; options come from settings.

`--a.b-c value` and `--a.b-c=value` set the option `a.b_c`. A boolean option alone is true. Words are never abbreviated.
"""

import difflib
import re
import textwrap
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from rc_import_exporter.config.options import ANY, DOTTED, FLAG, VARIABLE, WORKSPACES, Group, Option, option_at
from rc_import_exporter.errors import ConfigurationError

_WIDTH: Final = 100
_NAMED: Final = re.compile(r"--[a-z0-9._-]{1,60}")
"""A flag that may stand in a message; anything else could be a secret that lost its quotes."""
_BOOLEAN_WORDS: Final = frozenset({"true", "false"})
HELP: Final = frozenset({"--help", "-h"})
VERSION: Final = frozenset({"--version"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Extra:
    """A flag that one command alone has: `name` without its dashes; no `metavar` makes it a switch."""

    name: str
    help: str
    metavar: str = ""
    default: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command: its word, what it does in a line, its own flags, and what stands for its operands in help, if any."""

    name: str
    help: str
    extras: tuple[Extra, ...] = ()
    operands: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """A command line, read.

    `command` is empty for the daemon. `options` are texts by dotted path, as `settings.load` takes them. `extras` holds
    the command's own flags that were given, and the defaults of the others; a switch is there, as "true", if given.
    """

    command: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    extras: Mapping[str, str] = field(default_factory=dict)
    operands: tuple[str, ...] = ()
    help: bool = False
    version: bool = False


def parse(argv: Sequence[str], options: Sequence[Option], commands: Sequence[Command] = ()) -> Invocation:
    """Read the words after the program's name; raises `ConfigurationError` with every mistake, unless help is asked.

    A command's own flags stand after its name, options anywhere.
    """
    reader = _Reader(argv, options, commands)
    reader.run()
    if reader.mistakes and not (reader.help or reader.version):
        raise ConfigurationError(reader.mistakes)
    return reader.invocation()


class _Reader:
    """Takes one word after the other."""

    def __init__(self, argv: Sequence[str], options: Sequence[Option], commands: Sequence[Command]) -> None:
        self._words = deque(enumerate(argv, start=1))
        self._options = options
        self._commands = {command.name: command for command in commands}
        self._command: Command | None = None
        self._given: dict[str, str] = {}
        self._extras: dict[str, str] = {}
        self._operands: list[str] = []
        self.mistakes: list[str] = []
        self.help = False
        self.version = False

    def run(self) -> None:
        """Take all words."""
        while self._words:
            place, word = self._words.popleft()
            if word in HELP:
                self.help = True
            elif word in VERSION:
                self.version = True
            elif word.startswith("-"):
                self._flag(place, word)
            else:
                self._word(place, word)

    def invocation(self) -> Invocation:
        """What was read."""
        extras = self._command.extras if self._command else ()
        defaults = {extra.name: extra.default for extra in extras if extra.metavar and extra.default}
        return Invocation(
            command=self._command.name if self._command else "",
            options=self._given,
            extras=defaults | self._extras,
            operands=tuple(self._operands),
            help=self.help,
            version=self.version,
        )

    def _word(self, place: int, word: str) -> None:
        if self._command is None and word in self._commands:
            self._command = self._commands[word]
        elif self._command is not None and self._command.operands:
            self._operands.append(word)
        elif self._command is not None:
            self.mistakes.append(f"word {place} of the command line: {self._command.name} takes no such word")
        else:
            self.mistakes.append(self._no_command(place, word))

    def _flag(self, place: int, word: str) -> None:
        flag, equals, value = word.partition("=")
        if (extra := self._extra(flag)) is not None:
            self._take(self._extras, extra.name, flag, value if equals else None, switch=not extra.metavar)
        elif (path := FLAG.read(flag, self._options) if flag.startswith("--") else None) is not None:
            option = option_at(path, self._options)
            switch = option is not None and option.switch
            self._take(self._given, DOTTED.write(path), flag, value if equals else None, switch=switch)
        else:
            self.mistakes.append(self._no_flag(place, flag))
            if not equals and self._words and not self._is_known(self._words[0][1]):
                # The value of the misspelt flag is no second mistake.
                self._words.popleft()

    def _take(self, into: dict[str, str], key: str, flag: str, value: str | None, *, switch: bool) -> None:
        if value is None:
            value = self._switched() if switch else self._next()
        if value is None:
            self.mistakes.append(f"flag {flag}: its value is missing")
        elif key in into:
            self.mistakes.append(f"flag {flag}: is there twice")
        else:
            into[key] = value

    def _switched(self) -> str:
        return self._words.popleft()[1] if self._words and self._words[0][1] in _BOOLEAN_WORDS else "true"

    def _next(self) -> str | None:
        """The next word, dashes or not, because a token may begin with them; but not another flag."""
        if not self._words or self._is_flag(self._words[0][1]):
            return None
        return self._words.popleft()[1]

    def _is_flag(self, word: str) -> bool:
        flag = word.partition("=")[0]
        if not flag.startswith("-"):
            return False
        return flag in HELP | VERSION or self._extra(flag) is not None or FLAG.read(flag, self._options) is not None

    def _is_known(self, word: str) -> bool:
        return word.startswith("--") or word in self._commands or self._is_flag(word)

    def _extra(self, flag: str) -> Extra | None:
        extras = self._command.extras if self._command else ()
        return next((extra for extra in extras if flag == f"--{extra.name}"), None)

    def _no_flag(self, place: int, flag: str) -> str:
        extras = [f"--{extra.name}" for extra in (self._command.extras if self._command else ())]
        near = difflib.get_close_matches(flag.lower(), [*extras, *HELP, *VERSION], n=1, cutoff=0.75)
        meant = near[0] if near else FLAG.suggest(flag, self._options)
        subject = f"flag {flag}" if meant or _NAMED.fullmatch(flag) else f"word {place} of the command line"
        return f"{subject}: no such flag" + (f"; did you mean {meant}?" if meant else "; see --help")

    def _no_command(self, place: int, word: str) -> str:
        near = difflib.get_close_matches(word, self._commands, n=1)
        subject = f"word {place} of the command line: neither a flag nor a command"
        return subject + (f"; did you mean {near[0]}?" if near else f"; commands are {', '.join(self._commands)}")


def help_text(options: Sequence[Option], commands: Sequence[Command] = (), command: str = "") -> str:
    """The whole help, or a command's own."""
    chosen = next((one for one in commands if one.name == command), None)
    parts = [_usage(chosen, commands)]
    if chosen is not None and chosen.extras:
        parts.append(_section(f"Flags of {chosen.name}", [_extra_entry(extra) for extra in chosen.extras]))
    if chosen is None and commands:
        parts.append(_section("Commands", [(one.name, one.help) for one in commands]))
    for group in Group:
        entries = [_option_entry(option) for option in options if option.group is group]
        parts.append(_section(f"{group}{_REMARKS[group]}", entries))
    parts.append(_ENVIRONMENT)
    return "\n\n".join(parts) + "\n"


def _usage(chosen: Command | None, commands: Sequence[Command]) -> str:
    if chosen is not None:
        return (
            f"Usage: rc-import-exporter {chosen.name} [flags] {chosen.operands}".rstrip() + f"\n\n{_fill(chosen.help)}"
        )
    word = " [command]" if commands else ""
    return f"Usage: rc-import-exporter{word} [flags]\n\n{_fill(_ABOUT)}"


def _section(title: str, entries: Sequence[tuple[str, str]]) -> str:
    lines = [_fill(f"{title}:")]
    for left, right in entries:
        lines.append(f"  {left}")
        lines.append(_fill(right, indent=6))
    return "\n".join(lines)


def _extra_entry(extra: Extra) -> tuple[str, str]:
    default = f" Default: {extra.default}." if extra.default else ""
    return f"--{extra.name} {extra.metavar}".rstrip(), extra.help + default


def _option_entry(option: Option) -> tuple[str, str]:
    path = tuple("NAME" if key == ANY else key for key in option.path)
    default = f" Default: {option.default}." if option.default else ""
    return f"{FLAG.write(path)} {option.metavar}", f"{option.help} Allowed: {option.allowed}.{default}"


def _fill(text: str, indent: int = 0) -> str:
    blank = " " * indent
    return textwrap.fill(
        text, _WIDTH, initial_indent=blank, subsequent_indent=blank, break_long_words=False, break_on_hyphens=False
    )


_ABOUT: Final = (
    "Prometheus exporter for Rocket.Chat's import service. Without a command it polls the configured workspaces and "
    "serves their metrics until it is ended."
)
_REMARKS: Final = {
    Group.PROCESS: "",
    Group.SINGLE: f" (one server; for several write {FLAG.write((WORKSPACES,))}.NAME.url and so on)",
    Group.SHARED: f" (for all workspaces; for one of them write {FLAG.write((WORKSPACES,))}.NAME.timeout and so on)",
}
_ENVIRONMENT: Final = "\n".join(
    (
        "Environment and file:",
        _fill(
            f"Every option is also a variable, {FLAG.write(('log', 'level'))} for example "
            f"{VARIABLE.write(('log', 'level'))}, and a key of the YAML file that --config.file names. "
            f"Levels are parted by two underscores: {VARIABLE.write((WORKSPACES, 'acme', 'auth_token_file'))}. "
            "A flag precedes a variable, and a variable the file. An empty variable counts as unset. Other users of a "
            "machine can read flags: give secrets as files.",
            indent=2,
        ),
    )
)
