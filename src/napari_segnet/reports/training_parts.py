"""What the report of a run says of its data and its settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from napari_segnet.axes import counted
from napari_segnet.config import RunConfig
from napari_segnet.errors import SegNetError
from napari_segnet.io.images import open_labels
from napari_segnet.models.info import ModelInfo
from napari_segnet.reports.page import Cell, Column, Fold, Part, Text, simple_table
from napari_segnet.run import RunFolder
from napari_segnet.settings_table import training_settings

_MOST_PAIRS = 500
_MOST_COUNTED = 50_000_000
"""Label pixels that are counted by class: a second or two."""


def data_parts(run: RunFolder, config: RunConfig, info: ModelInfo | None) -> tuple[Part, ...]:
    """Say what a run learned from: pairs, classes with their pixels, and what was measured."""
    pairs = run.pairs
    facts = dict[str, Any](info.fingerprint) if info else {}
    facts.pop("annotation_sha256", None)
    meaning = "numbered objects" if config.data.task == "instances" else "classes"
    zero = "not annotated" if config.data.unlabelled == "ignore" else "background"
    parts: list[Part] = [
        Text(f"{counted(len(pairs), 'pair')} of images and labels. Labels hold {meaning}; 0 is {zero}.")
    ]
    if facts:
        rows = [[name.replace("_", " "), _fact(value)] for name, value in facts.items()]
        parts.append(simple_table(["What was measured", Column("Value")], rows))
    if config.data.classes:
        parts.append(_table_of_classes(run, config, len(pairs)))
    rows_of_pairs = [
        [pair.name, ", ".join(pair.images), pair.labels, pair.axes, _size(pair.pixel_size, pair.units)]
        for pair in pairs[:_MOST_PAIRS]
    ]
    title = "All pairs" if len(pairs) <= _MOST_PAIRS else f"The first {_MOST_PAIRS} of {len(pairs)} pairs"
    table = simple_table(["Name", "Image", "Labels", "Axes", "Pixel size"], rows_of_pairs)
    return (*parts, Fold(title, (table,)))


def _table_of_classes(run: RunFolder, config: RunConfig, pairs: int) -> Part:
    """Return a row a class, with its pixels where labels hold classes."""
    columns = [Column("Value"), Column("Class", numeric=False), Column("Weight in the loss"), Column("Pixels")]
    rows = [[c.value, Cell(c.name, c.name, c.colour), c.weight] for c in config.data.classes]
    if config.data.task == "instances":
        return simple_table(columns[:3], rows, digits=2)
    counts, images = _count_labels(run)
    caption = f"Pixels of the labels of {counted(images, 'image')}{'' if images == pairs else f' of {pairs}'}."
    cells = [
        [*row, counts.get(c.value, 0) if images else None] for row, c in zip(rows, config.data.classes, strict=True)
    ]
    return simple_table(columns, cells, caption, digits=2)


def _fact(value: Any) -> Cell:
    return Cell(f"{value:,}" if isinstance(value, int | float) else str(value))


def _size(pixel_size: tuple[float, ...] | None, units: str | None) -> str:
    return "-" if pixel_size is None else f"{' x '.join(f'{n:g}' for n in pixel_size)} {units or ''}".strip()


def _count_labels(run: RunFolder) -> tuple[dict[int, int], int]:
    """Return pixels by label value, and in how many images they were counted: as many as take a moment."""
    counts: dict[int, int] = {}
    images = pixels = 0
    for pair in run.pairs:
        if pixels >= _MOST_COUNTED:
            break
        try:
            labels = np.asarray(open_labels(pair.labels, pair.axes.replace("C", "")).array)
        except (SegNetError, OSError):
            continue
        values, numbers = np.unique(labels, return_counts=True)
        for value, found in zip(values.tolist(), numbers.tolist(), strict=True):
            counts[value] = counts.get(value, 0) + found
        images, pixels = images + 1, pixels + labels.size
    return counts, images


def choice_parts(choices: Mapping[str, str], notices: Sequence[str], config: RunConfig) -> tuple[Part, ...]:
    """Say what was chosen and why, what was noticed (`notices`), and every setting."""
    parts: list[Part] = [Text(text, "warning") for text in notices]
    if choices:
        rows = [[name, words] for name, words in choices.items()]
        parts.append(simple_table(["What", "Chosen, and why"], rows))
    said = _flat(config.model_dump(mode="json"))
    explicit = _flat(config.model_dump(mode="json", exclude_unset=True))
    known = {row.name: row.meaning for row in training_settings()}
    settings = [[name, _words(value), known.get(name, "")] for name, value in said.items() if name in explicit]
    parts.append(Fold("Settings", (simple_table(["Setting", "Value", "Meaning"], settings),)))
    left = [[name, _words(value), known.get(name, "")] for name, value in said.items() if name not in explicit]
    parts.append(Fold("Settings at their defaults", (simple_table(["Setting", "Value", "Meaning"], left),)))
    return tuple(parts)


def _flat(tree: Mapping[str, Any], start: str = "") -> dict[str, Any]:
    """Return the settings of a configuration by their whole names; options chosen by name stay together."""
    found: dict[str, Any] = {}
    for name, value in tree.items():
        nested = isinstance(value, dict) and not name.endswith("options")
        found |= _flat(value, f"{start}{name}.") if nested else {f"{start}{name}": value}
    return found


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if value is None or value in ({}, []):
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
