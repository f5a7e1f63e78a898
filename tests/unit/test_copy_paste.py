import numpy as np
import pytest
import torch
from scipy import ndimage

from napari_segnet.config import DataConfig
from napari_segnet.data.labels import IGNORE, encode
from napari_segnet.training.copy_paste import paste_objects
from napari_segnet.training.draws import Draws


def world(sides, seed, classes=2, objects=6):
    """Return a label image of balls, numbered, and the class of each."""
    rng = np.random.default_rng(seed)
    numbers = np.zeros(sides, np.int32)
    grid = np.indices(sides)
    for number in range(1, objects + 1):
        centre = [rng.uniform(0, side) for side in sides]
        distance = sum((line - c) ** 2 for line, c in zip(grid, centre, strict=True))
        numbers[distance < rng.uniform(3, 5) ** 2] = number
    kinds = np.array([0, *rng.integers(1, classes, objects)]) if classes > 2 else np.array([0] + [1] * objects)
    return numbers, kinds


def batch(sides, kind, size=6):
    """Return images that show each pixel's patch and place, and targets."""
    targets = []
    for seed in range(size):
        numbers, kinds = world(sides, seed, classes=4)
        if kind == "instances":
            targets.append(encode(numbers, DataConfig(task="instances", unlabelled="background")))
        else:
            targets.append(kinds[numbers].astype(np.uint8))
    target = torch.from_numpy(np.stack(targets))
    return marked(target), target


def marked(targets):
    """Return images of two channels: the number of the patch, and the pixel's place in it."""
    place = torch.arange(targets[0].numel()).reshape(targets.shape[1:]).float()
    patch = torch.arange(len(targets)).float().reshape(-1, *[1] * place.ndim)
    return torch.stack([patch.expand(targets.shape), place.expand(targets.shape)], 1)


def paste(values, targets, share=1.0, seed=0, **known):
    return paste_objects(values, targets, share, Draws(torch.Generator().manual_seed(seed), len(targets), 1), **known)


SIDES = [(40, 40), (14, 24, 24)]


@pytest.mark.parametrize("sides", SIDES, ids=["plane", "volume"])
@pytest.mark.parametrize("kind", ["semantic", "instances"])
def test_pixels_and_targets_are_pasted_together(sides, kind):
    values, targets = batch(sides, kind)
    pasted, changed = paste(values, targets, instances=kind == "instances")
    from_other = pasted[:, 0] != values[:, 0]
    assert (from_other.flatten(1).sum(dim=1) > 0).float().mean() > 0.8
    for host in range(len(targets)):
        mine = from_other[host]
        if not mine.any():
            continue
        donor, place = pasted[host, 0][mine].long(), pasted[host, 1][mine].long()
        origin = targets.flatten(1)[donor, place]
        assert len(donor.unique()) == 1
        assert donor[0] != host
        assert (origin > 0).all()
        # Where two pasted objects meet, the lower one gets a boundary.
        same = changed[host][mine] == origin
        assert same.all() if kind == "semantic" else same.float().mean() > 0.9
    untouched = ~from_other & (changed != targets)
    assert kind == "instances" or not untouched.any()


@pytest.mark.parametrize("sides", SIDES, ids=["plane", "volume"])
def test_whole_objects_are_pasted_and_those_at_the_border_stay_there(sides):
    values, targets = batch(sides, "semantic")
    moved = 0
    for seed in range(6):
        pasted, _ = paste(values, targets, seed=seed)
        for host in range(len(targets)):
            mine = pasted[host, 0] != values[host, 0]
            if not mine.any():
                continue
            donor = int(pasted[host, 0][mine][0])
            here = np.array(np.nonzero(mine.numpy()))
            place = pasted[host, 1][mine].long().numpy()
            there = np.array(np.unravel_index(place, sides))
            numbers = ndimage.label(
                (targets[donor] == targets[donor].flatten()[place[0]]).numpy(), np.ones((3,) * len(sides))
            )[0]
            for number in np.unique(numbers[tuple(there)]):
                of_it = numbers[tuple(there)] == number
                shifts = np.unique((here - there)[:, of_it], axis=1)
                assert shifts.shape[1] == 1  # moved as one
                lines = np.nonzero(numbers == number)
                for axis, side in enumerate(sides):
                    if lines[axis].min() == 0 or lines[axis].max() == side - 1:
                        assert shifts[axis, 0] == 0
                moved += bool(shifts.any())
    assert moved > 3


@pytest.mark.parametrize("sides", SIDES, ids=["plane", "volume"])
def test_objects_keep_a_whole_boundary(sides):
    values, targets = batch(sides, "instances")
    _, changed = paste(values, targets, instances=True)
    for before, after in zip(targets.numpy(), changed.numpy(), strict=True):
        assert set(np.unique(after)) <= {0, 1, 2}
        # As `encode` makes it: no interior next to background.
        for target in (before, after):
            near_ground = ndimage.binary_dilation(target == 0, np.ones((3,) * len(sides)))
            assert not (near_ground & (target == 1)).any()


def block(size, *corner, side=30):
    labels = np.zeros((side, side), np.int32)
    labels[corner[0] : corner[0] + size, corner[1] : corner[1] + size] = 1
    return labels


def test_where_an_object_is_covered_in_part_both_sides_of_the_seam_are_boundary():
    config = DataConfig(task="instances", unlabelled="background")
    host = encode(np.ones((30, 30), np.int32), config)  # all interior
    donor = encode(block(8, 10, 10), config)
    targets = torch.from_numpy(np.stack([host, donor]))
    values = marked(targets)
    for seed in range(10):
        pasted, changed = paste(values, targets, seed=seed, instances=True)
        mine = (pasted[0, 0] == 1).numpy()
        top, left = np.argwhere(mine).min(axis=0)
        both = np.ones((30, 30), np.int32)
        both[top : top + 8, left : left + 8] = 2
        assert mine.sum() == 64
        assert np.array_equal(changed[0].numpy(), encode(both, config))


def test_next_to_a_pasted_object_nobody_knows_what_nobody_knew_there():
    config = DataConfig(task="instances", unlabelled="ignore")
    painted = np.zeros((30, 30), np.int32)
    painted[10:20, 10:20] = 2  # an object of which nobody says where it ends
    targets = torch.from_numpy(np.stack([np.zeros((30, 30), np.uint8), encode(painted, config)]))
    values = marked(targets)
    pasted, changed = paste(values, targets, instances=True)
    mine = (pasted[0, 0] == 1).numpy()
    assert mine.sum() == 64  # the labelled pixels, without the unknown rim
    assert (changed[0].numpy()[mine] == 1).all()
    rim = ndimage.binary_dilation(mine, np.ones((3, 3))) & ~mine
    assert (changed[0].numpy()[rim] == IGNORE).all()
    assert (changed[0].numpy()[~rim & ~mine] == 0).all()


def test_unlabelled_pixels_are_never_pasted_and_strokes_are_no_objects():
    donor = np.full((30, 30), 0, np.uint8)
    donor[8:20, 8:20] = 2
    donor[12:14, 12:14] = IGNORE  # a hole that nobody labelled
    stroke = np.full((30, 30), IGNORE, np.uint8)
    stroke[5, 3:25] = 1
    targets = torch.from_numpy(np.stack([np.zeros((30, 30), np.uint8), donor]))
    pasted, changed = paste(marked(targets), targets)
    assert int((pasted[0, 0] == 1).sum()) == 140
    assert set(np.unique(changed[0])) == {0, 2}
    targets = torch.from_numpy(np.stack([np.zeros((30, 30), np.uint8), stroke]))
    pasted, changed = paste(marked(targets), targets)
    assert torch.equal(changed, targets)
    assert torch.equal(pasted, marked(targets))


def test_ground_is_no_object():
    targets = torch.zeros(2, 20, 20, dtype=torch.uint8)
    targets[1, :12] = 1  # more than half
    assert torch.equal(paste(marked(targets), targets)[1], targets)
    targets[1, 8:] = 0
    assert not torch.equal(paste(marked(targets), targets)[1], targets)


def test_without_a_background_class_the_first_class_is_an_object_too():
    targets = torch.ones(2, 20, 20, dtype=torch.uint8)
    targets[1, 5:9, 5:9] = 0
    assert torch.equal(paste(marked(targets), targets, first_class=2)[1], targets)
    assert int((paste(marked(targets), targets, first_class=0)[1][0] == 0).sum()) == 16


@pytest.mark.parametrize("kind", ["semantic", "instances"])
def test_nothing_happens_where_there_is_nothing_to_paste(kind):
    empty = torch.full((3, 16, 16), IGNORE, dtype=torch.uint8)
    values, targets = paste(marked(empty), empty, instances=kind == "instances")
    assert torch.equal(targets, empty)
    assert torch.equal(values, marked(empty))
    values, targets = batch((20, 20), kind, size=1)
    assert torch.equal(paste(values, targets)[1], targets)


def test_the_share_of_patches_is_kept_and_the_seed_decides():
    values, targets = batch((24, 24), "semantic", size=120)
    pasted, changed = paste(values, targets, share=0.3)
    share = (pasted[:, 0] != values[:, 0]).flatten(1).any(dim=1).float().mean()
    assert share == pytest.approx(0.3, abs=0.1)
    again = paste(values, targets, share=0.3)
    assert torch.equal(again[0], pasted)
    assert torch.equal(again[1], changed)
    assert not torch.equal(paste(values, targets, share=0.3, seed=1)[0], pasted)
    assert torch.equal(values, marked(targets))  # what was given stays as it was
