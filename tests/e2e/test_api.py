"""The Python interface, as in the README."""

import numpy as np
import pytest
import tifffile

import napari_segnet as segnet
from conftest import discs, strokes

QUICK = ["model.options={width: 8, depth: 2, max_width: 16}", "train.patch_size=32", "train.steps_per_epoch=6"]


def test_arrays_in_a_model_out_twice(tmp_path):
    image, mask = discs(0)
    told = []
    model = segnet.train(image, strokes(mask), epochs=10, seed=0, settings=QUICK, on_event=told.append)
    again = segnet.train(image, strokes(mask), epochs=10, seed=0, settings=QUICK)
    unseen, truth = discs(70)
    result = model.predict(unseen)
    assert result.labels.shape == unseen.shape
    assert result.probabilities.shape == (2, *unseen.shape)
    assert np.allclose(result.probabilities.sum(axis=0), 1, atol=1e-3)
    assert 0 <= result.uncertainty.min() <= result.uncertainty.max() <= 1
    assert np.array_equal(result.labels, again.predict(unseen).labels)
    scores = segnet.evaluate(result.labels, truth + 1)
    assert scores.dice > 0.85
    assert len(model.history) == 10
    assert told[-1].reason == "completed"

    loaded = segnet.load(model.save(tmp_path / "deep" / "cells.safetensors"))
    assert np.array_equal(loaded.predict(unseen).labels, result.labels)
    assert [c.name for c in loaded.classes] == ["class 1", "class 2"]


def test_paths_and_channels_and_stacks(tmp_path):
    image, mask = discs(1)
    rgb = np.stack([image, 1 - image, image * 0.5 + 0.2], axis=-1)
    tifffile.imwrite(tmp_path / "a.tif", (rgb.clip(0, 1) * 255).astype(np.uint8), photometric="rgb")
    tifffile.imwrite(tmp_path / "a_mask.tif", mask)
    model = segnet.train(tmp_path / "a.tif", tmp_path / "a_mask.tif", epochs=8, settings=QUICK)
    assert model.info.channels == 3
    stack = np.stack([rgb, rgb[::-1]])
    result = model.predict((stack.clip(0, 1) * 255).astype(np.uint8), axes="ZYXC")
    assert result.labels.shape == (2, 96, 96)
    assert result.probabilities.shape == (2, 2, 96, 96)
    overlap = (result.labels[1] == 1) & (mask[::-1] == 1)
    assert 2 * overlap.sum() / ((result.labels[1] == 1).sum() + mask.sum()) > 0.85
    with pytest.raises(segnet.SegNetError, match="1 channel"):
        model.predict(image)


def test_folds_losses_and_optimizers_are_arguments_too(tmp_path):
    pairs = [discs(n, side=64) for n in range(4)]
    images, masks = zip(*pairs, strict=True)
    asked = {"loss": "focal", "optimizer": "sgd", "schedule": "poly", "epochs": 2}
    model = segnet.train(list(images), list(masks), folds=2, run=tmp_path / "cv", settings=QUICK, **asked)
    assert [m.config.data.fold for m in model.info.members] == [1, 2]
    assert {m.config.train.loss for m in model.info.members} == {"focal"}
    assert (tmp_path / "cv" / "folds.csv").exists()
    assert model.predict(images[0]).labels.shape == images[0].shape


def test_the_spacing_of_arrays_is_known_to_the_model():
    image, mask = discs(5)
    model = segnet.train(image, mask, spacing=(0.5, 0.5), epochs=1, settings=[*QUICK, "data.pixel_size=1.0"])
    assert model.info.pixel_size == (1, 1)
    with pytest.raises(segnet.SegNetError, match="Give 2 lengths above zero, along Y, X"):
        segnet.train(image, mask, spacing=(1, 0.5, 0.5), epochs=1)


def test_a_run_that_cannot_begin_leaves_nothing_behind(tmp_path):
    image, mask = discs(0)
    with pytest.raises(segnet.SegNetError, match="Only class 1 is painted"):
        segnet.train(image, mask * 0 + 1, unlabelled="ignore", epochs=1, run=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(segnet.SegNetError, match="Labels need the size"):
        segnet.train([image, image], [mask, mask[:50]], epochs=1, run=tmp_path / "run")
    assert not (tmp_path / "run" / "data").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "data").mkdir()
    with pytest.raises(segnet.SegNetError, match="is not empty"):
        segnet.train(image, mask, epochs=1, run=tmp_path / "mine")
    assert (tmp_path / "mine" / "data").exists()


def test_a_run_folder_is_kept_where_it_is_asked_for(tmp_path):
    image, mask = discs(2)
    segnet.train([image, image], [mask, mask], epochs=1, settings=QUICK, run=tmp_path / "run")
    assert (tmp_path / "run" / "data" / "image-2_labels.npy").exists()
    assert segnet.load(tmp_path / "run").info.fingerprint["images"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epoks": 3}, "no argument 'epoks'"),
        ({"network": "unett"}, "Did you mean 'unet'"),
        ({"unlabelled": "ignored"}, "unlabelled = 'ignored'"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    image, mask = discs(0)
    with pytest.raises((TypeError, segnet.SegNetError), match=message):
        segnet.train(image, mask, **arguments)


def test_labels_of_another_size_are_refused():
    image, mask = discs(0)
    with pytest.raises(segnet.SegNetError, match="Labels need the size"):
        segnet.train(image, mask[:50], epochs=1)
    with pytest.raises(segnet.SegNetError, match="2 images, but 1 labels"):
        segnet.train([image, image], [mask], epochs=1)
