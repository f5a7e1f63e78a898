"""What is left of old runs, seen in their folders."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from napari_segnet import events
from napari_segnet._widgets import recovery
from napari_segnet._widgets.housekeeping import lighten_steps
from napari_segnet.config import RunConfig
from napari_segnet.io.write import write_npy
from napari_segnet.run import PairRecord, RunFolder, list_runs


def make_run(parent: Path, age: int, end: str | None, image: Path | None = None) -> RunFolder:
    run = RunFolder.create(parent / f"run-{age:02}", RunConfig())
    for name in ("data/spots.npy", "data/spots_labels.npy", "checkpoints/last.safetensors", "model.safetensors"):
        write_npy(run.path / name, np.zeros((4, 4), np.uint8))
    (run.data / "layers.json").write_text("{}")
    run.start.write_bytes(b"weights")
    files = {"images": (str(image or "data/spots.npy"),), "labels": "data/spots_labels.npy"}
    run.set_pairs([PairRecord(name="spots", axes="YX", **files)])
    if end is not None:
        run.append(events.Started(str(run.path), "CPU", 0, 3, {}))
        run.append(events.Finished(end))
    os.utime(run.path, (1e9 - age, 1e9 - age))
    return run


def left(run: RunFolder) -> set[str]:
    return {p.relative_to(run.path).as_posix() for p in run.path.rglob("*") if p.is_file()}


WHOLE = {
    "config.json", "events.jsonl", "model.safetensors", "checkpoints/last.safetensors", "data/layers.json",
    "data/pairs.json", "data/spots.npy", "data/spots_labels.npy", "data/start.safetensors",
}  # fmt: skip
LIGHT = WHOLE - {"checkpoints/last.safetensors", "data/spots.npy", "data/start.safetensors"}


def test_old_runs_keep_model_strokes_and_records_and_the_newest_stay_whole(tmp_path: Path) -> None:
    runs = [make_run(tmp_path, age, "completed") for age in range(6)]
    order = [run.path for run in list_runs(tmp_path)]
    list(lighten_steps(tmp_path, 4))
    assert [left(run) for run in runs] == [WHOLE] * 4 + [LIGHT] * 2
    assert [run.path for run in list_runs(tmp_path)] == order
    log = (runs[5].path / "events.jsonl").read_text()
    assert "removed to save disk space" in log
    list(lighten_steps(tmp_path, 4))
    assert (runs[5].path / "events.jsonl").read_text() == log


@pytest.mark.parametrize("keep", [0, 1])
def test_the_three_newest_stay_whole_and_zero_keeps_all(tmp_path: Path, keep: int) -> None:
    runs = [make_run(tmp_path, age, "completed") for age in range(5)]
    list(lighten_steps(tmp_path, keep))
    assert [left(run) == WHOLE for run in runs] == [True] * 3 + [keep == 0] * 2


def test_a_run_that_may_be_resumed_stays_whole(tmp_path: Path) -> None:
    new = [make_run(tmp_path, age, "completed") for age in range(3)]
    stopped, crashed, running = (make_run(tmp_path, 10 + n, end) for n, end in enumerate(("stopped", None, "time")))
    crashed.append(events.Started(str(crashed.path), "CPU", 0, 3, {}))
    given_up = make_run(tmp_path, 20, "stopped")
    recovery.dismiss(given_up)
    with running.lock():
        for age, run in enumerate((*new, stopped, crashed, running, given_up)):
            os.utime(run.path, (1e9 - age, 1e9 - age))
        list(lighten_steps(tmp_path, 3))
        assert [left(run) == WHOLE for run in (*new, stopped, crashed)] == [True] * 5
        assert left(running) == WHOLE | {"lock"}
    assert left(given_up) == LIGHT | {"dismissed"}


def test_the_users_own_files_are_never_touched(tmp_path: Path) -> None:
    own = tmp_path / "mine.npy"
    write_npy(own, np.zeros((4, 4), np.uint8))
    runs = [make_run(tmp_path / "home", age, "completed", own) for age in range(4)]
    list(lighten_steps(tmp_path / "home", 3))
    assert own.exists()
    assert not runs[3].checkpoints.exists()
