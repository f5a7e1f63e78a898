"""What the presets are told of the data."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.draw import disk, rectangle

from napari_segnet.data.labels import IGNORE
from napari_segnet.presets import Fingerprint
from napari_segnet.training.fingerprint import describe, measure_objects


def object_width(targets):
    return measure_objects(targets)[0]


def image_of(*discs, side=200):
    target = np.zeros((side, side), np.uint8)
    for centre, radius, value in discs:
        target[disk(centre, radius, shape=target.shape)] = value
    return target


def test_the_width_is_that_of_the_circle_that_fits_inside():
    assert object_width([image_of(((100, 100), 20, 1))]) == pytest.approx(40, abs=2)
    long = np.zeros((200, 200), np.uint8)
    long[rectangle((20, 90), end=(180, 101))] = 1
    assert object_width([long]) == pytest.approx(12, abs=2)


def test_most_pixels_count_and_not_most_objects():
    crumbs = [((10 + 12 * n, 10), 3, 1) for n in range(15)]
    assert object_width([image_of(((110, 120), 40, 1), *crumbs)]) == pytest.approx(80, abs=2)


def test_objects_of_different_classes_that_touch_are_two():
    assert object_width([image_of(((100, 80), 25, 1), ((100, 120), 25, 2))]) < 60


def test_void_edges_are_no_objects_and_strokes_say_nothing():
    edged = image_of(((100, 100), 30, IGNORE), ((100, 100), 20, 1))
    assert object_width([edged]) == pytest.approx(40, abs=2)
    strokes = np.full((200, 200), IGNORE, np.uint8)
    strokes[50:53, 20:60] = 1
    assert object_width([strokes]) is None
    assert object_width([strokes, edged]) == pytest.approx(40, abs=2)
    assert object_width([np.zeros((50, 50), np.uint8)]) is None


@given(radius=st.integers(30, 300), seed=st.integers(0, 20))
@settings(max_examples=15, deadline=None)
def test_large_images_are_thinned_out_without_much_difference(radius, seed):
    y, x = np.random.default_rng(seed).integers(radius + 2, 1500 - radius - 2, 2)
    assert object_width([image_of(((y, x), radius, 1), side=1500)]) == pytest.approx(2 * radius, abs=12)


def test_an_image_that_is_one_object_is_as_wide_as_itself():
    assert object_width([np.ones((64, 80), np.uint8)]) == pytest.approx(64, abs=2)


def test_the_grain_is_how_far_edges_are_apart():
    board = np.kron(np.indices((16, 16)).sum(axis=0) % 2, np.ones((10, 10))).astype(np.uint8)
    assert measure_objects([board])[1] == pytest.approx(10, rel=0.1)
    assert measure_objects([board.repeat(9, axis=0).repeat(9, axis=1)])[1] == pytest.approx(90, rel=0.1)
    # What isn't known is no edge.
    voided = np.where(np.kron(np.eye(16), np.ones((10, 10))), IGNORE, board).astype(np.uint8)
    assert measure_objects([voided])[1] == pytest.approx(10, rel=0.2)


def test_the_share_that_is_annotated_is_that_of_all_pixels_also_of_images_of_different_sizes():
    targets = [np.zeros((10, 10), np.uint8), np.zeros((40, 50), np.uint8), np.zeros((20, 20), np.uint8)]
    targets[2][:10] = IGNORE
    pairs = [SimpleNamespace(name=str(number)) for number in range(3)]
    data = Fingerprint(images=3, height=20, width=20, channels=1, outputs=2, annotated=100 + 2000 + 200)
    assert describe(data, pairs, targets)["annotated_share"] == pytest.approx(2300 / 2500)
