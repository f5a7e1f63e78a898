"""Comparing files with files: tables, figures and a page of how well predictions agree with their references.

``metrics.csv`` has a row an image and class, ``summary.json`` means over images, ``report.html`` is the page. Images
are read one at a time, twice: first to see what their labels mean, then to measure.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

from napari_segnet.config import LabelClass
from napari_segnet.errors import ConfigError, DataError, SegNetError
from napari_segnet.evaluation.annotators import annotator_ceiling
from napari_segnet.evaluation.scores import plain_tree
from napari_segnet.evaluation.thirds import End
from napari_segnet.io.images import open_image
from napari_segnet.io.pairing import Pairing, Paths
from napari_segnet.models.info import read_info
from napari_segnet.reports import tables
from napari_segnet.reports.charts import save_charts
from napari_segnet.reports.comparison import Rival, compare, find_rivals, name_of, with_annotations
from napari_segnet.reports.evaluation import Evaluation, Example, Learned, choose_examples, compare_sizes
from napari_segnet.reports.evaluation_page import evaluation_page
from napari_segnet.reports.measuring import Job, Plan, Result, measure, read_pair
from napari_segnet.reports.page import render
from napari_segnet.reports.panels import draw_panel
from napari_segnet.reports.planning import Survey, Wishes, find_jobs, make_plan, pair_labels
from napari_segnet.reports.run_story import read_story
from napari_segnet.reports.summary import (
    find_means,
    pooled_confusion,
    pooled_probability,
    summarize,
    summarize_probability,
)
from napari_segnet.run import RunFolder, write_atomically

_MOST_PICTURES = 200
"""Images that keep the small picture of their row in the table."""
_WORTH_PROCESSES = 40_000_000
"""Pixels times classes from which on several processes save more time than it takes to start them; overlap alone is
read faster than it could be shared out."""
_LARGE = 480
"""Side of the pictures of examples, pixels."""
_MOST_NAMED = 10
_TABLES = ("objects", "calibration", "thirds", "comparison", "ranking", "pairs")
"""Tables that not every evaluation writes."""


def evaluate_files(
    predictions: Paths,
    labels: Paths,
    out: Path | str,
    *,
    unlabelled: Literal["background", "ignore"] | None = None,
    instances: bool | None = None,
    classes: Sequence[LabelClass] | None = None,
    ignore_values: Sequence[int] = (),
    images: Paths | None = None,
    model: Path | str | None = None,
    surface: bool | None = None,
    tolerance: float | None = None,
    topology: bool = False,
    thirds: End | None = None,
    also: Sequence[Paths] = (),
    annotators: Sequence[Paths] = (),
    figures: bool = True,
    workers: int = 1,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Compare predicted label files with reference files, paired by name, and write what was found.

    Parameters
    ----------
    predictions, labels : Path, or several
        Files or folders. Predictions that end with ``_probabilities`` or ``_uncertainty`` are no labels; the former,
        with the name of a prediction before it, are measured too.
    out : Path
        Folder for ``metrics.csv`` (a row an image and class), ``summary.json``, ``report.html`` and the like.
    unlabelled, instances, classes, ignore_values
        As for `napari_segnet.evaluation.evaluate`; what isn't given is taken from a ``classes.json`` beside the
        labels, or guessed from all files together.
    images : Path, or several, optional
        What was segmented, paired with `labels` by name: the page shows it.
    model : Path, optional
        Model file or run folder that made the predictions: the page shows its card and how it learned.
    surface : bool, optional
        Whether distances between surfaces are measured; by default where that takes seconds, not minutes.
    tolerance : float, optional
        Of the surface Dice, in the units of the files, or pixels where they don't tell; by default a pixel.
    topology : bool
        Whether clDice and Betti errors are measured.
    thirds : {"first", "last"}, optional
        Score base, middle and apex of stacks; says at which end of Z the base is.
    also : sequence of Path, or of several
        Further predictions of the same images: all are ranked, with paired tests.
    annotators : sequence of Path, or of several
        Labels of further people: they are ranked too, and what they agree on is the ceiling.
    figures : bool
        Whether figures are drawn.
    workers : int
        Processes that measure large sets. A script that asks for several needs ``if __name__ == "__main__":``.
    on_progress : callable, optional
        Called with the number of images done and of all.

    Returns
    -------
    dict
        What ``summary.json`` holds. Means are over images; an image without a score (no class in either) is
        left out of them.

    Raises
    ------
    DataError
        If a prediction has another size than its reference, nothing pairs, or a file can't be used.
    ConfigError
        If an option has a value that it can't take.
    SegNetError
        If `out` can't be written.
    """
    if workers < 1:
        raise ConfigError(f"workers = {workers}.", "It is the number of processes, 1 or more.")
    wishes = Wishes(
        unlabelled=unlabelled,
        instances=instances,
        classes=None if classes is None else tuple(classes),
        ignore_values=tuple(ignore_values),
        surface=surface,
        tolerance=tolerance,
        topology=topology,
        base=thirds,
    )
    info = None if model is None else read_info(model)
    name, pairing = name_of(predictions), pair_labels(predictions, labels)
    jobs = find_jobs(pairing, predictions, images)
    rivals = find_rivals(name, labels, jobs, also, annotators)
    jobs = with_annotations(jobs, rivals)
    plan, survey, left_out = make_plan(jobs, [job for rival in rivals for job in rival.jobs], wishes, info)
    slow = plan.surface or plan.topology or bool(plan.probability_values)
    workers = workers if slow and survey.pixels * len(plan.rules.values) >= _WORTH_PROCESSES else 1
    results = _with_few_pictures(measure_all(plan, jobs, workers), on_progress, len(jobs))
    found = _evaluate(name, results, plan, survey)
    if rivals:
        found = _with_rivals(found, rivals, workers)
    about = _about(plan, pairing, left_out, survey)
    found.summary.update(about, warnings=_warnings(found.results, about))
    found = replace(found, info=info, learned=_learned(model), examples=_draw_examples(found) if figures else [])
    _write(Path(out), found, figures)
    return found.summary


def _with_rivals(found: Evaluation, rivals: Sequence[Rival], workers: int) -> Evaluation:
    """Measure what is compared, and rank it."""
    plan = replace(found.plan, topology=False, base=None, probability_values=(), pictures=False)
    measured: dict[str, Sequence[Result]] = {found.name: found.results}
    for rival in rivals:
        measured[rival.name] = list(measure_all(plan, rival.jobs, workers))
    people = [rival.name for rival in rivals if rival.human]
    comparison = compare(measured, people, instances=found.rules.instances)
    ceiling = annotator_ceiling([result.annotators for result in found.results]) if people else None
    told = {name: {k: i.to_dict() for k, i in means.items()} for name, means in comparison.means.items()}
    found.summary["comparison"] = {"measure": comparison.measure, **comparison.ranking.to_dict(), "means": told}
    if ceiling is not None:
        found.summary["annotators"] = ceiling.to_dict()
    return replace(found, comparison=comparison, ceiling=ceiling)


def measure_all(plan: Plan, jobs: Sequence[Job], workers: int = 1) -> Iterator[Result]:
    """Measure images one after another, or in several processes; results come in the order of the jobs."""
    workers = min(workers, len(jobs))
    if workers < 2:
        yield from map(partial(measure, plan), jobs)
        return
    # Never forked: the libraries of this process may have threads.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(partial(measure, plan), jobs)


def _with_few_pictures(
    results: Iterator[Result], on_progress: Callable[[int, int], None] | None, total: int
) -> list[Result]:
    """Collect results, of which only the worst keep their picture: memory doesn't grow much with their number."""
    kept: list[Result] = []
    for result in results:
        kept.append(result)
        if len(kept) % _MOST_PICTURES == 0 or len(kept) == total:
            shown = sorted((r.rank, place) for place, r in enumerate(kept) if r.picture)
            for _, place in shown[_MOST_PICTURES:]:
                kept[place] = replace(kept[place], picture=b"")
        if on_progress is not None:
            on_progress(len(kept), total)
    return kept


def _evaluate(name: str, results: list[Result], plan: Plan, survey: Survey) -> Evaluation:
    means = find_means(results, plan.rules)
    summary = summarize(results, plan.rules, means)
    probability = pooled_probability(results)
    if probability is not None:
        images = sum(result.probability is not None for result in results)
        summary["probability"] = summarize_probability(probability, plan.rules, images)
    compared = compare_sizes(results, plan, survey)
    summary["agreement"] = [
        {"class": one.value, "quantity": one.quantity, "unit": one.unit, **_short(one.agreement.to_dict())}
        for one in compared
    ]
    return Evaluation(name, results, plan, survey, means, summary, probability, compared)


def _short(agreement: dict[str, Any]) -> dict[str, Any]:
    """Leave out the numbers of single images, which are in the tables."""
    for part in ("bland_altman", "bland_altman_percent"):
        if agreement[part] is not None:
            agreement[part] = {k: v for k, v in agreement[part].items() if k not in ("means", "differences")}
    return {key: value for key, value in agreement.items() if key not in ("predicted", "reference")}


def _about(plan: Plan, pairing: Pairing, left_out: dict[str, str], survey: Survey) -> dict[str, Any]:
    rules = plan.rules
    return {
        "images": len(pairing.pairs),
        "task": "instances" if rules.instances else "semantic",
        "unlabelled": rules.unlabelled,
        "ignore_values": list(rules.ignore_values),
        "unit": survey.unit if plan.scaled else "px",
        "left_out": left_out,
        "unpaired_predictions": [path.name for path in pairing.unpaired_images],
        "unpaired_labels": [path.name for path in pairing.unpaired_labels],
    }


def _warnings(results: Sequence[Result], about: Mapping[str, Any]) -> list[str]:
    """Say what was left out, of the whole set and of single images."""
    found = list(about["left_out"].values())
    for key, words in (
        ("unpaired_predictions", "Predictions without a reference"),
        ("unpaired_labels", "References without a prediction"),
    ):
        if about[key]:
            found.append(f"{words}: {_named(about[key])}.")
    notes: dict[str, list[str]] = {}
    for result in results:
        for note in result.notes:
            notes.setdefault(note, []).append(result.job.name)
    return [*found, *(f"{_named(names)}: {note}" for note, names in notes.items())]


def _named(names: Sequence[str]) -> str:
    more = f" ... ({len(names)} in all)" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more


def _learned(model: Path | str | None) -> Learned:
    """Return how the model of a run folder, or a model that lies in one, learned."""
    if model is not None:
        path = Path(model)
        folder = path if path.is_dir() else path.parent
        if (folder / "config.json").is_file() and (folder / "history.csv").is_file():
            story = read_story(RunFolder(folder))
            return Learned(story.history, story.best_epoch)
    return Learned()


def _draw_examples(found: Evaluation) -> list[Example]:
    examples = []
    for place, result in choose_examples(found.results):
        _, prediction, truth = read_pair(result.job)
        image = None
        if result.job.image is not None:
            opened = open_image(result.job.image)
            if opened.shape_without_channels != truth.shape:
                raise DataError(
                    f"{result.job.image.name} has the shape {opened.shape_without_channels}, "
                    f"{result.job.truth.name} {truth.shape}.",
                    "Name the images that the labels belong to.",
                )
            image = opened.array, opened.axes
        panel = draw_panel(prediction, truth, found.rules, colours=found.plan.colours, image=image, side=_LARGE)
        examples.append(Example(place, result, panel))
    return examples


def _write(out: Path, found: Evaluation, figures: bool) -> None:
    page, charts = evaluation_page(found, figures=figures)
    texts = {"metrics": tables.metrics_table(found.results, found.rules)}
    texts["confusion"] = tables.confusion_table(pooled_confusion(found.results))
    texts["agreement"] = tables.agreement_table(found.compared)
    if found.rules.instances:
        texts["objects"] = tables.objects_table(found.results)
    names = {value: score.name for value, score in found.results[0].scores.per_class.items()}
    if found.probability is not None:
        texts["calibration"] = tables.calibration_table(found.probability, names)
    if found.means.regions:
        texts["thirds"] = tables.regions_table(found.results, names)
    if found.comparison is not None:
        texts["comparison"] = tables.comparison_table(found.comparison)
        texts["ranking"] = tables.ranking_table(found.comparison)
        texts["pairs"] = tables.pairs_table(found.comparison)
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            write_atomically(out / f"{name}.csv", text)
        for name in _TABLES:
            if name not in texts:
                (out / f"{name}.csv").unlink(missing_ok=True)  # of an earlier evaluation
        write_atomically(out / "summary.json", json.dumps(plain_tree(found.summary), indent=2, allow_nan=False))
        write_atomically(out / "report.html", render(page))
        save_charts(charts, out / "figures")
    except OSError as error:
        raise SegNetError(
            f"{out} can't be written: {error.strerror or error}.", "Choose another --out, or free some room."
        ) from error
