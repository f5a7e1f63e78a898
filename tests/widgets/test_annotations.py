"""Annotation files opened in the viewer, and shapes that become labels."""

import json

import numpy as np
import pytest
import roifile
from napari.layers import Image, Labels, Shapes
from PIL import Image as Picture

from napari_segnet._layers import CLASSES_KEY
from napari_segnet._reader import get_reader
from napari_segnet._shapes import labels_of_shapes, shapes_to_labels
from napari_segnet.errors import DataError


def via(path, *names):
    square = {"name": "polygon", "all_points_x": [2, 12, 12, 2], "all_points_y": [3, 3, 8, 8]}
    region = {"shape_attributes": square, "region_attributes": {"class": "nucleus"}}
    path.write_text(json.dumps({n: {"filename": n, "size": 1, "regions": [region]} for n in names}))
    return str(path)


def expected(shape=(20, 30)):
    mask = np.zeros(shape, np.uint8)
    mask[3:8, 2:12] = 1
    return mask


def open_file(path):
    reader = get_reader(path)
    assert reader is not None
    return reader(path)


@pytest.mark.viewer
def test_an_annotation_lands_on_the_open_image_it_belongs_to(viewer, tmp_path):
    viewer.add_image(np.zeros((20, 30)), name="b", scale=(0.5, 0.25), translate=(3, 4), units=("um", "um"))
    layers = open_file(via(tmp_path / "via.json", "a.png", "b.png"))
    assert len(layers) == 1
    array, shown, kind = layers[0]
    assert kind == "labels"
    assert np.array_equal(array, expected())
    labels = viewer.add_labels(array, **shown)
    assert tuple(labels.scale) == (0.5, 0.25)
    assert tuple(labels.translate) == (3, 4)
    assert labels.metadata[CLASSES_KEY][1]["name"] == "nucleus"


@pytest.mark.viewer
def test_dropping_an_annotation_on_the_viewer_asks_nothing(viewer, tmp_path):
    viewer.add_image(np.zeros((20, 30)), name="cells.tif")
    made = viewer.open(via(tmp_path / "via.json", "cells.png"), plugin="napari-segnet")
    assert [layer.name for layer in made] == ["cells.tif labels"]
    assert np.array_equal(made[0].data, expected())


@pytest.mark.viewer
def test_rois_that_name_no_image_land_on_the_only_open_one(viewer, tmp_path):
    viewer.add_image(np.zeros((20, 30)), name="cells")
    roi = roifile.ImagejRoi.frompoints(np.array([[2, 3], [12, 3], [12, 8], [2, 8]]))
    roi.tofile(str(tmp_path / "RoiSet.roi"))
    ((array, shown, _),) = open_file(str(tmp_path / "RoiSet.roi"))
    assert shown["name"] == "cells labels"
    assert np.array_equal(array, expected())


@pytest.mark.parametrize("folder", [".", "images", "../images"])
def test_the_image_beside_the_only_annotation_is_opened_too(folder, tmp_path):
    (tmp_path / "annotations").mkdir()
    place = tmp_path / "annotations" / folder
    place.mkdir(exist_ok=True)
    Picture.fromarray(np.full((20, 30, 3), 7, np.uint8)).save(place / "a.png")
    layers = open_file(via(tmp_path / "annotations" / "via.json", "a.png"))
    assert [kind for _, _, kind in layers] == ["image", "labels"]
    assert layers[0][1]["rgb"] is True
    assert np.array_equal(layers[1][0], expected())


def test_annotations_of_images_that_are_not_open_say_what_to_do(tmp_path):
    with pytest.raises(DataError, match=r"annotates 2 images \(a.png, b.png\), and none of them is open. Open them"):
        open_file(via(tmp_path / "via.json", "a.png", "b.png"))


def test_other_files_are_left_to_other_readers(tmp_path):
    (tmp_path / "x.json").write_text("{}")
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "points.csv").write_text("index,axis-0,axis-1\n0,1,2\n")
    np.save(tmp_path / "array.npy", np.zeros(3))
    Picture.fromarray(np.zeros((3, 3), np.uint8)).save(tmp_path / "mask.png")
    for name in ("x.json", "broken.json", "points.csv", "array.npy", "mask.png", "nothing.json"):
        assert get_reader(str(tmp_path / name)) is None


# -- shapes ------------------------------------------------------------------------------------------------------------


def test_shapes_are_drawn_where_they_lie_with_the_values_of_their_classes():
    image = Image(np.zeros((40, 60)), name="cells", scale=(0.5, 0.5), translate=(10, 0))
    shapes = Shapes(
        [
            # In world coordinates; the centre of pixel (r, c) is at (10 + r / 2, c / 2).
            np.array([[11.75, 0.75], [11.75, 4.25], [13.25, 4.25], [13.25, 0.75]]),
            np.array([[20, 10], [20, 20], [26, 20], [26, 10]]),
        ],
        shape_type=["polygon", "ellipse"],
        features={"class": ["nucleus", "vacuole"]},
    )
    labels, problems = labels_of_shapes(shapes, image)
    mask = labels.data
    assert problems == ()
    assert (mask == 1).sum() == 3 * 7
    assert (mask[4:7, 2:9] == 1).all()
    assert (mask == 2).sum() == pytest.approx(np.pi * 6 * 10, rel=0.04)
    y, x = np.nonzero(mask == 2)
    assert (y.mean(), x.mean()) == pytest.approx(((23 - 10) * 2, 15 * 2), abs=0.6)
    assert tuple(labels.scale) == (0.5, 0.5)
    assert tuple(labels.translate) == (10, 0)
    assert [c["name"] for c in labels.metadata[CLASSES_KEY].values()] == ["nucleus", "vacuole"]


def test_every_kind_of_shape_is_drawn_and_objects_are_numbered():
    image = Image(np.zeros((50, 50)), name="cells")
    corners = np.array([[5.0, 5.0], [5.0, 15.0], [10.0, 15.0], [10.0, 5.0]])
    kinds = ["rectangle", "polygon", "ellipse", "path", "line"]
    data = [corners + np.array([9, 0]) * i for i in range(4)] + [np.array([[45.0, 5.0], [45.0, 40.0]])]
    shapes = Shapes(data, shape_type=kinds, edge_width=2)
    labels, _ = labels_of_shapes(shapes, image, "instances")
    areas = [int((labels.data == n).sum()) for n in range(1, 6)]
    assert all(area > 0 for area in areas)
    assert areas[0] == areas[1] == 6 * 11 or areas[0] == areas[1] == 5 * 10
    assert areas[4] == pytest.approx(35 * 2, abs=8)


def test_shapes_on_a_plane_of_a_stack_stay_there():
    image = Image(np.zeros((12, 20, 20)), name="stack")
    square = np.array([[2, 1.6, 1.6], [2, 1.6, 6.4], [2, 6.4, 6.4], [2, 6.4, 1.6]])
    labels, _ = labels_of_shapes(Shapes([square], shape_type="polygon"), image)
    assert np.flatnonzero(labels.data.any(axis=(1, 2))).tolist() == [2]
    assert labels.data.sum() == 25


def test_shapes_beside_the_image_are_a_sentence():
    image = Image(np.zeros((20, 20)), name="cells")
    far = Shapes([np.array([[90.0, 90.0], [90, 95], [95, 95]])], shape_type="polygon", name="outlines")
    with pytest.raises(DataError, match="No shape of 'outlines' lies on 'cells'"):
        labels_of_shapes(far, image)
    with pytest.raises(DataError, match="holds no shapes"):
        labels_of_shapes(Shapes(name="empty"), image)


def test_labels_made_of_shapes_are_labels_the_dock_knows():
    image = Image(np.zeros((20, 20, 3), np.uint8), name="photo", rgb=True)
    square = np.array([[1.6, 1.6], [1.6, 6.4], [6.4, 6.4], [6.4, 1.6]])
    labels, _ = labels_of_shapes(Shapes([square], shape_type="polygon"), image)
    assert isinstance(labels, Labels)
    assert labels.data.shape == (20, 20)
    assert labels.data.dtype == np.uint8


@pytest.mark.viewer
def test_the_command_draws_the_active_shapes_on_the_image_below(viewer, monkeypatch):
    viewer.add_image(np.zeros((20, 20)), name="below")
    square = np.array([[1.6, 1.6], [1.6, 6.4], [6.4, 6.4], [6.4, 1.6]])
    viewer.add_shapes([square, square + 10, square + 300], shape_type="polygon", name="outlines")
    viewer.add_image(np.zeros((5, 5)), name="above")
    viewer.layers.selection.active = viewer.layers["outlines"]
    said = []
    monkeypatch.setattr("napari_segnet._shapes.show_warning", said.append)
    shapes_to_labels(viewer)
    assert viewer.layers["outlines labels"].data.sum() == 50
    lines = said[0].splitlines()
    assert lines[0] == "Regions that reach out of the image: 1 of 3. Cut at its edge."
    assert lines[1] == "Regions that hold no pixel of the image: 1 of 3. Left out."
