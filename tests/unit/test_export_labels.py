"""Labels in formats of other programs: they come back as they were, and other packages read them."""

import json

import numpy as np
import pytest
import tifffile
import typer
import zarr
from annotation_cases import classes, imported, make_images, objects, rows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from pycocotools.coco import COCO
from roifile import ROI_TYPE, roiread
from scipy import ndimage

from napari_segnet.annotations.contours import Piece, pieces, polygons
from napari_segnet.annotations.export import LABEL_FORMATS, ExportOptions, export_labels
from napari_segnet.cli.labels import export_labels as command
from napari_segnet.errors import ConfigError, DataError, SegNetError
from napari_segnet.io.images import open_image, open_labels

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools
SHAPES = st.tuples(st.integers(1, 12), st.integers(1, 12))
# Few values on few pixels: holes, islands, diagonal neighbours, objects at the border and of one pixel are frequent.
CLASSES = arrays.arrays(np.uint8, SHAPES, elements=st.sampled_from([0, 0, 1, 2, 5]))
NUMBERS = arrays.arrays(np.uint32, SHAPES, elements=st.sampled_from([0, 0, 1, 2, 7, 70_000, 2**32 - 1]))
WAYS = [("coco", "polygons"), ("coco", "rle"), ("geojson", "polygons"), ("imagej", "polygons")]


def save(folder, name, labels, **options):
    folder.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(folder / name, labels, **options)
    return folder / name


def out_of(folder, name):
    return folder / "coco.json" if name == "coco" else folder / "out"


def there_and_back(folder, images, task, name, outlines="polygons", **options):
    """Write labels of some images in a format, read them again, and return what came back."""
    for number, labels in enumerate(images):
        save(folder / "labels", f"{number}.tif", labels)
        make_images(folder / "images", f"{number}.png", size=labels.shape)
    export = ExportOptions(format=name, task=task, outlines=outlines)
    made = export_labels(folder / "labels", out_of(folder, name), export, images=folder / "images")
    written = made.files[0] if name == "coco" else folder / "out"
    back, result = imported(written, folder / "images", folder / "back", task=task, keep_empty=True, **options)
    assert result.problems == ()
    return [back[str(number)] for number in range(len(images))]


@pytest.fixture
def fresh(tmp_path_factory):
    return lambda: tmp_path_factory.mktemp("export")


def several(labels):
    """Files take longer than labels: each example has some."""
    return st.lists(labels, min_size=6, max_size=6)


FEW = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize(("name", "outlines"), WAYS)
@FEW
@given(images=several(CLASSES))
def test_classes_come_back_as_they_were(name, outlines, images, fresh):
    back = there_and_back(fresh(), images, "semantic", name, outlines)
    assert all(np.array_equal(made, labels) for made, labels in zip(back, images, strict=True))


@pytest.mark.parametrize(("name", "outlines"), WAYS)
@FEW
@given(images=several(NUMBERS))
def test_objects_come_back_with_their_numbers(name, outlines, images, fresh):
    back = there_and_back(fresh(), images, "instances", name, outlines)
    assert all(np.array_equal(made, labels) for made, labels in zip(back, images, strict=True))


@settings(max_examples=150, deadline=None)
@given(arrays.arrays(np.bool_, SHAPES))
def test_outlines_are_simple_rings_around_all_pixels(mask):
    parts = polygons(Piece(1, mask, 3, 5))
    assert len(parts) == ndimage.label(mask)[1]
    total = 0.0
    for rings in parts:
        for place, ring in enumerate(rings):
            assert len(np.unique(ring, axis=0)) == len(ring)
            x, y = ring.T
            area = (x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2
            assert (area > 0) == (place == 0)  # holes run the other way around
            total += area
    assert total == mask.sum()


def test_the_outline_of_a_ring_has_four_corners_outside_and_inside():
    mask = np.ones((5, 6), bool)
    mask[2:4, 2:3] = False
    ((outer, hole),) = polygons(Piece(1, mask, 10, 20))
    assert sorted(map(tuple, outer.tolist())) == [(20, 10), (20, 15), (26, 10), (26, 15)]
    assert sorted(map(tuple, hole.tolist())) == [(22, 12), (22, 14), (23, 12), (23, 14)]


def test_classes_are_split_into_connected_pieces_and_objects_are_not():
    labels = np.zeros((6, 8), np.uint16)
    labels[0, 0] = labels[1, 1] = labels[4, 6] = 3
    assert [piece.pixels.sum() for piece in pieces(labels, "semantic")] == [2, 1]  # diagonals connect
    (whole,) = pieces(labels, "instances")
    assert (whole.value, whole.row, whole.column, whole.pixels.shape) == (3, 0, 0, (5, 7))


def test_a_tolerance_makes_fewer_corners_that_stay_near(tmp_path):
    y, x = np.mgrid[:200, :200]
    disc = (x - 100) ** 2 + (y - 90) ** 2 < 70**2
    piece = Piece(1, disc, 0, 0)
    ((exact,),), ((rough,),) = polygons(piece), polygons(piece, tolerance=2.0)
    assert len(exact) > 200
    assert len(rough) < 40
    assert np.abs(np.hypot(*(rough - [100.5, 90.5]).T) - 70).max() < 2
    dot = polygons(Piece(1, np.ones((1, 1), bool), 4, 4), tolerance=50.0)
    assert len(dot[0][0]) == 4
    save(tmp_path / "labels", "a.tif", disc.astype(np.uint8))
    options = ExportOptions(format="geojson", task="semantic", tolerance=2.0)
    made = export_labels(tmp_path / "labels", tmp_path / "a.geojson", options)
    (feature,) = json.loads(made.files[0].read_text())["features"]
    assert len(feature["geometry"]["coordinates"][0]) == len(rough) + 1


# -- each format, as others read it ------------------------------------------------------------------------------------


@pytest.fixture
def cells(tmp_path):
    """Label files with two objects of two classes, one with a hole; their images, and what an import writes beside."""
    labels = np.zeros((20, 30), np.uint16)
    labels[2:8, 3:9] = 1
    labels[4:6, 5:7] = 0
    labels[10:15, 20:26] = 4
    labels[16, 29] = 4
    save(tmp_path / "labels", "a.tif", labels)
    make_images(tmp_path / "images", "a.png")
    table = {
        "0": {"name": "background", "colour": "#000000"},
        "1": {"name": "cell", "colour": "#ff8000", "objects": True},
        "3": {"name": "dirt", "colour": "#0000ff", "objects": True},
    }
    (tmp_path / "labels" / "classes.json").write_text(json.dumps(table))
    (tmp_path / "labels" / "objects.csv").write_text("image,object,class\na,1,cell\na,4,dirt\n")
    return tmp_path, labels


@pytest.mark.parametrize("outlines", ["polygons", "rle"])
def test_coco_is_what_pycocotools_reads(outlines, cells):
    folder, labels = cells
    out = folder / "coco.json"
    options = ExportOptions(format="coco", outlines=outlines)
    made = export_labels(folder / "labels", out, options, images=folder / "images")
    assert (made.task, made.guessed, made.regions) == ("instances", "", 2)
    coco = COCO(out)
    assert [(c["id"], c["name"]) for c in coco.loadCats(coco.getCatIds())] == [(1, "cell"), (3, "dirt")]
    assert coco.loadImgs(1) == [{"id": 1, "file_name": "a.png", "width": 30, "height": 20}]
    first, second = coco.loadAnns(coco.getAnnIds())
    assert np.array_equal(coco.annToMask(first), labels == 1)
    assert np.array_equal(coco.annToMask(second), labels == 4)
    assert (first["area"], first["bbox"], first["category_id"]) == (32, [3, 2, 6, 6], 1)
    assert (second["area"], second["bbox"], second["category_id"]) == (31, [20, 10, 10, 7], 3)
    assert isinstance(first["segmentation"], dict)  # polygons of COCO have no holes
    assert isinstance(second["segmentation"], list if outlines == "polygons" else dict)


@FEW
@given(images=several(NUMBERS))
def test_pycocotools_draws_our_polygons_as_they_were(images, fresh):
    folder = fresh()
    for number, labels in enumerate(images):
        save(folder / "labels", f"{number}.tif", labels)
    out = folder / "coco.json"
    export_labels(folder / "labels", out, ExportOptions(format="coco", task="instances"))
    coco = COCO(out)
    for annotation in coco.loadAnns(coco.getAnnIds()):
        labels = images[annotation["image_id"] - 1]
        assert np.array_equal(coco.annToMask(annotation), labels == annotation["attributes"]["segnet_object"])


def test_geojson_is_what_qupath_writes(cells):
    folder, _ = cells
    made = export_labels(folder / "labels", folder / "out", ExportOptions(format="geojson"))
    assert made.files == (folder / "out" / "a.geojson",)
    tree = json.loads(made.files[0].read_text())
    assert tree["type"] == "FeatureCollection"
    one, two = tree["features"]
    assert one["geometry"]["type"] == "Polygon"
    outer, hole = one["geometry"]["coordinates"]
    assert outer[0] == outer[-1]
    assert len(outer) == len(hole) == 5
    assert one["properties"] == {
        "objectType": "annotation",
        "classification": {"name": "cell", "color": [255, 128, 0]},
        "metadata": {"segnet_value": "1", "segnet_object": "1"},
        "name": "cell 1",
    }
    assert two["geometry"]["type"] == "MultiPolygon"
    assert [len(part) for part in two["geometry"]["coordinates"]] == [1, 1]
    assert two["properties"]["classification"]["color"] == [0, 0, 255]


def test_roi_sets_are_what_roifile_reads(cells):
    folder, _ = cells
    options = ExportOptions(format="imagej")
    made = export_labels(folder / "labels", folder / "out", options, images=folder / "images")
    assert made.files == (folder / "out" / "a_RoiSet.zip",)
    ring, pair = roiread(made.files[0])
    assert (ring.name, pair.name) == ("cell-1", "dirt-4")
    assert ring.composite
    assert [len(part) for part in ring.coordinates(multi=True)] == [5, 5]
    assert (ring.left, ring.top, ring.right, ring.bottom) == (3, 2, 9, 8)
    assert (ring.stroke_color, ring.group) == (b"\xff\xff\x80\x00", 1)
    assert pair.properties == {"class": "dirt", "segnet_object": 4, "segnet_value": 3}
    labels = np.zeros((20, 30), np.uint8)
    labels[1:3, 1:4] = 1
    save(folder / "plain", "b.tif", labels)
    export_labels(folder / "plain", folder / "b.zip", ExportOptions(format="imagej", task="semantic"))
    (traced,) = roiread(folder / "b.zip")
    assert traced.roitype == ROI_TYPE.TRACED
    assert sorted(map(tuple, traced.coordinates().tolist())) == [(1, 1), (1, 3), (4, 1), (4, 3)]


def test_far_corners_of_a_roi_have_more_than_two_bytes(tmp_path):
    labels = np.zeros((3, 40_000), np.uint8)
    labels[1, 39_990:] = 1
    assert np.array_equal(there_and_back(tmp_path, [labels], "semantic", "imagej")[0], labels)


def test_classes_and_objects_come_back_with_their_names(cells):
    folder, labels = cells
    for name in ("coco", "geojson", "imagej"):
        made = export_labels(folder / "labels", out_of(folder / name, name), ExportOptions(format=name))
        back, result = imported(made.files[0], folder / "images", folder / name / "back", task="instances")
        assert np.array_equal(back["a"], labels)
        assert objects(folder / name / "back") == [("a", "1", "cell"), ("a", "4", "dirt")]
        assert classes(result) == {"cell": (1, "#ff8000"), "dirt": (3, "#0000ff")}


# -- OME-Zarr ----------------------------------------------------------------------------------------------------------


def test_ome_zarr_holds_labels_below_their_image(cells):
    folder, labels = cells
    options = ExportOptions(format="ome-zarr")
    made = export_labels(folder / "labels", folder / "out", options, images=folder / "images")
    path = folder / "out" / "a.ome.zarr"
    assert made.files == (path,)
    image = open_image(path)
    assert (image.axes, image.shape) == ("CYX", (3, 20, 30))  # channels come first in OME-Zarr
    assert np.array_equal(np.asarray(open_labels(path / "labels" / "segmentation").array), labels)
    assert zarr.open_group(path / "labels", mode="r").attrs["ome"] == {"version": "0.5", "labels": ["segmentation"]}
    said = zarr.open_group(path / "labels" / "segmentation", mode="r").attrs["ome"]
    assert said["version"] == "0.5"
    assert said["image-label"] == {
        "colors": [
            {"label-value": 1, "rgba": [255, 128, 0, 255]},
            {"label-value": 4, "rgba": [0, 0, 255, 255]},
        ],
        "properties": [{"label-value": 1, "class": "cell"}, {"label-value": 4, "class": "dirt"}],
        "source": {"image": "../../"},
    }
    (scales,) = said["multiscales"]
    assert [axis["name"] for axis in scales["axes"]] == ["y", "x"]
    assert scales["datasets"] == [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1.0, 1.0]}]}]


def test_ome_zarr_without_an_image_is_the_labels(cells):
    folder, labels = cells
    made = export_labels(folder / "labels", folder / "one.zarr", ExportOptions(format="ome-zarr"))
    assert made.files == (folder / "one.zarr",)
    assert np.array_equal(np.asarray(open_labels(folder / "one.zarr").array), labels)
    said = zarr.open_group(folder / "one.zarr", mode="r").attrs["ome"]
    assert [color["label-value"] for color in said["image-label"]["colors"]] == [1, 4]
    assert "source" not in said["image-label"]


def test_ome_zarr_keeps_the_size_of_pixels(tmp_path):
    image = np.zeros((2, 3, 20, 30), np.uint8)
    folder = tmp_path / "images"
    folder.mkdir()
    options = {"imagej": True, "resolution": (4, 2)}
    metadata = {"axes": "ZCYX", "unit": "um", "spacing": 1.5}
    tifffile.imwrite(folder / "a.tif", image, metadata=metadata, **options)
    labels = np.zeros((2, 20, 30), np.uint8)
    labels[1, 2, 3] = 1
    save(tmp_path / "labels", "a.tif", labels)
    export_labels(
        tmp_path / "labels", tmp_path / "out", ExportOptions(format="ome-zarr", task="semantic"), images=folder
    )
    found = open_labels(tmp_path / "out" / "a.ome.zarr" / "labels" / "segmentation")
    assert np.array_equal(np.asarray(found.array), labels)
    assert (found.axes, found.pixel_size, found.units) == ("ZYX", (1.5, 0.5, 0.25), "micrometer")
    assert open_image(tmp_path / "out" / "a.ome.zarr").axes == "CZYX"


# -- stacks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axes", ["ZYX", "TZYX"])
@pytest.mark.parametrize("name", ["geojson", "imagej"])
@pytest.mark.parametrize("task", ["semantic", "instances"])
def test_planes_of_stacks_come_back(task, name, axes, tmp_path):
    shape = (2, 3, 6, 7)[4 - len(axes) :]
    labels = np.random.default_rng(0).choice(np.array([0, 0, 1, 2, 9], np.uint8), shape)
    save(tmp_path / "labels", "a.tif", labels, imagej=True, metadata={"axes": axes})
    save(tmp_path / "images", "a.tif", np.zeros(shape, np.uint8), imagej=True, metadata={"axes": axes})
    made = export_labels(tmp_path / "labels", tmp_path / "out", ExportOptions(format=name, task=task))
    back, result = imported(made.files[0], tmp_path / "images", tmp_path / "back", task=task)
    assert np.array_equal(back["a"], labels)
    assert result.problems == ()


def test_coco_knows_no_stacks(tmp_path):
    save(tmp_path / "labels", "a.tif", np.ones((2, 6, 7), np.uint8), imagej=True, metadata={"axes": "ZYX"})
    with pytest.raises(DataError, match="COCO knows no stacks"):
        export_labels(tmp_path / "labels", tmp_path / "a.json", ExportOptions(format="coco", task="semantic"))
    assert not (tmp_path / "a.json").exists()


# -- names, guesses and mistakes ---------------------------------------------------------------------------------------


def test_what_labels_mean_is_read_or_guessed_and_said(tmp_path):
    labels = np.zeros((40, 40), np.uint8)
    for number in range(9):
        labels[4 * number + 1 : 4 * number + 4, 5:20] = number + 1
    save(tmp_path / "labels", "a.tif", labels)
    out = tmp_path / "coco.json"
    made = export_labels(tmp_path / "labels", out, ExportOptions(format="coco"))
    assert made.task == "instances"
    assert "9 values, each in one piece" in made.guessed
    (tmp_path / "labels" / "classes.json").write_text('{"1": {"name": "leaf", "colour": "#00ff00"}}')
    made = export_labels(tmp_path / "labels", out, ExportOptions(format="coco", overwrite=True))
    assert (made.task, made.guessed) == ("semantic", "")
    assert [c.name for c in made.classes] == ["leaf", *(f"class {n}" for n in range(2, 10))]
    assert rows(made) == ["classes.json | 8 values (2, 3, 4 ...): not in classes.json. | called by its number"]


def test_pixels_that_do_not_count_are_a_class_that_can_be_ignored_again(tmp_path):
    labels = np.zeros((8, 8), np.uint8)
    labels[1:4, 1:4], labels[5:8] = 1, 255
    save(tmp_path / "labels", "a.tif", labels)
    table = {"1": {"name": "cell", "colour": "#00ff00"}, "255": {"name": "x", "colour": "#777777", "ignore": True}}
    (tmp_path / "labels" / "classes.json").write_text(json.dumps(table))
    images = make_images(tmp_path / "images", "a.png", size=(8, 8))
    made = export_labels(tmp_path / "labels", tmp_path / "a.geojson", ExportOptions(format="geojson"))
    back, _ = imported(made.files[0], images, tmp_path / "back", ignore=("ignored",))
    assert np.array_equal(back["a"], labels)
    assert '"ignore": true' in (tmp_path / "back" / "classes.json").read_text()


def test_labels_without_image_of_another_size_or_in_colour_are_said(tmp_path):
    images = make_images(tmp_path / "images", "a.png", "b.png", "c.png", "only.png")
    labels = tmp_path / "labels"
    save(labels, "a_mask.tif", np.ones((20, 30), np.uint8))
    save(labels, "b_mask.tif", np.ones((20, 31), np.uint8))
    save(labels, "lonely.tif", np.ones((20, 30), np.uint8))
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8)).save(labels / "c_mask.png")
    options = ExportOptions(format="geojson", task="semantic")
    made = export_labels(labels, tmp_path / "out", options, images=images)
    assert [file.name for file in made.files] == ["a.geojson"]
    said = "\n".join(rows(made))
    for words in (
        "lonely.tif | There is no image of this name. | left out",
        "only.png | It has no labels. | left out",
        "b_mask.tif | It is 20 x 31, its image 20 x 30. | left out",
        "is a colour image",
    ):
        assert words in said


def test_values_beyond_16_bits_are_no_classes(tmp_path):
    save(tmp_path / "labels", "a.tif", np.full((4, 4), 70_000, np.uint32))
    with pytest.raises(DataError, match="70000, which is no class. Choose --task instances"):
        export_labels(tmp_path / "labels", tmp_path / "a.json", ExportOptions(format="coco", task="semantic"))


def test_files_that_are_there_stay_and_names_have_to_fit(cells):
    folder, _ = cells
    save(folder / "labels", "b.tif", np.ones((4, 4), np.uint8))
    options = ExportOptions(format="geojson")
    (folder / "out").mkdir()
    (folder / "out" / "b.geojson").write_text("mine")
    with pytest.raises(SegNetError, match="b.geojson is there already, 1 such in all"):
        export_labels(folder / "labels", folder / "out", options)
    assert (folder / "out" / "b.geojson").read_text() == "mine"
    assert not (folder / "out" / "a.geojson").exists()
    export_labels(folder / "labels", folder / "out", ExportOptions(format="geojson", overwrite=True))
    assert (folder / "out" / "b.geojson").read_text() != "mine"
    with pytest.raises(SegNetError, match="one file for 2 label files"):
        export_labels(folder / "labels", folder / "all.geojson", options)
    with pytest.raises(SegNetError, match=r"no name for a \.json file"):
        export_labels(folder / "labels", folder / "out", ExportOptions(format="coco"))
    with pytest.raises(ConfigError, match="no format of labels called 'yolo'"):
        export_labels(folder / "labels", folder / "out", ExportOptions(format="yolo"))


def test_the_shell_says_what_was_written(cells, capsys):
    folder, _ = cells
    app = typer.Typer()
    app.command()(command)

    def shell(*arguments):
        app([str(argument) for argument in arguments], standalone_mode=False)
        return capsys.readouterr().out

    labels, images = folder / "labels", folder / "images"
    out = shell(labels, "--format", "coco", "--out", folder / "c.json", "--images", images, "--set", "outlines=rle")
    assert out == f"Written: {folder / 'c.json'} (2 regions, classes: 1 cell, 3 dirt)\n"
    make_images(images, "b.png")
    out = shell(labels, "--format", "imagej", "--out", folder / "rois", "--images", images)
    assert "b.png" in out
    assert "It has no labels." in out
    with pytest.raises(ConfigError, match="no option 'corners'"):
        shell(labels, "--format", "imagej", "--out", folder / "more", "--set", "corners=3")


def test_every_format_says_what_it_writes():
    for name, known in LABEL_FORMATS.items():
        assert known.writes
        assert callable(known.load().write), name


def test_photographs_given_as_labels_are_refused_at_once(tmp_path):
    (tmp_path / "images").mkdir()
    grey = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)
    Image.fromarray(grey).save(tmp_path / "images" / "a.png")
    with pytest.raises(DataError, match="values besides 0: they look like images"):
        export_labels(tmp_path / "images", tmp_path / "out", ExportOptions(format="geojson"))
    assert not (tmp_path / "out").exists()
