"""Comparing labels layers with labels layers: tables, pictures of the errors, and the report on request."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from napari_segnet import events
from napari_segnet.config import Frozen, LabelClass
from napari_segnet.evaluation.measures import MEASURES
from napari_segnet.evaluation.scores import Labels, Rules, make_rules
from napari_segnet.frames import write_frame
from napari_segnet.io.images import open_labels
from napari_segnet.io.write import write_npy, write_tiff
from napari_segnet.reports.panels import find_errors
from napari_segnet.run import write_atomically
from napari_segnet.viewer_jobs.arrays import ArrayFile, write_image

if TYPE_CHECKING:
    import pandas as pd

_OF_IMAGE = "image_"


class ComparedPair(Frozen):
    """Predicted labels and a reference of one size; the image that both belong to is shown in the report."""

    name: str = Field(min_length=1, pattern=r"^[^/\\]+$")
    prediction: ArrayFile
    truth: ArrayFile
    image: ArrayFile | None = None
    pixel_size: tuple[float, ...] | None = None
    units: str | None = None


class CompareJob(Frozen):
    """The command ``evaluate``: pairs of labels, what their values mean, a folder for the report if it is wanted."""

    out: str
    pairs: tuple[ComparedPair, ...] = Field(min_length=1)
    unlabelled: Literal["background", "ignore"] | None = None
    instances: bool | None = None
    classes: tuple[LabelClass, ...] | None = None
    surface: bool = False
    report: str | None = None


def compare(job: CompareJob, _should_stop: Callable[[], bool] = lambda: False) -> Iterator[events.Event]:
    """Compare labels.

    Written into the folder `job.out`: ``images.npz``, ``classes.npz`` and ``means.npz`` (`napari_segnet.frames`): a row
    an image, an image and class, a class; ``errors-N.npy`` of each pair, with the numbers of
    `napari_segnet.reports.colours`; ``summary.json``. Into `job.report`: what ``napari-segnet evaluate`` writes.

    Yields
    ------
    Event
        Progress, Finished.

    Raises
    ------
    SegNetError
        If labels can't be compared, in a sentence, or the report can't be written.
    """
    # Imported here: charts take their time, and other jobs don't draw any.
    from napari_segnet.reports.files import evaluate_files

    out = Path(job.out)
    steps = len(job.pairs) + 1
    folders = {name: out / name for name in ("predictions", "truth", "images")}
    for number, pair in enumerate(job.pairs):
        _write_files(pair, folders)
        yield events.Progress("evaluate", number, steps)
    report = Path(job.report) if job.report is not None else None
    summary = evaluate_files(
        folders["predictions"],
        folders["truth"],
        report or out / "report",
        unlabelled=job.unlabelled,
        instances=job.instances,
        classes=job.classes,
        images=folders["images"] if report is not None and folders["images"].is_dir() else None,
        surface=job.surface,
        figures=report is not None,
    )
    yield events.Progress("evaluate", len(job.pairs), steps)
    for name, frame in _tables(report or out / "report", summary).items():
        write_frame(frame, out / f"{name}.npz")
    rules = _rules(job, summary)
    for number, (prediction, truth) in enumerate(_read(job)):
        write_npy(out / f"errors-{number}.npy", find_errors(prediction, truth, rules))
    write_atomically(out / "summary.json", json.dumps({k: summary[k] for k in ("task", "unlabelled", "left_out")}))
    yield events.Finished("completed")


def _write_files(pair: ComparedPair, folders: dict[str, Path]) -> None:
    """Write what the shell would be given: labels and image as TIFF, with the size of their pixels."""
    for name, file in (("predictions", pair.prediction), ("truth", pair.truth)):
        labels = open_labels(file.path, file.axes)
        write_tiff(folders[name] / f"{pair.name}.tif", labels.array, labels.axes, pair.pixel_size, pair.units)
    if pair.image is not None:
        write_image(folders["images"] / f"{pair.name}.tif", [pair.image], pair.pixel_size, pair.units)


def _read(job: CompareJob) -> Iterator[tuple[Labels, Labels]]:
    for pair in job.pairs:
        sides = (open_labels(file.path, file.axes).array for file in (pair.prediction, pair.truth))
        prediction, truth = (np.asarray(side) for side in sides)
        yield prediction, truth


def _rules(job: CompareJob, summary: dict[str, Any]) -> Rules:
    """Return how labels were compared: as was found out."""
    return make_rules(
        _read(job), summary["unlabelled"], summary["task"] == "instances", job.classes, summary["ignore_values"]
    )


def _tables(folder: Path, summary: dict[str, Any]) -> dict[str, pd.DataFrame]:
    import pandas as pd

    rows = pd.read_csv(folder / "metrics.csv", dtype={"image": str, "name": str}, keep_default_na=True)
    whole = [name for name in rows.columns if name.startswith(_OF_IMAGE) or name in ("ap50", "ap")]
    images = rows[["image", *whole]].drop_duplicates("image", ignore_index=True)
    images.columns = pd.Index([str(name).removeprefix(_OF_IMAGE) for name in images.columns])
    if (folder / "objects.csv").is_file():
        objects = pd.read_csv(folder / "objects.csv", dtype={"image": str})
        kept = [name for name in objects.columns if name == "image" or name not in images.columns]
        images = images.merge(objects[[n for n in kept if "_0." not in str(n)]], on="image", how="left")
    first = ["image", *(name for name in MEASURES if name in images.columns)]
    images = images[[*first, *(name for name in images.columns if name not in first)]]
    means = pd.DataFrame([_plain(entry) for entry in summary["per_class"].values()])
    return {
        "images": images,
        "classes": rows.drop(columns=whole),
        "means": means.dropna(axis="columns", how="all"),
    }


def _plain(entry: dict[str, Any]) -> dict[str, Any]:
    """Return the numbers of a class, without the ends of their intervals."""
    return {name: value for name, value in entry.items() if not isinstance(value, dict | list)}
