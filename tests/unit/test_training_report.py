"""The report of a run: what it says of a run folder, whatever state that is in."""

import json
import shutil

import numpy as np
import pytest

from napari_segnet import events
from napari_segnet.config import RunConfig
from napari_segnet.errors import RunFolderError
from napari_segnet.io.write import write_npy
from napari_segnet.reports.training import try_training_report, write_training_report
from napari_segnet.run import PairRecord, RunFolder

CLASSES = [
    {"value": 0, "name": "ground", "colour": "#000000"},
    {"value": 1, "name": "cell <b>", "colour": "#12ab34"},
]


@pytest.fixture
def run(tmp_path):
    """A run folder of three epochs, the second the best, without a model."""
    settings = {"data": {"classes": CLASSES, "task": "semantic"}, "train": {"epochs": 3, "learning_rate": 0.0125}}
    run = RunFolder.create(tmp_path / "cells", RunConfig().replace(**settings))
    labels = np.zeros((10, 10), np.uint8)
    labels[:3] = 1
    write_npy(run.data / "image.npy", labels.astype(np.float32))
    write_npy(run.data / "labels.npy", labels)
    run.set_pairs([PairRecord(name="first", images=("data/image.npy",), labels="data/labels.npy", axes="YX")])
    rows = [
        {"epoch": n, "loss": 1 / n, "val_loss": 1.5 / n, "learning_rate": 0.0125, "dice": 0.5, "val_dice": dice}
        for n, dice in ((1, 0.61), (2, 0.8123), (3, 0.79))
    ]
    run.append(events.Started(str(run.path), "a fine CPU", 0, 3, {"patch": "128 pixels, because images are small."}))
    run.append(events.Notice("Two images look the same: <a>, <b>."))
    for row in rows:
        run.append(events.Epoch(row, best=row["epoch"] <= 2, seconds=65.0 * row["epoch"]))
    run.append(events.Finished("early-stopping", "model.safetensors", {}))
    run.write_history(rows)
    return run


def text_of(path):
    return path.read_text(encoding="utf-8")


def test_a_report_tells_how_it_went(run):
    text = text_of(write_training_report(run.path))
    assert "<title>Training cells</title>" in text
    for told in (
        "0.8123", "of the best epoch", "3 min 15 s", "nothing improved any more", "a fine CPU",
        "128 pixels, because images are small.", "Two images look the same: &lt;a&gt;, &lt;b&gt;.",
    ):  # fmt: skip
        assert told in text, told
    names = {path.name for path in (run.path / "figures").iterdir()}
    assert names == {f"{n}.{e}" for n in ("training_loss", "training_scores", "learning_rate") for e in ("png", "pdf")}


def test_a_report_tells_what_was_learned_from(run):
    text = text_of(write_training_report(run.path, figures=False))
    assert "1 pair of images and labels. Labels hold classes; 0 is background." in text
    assert 'fill="#12ab34"' in text
    assert "cell &lt;b&gt;" in text
    assert '<td class="number" data-sort="30">30</td>' in text
    assert '<td class="number" data-sort="70">70</td>' in text
    assert str(run.path / "data" / "labels.npy") in text
    assert not (run.path / "figures").exists()


def test_objects_are_not_counted_as_classes(run):
    run.set_config(run.config.replace(data={**run.config.data.explicit(), "task": "instances"}))
    text = text_of(write_training_report(run.path, figures=False))
    assert "Labels hold numbered objects" in text
    assert "Pixels of the labels" not in text


def test_a_report_tells_the_settings_and_how_to_do_it_again(run):
    text = text_of(write_training_report(run.path, figures=False))
    assert '<td class="words">train.learning_rate</td>' in text
    assert "0.0125" in text
    assert "--set train.learning_rate=0.0125" in text
    assert "segnet.train(" in text
    assert "it makes the same model" in text
    run.set_config(run.config.replace(train={"minutes": 2.0}))
    assert "depends on the machine" in text_of(write_training_report(run.path, figures=False))


def test_examples_of_the_validation_are_shown(run):
    folder = run.path / "examples"
    folder.mkdir()
    truth = np.zeros((2, 16, 16), np.uint16)
    truth[:, 4:8, 4:8], truth[:, 12:] = 1, 65535
    np.save(folder / "image.npy", np.zeros((2, 16, 16, 3), np.uint8))
    np.save(folder / "truth.npy", truth)
    np.save(folder / "prediction.npy", truth * (truth < 2))
    text = text_of(write_training_report(run.path, figures=False))
    assert "<h2>Validation examples</h2>" in text
    assert text.count("of validation patch 2") == 5
    (folder / "truth.npy").write_bytes(b"cut short")
    assert "Validation examples" not in text_of(write_training_report(run.path, figures=False))


def test_a_run_that_has_not_begun_has_a_report(tmp_path):
    run = RunFolder.create(tmp_path / "new", RunConfig())
    text = text_of(write_training_report(run.path))
    assert "No epoch is over yet." in text
    assert not (run.path / "figures").exists()


def test_a_damaged_history_is_told_as_far_as_it_goes(run):
    (run.path / "history.csv").write_text("epoch,loss,val_dice\n1,0.5,oops\n2,,0.25\n3")
    text = text_of(write_training_report(run.path, figures=False))
    assert "of 3" in text
    assert "0.2500" in text


def test_files_that_are_gone_do_not_stop_the_report(run):
    (run.data / "labels.npy").unlink()
    text = text_of(write_training_report(run.path, figures=False))
    assert "cell &lt;b&gt;" in text


def test_folds_have_a_report_each_and_one_for_all(run, tmp_path):
    folder = tmp_path / "folds"
    for number in (1, 2):
        target = folder / f"fold-{number}"
        target.parent.mkdir(exist_ok=True)
        shutil.copytree(run.path, target)
    text = text_of(write_training_report(folder, figures=False))
    assert "Cross-validation folds" in text
    assert "standard deviation 0.0000" in text
    assert "2 finished" in text
    assert all((folder / f"fold-{n}" / "report.html").is_file() for n in (1, 2))


def test_a_folder_that_is_no_run_is_an_error(tmp_path):
    with pytest.raises(RunFolderError, match="is not a run folder"):
        write_training_report(tmp_path)


def test_a_report_that_fails_never_fails_the_run(run, monkeypatch):
    def break_down(*_):
        raise ZeroDivisionError("a bug")

    assert try_training_report(run.path) is None
    report = run.path / "report.html"
    before = report.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr("napari_segnet.reports.training.render", break_down)
        assert try_training_report(run.path) == "The report of the run could not be written: a bug"
    (run.data / "pairs.json").write_text(json.dumps({"not": "a list"}))
    assert "pairs.json is damaged" in try_training_report(run.path)
    assert report.read_bytes() == before
