"""LabelMe: shapes of all kinds, groups and masks become labels; file names of any system find their image."""

import base64
import io
import json

import numpy as np
import pytest
from annotation_cases import box, classes, drawn, imported, make_images, objects, rows
from PIL import Image, ImageDraw

from napari_segnet.annotations import read_annotations
from napari_segnet.annotations.model import Ellipse, Polygon
from napari_segnet.errors import DataError

SIZE = (20, 30)


def shape(label, kind, *points, **more):
    return {
        "label": label, "points": [list(point) for point in points], "group_id": None, "description": "",
        "shape_type": kind, "flags": {}, "mask": None, **more,
    }  # fmt: skip


def labelme(*shapes, name="a.png", size=SIZE):
    return {
        "version": "6.3.1", "flags": {"checked": True}, "shapes": list(shapes), "imagePath": name, "imageData": None,
        "imageHeight": size[0], "imageWidth": size[1],
    }  # fmt: skip


def png(mask):
    stream = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8)).save(stream, format="PNG")
    return base64.b64encode(stream.getvalue()).decode()


@pytest.fixture
def read(tmp_path):
    images = make_images(tmp_path / "images", "a.png")

    def run(tree, **options):
        file = tmp_path / "a.json"
        file.write_text(json.dumps(tree))
        labels, made = imported(file, images, tmp_path / "out", overwrite=True, **options)
        return labels["a"], made

    return run


def test_rectangles_polygons_and_circles_lie_where_labelme_shows_them(read):
    labels, made = read(
        labelme(
            shape("cell", "rectangle", (8, 6), (3, 2)),
            shape("cell", "polygon", (10, 2), (15, 2), (15, 6), (10, 6)),
            shape("disc", "circle", (20, 10), (23, 14)),
            shape("cell", "rectangle", (1, 12), (4, 12), (4, 16), (1, 16)),
            shape("disc", "oriented_rectangle", (8, 10), (12, 14), (10, 16), (6, 12)),
        )
    )
    assert np.array_equal(labels == 1, box(SIZE, 2, 3, 6, 8) | box(SIZE, 2, 10, 6, 15) | box(SIZE, 12, 1, 16, 4))
    turned = drawn(Polygon((np.array([[8.0, 10], [12, 14], [10, 16], [6, 12]]),)), SIZE)
    assert np.array_equal(labels == 2, drawn(Ellipse(20, 10, 5, 5), SIZE) | turned)
    assert turned.sum() == 16
    assert list(classes(made)) == ["cell", "disc"]
    assert made.problems == ()


def test_masks_of_labelmes_own_scripts_lie_in_the_same_place_and_are_a_little_larger():
    # These use Pillow so (labelme/utils/shape.py, shape_to_mask): the outline is drawn, too.
    random = np.random.default_rng(0)
    excess, shift = [], []
    for _ in range(150):
        corners = random.uniform(10, 90, (3, 2))
        sides = np.hypot(*(corners - np.roll(corners, 1, axis=0)).T).sum()
        theirs = Image.new("L", (100, 100))
        ImageDraw.Draw(theirs).polygon([tuple(corner) for corner in corners], outline=1, fill=1)
        theirs, ours = np.asarray(theirs) > 0, drawn(Polygon((corners,)), (100, 100))
        excess.append((theirs.sum() - ours.sum()) / sides)
        if ours.sum() > 400:
            shift.append(np.argwhere(theirs).mean(axis=0) - np.argwhere(ours).mean(axis=0))
    assert 0.2 < np.mean(excess) < 0.5
    assert np.abs(np.mean(shift, axis=0)).max() < 0.2  # half a pixel, if they meant centres


def test_shapes_of_one_label_and_group_are_one_object(read, tmp_path):
    left, right = ((1, 1), (5, 5)), ((10, 1), (14, 5))
    tree = labelme(
        shape("cell", "rectangle", *left, group_id=3),
        shape("cell", "rectangle", (20, 1), (24, 5)),
        shape("cell", "rectangle", *right, group_id=3),
        shape("dirt", "rectangle", (1, 10), (5, 14), group_id=3),
        shape("cell", "points", (10.5, 12.5), (16.5, 12.5)),
    )
    labels, _ = read(tree, task="instances", point_radius=0.6)
    assert [labels[2, 2], labels[2, 11], labels[2, 21], labels[11, 2]] == [1, 1, 2, 3]
    assert [labels[12, 10], labels[12, 16]] == [4, 5]
    assert [row[2] for row in objects(tmp_path / "out")] == ["cell", "cell", "dirt", "cell", "cell"]


def test_lines_and_points_are_as_large_as_the_options_say(read):
    tree = labelme(
        shape("edge", "line", (5, 10), (25, 10)),
        shape("edge", "linestrip", (2, 3), (12, 3), (12, 8)),
        shape("edge", "point", (20.5, 16.5)),
    )
    labels, made = read(tree, line_width=2, point_radius=0.6)
    assert labels[9:11, 5:25].all()
    assert labels[2:4, 2:12].all()
    assert labels[16, 20]
    assert not labels[16, 18]
    assert "lines that don't end where they began" in rows(made)[0]


def test_masks_are_pictures_in_the_file(read):
    pixels = np.array([[1, 1, 0], [0, 1, 1]], bool)
    labels, made = read(labelme(shape("cell", "mask", (5, 7), (7, 8), mask=png(pixels))))
    assert np.array_equal(labels[7:9, 5:8], pixels)
    assert labels.sum() == 4
    assert made.problems == ()


@pytest.mark.parametrize("name", ["..\\images\\A.PNG", "/home/ann/a.png", "a.png", "a.jpg"])
def test_the_image_is_found_whatever_folder_it_was_in(name, read):
    labels, made = read(labelme(shape("cell", "rectangle", (1, 1), (3, 3)), name=name))
    assert labels.sum() == 4
    assert made.problems == ()


def test_a_file_without_the_name_of_its_image_goes_by_its_own(tmp_path):
    images = make_images(tmp_path / "images", "a.png", "b.png")
    folder = tmp_path / "labelme"
    folder.mkdir()
    for stem, side in (("a", 2), ("b", 3)):
        tree = labelme(shape("cell", "rectangle", (0, 0), (side, side)), name="")
        (folder / f"{stem}.json").write_text(json.dumps(tree))
    labels, _ = imported(folder, images, tmp_path / "out")
    assert {stem: int(found.sum()) for stem, found in labels.items()} == {"a": 4, "b": 9}


def test_what_is_wrong_is_in_the_table_and_the_rest_is_drawn(read):
    tree = labelme(
        shape("cell", "rectangle", (1, 1), (3, 3)),
        shape("cell", "polygon", (1, 1), (3, 3)),
        shape("cell", "polygon", (1, 1), (3, "x"), (3, 9)),
        shape("cell", "spiral", (1, 1), (3, 3)),
        shape("cell", "mask", (1, 1), (3, 3), mask="####"),
        shape("cell", "mask", (1, 1), (3, 3), mask=base64.b64encode(b"\x89PNG nothing").decode()),
        shape("cell", "mask", (1, 1), (3, 3)),
        shape("cell", "mask", (0, 0), (3, 3), mask=png(np.ones((21, 3), bool))),
        shape("cell", "circle", (1, 1)),
        {"label": "cell"},
        7,
    )
    labels, made = read(tree)
    assert labels.sum() == 4
    said = "\n".join(rows(made))
    for words in (
        "(2 cell): a polygon of 2 points. | left out",
        "(3 cell, 10 cell, 11): coordinates that are no pairs of numbers. | left out",
        "(4 cell): a spiral of 2 points. | left out",
        "2 shapes (5 cell, 6 cell): a mask that is no PNG. | left out",
        "(7 cell): a mask without pixels. | left out",
        "(8 cell): a mask larger than the image. | left out",
        "(9 cell): a circle of 1 point. | left out",
    ):
        assert words in said


def test_a_file_of_another_size_is_left_out_and_one_of_no_shapes_said(read, tmp_path):
    with pytest.raises(DataError, match="annotated as 40 x 60 pixels, and has 20 x 30"):
        read(labelme(shape("cell", "rectangle", (1, 1), (3, 3)), size=(40, 60)))
    file = tmp_path / "other.json"
    file.write_text(json.dumps({"imagePath": "a.png", "shapes": 3}))
    with pytest.raises(DataError, match="none of LabelMe"):
        imported(file, tmp_path / "images", tmp_path / "out2", format="labelme")
    assert read_annotations(tmp_path / "a.json").images[0].size == (40, 60)
