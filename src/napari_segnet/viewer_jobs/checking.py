"""The data doctor for what the viewer would learn from: files of its list, and layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from pydantic import Field

from napari_segnet import events
from napari_segnet.config import Frozen, Task, Unlabelled
from napari_segnet.datasets.checking import make_report
from napari_segnet.datasets.finding import Part
from napari_segnet.datasets.survey import survey
from napari_segnet.frames import write_frame
from napari_segnet.io.images import open_labels
from napari_segnet.io.write import write_tiff
from napari_segnet.viewer_jobs.arrays import ArrayFile, write_image


class CheckedFiles(Frozen):
    """A pair of files."""

    image: str
    labels: str


class CheckedLayers(Frozen):
    """A pair of layers as files; several images are channels of one."""

    name: str = Field(min_length=1, pattern=r"^[^/\\]+$")
    images: tuple[ArrayFile, ...] = Field(min_length=1)
    labels: ArrayFile
    pixel_size: tuple[float, ...] | None = None
    units: str | None = None


class CheckJob(Frozen):
    """The command ``check``: pairs in the order of the list, and what their labels mean; `into` gets the pages."""

    out: str
    pairs: tuple[CheckedFiles | CheckedLayers, ...] = Field(min_length=1)
    into: str
    task: Task | None = None
    unlabelled: Unlabelled | None = None


def check(job: CheckJob, should_stop: Callable[[], bool] = lambda: False) -> Iterator[events.Event]:
    """Look through pairs of images and labels as `napari_segnet.datasets.check` does.

    Written into `job.into`: ``check.html``, ``check.csv`` ...; into the folder `job.out`: ``findings.npz`` and
    ``images.npz`` (`napari_segnet.frames`), a row a question, and a row a pair.

    Yields
    ------
    Event
        Progress, Finished.

    Raises
    ------
    SegNetError
        If nothing can be written. What can't be used is no error, but a finding.
    """
    import pandas as pd

    out = Path(job.out)
    pairs: list[tuple[Path, Path | None]] = []
    for number, pair in enumerate(job.pairs):
        if should_stop():
            yield events.Finished("stopped")
            return
        pairs.append(_files(pair, out))
        yield events.Progress("check", number, 3 * len(job.pairs))
    seen = survey([Part("", tuple(pairs))], task=job.task, unlabelled=job.unlabelled)
    report = make_report(seen, "the list of the viewer")
    yield events.Progress("check", 2 * len(job.pairs), 3 * len(job.pairs))
    report.write(job.into)
    findings = [{"": f.status, "what": f.name, "found": f.found, "remedy": f.remedy} for f in report.findings]
    write_frame(pd.DataFrame(findings), out / "findings.npz")
    rows = pd.read_csv(Path(job.into) / "check.csv", dtype={"remark": str, "axes": str, "dtype": str})
    rows.insert(0, "name", [facts.name for facts in report.images])
    rows.insert(1, "remark", rows.pop("remark"))
    for column in ("image", "labels"):
        # At the end, because paths are long; those of layers are of files that go.
        paths = zip(job.pairs, rows.pop(column), strict=True)
        rows[column] = [path if isinstance(pair, CheckedFiles) else "layer" for pair, path in paths]
    write_frame(rows.dropna(axis="columns", how="all"), out / "images.npz")
    yield events.Finished("completed")


def _files(pair: CheckedFiles | CheckedLayers, out: Path) -> tuple[Path, Path]:
    """Return the files of a pair; layers become files as they would be on disk."""
    if isinstance(pair, CheckedFiles):
        return Path(pair.image), Path(pair.labels)
    labels = open_labels(pair.labels.path, pair.labels.axes)
    image_path, labels_path = out / "images" / f"{pair.name}.tif", out / "masks" / f"{pair.name}.tif"
    write_image(image_path, pair.images, pair.pixel_size, pair.units)
    write_tiff(labels_path, labels.array, labels.axes, pair.pixel_size, pair.units)
    return image_path, labels_path
