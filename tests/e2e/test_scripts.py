"""The text of a run is run: it gives the same model."""

import os
import subprocess
import sys
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
from safetensors.numpy import load_file

from conftest import TINY, discs, strokes
from napari_segnet.config import PredictConfig, RunConfig, merge, validated
from napari_segnet.executor import execute
from napari_segnet.io.pairing import pair_files
from napari_segnet.io.records import make_records
from napari_segnet.io.write import write_npy
from napari_segnet.models.info import read_info
from napari_segnet.run import PairRecord, RunFolder
from napari_segnet.script import Prediction, command_line, free_path, python_code, read_training

pytestmark = pytest.mark.usefixtures("one_thread")
CLASSES = [
    {"value": 1, "name": "the ground", "colour": "#202020"},
    {"value": 2, "name": "disc's", "colour": "#ffaa00", "weight": 2.0},
]
ENVIRONMENT = {
    **os.environ,
    "OMP_NUM_THREADS": "1",
    "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
}


def painted(path):
    """A run as the viewer writes it: strokes, two channels in two files, a pixel size."""
    asked = merge(TINY, {"data": {"unlabelled": "ignore", "classes": CLASSES}, "train": {"augment": {"rotation": 9.0}}})
    run = RunFolder.create(path, validated(RunConfig, asked))
    image, mask = discs(1)
    write_npy(run.data / "cell_0.npy", image)
    write_npy(run.data / "cell_1.npy", image[::-1] * 2)
    write_npy(run.data / "cell_labels.npy", strokes(mask))
    files = {"images": ("data/cell_0.npy", "data/cell_1.npy"), "labels": "data/cell_labels.npy"}
    run.set_pairs([PairRecord(name="cell", axes="YX", pixel_size=(0.5, 0.25), units="um", **files)])
    return run


def of_files(folder):
    """A run of two files and their masks."""
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for number in range(2):
        image, mask = discs(number)
        iio.imwrite(folder / "images" / f"{number}.png", (image.clip(0, 1) * 255).astype(np.uint8))
        iio.imwrite(folder / "masks" / f"{number}_mask.png", mask)
    records = make_records(pair_files(folder / "images", folder / "masks"))
    return RunFolder.create(folder / "run", validated(RunConfig, TINY), records)


def run_text(text, folder):
    """Do what the text says, as a person would who has pasted it."""
    if text.startswith(("import", "from")):
        (folder / "script.py").write_text(text, encoding="utf-8")
        command, shell = [sys.executable, "script.py"], False
    else:
        command, shell = text, True
    done = subprocess.run(
        command, shell=shell, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    return done


def same_weights(one, other):
    first, second = load_file(one), load_file(other)
    assert first.keys() == second.keys()
    return all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("write", [command_line, python_code])
@pytest.mark.parametrize("make", [painted, of_files])
def test_the_same_model_comes_out(tmp_path, make, write):
    run = make(tmp_path / "my runs" / "first")
    list(execute(run))
    new = free_path(run.path)
    run_text(write(read_training(run.path), new), tmp_path)
    assert same_weights(run.model, new / "model.safetensors")
    first, second = read_info(run.path), read_info(new)
    assert (second.classes, second.normalization, second.halo) == (first.classes, first.normalization, first.halo)
    assert (second.pixel_size, second.units) == (first.pixel_size, first.units)
    assert second.config == first.config
    # Whoever repeats the repetition gets the same text.
    again = read_training(new)
    assert (again.options, again.settings) == (read_training(run.path).options, read_training(run.path).settings)


def test_the_prediction_comes_out_too(tmp_path):
    run = of_files(tmp_path / "first")
    list(execute(run))
    image = tmp_path / "first" / "images" / "0.png"
    said = validated(PredictConfig, {"tta": True, "tile": 64})
    text = command_line(
        None, tmp_path, [Prediction((image,), run.path, tmp_path / "p", probabilities=True, config=said)]
    )
    run_text(text, tmp_path)
    run_text(
        python_code(None, tmp_path, [Prediction((image,), run.path, tmp_path / "q", probabilities=True, config=said)]),
        tmp_path,
    )
    for name in ("0.tif", "0_probabilities.tif"):
        assert np.array_equal(tifffile.imread(tmp_path / "p" / name), tifffile.imread(tmp_path / "q" / name))
    looked_at = python_code(None, tmp_path, [Prediction((image,), run.path, config=said)])
    show = "import numpy, tifffile\nassert numpy.array_equal(result.labels, tifffile.imread('p/0.tif'))\n"
    run_text(looked_at + show, tmp_path)


def test_the_shell_prints_what_repeats_a_run(tmp_path):
    run = painted(tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}
    done = run_text(f'"{sys.executable}" -m napari_segnet script run', tmp_path)
    assert done.stdout == command_line(read_training(run.path), tmp_path / "run-again")
    assert {path: path.stat().st_mtime_ns for path in run.path.rglob("*")} == before
    done = run_text(f'"{sys.executable}" -m napari_segnet script run --python --out other', tmp_path)
    assert done.stdout == python_code(read_training(run.path), tmp_path / "other")
    (run.data / "cell_1.npy").unlink()
    done = run_text(f'"{sys.executable}" -m napari_segnet script run', tmp_path)
    assert "cell_1.npy can't be found" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("script nowhere", "not a run folder"),
        ("train images --out new", "comes without labels"),
        ("train run --out run", "not empty"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path, arguments, words):
    painted(tmp_path / "run")
    (tmp_path / "images").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "napari_segnet", *arguments.split()],
        cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert words in line
    assert not (tmp_path / "new").exists()
