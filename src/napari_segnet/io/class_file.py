"""``classes.json`` beside label files: what their values mean. Value -> name, colour, and whether it is ignored."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from napari_segnet.config import Frozen, LabelClass, Task, Unlabelled, validated
from napari_segnet.errors import ConfigError
from napari_segnet.run import write_atomically

CLASS_FILE = "classes.json"


class ClassEntry(Frozen):
    """What ``classes.json`` says of a value.

    ``ignore`` marks pixels that don't count. ``objects`` says that labels number objects, and that this is the value
    of a class in the ``objects.csv`` beside them.
    """

    name: str = Field(min_length=1, max_length=80)
    colour: str = Field(pattern=r"^#[0-9a-fA-F]{6}$")
    ignore: bool = False
    objects: bool = False


class ClassTable(Frozen):
    """The classes of label files, in the order of their values.

    0 is among `classes` if it is one (the background); otherwise it means "not annotated". `ignored` are values that
    don't count. With the task ``"instances"`` the labels number objects of these classes.
    """

    classes: tuple[LabelClass, ...]
    ignored: tuple[int, ...] = ()
    task: Task = "semantic"

    @property
    def unlabelled(self) -> Unlabelled:
        """What 0 means in the labels."""
        return "background" if any(c.value == 0 for c in self.classes) else "ignore"


def write_classes(path: Path, entries: Mapping[int, ClassEntry]) -> None:
    """Write a ``classes.json`` atomically, in the order of the values."""
    tree = {str(value): entries[value].model_dump(exclude_defaults=True) for value in sorted(entries)}
    write_atomically(path, json.dumps(tree, indent=1, ensure_ascii=False) + "\n")


def read_classes(path: Path) -> ClassTable:
    """Read a ``classes.json``.

    Raises
    ------
    ConfigError
        If it is damaged.
    """
    try:
        tree = json.loads(path.read_text(encoding="utf-8-sig"))
        entries = {int(value): validated(ClassEntry, entry) for value, entry in tree.items()}
    except ConfigError as error:
        raise ConfigError(f"{path} can't be used: {error.problem}", error.remedy) from error
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise ConfigError(f"{path} can't be used: {error}.", 'It looks like {"1": {"name": "cell", ...}}.') from error
    known = sorted(value for value, entry in entries.items() if not entry.ignore)
    classes = (validated(LabelClass, {"value": v, "name": entries[v].name, "colour": entries[v].colour}) for v in known)
    return ClassTable(
        classes=tuple(classes),
        ignored=tuple(sorted(value for value, entry in entries.items() if entry.ignore)),
        task="instances" if any(entry.objects for entry in entries.values()) else "semantic",
    )


def classes_beside(labels: Path) -> ClassTable | None:
    """Read the ``classes.json`` in the folder of a label file; None if there is none."""
    path = labels.parent / CLASS_FILE
    return read_classes(path) if path.is_file() else None
