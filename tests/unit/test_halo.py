import numpy as np
import pytest
import torch
from torch import nn

from napari_segnet.config import LabelClass, PredictConfig
from napari_segnet.data.normalization import Normalization
from napari_segnet.models.info import ModelInfo
from napari_segnet.predict.halo import measure_halo
from napari_segnet.predict.predictor import Predictor

pytestmark = pytest.mark.usefixtures("one_thread")


def blur(radius, decay=0.0):
    """A network whose label is the sign of a weighted mean over (2 radius + 1) squared pixels."""
    conv = nn.Conv2d(1, 2, 2 * radius + 1, padding=radius, bias=False)
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    weights = torch.from_numpy(np.exp(-decay * np.hypot(y, x))).float()
    with torch.no_grad():
        conv.weight[0, 0], conv.weight[1, 0] = weights, -weights
    return conv.eval()


def info_of(stride, receptive_field, mode="none"):
    classes = tuple(LabelClass(value=v, name=str(v), colour="#123456") for v in (0, 1))
    return ModelInfo(
        network="blur",
        channels=1,
        outputs=2,
        classes=classes,
        patch_size=32,
        stride=stride,
        halo=0,
        receptive_field=receptive_field,
        normalization=Normalization(mode=mode),
    )


def noise(side, seed=0):
    return np.random.default_rng(seed).normal(0, 1, (1, side, side)).astype(np.float32)


@pytest.mark.parametrize(("radius", "stride", "expected"), [(0, 4, 0), (4, 4, 4), (6, 4, 8), (6, 1, 6), (7, 16, 16)])
def test_a_network_that_uses_all_it_sees_needs_its_whole_receptive_field(radius, stride, expected):
    info = info_of(stride, expected)
    assert measure_halo(blur(radius), info, [noise(256)], precision="float32") == expected


def test_a_network_whose_interest_fades_needs_less_than_it_sees():
    network, info, image = blur(12, decay=1.0), info_of(2, 12), noise(400)
    halo = measure_halo(network, info, [image], precision="float32")
    assert 2 <= halo < 12

    def labels(**config):
        made = Predictor(network, info, PredictConfig(precision="float32", **config))
        arrays = made.empty_outputs(image.shape[1:])
        made.predict_plane(image, **arrays)
        return arrays["labels_out"]

    whole = labels(tile=1024)
    assert (labels(tile=128, halo=halo) != whole).mean() <= 1e-5
    assert (labels(tile=128, halo=halo - 2) != whole).mean() > 1e-6


def test_the_receptive_field_need_not_be_known():
    assert measure_halo(blur(6), info_of(4, None), [noise(300)], precision="float32") == 8


def test_images_without_room_for_seams_give_the_receptive_field():
    assert measure_halo(blur(6), info_of(4, 8), [noise(100)]) == 8
    assert measure_halo(blur(6), info_of(4, None), []) == 256


def test_limits_are_those_of_the_whole_image_not_of_its_middle():
    image = noise(900)
    image[:, :20] = 1000
    seen = []

    class Watched(nn.Conv2d):
        def forward(self, x):
            seen.append(float(x.max()))
            return super().forward(x)

    network = Watched(1, 2, 1).eval()
    assert measure_halo(network, info_of(1, 0, mode="image"), [image], precision="float32") == 0
    low, high = info_of(1, 0, mode="image").normalization.limits(image)
    middle = image[:, 66:834, 66:834].max()
    assert max(s for s in seen if s != 0) == pytest.approx(
        ((middle - (high + low) / 2) / ((high - low) / 2)).item(), rel=1e-4
    )
