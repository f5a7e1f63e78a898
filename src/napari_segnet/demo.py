"""The whole main job on one bundled photograph: ``napari-segnet demo``.

Strokes on a photograph of coins train a network; it predicts the picture; the answer is scored against a mask
that the strokes never saw; a real viewer shows it. Everything is written into one folder, by the same run
folder and the same functions that the viewer and the other commands use.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import imageio.v3 as iio
import numpy as np

from napari_segnet import events
from napari_segnet.config import DataConfig, LabelClass, PredictConfig, RunConfig, TrainConfig
from napari_segnet.data.labels import PALETTE
from napari_segnet.doctor.viewer import has_display
from napari_segnet.errors import SegNetError
from napari_segnet.io.pairing import pair_files
from napari_segnet.io.records import make_records
from napari_segnet.run import RunFolder
from napari_segnet.samples import SAMPLES, load_sample

SAMPLE = "coins"
MINUTES = 0.85
_VIEWER_PATIENCE = 180
_TELL_SECONDS = 10.0


@dataclass(frozen=True)
class DemoResult:
    """Where everything is, and how good it was. `dice` is that of the coins, against the reference mask."""

    folder: Path
    model: Path
    labels: Path
    probabilities: Path
    dice: float
    learning_seconds: float
    screenshot: Path | None


def run_demo(
    out: Path,
    viewer: bool = True,
    on_line: Callable[[str], None] = print,
    minutes: float = MINUTES,
) -> DemoResult:
    """Train on strokes, predict, score, and look.

    Parameters
    ----------
    out : Path
        Folder of the results; those of an earlier demo are replaced.
    viewer : bool
        Whether to open a viewer and photograph it. On a real display it stays open afterwards.
    on_line : callable
        Is given each line of progress.
    minutes : float
        Time for learning.

    Returns
    -------
    DemoResult

    Raises
    ------
    SegNetError
        If `out` holds something else than a demo, or the viewer can't be opened on the display that is there.
    """
    out = Path(out)
    _make_room(out)
    on_line(f"1/4 data      {SAMPLE}: an image, strokes on it, and a reference mask -> {out / 'data'}")
    image, labels, reference = _write_data(out)
    run = _new_run(out, image, labels, minutes)
    model, seconds = _learn(run, out / f"{SAMPLE}.safetensors", on_line)
    _predict(model, image, out, on_line)
    dice = _score(out, reference, on_line)
    screenshot = _look(out, on_line) if viewer else None
    on_line(f"done: {out.resolve()} holds the model, the images and the scores")
    return DemoResult(
        folder=out,
        model=model,
        labels=out / f"{SAMPLE}.tif",
        probabilities=out / f"{SAMPLE}_probabilities.tif",
        dice=dice,
        learning_seconds=seconds,
        screenshot=screenshot,
    )


def _make_room(out: Path) -> None:
    """Remove the results of an earlier demo, and nothing else."""
    mark = out / "data" / "demo.json"
    if out.exists() and not out.is_dir():
        raise SegNetError(f"{out} is a file.", "Name a new or empty folder with --out.")
    if not out.exists() or not any(out.iterdir()):
        return
    if not mark.is_file():
        raise SegNetError(f"{out} holds other files.", "Name a new or empty folder with --out.")
    for folder in ("data", "run", "figures"):
        shutil.rmtree(out / folder, ignore_errors=True)
    for path in out.iterdir():
        if path.is_file():
            path.unlink()


def _write_data(out: Path) -> tuple[Path, Path, Path]:
    image, strokes, reference = load_sample(SAMPLE)
    folder = out / "data"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "demo.json").write_text(json.dumps({"sample": SAMPLE}))
    except OSError as error:
        raise SegNetError(f"{folder} can't be written: {error.strerror or error}.") from error
    paths = folder / f"{SAMPLE}.png", folder / f"{SAMPLE}_strokes.png", folder / f"{SAMPLE}_reference.png"
    for path, array in zip(paths, (image, strokes, reference), strict=True):
        iio.imwrite(path, np.asarray(array))
    return paths


def _new_run(out: Path, image: Path, labels: Path, minutes: float) -> RunFolder:
    config = RunConfig(
        data=DataConfig(task="semantic", unlabelled="ignore", classes=_classes()),
        train=TrainConfig(preset="fast", minutes=minutes),
    )
    return RunFolder.create(out / "run", config, make_records(pair_files(image, labels)))


def _classes() -> tuple[LabelClass, ...]:
    names = enumerate(SAMPLES[SAMPLE].classes, start=1)
    return tuple(LabelClass(value=value, name=name, colour=PALETTE[value - 1]) for value, name in names)


def _learn(run: RunFolder, model: Path, on_line: Callable[[str], None]) -> tuple[Path, float]:
    from napari_segnet.executor import Control, execute

    told = seconds = 0.0
    for event in execute(run, Control(report=True)):
        if isinstance(event, events.Started):
            on_line(f"2/4 learning  on {event.device}, {run.config.train.minutes or 0:.2g} minutes -> {run.path}")
        elif isinstance(event, events.Notice):
            on_line(f"              {event.text}")
        elif isinstance(event, events.Step):
            seconds = event.seconds
            if seconds - told >= _TELL_SECONDS:
                told = seconds
                on_line(f"              {seconds:3.0f} s, step {event.step}: loss {event.loss:.3f}")
        elif isinstance(event, events.Epoch):
            seconds = event.seconds
        elif isinstance(event, events.Finished) and event.model:
            shutil.copyfile(event.model, model)
    on_line(f"              learned for {seconds:.0f} s -> {model}")
    return model, seconds


def _predict(model: Path, image: Path, out: Path, on_line: Callable[[str], None]) -> None:
    from napari_segnet.predict.files import predict_files

    began = time.perf_counter()
    for _ in predict_files(
        model, [image], out, probabilities=True, uncertainty=True, instances=False, config=PredictConfig()
    ):
        pass
    seconds = time.perf_counter() - began
    on_line(f"3/4 predicted in {seconds:.1f} s -> {out / SAMPLE}.tif, _probabilities.tif, _uncertainty.tif")


def _score(out: Path, reference: Path, on_line: Callable[[str], None]) -> float:
    from napari_segnet.reports.files import evaluate_files

    classes = _classes()
    summary = evaluate_files(
        out / f"{SAMPLE}.tif",
        reference,
        out,
        unlabelled="ignore",
        classes=classes,
        images=out / "data" / f"{SAMPLE}.png",
        model=out / "run",
    )
    dice = float(summary["per_class"][str(classes[-1].value)]["dice"])
    on_line(f"              Dice of the coins {dice:.3f} against the reference mask -> metrics.csv, report.html")
    return dice


def _look(out: Path, on_line: Callable[[str], None]) -> Path | None:
    """Photograph a real viewer. It runs in a process of its own: torch and Qt never share one."""
    if not has_display():
        on_line("4/4 viewer    there is no display, so no screenshot; try: xvfb-run -a napari-segnet demo")
        return None
    screenshot = out / "screenshot.png"
    command = [sys.executable, "-m", "napari_segnet._screenshot", str(out), "--out", str(screenshot)]
    stays = "NAPARI_SEGNET_VIRTUAL_DISPLAY" not in os.environ and sys.stdout.isatty()
    if stays:
        on_line("4/4 viewer    opens now; close it to end the demo")
    try:
        answer = subprocess.run(
            [*command, "--stay"] if stays else command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=None if stays else _VIEWER_PATIENCE,
            check=False,
        )
        said = answer.stderr.strip().splitlines() or [f"exit code {answer.returncode}"]
    except subprocess.TimeoutExpired:
        said = [f"no answer within {_VIEWER_PATIENCE} s"]
    if not screenshot.is_file():
        raise SegNetError(f"The viewer could not be opened: {said[-1]}", "Run `napari-segnet doctor`.")
    on_line(f"4/4 viewer    photographed -> {screenshot}")
    return screenshot
