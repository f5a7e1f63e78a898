"""Optimizers, schedules and other habits of learning, in whole runs."""

import csv
import json

import imageio.v3 as iio
import numpy as np
import pytest
import torch

from conftest import discs
from napari_segnet import events
from napari_segnet.cli import run as segnet
from napari_segnet.errors import ConfigError
from napari_segnet.executor import Control, execute
from napari_segnet.models.file import load_model
from napari_segnet.models.info import read_header, read_info
from napari_segnet.run import RunFolder

ENCODER = {"network": "unet", "encoder": "tu-mobilenetv3_small_050", "options": {"decoder_width": 16, "depth": 3}}


def finish(run, control=None):
    return list(execute(run, control))


def model_of(run):
    return load_model(run.path)[1].state_dict()


def stopped_and_resumed(make_run, after, **settings):
    """Return a run that was stopped after an epoch and resumed, and the same one undisturbed."""
    whole, run = make_run("whole", **settings), make_run("stopped", **settings)
    finish(whole)
    control = Control()
    for event in execute(run, control):
        control.stop = control.stop or (isinstance(event, events.Epoch) and event.row["epoch"] == after)
    assert run.state() == "interrupted"
    finish(RunFolder(run.path))
    return run, whole


def rates(run):
    return [event.row["learning_rate"] for event in run.events() if isinstance(event, events.Epoch)]


@pytest.mark.parametrize(
    "train",
    [
        {"optimizer": "nadam", "schedule": "one-cycle", "accumulate": 2},
        {"optimizer": "sgd", "schedule": "reduce-on-plateau", "schedule_options": {"patience": 0, "threshold": 0.5}},
        {"deep_supervision": True, "averaging": "swa", "swa_start": 0.4, "epochs": 4},
    ],
    ids=["one-cycle", "plateau", "deep-supervision-swa"],
)
def test_a_stopped_run_goes_on_as_if_nothing_had_happened(make_run, train):
    run, whole = stopped_and_resumed(make_run, 2, images=4, train=train)
    mine, theirs = model_of(run), model_of(whole)
    assert all(torch.allclose(mine[key], theirs[key], atol=1e-6) for key in theirs)
    assert rates(run) == pytest.approx(rates(whole))


def test_a_deeply_supervised_model_is_the_network_alone(make_run):
    run, plain = make_run("deep", train={"deep_supervision": True}), make_run("plain")
    finish(run)
    finish(plain)
    assert set(read_header(run.model)) == set(read_header(plain.model)) == set(read_header(run.last))
    checkpoint = read_header(run.checkpoints / "last.safetensors")
    assert [name for name in checkpoint if name.startswith("network.heads.")]
    assert not torch.equal(model_of(run)["head.weight"], model_of(plain)["head.weight"])


def test_a_network_without_stages_is_refused_before_it_learns(make_run):
    run = make_run(model={"options": {"width": 8, "depth": 1}}, train={"deep_supervision": True})
    with pytest.raises(ConfigError, match="no stages that deep supervision could judge"):
        finish(run)
    assert not run.model.exists()


def test_a_model_with_group_normalization_learns_from_single_patches_and_is_fine_tuned_as_it_is(make_run):
    first = make_run("first", images=2, model={"norm": "group"}, train={"batch_size": 1, "epochs": 6})
    finish(first)
    assert read_info(first.path).norm == "group"
    assert not [name for name in model_of(first) if "running" in name]
    second = make_run("second", images=2, model={"weights": str(first.path)}, train={"epochs": 1})
    finish(second)
    assert read_info(second.path).norm == "group"
    with pytest.raises(ConfigError, match=r"group normalization\), but norm = batch was asked for"):
        finish(make_run("third", model={"weights": str(first.path), "norm": "batch"}))


def test_an_encoder_is_frozen_for_the_whole_run(make_run):
    def encoder(epochs, **train):
        run = make_run(f"run-{epochs}-{len(train)}", images=2)
        train = {**run.config.train.explicit(), "patch_size": 64, "epochs": epochs, **train}
        run.set_config(run.config.replace(model=ENCODER, train=train))
        finish(run)
        return {key: value for key, value in model_of(run).items() if key.startswith("encoder.")}

    short, long = encoder(1, freeze_encoder=1.0), encoder(2, freeze_encoder=1.0)
    assert all(torch.equal(short[key], long[key]) for key in short)
    learning = encoder(2)
    assert not all(torch.equal(short[key], learning[key]) for key in short)


def test_a_learning_rate_is_found_written_down_and_used_again(make_run):
    run = make_run(images=2, train={"find_rate": True, "epochs": 2})
    started = finish(run, Control(stop=True))[0]
    found = run.config.train.learning_rate
    assert f"{found:.1e}" in started.choices["rate"]
    assert found != 2e-3
    before = (run.path / "config.json").read_text()
    told = finish(run)
    assert "rate" not in told[0].choices
    assert json.loads((run.path / "config.json").read_text()) == json.loads(before)
    assert max(rates(run)) <= found


def test_find_rate_writes_a_curve_and_says_what_to_do(tmp_path, capsys):
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    for number in range(3):
        image, mask = discs(number)
        iio.imwrite(tmp_path / "images" / f"{number}.png", (image.clip(0, 1) * 255).astype(np.uint8))
        iio.imwrite(tmp_path / "labels" / f"{number}.png", mask)
    out = tmp_path / "rates"
    asked = ["find-rate", tmp_path / "images", tmp_path / "labels", "--out", out, "--seed", 3]
    tiny = [
        "--set",
        "model.options={width: 8, depth: 2}",
        "--set",
        "train.patch_size=32",
        "--set",
        "train.batch_size=4",
    ]
    assert segnet([*map(str, asked), *tiny, "--set", "train.optimizer=sgd"]) == 0
    said = capsys.readouterr().out
    with (out / "rates.csv").open() as file:
        tried = [float(row["rate"]) for row in csv.DictReader(file)]
    assert tried[0] == pytest.approx(2e-2 * 1e-4)
    suggested = float(said.split("train.learning_rate=")[1].split()[0])
    assert tried[0] < suggested < tried[-1]
    assert (out / "rates.png").stat().st_size > 5000
    assert sorted(path.name for path in out.iterdir()) == ["rates.csv", "rates.png"]
    assert segnet([*map(str, asked), "--set", "train.optimizer=sdg"]) == 2
    assert "Did you mean 'sgd'" in capsys.readouterr().err
