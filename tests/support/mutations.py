"""Small changes of a module's code, made in memory one at a time. Good tests notice each of them."""

import ast
import inspect
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Final, cast

_TURNED: Final[Mapping[type[ast.cmpop], ast.cmpop]] = {
    ast.Lt: ast.LtE(),
    ast.LtE: ast.Lt(),
    ast.Gt: ast.GtE(),
    ast.GtE: ast.Gt(),
    ast.Eq: ast.NotEq(),
    ast.NotEq: ast.Eq(),
    ast.Is: ast.IsNot(),
    ast.IsNot: ast.Is(),
    ast.In: ast.NotIn(),
    ast.NotIn: ast.In(),
}
_SWAPPED: Final[Mapping[type[ast.boolop], ast.boolop]] = {ast.And: ast.Or(), ast.Or: ast.And()}
_NEVER: Final = ast.Constant(value=False)

Function = tuple[str, str]
"""A file, and the name of a function in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A test and the values of its parameters."""

    test: Callable[..., None]
    values: Mapping[str, object]

    def passes(self) -> bool:
        """Whether the test passes."""
        try:
            self.test(**self.values)
        except Exception:  # noqa: BLE001 - a change may break the code in any way
            return False
        return True

    def calls(self, files: frozenset[str]) -> Counter[Function]:
        """How often the test calls each function of these files."""
        found: Counter[Function] = Counter()

        def note(frame: FrameType, event: str, argument: object) -> None:
            if frame.f_code.co_filename in files:
                found[frame.f_code.co_filename, frame.f_code.co_qualname] += 1

        before = sys.gettrace()
        sys.settrace(note)
        try:
            self.test(**self.values)
        finally:
            sys.settrace(before)
        return found


def cases(module: ModuleType) -> Iterator[Case]:
    """The tests of a module that need no fixture, with each set of their parameters. Random tests are left out."""
    for name, test in vars(module).items():
        if name.startswith("test_") and not hasattr(test, "hypothesis"):
            tables = [_rows(*mark.args[:2]) for mark in getattr(test, "pytestmark", ()) if mark.name == "parametrize"]
            for rows in product(*tables):
                values = {key: value for row in rows for key, value in row.items()}
                if values.keys() == inspect.signature(test).parameters.keys():
                    yield Case(test=test, values=values)


def _rows(names: str | Sequence[str], rows: Sequence[object]) -> list[dict[str, object]]:
    keys = [name.strip() for name in names.split(",")] if isinstance(names, str) else names
    values = [cast("Sequence[object]", getattr(row, "values", row) if len(keys) > 1 else (row,)) for row in rows]
    return [dict(zip(keys, each, strict=True)) for each in values]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """A change of a function or a constant: what a part of it was, and is now.

    `code` defines it anew. `functions` are those that change: of a constant, those of its module that use it.
    """

    module: ModuleType
    name: str
    was: str
    now: str
    code: CodeType
    functions: frozenset[Function]

    def __str__(self) -> str:
        return f"{self.module.__name__.rpartition('.')[2]}.{self.name}: {self.was} -> {self.now}"

    @contextmanager
    def made(self) -> Iterator[None]:
        """Make the change, and take it back."""
        defined = dict(vars(self.module))
        exec(self.code, defined)  # noqa: S102 - the code is the module's own
        old, new = _found(vars(self.module), self.name), _found(defined, self.name)
        # A constant is also where it was imported.
        holders: list[object] = [each for each in sys.modules.values() if vars(each).get(self.name) is old]
        name = self.name
        if isinstance(old, FunctionType) and isinstance(new, FunctionType):
            holders, name, old, new = [old], "__code__", old.__code__, new.__code__
        for holder in holders:
            setattr(holder, name, new)
        try:
            yield
        finally:
            for holder in holders:
                setattr(holder, name, old)


def _found(names: Mapping[str, object], dotted: str) -> object:
    first, _, rest = dotted.partition(".")
    return _found(vars(names[first]), rest) if rest else names[first]


def mutants(module: ModuleType) -> Iterator[Mutant]:
    """Every change of a module: a row dropped, a comparison turned, `and` for `or`, a constant moved by a step."""
    file = str(module.__file__)
    tree = ast.parse(inspect.getsource(module)).body
    every = [(top, name, node) for top in tree for name, node in _definitions(top)]
    for top, name, definition in every:
        users = frozenset(
            (file, each)
            for _, each, node in every
            if each == name or any(isinstance(part, ast.Name) and part.id == name for part in ast.walk(node))
        )
        for parent, field, old, changed, new in _changes(definition):
            held = getattr(parent, field)
            setattr(parent, field, changed)
            code = compile(ast.fix_missing_locations(ast.Module(body=[top], type_ignores=[])), file, "exec")
            setattr(parent, field, held)
            functions = users if isinstance(definition, ast.AnnAssign) else frozenset({(file, name)})
            yield Mutant(module=module, name=name, was=old, now=new, code=code, functions=functions)


def _definitions(top: ast.stmt) -> Iterator[tuple[str, ast.stmt]]:
    """The functions, methods and constants in this statement."""
    if isinstance(top, ast.FunctionDef):
        yield top.name, top
    elif isinstance(top, ast.ClassDef):
        yield from ((f"{top.name}.{each.name}", each) for each in top.body if isinstance(each, ast.FunctionDef))
    elif isinstance(top, ast.AnnAssign) and isinstance(top.target, ast.Name):
        yield top.target.id, top


def _changes(definition: ast.stmt) -> Iterator[tuple[ast.AST, str, str, object, str]]:
    """Each a node, one of its fields, what a part of that was, the field's new value, and what the part is then."""
    for node in ast.walk(definition):
        for field, value in ast.iter_fields(node):
            if isinstance(value, ast.expr):
                for new in _replacements(value, constants=isinstance(definition, ast.AnnAssign)):
                    yield node, field, ast.unparse(value), new, ast.unparse(new)
            elif isinstance(value, list):
                for number, each in enumerate(value):
                    before, after = value[:number], value[number + 1 :]
                    if isinstance(each, ast.expr):
                        for new in _replacements(each, constants=False):
                            yield node, field, ast.unparse(each), [*before, new, *after], ast.unparse(new)
                    if isinstance(each, ast.match_case):
                        yield node, field, f"case {ast.unparse(each.pattern)}", [*before, *after], "dropped"
                    elif isinstance(node, ast.Set) or field == "ifs":
                        yield node, field, ast.unparse(each), [*before, *after], "dropped"
        if isinstance(node, ast.If | ast.IfExp):
            yield node, "test", ast.unparse(node.test), _NEVER, "never"


def _replacements(old: ast.expr, *, constants: bool) -> Iterator[ast.expr]:
    match old:
        case ast.Compare(ops=[op], left=left, comparators=comparators):
            yield ast.Compare(left=left, ops=[_TURNED[type(op)]], comparators=comparators)
        case ast.BoolOp(op=op, values=values):
            yield ast.BoolOp(op=_SWAPPED[type(op)], values=values)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield operand
        case ast.Constant(value=int() | float() as number) if constants:
            yield ast.Constant(value=number + 1 if isinstance(number, int) else number * 1.1)
