import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_segnet.data.normalization import Normalization, fit, image_limits, scale


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "bool"])
def test_an_image_comes_to_lie_between_minus_one_and_one(dtype):
    rng = np.random.default_rng(0)
    image = rng.random((2, 64, 64))
    image = image > 0.5 if dtype == "bool" else (image * 200).astype(dtype)
    scaled = scale(image, *image_limits(image))
    assert np.percentile(scaled, 1) == pytest.approx(-1, abs=0.1)
    assert np.percentile(scaled, 99) == pytest.approx(1, abs=0.1)


def test_one_hot_pixel_does_not_darken_the_rest():
    image = np.linspace(0, 1, 10_000).reshape(1, 100, 100)
    hot = image.copy()
    hot[0, 0, 0] = 1e6
    assert np.allclose(image_limits(image)[1], image_limits(hot)[1], rtol=0.01)
    assert scale(hot, *image_limits(hot)).max() == 3.0


def test_nan_is_dark_and_a_constant_is_zero():
    image = np.array([[[0.0, np.nan], [1.0, np.inf]]])
    scaled = scale(image, np.float32([0]), np.float32([1]))
    assert scaled[0].tolist() == [[-1.0, -1.0], [1.0, 3.0]]
    constant = np.full((1, 5, 5), 42, np.uint8)
    assert (scale(constant, *image_limits(constant)) == 0).all()


def test_alike_images_share_limits_and_unlike_ones_get_their_own():
    rng = np.random.default_rng(0)
    alike = [rng.random((1, 50, 50)) * 100 for _ in range(5)]
    assert fit(alike).mode == "dataset"
    unlike = [image * 4**n for n, image in enumerate(alike)]
    assert fit(unlike).mode == "image"
    assert fit(unlike, "dataset").mode == "dataset"


def test_the_colours_of_photographs_are_not_stretched_image_by_image():
    rng = np.random.default_rng(0)
    photographs = [(rng.random((3, 50, 50)) * (60 * n + 40)).astype(np.uint8) for n in range(4)]
    assert fit(photographs).mode == "dataset"
    assert fit([photograph[:1] for photograph in photographs]).mode == "image"


def test_dataset_limits_are_kept_for_every_image():
    normalization = Normalization(mode="dataset", low=(10.0,), high=(20.0,))
    low, high = normalization.limits(np.zeros((1, 4, 4)))
    assert (low[0], high[0]) == (10, 20)


@given(hnp.arrays(np.float64, (2, 6, 7), elements=st.floats(allow_nan=True, allow_infinity=True, width=32)))
def test_whatever_goes_in_finite_numbers_come_out(image):
    low, high = image_limits(image)
    assert (high > low).all() or not np.isfinite(high).all()
    scaled = scale(image, low, high)
    assert np.isfinite(scaled).all()
    assert np.abs(scaled).max() <= 3
