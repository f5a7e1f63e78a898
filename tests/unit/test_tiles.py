import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_segnet.predict.tiles import plan, reflected, round_up

sizes = st.integers(1, 250)


@given(
    shape=st.tuples(sizes, sizes),
    core=st.integers(8, 120),
    halo=st.integers(0, 60),
    stride=st.sampled_from([1, 2, 8, 16, 32]),
)
def test_every_pixel_is_written_once_by_a_tile_that_knows_its_surroundings(shape, core, halo, stride):
    written = np.zeros(shape, int)
    tiles = plan(shape, core, halo, stride)
    assert len({tile.shape for tile in tiles}) == 1
    for tile in tiles:
        written[tile.write] += 1
        for span, length in zip(tile.spans, shape, strict=True):
            padded = round_up(length, stride)
            assert 0 <= span.start < span.stop <= padded
            assert span.start % stride == 0
            assert (span.stop - span.start) % stride == 0
            assert span.start == 0 or span.keep_start - span.start >= halo
            assert span.stop == padded or span.stop - span.keep_stop >= halo
            assert span.core.stop - span.core.start == span.write.stop - span.write.start
    assert (written == 1).all()


@given(length=st.integers(1, 5000), core=st.integers(32, 1200), halo=st.sampled_from([0, 16, 64, 208]))
def test_tiles_stay_below_the_size_that_was_asked_for(length, core, halo):
    tiles = plan((length, 16), core, halo, 16)
    assert tiles[0].shape[0] <= core // 16 * 16 + 2 * halo
    # No more tiles than cores of that size, halos at the image's border being free.
    assert len(tiles) == max(1, -(-(round_up(length, 16) - 2 * halo) // (core // 16 * 16)))


def test_a_large_image_is_cut_evenly():
    tiles = plan((4096, 4096), core=1024, halo=64, stride=16)
    assert len(tiles) == 16
    assert {tile.shape for tile in tiles} == {(1120, 1120)}
    assert [t.write[0] for t in tiles[::4]] == [
        slice(0, 1056),
        slice(1056, 2048),
        slice(2048, 3040),
        slice(3040, 4096),
    ]
    # 20 % more pixels than the image has; a 50 % overlap of plain tiles has 300 % more.
    assert sum(t.shape[0] * t.shape[1] for t in tiles) / 4096**2 == pytest.approx(1.196, abs=1e-3)


def test_a_small_image_is_one_tile_padded_to_the_stride():
    (tile,) = plan((100, 33), core=1024, halo=64, stride=16)
    assert tile.shape == (112, 48)
    assert tile.write == (slice(0, 100), slice(0, 33))


@given(length=st.integers(1, 40), extra=st.integers(0, 90))
def test_mirrored_positions_are_those_of_numpy(length, extra):
    axis = np.arange(length)
    expected = np.pad(axis, (0, extra), mode="reflect") if length > 1 else np.zeros(1 + extra)
    np.testing.assert_array_equal(reflected(0, length + extra, length), expected)
