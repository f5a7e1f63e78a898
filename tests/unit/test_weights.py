"""Weights of classes by frequency, and of pixels by the gaps between objects."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

from napari_segnet.errors import ConfigError, DataError
from napari_segnet.training.losses import cross_entropy, loss_function
from napari_segnet.training.weights import border_weights, class_weights


def test_inverse_frequency_is_scikit_learns_balanced():
    counts = [700, 50, 250]
    theirs = compute_class_weight("balanced", classes=np.arange(3), y=np.repeat(np.arange(3), counts))
    np.testing.assert_allclose(class_weights(counts, "inverse"), theirs / theirs.mean(), rtol=1e-6)


def test_median_frequency_by_hand():
    # Class 0 in both images: 140 of 200 pixels; class 1 in the first alone: 10 of 100; class 2 in both: 50 of 200.
    counts = [[60, 10, 30], [80, 0, 20]]
    frequency = np.array([0.7, 0.1, 0.25])
    expected = np.median(frequency) / frequency
    np.testing.assert_allclose(class_weights(counts, "median"), expected / expected.mean(), rtol=1e-6)
    # All in one: nobody knows which images hold a class.
    np.testing.assert_allclose(class_weights([140, 10, 50], "median"), class_weights([140, 10, 50], "inverse"))


def test_effective_number_by_hand():
    counts, beta = np.array([10.0, 1000.0, 1e6]), 0.999
    expected = (1 - beta) / (1 - beta**counts)
    found = class_weights(counts, "effective", beta)
    np.testing.assert_allclose(found, expected / expected.mean(), rtol=1e-5)
    np.testing.assert_allclose(class_weights(counts, "effective", 0), [1, 1, 1])
    nearly = class_weights(counts, "effective", 1 - 1e-12)
    np.testing.assert_allclose(nearly, class_weights(counts, "inverse"), rtol=1e-3)


@settings(deadline=None)
@given(
    counts=st.lists(st.integers(0, 10**9), min_size=2, max_size=8).filter(any),
    scheme=st.sampled_from(["inverse", "median", "effective"]),
)
def test_weights_have_mean_one_and_rarer_classes_weigh_no_less(counts, scheme):
    found = class_weights(counts, scheme)
    there = np.array(counts) > 0
    assert found.dtype == np.float32
    assert found[there].mean() == pytest.approx(1, rel=1e-5)
    assert (found[~there] == 1).all()
    order = np.argsort(np.array(counts)[there])
    assert (np.diff(found[there][order]) <= 1e-6).all()


@pytest.mark.parametrize("counts", [[0, 0, 0], [1, -1], [1, np.nan], np.ones((2, 2, 2))])
def test_what_has_no_frequency_is_refused(counts):
    with pytest.raises(DataError):
        class_weights(counts)


def test_unknown_schemes_are_refused():
    with pytest.raises(ConfigError, match="no scheme of class weights called 'invers'. Did you mean 'inverse'"):
        class_weights([1, 2], "invers")
    with pytest.raises(ConfigError, match="beta = 1 is not between"):
        class_weights([1, 2], "effective", 1)


def test_inverse_frequency_makes_cross_entropy_balanced():
    generator = torch.Generator().manual_seed(0)
    logits, target = torch.randn(1, 3, 9, 9, generator=generator), torch.randint(0, 3, (1, 9, 9), generator=generator)
    weights = torch.from_numpy(class_weights(torch.bincount(target.ravel()), "inverse"))
    balanced = loss_function("balanced-ce")(logits, target, torch.ones(3))
    assert float(cross_entropy(logits, target, weights)) == pytest.approx(float(balanced), rel=1e-5)


def brute_force(objects, w0, sigma, spacing, inside):
    """Return the formula, with the distance to every pixel of every object."""
    places = np.argwhere(np.ones(objects.shape)) * spacing
    numbers = [n for n in np.unique(objects) if n > 0]
    distances = np.full((2 + len(numbers), objects.size), np.inf)
    for row, number in enumerate(numbers):
        mine = places[(objects == number).ravel()]
        distances[row] = np.linalg.norm(places[:, None] - mine[None], axis=2).min(axis=1)
    first, second = np.sort(distances, axis=0)[:2]
    extra = w0 * np.exp(-((first + second) ** 2) / (2 * sigma**2)).reshape(objects.shape)
    return 1 + np.where((objects > 0) & (not inside), 0, extra)


@pytest.mark.parametrize(
    ("shape", "spacing"), [((23, 31), None), ((23, 31), (0.5, 1.5)), ((7, 12, 13), None), ((7, 12, 13), (3, 1, 1))]
)
@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize(("w0", "sigma"), [(10.0, 5.0), (3.0, 0.8)])
def test_border_weights_agree_with_brute_force(shape, spacing, inside, w0, sigma):
    rng = np.random.default_rng(0)
    objects = np.zeros(shape, np.int32)
    for number in (3, 4, 900_000, 7):  # boxes that cut into each other, of any numbers
        corner = [rng.integers(0, n - 3) for n in shape]
        objects[tuple(slice(c, c + rng.integers(2, 6)) for c in corner)] = number
    found = border_weights(objects, w0, sigma, spacing, inside)
    expected = brute_force(objects, w0, sigma, spacing or np.ones(len(shape)), inside)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_gap_of_one_pixel_weighs_as_the_paper_says():
    objects = np.zeros((1, 5), int)
    objects[0, :2], objects[0, 3:] = 1, 2
    found = border_weights(objects)
    assert found[0, 2] == pytest.approx(1 + 10 * np.exp(-(2**2) / 50))  # a pixel away from both
    assert (found[objects > 0] == 1).all()


def test_objects_that_touch_are_weighed_at_the_seam():
    objects = np.ones((1, 6), int)
    objects[0, 3:] = 2
    assert (border_weights(objects) == 1).all()
    seam = border_weights(objects, inside=True)
    assert seam[0, 2] == seam[0, 3] == pytest.approx(1 + 10 * np.exp(-1 / 50))
    assert seam[0, 0] < seam[0, 1] < seam[0, 2]


@pytest.mark.parametrize("objects", [np.zeros((9, 9), int), np.eye(9, dtype=int), np.zeros((0, 4), int)])
def test_fewer_than_two_objects_have_no_gap(objects):
    assert (border_weights(objects) == 1).all()
    assert border_weights(objects).shape == objects.shape


def test_bad_widths_are_refused():
    with pytest.raises(ConfigError, match="sigma = 0"):
        border_weights(np.zeros((4, 4), int), sigma=0)
    with pytest.raises(ConfigError, match="doesn't fit 2 axes"):
        border_weights(np.zeros((4, 4), int), spacing=(1, 1, 1))
