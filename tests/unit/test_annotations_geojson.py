"""GeoJSON of QuPath: holes, planes, classes of all its versions, and plain GeoJSON of other programs."""

import json

import numpy as np
import pytest
import tifffile
from annotation_cases import box, classes, drawn, imported, make_images, objects, rows

from napari_segnet.annotations.model import Ellipse
from napari_segnet.errors import DataError

SIZE = (20, 30)


def ring(left, top, right, bottom):
    return [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]


def feature(kind, coordinates, classification=None, plane=None, properties=None, **geometry):
    geometry = {"type": kind, "coordinates": coordinates, **geometry}
    if plane is not None:
        geometry["plane"] = {"c": -1, "z": plane[0], "t": plane[1]}
    said = {"objectType": "annotation", **(properties or {})}
    if classification is not None:
        said["classification"] = classification
    return {"type": "Feature", "id": "6a1c-4f", "geometry": geometry, "properties": said}


def collection(*features):
    return {"type": "FeatureCollection", "features": list(features)}


@pytest.fixture
def read(tmp_path):
    images = make_images(tmp_path / "images", "a.png")

    def run(tree, name="a.geojson", **options):
        file = tmp_path / name
        file.write_text(json.dumps(tree))
        labels, made = imported(file, images, tmp_path / "out", overwrite=True, **options)
        return labels["a"], made

    return run


TUMOUR = {"name": "Tumor", "color": [200, 0, 0]}


def test_polygons_have_holes_and_several_parts(read):
    tree = collection(
        feature("Polygon", [ring(2, 2, 12, 12), ring(4, 4, 8, 8)], TUMOUR),
        feature("MultiPolygon", [[ring(15, 2, 18, 5)], [ring(20, 2, 26, 8), ring(21, 3, 24, 6)]], {"name": "Stroma"}),
    )
    labels, made = read(tree)
    tumour = box(SIZE, 2, 2, 12, 12) & ~box(SIZE, 4, 4, 8, 8)
    stroma = box(SIZE, 2, 15, 5, 18) | (box(SIZE, 2, 20, 8, 26) & ~box(SIZE, 3, 21, 6, 24))
    assert np.array_equal(labels, tumour + 2 * stroma.astype(int))
    assert classes(made)["Tumor"] == (1, "#c80000")
    assert made.problems == ()


@pytest.mark.parametrize(
    ("classification", "name", "colour"),
    [
        ({"name": "Tumor", "color": [200, 0, 0]}, "Tumor", "#c80000"),
        ({"names": ["Tumor", "Positive"], "color": [250, 62, 62]}, "Tumor: Positive", "#fa3e3e"),
        ({"name": "Tumor", "colorRGB": -3670016}, "Tumor", "#c80000"),  # before QuPath 0.4
        ("Tumor", "Tumor", None),
        (None, "object", None),
    ],
)
def test_classes_of_all_versions_of_qupath(classification, name, colour, read):
    _, made = read(collection(feature("Polygon", [ring(1, 1, 4, 4)], classification)))
    found = classes(made)
    assert list(found) == [name]
    assert colour is None or found[name] == (1, colour)


def test_lines_points_and_ellipses(read, tmp_path):
    tree = collection(
        feature("LineString", [[2, 3], [12, 3]], {"name": "line"}),
        feature("MultiLineString", [[[2, 8], [12, 8]], [[2, 12], [12, 12]]], {"name": "line"}),
        feature("MultiPoint", [[20.5, 2.5], [24.5, 2.5]], {"name": "dot"}),
        feature("Point", [28.5, 2.5], {"name": "dot"}),
        feature("Polygon", [[[14, 12], [20, 9], [26, 12], [20, 15], [14, 12]]], {"name": "oval"}, isEllipse=True),
    )
    labels, _ = read(tree, line_width=2, point_radius=0.6)
    assert all((labels[row : row + 2, 2:12] == 1).all() for row in (2, 7, 11))
    assert np.flatnonzero(labels[2] == 2).tolist() == [20, 24, 28]
    assert np.array_equal(labels == 3, drawn(Ellipse(20, 12, 6, 3), SIZE))
    labels, _ = read(tree, line_width=2, point_radius=0.6, task="instances")
    assert [row[2] for row in objects(tmp_path / "out")] == ["line", "line", "dot", "dot", "dot", "oval"]


@pytest.mark.parametrize("wrap", [lambda one: one, lambda one: [one, one], lambda one: collection(one)])
def test_one_feature_and_lists_are_read_too(wrap, read):
    labels, _ = read(wrap(feature("Polygon", [ring(1, 1, 4, 4)], TUMOUR)), name="a.json")
    assert labels.sum() == 9


def test_planes_of_a_stack(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    tifffile.imwrite(folder / "a.tif", np.zeros((3, *SIZE), np.uint8), imagej=True, metadata={"axes": "ZYX"})
    tree = collection(
        feature("Polygon", [ring(1, 1, 4, 4)], TUMOUR),
        feature("Polygon", [ring(6, 1, 9, 4)], TUMOUR, plane=(2, 0)),
        feature("Polygon", [ring(11, 1, 14, 4)], TUMOUR, plane=(3, 0)),
    )
    file = tmp_path / "a.geojson"
    file.write_text(json.dumps(tree))
    labels, made = imported(file, folder, tmp_path / "out")
    # QuPath leaves the plane out where it is the first.
    assert [plane.sum() for plane in labels["a"]] == [9, 0, 9]
    assert "are on planes" in rows(made)[0] or "on planes that the image doesn't have" in rows(made)[0]
    tree["features"] = tree["features"][:1]
    file.write_text(json.dumps(tree) + " ")
    labels, _ = imported(file, folder, tmp_path / "all")
    assert [plane.sum() for plane in labels["a"]] == [9, 9, 9]  # no plane anywhere: drawn on all


def test_times_and_depths_find_their_plane(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    tifffile.imwrite(folder / "a.tif", np.zeros((2, 3, *SIZE), np.uint8), imagej=True, metadata={"axes": "TZYX"})
    file = tmp_path / "a.geojson"
    places = [(0, 0), (2, 0), (1, 1), (2, 2)]
    file.write_text(json.dumps(collection(*(feature("Polygon", [ring(1, 1, 4, 4)], TUMOUR, plane=p) for p in places))))
    labels, made = imported(file, folder, tmp_path / "out")
    assert (labels["a"].sum(axis=(2, 3)) // 9).tolist() == [[1, 0, 1], [0, 1, 0]]
    assert len(made.problems) == 1


def test_plain_geojson_has_its_class_in_any_property(read):
    tree = collection(
        {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring(1, 1, 4, 4)]},
         "properties": {"species": "oak", "label": "tree"}},
        {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring(6, 1, 9, 4)]}, "properties": None},
    )  # fmt: skip
    assert list(classes(read(tree)[1])) == ["tree", "object"]
    assert list(classes(read(tree, attribute="species")[1])) == ["oak", "object"]
    with pytest.raises(DataError, match="no feature has a property 'age'. There are: label, species"):
        read(tree, attribute="age")


def test_a_single_file_goes_with_a_single_image_and_several_by_name(read, tmp_path):
    tree = collection(feature("Polygon", [ring(1, 1, 4, 4)], TUMOUR))
    labels, _ = read(tree, name="export of today.geojson")
    assert labels.sum() == 9
    images = make_images(tmp_path / "more", "cell.v2.png", "cell.v3.png")
    for name in ("cell.v2.geojson", "cell.v3.png.geojson", "other.geojson"):
        (tmp_path / name).write_text(json.dumps(tree))
    (tmp_path / "export of today.geojson").unlink()
    found, made = imported(tmp_path, images, tmp_path / "out2")
    assert sorted(found) == ["cell.v2", "cell.v3"]
    assert any("There is no image 'other'" in row for row in rows(made))


def test_what_is_wrong_is_in_the_table_and_the_rest_is_drawn(read):
    tree = collection(
        feature("Polygon", [ring(1, 1, 4, 4)], TUMOUR),
        feature("Polygon", [], TUMOUR),
        feature("Polygon", [[[1, 1], [2, 2]]], TUMOUR),
        feature("Polygon", [[[1, 1], [2], [3, 3]]], TUMOUR),
        feature("GeometryCollection", None, TUMOUR, geometries=[]),
        {"type": "Feature", "geometry": None, "properties": {}},
        {"type": "Feature", "properties": {"objectType": "root"}},
        {**feature("Polygon", [ring(6, 1, 9, 4)], TUMOUR), "nucleusGeometry": {"type": "Polygon", "coordinates": []}},
        feature("Polygon", [ring(1e300, 1, 4, 4)], TUMOUR),
        "nonsense",
    )
    labels, made = read(tree)
    assert labels.sum() == 18
    said = "\n".join(rows(made))
    for words in (
        "(2 Tumor): no coordinates. | left out",
        "(3 Tumor): fewer than 3 points. | left out",
        "(4 Tumor): coordinates that are no pairs of numbers. | left out",
        "(5 Tumor): a GeometryCollection, not a shape. | left out",
        "2 features (6, 10): no geometry. | left out",
        "(8 Tumor): a nucleus in a cell. | the cell is drawn",
        "(9 Tumor): coordinates beyond 1e9, or none. | left out",
    ):
        assert words in said


def test_what_is_no_geojson_is_a_sentence(read, tmp_path):
    with pytest.raises(DataError, match="no GeoJSON"):
        read({"type": "FeatureCollection"}, format="geojson")
    (tmp_path / "b.geojson").write_text('{"type": "Feature')
    with pytest.raises(DataError, match="is no JSON"):
        imported(tmp_path / "b.geojson", tmp_path / "images", tmp_path / "out")
