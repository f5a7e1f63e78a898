import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_segnet.config import AugmentConfig
from napari_segnet.data.labels import IGNORE
from napari_segnet.errors import ConfigError
from napari_segnet.training.augment import augment, window_size
from napari_segnet.training.draws import rarities

STILL = AugmentConfig(
    flip=False, quarter_turns=False, rotation=0, scale=0, shear=0, elastic=0, brightness=0, contrast=0, gamma=0,
    noise=0, blur=0,
)  # fmt: skip
ALL = AugmentConfig(
    perspective=0.2, piecewise=3, hue=40, saturation=0.5, channel_shuffle=0.5, clahe=0.5, low_resolution=0.5,
    copy_paste=0.5, class_frequency=True, probability=1,
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


# Pixels, means of channels and sums of targets that the first version of the module gave.
FIRST = {
    0: (
        [-0.03704, -0.5238, 0.16814, 0.34411, 0.51882, 0.61651, -0.03632, 0.04001, -0.29543,
         0.05371, -0.035, 0.28998, -0.14542, -0.70665, 0.29439, 0.45854, 0.58195, 0.23456],
        [0.02132, 0.00802, 0.05169, 0.03071, 0.02702, -0.00675],
        [1355, 1402, 1345],
    ),
    7: (
        [0.42002, 0.17652, -0.54133, -0.20314, 0.2508, 0.41009, 0.04137, -0.74269, -0.31533,
         -0.02695, 0.3695, 0.5004, -0.34688, -0.61921, 0.2589, 0.61699, 0.44458, 0.12322],
        [0.02414, 0.00513, 0.01886, -0.00416, 0.00806, -0.01285],
        [1380, 1339, 1319],
    ),
}  # fmt: skip


@pytest.mark.parametrize("seed", FIRST)
def test_seeds_keep_their_meaning(seed):
    y, x = np.indices((44, 44))
    image = np.stack([np.sin(x / 9) * 0.5 + np.cos(y / 7) * 0.5, np.cos(x / 5) * 0.7])
    images = torch.tensor(image, dtype=torch.float32).repeat(3, 1, 1, 1)
    targets = torch.tensor((image[0] > 0) * 1 + (image[1] > 0.2) * 2, dtype=torch.uint8).repeat(3, 1, 1)
    made = augment(images, targets, 32, AugmentConfig(), torch.Generator().manual_seed(seed))
    pixels, means, sums = FIRST[seed]
    assert made.images[:, :, 5::13, 9].flatten().tolist() == pytest.approx(pixels, abs=1e-4)
    assert made.plain.mean(dim=(2, 3)).flatten().tolist() == pytest.approx(means, abs=1e-4)
    assert made.targets.long().sum(dim=(1, 2)).tolist() == pytest.approx(sums, abs=3)


def test_a_square_patch_may_be_said_either_way():
    image, target = scene()
    one = augment(image, target, 32, AugmentConfig(), torch.Generator().manual_seed(0))
    other = augment(image, target, (32, 32), AugmentConfig(), torch.Generator().manual_seed(0), spacing=(0.2, 0.2))
    assert torch.equal(one.images, other.images)
    cube = image[..., None] * torch.linspace(0, 1, 64)
    made = augment(cube, torch.zeros(1, 64, 64, 64, dtype=torch.uint8), 32, ALL, torch.Generator().manual_seed(0))
    assert made.images.shape == (1, 1, 32, 32, 32)


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
    assert max(min(float((e - i).abs().max()) for e in eight) for i in images[:, 0]) < 1e-4


@pytest.mark.parametrize("change", ["brightness", "contrast", "gamma", "noise", "blur", "clahe", "low_resolution"])
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
    geometry = {"brightness": 0, "contrast": 0, "gamma": 0, "noise": 0, "blur": 0, "copy_paste": 0.7}
    plain = run(config.replace(**geometry), guide=image)
    assert torch.allclose(plain[0], plain[2], atol=1e-5)


def test_objects_are_pasted_into_the_plain_image_too():
    images = torch.arange(4.0).reshape(4, 1, 1, 1).expand(4, 1, 48, 48).contiguous()
    targets = torch.zeros(4, 48, 48, dtype=torch.uint8)
    targets[:, 20:26, 20:26] = 1
    made = augment(images, targets, 32, STILL.replace(copy_paste=1), torch.Generator().manual_seed(0))
    assert torch.equal(made.images, made.plain)
    assert all(len(patch.unique()) == 2 for patch in made.plain)
    assert (made.targets.flatten(1).long().sum(dim=1) > 36).all()


def test_the_same_seed_changes_the_same():
    for config in (AugmentConfig(), ALL):
        first, again, other = run(config, seed=5), run(config, seed=5), run(config, seed=6)
        assert torch.equal(first[0], again[0])
        assert torch.equal(first[1], again[1])
        assert not torch.equal(first[0], other[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_types_are_kept(dtype):
    image, target = scene()
    made = augment(
        image.to(dtype).repeat(2, 3, 1, 1), target.repeat(2, 1, 1), 32, ALL, torch.Generator().manual_seed(0),
        image.float().repeat(2, 1, 1, 1),
    )  # fmt: skip
    assert (made.images.dtype, made.plain.dtype) == (dtype, dtype)
    assert made.guide.dtype == torch.float32
    assert made.targets.dtype == torch.uint8
    assert made.images.isfinite().all()


NUMBERS = {
    name: limit.le
    for name, field in AugmentConfig.model_fields.items()
    for limit in field.metadata
    if hasattr(limit, "le")
}
SWITCHES = [name for name in AugmentConfig.model_fields if name not in NUMBERS]
CONFIGS = st.fixed_dictionaries(
    {
        **{name: st.one_of(st.just(0.0), st.floats(0, most)) for name, most in NUMBERS.items()},
        **{name: st.booleans() for name in SWITCHES},
        "flip": st.sampled_from([True, False, "left-right", "up-down"]),
    }
).map(lambda values: AugmentConfig(**values))
PATCHES = st.sampled_from(
    [
        ((16, 16), None), ((16, 24), (1, 2)), ((8, 8, 8), None), ((4, 16, 16), (3, 0.5, 0.5)),
        ((6, 12, 10), (2, 1, 1)), ((1, 16, 16), None), ((9, 8, 8), (1, 4, 1)),
    ]
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(config=CONFIGS, shape=PATCHES, channels=st.integers(1, 4), seed=st.integers(0, 1000), empty=st.booleans(),
       instances=st.booleans())  # fmt: skip
def test_any_configuration_gives_numbers_and_labels_that_were_there(config, shape, channels, seed, empty, instances):
    patch, spacing = shape
    window = window_size(patch, config, spacing)
    assert all(w >= p for w, p in zip(window, patch, strict=True))
    rng = np.random.default_rng(seed)
    images = torch.tensor(rng.normal(0, 0.8, (3, channels, *window)), dtype=torch.float32)
    known = rng.choice([0, 1, 2, IGNORE], (3, *window)) if not empty else np.full((3, *window), IGNORE)
    targets = torch.tensor(known, dtype=torch.uint8)
    made = augment(
        images, targets, patch, config, torch.Generator().manual_seed(seed), images[:, :1], spacing=spacing,
        frequencies=torch.tensor([100, 10, 0]), instances=instances,
    )  # fmt: skip
    assert made.images.shape == made.plain.shape == (3, channels, *patch)
    assert made.targets.shape == (3, *patch)
    assert made.images.isfinite().all()
    assert made.plain.abs().max() <= images.abs().max() + 1e-4
    assert torch.allclose(made.guide, made.plain[:, :1])
    assert set(made.targets.unique().tolist()) <= set(targets.unique().tolist())


def test_rarity_is_the_root_of_how_much_commoner_the_commonest_class_is():
    targets = torch.full((5, 4, 4), IGNORE, dtype=torch.uint8)
    targets[0] = 0
    targets[1, 0, 0] = 1
    targets[2, 0, 0] = 2
    targets[3, 0, :3] = torch.tensor([0, 1, 3])
    found = rarities(targets, torch.tensor([900, 100, 1, 0]))
    assert found.tolist() == pytest.approx([1, 3, 4, 4, 1])
    assert torch.allclose(rarities(targets, torch.tensor([0.9, 0.1, 0.001, 0])), found)
    assert rarities(targets[:2]).tolist() == pytest.approx([1, 4])  # 16 pixels to one, in the batch itself
    assert rarities(targets[4:]).tolist() == [1]


def test_patches_with_rare_classes_are_changed_more_often():
    images = torch.zeros(400, 1, 16, 16)
    targets = torch.zeros(400, 16, 16, dtype=torch.uint8)
    targets[200:, 8, 8] = 1
    shares = {}
    for on in (False, True):
        config = STILL.replace(brightness=0.5, probability=0.25, class_frequency=on)
        made = augment(
            images, targets, 16, config, torch.Generator().manual_seed(0), frequencies=torch.tensor([9.0, 1.0])
        )
        changed = (made.images != 0).flatten(1).any(dim=1).float()
        shares[on] = changed[:200].mean(), changed[200:].mean()
    assert shares[False] == pytest.approx((0.25, 0.25), abs=0.08)
    assert shares[True] == pytest.approx((0.25, 1 - 0.75**3), abs=0.08)


def test_new_changes_are_off_unless_asked_for():
    asked = {
        "perspective",
        "piecewise",
        "hue",
        "saturation",
        "channel_shuffle",
        "clahe",
        "low_resolution",
        "copy_paste",
    }
    assert all(getattr(AugmentConfig(), name) == 0 for name in asked)
    assert not AugmentConfig().class_frequency
    for name, most in NUMBERS.items():
        with pytest.raises(ConfigError, match=name):
            AugmentConfig().replace(**{name: most * 1.01})
        with pytest.raises(ConfigError, match=name):
            AugmentConfig().replace(**{name: -0.01})
    assert all(field.description for field in AugmentConfig.model_fields.values())
