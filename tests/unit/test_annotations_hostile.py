"""Damaged and hostile annotation files end soon, in little memory, and in a sentence or a row of the table."""

import base64
import contextlib
import copy
import itertools
import json
import struct
import time
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
from annotation_cases import imported, make_images, rows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from roifile import ROI_TYPE, ImagejRoi

from napari_segnet.annotations import paint
from napari_segnet.errors import DataError, SegNetError

SIZE = (20, 30)
MASK = base64.b64encode(
    b"\x89PNG\r\n\x1a\n"
    + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in (
            (b"IHDR", struct.pack(">IIBBBBB", 3, 2, 8, 0, 0, 0, 0)),
            (b"IDAT", zlib.compress(b"\0\1\1\0\0\0\1\1")),
            (b"IEND", b""),
        )
    )
).decode()

COCO = {
    "images": [{"id": 1, "file_name": "a.png", "width": 30, "height": 20}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "bbox": [1, 1, 8, 8],
         "segmentation": [[1, 1, 9, 1, 9, 9], [1, 12, 5, 12, 5, 15]], "attributes": {"segnet_object": 4}},
        {"id": 2, "image_id": 1, "category_id": 2, "iscrowd": 1,
         "segmentation": {"size": [20, 30], "counts": [5, 7, 20]}},
        {"id": 3, "image_id": 1, "category_id": 2, "iscrowd": 0, "segmentation": {"size": [20, 30], "counts": "56e0"}},
        {"id": 4, "image_id": 1, "category_id": 2, "bbox": [3, 4, 5, 6]},
    ],
    "categories": [{"id": 1, "name": "cell", "color": [1, 2, 3]}, {"id": 2, "name": "dirt", "keypoints": []}],
}  # fmt: skip
LABELME = {
    "version": "6.3.1", "flags": {}, "imagePath": "a.png", "imageData": None, "imageHeight": 20, "imageWidth": 30,
    "shapes": [
        {"label": "cell", "shape_type": "polygon", "points": [[1, 1], [9, 1], [9, 9]], "group_id": 1},
        {"label": "cell", "shape_type": "circle", "points": [[9, 9], [12, 9]], "group_id": 1},
        {"label": "cell", "shape_type": "rectangle", "points": [[9, 9], [12, 12]]},
        {"label": "line", "shape_type": "linestrip", "points": [[9, 9], [12, 12], [3, 4]]},
        {"label": "dot", "shape_type": "points", "points": [[9, 9], [12, 12]]},
        {"label": "cell", "shape_type": "mask", "points": [[3, 4], [5, 5]], "mask": MASK},
    ],
}  # fmt: skip
GEOJSON = {
    "type": "FeatureCollection",
    "features": [
        {"type": "Feature", "geometry": {"type": kind, "coordinates": coordinates, **more},
         "properties": {"objectType": "annotation", "classification": {"name": "cell", "color": [1, 2, 3]},
                        "metadata": {"segnet_object": "3", "segnet_value": "2"}}}
        for kind, coordinates, more in (
            ("Polygon", [[[1, 1], [9, 1], [9, 9], [1, 1]]], {"plane": {"c": -1, "z": 0, "t": 0}}),
            ("Polygon", [[[1, 1], [9, 1], [9, 9], [1, 1]]], {"isEllipse": True}),
            ("MultiPolygon", [[[[1, 1], [9, 1], [9, 9]], [[2, 2], [3, 2], [3, 3]]]], {}),
            ("LineString", [[1, 1], [9, 1]], {}),
            ("MultiPoint", [[1, 1], [9, 1]], {}),
        )
    ],
}  # fmt: skip
NUMBERS = itertools.count()

junk = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.sampled_from([0, -1, 2**31, 2**63, -(2**64), 10**400, 10**12]),
        st.floats(),
        st.sampled_from([1e308, -1e308, 5e-324, float("nan"), float("inf"), float("-inf")]),
        st.text(max_size=8),
        st.sampled_from(["\ud800", "\x00", "a" * 5000, "1e999", "nan", "../../a", "polygon", "mask", "#ff"]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
    max_leaves=6,
)


def places(tree, path=()):
    """Return where there is something in a tree of JSON."""
    yield path
    for key, part in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        yield from places(part, (*path, key))


def changed(tree, path, value):
    if not path:
        return value
    tree = copy.deepcopy(tree)
    inside = tree
    for key in path[:-1]:
        inside = inside[key]
    if value is KeyError:
        del inside[path[-1]]
    else:
        inside[path[-1]] = value
    return tree


@st.composite
def mutations(draw, tree):
    """Draw a valid file with one to three things replaced or left out."""
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(places(tree))))
        tree = changed(tree, path, draw(st.one_of(junk, st.just(KeyError)) if path else junk))
    return tree


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("hostile")


@pytest.fixture(scope="module")
def images(folder):
    return make_images(folder / "images", "a.png")


def attempt(file, images, **options):
    """Import a file that may be anything: it works, or says what is wrong, within seconds."""
    start = time.perf_counter()
    with contextlib.suppress(SegNetError):
        imported(file, images, file.parent / "out", overwrite=True, keep_empty=True, **options)
    assert time.perf_counter() - start < 5
    file.unlink()


FUZZ = settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)


@pytest.mark.parametrize(("name", "tree"), [("coco", COCO), ("labelme", LABELME), ("geojson", GEOJSON)])
def test_files_without_a_mistake_are_read_without_a_sentence(name, tree, folder, images):
    file = folder / f"{name}-{next(NUMBERS)}.json"
    file.write_text(json.dumps(tree))
    labels, _ = imported(file, images, folder / "good", overwrite=True)
    assert labels["a"].any()


@FUZZ
@given(tree=mutations(COCO), task=st.sampled_from(["semantic", "instances"]))
def test_any_change_of_a_coco_file_ends_well(tree, task, folder, images):
    file = folder / f"{next(NUMBERS)}.json"
    file.write_text(json.dumps(tree))
    attempt(file, images, format="coco", task=task)


@FUZZ
@given(tree=mutations(LABELME), task=st.sampled_from(["semantic", "instances"]))
def test_any_change_of_a_labelme_file_ends_well(tree, task, folder, images):
    file = folder / f"{next(NUMBERS)}.json"
    file.write_text(json.dumps(tree))
    attempt(file, images, format="labelme", task=task)


@FUZZ
@given(tree=mutations(GEOJSON), task=st.sampled_from(["semantic", "instances"]))
def test_any_change_of_a_geojson_file_ends_well(tree, task, folder, images):
    file = folder / f"{next(NUMBERS)}.geojson"
    file.write_text(json.dumps(tree))
    attempt(file, images, format="geojson", task=task)


@FUZZ
@given(tree=mutations([COCO, LABELME, GEOJSON]))
def test_any_json_is_recognized_or_not(tree, folder, images):
    file = folder / f"{next(NUMBERS)}.json"
    file.write_text(json.dumps(tree[0] if isinstance(tree, list) and tree else tree))
    attempt(file, images)


VALUES = st.one_of(
    st.sampled_from(["", "-1", "1e308", "nan", "inf", "x", "1,2;3", "1,1;9,1;9,9", "1, 2, 3", "9" * 400, "0", "1e12"]),
    st.integers().map(str),
    st.text(alphabet=st.characters(codec="utf-8", categories=("L", "N", "P", "Z")), max_size=6),
)
XML_SHAPES = {
    "box": {"xtl": "1", "ytl": "1", "xbr": "5", "ybr": "5", "rotation": "30"},
    "polygon": {"points": "1,1;9,1;9,9"},
    "points": {"points": "1,1;9,1"},
    "ellipse": {"cx": "9", "cy": "9", "rx": "3", "ry": "4"},
    "mask": {"rle": "1, 2, 3", "left": "1", "top": "2", "width": "3", "height": "2"},
}


@st.composite
def cvat_texts(draw):
    from xml.sax.saxutils import quoteattr

    def element(tag, given, content=""):
        said = {k: draw(st.one_of(st.just(v), VALUES)) for k, v in given.items() if draw(st.integers(0, 9))}
        return f"<{tag} " + " ".join(f"{k}={quoteattr(v)}" for k, v in said.items()) + f">{content}</{tag}>"

    shapes = [
        element(tag, {"label": "cell", "z_order": "0", "group_id": "1", "frame": "0", "outside": "0", **given})
        for tag, given in XML_SHAPES.items()
    ]
    image = element("image", {"name": "a.png", "width": "30", "height": "20"}, "".join(shapes))
    track = element("track", {"id": "0", "label": "cell"}, "".join(shapes))
    text = f"<annotations><version>1.1</version>{image}{track}</annotations>"
    return text[: draw(st.integers(0, len(text)))] if draw(st.integers(0, 9)) == 0 else text


@FUZZ
@given(text=cvat_texts(), task=st.sampled_from(["semantic", "instances"]))
def test_any_change_of_a_cvat_file_ends_well(text, task, folder, images):
    file = folder / f"{next(NUMBERS)}.xml"
    file.write_text(text)
    attempt(file, images, task=task)


def rois():
    polygon = ImagejRoi.frompoints(np.array([[1, 1], [9, 1], [9, 9]]))
    polygon.props = "class: cell\n"
    points = ImagejRoi.frompoints(np.array([[1.5, 1.5], [9.5, 1.5]]))
    points.roitype = ROI_TYPE.POINT
    points.counters, points.counter_positions = np.zeros(2, np.uint8), np.ones(2, np.uint32)
    path = np.array([0, 1, 1, 1, 9, 1, 2, 9, 5, 9, 9, 3, 5, 9, 3, 9, 1, 9, 4], np.float32)
    composite = ImagejRoi(roitype=ROI_TYPE.RECT, shape_roi_size=len(path), multi_coordinates=path)
    oval = ImagejRoi(roitype=ROI_TYPE.OVAL, left=1, top=1, right=9, bottom=9, name="cell-1")
    return [roi.tobytes() for roi in (polygon, points, composite, oval)]


@FUZZ
@given(
    which=st.integers(0, 3),
    changes=st.lists(st.tuples(st.integers(4, 400), st.integers(0, 255)), min_size=1, max_size=6),
    cut=st.one_of(st.just(None), st.integers(0, 300)),
)
def test_any_change_of_an_imagej_file_ends_well(which, changes, cut, folder, images):
    data = bytearray(rois()[which])
    for place, value in changes:
        data[place % len(data)] = value
    file = folder / f"{next(NUMBERS)}.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("one.roi", bytes(data[:cut]))
    attempt(file, images)


def write(folder, tree, suffix=".json"):
    file = folder / f"{next(NUMBERS)}{suffix}"
    file.write_text(tree if isinstance(tree, str) else json.dumps(tree))
    return file


def test_deep_files_are_said(folder, images):
    deep = "[" * 50_000 + "1" + "]" * 50_000
    with pytest.raises(DataError, match="nested too deeply"):
        imported(write(folder, json.dumps(GEOJSON).replace("[[[1, 1], ", f"[{deep}, ", 1), ".geojson"), images, folder)
    deep = "[" * 200 + "1" + "]" * 200
    text = json.dumps(GEOJSON).replace("[[[1, 1], [9, 1], [9, 9], [1, 1]]]", deep, 1)
    _, made = imported(write(folder, text, ".geojson"), images, folder / "deep")
    assert "(1 cell): coordinates that are no pairs of numbers. | left out" in rows(made)[0]
    xml = "<annotations><version>1.1</version>" + "<a>" * 50_000 + "</a>" * 50_000 + "</annotations>"
    with pytest.raises(DataError, match="nested too deeply"):
        imported(write(folder, xml, ".xml"), images, folder / "deep")


def test_a_bomb_of_entities_is_refused(folder, images):
    lines = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">' for i in range(1, 20))
    xml = f'<!DOCTYPE annotations [<!ENTITY e0 "boom">{lines}]><annotations><version>&e19;</version></annotations>'
    with pytest.raises(DataError, match="defines entities"):
        imported(write(folder, xml, ".xml"), images, folder / "bomb", format="cvat")


def test_a_polygon_of_very_many_long_edges_is_left_out_soon(folder):
    large = make_images(folder / "large", "a.png", size=(2000, 2000))
    x, y = np.arange(300_000) % 2000, np.tile([0, 2000], 150_000)
    outline = np.column_stack([x, y]).ravel().tolist()
    tree = changed(COCO, ("annotations", 0, "segmentation"), [outline])
    tree = changed(tree, ("images", 0), {"id": 1, "file_name": "a.png"})
    tree["annotations"] = [tree["annotations"][0], tree["annotations"][3]]
    start = time.perf_counter()
    labels, made = imported(write(folder, tree), large, folder / "many")
    assert time.perf_counter() - start < 10
    assert labels["a"].any()
    assert "300000 corners is too intricate" in rows(made)[-1]


def test_runs_of_any_length_take_no_more_memory_than_the_image(folder, images):
    huge = [10**12, 10**18, 10**400, -5, 2**63]
    entries = [
        {"id": n, "image_id": 1, "category_id": 1, "segmentation": {"size": [20, 30], "counts": [0, run]}}
        for n, run in enumerate(huge)
    ]
    xml = (
        '<annotations><version>1.1</version><image id="0" name="a.png">'
        '<mask label="cell" rle="7, 999999999000" left="-5" top="-5" width="1000000" height="1000000"/>'
        '<mask label="cell" rle="1, 1" left="0" top="0" width="1e9" height="1e9"/></image></annotations>'
    )
    tracemalloc.start()
    labels, _ = imported(write(folder, xml, ".xml"), images, folder / "runs", overwrite=True)
    assert labels["a"].all()
    with pytest.raises(DataError, match="Nothing is drawn on it"):
        imported(write(folder, {**COCO, "annotations": entries}), images, folder / "runs", overwrite=True)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000_000


def test_a_picture_that_says_it_is_huge_is_not_decoded(folder, images):
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 1, 0, 0, 0, 0)
    bomb = bytearray(base64.b64decode(MASK))
    bomb[16:29] = header
    bomb[29:33] = struct.pack(">I", zlib.crc32(b"IHDR" + header))
    tree = changed(LABELME, ("shapes", 5, "mask"), base64.b64encode(bomb).decode())
    _, made = imported(write(folder, tree), images, folder / "picture", overwrite=True)
    assert "(6 cell): a mask larger than the image. | left out" in rows(made)[0]


def test_a_zip_file_that_unpacks_to_gigabytes_is_refused(folder, images):
    file = folder / f"{next(NUMBERS)}.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("one.roi", "w") as entry:
        for _ in range(65):
            entry.write(bytes(2**20))
    assert file.stat().st_size < 100_000
    with pytest.raises(DataError, match="unpacks to more than ROIs can be"):
        imported(file, images, folder / "zip")


def test_zip_files_that_are_damaged_or_locked_are_said(folder, images):
    file = folder / "set.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("one.roi", rois()[0])
        archive.writestr("two.roi", rois()[3])
    data = bytearray(file.read_bytes())
    place = data.find(b"Iout")
    data[place + 20] ^= 255  # the checksum of the first no longer fits
    file.write_bytes(bytes(data))
    labels, made = imported(file, images, folder / "zips", overwrite=True)
    assert labels["a"].any()
    assert "1 ROI (one.roi): damaged in the zip file. | left out" in rows(made)[0]
    file.write_bytes(bytes(data[:-30]))
    with pytest.raises(DataError, match="is damaged|holds no annotations"):
        imported(file, images, folder / "zips", format="imagej")


def test_an_image_is_not_covered_without_end(folder, images, monkeypatch):
    monkeypatch.setattr(paint, "_MOST_PIXELS", 1000)
    monkeypatch.setattr(paint, "_MOST_COVERS", 1)
    whole = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 30, 20]}
    tree = {**COCO, "annotations": [{"id": n, **whole} for n in range(5)]}
    _, made = imported(write(folder, tree), images, folder / "cover", overwrite=True)
    assert any("come after others of too many pixels: 3 of 5" in row for row in rows(made))


def test_outlines_with_long_edges_are_not_drawn_without_end(folder, images, monkeypatch):
    monkeypatch.setattr(paint, "_MOST_PIXELS", 100_000)
    up_and_down = np.column_stack([np.arange(2000) % 30, np.tile([0, 20], 1000)]).ravel().tolist()
    zigzag = {"image_id": 1, "category_id": 1, "segmentation": [up_and_down]}
    tree = {**COCO, "annotations": [{"id": n, **zigzag} for n in range(5)]}
    _, made = imported(write(folder, tree), images, folder / "zigzag", overwrite=True)
    assert any("come after others of too many pixels: 4 of 5" in row for row in rows(made))


def test_the_table_stays_short_however_much_is_wrong(folder, images):
    wrong = [{"id": n, "image_id": 1, "category_id": 1, "segmentation": [[1, 1]]} for n in range(20_000)]
    tree = {**COCO, "annotations": [COCO["annotations"][0], *wrong]}
    _, made = imported(write(folder, tree), images, folder / "short", overwrite=True)
    assert len(made.problems) == 2
    assert "20000 annotations (0, 1, 2 ...): no polygon of three corners." in rows(made)[1]


@pytest.mark.parametrize("name", ["a" * 3000 + ".png", "\x00.png", "\ud800.png", "..", "con.png/"])
def test_strange_names_of_images_are_said(name, folder, images):
    tree = copy.deepcopy(COCO)
    tree["images"].append({"id": 2, "file_name": name})
    labels, made = imported(write(folder, tree), images, folder / "names", overwrite=True)
    assert labels["a"].any()
    assert any("There is no image" in row or "have one file name" in row for row in rows(made))
    assert (folder / "names" / "problems.csv").read_text(encoding="utf-8")


def test_a_damaged_file_in_a_folder_is_said_and_the_others_are_read(folder, tmp_path, images):
    (tmp_path / "a.json").write_text(json.dumps(LABELME))
    (tmp_path / "b.json").write_text('{"shapes": [')
    (tmp_path / "c.xml").write_text("<annotations><version>")
    (tmp_path / "d.json").write_text('{"some": "settings"}')
    labels, made = imported(tmp_path, images, tmp_path / "out")
    assert labels["a"].any()
    assert [row.split(" | ")[0] for row in rows(made) if "is no " in row] == ["b.json", "c.xml"]
