"""Cross-validation, ensembles and pseudo-labels: from folders to one model, and back to labels."""

import csv

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
import yaml

from conftest import TINY, discs
from napari_segnet import events
from napari_segnet.cli import run as cli
from napari_segnet.config import RunConfig
from napari_segnet.executor import Control
from napari_segnet.folds import execute_folds
from napari_segnet.models.info import read_info
from napari_segnet.run import RunFolder

SMALL = ["--set", "model.options={width: 8, depth: 2, max_width: 16}", "--set", "train.patch_size=32",
         "--set", "train.steps_per_epoch=6", "--set", "train.batch_size=4", "--device", "cpu"]  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("folds")
    (folder / "images").mkdir()
    (folder / "labels").mkdir()
    for number in range(4):
        image, mask = discs(number, side=64)
        iio.imwrite(folder / "images" / f"{number}.png", (image.clip(0, 1) * 255).astype(np.uint8))
        iio.imwrite(folder / "labels" / f"{number}.png", mask)
    arguments = ["train", folder / "images", folder / "labels", "--out", folder / "cv", "--folds", "2", "--epochs", "4"]
    assert cli([*map(str, arguments), *SMALL]) == 0
    return folder


def test_folds_become_a_table_and_one_model(data, tmp_path):
    with (data / "cv" / "folds.csv").open() as file:
        rows = list(csv.DictReader(file))
    dice = [float(row["val_dice"]) for row in rows[:2]]
    assert [row["fold"] for row in rows] == ["1", "2", "mean", "sd"]
    assert float(rows[2]["val_dice"]) == pytest.approx(np.mean(dice))
    assert float(rows[3]["val_dice"]) == pytest.approx(np.std(dice, ddof=1))
    info = read_info(data / "cv")
    assert [m.config.data.fold for m in info.members] == [1, 2]
    assert info.scores["val_dice"] == pytest.approx(np.mean(dice))
    words = [e.choices["validation"] for n in (1, 2) for e in RunFolder(data / "cv" / f"fold-{n}").events()
             if isinstance(e, events.Started)]  # fmt: skip
    assert sorted(name for text in words for name in text.split(": ")[1].rstrip(".").split(", ")) == list("0123")
    assert cli(["predict", str(data / "cv"), str(data / "images"), "--out", str(tmp_path), "--device", "cpu"]) == 0
    found, truth = tifffile.imread(tmp_path / "0.tif") == 1, discs(0, side=64)[1] == 1
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.7


def test_a_stopped_cross_validation_is_gone_on_with(data, tmp_path, capsys):
    arguments = ["train", data / "images", data / "labels", "--out", tmp_path / "cv", "--folds", "5"]
    assert cli([*map(str, arguments), *SMALL]) == 2
    assert "5 folds need at least 5 images, but there are 4" in capsys.readouterr().err
    assert not (tmp_path / "cv").exists()

    from napari_segnet.folds import create_folds

    config = RunConfig().replace(**TINY, data={"folds": 2})
    records = RunFolder(data / "cv" / "fold-1").pairs
    path = create_folds(tmp_path / "cv", config, records)
    control = Control()
    for event in execute_folds(path, control):
        control.stop |= isinstance(event, events.Epoch)
    assert isinstance(event, events.Finished)
    assert event.reason == "stopped"
    assert not (path / "folds.csv").exists()
    assert cli(["resume", str(path)]) == 0
    assert len(read_info(path).members) == 2
    before = (path / "fold-1" / "history.csv").stat().st_mtime_ns
    assert cli(["resume", str(path)]) == 0
    assert (path / "fold-1" / "history.csv").stat().st_mtime_ns == before


def test_models_are_put_together_and_can_not_be_fine_tuned_as_one(data, tmp_path, capsys):
    out, models = tmp_path / "both.safetensors", [str(data / "cv" / f"fold-{n}") for n in (1, 2)]
    assert cli(["ensemble", *models, "--out", str(out), "--combine", "vote"]) == 0
    assert read_info(out).combine == "vote"
    assert cli(["ensemble", *models, "--out", str(tmp_path / "both")]) == 2
    arguments = ["train", data / "images", data / "labels", "--out", tmp_path / "run", "--weights", out]
    assert cli(list(map(str, arguments))) == 2
    assert "is an ensemble of 2 models" in capsys.readouterr().err


def test_pseudo_labels_hold_what_the_model_is_sure_of_and_can_be_learned(data, tmp_path, capsys):
    labels, model = tmp_path / "pseudo", str(data / "cv" / "fold-1")
    arguments = ["pseudo-label", model, data / "images", "--out", labels, "--confidence", "0.8", "--device", "cpu"]
    assert cli(list(map(str, arguments))) == 0
    printed = capsys.readouterr().out
    assert "napari-segnet train" in printed
    assert "background" in printed
    config = yaml.safe_load((labels / "config.yaml").read_text())
    assert config["data"]["unlabelled"] == "ignore"
    assert [c["value"] for c in config["data"]["classes"]] == [1, 2]
    arguments = ["predict", model, data / "images", "--out", tmp_path / "p", "--probabilities", "--device", "cpu"]
    assert cli(list(map(str, arguments))) == 0
    probabilities = tifffile.imread(tmp_path / "p" / "1_probabilities.tif")
    expected = np.where(probabilities.max(0) >= 0.8, probabilities.argmax(0) + 1, 0)
    np.testing.assert_array_equal(tifffile.imread(labels / "1.tif"), expected)
    arguments = ["train", data / "images", labels, "--out", tmp_path / "run", "--config", labels / "config.yaml",
                 "--weights", model, "--epochs", "1", "--device", "cpu"]  # fmt: skip
    assert cli(list(map(str, arguments))) == 0
    assert [c.name for c in read_info(tmp_path / "run").classes] == ["background", "class 1"]
    with (tmp_path / "run" / "history.csv").open() as file:
        assert float(next(csv.DictReader(file))["dice"]) > 0.6  # it knows them already, under their new values


def test_classes_that_vanish_are_named(data, tmp_path, capsys):
    arguments = ["pseudo-label", data / "cv", data / "images", "--out", tmp_path / "none", "--confidence", "1"]
    assert cli([*map(str, arguments), "--device", "cpu"]) == 0
    assert "nothing is left" in capsys.readouterr().err
