"""The bundled images: what the strokes are, and that the reference mask is fair."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from napari_segnet.errors import ConfigError
from napari_segnet.samples import SAMPLES, load_sample

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def make():
    spec = importlib.util.spec_from_file_location("make_samples", ROOT / "sample_images" / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", SAMPLES)
def test_strokes_are_short_few_and_name_every_class(name):
    image, strokes, reference = load_sample(name)
    sample = SAMPLES[name]
    assert strokes.shape == image.shape[:2]
    assert image.ndim == len(sample.axes)
    assert sorted(np.unique(strokes)) == list(range(len(sample.classes) + 1))
    assert 0.01 < (strokes > 0).mean() < 0.03
    pieces = ndimage.label(strokes, np.ones((3, 3)))[1]
    assert 15 <= pieces <= 50
    assert (reference is not None) == sample.reference


def test_the_reference_outlines_24_coins_and_agrees_with_every_stroke():
    image, strokes, reference = load_sample("coins")
    assert sorted(np.unique(reference)) == [1, 2]
    labels, number = ndimage.label(reference == 2)
    assert number == 24
    sizes = np.bincount(labels.ravel())[1:]
    assert sizes.min() > 1000
    assert sizes.max() < 3500
    painted = strokes > 0
    assert np.array_equal(strokes[painted], reference[painted])
    # The outline lies on the edges of the coins: there the image changes most.
    gradient = ndimage.gaussian_gradient_magnitude(image.astype(float), 1)
    coins = reference == 2
    outline = coins ^ ndimage.binary_erosion(coins)
    assert gradient[outline].mean() > 3 * gradient[~ndimage.binary_dilation(coins, iterations=4)].mean()
    assert gradient[outline].mean() > 1.5 * gradient[ndimage.binary_erosion(coins, iterations=4)].mean()


def test_the_bundled_strokes_and_reference_are_what_the_script_makes(make):
    image, strokes, reference = load_sample("coins")
    assert np.array_equal(make.paint(image.shape, make.COINS, 2.2), strokes)
    assert np.array_equal(make.coins_reference(image), reference)


@pytest.mark.skipif(sys.platform == "win32", reason="links")
def test_the_repository_shows_the_files_that_the_package_ships():
    shown = {p.name for p in (ROOT / "sample_images" / "images").iterdir()}
    assert shown == {f"{name}{end}.png" for name in SAMPLES for end in ("", "_strokes")} | {"coins_reference.png"}


def test_an_unknown_sample_is_told_with_its_neighbours():
    with pytest.raises(ConfigError, match="Did you mean 'coins'"):
        load_sample("coin")
