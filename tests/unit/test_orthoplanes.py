"""A network for planes that looks at a volume from three sides."""

import numpy as np
import pytest
import torch

from napari_segnet.config import PredictConfig
from napari_segnet.data.labels import default_classes
from napari_segnet.data.normalization import Normalization
from napari_segnet.errors import SegNetError
from napari_segnet.models.info import ModelInfo
from napari_segnet.predict import orthoplanes
from napari_segnet.predict.orthoplanes import OrthoplanePredictor
from napari_segnet.predict.predictor import Predictor
from napari_segnet.predict.wanted import Wanted


class Row(torch.nn.Module):
    """Answers with the mean of each row: it depends on what a plane's rows are."""

    stride = 1

    def forward(self, x):
        mean = x.mean(dim=3, keepdim=True).expand_as(x)
        return torch.cat([-mean, mean], dim=1)


def info(**changes):
    classes = default_classes(range(2), "background", "semantic")
    values = {"network": "plain-unet", "channels": 1, "outputs": 2, "classes": classes, "patch_size": 32, "stride": 1,
              "halo": 0, "normalization": Normalization(mode="none")}  # fmt: skip
    return ModelInfo(**{**values, **changes})


def predicted(network, image, spacing=None, described=None):
    predictor = Predictor(network, described or info(), PredictConfig(precision="float32", device="cpu"))
    shape = image.shape[1:]
    made = {
        "labels": np.empty(shape, np.uint8),
        "probabilities": np.empty((2, *shape), np.float32),
        "uncertainty": np.empty(shape, np.float32),
    }
    steps = list(OrthoplanePredictor(predictor, spacing).iterate(image, Wanted(**made)))
    assert steps[-1] == (sum(shape), sum(shape))
    return made


def test_it_is_the_mean_of_three_views():
    image = np.random.default_rng(0).normal(size=(1, 4, 5, 6)).astype(np.float32)
    made = predicted(Row(), image)
    softmax = lambda mean: 1 / (1 + np.exp(-2 * mean))  # noqa: E731 - of logits -mean and mean
    x_mean = np.broadcast_to(image[0].mean(axis=2, keepdims=True), image[0].shape)
    y_mean = np.broadcast_to(image[0].mean(axis=1, keepdims=True), image[0].shape)
    # Planes along Z and along Y have rows along X; those along X have rows along Y.
    expected = (2 * softmax(x_mean) + softmax(y_mean)) / 3
    assert np.allclose(made["probabilities"][1], expected, atol=1e-5)
    assert np.array_equal(made["labels"], (expected > 0.5).astype(np.uint8))
    assert np.allclose(made["probabilities"].sum(axis=0), 1, atol=1e-5)
    assert made["uncertainty"].min() >= 0
    assert made["uncertainty"].max() <= 1


def test_planes_are_stretched_to_square_pixels():
    seen = []

    class Watch(torch.nn.Module):
        stride = 1

        def forward(self, x):
            seen.append(tuple(x.shape[2:]))
            return torch.cat([-x, x], dim=1)

    image = np.random.default_rng(0).normal(size=(1, 4, 20, 24)).astype(np.float32)
    made = predicted(Watch(), image, spacing=(5.0, 1.0, 1.0))
    assert {(20, 24), (20, 24), (20, 20)} == {size for size in seen if size in {(20, 24), (20, 20)}}
    assert made["labels"].shape == (4, 20, 24)


def test_the_limits_are_those_of_the_volume():
    image = np.zeros((1, 4, 8, 8), np.float32)
    image[0, 3] = 100.0
    described = info(normalization=Normalization(mode="image"))

    class Bright(torch.nn.Module):
        stride = 1

        def forward(self, x):
            return torch.cat([-x, x], dim=1) * 10

    made = predicted(Bright(), image, described=described)
    assert (made["labels"][3] == 1).all()
    assert (made["labels"][:3] == 0).all()


def test_a_volume_that_is_too_large_is_refused(monkeypatch):
    monkeypatch.setattr(orthoplanes, "free_memory", lambda device: 1000)
    with pytest.raises(SegNetError, match="4 x 5 x 6 voxels"):
        predicted(Row(), np.zeros((1, 4, 5, 6), np.float32))
