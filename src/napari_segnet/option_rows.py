"""Options of a network, a loss, an optimizer or a schedule as rows of a table. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from napari_segnet.config import Frozen


@dataclass(frozen=True)
class OptionRow:
    """One option: its name, which values it takes, the one it has unless another is set, and what it means."""

    name: str
    values: str
    default: str
    meaning: str


def option_rows(model: type[Frozen]) -> list[OptionRow]:
    """Return a row for each option of a class of options, in the order in which they are declared.

    Parameters
    ----------
    model : type of Frozen
        Such as a network's `NetworkSpec.options_model`.
    """
    properties = model.model_json_schema()["properties"] if model.model_fields else {}
    return [
        OptionRow(name, values_of(properties[name]), _words(_default(field)), field.description or "")
        for name, field in model.model_fields.items()
    ]


def _default(field: FieldInfo) -> Any:
    return field.default if field.default_factory is None else field.get_default(call_default_factory=True)


def values_of(schema: dict[str, Any]) -> str:
    """Say which values the JSON schema of an option allows, such as ``integer, 1 to 256``."""
    if "anyOf" in schema:
        return " or ".join(values_of(part) for part in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    kind = str(schema.get("type", "any"))
    if kind == "null":
        return "none"
    if kind == "object":
        return "names and values"
    if kind == "boolean":
        return "true or false"
    if kind == "array":
        parts = schema.get("prefixItems")
        inside = values_of(parts[0]) if parts else values_of(schema.get("items", {}))
        return f"list of {len(parts)}: {inside}" if parts else f"list: {inside}"
    return ", ".join([{"string": "text", "any": "names and values"}.get(kind, kind), *_bounds(schema)])


def _bounds(schema: dict[str, Any]) -> list[str]:
    low, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    high, below = schema.get("maximum"), schema.get("exclusiveMaximum")
    words = []
    if low is not None and high is not None:
        words.append(f"{_words(low)} to {_words(high)}")
    else:
        words += [f"at least {_words(low)}"] if low is not None else []
        words += [f"above {_words(above)}"] if above is not None else []
        words += [f"at most {_words(high)}"] if high is not None else []
        words += [f"below {_words(below)}"] if below is not None else []
    if "multipleOf" in schema:
        words.append(f"a multiple of {_words(schema['multipleOf'])}")
    return words


def _words(value: Any) -> str:
    if value is PydanticUndefined:
        return "has to be given"
    if value is None or value in ({}, ()):
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
