"""The command line, as a process: exit codes, files, sentences."""

import csv
import json
import signal
import subprocess
import sys

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile

from conftest import discs, strokes

TINY = ["--set", "model.options={width: 8, depth: 2, max_width: 16}", "--set", "train.patch_size=32",
        "--set", "train.steps_per_epoch=6", "--set", "train.batch_size=4"]  # fmt: skip


def segnet(*arguments, code=0):
    done = subprocess.run(
        [sys.executable, "-m", "napari_segnet", *map(str, arguments)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


def said(done):
    """Return what a failed command said: one line that starts with ``error: ``."""
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: ")
    return line


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder of images and masks, and a model that was trained on it."""
    folder = tmp_path_factory.mktemp("data")
    for name in ("images", "labels", "test", "truth"):
        (folder / name).mkdir()
    for number in range(4):
        image, mask = discs(number)
        iio.imwrite(folder / "images" / f"{number}.png", (image.clip(0, 1) * 255).astype(np.uint8))
        iio.imwrite(folder / "labels" / f"{number}_mask.png", mask)
    for number in range(2):
        image, mask = discs(20 + number, side=101)
        tifffile.imwrite(folder / "test" / f"t{number}.tif", (image.clip(0, 1) * 255).astype(np.uint8))
        tifffile.imwrite(folder / "truth" / f"t{number}_gt.tif", mask)
    segnet("train", folder / "images", folder / "labels", "--out", folder / "run", "--epochs", 20, *TINY)
    return folder


def test_a_folder_is_learned_predicted_and_judged(data, tmp_path):
    segnet("predict", data / "run", data / "test", "--out", tmp_path / "p", "--probabilities", "--uncertainty")
    assert sorted(p.name for p in (tmp_path / "p").iterdir()) == sorted(
        f"t{n}{suffix}.tif" for n in (0, 1) for suffix in ("", "_probabilities", "_uncertainty")
    )
    labels = tifffile.imread(tmp_path / "p" / "t0.tif")
    probabilities = tifffile.imread(tmp_path / "p" / "t0_probabilities.tif")
    assert labels.dtype == np.uint8
    assert labels.shape == (101, 101)
    assert probabilities.dtype == np.float32
    assert probabilities.shape == (2, 101, 101)
    assert tifffile.imread(tmp_path / "p" / "t0_uncertainty.tif").shape == (101, 101)
    assert np.array_equal(probabilities.argmax(axis=0)[labels == 1], np.ones((labels == 1).sum()))

    done = segnet("evaluate", tmp_path / "p", data / "truth", "--out", tmp_path / "e")
    summary = json.loads((tmp_path / "e" / "summary.json").read_text())
    assert summary["dice"] > 0.9
    assert f"{summary['dice']:.4f}" in done.stdout
    with (tmp_path / "e" / "metrics.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 4  # two images, two classes
    assert "<html" in (tmp_path / "e" / "report.html").read_text()


def test_exact_tiles_agree_with_one_tile(data, tmp_path):
    segnet("predict", data / "run", data / "test", "--out", tmp_path / "a", "--exact", "--set", "tile=32")
    segnet("predict", data / "run", data / "test", "--out", tmp_path / "b", "--exact", "--set", "tile=1024")
    a, b = (tifffile.imread(tmp_path / name / "t1.tif") for name in "ab")
    assert np.array_equal(a, b)


def test_strokes_are_understood_without_a_word(tmp_path):
    image, mask = discs(3)
    tifffile.imwrite(tmp_path / "cells.tif", image)
    tifffile.imwrite(tmp_path / "strokes.tif", strokes(mask))
    done = segnet(
        "train", tmp_path / "cells.tif", tmp_path / "strokes.tif", "--out", tmp_path / "run", "--epochs", 1, *TINY
    )
    assert "unpainted means not annotated" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no SIGINT for one process")
def test_ctrl_c_saves_and_resume_goes_on(data, tmp_path):
    command = [sys.executable, "-m", "napari_segnet", "train", str(data / "images"), str(data / "labels"),
               "--out", str(tmp_path / "run"), "--epochs", "400", *TINY]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while "epoch 1 " not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    rest = process.stderr.read()
    assert process.wait(30) == 130
    assert "resume" in rest
    # The budget is part of the run: shorten it, and what is left is done.
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    done_epochs = len((tmp_path / "run" / "history.csv").read_text().splitlines()) - 1
    config["train"]["epochs"] = done_epochs + 2
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    segnet("resume", tmp_path / "run")
    assert len((tmp_path / "run" / "history.csv").read_text().splitlines()) - 1 == done_epochs + 2
    assert "finished already" in segnet("resume", tmp_path / "run").stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "nowhere.png", "nowhere.png", "--out", "r"], "nowhere.png"),
        (["train", "{images}", "{truth}", "--out", "r"], "No image goes with any labels"),
        (["train", "{images}", "{labels}", "--out", "r", "--network", "unett"], "Did you mean 'unet'"),
        (["train", "{images}", "{labels}", "--out", "r", "--encoder", "resnet81"], "Did you mean"),
        (["train", "{images}", "{labels}", "--out", "r", "--set", "train.bath=1"], "train.bath"),
        (["train", "{images}", "{labels}", "--out", "r", "--epochs", "0"], "epochs = 0"),
        (["train", "{images}", "{labels}", "--out", "r", "--preset", "fats"], "fats"),
        (["train", "{images}", "{labels}", "--out", "{run}"], "not empty"),
        (["train", "{images}", "{labels}", "--out", "r", "--device", "cuda:7"], "cuda"),
        (["train", "{images}", "{labels}"], "--out"),
        (["train", "{images}", "{labels}", "--out", "r", "--weights", "missing.safetensors"], "missing.safetensors"),
        (["predict", "{images}", "{test}", "--out", "p"], "model"),
        (["predict", "{run}", "nowhere", "--out", "p"], "nowhere"),
        (["predict", "{run}", "{rgb}", "--out", "p"], "3 channels"),
        (["predict", "{run}", "{truncated}", "--out", "p"], "truncated.png"),
        (["evaluate", "{test}", "{labels}", "--out", "e"], "t0"),
        (["resume", "{images}"], "not a run folder"),
        (["dance"], "dance"),
    ],
    ids=lambda value: " ".join(value[:1] + value[-2:]) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_sentence_and_exit_code_2(data, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    iio.imwrite(tmp_path / "rgb.png", np.zeros((50, 50, 3), np.uint8))
    whole = (data / "images" / "0.png").read_bytes()
    (tmp_path / "truncated.png").write_bytes(whole[: len(whole) // 2])
    places = {name: data / name for name in ("images", "labels", "test", "truth", "run")}
    places |= {"rgb": tmp_path / "rgb.png", "truncated": tmp_path / "truncated.png"}
    line = said(segnet(*[a.format(**places) for a in arguments], code=2))
    assert words in line
    assert not (tmp_path / "r").exists() or not list((tmp_path / "r").glob("*.safetensors"))


@pytest.mark.parametrize(
    ("command", "name"), [("networks", "plain-unet"), ("encoders", "resnet34"), ("losses", "dice+ce")]
)
def test_names_are_listed_plainly_and_as_a_table(command, name):
    plain = segnet(command, "--plain").stdout.split()
    assert name in plain
    assert len(segnet(command).stdout.splitlines()) == len(plain) + 1


def test_a_folder_that_can_not_be_written_is_a_sentence(data, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    assert "file" in said(segnet("predict", data / "run", data / "test", "--out", blocked, code=2))
    assert "file" in said(segnet("train", data / "images", data / "labels", "--out", blocked / "run", code=2))


def test_help_says_what_each_command_does():
    text = segnet("--help").stdout
    for command in ("demo", "train", "resume", "predict", "evaluate", "networks", "encoders", "losses", "doctor"):
        assert command in text


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are a matter of Unix")
@pytest.mark.parametrize(
    ("arguments", "limit"),
    [
        (["train", "{images}", "{labels}", "--out", "out", "--epochs", "2", *TINY], 30_000),
        (["predict", "{run}", "{test}", "--out", "out", "--probabilities"], 20_000),
    ],
    ids=["train", "predict"],
)
def test_a_disk_that_takes_no_more_is_a_sentence_and_nothing_is_half_written(data, tmp_path, arguments, limit):
    code = (
        "import resource, sys\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        "from napari_segnet.cli import run\n"
        "sys.exit(run(sys.argv[1:]))\n"
    )
    places = {name: data / name for name in ("images", "labels", "test", "run")}
    done = subprocess.run(
        [sys.executable, "-B", "-c", code, *(a if a in TINY else a.format(**places) for a in arguments)],
        capture_output=True, text=True, timeout=120, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("error: ")
    assert "Traceback" not in done.stderr
    left = [p for p in (tmp_path / "out").rglob("*") if p.is_file()]
    assert not [p for p in left if p.name.endswith(".tmp") or p.suffix == ".safetensors"]
    assert all(p.stat().st_size < limit for p in left)


def test_a_run_that_can_not_begin_leaves_its_name_free(data, tmp_path):
    out = tmp_path / "run"
    asked = ["train", data / "images", data / "labels", "--out", out, "--epochs", 1, *TINY]
    refused = segnet(*asked, "--network", "deeplabv3", "--encoder", "vgg16", "--set", "model.options={}", code=2)
    assert "can't use the encoder 'vgg16'" in said(refused)
    assert not out.exists()
    segnet(*asked)
    assert (out / "model.safetensors").exists()
