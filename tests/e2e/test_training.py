"""Run folders, executed: what a user finds in them afterwards."""

import csv
import json
import os
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
import torch

from conftest import discs, strokes
from napari_segnet import events
from napari_segnet.config import PredictConfig
from napari_segnet.errors import ConfigError, DataError, RunFolderError, SegNetError
from napari_segnet.executor import Control, View, execute
from napari_segnet.inputs import Pixels
from napari_segnet.io.write import write_npy
from napari_segnet.models.file import load_model
from napari_segnet.models.info import read_info
from napari_segnet.predict.predictor import Predictor
from napari_segnet.run import RunFolder
from napari_segnet.training.learner import Learner


def finish(run, control=None):
    return list(execute(run, control))


def history(run):
    with (run.path / "history.csv").open() as file:
        return [{k: float(v) if v else None for k, v in row.items()} for row in csv.DictReader(file)]


def predicted(run, image):
    info, network = load_model(run.path)
    labels = np.empty(image.shape, np.uint8)
    Predictor(network, info, PredictConfig(device="cpu")).predict_plane(image[None], labels_out=labels)
    return labels


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def test_strokes_become_a_model_that_finds_the_rest(make_run):
    run = make_run(labels=strokes, train={"epochs": 10})
    told = finish(run)
    assert isinstance(told[0], events.Started)
    assert told[-1].reason == "completed"
    image, mask = discs(50)
    assert dice(predicted(run, image) == 2, mask == 1) > 0.9
    info = read_info(run.path)
    assert [c.value for c in info.classes] == [1, 2]
    assert info.halo % info.stride == 0
    assert info.receptive_field >= info.halo
    assert info.fingerprint["annotated_pixels"] == (strokes(discs(0)[1]) > 0).sum()
    assert run.state() == "finished"


def test_the_folder_holds_what_the_contract_says(make_run):
    run = make_run(images=5)
    finish(run)
    assert {"config.json", "events.jsonl", "history.csv", "checkpoints", "model.safetensors", "last.safetensors",
            "data"} <= {p.name for p in run.path.iterdir()}  # fmt: skip
    rows = history(run)
    assert list(rows[0]) == ["epoch", "loss", "val_loss", "learning_rate", "dice", "val_dice"]
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    config = json.loads((run.path / "config.json").read_text())
    assert config["train"]["learning_rate"] > 0
    assert [c["name"] for c in config["data"]["classes"]] == ["background", "class 1"]
    best = max(rows, key=lambda row: row["val_dice"])
    assert read_info(run.path).scores["val_dice"] == pytest.approx(best["val_dice"])


def test_the_same_seed_makes_the_same_model_to_the_bit(make_run):
    models = []
    for name in ("a", "b"):
        run = make_run(name, images=4)
        finish(run)
        models.append(load_model(run.path)[1].state_dict())
    assert all(torch.equal(models[0][key], models[1][key]) for key in models[0])
    other = make_run("c", images=4, train={"seed": 2})
    finish(other)
    assert not torch.equal(load_model(other.path)[1].state_dict()["head.weight"], models[0]["head.weight"])


def stop_after(run, steps):
    """Start a run and stop it after so many steps; returns what it told."""
    control = Control()
    done = []

    def counted(learner, *args):
        value = step(learner, *args)
        done.append(value)
        control.stop = len(done) == steps
        return value

    step = Learner.step
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Learner, "step", counted)
        return finish(run, control)


@pytest.mark.parametrize(
    ("stop_at", "data"),
    [(3, {"images": 4}), (6, {"images": 4}), (13, {"images": 4}), (8, {"labels": strokes})],
    ids=["early", "after-an-epoch", "late", "strokes"],
)
def test_a_stopped_run_goes_on_as_if_nothing_had_happened(make_run, stop_at, data):
    whole = make_run("whole", **data)
    finish(whole)
    run = make_run("stopped", **data)
    told = stop_after(run, stop_at)
    assert told[-1].reason == "stopped"
    assert run.state() == "interrupted"
    assert run.model.exists()
    assert run.last.exists()
    # A stopped run's last model knows its reach, so that --exact needs no whole image.
    assert read_info(run.last).receptive_field is not None
    finish(RunFolder(run.path))
    for mine, theirs in zip(history(run), history(whole), strict=True):
        assert mine == pytest.approx(theirs, abs=1e-6)
    a, b = (load_model(r.path)[1].state_dict() for r in (run, whole))
    assert all(torch.allclose(a[key], b[key], atol=1e-6) for key in a)


def test_learning_on_from_corrections_goes_on_after_a_stop_and_remembers_its_start(make_run):
    first = make_run("first", labels=strokes, train={"epochs": 6})
    finish(first)

    def part(mask):
        labels = strokes(mask)
        labels[:, 40:] = 0
        return labels

    asked = {"labels": part, "model": {"weights": str(first.path)}, "train": {"epochs": 4}}
    whole = make_run("whole", **asked)
    assert "still has a say" in finish(whole)[0].choices["guide"]
    stopped = make_run("stopped", **asked)
    stop_after(stopped, 9)
    finish(RunFolder(stopped.path))
    for mine, theirs in zip(history(stopped), history(whole), strict=True):
        assert mine == pytest.approx(theirs, abs=1e-6)
    image, mask = discs(50)
    assert dice(predicted(whole, image) == 2, mask == 1) > 0.8


def test_a_killed_run_goes_on_where_it_was_saved(make_run, monkeypatch):
    whole = make_run("whole", images=4, train={"epochs": 12})
    finish(whole)
    run = make_run("killed", images=4, train={"epochs": 12})
    code = (
        "import sys, napari_segnet.executor as e\n"
        "from napari_segnet.run import RunFolder\n"
        "e._CHECKPOINT_SECONDS = 0\n"
        "for event in e.execute(RunFolder(sys.argv[1])): print(event.kind, flush=True)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(run.path)], stdout=subprocess.PIPE, text=True)
    while "checkpoint" not in child.stdout.readline():
        assert child.poll() is None
    time.sleep(0.05)
    psutil.Process(child.pid).kill()
    child.wait()
    assert run.state() == "interrupted"
    finish(RunFolder(run.path))
    rows = history(run)
    assert len(rows) == 12
    for mine, theirs in zip(rows, history(whole), strict=True):
        assert mine == pytest.approx(theirs, abs=1e-6)


def test_memory_that_runs_out_halves_the_batch_and_goes_on(make_run, monkeypatch):
    run = make_run(images=4)
    forward = Learner.forward

    def scarce(learner, network, images):
        if network.training and len(images) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return forward(learner, network, images)

    monkeypatch.setattr(Learner, "forward", scarce)
    told = finish(run)
    notices = [e.text for e in told if isinstance(e, events.Notice)]
    assert [n for n in notices if "batches of 2" in n]
    assert [n for n in notices if "batches of 1" in n]
    assert told[-1].reason == "completed"


def test_a_single_patch_too_much_is_a_sentence(make_run, monkeypatch):
    monkeypatch.setattr(Learner, "forward", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("out of memory")))
    with pytest.raises(SegNetError, match=r"one patch of 32 pixels"):
        finish(make_run())


def test_a_loss_that_is_not_a_number_stops_with_a_sentence(make_run, monkeypatch):
    run = make_run()
    finish(make_run("before"))
    monkeypatch.setattr(
        "napari_segnet.executor.loss_function", lambda *_: lambda logits, *_: logits.sum() * float("nan")
    )
    with pytest.raises(SegNetError, match=r"became nan at step 1.*learning rate"):
        finish(run)
    assert isinstance(run.events()[-1], events.Failed)


def test_nothing_improves_any_more_ends_early(make_run):
    run = make_run(images=4, train={"epochs": 50, "patience": 2, "learning_rate": 1e-9, "ema": 0})
    told = finish(run)
    assert told[-1].reason == "early-stopping"
    assert len(history(run)) < 50


def test_minutes_are_kept(make_run):
    run = make_run(train={"epochs": None, "minutes": 0.05})
    began = time.monotonic()
    told = finish(run)
    assert told[-1].reason == "time"
    assert time.monotonic() - began < 30


def test_what_was_learned_when_the_minutes_end_is_validated_and_kept(make_run):
    run = make_run(images=4, train={"epochs": None, "minutes": 0.05, "steps_per_epoch": 100_000})
    told = finish(run)
    assert told[-1].reason == "time"
    rows = history(run)
    assert len(rows) == 1
    assert float(rows[0]["val_dice"]) > 0
    assert told[-1].scores["dice"] > 0


def test_previews_show_the_view_in_its_place(make_run):
    run = make_run(labels=strokes, train={"epochs": 8, "preview_seconds": 0.01})
    told = execute(run, Control(view=View("i0", 0, (10, 20), (40, 1000))))
    shown = [
        (event.origin, np.load(event.labels), np.load(event.probabilities))
        for event in told
        if isinstance(event, events.Preview)
    ]
    origin, labels, probabilities = shown[-1]
    assert origin == (10, 20)
    assert labels.shape == (40, 76)
    assert probabilities.shape == (2, 40, 76)
    assert np.allclose(probabilities.sum(axis=0), 1, atol=1e-3)
    mask = discs(0)[1][10:50, 20:]
    assert dice(labels == 2, mask == 1) > 0.8


def test_a_model_is_fine_tuned_and_gets_a_new_class(make_run):
    first = make_run("first", labels=strokes, train={"epochs": 6})
    finish(first)

    def three(mask):
        labels = strokes(mask)
        labels[60:64, 10:80] = 3
        return labels

    still = {"epochs": 1, "learning_rate": 1e-7}
    second = make_run("second", labels=three, model={"weights": str(first.path)}, train=still)
    finish(second, Control(stop=True))
    # The run holds what it started from: it can go on when the first one is gone.
    first.model.rename(first.path / "moved.safetensors")
    first.last.unlink()
    finish(second)
    (first.path / "moved.safetensors").rename(first.model)
    info = read_info(second.path)
    assert [c.value for c in info.classes] == [1, 2, 3]
    assert info.normalization == read_info(first.path).normalization
    image, mask = discs(50)
    # What the first model knew is still there before anything new is learned.
    assert dice(predicted(second, image) == 2, mask == 1) > 0.8
    with pytest.raises(ConfigError, match="network = unet was asked for"):
        finish(make_run("other", model={"weights": str(first.path), "network": "unet", "options": {}}))


def test_numbered_objects_are_learned_and_kept_apart(make_run):
    from scipy import ndimage

    from napari_segnet.predict.arrays import predict_stack

    run = make_run(labels=lambda mask: ndimage.label(mask)[0].astype(np.uint16), data={"task": "instances"},
                   train={"epochs": 25})  # fmt: skip
    finish(run)
    info, network = load_model(run.path)
    assert info.outputs == 3
    image, mask = discs(0)
    labels, probabilities, _ = predict_stack(
        Predictor(network, info, PredictConfig(device="cpu")), Pixels(image, "YX"), instances=True
    )
    assert probabilities.shape == (2, *image.shape)
    assert dice(labels > 0, mask == 1) > 0.85


def test_the_disk_fills_up_and_nothing_is_half_written(make_run, monkeypatch):
    run = make_run(images=4, train={"epochs": 6})
    monkeypatch.setattr("napari_segnet.executor._CHECKPOINT_SECONDS", 0.0)
    real, count = os.fsync, []

    def full(descriptor):
        count.append(1)
        if len(count) > 12:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RunFolderError, match=r"disk is full.*resume"):
        finish(run)
    monkeypatch.undo()
    assert not list(run.path.rglob("*.tmp"))
    load_model(run.path)
    finish(RunFolder(run.path))
    assert len(history(run)) == 6


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (lambda mask: mask * 0, "Nothing is painted"),
        (lambda mask: strokes(mask) * (strokes(mask) == 1), "every|Only class|only one class|background"),
        (lambda mask: mask[:-1], "95"),
        (lambda mask: np.arange(mask.size, dtype=np.uint16).reshape(mask.shape) % 200, "199 different values"),
    ],
    ids=["empty", "one-class", "wrong-size", "grey"],
)
def test_labels_that_can_not_work_are_a_sentence(make_run, labels, message):
    run = make_run(labels=labels, data={"unlabelled": "ignore", "task": "semantic"})
    with pytest.raises(DataError, match=message):
        finish(run)
    assert not run.model.exists()


def test_a_black_image_among_good_ones_is_a_warning(make_run):
    run = make_run(images=2)
    write_npy(run.data / "i1.npy", np.zeros_like(discs(1)[0]))
    notices = [e.text for e in finish(run) if isinstance(e, events.Notice)]
    assert any("i1 has the same value everywhere" in text for text in notices)
    blank = make_run("blank")
    write_npy(blank.data / "i0.npy", np.zeros_like(discs(0)[0]))
    with pytest.raises(DataError, match="same value everywhere"):
        finish(blank)


def test_a_patch_that_does_not_fit_the_network_is_said(make_run):
    with pytest.raises(ConfigError, match=r"Patches of 34 pixels.*Set train.patch_size to 36"):
        finish(make_run(train={"patch_size": 34}))


def test_weights_that_are_no_model_are_not_ignored(make_run, tmp_path):
    (tmp_path / "notes.txt").write_text("not a model")
    with pytest.raises(ConfigError, match="no model that can be fine-tuned"):
        finish(make_run(model={"weights": str(tmp_path / "notes.txt")}))


def test_images_of_different_channels_are_told_apart(make_run):
    run = make_run(images=2)
    image, _ = discs(3)
    write_npy(run.data / "i1.npy", np.stack([image, image]))
    pairs = run.pairs
    run.set_pairs([pairs[0], pairs[1].replace(axes="CYX")])
    with pytest.raises(DataError, match=r"i0 has 1 channel\(s\), but i1 has 2"):
        finish(run)


def test_a_stack_is_learned_from_the_planes_that_are_painted(make_run):
    run = make_run()
    planes = [discs(n) for n in range(4)]
    labels = np.stack([strokes(m) if n != 2 else m * 0 for n, (_, m) in enumerate(planes)])
    write_npy(run.data / "i0.npy", np.stack([i for i, _ in planes]))
    write_npy(run.data / "l0.npy", labels)
    run.set_pairs([run.pairs[0].replace(axes="ZYX")])
    run.set_config(run.config.replace(train={**run.config.train.explicit(), "epochs": 10}))
    finish(run)
    image, mask = discs(60)
    assert dice(predicted(run, image) == 2, mask == 1) > 0.9


def test_a_damaged_checkpoint_is_said(make_run):
    run = make_run()
    finish(run, Control(stop=True))
    checkpoint = run.checkpoints / "last.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    with pytest.raises(RunFolderError, match=r"checkpoint .* can't be used"):
        finish(run)
