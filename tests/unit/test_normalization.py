import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_segnet.config import DataConfig
from napari_segnet.data.normalization import WINDOWS, Normalization, fit, image_limits, scale
from napari_segnet.errors import ConfigError, DataError
from napari_segnet.predict.reading import TileReader
from napari_segnet.predict.tiles import plan


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


def normalized(normalization, image):
    return scale(image, *normalization.limits(image), normalization.clip)


@pytest.mark.parametrize("shape", [(2, 60, 70), (2, 5, 30, 40)])
def test_z_scores_have_a_mean_of_zero_and_a_deviation_of_one(shape):
    rng = np.random.default_rng(0)
    images = [rng.normal(100 * n, 1 + n, shape) for n in range(1, 4)]
    normalization = fit(images, "zscore")
    for image in images:
        scaled = normalized(normalization, image)
        assert scaled.mean(axis=tuple(range(1, scaled.ndim))) == pytest.approx([0, 0], abs=1e-3)
        assert scaled.std() == pytest.approx(1, abs=1e-3)
    image[(0,) * image.ndim] = 1e5
    assert normalized(Normalization(mode="zscore", clip=5), image).max() == 5


def test_the_air_around_a_body_is_not_a_part_of_its_z_scores():
    rng = np.random.default_rng(0)
    body = rng.normal(300, 20, (1, 64, 64))
    image = np.zeros((1, 128, 128))
    image[:, :64, :64] = body
    scaled = normalized(fit([image], "zscore"), image)
    assert scaled[:, :64, :64].mean() == pytest.approx(0, abs=1e-3)
    assert scaled[:, :64, :64].std() == pytest.approx(1, abs=1e-3)
    # A few zeros are values as any other.
    body[0, 0] = 0
    assert normalized(fit([body], "zscore"), body).mean() == pytest.approx(
        ((body - body.mean()) / body.std()).clip(-5, 5).mean(), abs=1e-4
    )


def test_z_scores_of_a_data_set_are_those_of_all_images_together():
    rng = np.random.default_rng(0)
    images = [rng.normal(100, 5, (1, 50, 50)), rng.normal(130, 10, (1, 50, 50))]
    normalization = fit(images, "zscore-dataset")
    together = np.stack([normalized(normalization, image) for image in images])
    assert together.mean() == pytest.approx(0, abs=1e-4)
    assert together.std() == pytest.approx(1, abs=1e-4)
    assert normalization.mode == "dataset"


def test_a_constant_has_z_scores_of_zero():
    for value in (0.0, 42.0, 1e6):
        image = np.full((1, 9, 9), value)
        assert (normalized(fit([image], "zscore"), image) == 0).all()


def test_a_window_becomes_minus_one_to_one_and_the_rest_is_clipped():
    scan = np.array([[[-2000.0, -1350.0, -600.0, 150.0, 3000.0]]], np.float32)
    assert normalized(fit([scan], window="lung"), scan).ravel().tolist() == [-1, -1, 0, 1, 1]
    scan = scan.repeat(2, axis=0).astype(np.int16)
    assert normalized(fit([scan], window=(-1100, -100)), scan)[1].ravel().tolist() == [-1, -1, 0, 1, 1]


def test_named_windows_are_those_of_their_width_and_level():
    usual = {
        "lung": (1500, -600),
        "abdomen": (400, 50),
        "soft-tissue": (350, 50),
        "bone": (1800, 400),
        "brain": (80, 40),
    }
    assert {name: (high - low, (high + low) / 2) for name, (low, high) in WINDOWS.items()} == usual
    assert all(DataConfig(window=name).window == name for name in WINDOWS)


def test_a_window_that_shows_nothing_is_refused():
    with pytest.raises(DataError, match=r"from -1350 to 150 shows nothing: values go from 200.*Hounsfield"):
        fit([np.linspace(200, 255, 100).reshape(1, 10, 10)], window="lung")
    with pytest.raises(ConfigError, match="exclude each other"):
        DataConfig().replace(window="lung", normalization="zscore")
    with pytest.raises(ConfigError, match="darker to the brighter"):
        DataConfig().replace(window=(5, 5))


def test_normalization_of_an_older_model_is_clipped_as_it_was():
    assert Normalization(mode="dataset", low=[0], high=[1], percentiles=[0.5, 99.5]).clip == 3


@pytest.mark.parametrize("kind", [{"mode": "zscore"}, {"mode": "zscore-dataset"}, {"window": "brain"}])
@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_prediction_and_training_see_the_same(kind, dtype):
    rng = np.random.default_rng(0)
    image = rng.normal(40, 60, (1, 64, 48)).astype(dtype)
    image[0, 3, 4] = 30_000
    if dtype == "float32":
        image[0, 9, 9], image[0, 8, 8] = np.nan, np.inf
    normalization = fit([image], **kind)
    reader = TileReader(image, *normalization.limits(image), normalization.clip, torch.device("cpu"))
    tile = plan((64, 48), (64, 48), 0, (16, 16))[0]
    assert np.allclose(reader.read([tile])[0].numpy(), normalized(normalization, image), atol=1e-6)
