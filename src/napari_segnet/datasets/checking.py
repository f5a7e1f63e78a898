"""The data doctor: what is wrong with a data set, or odd, before anything is learned from it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from napari_segnet.config import LabelClass, Task, Unlabelled
from napari_segnet.datasets.facts import Finding, ImageFacts
from napari_segnet.datasets.finding import find_parts
from napari_segnet.datasets.image_findings import image_findings, odd_ones
from napari_segnet.datasets.label_findings import label_findings, odd_labels
from napari_segnet.datasets.sheet import choose, draw, sheet
from napari_segnet.datasets.survey import Survey, survey
from napari_segnet.errors import SegNetError
from napari_segnet.run import write_atomically

PICTURES = 60
"""Images that are drawn, unless it is said how many."""
_MOST_COLUMNS = 64
"""Classes with a column of their own in the table of images."""


@dataclass(frozen=True)
class Report:
    """What was found in a data set.

    Attributes
    ----------
    source : str
        The folder, or the two, that were looked at.
    findings : tuple of Finding
        The answers to all questions, also where nothing is wrong.
    images : tuple of ImageFacts
        What was measured of each image.
    remarks : tuple of str
        What is wrong with each image, or odd; empty where nothing is.
    task, unlabelled : str or None
        What the labels mean; None without labels.
    classes : tuple of LabelClass
        Values, names and colours; of objects: background and object.
    counts : dict of int to int
        Label value -> pixels over all images; empty if the values number objects.
    """

    source: str
    findings: tuple[Finding, ...]
    images: tuple[ImageFacts, ...]
    remarks: tuple[str, ...]
    task: Task | None = None
    unlabelled: Unlabelled | None = None
    classes: tuple[LabelClass, ...] = ()
    counts: dict[int, int] | None = None

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of what keeps the data from being learned from."""
        return tuple(finding.name for finding in self.findings if finding.status == "fail")

    def write(self, out: Path | str, pictures: int = PICTURES) -> list[Path]:
        """Write what was found.

        Parameters
        ----------
        out : Path
            Folder for ``check.csv`` (a row an image), ``check.json`` (everything), ``check.png`` (image, labels, and
            labels over the image) and ``check.html`` (findings, pictures and the table on one page).
        pictures : int
            Most images to draw: those with a remark first, then some of all. 0: no pictures.

        Returns
        -------
        list of Path
            What was written.

        Raises
        ------
        SegNetError
            If it can't be written.
        """
        from napari_segnet.datasets.page import page

        out = Path(out)
        chosen = choose(self.images, self.remarks, pictures)
        objects = self.task == "instances"
        drawn = (draw(self.images[i], self.classes, self.remarks[i], objects=objects) for i in chosen)
        shown = [one for one in drawn if one is not None]
        contents: dict[str, str | bytes] = {"check.csv": self._table(), "check.json": self._json()}
        if shown:
            contents["check.png"] = sheet(shown)
        contents["check.html"] = page(self, shown)
        try:
            out.mkdir(parents=True, exist_ok=True)
            for name, content in contents.items():
                write_atomically(out / name, content)
        except OSError as error:
            raise SegNetError(
                f"{out} can't be written: {error.strerror or error}.", "Choose another --out, or free some room."
            ) from error
        return [out / name for name in contents]

    def _json(self) -> str:
        tree: dict[str, Any] = {
            "source": self.source,
            "task": self.task,
            "unlabelled": self.unlabelled,
            "classes": [c.model_dump() for c in self.classes],
            "counts": self.counts or {},
            "findings": [asdict(finding) for finding in self.findings],
            "images": [
                asdict(facts) | {"remark": remark} for facts, remark in zip(self.images, self.remarks, strict=True)
            ],
        }
        return json.dumps(tree, indent=1, allow_nan=False, ensure_ascii=False) + "\n"

    def _table(self) -> str:
        values = sorted(self.counts or {})[:_MOST_COLUMNS]
        columns = [
            "image", "labels", "part", "axes", "shape", "channels", "dtype", "pixel_size", "units", "lowest",
            "highest", "brightness", "contrast", "saturated", "not_finite", "label_values", "painted", "object_size",
            "tiny", "label_type", *(f"pixels_{value}" for value in values), "remark",
        ]  # fmt: skip
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        for facts, remark in zip(self.images, self.remarks, strict=True):
            row = asdict(facts) | {"remark": remark}
            row |= {name: " ".join(f"{n:g}" for n in row[name] or ()) for name in ("brightness", "contrast")}
            row |= {name: " x ".join(f"{n:g}" for n in row[name] or ()) for name in ("shape", "pixel_size")}
            if facts.labels and facts.counts is not None:
                row |= {f"pixels_{value}": facts.counts.get(value, 0) for value in values}
            writer.writerow({name: "" if value is None else value for name, value in row.items()})
        return text.getvalue()


def check(
    images: Path | str,
    labels: Path | str | None = None,
    *,
    out: Path | str | None = None,
    axes: str | None = None,
    task: Task | None = None,
    unlabelled: Unlabelled | None = None,
    ignore_values: Sequence[int] | None = None,
    pictures: int = PICTURES,
    on_progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Look through a data set: files, pairs, sizes, types, intensities, classes, copies.

    One image is in memory at a time. No file of the data is changed.

    Parameters
    ----------
    images : Path
        A file or a folder of images; without `labels` also a folder with ``images`` and ``masks`` in it, or with
        ``train``, ``val`` and ``test``.
    labels : Path, optional
        A file or a folder.
    out : Path, optional
        Folder to write tables and pictures into, see `Report.write`.
    axes : str, optional
        Axes of all images, where the guess is wrong.
    task : {"semantic", "instances"}, optional
        Whether labels hold classes or number objects; default: what ``classes.json`` beside them says, or a guess.
    unlabelled : {"background", "ignore"}, optional
        What 0 means; default: likewise.
    ignore_values : sequence of int, optional
        Label values that don't count; default: likewise.
    pictures : int
        Most images to draw.
    on_progress : callable, optional
        Called with the number of images done and of all.

    Returns
    -------
    Report

    Raises
    ------
    DataError
        If something is missing, or there are no images. What can't be used is no error, but a finding.
    SegNetError
        If `out` can't be written.
    """
    parts = find_parts(images, labels)
    seen = survey(
        parts, axes=axes, task=task, unlabelled=unlabelled, ignore_values=ignore_values, on_progress=on_progress
    )
    report = make_report(seen, str(images) if labels is None else f"{images}, {labels}")
    if out is not None:
        report.write(out, pictures)
    return report


def make_report(seen: Survey, source: str) -> Report:
    """Say what was found in a survey; `source` is what was looked through, in words."""
    data = seen.data
    return Report(
        source=source,
        findings=(*image_findings(seen), *label_findings(seen)),
        images=tuple(seen.facts),
        remarks=_remarks(seen),
        task=data.task if data else None,
        unlabelled=data.unlabelled if data else None,
        classes=data.classes if data else (),
        counts=seen.counts if data and data.task == "semantic" and not seen.problem else {},
    )


def _remarks(seen: Survey) -> tuple[str, ...]:
    """Say of each image what is wrong with it, or odd."""
    odd = odd_ones(seen.usable)
    copies = {number: group for group in seen.alike for number in group}
    remarks = []
    for number, facts in enumerate(seen.facts):
        said = [facts.error] if facts.error else []
        if not facts.labels and any(part.labelled for part in seen.parts):
            said.append("no labels")
        if facts.constant:
            said.append("the same value everywhere")
        if facts.not_finite:
            said.append(f"{facts.not_finite:.2%} NaN or infinite")
        if facts.image in odd:
            said.append(odd[facts.image])
        if number in copies:
            others = [seen.facts[n].title for n in copies[number] if n != number]
            said.append(f"looks like {others[0]}" if len(others) == 1 else f"one of {len(others) + 1} that look alike")
        if label := odd_labels(facts, seen):
            said.append(label)
        remarks.append("; ".join(said))
    return tuple(remarks)
