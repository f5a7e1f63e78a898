import numpy as np
import pytest
from scipy import ndimage
from skimage.transform import resize

from napari_segnet.data import duplicates
from napari_segnet.data.duplicates import Lookalikes, join_groups


def cells(seed, side=128):
    """Return an image of blurred blobs on noise (1, Y, X)."""
    rng = np.random.default_rng(seed)
    spots = np.zeros((side, side))
    spots[tuple(rng.integers(0, side, (2, 25)))] = 1
    return ((ndimage.gaussian_filter(spots, 4) * 60 + rng.normal(0, 0.02, spots.shape)) * 100 + 60).astype(np.float32)[
        None
    ]


def alike(*images):
    seen = Lookalikes()
    for number, image in enumerate(images):
        seen.look(number, image)
    return seen.alike()


def test_copies_are_found_and_others_are_not():
    assert alike(*(cells(n) for n in range(12))) == []
    assert alike(cells(0), cells(1), cells(0), cells(2), cells(1)) == [(0, 2), (1, 4)]


@pytest.mark.parametrize(
    "change",
    [
        lambda i: i * 1.3 + 20,
        lambda i: i + np.random.default_rng(9).normal(0, 1, i.shape),
        lambda i: np.clip(i, 0, 255).astype(np.uint8),
        lambda i: resize(i[0], (100, 100), anti_aliasing=True)[None],
        lambda i: np.concatenate([i, i]),
    ],
    ids=["brighter", "noisy", "8 bits", "smaller", "two channels"],
)
def test_near_copies_are_found(change):
    assert alike(cells(0), cells(1), change(cells(0))) == [(0, 2)]


def test_one_lamp_does_not_make_images_alike():
    y, x = np.mgrid[-1:1:128j, -1:1:128j]
    lamp = 3000 * np.exp(-(y**2 + x**2))[None]
    assert alike(*(cells(n) + lamp for n in range(6))) == []
    assert alike(cells(0) + lamp, cells(1) + lamp, 1.1 * (cells(0) + lamp)) == [(0, 2)]


def test_blank_images_and_volumes():
    blank = np.zeros((1, 40, 40))
    assert alike(blank, blank, np.full((1, 40, 40), np.nan), np.full((1, 40, 40), np.nan)) == []
    volume = np.stack([cells(n)[0] for n in range(5)])[None]
    assert alike(volume, volume[:, ::-1] * 1.2, np.stack([cells(n)[0] for n in range(5, 10)])[None]) == [(0, 1)]


def test_what_is_alike_is_one_group_and_is_named():
    names, words = join_groups(list("abcdef"), [(8, 8)] * 6, [(1, 4), (4, 5)])
    assert names == ["a", "b", "c", "d", "b", "b"]
    assert words.startswith("Images look the same (b and e, e and f): they stay on one side")
    assert join_groups(list("aab"), [(8, 8)] * 3, [(0, 1)]) == (["a", "a", "b"], "")
    many = join_groups(list("abcdefgh"), [(8, 8)] * 8, [(0, n) for n in range(1, 6)])[1]
    assert "(a and b, a and c, a and d, and 2 more)" in many


def test_few_images_that_are_cut_in_two_are_only_joined_where_they_have_one_shape():
    names, words = join_groups(list("abc"), [(8, 8), (9, 9), (8, 8)], [(0, 1), (0, 2)])
    assert names == ["a", "b", "a"]
    assert "a and b" in words


def test_only_so_many_images_are_looked_at(monkeypatch):
    monkeypatch.setattr(duplicates, "_MOST", 3)
    looked = []

    class Pair:
        def __init__(self, number):
            self.number = number

        def image(self):
            looked.append(self.number)
            return cells(self.number % 2)

    seen = Lookalikes()
    seen.look(4, cells(0))
    seen.look_at_rest([Pair(n) for n in range(9)])
    assert looked == [0, 8]
    assert seen.alike() == [(0, 4), (0, 8), (4, 8)]
