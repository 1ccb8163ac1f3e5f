"""The fields of a workspace in the JSON API, read from its JSON Schema."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from rc_import_exporter.web import api

_TYPES: Final = {"string": "text", "integer": "number"}


def rows() -> Iterable[tuple[str, str, str]]:
    """Path, type and meaning of each field of a workspace."""
    yield from _fields("workspace", "", _mapping(json.loads(api.schema())["$defs"]))


def _fields(name: str, prefix: str, definitions: Mapping[str, object]) -> Iterator[tuple[str, str, str]]:
    """The fields of one definition. An operation is written out only where it is first."""
    for field, value in _mapping(_mapping(definitions[name])["properties"]).items():
        described = _mapping(value)
        types = [_type(each) for each in _alternatives(described)]
        path = f"{prefix}{field}{'[]' if 'list' in types else ''}"
        yield path, " or ".join(types), str(described["description"])
        for inner in filter(None, map(_reference, _alternatives(described))):
            if prefix == "" or inner != "operation":
                yield from _fields(inner, f"{path}.", definitions)
        if "properties" in described and described.get("required"):
            yield from _fields(field, f"{path}.", {**definitions, field: described})


def _alternatives(described: Mapping[str, object]) -> list[Mapping[str, object]]:
    """The types that a field can have, each alone."""
    either = described.get("anyOf")
    if isinstance(either, list):
        return [_mapping(each) for each in either]
    types = described.get("type")
    return [{**described, "type": each} for each in types] if isinstance(types, list) else [described]


def _reference(described: Mapping[str, object]) -> str | None:
    """The definition that a type, or a list's members, refer to."""
    place = described if described.get("type") != "array" else _mapping(described["items"])
    return str(place["$ref"]).rsplit("/", 1)[-1] if "$ref" in place else None


def _type(described: Mapping[str, object]) -> str:
    if "enum" in described:
        members = described["enum"]
        return "text or null" if isinstance(members, list) and None in members else "text"
    if "$ref" in described:
        return "object"
    if described.get("type") == "array":
        return "list" if _reference(described) else "list of text"
    kind = str(described["type"])
    return "instant" if kind == "string" and "format" in described else _TYPES.get(kind, kind)


def _mapping(value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise TypeError(value)
    return value
