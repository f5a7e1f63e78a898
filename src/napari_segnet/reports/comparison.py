"""Several predictions of the same images, and what people agree on: a ranking with paired tests, and the ceiling."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from napari_segnet.errors import DataError
from napari_segnet.evaluation.annotators import PREDICTION
from napari_segnet.evaluation.bootstrap import Interval, mean_intervals
from napari_segnet.evaluation.ranking import Ranking, rank_models
from napari_segnet.io.pairing import Paths, file_stem
from napari_segnet.reports.measuring import REFERENCE, Job, Result
from napari_segnet.reports.planning import pair_labels

TOLD = ("dice", "iou", "pixel_accuracy", "precision", "recall", "ap50", "ap", "hd95", "assd")
"""Measures that are told of each of several predictions."""


@dataclass(frozen=True)
class Rival:
    """Further labels of the same images, by a model or a person."""

    name: str
    jobs: tuple[Job, ...]
    human: bool = False


@dataclass(frozen=True, eq=False)
class Comparison:
    """Several predictions of the same images.

    Attributes
    ----------
    measure : str
        What they are ranked by.
    ranking : Ranking
    means : dict of str to dict of str to Interval
        Name of a prediction -> measure -> its mean over the images that it has.
    rows : list of dict
        Measures of each image and prediction.
    people : tuple of str
        Those of the names that are people.
    """

    measure: str
    ranking: Ranking
    means: dict[str, dict[str, Interval]]
    rows: list[dict[str, Any]]
    people: tuple[str, ...] = ()


def find_rivals(
    own: str, labels: Paths, jobs: Sequence[Job], also: Sequence[Paths], annotators: Sequence[Paths]
) -> list[Rival]:
    """Pair further predictions, and labels of further people, with the references.

    Parameters
    ----------
    own : str
        Name of the predictions that are evaluated.
    labels : Path, or several
        The references.
    jobs : sequence of Job
        Those of `own`.
    also, annotators : sequence of Path, or of several
        Folders or files.

    Returns
    -------
    list of Rival
        Their names are those of their folders or files, with a number where they'd be the same.

    Raises
    ------
    DataError
        If one of them has none of the images.
    """
    taken = {own, REFERENCE, PREDICTION}
    rivals = []
    for human, several in ((False, also), (True, annotators)):
        for paths in several:
            truths = {job.truth for job in jobs}
            pairs = [pair for pair in pair_labels(paths, labels).pairs if pair[1] in truths]
            if not pairs:
                raise DataError(
                    f"{name_of(paths)} has none of the images of {own}.", "Name predictions of the same images."
                )
            name = _free_name(name_of(paths), taken)
            taken.add(name)
            names = {job.truth: job.name for job in jobs}
            rivals.append(Rival(name, tuple(Job(names[t], prediction, t) for prediction, t in pairs), human))
    return rivals


def name_of(paths: Paths) -> str:
    """Return a short name of files or folders: that of the folder, or of the file without its ending."""
    given = [Path(paths)] if isinstance(paths, Path | str) else [Path(path) for path in paths]
    first = given[0].resolve()
    name = first.name if first.is_dir() else file_stem(first)
    return name if len(given) == 1 else f"{name} and {len(given) - 1} more"


def _free_name(name: str, taken: set[str]) -> str:
    numbers = (name if n == 1 else f"{name} {n}" for n in range(1, len(taken) + 2))
    return next(free for free in numbers if free not in taken)


def with_annotations(jobs: Sequence[Job], rivals: Sequence[Rival]) -> list[Job]:
    """Return jobs that know what further people have drawn."""
    drawn: dict[Path, list[tuple[str, Path]]] = {}
    for rival in rivals:
        if rival.human:
            for job in rival.jobs:
                drawn.setdefault(job.truth, []).append((rival.name, job.prediction))
    return [replace(job, annotations=tuple(drawn.get(job.truth, ()))) for job in jobs]


def compare(found: Mapping[str, Sequence[Result]], people: Sequence[str], *, instances: bool) -> Comparison:
    """Rank predictions by their scores on the same images: mean Dice, of objects mean average precision.

    Parameters
    ----------
    found : mapping of str to sequence of Result
        What was measured of each.
    people : sequence of str
        Those of the names that are people.
    instances : bool
        Whether labels number objects.

    Raises
    ------
    DataError
        If there is no image that all of them have.
    """
    measure = "ap" if instances else "dice"
    truths = list(dict.fromkeys(result.job.truth for results in found.values() for result in results))
    rows, table, means = [], {}, {}
    for name, results in found.items():
        numbers = {result.job.truth: result.scores.of_image() for result in results}
        table[name] = [numbers.get(truth, {}).get(measure, math.nan) for truth in truths]
        columns = {
            told: [_finite(numbers[truth].get(told)) for truth in numbers]
            for told in TOLD
            if any(told in one for one in numbers.values())
        }
        means[name] = mean_intervals(columns)
        rows += [{"image": r.job.name, "prediction": name, **numbers[r.job.truth]} for r in results]
    return Comparison(measure, rank_models(table), means, rows, tuple(people))


def _finite(value: float | None) -> float:
    return value if value is not None and math.isfinite(value) else math.nan
