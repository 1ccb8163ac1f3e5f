"""The command line: commands, their flags, and the help texts.

argparse is not used, because it repeats wrong words, which may be secrets, and stops at the first mistake. Here a
message repeats only what looks like a flag, and all mistakes are raised at once. Flags cannot be abbreviated.
"""

import difflib
import re
import textwrap
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Generic, TypeVar, cast

from rc_import_exporter.config import notation, values
from rc_import_exporter.config.notation import DOTTED, VARIABLE
from rc_import_exporter.config.options import OPTIONS, WORKSPACES, Option, Path, option_at
from rc_import_exporter.config.values import T_co, Value
from rc_import_exporter.errors import ConfigurationError

_PROGRAM: Final = "rc-import-exporter"
_WIDTH: Final = 100
_NEAR: Final = 0.75
_NAMED: Final = re.compile(r"--[a-z0-9._-]{1,60}")
"""A flag that a message may show. Anything else could be a secret."""
_HELP: Final = ("--help", "-h")
_VERSION: Final = "--version"

ReadT = TypeVar("ReadT")

SWITCH: Final = replace(values.BOOLEAN, metavar="")
"""The value of a flag that is true if it stands alone."""
OPTION_FLAGS: Final = {notation.flag(option.path): option for option in OPTIONS if option.is_flag}
"""The options that the command line can set, by flag."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag(Generic[T_co]):
    """A flag that one command has; `name` has its dashes."""

    name: str
    value: Value[T_co]
    help: str
    default: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command: its name, a sentence and details about it, its own flags, its operands, and examples.

    `run` gets the command line and the environment, and returns the exit code.
    """

    name: str
    run: "Callable[[Invocation, Mapping[str, str]], int]"
    summary: str
    details: str = ""
    flags: tuple[Flag[object], ...] = ()
    operands: str = ""
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """A command line, read. `command` is `None` for the daemon, `options` are texts by dotted path.

    `given` holds the values of the command's own flags by name.
    """

    command: Command | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    given: Mapping[str, object] = field(default_factory=dict)
    operands: tuple[str, ...] = ()
    help: bool = False
    version: bool = False

    def get(self, flag: Flag[T_co]) -> T_co | None:
        """The flag's value, or `None` if it is not given and has no default."""
        if flag.name in self.given:
            return cast(T_co, self.given[flag.name])
        return flag.value.read(flag.default) if flag.default else None

    def __getitem__(self, flag: Flag[T_co]) -> T_co:
        return cast(T_co, self.get(flag))


def parse(argv: Sequence[str], commands: Iterable[Command] = ()) -> Invocation:
    """Read the words after the program's name.

    A command's own flags stand after the command; the other flags may stand anywhere. Raises `ConfigurationError` with
    every mistake, unless the words ask for help or the version.
    """
    parser = _Parser(argv, commands)
    invocation = parser.parse()
    if parser.mistakes and not (invocation.help or invocation.version):
        raise ConfigurationError(parser.mistakes)
    return invocation


class _Parser:
    """Reads one word after the other."""

    def __init__(self, argv: Sequence[str], commands: Iterable[Command]) -> None:
        self._words = deque(enumerate(argv, start=1))
        self._commands = {command.name: command for command in commands}
        self._command: Command | None = None
        self._own: dict[str, Flag[object]] = {}
        self._options: dict[str, str] = {}
        self._given: dict[str, object] = {}
        self._operands: list[str] = []
        self.mistakes: list[str] = []

    def parse(self) -> Invocation:
        """Read all words."""
        wanted: set[str] = set()
        while self._words:
            place, word = self._words.popleft()
            if word in (*_HELP, _VERSION):
                wanted.add(word)
            elif word.startswith("-"):
                self._flag(place, *word.partition("="))
            else:
                self._word(place, word)
        return Invocation(
            command=self._command,
            options=self._options,
            given=self._given,
            operands=tuple(self._operands),
            help=not wanted.isdisjoint(_HELP),
            version=_VERSION in wanted,
        )

    def _word(self, place: int, word: str) -> None:
        subject = f"word {place} of the command line:"
        if self._command is None and word in self._commands:
            self._command = self._commands[word]
            self._own = {flag.name: flag for flag in self._command.flags}
        elif self._command is None:
            near = difflib.get_close_matches(word, self._commands, n=1)
            hint = f"did you mean {near[0]}?" if near else f"the commands are {', '.join(self._commands)}"
            self.mistakes.append(f"{subject} not a command; {hint}")
        elif self._command.operands:
            self._operands.append(word)
        else:
            self.mistakes.append(f"{subject} {self._command.name} takes no such word")

    def _flag(self, place: int, name: str, equals: str, text: str) -> None:
        own, option = self._own.get(name), OPTION_FLAGS.get(name)
        path = _option(name)
        if own is not None:
            value = text if equals else self._next() if own.value.metavar else "true"
            self._take(self._given, name, name, value, own.value.read)
        elif option is not None:
            value = text if equals else "true" if option.value is values.BOOLEAN else self._next()
            self._take(self._options, DOTTED.write(option.path), name, value, str)
        elif path is not None:
            self.mistakes.append(f"flag {name}: {_instead(path)}")
            if not equals:
                self._next()
        else:
            self.mistakes.append(_unknown(place, name, self._own))
            # The value of a misspelt flag is not a second mistake.
            if not equals and self._words and not self._begins_anew(self._words[0][1]):
                self._words.popleft()

    def _take(
        self, into: dict[str, ReadT], key: str, name: str, text: str | None, read: Callable[[str], ReadT]
    ) -> None:
        if text is None:
            self.mistakes.append(f"flag {name}: its value is missing")
        elif key in into:
            self.mistakes.append(f"flag {name}: is set twice")
        else:
            try:
                into[key] = read(text)
            except ValueError as error:
                self.mistakes.append(f"flag {name}: {error}")

    def _next(self) -> str | None:
        """The next word, unless it is a flag. A value may begin with dashes."""
        return self._words.popleft()[1] if self._words and not self._is_flag(self._words[0][1]) else None

    def _is_flag(self, word: str) -> bool:
        name = word.partition("=")[0]
        return name in self._own or name in OPTION_FLAGS or name in (*_HELP, _VERSION)

    def _begins_anew(self, word: str) -> bool:
        return word.startswith("--") or word in self._commands or self._is_flag(word)


def _option(name: str) -> Path | None:
    """The path of the option that a flag names, whether the command line can set it or not."""
    dotted = name.removeprefix("--")
    path = DOTTED.read(dotted.replace("-", "_")) if _NAMED.fullmatch(name) else None
    if path is None or path[0] != WORKSPACES:
        return path
    start = len(WORKSPACES) + 1
    return (WORKSPACES, dotted[start : start + len(path[1])], *path[2:])


def _instead(path: Path) -> str:
    """Why the option is not a flag, and what to use."""
    option, variable = option_at(path), f"{VARIABLE.write(path)} in the environment"
    if option is None or not option.value.is_secret:
        return f"this option is not a flag; set {DOTTED.write(path)} in the YAML file, or {variable}"
    end = -2 if option.names is not None else -1
    file = (*path[:end], f"{path[end]}_file", *path[end:][1:])
    instead = (
        f"use {flag}" if (flag := notation.flag(file)) in OPTION_FLAGS else f"set {DOTTED.write(file)} in the YAML file"
    )
    return f"other users of this machine can read the command line; {instead}, or set {variable}"


def _unknown(place: int, name: str, own: Iterable[str]) -> str:
    near = difflib.get_close_matches(name.lower(), [*own, *OPTION_FLAGS, *_HELP, _VERSION], n=1, cutoff=_NEAR)
    is_named = bool(near) or _NAMED.fullmatch(name) is not None
    option = DOTTED.suggest(name.removeprefix("--").replace("-", "_")) if is_named else None
    if near:
        hint = f"did you mean {near[0]}?"
    elif option:
        hint = f"did you mean the option {option}? Set it in the YAML file or in the environment"
    else:
        hint = "see --help"
    return f"{f'flag {name}' if is_named else f'word {place} of the command line'}: no such flag; {hint}"


def help_text(commands: Iterable[Command] = (), command: Command | None = None) -> str:
    """The help of the program, or of a command."""
    if command is None:
        parts = [
            f"Usage: {_PROGRAM} [command] [flags]",
            _fill(_ABOUT),
            _section("Commands", [(one.name, one.summary) for one in commands]),
            _section("Flags", [_entry(name, one) for name, one in OPTION_FLAGS.items()]),
            _examples(_EXAMPLES),
        ]
    else:
        parts = [
            f"Usage: {_PROGRAM} {command.name} [flags] {command.operands}".rstrip(),
            *map(_fill, filter(None, (command.summary, command.details))),
            *([_section("Flags", [_entry(one.name, one) for one in command.flags])] if command.flags else ()),
            _fill(f"The flags that {_PROGRAM} --help lists can be used, too."),
            _examples(command.examples),
        ]
    return "\n\n".join((*parts, _fill(_REFERENCE))) + "\n"


def _section(title: str, entries: Iterable[tuple[str, str]]) -> str:
    return "\n".join((f"{title}:", *(f"  {left}\n{_fill(right, indent=6)}" for left, right in entries)))


def _entry(name: str, one: Option[object] | Flag[object]) -> tuple[str, str]:
    allowed = f" Allowed: {one.value.allowed}." if one.value.metavar else ""
    default = f" Default: {one.default}." if one.default and one.value.metavar else ""
    return f"{name} {one.value.metavar}".rstrip(), f"{one.help}{allowed}{default}"


def _examples(lines: Iterable[str]) -> str:
    return "\n".join(("Examples:", *(f"  {_PROGRAM} {line}" for line in lines)))


def _fill(text: str, indent: int = 0) -> str:
    blank = " " * indent
    return textwrap.fill(
        text, _WIDTH, initial_indent=blank, subsequent_indent=blank, break_long_words=False, break_on_hyphens=False
    )


_ABOUT: Final = (
    "Prometheus exporter for Rocket.Chat's import service. Without a command it polls the configured workspaces and "
    "serves their metrics until it is stopped."
)
_EXAMPLES: Final = (
    "--url=https://chat.example.org --user-id=ID --auth-token-file=token",
    "--config.file=config.yml",
    "check --config.file=config.yml",
)
_REFERENCE: Final = (
    "Flags override environment variables, and variables override the YAML file. Most options are not flags: see "
    "rc_import_exporter/config/README.md for all of them."
)
