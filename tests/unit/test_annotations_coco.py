"""COCO: polygons, run lengths and boxes become labels, as pycocotools draws them."""

import json

import numpy as np
import pytest
from annotation_cases import box, classes, drawn, imported, make_images, objects, rows
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pycocotools import mask as coco_mask

from napari_segnet.annotations import rle
from napari_segnet.annotations.model import Polygon
from napari_segnet.errors import DataError

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools
SIZE = (20, 30)
MASKS = arrays.arrays(np.bool_, st.tuples(st.integers(1, 40), st.integers(1, 40)))


def annotation(category, number=1, image=1, **parts):
    return {"id": number, "image_id": image, "category_id": category, "iscrowd": 0, **parts}


def square(left, top, side=4):
    right, bottom = left + side, top + side
    return [left, top, right, top, right, bottom, left, bottom]


def coco(*annotations, categories=((1, "cell"), (2, "debris")), images=(("a.png", 30, 20),)):
    return {
        "images": [
            {"id": i, "file_name": name, "width": width, "height": height}
            for i, (name, width, height) in enumerate(images, start=1)
        ],
        "annotations": list(annotations),
        "categories": [{"id": i, "name": name, "supercategory": "thing"} for i, name in categories],
    }


@pytest.fixture
def read(tmp_path):
    images = make_images(tmp_path / "images", "a.png")

    def run(tree, **options):
        file = tmp_path / "coco.json"
        file.write_text(json.dumps(tree))
        labels, made = imported(file, images, tmp_path / "out", overwrite=True, **options)
        return labels["a"], made

    return run


@settings(max_examples=80, deadline=None)
@given(MASKS)
def test_run_lengths_are_those_of_pycocotools(mask):
    theirs = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    counts = rle.encode(mask, by_columns=True)
    assert rle.encode_text(counts) == theirs
    assert np.array_equal(rle.decode_text(theirs), counts)
    assert np.array_equal(drawn(rle.runs(theirs, mask.shape, by_columns=True), mask.shape), mask)


@settings(max_examples=80, deadline=None)
@given(MASKS, st.integers(-50, 50), st.integers(-50, 50), st.booleans())
def test_run_lengths_of_a_box_are_cut_at_the_edge_of_the_image(mask, row, column, by_columns):
    size = (25, 25)
    counts = rle.encode(mask, by_columns=by_columns)
    expected = np.zeros((150, 150), bool)
    expected[60 + row : 60 + row + len(mask), 60 + column : 60 + column + mask.shape[1]] = mask
    runs = rle.runs(counts.tolist(), mask.shape, row, column, by_columns=by_columns)
    assert np.array_equal(drawn(runs, size), expected[60:85, 60:85])


def test_polygons_on_whole_numbers_are_as_pycocotools_draws_them(read):
    outline = [3, 2, 12, 2, 12, 9, 8, 9, 8, 5, 3, 5]
    labels, made = read(coco(annotation(2, segmentation=[outline, square(20, 10)])))
    theirs = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects([outline, square(20, 10)], *SIZE)))
    assert np.array_equal(labels, 2 * theirs)
    assert labels.sum() == 2 * (9 * 3 + 4 * 4 + 16)
    assert made.problems == ()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 60), st.floats(0, 60)), min_size=3, max_size=3))
def test_slanted_polygons_are_those_of_pycocotools_but_for_pixels_on_an_edge(corners):
    ring = np.array(corners)
    ours = drawn(Polygon((ring,)), (60, 60))
    theirs = coco_mask.decode(coco_mask.frPyObjects([ring.ravel().tolist()], 60, 60))[:, :, 0].astype(bool)
    y, x = np.nonzero(ours != theirs)
    centres = np.column_stack([x, y]) + 0.5
    for centre in centres:
        steps = np.roll(ring, -1, axis=0) - ring
        along = ((centre - ring) * steps).sum(axis=1) / np.maximum((steps**2).sum(axis=1), 1e-12)
        nearest = ring + np.clip(along, 0, 1)[:, None] * steps
        assert np.hypot(*(centre - nearest).T).min() < 1


def test_compressed_and_plain_run_lengths_say_the_same_as_a_polygon(read):
    mask = box(SIZE, 4, 5, 9, 12)
    mask[6, 7] = False
    packed = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    counts = rle.encode(mask, by_columns=True).tolist()
    for segmentation in (
        {"size": list(SIZE), "counts": packed["counts"].decode()},
        {"size": list(SIZE), "counts": counts},
        {"size": list(SIZE), "counts": counts[:-1]},  # some programs leave out the pixels behind the last
    ):
        labels, _ = read(coco(annotation(1, segmentation=segmentation)))
        assert np.array_equal(labels, mask)


def test_numbers_of_categories_are_values_and_zero_is_not(read):
    categories = ((0, "tree"), (7, "cell"), (90, "cell"))
    tree = coco(
        annotation(7, segmentation=[square(1, 1)]),
        annotation(90, 2, segmentation=[square(8, 1)]),
        annotation(0, 3, segmentation=[square(16, 1)]),
        annotation(33, 4, segmentation=[square(22, 1)]),
        categories=categories,
    )
    labels, made = read(tree)
    values = {name: value for name, (value, _) in classes(made).items()}
    assert values == {"tree": 1, "cell": 7, "category 33": 33, "cell (90)": 90}
    assert [labels[2, x] for x in (2, 9, 17, 23)] == [7, 90, 1, 33]
    said = "\n".join(rows(made))
    assert "'tree' has the id 0, which means background in labels. | given a free value" in said
    assert "(90): another is called 'cell', too. | called cell (90)" in said
    assert "(4): a category 33 that isn't defined. | called 'category 33'" in said


def test_a_category_called_background_is_value_zero(read):
    tree = coco(annotation(1, segmentation=[square(1, 1)]), categories=((0, "background"), (1, "cell")))
    _, made = read(tree)
    assert classes(made)["background"][0] == 0
    assert made.problems == ()


def test_colours_of_categories_are_kept(read):
    tree = coco(annotation(1, segmentation=[square(1, 1)]))
    tree["categories"][0]["color"] = [10, 200, 30]
    assert classes(read(tree)[1])["cell"] == (1, "#0ac81e")


def test_a_crowd_lies_below_objects_and_is_none_of_them(read):
    crowd = {"size": list(SIZE), "counts": rle.encode(np.ones(SIZE, bool), by_columns=True).tolist()}
    tree = coco(
        annotation(1, segmentation=[square(1, 1)]),
        {**annotation(2, 2, segmentation=crowd), "iscrowd": 1},
    )
    labels, made = read(tree)
    assert labels[2, 2] == 1
    assert (labels == 2).sum() == 600 - 16
    assert "1 annotation (2): a crowd (iscrowd). | drawn below the others" in rows(made)[0]
    labels, made = read(tree, task="instances")
    assert labels.max() == 1
    assert labels.sum() == 16
    assert "a crowd (iscrowd) is several objects. | left out" in rows(made)[0]


def test_objects_are_numbered_in_the_order_of_the_file(read, tmp_path):
    tree = coco(
        annotation(2, segmentation=[square(1, 1), square(10, 1)]),
        annotation(1, 2, segmentation=[square(20, 1)]),
    )
    labels, _ = read(tree, task="instances")
    assert [labels[2, x] for x in (2, 11, 21)] == [1, 1, 2]
    assert objects(tmp_path / "out") == [("a", "1", "debris"), ("a", "2", "cell")]


def test_boxes_and_keypoints_are_said(read):
    tree = coco(
        annotation(1, bbox=[3, 2, 5, 4]),
        annotation(1, 2, bbox=[10, 2, 5, 4], segmentation=[]),
        annotation(1, 3, segmentation=[square(20, 2)], keypoints=[1, 2, 2], num_keypoints=1),
    )
    labels, made = read(tree)
    assert np.array_equal(labels != 0, box(SIZE, 2, 3, 6, 8) | box(SIZE, 2, 10, 6, 15) | box(SIZE, 2, 20, 6, 24))
    assert rows(made) == [
        "coco.json | 2 annotations (1, 2): a box and no outline. | drawn as a rectangle",
        "coco.json | 1 annotation (3): keypoints. | these are not drawn",
    ]


def test_what_is_wrong_is_in_the_table_and_the_rest_is_drawn(read):
    size = list(SIZE)
    tree = coco(
        annotation(1, 1, segmentation=[square(1, 1)]),
        annotation(1, 2, image=9, segmentation=[square(1, 1)]),
        annotation(1, 3, segmentation=[[1, 2, 3, 4]]),
        annotation(1, 4, segmentation=[[1, 2, 3, 4, 5, 6, 7]]),
        annotation(1, 5, segmentation={"size": size, "counts": [590, 11]}),
        annotation(1, 6, segmentation={"size": [5, 5], "counts": [20, 5]}),
        annotation(1, 7, segmentation={"size": size, "counts": "~~~"}),
        annotation(1, 8),
        annotation(1, 9, segmentation=[square(26, 1, 8)]),
        annotation(1, 10, segmentation=[square(100, 100)]),
        "nonsense",
        images=(("a.png", 30, 20), ("nowhere.png", 30, 20)),
    )
    labels, made = read(tree)
    assert np.array_equal(labels != 0, box(SIZE, 1, 1, 5, 5) | box(SIZE, 1, 26, 9, 30))
    said = "\n".join(rows(made))
    for words in (
        "(2): an image_id that no image has. | left out",
        "(3): a polygon of fewer than three corners. | that polygon is left out",
        "(3): no polygon of three corners. | left out",
        "(4): coordinates that are no list of x and y. | left out",
        "(5): run lengths that are negative, or longer than the image. | left out",
        "(6): run lengths of another size than the image has. | left out",
        "(7): run lengths in strange characters, or cut short. | left out",
        "(8): neither an outline nor a box. | left out",
        "1 annotation: no object of JSON. | left out",
        "a.png | Regions that reach out of the image: 2 of 3. | cut at its edge",
        "a.png | Regions that hold no pixel of the image: 1 of 3. | left out",
        "coco.json | There is no image 'nowhere.png'. | left out",
    ):
        assert words in said


def test_images_of_another_size_are_left_out_or_stretched(read, tmp_path):
    runs = {"size": [10, 15], "counts": rle.encode(box((10, 15), 1, 1, 4, 5), by_columns=True).tolist()}
    tree = coco(annotation(1, segmentation=runs), images=(("a.png", 15, 10),))
    with pytest.raises(DataError, match="annotated as 10 x 15 pixels, and has 20 x 30"):
        read(tree)
    labels, made = read(tree, rescale=True)
    assert np.array_equal(labels != 0, box(SIZE, 2, 2, 8, 10))
    assert "stretched" in rows(made)[0]


def test_two_images_of_one_file_name_are_not_mixed_up(read):
    tree = coco(
        annotation(1, 1, 1, segmentation=[square(1, 1)]),
        annotation(1, 2, 2, segmentation=[square(10, 10)]),
        images=(("train/a.png", 30, 20), ("val/a.png", 30, 20)),
    )
    labels, made = read(tree)
    assert np.array_equal(labels != 0, box(SIZE, 1, 1, 5, 5))
    assert "'train/a.png' and 'val/a.png' have one file name. | left out: the second" in rows(made)[0]


def test_ids_may_be_texts_and_a_polygon_may_lack_its_list(read):
    tree = coco(annotation("1", image="1", segmentation=square(3, 3)))
    labels, _ = read(tree)
    assert np.array_equal(labels == 1, box(SIZE, 3, 3, 7, 7))


def test_what_is_no_coco_is_a_sentence(read):
    with pytest.raises(DataError, match="panoptic COCO"):
        read(coco({"image_id": 1, "file_name": "a.png", "segments_info": []}))
    with pytest.raises(DataError, match="no images and annotations"):
        read([{"image_id": 1, "category_id": 1, "score": 0.5}], format="coco")
