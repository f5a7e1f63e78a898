"""Which value stands for which class, and ``classes.json``, which says so beside label files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from napari_segnet.annotations.model import DrawnClass
from napari_segnet.annotations.options import ImportOptions
from napari_segnet.config import Frozen, LabelClass, validated
from napari_segnet.data.labels import PALETTE
from napari_segnet.errors import ConfigError, DataError
from napari_segnet.run import write_atomically

IGNORED = 255
"""The value of pixels that don't count."""
UNNAMED = "object"
"""The class of regions that have none."""
FILE = "classes.json"
_MOST = 65535


class ClassEntry(Frozen):
    """What ``classes.json`` says of a value: ``ignore`` marks pixels that don't count."""

    name: str = Field(min_length=1, max_length=80)
    colour: str = Field(pattern=r"^#[0-9a-fA-F]{6}$")
    ignore: bool = False


def assign_values(
    declared: Sequence[DrawnClass], used: Iterable[str], options: ImportOptions
) -> dict[str, tuple[int, str]]:
    """Give each class a value and a colour.

    Parameters
    ----------
    declared : sequence of DrawnClass
        What the files say of their classes; values they give are kept, unless two classes have the same.
    used : iterable of str
        Names of the regions, in order of their appearance; empty ones are called ``"object"``.
    options : ImportOptions
        Its `classes`, if there are any, are all there are, and have the values 1, 2, 3 ...

    Returns
    -------
    dict of str to (int, str)
        Value and colour (``#rrggbb``) of each class. `options.ignore` has no part in it.

    Raises
    ------
    DataError
        If there are more classes than 16 bits can number.
    """
    said = {c.name: c for c in reversed(declared)}
    if options.classes:
        names = list(options.classes)
        wanted: dict[str, int | None] = dict.fromkeys(names)
    else:
        names = list(dict.fromkeys([*(c.name for c in declared), *(n or UNNAMED for n in used)]))
        names = [name for name in names if name not in options.ignore]
        wanted = {name: said[name].value if name in said else None for name in names}
    taken = {IGNORED} if options.ignore else set()
    values: dict[str, int] = {}
    for name, value in wanted.items():
        if value is not None and 0 <= value <= _MOST and value not in taken:
            values[name] = value
            taken.add(value)
    free = (value for value in range(1, _MOST + 1) if value not in taken)
    for name in names:
        if name not in values:
            value = next(free, None)
            if value is None:
                raise DataError(f"There are {len(names)} classes.", f"Label files can hold {_MOST}.")
            values[name] = value
    colours = {name: said[name].colour if name in said else None for name in names}
    return {name: (v, colours[name] or PALETTE[v % len(PALETTE)]) for name, v in values.items()}


def write_classes(folder: Path, classes: Mapping[str, tuple[int, str]], options: ImportOptions) -> Path:
    """Write ``classes.json``: value -> name and colour, the background (if 0 means that) and what is ignored too."""
    entries = {value: {"name": name, "colour": colour} for name, (value, colour) in classes.items()}
    if options.unlabelled == "background":
        entries.setdefault(0, {"name": "background", "colour": PALETTE[0]})
    tree: dict[str, Any] = {str(value): entries[value] for value in sorted(entries)}
    if options.ignore:
        tree[str(IGNORED)] = {"name": " or ".join(options.ignore)[:80], "colour": PALETTE[-1], "ignore": True}
    path = folder / FILE
    write_atomically(path, json.dumps(tree, indent=1, ensure_ascii=False) + "\n")
    return path


def read_classes(path: Path) -> tuple[tuple[LabelClass, ...], tuple[int, ...]]:
    """Read a ``classes.json``.

    Returns
    -------
    classes : tuple of LabelClass
        In the order of their values; 0 is among them if it is a class (the background).
    ignored : tuple of int
        Values that don't count.

    Raises
    ------
    ConfigError
        If it is damaged.
    """
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        entries = {int(value): validated(ClassEntry, entry) for value, entry in tree.items()}
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise ConfigError(f"{path} can't be used: {error}.", 'It looks like {"1": {"name": "cell", ...}}.') from error
    known = sorted(value for value, entry in entries.items() if not entry.ignore)
    classes = [validated(LabelClass, {"value": v, "name": entries[v].name, "colour": entries[v].colour}) for v in known]
    return tuple(classes), tuple(sorted(value for value, entry in entries.items() if entry.ignore))
