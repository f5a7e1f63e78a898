"""Make the pictures of docs/reports.md: a real training on the bundled coins, its report, and that of its predictions.

Usage: ``python docs/report_pictures.py``. Takes some minutes; needs a headless browser (Qt WebEngine), no display.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import tifffile

from napari_segnet.config import DataConfig, RunConfig, TrainConfig
from napari_segnet.demo import SAMPLE, run_demo
from napari_segnet.devices import pick_device
from napari_segnet.executor import execute, set_up
from napari_segnet.io.pairing import pair_files
from napari_segnet.io.records import make_records
from napari_segnet.reports.files import evaluate_files
from napari_segnet.reports.training import write_training_report
from napari_segnet.run import RunFolder
from napari_segnet.training.examples import write_examples

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
BROWSER = ROOT / "tests" / "e2e" / "browser.py"
ROWS, COLUMNS, EPOCHS = 3, 4, 12


def main() -> None:
    """Train, predict, cut the photograph into parts to have several images, evaluate, and photograph the pages."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "coins"
        run_demo(folder, viewer=False)
        parts = _cut(folder, Path(scratch))
        _photograph(write_training_report(_learn(parts), figures=False), "report_training", "0")
        out = Path(scratch) / "report"
        evaluate_files(
            parts / "predicted coins",
            parts / "labels",
            out,
            images=parts / "images",
            model=folder / "run",
            topology=True,
        )
        _photograph(out / "report.html", "report", "0")
        for number, name in ((1, "report_images"), (5, "report_probabilities"), (6, "report_agreement")):
            section = f"document.querySelectorAll('main > section')[{number}]"
            _photograph(out / "report.html", name, f"(window.scrollTo(0, {section}.offsetTop - 50), 0)")


def _learn(parts: Path) -> Path:
    """Learn the parts in a run of its own, with a validation; returns the run folder."""
    data = DataConfig(task="semantic", unlabelled="background", val_fraction=0.25)
    config = RunConfig(data=data, train=TrainConfig(epochs=EPOCHS, steps_per_epoch=6, patch_size=64))
    records = make_records(pair_files(parts / "images", parts / "labels"))
    run = RunFolder.create(parts / "run", config, records)
    for _ in execute(run):
        pass
    write_examples(run, *set_up(run, pick_device("cpu")))
    return run.path


def _cut(folder: Path, scratch: Path) -> Path:
    """Write the parts of the photograph, of the answer and of the reference mask, in which 1 is coin."""
    whole = {
        "images": iio.imread(folder / "data" / f"{SAMPLE}.png"),
        "labels": (iio.imread(folder / "data" / f"{SAMPLE}_reference.png") == 2).astype(np.uint8),
        "predicted coins": (tifffile.imread(folder / f"{SAMPLE}.tif") == 2).astype(np.uint8),
        "probabilities": tifffile.imread(folder / f"{SAMPLE}_probabilities.tif"),
    }
    for kind, array in whole.items():
        target = scratch / ("predicted coins" if kind == "probabilities" else kind)
        target.mkdir(exist_ok=True)
        for row, band in enumerate(np.array_split(array, ROWS, axis=-2)):
            for column, part in enumerate(np.array_split(band, COLUMNS, axis=-1)):
                stem = f"coins {row + 1}-{column + 1}"
                if kind == "probabilities":
                    tifffile.imwrite(target / f"{stem}_probabilities.tif", part, imagej=True, metadata={"axes": "CYX"})
                else:
                    iio.imwrite(target / f"{stem}.png", np.ascontiguousarray(part))
    entries = {"0": {"name": "background", "colour": "#101010"}, "1": {"name": "coin", "colour": "#e6550d"}}
    (scratch / "labels" / "classes.json").write_text(json.dumps(entries))
    return scratch


def _photograph(page: Path, name: str, script: str) -> None:
    path = IMAGES / f"{name}.png"
    subprocess.run([sys.executable, str(BROWSER), str(page), str(path), script], check=True, stdout=subprocess.DEVNULL)
    print(f"written: {path}")


if __name__ == "__main__":
    main()
