"""What is wrong with images, or odd: files, pairs, sizes, types, intensities, copies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from napari_segnet.axes import counted, times
from napari_segnet.datasets.facts import Finding, ImageFacts
from napari_segnet.datasets.survey import Survey

_SMALLEST_SIDE = 32
_SATURATED = 0.1
"""Share of values at the end of the range from which on something is lost."""
_SAME_SIZE = 0.01
"""Relative difference of pixel sizes that doesn't matter: as in training."""
_OUTLIER = 3.5
"""Modified z-score of an outlier (Iglewicz and Hoaglin 1993, How to detect and handle outliers)."""
_VISIBLE = 0.25
"""Difference from the median, relative to the usual contrast, below which an outlier doesn't matter."""
_FEWEST = 6
"""Images of one kind that are needed to say what is usual."""
_MANY = 0.2
"""Share of outliers from which on they are no exceptions."""


def some(names: Iterable[str], most: int = 3) -> str:
    """Return names as a sentence takes them: the first few, and how many more."""
    found = list(names)
    return ", ".join(found[:most]) + (f" and {len(found) - most} more" if len(found) > most else "")


def image_findings(seen: Survey) -> list[Finding]:
    """Return what was found in the images of a data set."""
    found = [_files(seen), _pairs(seen), *_unfit(seen)]
    usable = seen.usable
    if usable:
        found += [_sizes(usable), _channels(usable), _types(usable), _pixel_sizes(usable)]
        found += [_values(usable), _saturation(usable), _brightness(usable), _copies(seen)]
    return found


def _files(seen: Survey) -> Finding:
    parts = [f"{part.name} {len(part.pairs)}" for part in seen.parts if part.name]
    words = counted(len(seen.facts), "image") + (f": {', '.join(parts)}" if parts else "")
    bad = [f for f in seen.facts if f.trouble == "image"]
    if bad:
        return Finding("images", "fail", f"{words}. {len(bad)} can't be used: {bad[0].error}", _remove(bad))
    return Finding("images", "ok", words)


def _remove(bad: Sequence[ImageFacts]) -> str:
    return f"Mend or take away: {some(f.title for f in bad)}."


def _pairs(seen: Survey) -> Finding:
    problems = [part.problem for part in seen.parts if part.problem]
    if problems:
        return Finding("pairs", "fail", problems[0])
    labelled = sum(part.labelled for part in seen.parts)
    if not labelled:
        remedy = "Paint them in napari, or name the folder of the labels: check IMAGES LABELS."
        return Finding("pairs", "warn", "No labels were found: only the images were looked at.", remedy)
    alone = [f for f in seen.facts if not f.labels]
    left = [path for part in seen.parts for path in part.unpaired_labels]
    others = [path for part in seen.parts for path in part.others]
    everything = counted(len(seen.facts), "image")
    words = f"{everything} with labels" if labelled == len(seen.facts) else f"{labelled} of {everything} have labels"
    words += f"; other labels in {some(path.name for path in others)} were not looked at" if others else ""
    if alone or left:
        missing = [f"without labels: {some(f.title for f in alone)}"] if alone else []
        missing += [f"labels without an image: {some(path.name for path in left)}"] if left else []
        remedy = "They are left out. Give an image and its labels the same name, or one that ends with _mask."
        return Finding("pairs", "warn", f"{words}; {'; '.join(missing)}.", remedy)
    return Finding("pairs", "ok", words)


def _unfit(seen: Survey) -> list[Finding]:
    found = []
    for trouble, name in (("labels", "label files"), ("size", "label sizes")):
        bad = [f for f in seen.facts if f.trouble == trouble]
        if bad:
            words = f"{counted(len(bad), 'image')} can't be learned from: {bad[0].error}"
            also = " Blurred masks of one class: napari-segnet prepare --threshold." if trouble == "labels" else ""
            found.append(Finding(name, "fail", words, _remove(bad) + also))
    return found


def _sizes(usable: Sequence[ImageFacts]) -> Finding:
    axes = sorted({f.axes.replace("C", "") for f in usable})
    shapes = sorted({f.shape for f in usable}, key=lambda shape: (len(shape), np.prod(shape)))
    words = (
        f"{times(shapes[0])} pixels" if len(shapes) == 1 else f"from {times(shapes[0])} to {times(shapes[-1])} pixels"
    )
    words += f" ({', '.join(axes)})"
    if len(axes) > 1:
        kinds = "; ".join(f"{one}: {some(f.title for f in usable if f.axes.replace('C', '') == one)}" for one in axes)
        return Finding("sizes", "warn", f"{words}. {kinds}", "Keep planes and volumes in folders of their own.")
    small = [f for f in usable if min(f.shape[-2:]) < _SMALLEST_SIDE]
    if small:
        remedy = "They are mirrored at their borders; larger ones say more."
        return Finding("sizes", "warn", f"{words}; smaller than {_SMALLEST_SIDE} pixels: {_titles(small)}.", remedy)
    return Finding("sizes", "ok", words)


def _titles(facts: Sequence[ImageFacts]) -> str:
    return some(f.title for f in facts)


def _channels(usable: Sequence[ImageFacts]) -> Finding:
    (usual, number), *_ = Counter(f.channels for f in usable).most_common()
    if number == len(usable):
        return Finding("channels", "ok", counted(usual, "channel"))
    odd = [f for f in usable if f.channels != usual]
    words = f"{_titles(odd)}: {some(sorted({str(f.channels) for f in odd}))}; the others: {usual}."
    remedy = "Images of one model need the same channels: napari-segnet prepare --colour grey, or rgb."
    return Finding("channels", "fail", words, remedy)


def _types(usable: Sequence[ImageFacts]) -> Finding:
    kinds = [kind for kind, _ in Counter(f.dtype for f in usable).most_common()]
    known = [f for f in usable if f.lowest is not None and f.highest is not None]
    ends = (
        f", from {min(f.lowest or 0 for f in known):.4g} to {max(f.highest or 0 for f in known):.4g}" if known else ""
    )
    if len(kinds) == 1:
        return Finding("types", "ok", f"{kinds[0]}{ends}")
    odd = [f for f in usable if f.dtype != kinds[0]]
    words = f"{', '.join(kinds)}{ends}; not {kinds[0]}: {_titles(odd)}."
    remedy = "Their brightness means different things: export them alike, or napari-segnet prepare --bits 8."
    return Finding("types", "warn", words, remedy)


def _pixel_sizes(usable: Sequence[ImageFacts]) -> Finding:
    known = [f for f in usable if f.pixel_size is not None]
    if not known:
        return Finding("pixel size", "ok", "not known")
    missing = [f for f in usable if f.pixel_size is None]
    if missing:
        words = f"known of {len(known)} of {counted(len(usable), 'image')}; not of {_titles(missing)}."
        return Finding("pixel size", "warn", words, "Save them in a format that holds it, such as TIFF of ImageJ.")
    units = sorted({f.units or "" for f in known})
    sizes = np.array([f.pixel_size[-2:] for f in known if f.pixel_size is not None])
    first = known[0].pixel_size or ()
    if len(units) == 1 and float((sizes.max(axis=0) / sizes.min(axis=0)).max()) <= 1 + _SAME_SIZE:
        return Finding("pixel size", "ok", f"{' x '.join(f'{n:.4g}' for n in first)} {units[0]}".strip())
    words = f"from {sizes.min():.4g} to {sizes.max():.4g} {' and '.join(units)}".strip()
    remedy = "Bring them to one: napari-segnet train --set data.pixel_size=median."
    return Finding("pixel size", "warn", words, remedy)


def _values(usable: Sequence[ImageFacts]) -> Finding:
    constant = [f for f in usable if f.constant or f.not_finite == 1]
    holes = [f for f in usable if 0 < f.not_finite < 1]
    if not constant and not holes:
        return Finding("values", "ok", "every image has contrast, and no NaN")
    words = [f"the same value everywhere: {_titles(constant)}"] if constant else []
    if holes:
        worst = max(f.not_finite for f in holes)
        words.append(f"NaN or infinite values, up to {worst:.2%}: {_titles(holes)}")
    remedy = "Take images without contrast away; NaN is taken as dark."
    return Finding("values", "fail" if len(constant) == len(usable) else "warn", "; ".join(words) + ".", remedy)


def _saturation(usable: Sequence[ImageFacts]) -> Finding:
    bright = sorted((f for f in usable if f.saturated > _SATURATED), key=lambda f: -f.saturated)
    if not bright:
        worst = max(f.saturated for f in usable)
        return Finding("saturation", "ok", f"at most {worst:.1%} of an image" if worst else "none")
    words = f"as bright as can be, on {bright[0].saturated:.0%} of the pixels or less: {_titles(bright)}."
    return Finding("saturation", "warn", words, "What is there is lost: expose shorter, if it matters.")


def robust_scores(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return modified z-scores: distance from the median, in standard deviations estimated by the median deviation.

    Where more than half of the values are the same, the mean deviation takes its place.

    Parameters
    ----------
    values : (N,) float64

    Returns
    -------
    (N,) float64
        0 where all values are the same.

    References
    ----------
    Iglewicz, B., Hoaglin, D. C. (1993). How to detect and handle outliers. ASQC Quality Press.
    """
    away = values - np.median(values)
    median = float(np.median(np.abs(away)))
    mean = float(np.abs(away).mean())
    if mean == 0:
        return np.zeros_like(values)
    return away / (median / 0.6745 if median > 0 else mean * 1.253314)


def odd_ones(usable: Sequence[ImageFacts]) -> dict[str, str]:
    """Say which images are much brighter, darker, flatter or harder than the others of their kind.

    Returns
    -------
    dict of str to str
        Path of the image -> in what it differs, and by how much.
    """
    found: dict[str, str] = {}
    for kind in {(f.channels, f.dtype) for f in usable}:
        alike = [f for f in usable if (f.channels, f.dtype) == kind and len(f.brightness) == f.channels]
        if len(alike) < _FEWEST:
            continue
        brightness = np.array([f.brightness for f in alike], np.float64)
        contrast = np.array([f.contrast for f in alike], np.float64)
        usual = np.maximum(np.median(contrast, axis=0), 1e-12)
        for values, more, less in ((brightness, "brighter", "darker"), (contrast, "more contrast", "less contrast")):
            middle = np.median(values, axis=0)
            for channel in range(kind[0]):
                scores = robust_scores(values[:, channel])
                away = (values[:, channel] - middle[channel]) / usual[channel]
                for one in np.flatnonzero((np.abs(scores) > _OUTLIER) & (np.abs(away) > _VISIBLE)):
                    where = f" in channel {channel}" if kind[0] > 1 else ""
                    word = more if away[one] > 0 else less
                    found.setdefault(
                        alike[one].image, f"{word}{where}: {values[one, channel]:.4g}, usual {middle[channel]:.4g}"
                    )
    return found


def _brightness(usable: Sequence[ImageFacts]) -> Finding:
    odd = odd_ones(usable)
    names = {f.image: f.title for f in usable}
    if not odd:
        few = len(usable) < _FEWEST
        return Finding("brightness", "ok", "too few images to say what is usual" if few else "no image stands out")
    if len(odd) > max(2, _MANY * len(usable)):
        words = f"ranges differ widely: {len(odd)} of {len(usable)} images stand out."
        return Finding(
            "brightness", "ok", words, "Each is scaled by its own range, unless data.normalization says more."
        )
    shown = some(f"{names[path]} ({words})" for path, words in odd.items())
    return Finding("brightness", "warn", f"{len(odd)} stand out: {shown}.", "Look at them: another exposure, or stain?")


def _copies(seen: Survey) -> Finding:
    groups = [[seen.facts[number] for number in group] for group in seen.alike]
    across = [group for group in groups if len({f.part for f in group}) > 1]
    if across:
        shown = some((" and ".join(_each_part(group)) for group in across), 2)
        words = f"The same image, or nearly, in several parts: {shown}."
        remedy = "Scores on such images flatter: take them away from one side, or prepare the split anew."
        return Finding("copies", "warn", words, remedy)
    if groups:
        images = sum(len(group) for group in groups)
        shown = some((f"{group[0].title} and {group[1].title}" for group in groups), 2)
        words = f"{images} images look like another one, such as {shown}."
        return Finding("copies", "warn", words, "Training and prepare keep such images on one side of their split.")
    return Finding("copies", "ok", "no two images look the same")


def _each_part(group: Sequence[ImageFacts]) -> list[str]:
    """Return the first image of each part."""
    first: dict[str, str] = {}
    for f in group:
        first.setdefault(f.part, f.title)
    return list(first.values())
