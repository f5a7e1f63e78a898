import numpy as np
from scipy import ndimage
from skimage.draw import disk

from napari_segnet.predict.instances import to_instances


def test_components_of_each_class_are_objects():
    labels = np.array(
        [
            [1, 1, 0, 2, 2],
            [1, 0, 0, 2, 1],
            [0, 1, 0, 0, 1],
        ],
        np.uint8,
    )
    # Diagonal neighbours belong together, classes that touch don't.
    expected = [[1, 1, 0, 2, 2], [1, 0, 0, 2, 3], [0, 1, 0, 0, 3]]
    np.testing.assert_array_equal(to_instances(labels), expected)


def test_without_background_every_class_has_objects():
    labels = np.array([[1, 1, 2], [2, 1, 2]], np.uint8)
    np.testing.assert_array_equal(to_instances(labels, background=None), [[1, 1, 2], [3, 1, 2]])


def touching_discs():
    truth = np.zeros((60, 90), int)
    for number, centre in enumerate([(30, 22), (30, 45), (30, 68)], start=1):
        truth[disk(centre, 12)] = number
    interior = np.zeros(truth.shape, np.float32)
    for number in (1, 2, 3):
        depth = ndimage.distance_transform_edt(truth == number)
        interior += (depth / 12).clip(0, 1).astype(np.float32) * (truth == number)
    return truth, interior


def test_touching_objects_are_told_apart_by_their_insides():
    truth, interior = touching_discs()
    assert to_instances(truth > 0).max() == 1
    found = to_instances(truth > 0, interior)
    assert found.max() == 3
    assert (found > 0).sum() == (truth > 0).sum()
    for number in (1, 2, 3):
        mine = truth == number
        match = np.bincount(found[mine]).argmax()
        assert (mine & (found == match)).sum() / (mine | (found == match)).sum() > 0.95


def test_an_object_without_an_inside_is_kept_as_one():
    truth, interior = touching_discs()
    truth[2:4, 2:6] = 4
    found = to_instances(truth > 0, interior)
    assert found.max() == 4
    assert (found[2:4, 2:6] == 1).all()
    assert (found == 1).sum() == 8


def test_numbers_follow_the_reading_order_without_gaps():
    truth, interior = touching_discs()
    found = to_instances(truth > 0, interior)
    first = [np.flatnonzero(found == n)[0] for n in range(1, found.max() + 1)]
    assert first == sorted(first)


def test_nothing_but_background_has_no_objects():
    empty = np.zeros((5, 5), np.uint8)
    assert to_instances(empty).max() == 0
    assert to_instances(empty, np.ones((5, 5), np.float32)).max() == 0


def test_objects_reach_through_the_planes_of_a_volume():
    labels = np.zeros((3, 4, 4), np.uint8)
    labels[0, 0, 0] = labels[1, 1, 1] = labels[2, 3, 0] = 1
    found = to_instances(labels)
    assert found[0, 0, 0] == found[1, 1, 1] == 1
    assert found[2, 3, 0] == 2
