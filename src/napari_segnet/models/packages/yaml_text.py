"""YAML of packages that others made, read without surprises: bounded in size, nesting and repetition."""

from __future__ import annotations

from typing import Any

import yaml

from napari_segnet.errors import ModelFileError

MOST_BYTES = 300_000
"""Bytes of a description; the longest in the zoo have a tenth of that."""
_MOST_NODES = 100_000
"""Values of a description when all that is said by reference is written out."""


def read_yaml(content: bytes, name: str) -> dict[str, Any]:
    """Read a description.

    References (``*name``) can make a text of a few lines as large as memory, and endless ones: what it would be
    written out is counted first.

    Raises
    ------
    ModelFileError
        If it is no YAML mapping, or unreasonable.
    """
    damaged = ModelFileError(f"{name} is no description of a model, or is damaged.", "Fetch the package again.")
    try:
        text = content.decode("utf-8")
        if _written_out(yaml.compose(text, Loader=yaml.SafeLoader), {}, ()) > _MOST_NODES:
            raise damaged
        tree = yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError, TypeError) as error:
        raise damaged from error
    if not isinstance(tree, dict):
        raise damaged
    return tree


def _written_out(node: Any, known: dict[int, int], above: tuple[int, ...]) -> int:
    """Count the nodes of a tree in which each reference stands for a copy."""
    if id(node) in above:
        raise ValueError("a node holds itself")
    if id(node) not in known:
        inside = (*above, id(node))
        if isinstance(node, yaml.MappingNode):
            parts = [part for pair in node.value for part in pair]
        else:
            parts = node.value if isinstance(node, yaml.SequenceNode) else []
        known[id(node)] = 1 + sum(_written_out(part, known, inside) for part in parts)
    return known[id(node)]
