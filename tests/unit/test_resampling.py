import numpy as np
import pytest
from scipy import ndimage

from napari_segnet.data import resampling
from napari_segnet.data.pairs import open_pairs
from napari_segnet.data.resampling import (
    at_one_size,
    resample_linear,
    resample_nearest,
    resampled_shape,
    size_along,
)
from napari_segnet.errors import DataError
from napari_segnet.io.write import write_npy
from napari_segnet.run import PairRecord


def ramp(shape):
    """Return what is linear along all axes, over the ground from 0 to 1 (C, ...)."""
    lines = [(np.arange(n) + 0.5) / n for n in shape]
    return sum(np.meshgrid(*lines, indexing="ij"))[np.newaxis].astype(np.float32)


@pytest.mark.parametrize(("shape", "wanted"), [((40, 50), (20, 75)), ((40, 50), (40, 50)), ((8, 40, 30), (16, 20, 30))])
def test_what_is_linear_stays_where_it_is(shape, wanted):
    found = resample_linear(ramp(shape), wanted)
    assert found.shape == (1, *wanted)
    inner = (0, *(slice(n // 5, n - n // 5) for n in wanted))
    assert np.allclose(found[inner], ramp(wanted)[inner], atol=2e-3)


def test_labels_keep_their_values_and_their_place():
    labels = np.arange(12, dtype=np.uint16).reshape(3, 4)
    assert np.array_equal(resample_nearest(labels, (6, 8)), labels.repeat(2, axis=0).repeat(2, axis=1))
    assert np.array_equal(resample_nearest(labels.repeat(3, axis=0).repeat(3, axis=1), (3, 4)), labels)
    assert resample_nearest(labels, (5, 3)).dtype == np.uint16
    # There and back nothing moves: the middle of mass of a disk stays, in units of the image.
    y, x = np.ogrid[:90, :90]
    disk = ((y - 30) ** 2 + (x - 50) ** 2 < 200).astype(np.uint8)
    small = resample_nearest(disk, (40, 40))
    before, after = ((np.array(ndimage.center_of_mass(d)) + 0.5) / len(d) for d in (disk, small))
    assert np.allclose(before, after, atol=0.005)


def test_shrinking_does_not_alias_and_keeps_the_type():
    rng = np.random.default_rng(0)
    board = (np.indices((64, 64)).sum(axis=0) % 2 * 200).astype(np.uint8)[np.newaxis]
    found = resample_linear(board, (16, 16))
    assert found.dtype == np.uint8
    assert np.ptp(found[:, 2:-2, 2:-2].astype(int)) < 12
    assert found.mean() == pytest.approx(100, abs=2)
    assert resample_linear(rng.random((2, 8, 8)) > 0.5, (4, 4)).dtype == np.float32


def test_pixel_sizes_are_compared_in_the_same_units():
    assert size_along((2.0, 500.0, 250.0), 2, "nanometer", "micrometer") == pytest.approx((0.5, 0.25))
    assert size_along((2.0, 0.5, 0.25), 3, "micrometer", None) == (2, 0.5, 0.25)
    assert size_along((0.5, 0.25), 3) is None
    assert size_along(None, 2) is None
    assert size_along((0.0, 1.0), 2) is None
    assert resampled_shape((100, 200), (0.5, 0.5), (1.0, 0.25)) == (50, 400)
    assert resampled_shape((100, 200), (0.501, 0.5), (0.5, 0.5)) == (100, 200)


@pytest.fixture
def pairs(tmp_path):
    def make(*sizes, shape=(40, 60), spatial="YX", units="micrometer"):
        records = []
        for n, size in enumerate(sizes):
            write_npy(tmp_path / f"i{n}.npy", ramp(shape)[0])
            write_npy(tmp_path / f"l{n}.npy", (ramp(shape)[0] > 1).astype(np.uint8))
            files = {"images": (str(tmp_path / f"i{n}.npy"),), "labels": str(tmp_path / f"l{n}.npy")}
            own = units if size else None
            records.append(PairRecord(name=f"i{n}", axes="ZYX"[-len(shape) :], pixel_size=size, units=own, **files))
        return open_pairs(records, spatial)

    return make


def test_pairs_are_brought_to_the_median_pixel_size(pairs):
    made, size, words = at_one_size(pairs((0.5, 0.5), (1.0, 1.0), (2.0, 1.0), None), "median")
    assert size == (1.0, 1.0)
    assert [pair.shape for pair in made] == [(20, 30), (40, 60), (80, 60), (40, 60)]
    for pair in made:
        assert pair.image().shape == (1, *pair.shape)
        assert pair.labels().shape == pair.shape
        assert np.mean(pair.labels() == (pair.image()[0] > 1)) > 0.95
    assert [pair.pixel_size for pair in made] == [(1, 1), (1, 1), (1, 1), None]
    assert words.startswith("1 x 1 micrometer: 2 of 4 images are resampled, 1 without")
    assert at_one_size(made, None) == (made, None, "")


def test_volumes_are_resampled_along_z_too(pairs):
    made, size, _ = at_one_size(pairs((2.0, 0.5, 0.5), shape=(6, 20, 30), spatial="ZYX"), 1.0)
    assert size == (1, 1, 1)
    assert made[0].shape == (12, 10, 15)
    assert made[0].labels().shape == (12, 10, 15)


def test_what_can_not_be_resampled_is_refused(pairs, monkeypatch):
    with pytest.raises(DataError, match=r"None of the images says how large its pixels are.*Leave data.pixel_size out"):
        at_one_size(pairs(None), 0.5)
    with pytest.raises(DataError, match="has 3 lengths, but is needed along Y and X"):
        at_one_size(pairs((1.0, 1.0)), (1, 2, 3))
    monkeypatch.setattr(resampling, "_MOST", 5000)
    with pytest.raises(DataError, match=r"i0 is 80 x 120 pixels, too many"):
        at_one_size(pairs((1.0, 1.0)), 0.5)
