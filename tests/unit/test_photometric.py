import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage import exposure

from napari_segnet.config import AugmentConfig
from napari_segnet.training.clahe import equalize
from napari_segnet.training.draws import Draws
from napari_segnet.training.photometric import change_intensities

STILL = AugmentConfig(brightness=0, contrast=0, gamma=0, noise=0, blur=0, probability=1)
CHANGES = {
    "brightness": {"brightness": 0.5},
    "contrast": {"contrast": 0.5},
    "gamma": {"gamma": 0.5},
    "hue": {"hue": 90},
    "saturation": {"saturation": 0.8},
    "channel_shuffle": {"channel_shuffle": 1},
    "clahe": {"clahe": 1},
    "low_resolution": {"low_resolution": 0.8},
    "noise": {"noise": 0.3},
    "blur": {"blur": 2},
}
LUMA = torch.tensor([0.299, 0.587, 0.114])


def picture(channels=3, sides=(24, 24), copies=1, seed=0):
    """Return images of smooth structures and fine grain, -1 .. 1."""
    rng = np.random.default_rng(seed)
    rough = rng.normal(0, 1, (channels, *sides))
    image = ndimage.gaussian_filter(rough, (0, *[3] * len(sides))) * 6 + rough * 0.2
    image = torch.tensor(np.clip(image, -1, 1), dtype=torch.float32)
    return image.repeat(copies, *[1] * image.ndim)


def change(images, seed=0, spacing=None, rarity=None, **changes):
    config = STILL.replace(**changes)
    draws = Draws(torch.Generator().manual_seed(seed), len(images), config.probability, rarity)
    return change_intensities(images, config, draws, spacing)


def per_patch(values):
    return values.flatten(1)


@pytest.mark.parametrize("sides", [(24, 24), (8, 20, 20)], ids=["plane", "volume"])
@pytest.mark.parametrize("channels", [1, 2, 3, 5])
@pytest.mark.parametrize("name", CHANGES)
def test_each_changes_intensities_where_it_can_and_each_patch_its_own_way(name, channels, sides):
    images = picture(channels, sides, copies=6)
    changed = change(images, seed=1, **CHANGES[name])
    assert changed.shape == images.shape
    assert torch.isfinite(changed).all()
    needs = {"hue": channels == 3, "saturation": channels == 3, "channel_shuffle": channels > 1}
    if needs.get(name, True):
        assert not torch.allclose(changed, images, atol=1e-3)
        assert any(not torch.allclose(changed[0], other, atol=1e-3) for other in changed[1:])
    else:
        assert torch.equal(changed, images)


@pytest.mark.parametrize("name", CHANGES)
def test_the_share_of_changed_patches_is_the_probability(name):
    images = picture(3, (16, 16), copies=600)
    own_share = name in ("channel_shuffle", "clahe")
    asked = {name: 0.3} if own_share else CHANGES[name]
    changed = change(images, **asked, probability=1 if own_share else 0.3)
    share = ((changed - images).abs().flatten(1).amax(dim=1) > 1e-4).float().mean()
    # One of six orders of three channels is the old one.
    assert share == pytest.approx(0.3 * (5 / 6 if name == "channel_shuffle" else 1), abs=0.06)


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_off_changes_nothing_and_draws_nothing(name):
    images = picture(3, copies=4)
    config = STILL.replace(**{name: 0})
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    assert change_intensities(images, config, Draws(generator, 4, 1)) is images
    assert torch.equal(generator.get_state(), before)


def test_brightness_adds_one_number_to_a_patch():
    images = picture(copies=200)
    added = per_patch(change(images, brightness=0.2) - images)
    assert torch.allclose(added, added[:, :1].expand_as(added), atol=1e-6)
    assert 0.36 < added.max() <= 0.4
    assert -0.4 <= added.min() < -0.36


def test_contrast_stretches_around_the_mean_of_each_channel():
    images = picture(copies=200)
    changed = change(images, contrast=0.5)
    assert torch.allclose(changed.mean(dim=(2, 3)), images.mean(dim=(2, 3)), atol=1e-5)
    ratio = changed.std(dim=(2, 3)) / images.std(dim=(2, 3))
    assert torch.allclose(ratio, ratio[:, :1].expand_as(ratio), atol=1e-5)
    assert 0.5 <= ratio.min() < 0.55
    assert 1.45 < ratio.max() <= 1.5


def test_gamma_keeps_the_limits_the_order_and_what_lies_outside():
    line = torch.linspace(-1.5, 1.5, 301).reshape(1, 1, 1, -1).repeat(100, 1, 1, 1)
    changed = change(line, gamma=0.5)
    outside = line.abs() >= 1
    assert torch.allclose(changed[outside], line[outside], atol=2e-3)
    assert (changed.diff(dim=-1) > -1e-6).all()
    middle = changed[:, 0, 0, 150]
    assert 2 * 0.5 ** np.exp(0.5) - 1 - 1e-5 <= middle.min() < -0.3
    assert 0.2 < middle.max() <= 2 * 0.5 ** np.exp(-0.5) - 1 + 1e-5


def test_hue_and_saturation_keep_brightness_and_grey():
    images = picture(copies=100)
    changed = change(images, hue=180, saturation=0.9)
    luma = torch.einsum("c,bc...->b...", LUMA, changed)
    assert torch.allclose(luma, torch.einsum("c,bc...->b...", LUMA, images), atol=1e-4)
    grey = picture(1, copies=100).expand(-1, 3, -1, -1)
    assert torch.allclose(change(grey, hue=180, saturation=0.9), grey, atol=2e-3)


def colours(images):
    """Return hue, degrees, and saturation, in the plane of the opponent colours."""
    i = torch.einsum("c,bc...->b...", torch.tensor([0.5959, -0.2746, -0.3213]), images)
    q = torch.einsum("c,bc...->b...", torch.tensor([0.2115, -0.5227, 0.3112]), images)
    return torch.rad2deg(torch.atan2(q, i)).flatten(1), torch.hypot(q, i).flatten(1)


def test_hue_turns_all_colours_of_a_patch_by_one_angle_and_saturation_stretches_them():
    images = picture(copies=200)
    hue, saturation = colours(images)
    turned_hue, same_saturation = colours(change(images, hue=60))
    angle = (turned_hue - hue + 180) % 360 - 180
    strong = saturation > 0.1
    spread = (angle - angle.median(dim=1, keepdim=True).values).abs()
    assert spread[strong].max() < 0.1
    assert torch.allclose(same_saturation, saturation, atol=1e-4)
    assert 54 < angle[strong].max() <= 60.1
    assert -60.1 <= angle[strong].min() < -54
    same_hue, stretched = colours(change(images, saturation=0.5))
    assert torch.allclose(same_hue[strong], hue[strong], atol=0.1)
    ratio = (stretched / saturation)[strong]
    assert 0.499 <= ratio.min() < 0.53
    assert 1.47 < ratio.max() <= 1.501


def test_shuffled_channels_are_the_same_channels():
    images = picture(4, copies=300)
    changed = change(images, channel_shuffle=1)
    orders = set()
    for image in changed:
        same = [[torch.equal(a, b) for b in images[0]] for a in image]
        assert [sum(row) for row in same] == [1] * 4
        orders.add(tuple(row.index(True) for row in same))
    assert len({o for order in orders for o in [order]}) == 24


def test_low_resolution_takes_detail_and_keeps_the_rest():
    images = picture(1, (48, 48), copies=60)
    changed = change(images, low_resolution=0.8)
    fine, fine_before = changed.diff(dim=-1).std(dim=(1, 2, 3)), images.diff(dim=-1).std(dim=(1, 2, 3))
    assert (fine < fine_before * 1.02).all()
    assert fine.min() < 0.5 * fine_before.min()
    smooth = torch.linspace(-1, 1, 48).reshape(1, 1, 1, 48).expand(20, 1, 48, 48).contiguous()
    assert (change(smooth, low_resolution=0.5) - smooth)[..., 4:-4].abs().max() < 0.06


def test_a_coarse_axis_keeps_its_resolution():
    images = picture(1, (12, 24, 24), copies=20)
    changed = change(images, low_resolution=0.6, spacing=(3, 1, 1))
    steps = torch.stack([changed.diff(dim=d).std() / images.diff(dim=d).std() for d in (2, 3, 4)])
    along = change(
        images[:, :, :, :1, :1].expand(-1, -1, -1, 24, 24).contiguous(), low_resolution=0.6, spacing=(3, 1, 1)
    )
    assert torch.allclose(along, images[:, :, :, :1, :1].expand_as(along), atol=1e-4)
    assert steps[1:].max() < 0.9


@pytest.mark.parametrize(("sides", "spacing"), [((33, 33), None), ((17, 17, 17), (2, 1, 1)), ((9, 17, 17), (4, 1, 1))])
def test_a_blur_is_a_gaussian_of_the_same_physical_size_along_all_axes(sides, spacing):
    spot = torch.zeros(40, 2, *sides)
    spot[:, :, *(side // 2 for side in sides)] = 1
    changed = change(spot, blur=1.5, spacing=spacing)
    assert torch.allclose(changed.flatten(2).sum(dim=2), torch.ones(40, 2), atol=1e-4)
    width = []
    for axis, (side, step) in enumerate(zip(sides, spacing or (1,) * len(sides), strict=True)):
        line = changed.sum(dim=[d for d in range(2, changed.ndim) if d != axis + 2])[:, 0]
        width.append(((torch.arange(side) - side // 2) ** 2 * line).sum(dim=1).sqrt() * step)
    assert 1.3 < width[-1].max() <= 1.51
    assert torch.allclose(width[-1], width[-2], atol=1e-3)
    if len(sides) == 3 and spacing[0] == 2:
        wide = width[-1] > 1  # a narrow Gaussian isn't seen by coarse pixels
        assert torch.allclose(width[0][wide], width[1][wide], rtol=0.1)


def test_a_large_blur_is_not_cut_off():
    spot = torch.zeros(60, 1, 65, 65)
    spot[:, :, 32, 32] = 1
    changed = change(spot, blur=5)
    width = ((torch.arange(65) - 32) ** 2 * changed.sum(dim=2)[:, 0]).sum(dim=1).sqrt()
    assert 4.5 < width.max() < 5


def test_noise_has_no_mean_and_at_most_its_standard_deviation():
    images = torch.zeros(100, 1, 64, 64)
    changed = change(images, noise=0.1)
    assert changed.mean(dim=(1, 2, 3)).abs().max() < 0.02
    sigma = changed.std(dim=(1, 2, 3))
    assert 0.18 < sigma.max() < 0.21
    assert sigma.min() < 0.02


def test_equalizing_with_a_limit_of_one_changes_nothing():
    for sides in ((64, 70), (10, 40, 33)):
        images = picture(2, sides, copies=2) * 1.3
        assert torch.allclose(equalize(images, torch.ones(2)), images, atol=1e-5)


def test_without_tiles_and_limit_it_is_histogram_equalization():
    images = torch.tensor(np.random.default_rng(0).beta(2, 5, (1, 1, 40, 40)) * 2 - 1, dtype=torch.float32)
    ours = equalize(images, torch.tensor([1e6]))[0, 0]
    theirs = exposure.equalize_hist(images[0, 0].numpy(), nbins=128) * 2 - 1
    assert np.abs(ours.numpy() - theirs).max() < 0.06  # skimage reckons with the middles of bins
    assert torch.equal(ours.flatten().argsort(stable=True), images.flatten().argsort(stable=True))


def test_local_equalization_agrees_with_scikit_image():
    x = np.arange(128)
    image = np.clip(
        ndimage.gaussian_filter(np.random.default_rng(0).normal(0, 1.5, (128, 128)), 2) * 0.5 + x / 128 - 0.5, -1, 1
    )
    ours = equalize(torch.tensor(image, dtype=torch.float32)[None, None], torch.tensor([3.0]))[0, 0].numpy()
    # There the limit is a share of the tile's pixels in one bin.
    theirs = exposure.equalize_adapthist((image + 1) / 2, kernel_size=32, clip_limit=3 / 256)
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.97
    dark, bright = ours[:, :40], ours[:, -40:]
    assert bright.mean() - dark.mean() < 0.7 * (image[:, -40:].mean() - image[:, :40].mean())
    assert dark.std() > 1.3 * image[:, :40].std()


def test_equalizing_limits_the_contrast_of_flat_ground():
    ground = torch.full((1, 1, 64, 64), 0.2) + 0.001 * picture(1, (64, 64))
    for limit in (2.0, 4.0):
        changed = equalize(ground, torch.tensor([limit]))
        assert changed.std() / ground.std() <= limit + 0.01
        assert (changed - ground).abs().max() < 0.1


def test_equalizing_keeps_what_lies_outside_and_the_order_in_a_tile():
    images = picture(1, (32, 32)) * 2
    changed = equalize(images, torch.tensor([4.0]))
    outside = images.abs() > 1
    assert torch.allclose(changed[outside], images[outside], atol=1e-5)
    assert torch.equal(changed.flatten().argsort(stable=True)[300:700], images.flatten().argsort(stable=True)[300:700])


@pytest.mark.parametrize("name", [n for n in CHANGES if n not in ("noise", "brightness")])
def test_a_constant_patch_stays_constant_within_each_channel(name):
    images = torch.tensor([0.3, -0.2, 0.6]).reshape(1, 3, 1, 1).expand(5, 3, 40, 40).contiguous()
    changed = change(images, **CHANGES[name])
    assert torch.isfinite(changed).all()
    assert changed.std(dim=(2, 3)).max() < 1e-4


def test_rare_patches_are_changed_more_often():
    images = picture(1, (16, 16), copies=1000)
    rarity = torch.tensor([1.0, 4.0]).repeat_interleave(500)
    changed = (change(images, brightness=0.5, probability=0.2, rarity=rarity) != images).flatten(1).any(dim=1).float()
    assert changed[:500].mean() == pytest.approx(0.2, abs=0.06)
    assert changed[500:].mean() == pytest.approx(1 - 0.8**4, abs=0.06)
