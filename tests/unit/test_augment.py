import numpy as np
import pytest
import torch

from napari_segnet.config import AugmentConfig
from napari_segnet.training.augment import augment, window_size

STILL = AugmentConfig(
    flip=False, quarter_turns=False, rotation=0, scale=0, shear=0, elastic=0, brightness=0, contrast=0, gamma=0,
    noise=0, blur=0,
)  # fmt: skip


def scene(size=64):
    """An image whose value says which class a pixel has, smooth enough to be resampled."""
    y, x = np.indices((size, size))
    image = np.sin(x / 9) + np.cos(y / 7)
    return torch.tensor(image, dtype=torch.float32)[None, None], torch.tensor(image > 0, dtype=torch.uint8)[None]


def run(config, patch=32, seed=0, copies=6, guide=None):
    image, target = scene()
    generator = torch.Generator().manual_seed(seed)
    made = augment(
        image.repeat(copies, 1, 1, 1), target.repeat(copies, 1, 1), patch, config, generator,
        None if guide is None else guide.repeat(copies, 1, 1, 1),
    )  # fmt: skip
    return made.images, made.targets, made.guide


def test_without_changes_it_is_the_middle_of_the_window():
    image, target = scene()
    images, targets, _ = run(STILL, copies=1)
    assert torch.allclose(images[0, 0], image[0, 0, 16:48, 16:48], atol=1e-5)
    assert torch.equal(targets[0], target[0, 16:48, 16:48])


@pytest.mark.parametrize("seed", range(4))
def test_image_and_target_move_together(seed):
    config = STILL.replace(flip=True, quarter_turns=True, rotation=30, scale=0.2, shear=10, elastic=3, probability=1)
    images, targets, _ = run(config, seed=seed)
    agree = ((images[:, 0] > 0) == (targets > 0)).float().mean()
    assert agree > 0.97  # only pixels at the border of the classes may differ
    assert not torch.allclose(images[0], images[1])


def test_flips_and_quarter_turns_make_all_eight_and_invent_nothing():
    config = STILL.replace(flip=True, quarter_turns=True)
    image, _ = scene()
    middle = image[0, 0, 16:48, 16:48]
    eight = [torch.rot90(m, k) for m in (middle, middle.flip(0)) for k in range(4)]
    images, _, _ = run(config, copies=200)
    found = {min(range(8), key=lambda n: float((eight[n] - i).abs().max())) for i in images[:, 0]}
    assert found == set(range(8))
    assert max(min(float((e - i).abs().max()) for e in eight) for i in images[:, 0]) < 1e-3


@pytest.mark.parametrize("change", ["brightness", "contrast", "gamma", "noise", "blur"])
def test_intensities_change_and_labels_stay(change):
    config = STILL.replace(probability=1, **{change: 0.5})
    images, targets, _ = run(config)
    _, still, _ = run(STILL)
    assert torch.equal(targets, still)
    assert not torch.allclose(images[0], images[1])
    assert torch.isfinite(images).all()


def test_a_soft_target_moves_with_the_image_and_keeps_its_values():
    image, _ = scene()
    config = AugmentConfig(elastic=0, brightness=0.5)
    _, _, guide = run(config, guide=image)
    assert guide.abs().max() <= 2
    plain = run(config.replace(brightness=0, contrast=0, gamma=0, noise=0, blur=0), guide=image)
    assert torch.allclose(plain[0], plain[2], atol=1e-5)


def test_the_same_seed_changes_the_same():
    first, again = run(AugmentConfig(), seed=5), run(AugmentConfig(), seed=5)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])


def test_the_window_has_room_for_a_turned_patch():
    assert window_size(128, STILL) == 128
    assert window_size(128, AugmentConfig()) > 160
