"""The JSON API: what the pages show as JSON, its JSON Schema, and the table of its fields. pydantic makes them all."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Final

from pydantic import ConfigDict, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from rc_import_exporter.metrics.cells import Steps
from rc_import_exporter.web.fields import OperationView, Overview, WorkspaceView

SCHEMA_HEAD: Final = {
    "$schema": GenerateJsonSchema.schema_dialect,
    "title": "rc-import-exporter: workspaces",
    "description": (
        "The answers of `/api/v1/workspaces` and `/api/v1/workspaces/{name}`. "
        "Instants are RFC 3339 in UTC, durations seconds."
    ),
}
_NO_WORKSPACES: Final = b'"workspaces":[]'
_WORDS: Final[Mapping[str, str]] = {"string": "text", "integer": "number"}


def overview_steps(seen: Overview) -> Steps:
    """The answer of `/api/v1/workspaces`, one workspace in each step."""
    frame = _encoded(_adapter().dump_python(replace(seen, workspaces=()), mode="json"))
    start, _, end = frame.partition(_NO_WORKSPACES)
    pieces = [start, _NO_WORKSPACES[:-1]]
    for each in seen.workspaces:
        one = _encoded(_adapter().dump_python(each, mode="json", exclude={"earlier_operations"}))
        pieces += [b",", one.rstrip()] if len(pieces) > 2 else [one.rstrip()]
        yield
    return (*pieces, b"]", end)


def workspace_json(seen: WorkspaceView) -> bytes:
    """The answer of `/api/v1/workspaces/{name}`."""
    return _encoded(_adapter().dump_python(seen, mode="json"))


def error_json(message: str) -> bytes:
    """An answer that reports an error."""
    return _encoded({"error": message})


@cache
def schema() -> str:
    """The JSON Schema of both answers."""
    return json.dumps(SCHEMA_HEAD | _schema(), ensure_ascii=False, indent=2) + "\n"


def field_rows() -> list[tuple[str, str, str]]:
    """Path, type and meaning of each field of a workspace."""
    return list(_rows(WorkspaceView.__name__, "", _schema()["$defs"]))


@cache
def _adapter(*, described: bool = False) -> TypeAdapter[Overview | WorkspaceView]:
    # To find the descriptions pydantic parses the source, which is slow and only of use in the schema.
    config = ConfigDict(extra="forbid", use_attribute_docstrings=described)
    return TypeAdapter(Overview | WorkspaceView, config=config)


def _encoded(value: object) -> bytes:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode(errors="replace") + b"\n"


class _Untitled(GenerateJsonSchema):
    """pydantic's schema without a title for each field, which would only repeat its name."""

    def field_title_should_be_set(self, schema: object) -> bool:
        return False


def _schema() -> JsonSchemaValue:
    return _adapter(described=True).json_schema(mode="serialization", schema_generator=_Untitled)


def _rows(name: str, prefix: str, definitions: JsonSchemaValue) -> Iterator[tuple[str, str, str]]:
    for field, about in definitions[name]["properties"].items():
        forms = [_form(each, definitions) for each in about.get("anyOf", [about])]
        types = [word for word, _ in forms]
        path = f"{prefix}{field}{'[]' if 'list' in types else ''}"
        yield path, " or ".join(types), " ".join(about["description"].split())
        for _, inner in forms:
            # The last known operation has the same fields as the newest one.
            if inner and not (prefix and inner == OperationView.__name__):
                yield from _rows(inner, f"{path}.", definitions)


def _form(about: JsonSchemaValue, definitions: JsonSchemaValue) -> tuple[str, str]:
    """The word for a type, and the name of the definition of an object or of the objects in a list."""
    match about:
        case {"$ref": str(reference)}:
            name = reference.rpartition("/")[2]
            return ("object", name) if "properties" in definitions[name] else ("text", "")
        case {"type": "array", "items": items}:
            _, inner = _form(items, definitions)
            return ("list", inner) if inner else ("list of text", "")
        case {"format": "date-time"}:
            return "instant or null", ""
        case _:
            return _WORDS.get(about["type"], about["type"]), ""
