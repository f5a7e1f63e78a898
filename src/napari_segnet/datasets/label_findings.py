"""What is wrong with labels, or odd: what they mean, their classes and values, and what is empty."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from napari_segnet.axes import counted
from napari_segnet.data.checks import check_labels
from napari_segnet.datasets.facts import Finding, ImageFacts
from napari_segnet.datasets.image_findings import some
from napari_segnet.datasets.survey import Survey

_MOST_NAMED = 12
_RARE = 0.01
"""Share of the labelled pixels below which a class is rare."""
_ENDS = 0.9
"""Share of pixels of the two ends of a mask that was blurred between them."""
_TOP = 255
_MANY = 64
"""Values of a mask that are too many to be classes."""


def label_findings(seen: Survey) -> list[Finding]:
    """Return what was found in the labels of a data set; nothing where there are none."""
    if seen.data is None or not seen.labelled:
        return []
    found = [_meaning(seen), _values(seen), _empty(seen)]
    if seen.data.task == "instances":
        return [*found, _objects(seen)]
    return [*found, _classes(seen), *_balance(seen), *_parts(seen)]


def _meaning(seen: Survey) -> Finding:
    assert seen.data is not None
    kind = "numbered objects" if seen.data.task == "instances" else "classes"
    zero = "not annotated" if seen.data.unlabelled == "ignore" else "background"
    words = f"{kind}, 0 is {zero}: {seen.words}"
    errors = [p.text for p in check_labels(seen.counts, seen.data) if p.level == "error"]
    if errors and not seen.problem:
        return Finding("meaning", "fail", f"{words} {errors[0]}", "If it means something else: --task, --unlabelled.")
    return Finding("meaning", "ok", words)


def _values(seen: Survey) -> Finding:
    assert seen.data is not None
    values = sorted(v for v in seen.counts if v not in seen.data.ignore_values)
    between = _blurred(seen, values)
    if between:
        words = (
            f"0 and {values[-1]}, and {some(map(str, between), 5)} in a few places: a mask blurred by JPEG or resizing."
        )
        remedy = (
            "Save masks as PNG or TIFF from the program that made them; napari-segnet prepare --threshold 128 mends it."
        )
        return Finding("label values", "fail", words, remedy)
    if seen.data.task == "instances":
        return Finding("label values", "ok", f"{len([v for v in values if v])} numbers of objects")
    if seen.problem:
        grey = [f for f in seen.labelled if f.label_values > _MANY]
        words = f"{seen.problem} So many are in {some(f.title for f in grey)}." if grey else seen.problem
        remedy = "Save masks as PNG or TIFF, and resize them without interpolation; or prepare --threshold."
        return Finding("label values", "fail", words, remedy)
    white = [f for f in seen.labelled if f.counts and _TOP in f.counts]
    ones = [f for f in seen.labelled if f.counts and 1 in f.counts]
    if values == [0, 1, _TOP] and not {f.image for f in white} & {f.image for f in ones}:
        words = f"some masks hold 0 and 1, others 0 and 255, such as {white[0].title}: two classes, or the same?"
        return Finding("label values", "warn", words, "If it is the same: napari-segnet prepare --relabel 255=1.")
    if _TOP in values and max((v for v in values if v != _TOP), default=0) in range(1, 100):
        words = f"255 beside {some(str(v) for v in values if v != _TOP)}: often what doesn't count."
        return Finding("label values", "warn", words, "If so: --ignore 255, and train --set data.ignore_values=[255].")
    if values == [0, _TOP]:
        return Finding("label values", "ok", "0 and 255: the class has the value 255")
    return Finding("label values", "ok", some(map(str, values), _MOST_NAMED))


def _blurred(seen: Survey, values: Sequence[int]) -> list[int]:
    """Return the values between the two of a mask, where they are few and rare enough to be made by blurring."""
    if len(values) < 5 or values[0] != 0 or not 200 < values[-1] <= _TOP:
        return []
    total = sum(seen.counts[v] for v in values)
    low = [v for v in values if v <= 16]
    high = [v for v in values if v >= values[-1] - 16]
    at_ends = sum(seen.counts[v] for v in (*low, *high))
    close = len(low) + len(high) > 3
    return [v for v in values if v not in (0, values[-1])] if close and at_ends >= _ENDS * total else []


def _empty(seen: Survey) -> Finding:
    assert seen.data is not None
    blank = [f for f in seen.labelled if f.painted == 0]
    full = [f for f in seen.labelled if f.label_values == 1 and f.painted == 1]
    names = some(f.title for f in blank)
    if len(blank) == len(seen.labelled):
        return Finding("blank labels", "fail", "Nothing is painted in any of the labels.", "Paint some of each class.")
    if blank and seen.data.unlabelled == "ignore":
        return Finding("blank labels", "warn", f"Nothing is annotated in {names}.", "Nothing is learned from them.")
    if blank:
        words = f"{len(blank)} of {len(seen.labelled)} are all background: {names}."
        return Finding(
            "blank labels", "warn", words, "Right if nothing is there; if it was not painted yet, take them away."
        )
    if full and seen.data.task == "semantic" and len(seen.counts) > 1:
        words = f"One class fills {some(f.title for f in full)}."
        return Finding("blank labels", "warn", words, "Look at them: is that what the image shows?")
    return Finding("blank labels", "ok", "something is painted in each")


def _objects(seen: Survey) -> Finding:
    numbers = [f.label_values - (1 if (f.painted or 0) < 1 else 0) for f in seen.labelled]
    sizes = [f.object_size for f in seen.labelled if f.object_size is not None]
    words = f"{sum(numbers)} in {len(numbers)} images, from {min(numbers)} to {max(numbers)} an image"
    words += f"; median of {np.median(sizes):.0f} pixels" if sizes else ""
    tiny = [f for f in seen.labelled if f.tiny]
    if tiny:
        words += f"; {sum(f.tiny for f in tiny)} have one or two pixels, in {some(f.title for f in tiny)}."
        return Finding("objects", "warn", words, "Such specks are left over from painting or resizing: erase them.")
    return Finding("objects", "ok", words)


def class_names(seen: Survey) -> dict[int, str]:
    """Return the names of the values that are classes."""
    return {} if seen.data is None else {c.value: c.name for c in seen.data.classes}


def _classes(seen: Survey) -> Finding:
    assert seen.data is not None
    names = class_names(seen)
    counted_values = _learned(seen)
    total = max(1, sum(counted_values.values()))
    shown = [f"{names.get(v, f'class {v}')} {n / total:.2%}" for v, n in counted_values.items()]
    words = some(shown, _MOST_NAMED)
    few = [p.text for p in check_labels(seen.counts, seen.data) if p.level == "warning"]
    if few and not seen.problem:
        return Finding("classes", "warn", f"{words}. {' '.join(few[:3])}")
    return Finding("classes", "ok", words)


def _learned(seen: Survey) -> dict[int, int]:
    """Return the pixels of the values that are learned."""
    assert seen.data is not None
    left_out = {*seen.data.ignore_values, *([0] if seen.data.unlabelled == "ignore" else [])}
    return {v: n for v, n in seen.counts.items() if v not in left_out}


def _balance(seen: Survey) -> list[Finding]:
    counts = _learned(seen)
    if len(counts) < 2 or seen.problem:
        return []
    total, names = sum(counts.values()), class_names(seen)
    commonest, rarest = max(counts, key=lambda v: counts[v]), min(counts, key=lambda v: counts[v])
    words = (
        f"{names.get(commonest, commonest)} has {counts[commonest] / counts[rarest]:.3g} times the pixels of "
        f"{names.get(rarest, rarest)}"
    )
    if counts[rarest] >= _RARE * total:
        return [Finding("balance", "ok", words)]
    remedy = "Patches show rare classes more often by themselves; --set train.class_weights=median weighs them, too."
    return [Finding("balance", "warn", f"{words}.", remedy)]


def _parts(seen: Survey) -> list[Finding]:
    """Say which class is missing in a part."""
    parts = {f.part for f in seen.labelled if f.part}
    if len(parts) < 2 or seen.problem:
        return []
    names = class_names(seen)
    missing = []
    for part in (p.name for p in seen.parts if p.name in parts):
        there = {value for f in seen.labelled if f.part == part for value in (f.counts or {})}
        missing += [f"{names.get(v, v)} in {part}" for v in _learned(seen) if v not in there]
    if missing:
        remedy = "A class that is only in one part is not learned there, or not judged: divide the images anew."
        return [Finding("parts", "warn", f"Missing: {some(missing, 5)}.", remedy)]
    return [Finding("parts", "ok", "every class is in every part")]


def odd_labels(facts: ImageFacts, seen: Survey) -> str:
    """Say what is odd about the labels of one image; empty where nothing is."""
    if not facts.labels or facts.trouble or facts.painted is None:
        return ""
    if facts.painted == 0:
        return "labels blank"
    if seen.problem and facts.label_values > _MANY:
        return counted(facts.label_values, "label value")
    return (
        counted(facts.tiny, "speck") if facts.tiny and seen.data is not None and seen.data.task == "instances" else ""
    )
