"""Which value stands for which class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from napari_segnet.annotations.model import DrawnClass
from napari_segnet.annotations.options import ImportOptions
from napari_segnet.config import Task
from napari_segnet.data.labels import PALETTE
from napari_segnet.errors import DataError
from napari_segnet.io.class_file import ClassEntry

IGNORED = 255
"""The value of pixels that don't count."""
UNNAMED = "object"
"""The class of regions that have none."""
_MOST = 65535


def assign_values(
    declared: Sequence[DrawnClass], used: Iterable[str], options: ImportOptions, ignored: Sequence[int] = ()
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
    ignored : sequence of int
        Values that mean something else already.

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
    taken = {IGNORED} if options.ignore or IGNORED in ignored else set()
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


def class_entries(
    classes: Mapping[str, tuple[int, str]], task: Task, options: ImportOptions, ignored: Sequence[int] = ()
) -> dict[int, ClassEntry]:
    """Return what ``classes.json`` says: the background (if 0 means that) and what is ignored too.

    `ignored` are values of masks that don't count.
    """
    numbered = task == "instances"
    entries = {
        value: ClassEntry(name=name[:80], colour=colour, objects=numbered) for name, (value, colour) in classes.items()
    }
    if options.unlabelled == "background":
        entries.setdefault(0, ClassEntry(name="background", colour=PALETTE[0]))
    for value in () if numbered else {*ignored, *([IGNORED] if options.ignore else [])}:
        name = " or ".join(options.ignore)[:80] or "ignored"
        entries[value] = ClassEntry(name=name, colour=PALETTE[-1], ignore=True)
    return entries
