"""Windows hold the positions of their pixels, so that a patch says where each of its pixels comes from."""

import itertools
import math

import numpy as np
import pytest
import torch

from napari_segnet.config import AugmentConfig
from napari_segnet.training.augment import augment
from napari_segnet.training.draws import Draws
from napari_segnet.training.geometric import is_planar, relative_spacing, resample, stretch, window_size

STILL = AugmentConfig(
    flip=False, quarter_turns=False, rotation=0, scale=0, shear=0, elastic=0, brightness=0, contrast=0, gamma=0,
    noise=0, blur=0, probability=1,
)  # fmt: skip
CHANGES = {
    "flip": {"flip": True},
    "quarter_turns": {"quarter_turns": True},
    "rotation": {"rotation": 40},
    "scale": {"scale": 0.3},
    "shear": {"shear": 20},
    "elastic": {"elastic": 3},
    "perspective": {"perspective": 0.4},
    "piecewise": {"piecewise": 3},
}
EVERYTHING = {key: value for change in CHANGES.values() for key, value in change.items()}
PLANE, CUBE, FLAT, THICK = ((24, 24), None), ((16, 16, 16), None), ((9, 20, 20), (5, 1, 1)), ((8, 16, 16), (2, 1, 1))
SHAPES = {"plane": PLANE, "oblong": ((16, 32), None), "cube": CUBE, "slabs": FLAT, "voxels": THICK}


def positions(window):
    """Return an image (axes, *window) of the positions of its pixels, and classes that say as much."""
    index = np.indices(window)
    classes = sum(factor * line for factor, line in zip((89, 13, 7), index, strict=False)) % 251
    return torch.tensor(index, dtype=torch.float32), torch.tensor(classes, dtype=torch.uint8)


def sources(changes, patch, spacing=None, copies=6, seed=0, window=None):
    """Return where pixels come from, (copies, axes, *patch), relative to the middle, and their targets and classes."""
    config = STILL.replace(**changes)
    window = window or window_size(patch, config, spacing)
    image, classes = positions(window)
    made = augment(
        image.repeat(copies, *[1] * image.ndim), classes.repeat(copies, *[1] * classes.ndim), patch, config,
        torch.Generator().manual_seed(seed), spacing=spacing,
    )  # fmt: skip
    middle = (torch.tensor(window) - 1).float() / 2
    return made.images - middle.reshape(-1, *[1] * len(window)), made.targets, classes, middle


def corners(places):
    """Return the positions of the corners of patches: (copies, corners, axes)."""
    ends = itertools.product((0, -1), repeat=places.shape[1])
    return torch.stack([places[:, :, *end] for end in ends], 1)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("change", [*CHANGES, "everything"])
def test_targets_come_from_the_very_pixel_that_the_image_shows(change, shape):
    places, targets, classes, middle = sources(CHANGES.get(change, EVERYTHING), *shape)
    exact = places + middle.reshape(-1, *[1] * len(middle))
    # Halfway between two pixels either is the nearest.
    clear = ((exact - exact.floor() - 0.5).abs() > 1e-3).all(dim=1)
    nearest = exact.round().long().unbind(1)
    assert torch.equal(targets[clear], classes[nearest][clear])
    assert clear.float().mean() > 0.98
    assert not torch.equal(places[0], places[1])


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_without_changes_it_is_the_middle_of_the_window(shape):
    patch, spacing = shape
    window = tuple(side + 6 for side in patch)
    places, targets, classes, middle = sources({}, patch, spacing, window=window)
    inside = tuple(slice(3, 3 + side) for side in patch)
    image, _ = positions(window)
    assert torch.allclose(places[0] + middle.reshape(-1, *[1] * len(patch)), image[:, *inside], atol=1e-4)
    assert torch.equal(targets[0], classes[inside])


def test_a_rotation_keeps_physical_distances_and_stays_below_its_limit():
    patch, spacing = (16, 24, 24), (2, 1, 1)
    places = sources({"rotation": 30}, patch, spacing, copies=20, window=(60, 80, 80))[0]
    still = sources({}, patch, spacing, copies=1, window=(60, 80, 80))[0]
    steps = torch.tensor(relative_spacing(spacing, 3))
    turned, straight = corners(places) * steps, corners(still) * steps
    assert torch.allclose(torch.cdist(turned, turned), torch.cdist(straight, straight), atol=1e-2)
    plane = sources({"rotation": 30}, (24, 24), copies=100, window=(60, 60))[0]
    along = plane[:, :, 0, -1] - plane[:, :, 0, 0]
    angles = torch.rad2deg(torch.atan2(along[:, 0], along[:, 1]))
    assert 25 < angles.max() <= 30.01
    assert -30.01 <= angles.min() < -25


def test_a_scale_changes_all_physical_lengths_alike():
    places = sources({"scale": 0.3}, (16, 24, 24), (2, 1, 1), copies=40, window=(40, 60, 60))[0]
    still = sources({}, (16, 24, 24), (2, 1, 1), copies=1, window=(40, 60, 60))[0]
    ratio = corners(places) / corners(still)
    assert torch.allclose(ratio, ratio[:, :1, :1].expand_as(ratio), atol=1e-3)
    assert 0.7 <= ratio.min() < 0.78
    assert 1.22 < ratio.max() <= 1.3001


def test_a_shear_keeps_areas_and_its_angle():
    places = sources({"shear": 20}, (24, 24), copies=40, window=(60, 60))[0]
    x = places[:, :, 0, -1] - places[:, :, 0, 0]
    y = places[:, :, -1, 0] - places[:, :, 0, 0]
    assert torch.allclose(x[:, 1] * y[:, 0] - x[:, 0] * y[:, 1], torch.tensor(23.0**2), rtol=1e-4)
    angle = torch.rad2deg(torch.atan2(y[:, 1], y[:, 0])).abs()
    assert 15 < angle.max() <= 20.01


@pytest.mark.parametrize("shape", [PLANE, CUBE], ids=["plane", "cube"])
def test_a_perspective_moves_corners_within_its_limit_and_keeps_lines_straight(shape):
    patch = shape[0]
    window = tuple(3 * side for side in patch)
    places = sources({"perspective": 0.5}, patch, copies=60, window=window)[0]
    still = sources({}, patch, copies=1, window=window)[0]
    moved = (corners(places) - corners(still)).norm(dim=2) / corners(still).norm(dim=2)
    assert 0.25 < moved.max() <= 0.5
    line = places[:, :, *[torch.arange(patch[0])] * len(patch)]  # a diagonal
    along = line[:, :, -1:] - line[:, :, :1]
    off = line - line[:, :, :1]
    off = off - along * (off * along).sum(dim=1, keepdim=True) / (along**2).sum(dim=1, keepdim=True)
    assert off.abs().max() < 1e-3
    steps = line.diff(dim=2).norm(dim=1)
    assert (steps[:, 0] / steps[:, -1] - 1).abs().max() > 0.2  # near things are larger


@pytest.mark.parametrize("shape", [PLANE, CUBE], ids=["plane", "cube"])
def test_pieces_are_linear_within_cells_and_never_fold(shape):
    patch = shape[0]
    places = sources({"piecewise": 50}, patch, copies=20)[0]
    along_x = places[:, -1].diff(dim=-1)
    # Mirroring at the border of the window turns the direction.
    inside = (places.abs() < (torch.tensor(patch) / 2 - 1).reshape(-1, *[1] * len(patch))).all(dim=1)
    assert (along_x[inside[..., 1:] & inside[..., :-1]] > 0).all()
    gentle = sources({"piecewise": 0.5}, patch, copies=20)[0]
    bent = gentle.diff(dim=-1).diff(dim=-1).abs() > 1e-3
    columns = bent.any(dim=tuple(range(bent.ndim - 1)))
    assert 3 <= columns.sum() <= 6  # at the three lines between the four cells, and nowhere else
    assert (gentle - sources({}, patch, copies=1, window=window_size(patch, STILL.replace(piecewise=1)))[0]).std() > 0.1


def test_bends_are_as_large_in_physical_space_along_all_axes():
    patch, spacing = (16, 32, 32), (2, 1, 1)
    window = (40, 60, 60)
    bent = sources({"elastic": 3}, patch, spacing, copies=60, window=window)[0]
    shift = bent - sources({}, patch, spacing, copies=1, window=window)[0]
    size = shift.std(dim=(0, 2, 3, 4)) * torch.tensor([2.0, 1, 1])
    assert torch.allclose(size / size.mean(), torch.ones(3), atol=0.15)


def signed_permutations(places):
    """Return the turns and mirrors that patches have undergone, as whole matrices."""
    axes = places.shape[1]
    start = places[:, :, *[0] * axes]
    units = [places[:, :, *(1 if i == j else 0 for i in range(axes))] - start for j in range(axes)]
    matrices = torch.stack(units, -1)
    assert torch.allclose(matrices, matrices.round(), atol=1e-4)
    return {tuple(m.flatten().int().tolist()) for m in matrices.round()}


@pytest.mark.parametrize(
    ("patch", "spacing", "number"),
    [
        ((8, 8), None, 8),
        ((8, 12), None, 4),
        ((8, 8, 8), None, 48),
        ((8, 8, 8), (2, 1, 1), 16),
        ((8, 8, 8), (5, 1, 1), 16),
    ],
)
def test_flips_and_quarter_turns_make_every_position_that_fits_and_no_other(patch, spacing, number):
    places = sources({"flip": True, "quarter_turns": True}, patch, spacing, copies=1500)[0]
    assert len(signed_permutations(places)) == number


@pytest.mark.parametrize(("flip", "axis"), [("left-right", 1), ("up-down", 0)])
@pytest.mark.parametrize(("sides", "spacing"), [((8, 8), None), ((8, 8, 8), None), ((8, 8, 8), (5, 1, 1))])
def test_patches_can_be_mirrored_along_one_axis_alone(flip, axis, sides, spacing):
    found = signed_permutations(sources({"flip": flip}, sides, spacing, copies=200)[0])
    as_it_is, mirrored = np.eye(len(sides), dtype=int), np.eye(len(sides), dtype=int)
    row = axis + len(sides) - 2
    mirrored[row, row] = -1
    assert found == {tuple(as_it_is.ravel().tolist()), tuple(mirrored.ravel().tolist())}


def test_turns_without_flips_are_never_mirrored():
    for patch, spacing, number in (((8, 8), None, 4), ((8, 8, 8), None, 24), ((8, 8, 8), (5, 1, 1), 4)):
        found = signed_permutations(sources({"quarter_turns": True}, patch, spacing, copies=800)[0])
        sides = len(patch)
        assert len(found) == number
        assert {round(float(np.linalg.det(np.reshape(m, (sides, sides))))) for m in found} == {1}


@pytest.mark.parametrize(("patch", "spacing"), [((8, 16, 16), (4, 1, 1)), ((4, 16, 16), None)])
def test_flat_volumes_are_changed_in_their_planes_only(patch, spacing):
    assert is_planar(patch, relative_spacing(spacing, 3))
    places = sources(EVERYTHING, patch, spacing, copies=8)[0]
    z = torch.arange(patch[0]) - (patch[0] - 1) / 2
    upright, inverted = z.reshape(-1, 1, 1), -z.reshape(-1, 1, 1)
    signs = [bool((p[0] - upright).abs().max() < 1e-4) for p in places]
    assert all(up or (p[0] - inverted).abs().max() < 1e-4 for p, up in zip(places, signs, strict=True))
    assert 0 < sum(signs) < 8
    assert torch.allclose(places[:, 1:], places[:, 1:, :1].expand_as(places[:, 1:]), atol=1e-4)  # all planes alike


@pytest.mark.parametrize("spacing", [(3, 1, 1), (1, 1, 1), None])
def test_other_volumes_are_turned_out_of_their_planes(spacing):
    places = sources({"rotation": 40}, (16, 16, 16), spacing, copies=8)[0]
    assert places[:, 0, 8].std(dim=(1, 2)).min() > 0.1


def test_the_coarse_axis_may_be_any():
    places = sources({"rotation": 40}, (16, 16, 16), (1, 1, 8), copies=4)[0]
    x = torch.arange(16) - 7.5
    assert torch.allclose(places[:, 2], x.expand_as(places[:, 2]), atol=1e-3)
    assert places[:, 0, 8].std(dim=(1, 2)).max() > 1


def test_the_window_has_room_for_a_turned_patch():
    assert window_size(128, STILL) == 128
    assert window_size(128, AugmentConfig()) == 168
    assert window_size((128, 128), AugmentConfig()) == (168, 168)
    assert window_size((64, 64, 64), AugmentConfig()) == (84, 84, 84)
    assert window_size((32, 128, 128), AugmentConfig(), (4, 1, 1)) == (32, 168, 168)
    assert window_size((17, 33, 33), AugmentConfig(), (1, 1, 1))[0] % 2 == 1
    z, y, x = window_size((32, 64, 64), AugmentConfig(), (1, 1, 1))
    assert z > 32 * 1.3 + (64 - 32) * math.sin(math.radians(25)) - 1
    assert (y, x) == (84, 84)


@pytest.mark.parametrize("patch", [(128, 128), (32, 32, 32), (24, 48, 48)])
def test_most_pixels_of_a_default_patch_are_inside_its_window(patch):
    config = AugmentConfig(brightness=0, contrast=0, gamma=0, noise=0, blur=0)
    window = window_size(patch, config)
    inside = torch.ones(1, 1, *(3 * side for side in window)) * -1
    inside[:, :, *(slice(side, 2 * side) for side in window)] = 1
    made = resample(
        inside.repeat(12, *[1] * inside[0].ndim), torch.zeros(12, *inside.shape[2:], dtype=torch.uint8), patch,
        (1.0,) * len(patch), config, Draws(torch.Generator().manual_seed(0), 12, 0.6),
    )[0]  # fmt: skip
    assert (made > 0).float().mean() > 0.93


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_constant_image_stays_constant(shape):
    patch, spacing = shape
    config = STILL.replace(**EVERYTHING)
    window = window_size(patch, config, spacing)
    made = augment(
        torch.full((3, 2, *window), 0.7), torch.full((3, *window), 255, dtype=torch.uint8), patch, config,
        torch.Generator().manual_seed(0), spacing=spacing,
    )  # fmt: skip
    assert torch.allclose(made.images, torch.tensor(0.7), atol=1e-5)
    assert (made.targets == 255).all()


def test_stretching_agrees_with_torch():
    values = torch.randn(2, 3, 5, 4)
    for mode, align in itertools.product(("bilinear", "bicubic"), (True, False)):
        torch_says = torch.nn.functional.interpolate(values, size=(33, 16), mode=mode, align_corners=align)
        assert torch.allclose(stretch(values, (33, 16), mode, align_corners=align), torch_says, atol=1e-5)
    volume = torch.randn(1, 2, 3, 4, 5)
    torch_says = torch.nn.functional.interpolate(volume, size=(7, 9, 12), mode="trilinear", align_corners=True)
    assert torch.allclose(stretch(volume, (7, 9, 12), "bilinear", align_corners=True), torch_says, atol=1e-5)


@pytest.mark.parametrize("spacing", [(1, 1), (1, 1, 0), (-1, 1, 1)])
def test_spacing_that_cannot_be_is_refused(spacing):
    with pytest.raises(ValueError, match="spacing"):
        relative_spacing(spacing, 3)
