import numpy as np
import pytest
import torch
from scipy import ndimage

from napari_segnet.config import AugmentConfig, DataConfig, LabelClass, RunConfig, TrainConfig
from napari_segnet.data.normalization import Normalization
from napari_segnet.data.sampling import ImageCache, PatchSampler
from napari_segnet.data.split import Region
from napari_segnet.errors import ConfigError
from napari_segnet.models.registry import build_network
from napari_segnet.training.augment import augment
from napari_segnet.training.deep_supervision import DeepSupervised
from napari_segnet.training.learner import Batch, Learner
from napari_segnet.training.losses import loss_function
from napari_segnet.training.weighing import border_map, check_border_weight, loss_weights

STILL = AugmentConfig(
    flip=False,
    quarter_turns=False,
    rotation=0,
    scale=0,
    shear=0,
    elastic=0,
    brightness=0,
    contrast=0,
    gamma=0,
    noise=0,
    blur=0,
)


def config(unlabelled="background", task="instances", **train):
    train = {"border_weight": 10, **train}
    return RunConfig(data=DataConfig(task=task, unlabelled=unlabelled), train=TrainConfig(**train))


def test_weights_of_classes_are_those_of_the_scheme_times_their_own():
    classes = (
        LabelClass(value=0, name="ground", colour="#000000"),
        LabelClass(value=1, name="cells", colour="#ffffff", weight=3),
    )
    data = DataConfig(classes=classes)
    counts = np.array([[60, 20], [15, 5]])
    weights, words = loss_weights(counts, data, "inverse")
    # Shares of 3/4 and 1/4: inverse 4/3 and 4, whose mean is 8/3; the second counts three times.
    assert weights.tolist() == pytest.approx([0.5, 4.5])
    assert words == "ground 0.5, cells 4.5: by inverse frequency."
    assert loss_weights(counts, data, "none")[0].tolist() == [1, 3]
    objects, words = loss_weights(np.array([[60, 20, 20]]), DataConfig(task="instances"), "median")
    assert objects.tolist() == pytest.approx([3 / 7, 9 / 7, 9 / 7])
    assert "boundary" in words


def test_a_border_weight_is_for_objects_and_for_losses_that_weigh_pixels():
    check_border_weight(config())
    check_border_weight(config(task="semantic", border_weight=0))
    with pytest.raises(ConfigError, match=r"these labels hold classes.*--task instances"):
        check_border_weight(config(task="semantic"))
    with pytest.raises(ConfigError, match=r"'dice' compares whole regions.*dice\+ce"):
        check_border_weight(config(loss="dice"))


def test_gaps_weigh_what_the_paper_says_and_what_is_ignored_is_no_object():
    labels = np.zeros((40, 40), np.int32)
    labels[:, :18], labels[:, 22:] = 5, 9
    weights = border_map(labels, config(border_sigma=4), (1.0, 1.0)).astype(float)
    # In the middle of the gap: distances of 2 and 3.
    assert weights[20, 19] == pytest.approx(1 + 10 * np.exp(-25 / 32), abs=0.01)
    assert weights[20, 17] == pytest.approx(1 + 10 * np.exp(-25 / 32), abs=0.01)
    assert weights.max() <= 11

    painted = np.where(labels == 9, 1, labels)
    assert (border_map(painted, config("ignore"), (1, 1)) == 1).all()
    assert border_map(painted, config(), (1, 1)).max() > 2


def test_pixels_are_those_of_the_finest_axis():
    labels = np.zeros((9, 20, 20), np.int32)
    labels[:4], labels[5:] = 1, 2
    near, far = (border_map(labels, config(), (z, 0.5, 0.5))[4, 10, 10] for z in (0.5, 2.0))
    assert near == pytest.approx(1 + 10 * np.exp(-(2**2) / 50), abs=0.01)
    assert far == pytest.approx(1 + 10 * np.exp(-(8**2) / 50), abs=0.01)


class Plane:
    def __init__(self, array):
        self._array = array

    def image(self):
        return self._array


def test_weights_are_cut_and_moved_with_their_images():
    rng = np.random.default_rng(0)
    picture = ndimage.gaussian_filter(rng.normal(size=(90, 80)), 4).astype(np.float32)
    picture = (picture / np.abs(picture).max()).astype(np.float16).astype(np.float32)
    region = Region(0, (5, 10), (85, 75))
    cache = ImageCache([Plane(picture[None])], Normalization(mode="none"))
    sampler = PatchSampler(cache, [np.zeros((90, 80), np.uint8)], [region], seed=0)
    sampler.weigh_by([picture[region.slices].astype(np.float16)])
    drawn = sampler.draw(0, 4, 64)
    assert np.array_equal(drawn.weights, drawn.images[:, 0].astype(np.float16))
    images, targets = torch.from_numpy(drawn.images), torch.from_numpy(drawn.targets)
    weights = torch.from_numpy(drawn.weights).float()
    guide = torch.rand(4, 2, 64, 64)
    for soft in (None, guide):
        moved = augment(images, targets, 48, AugmentConfig(), torch.Generator().manual_seed(0), soft, weights=weights)
        assert torch.allclose(moved.weights, moved.plain[:, 0], atol=1e-6)
        assert (moved.guide is None) == (soft is None)
    assert moved.guide.shape == (4, 2, 48, 48)


def learner(deep=False):
    torch.manual_seed(0)
    network = build_network("plain-unet", channels=1, outputs=2, options={"width": 4, "depth": 2})
    if deep:
        network = DeepSupervised(network, 2, torch.zeros(1, 1, 16, 16))
    train = TrainConfig(epochs=1, precision="float32", deep_supervision=deep)
    return Learner(network, loss_function("ce"), torch.ones(2), train, torch.device("cpu"))


@pytest.mark.parametrize("deep", [False, True])
def test_pixels_without_weight_teach_nothing(deep):
    images = torch.randn(4, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    targets = (images[:, 0] > 0).long()
    weights = torch.ones(4, 16, 16)
    weights[:, 8:] = 0
    wrong = targets.clone()
    wrong[:, 8:] = 1 - wrong[:, 8:]
    one, other, unweighed = learner(deep), learner(deep), learner(deep)
    one.step(Batch(images, targets, weights=weights), 1e-2)
    other.step(Batch(images, wrong, weights=weights), 1e-2)
    unweighed.step(Batch(images, wrong), 1e-2)
    mine, theirs = (torch.cat([p.flatten() for p in x.network.parameters()]) for x in (one, other))
    assert torch.equal(mine, theirs)
    assert not torch.equal(mine, torch.cat([p.flatten() for p in unweighed.network.parameters()]))
