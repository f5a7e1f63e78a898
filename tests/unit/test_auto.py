"""What is chosen when nobody names a network."""

import numpy as np
import pytest

from napari_segnet.request import build_config
from napari_segnet.volumes import StackPrint, axes_for


@pytest.mark.parametrize(
    ("images", "gpu", "axes", "words"),
    [
        ([StackPrint(0, None)], True, "YX", ""),
        ([StackPrint(40, None)], True, "ZYX", "as volumes"),
        ([StackPrint(40, 1.2), StackPrint(5, 1.2)], True, "YX", "5 planes are too few"),
        ([StackPrint(40, 6.0)], True, "YX", "6.0 times as far apart"),
        ([StackPrint(40, 1.0)], False, "YX", "quickest on a CPU"),
        ([StackPrint(40, 1.0)], 3.0, "YX", "quickest on a CPU"),
        ([StackPrint(40, 1.0)], 15.0, "ZYX", "as volumes"),
        ([StackPrint(5, 1.0)], 15.0, "YX", "5 planes are too few"),
    ],
)
def test_planes_or_volumes(images, gpu, axes, words):
    chosen, said = axes_for(images, gpu) if isinstance(gpu, bool) else axes_for(images, gpu=False, minutes=gpu)
    assert chosen == axes
    assert words in said
    assert bool(said) == bool(words)


@pytest.mark.parametrize("name", ["auto", "Auto", None])
def test_auto_leaves_the_network_to_the_preset(name):
    assert build_config({"network": name}).model.explicit() == {}


def test_auto_with_an_encoder_means_a_network_that_has_one():
    assert build_config({"network": "auto", "encoder": "resnet34"}).model.network == "unet"


def test_volumes_are_chosen_and_said_and_stay_chosen_in_the_run(tmp_path, monkeypatch):
    import napari_segnet as segnet
    from napari_segnet import events

    monkeypatch.setattr("napari_segnet.volumes.axes_for", lambda images, gpu, minutes: axes_for(images, gpu=True))
    rng = np.random.default_rng(0)
    mask = np.zeros((12, 24, 24), np.uint8)
    mask[3:9, 6:18, 6:18] = 1
    told = []
    model = segnet.train(
        mask + rng.normal(0, 0.2, mask.shape).astype(np.float32), mask, network="auto", axes="ZYX", run=tmp_path / "r",
        epochs=1, val_fraction=0, settings=["train.steps_per_epoch=1", "train.batch_size=1"], on_event=told.append,
    )  # fmt: skip
    started = next(event for event in told if isinstance(event, events.Started))
    assert "as volumes" in started.choices["axes"]
    assert "nnU-Net" in started.choices["network"]
    assert model.info.axes == "ZYX"
    assert model.info.network == "dynunet"
