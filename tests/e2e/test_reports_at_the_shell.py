"""``napari-segnet evaluate`` and ``report``: what is printed, written and refused."""

import json

import numpy as np
import pytest
import tifffile

from napari_segnet.cli import run
from napari_segnet.config import RunConfig
from napari_segnet.run import RunFolder


@pytest.fixture
def folders(tmp_path):
    """Two predictions, one of them shifted by half a square, their references, and better predictions."""
    truth = np.zeros((30, 30), np.uint8)
    truth[5:15, 5:15] = 1
    for folder, shift in (("predicted", 5), ("labels", 0), ("better", 1)):
        (tmp_path / folder).mkdir()
        tifffile.imwrite(tmp_path / folder / "a.tif", truth)
        tifffile.imwrite(tmp_path / folder / "b.tif", np.roll(truth, shift, 1))
    return tmp_path


def evaluate(folders, *options):
    sides = (str(folders / "predicted"), str(folders / "labels"))
    return run(["evaluate", *sides, "--out", str(folders / "out"), "--no-figures", *options])


def test_means_are_printed_with_their_intervals(folders, capsys):
    assert evaluate(folders) == 0
    lines = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert lines["dice"] == ["0.7500", "0.5000", "to", "1.0000"]
    assert lines["hd95"][0] == "2.5000"
    summary = json.loads((folders / "out" / "summary.json").read_text())
    assert summary["dice"] == 0.75


def test_options_reach_the_evaluation(folders, capsys):
    options = ["--task", "semantic", "--topology", "--no-surface", "--workers", "1"]
    assert evaluate(folders, *options, "--also", str(folders / "better")) == 0
    printed = capsys.readouterr().out
    assert [line.split()[:2] for line in printed.splitlines() if line.strip()[:1] in ("1", "2")] == [
        ["1", "better"], ["2", "predicted"],
    ]  # fmt: skip
    summary = json.loads((folders / "out" / "summary.json").read_text())
    assert "hd95" not in summary
    assert summary["per_class"]["1"]["cl_dice"] < 1
    assert (folders / "out" / "ranking.csv").is_file()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--thirds", "middle"], "'middle'"),
        (["--tolerance", "-1"], "tolerance"),
        (["--workers", "0"], "workers = 0"),
        (["--model", "nowhere"], "nowhere"),
        (["--images", "nowhere"], "nowhere"),
        (["--also", "nowhere"], "nowhere"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(folders, capsys, options, words):
    assert evaluate(folders, *options) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ")
    assert words in error
    assert "\n" not in error
    assert not (folders / "out").exists()


def test_a_run_is_reported(tmp_path, capsys):
    RunFolder.create(tmp_path / "run", RunConfig())
    assert run(["report", str(tmp_path / "run")]) == 0
    assert "report.html" in capsys.readouterr().out
    assert (tmp_path / "run" / "report.html").is_file()
    assert run(["report", str(tmp_path)]) == 2
    assert "is not a run folder" in capsys.readouterr().err
