import contextlib

import numpy as np
import pytest
import torch
from torch import nn

from napari_segnet.axes import to_stack
from napari_segnet.config import LabelClass, PredictConfig
from napari_segnet.data.normalization import Normalization
from napari_segnet.models.info import ModelInfo
from napari_segnet.predict.predictor import Predictor
from napari_segnet.predict.resampled import pixel_size_of, shape_for, words_of
from napari_segnet.predict.stacks import predict_stack_into


class Threshold(nn.Module):
    """Class 1 where the image is above zero; it remembers what shape it saw."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x):
        self.seen.append(tuple(x.shape[2:]))
        return torch.cat([-20 * x, 20 * x], dim=1)


def predictor(axes, known, resampled=True, **config):
    info = ModelInfo(
        network="plain-unet",
        channels=1,
        outputs=2,
        axes=axes,
        pixel_size=known,
        units="micrometer",
        resampled=resampled,
        normalization=Normalization(mode="none"),
        classes=tuple(LabelClass(value=v, name=str(v), colour="#000000") for v in (0, 1)),
        patch_size=32,
        stride=1 if axes == "YX" else (1, 1, 1),
        halo=0,
    )
    # One tile, float32: the network sees the whole image at once.
    return Predictor(Threshold(), info, PredictConfig(precision="float32", **config), torch.device("cpu"))


def predicted(one, image, axes, size):
    made = {}

    def sink(output, shape, dtype, _axes):
        made[output] = np.full(shape, 77, dtype)
        return contextlib.nullcontext(made[output])

    list(
        predict_stack_into(
            one, to_stack(image, axes, one.info.axes), sink, probabilities=True, uncertainty=True, pixel_size=size
        )
    )
    return made


@pytest.mark.parametrize(
    ("axes", "spatial", "shape", "size", "wanted", "seen"),
    [
        ("YX", "YX", (60, 40), (0.5, 0.5), (1.0, 1.0), (30, 20)),
        ("TYX", "YX", (3, 60, 40), (0.5, 0.5), (0.25, 1.0), (120, 20)),
        ("ZYX", "ZYX", (10, 40, 30), (2.0, 0.5, 0.5), (1.0, 1.0, 1.0), (20, 20, 15)),
    ],
)
def test_images_are_seen_at_the_pixel_size_of_the_model_and_answered_at_their_own(
    axes, spatial, shape, size, wanted, seen
):
    image = np.sin(np.arange(shape[-1]) / 4) * np.ones(shape, np.float32)
    one = predictor(spatial, wanted)
    made = predicted(one, image, axes, size)
    assert seen in one._network.seen
    assert made["labels"].shape == made["uncertainty"].shape == shape
    clear = np.abs(image) > 0.4
    assert np.array_equal(made["labels"][clear], (image > 0)[clear])
    likely = np.moveaxis(made["probabilities"], -3, 0)
    assert likely.shape == (2, *shape)
    assert np.allclose(likely.sum(axis=0), 1, atol=1e-4)
    assert np.abs(likely[1] - (image > 0))[clear].max() < 0.1
    assert made["uncertainty"][clear].max() < 0.4


@pytest.mark.parametrize(
    ("resampled", "size"),
    [(True, None), (False, (0.5, 0.5)), (True, (1.0, 1.0))],
    ids=["unknown", "other model", "same"],
)
def test_otherwise_an_image_is_predicted_as_it_is(resampled, size):
    image = np.random.default_rng(0).normal(size=(50, 30)).astype(np.float32)
    one = predictor("YX", (1.0, 1.0), resampled)
    assert shape_for(one.info, (50, 30), size) is None
    assert np.array_equal(predicted(one, image, "YX", size)["labels"], image > 0)


def test_the_pixel_size_is_that_of_the_file_or_of_the_option():
    assert pixel_size_of(predictor("YX", (1.0, 1.0)), (5.0, 500.0, 250.0), "nanometer") == pytest.approx((0.5, 0.25))
    assert pixel_size_of(predictor("YX", (1.0, 1.0)), None, None) is None
    assert pixel_size_of(predictor("YX", (1.0, 1.0), pixel_size=0.3), (9.0, 9.0), "millimeter") == (0.3, 0.3)
    assert pixel_size_of(predictor("ZYX", (1.0,) * 3, pixel_size=(3, 1, 2)), None, None) == (3, 1, 2)
    assert words_of(predictor("YX", (0.5, 0.25)).info) == "0.5 x 0.25 micrometer"
