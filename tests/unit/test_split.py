import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_segnet.data.labels import IGNORE
from napari_segnet.data.normalization import Normalization
from napari_segnet.data.sampling import ImageCache, PatchSampler, mirror, read_window, validation_windows
from napari_segnet.data.split import Region, split


class Plane:
    """A plane of an image that says of each pixel where it is."""

    def __init__(self, height, width):
        self._image = np.arange(height * width, dtype=np.float64).reshape(1, height, width)

    def image(self):
        return self._image


def stripes(height, width):
    return (np.indices((height, width)).sum(axis=0) // 7 % 2).astype(np.uint8)


@settings(max_examples=25, deadline=None)
@given(height=st.integers(40, 160), width=st.integers(40, 160), fraction=st.floats(0.1, 0.45), seed=st.integers(0, 99))
def test_no_pixel_of_validation_is_ever_seen_in_training(height, width, fraction, seed):
    target = stripes(height, width)
    parts = split([target], ["a"], fraction, smallest=16, seed=seed)
    if not parts.validation:
        return
    cache = ImageCache([Plane(height, width)], Normalization(mode="none"))
    cache._limits[0] = np.zeros(1, np.float32) - 1, np.ones(1, np.float32)
    numbers = Plane(height, width).image()[0]
    held_out = set()
    for r in parts.validation:
        held_out |= set(numbers[r.slices].ravel().tolist())
    seen = set()
    for region in parts.train:
        for top, left in [(-30, -30), (0, 0), (region.shape[0] - 5, region.shape[1] - 5), (-7, region.shape[1])]:
            rows = mirror(np.arange(top, top + 64), region.shape[0]) + region.start[0]
            columns = mirror(np.arange(left, left + 64), region.shape[1]) + region.start[1]
            seen |= set(numbers[np.ix_(rows, columns)].ravel().tolist())
    assert not seen & held_out


def test_many_images_are_divided_by_image_and_every_class_is_on_both_sides():
    targets = [np.full((20, 20), n % 2, np.uint8) for n in range(10)]
    parts = split(targets, [str(n) for n in range(10)], 0.2, 8, seed=3)
    train, validation = {r.pair for r in parts.train}, {r.pair for r in parts.validation}
    assert train | validation == set(range(10))
    assert len(validation) == 2
    assert {n % 2 for n in validation} == {0, 1}
    assert {n % 2 for n in train} == {0, 1}


def test_planes_of_a_stack_stay_together():
    targets = [stripes(20, 20) for _ in range(12)]
    groups = [f"stack {n // 3}" for n in range(12)]
    parts = split(targets, groups, 0.25, 8)
    assert not {groups[r.pair] for r in parts.train} & {groups[r.pair] for r in parts.validation}
    one_stack = split(targets, ["stack"] * 12, 0.25, 8)
    assert [r.pair for r in one_stack.validation] == [9, 10, 11]


def test_few_planes_of_a_stack_are_cut_at_one_place():
    rng = np.random.default_rng(0)
    targets = [(rng.random((100, 120)) > 0.5).astype(np.uint8) for _ in range(3)]
    targets[1][:, :60] = IGNORE
    parts = split(targets, ["stack"] * 3, 0.25, 16)
    assert len({(r.start, r.stop) for r in parts.validation}) == 1
    assert len(parts.validation) == 3
    assert len({(r.start, r.stop) for r in parts.train}) == 1


def test_planes_without_annotation_are_in_neither_side():
    targets = [stripes(20, 20), np.full((20, 20), IGNORE, np.uint8)]
    parts = split(targets, ["a", "b"], 0.0, 8)
    assert [r.pair for r in parts.train] == [0]


def test_too_little_annotation_is_said_and_everything_is_used():
    target = np.full((200, 200), IGNORE, np.uint8)
    target[10, 10:90] = 0
    target[90, 10:90] = 1
    parts = split([target], ["a"], 0.2, 32)
    assert parts.validation == ()
    assert parts.train == (Region(0, (0, 0), (200, 200)),)
    assert "Too little" in parts.words


def test_a_cut_leaves_enough_of_each_class_on_both_sides():
    target = np.zeros((200, 300), np.uint8)
    target[:, 100:180] = 1
    parts = split([target], ["a"], 0.2, 32)
    (train,), (validation,) = parts.train, parts.validation
    for region in (train, validation):
        inside = target[region.slices]
        assert min(np.bincount(inside.ravel(), minlength=2)) >= 400
    assert 0.1 < validation.shape[0] * validation.shape[1] / target.size < 0.3


@given(index=st.lists(st.integers(-500, 500), min_size=1), length=st.integers(1, 60))
def test_mirroring_agrees_with_numpy(index, length):
    image = np.arange(length)
    padded = np.pad(image, 600, mode="reflect") if length > 1 else np.zeros(1201, int)
    assert np.array_equal(image[mirror(np.array(index), length)], padded[np.array(index) + 600])


def sampler(target, seed=0, **options):
    plane = Plane(*target.shape)
    cache = ImageCache([plane], Normalization(mode="none"))
    return PatchSampler(cache, [target], [Region(0, (0, 0), target.shape)], seed, **options)


def test_the_same_step_draws_the_same_windows():
    target = stripes(80, 90)
    first, again = sampler(target).draw(7, 4, 32), sampler(target).draw(7, 4, 32)
    assert np.array_equal(first.images, again.images)
    assert np.array_equal(first.targets, again.targets)
    assert not np.array_equal(first.targets, sampler(target).draw(8, 4, 32).targets)
    assert not np.array_equal(first.targets, sampler(target, seed=1).draw(7, 4, 32).targets)


def test_a_rare_class_is_in_at_least_half_of_the_balanced_windows():
    target = np.zeros((400, 400), np.uint8)
    target[200:204, 200:204] = 1
    draws = [sampler(target).draw(step, 8, 32).targets for step in range(20)]
    share = np.mean([(t == 1).any(axis=(1, 2)).mean() for t in draws])
    assert share > 0.2  # half of the windows are balanced over two classes; by chance it would be below one percent


@pytest.mark.parametrize(("balanced", "number", "expected"), [(0, 8, 0), (1, 8, 1), (0.5, 1, 0.5), (0.25, 3, 0.25)])
def test_the_balanced_share_is_what_was_asked_for(balanced, number, expected):
    target = np.zeros((400, 400), np.uint8)
    target[200, 200] = 1
    one = sampler(target, balanced=balanced)
    rare = [region_and_place[1:] for s in range(240 // number) for region_and_place in one.draw(s, number, 8).places]
    near = np.mean([np.abs(np.array(place) - 200).max() <= 2 for place in rare])
    # By chance the rare class is met once in four hundred windows; half of the balanced ones show it.
    assert near == pytest.approx(expected / 2, abs=0.09)


def test_windows_can_be_cut_again_where_they_were():
    target = stripes(80, 90)
    one = sampler(target)
    first = one.draw(0, 4, 32)
    again = one.draw(1, 4, 32, first.places[1:3])
    assert again.places[2:] == first.places[1:3]
    assert np.array_equal(again.images[2:], first.images[1:3])
    assert again.places[:2] == one.draw(1, 4, 32).places[:2]


def test_windows_come_from_where_annotation_is():
    target = np.full((500, 500), IGNORE, np.uint8)
    target[30:34, 400:440] = 0
    target[60:64, 400:440] = 1
    drawn = sampler(target).draw(0, 16, 64).targets
    assert ((drawn != IGNORE).any(axis=(1, 2))).all()


def test_an_image_smaller_than_a_window_is_mirrored():
    target = stripes(20, 30)
    cache = ImageCache([Plane(20, 30)], Normalization(mode="image"))
    image, labels = read_window(cache, target, Region(0, (0, 0), (20, 30)), (-22, -17), 64)
    assert image.shape == (1, 64, 64)
    assert np.array_equal(labels, np.pad(target, ((22, 22), (17, 17)), mode="reflect"))


def test_validation_windows_cover_all_annotation_once_they_are_enough():
    target = np.full((100, 130), IGNORE, np.uint8)
    target[5:95, 7:127] = 1
    region = Region(0, (0, 0), (100, 130))
    windows = validation_windows([target], [region], 32, most=100)
    covered = np.zeros_like(target, bool)
    for _, (top, left) in windows:
        assert top >= 0
        assert top + 32 <= 100
        assert left + 32 <= 130
        covered[top : top + 32, left : left + 32] = True
    assert covered[target == 1].all()
    assert len(validation_windows([target], [region], 32, most=5)) == 5


@pytest.mark.parametrize("limit", [1, 10**9])
def test_the_cache_gives_the_same_pixels_whatever_it_keeps(limit):
    cache = ImageCache([Plane(20, 30)], Normalization(mode="dataset", low=(0.0,), high=(600.0,)), limit=limit)
    part = cache.read(0, (slice(2, 4), slice(5, 8)))
    assert np.allclose(part[0] * 300 + 300, Plane(20, 30).image()[0, 2:4, 5:8], atol=1e-3)
