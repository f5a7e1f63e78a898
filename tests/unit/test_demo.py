"""The demo: what it leaves in its folder, what it says, and what it refuses."""

import csv
import json

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile

from napari_segnet import demo
from napari_segnet.errors import SegNetError
from napari_segnet.models.info import read_info
from napari_segnet.samples import load_sample


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """A demo that learns for three seconds, and what it said."""
    out = tmp_path_factory.mktemp("short") / "demo"
    lines = []
    return demo.run_demo(out, viewer=False, on_line=lines.append, minutes=0.05), lines


def test_it_leaves_the_model_and_images_of_the_size_of_the_photograph(short):
    result, _ = short
    labels = tifffile.imread(result.labels)
    probabilities = tifffile.imread(result.probabilities)
    assert labels.dtype == np.uint8
    assert labels.shape == (303, 384)
    assert set(np.unique(labels)) <= {1, 2}
    assert probabilities.dtype == np.float32
    assert probabilities.shape == (2, 303, 384)
    assert np.abs(probabilities.sum(axis=0) - 1).max() < 1e-3
    # The labels are the class of the larger probability.
    assert np.mean(labels == probabilities.argmax(axis=0) + 1) > 0.999
    info = read_info(result.model)
    assert [c.name for c in info.classes] == ["background", "coin"]
    assert info.unlabelled == "ignore"


def test_its_dice_is_that_of_the_coins_against_the_reference(short):
    result, _ = short
    labels, reference = tifffile.imread(result.labels), load_sample("coins")[2]
    found, truth = labels == 2, reference == 2
    dice = 2 * (found & truth).sum() / (found.sum() + truth.sum())
    assert result.dice == pytest.approx(dice, abs=1e-6)
    with (result.folder / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if "coin" in row.values()]
    assert float(rows[0]["dice"]) == pytest.approx(dice, abs=1e-4)
    summary = json.loads((result.folder / "summary.json").read_text())
    assert summary["per_class"]["2"]["dice"] == pytest.approx(dice, abs=1e-6)
    assert (result.folder / "report.html").stat().st_size > 1000


def test_it_prints_a_few_lines_with_the_dice_and_where_things_are(short):
    result, lines = short
    assert [line[:4] for line in lines if line[0].isdigit()] == ["1/4 ", "2/4 ", "3/4 "]
    assert any(f"Dice of the coins {result.dice:.3f}" in line for line in lines)
    assert len(lines) <= 12
    assert lines[-1].startswith("done: ")


def test_the_strokes_alone_are_learned_from(short):
    result, _ = short
    learned = json.loads((result.folder / "run" / "data" / "pairs.json").read_text())
    assert [pair["labels"].rsplit("/", 1)[-1].rsplit("\\", 1)[-1] for pair in learned] == ["coins_strokes.png"]
    painted = iio.imread(learned[0]["labels"])
    assert np.array_equal(painted, load_sample("coins")[1])


def test_a_second_demo_replaces_the_first_and_nothing_else_is_touched(tmp_path, monkeypatch):
    out = tmp_path / "demo"
    monkeypatch.setattr(demo, "_learn", lambda run, model, on_line: (model, 0.0))
    monkeypatch.setattr(demo, "_predict", lambda *_: None)
    monkeypatch.setattr(demo, "_score", lambda *_: 0.5)
    demo.run_demo(out, viewer=False, on_line=lambda _: None)
    (out / "coins.tif").write_bytes(b"of the first")
    demo.run_demo(out, viewer=False, on_line=lambda _: None)
    assert not (out / "coins.tif").exists()
    photographs = tmp_path / "holiday"
    photographs.mkdir()
    (photographs / "beach.png").write_bytes(b"precious")
    with pytest.raises(SegNetError, match="other files"):
        demo.run_demo(photographs, viewer=False, on_line=lambda _: None)
    assert (photographs / "beach.png").read_bytes() == b"precious"


def test_a_file_in_the_way_is_said(tmp_path):
    (tmp_path / "demo").write_text("a file")
    with pytest.raises(SegNetError, match="demo"):
        demo.run_demo(tmp_path / "demo", viewer=False, on_line=lambda _: None)


def test_without_a_display_it_says_so_and_takes_no_picture(tmp_path, monkeypatch):
    monkeypatch.setattr(demo.sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    lines = []
    assert demo._look(tmp_path, lines.append) is None
    assert "xvfb-run" in lines[0]


def test_a_viewer_that_fails_is_an_error_with_its_reason(tmp_path, monkeypatch):
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(demo.sys, "executable", "false")
    with pytest.raises(SegNetError, match=r"exit code 1.*doctor"):
        demo._look(tmp_path, lambda _: None)


@pytest.mark.viewer
def test_the_screenshot_shows_the_strokes_in_a_real_viewer(short):
    result, _ = short
    lines = []
    path = demo._look(result.folder, lines.append)
    assert path == result.folder / "screenshot.png"
    picture = iio.imread(path)
    assert picture.shape[0] > 700
    assert picture.shape[1] > 1200
    # Strokes of class 2 are drawn in its colour, and cover some thousand pixels of the screen.
    colour = np.array([0xE6, 0x55, 0x0D])
    near = np.abs(picture[..., :3].astype(int) - colour).max(axis=-1) < 60
    assert near.sum() > 1000


@pytest.mark.slow
def test_coins_reach_a_dice_of_0_95_in_less_than_a_minute(tmp_path):
    result = demo.run_demo(tmp_path / "demo", viewer=False, on_line=lambda _: None)
    assert result.learning_seconds <= 60
    assert result.dice >= 0.95
