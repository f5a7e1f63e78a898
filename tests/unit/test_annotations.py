"""Annotations become labels: what is drawn where, which value a class has, and what is said about the rest."""

import csv
import json

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage.draw import polygon2mask

from napari_segnet.annotations import ImportOptions, read_annotations
from napari_segnet.annotations.classes import assign_values
from napari_segnet.annotations.convert import import_annotations
from napari_segnet.annotations.model import Bitmap, DrawnClass, Ellipse, Line, Point, Polygon
from napari_segnet.annotations.raster import covered, leaves
from napari_segnet.cli import run
from napari_segnet.errors import ConfigError, DataError, SegNetError
from napari_segnet.io.class_file import read_classes
from napari_segnet.models.info import read_info
from napari_segnet.run import RunFolder


def drawn(shape, size=(20, 30), **options):
    (rows, columns), inside = covered(shape, size, **options)
    mask = np.zeros(size, bool)
    mask[rows, columns] = inside
    return mask


def ring(*points):
    return np.array(points, float)


def test_a_rectangle_of_whole_numbers_holds_its_pixels_and_no_other():
    mask = drawn(Polygon((ring((3, 2), (8, 2), (8, 6), (3, 6)),)))
    expected = np.zeros((20, 30), bool)
    expected[2:6, 3:8] = True
    assert np.array_equal(mask, expected)


def test_polygons_that_share_an_edge_share_no_pixel_and_leave_none_out():
    left = drawn(Polygon((ring((2.3, 1.5), (15.5, 4.5), (11.5, 17.5), (4, 12)),)))
    right = drawn(Polygon((ring((15.5, 4.5), (28, 2), (26, 18.2), (11.5, 17.5)),)))
    whole = drawn(Polygon((ring((2.3, 1.5), (15.5, 4.5), (28, 2), (26, 18.2), (11.5, 17.5), (4, 12)),)))
    assert not (left & right).any()
    assert np.array_equal(left | right, whole)


def test_a_ring_in_a_ring_is_a_hole_and_one_in_that_an_island():
    rings = [ring((a, a), (b, a), (b, b), (a, b)) for a, b in ((1, 19), (4, 16), (8, 12))]
    assert drawn(Polygon(tuple(rings))).sum() == 18**2 - 12**2 + 4**2


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(-10, 40), st.floats(-10, 30)), min_size=3, max_size=9))
def test_a_polygon_holds_the_pixels_whose_centres_are_inside(points):
    corners = ring(*points)
    ours = drawn(Polygon((corners,)))
    # An independent way, on a canvas that holds all of it; centres within a hair of an edge may go either way.
    theirs = polygon2mask((60, 60), corners[:, ::-1] + [14.5, 14.5])[15:35, 15:45]
    starts, steps = corners, np.roll(corners, -1, axis=0) - corners
    y, x = np.mgrid[:20, :30] + 0.5
    near = np.zeros(ours.shape, bool)
    for (x0, y0), (dx, dy) in zip(starts, steps, strict=True):
        length = dx * dx + dy * dy
        t = np.clip(((x - x0) * dx + (y - y0) * dy) / length, 0, 1) if length > 1e-12 else 0.0
        near |= np.hypot(x - x0 - t * dx, y - y0 - t * dy) < 1e-6
    assert np.array_equal(ours[~near], theirs[~near])


def test_an_ellipse_has_the_area_of_its_formula_and_turns_from_x_to_y():
    mask = drawn(Ellipse(100, 80, 60, 20, np.pi / 6), size=(160, 200))
    assert mask.sum() == pytest.approx(np.pi * 60 * 20, rel=0.005)
    y, x = np.nonzero(mask)
    farthest = np.argmax(x)
    assert y[farthest] > 80  # y grows downwards: a turn from x towards y lowers the right end
    assert x.max() + 1 == pytest.approx(100 + np.hypot(60 * np.cos(np.pi / 6), 20 * np.sin(np.pi / 6)), abs=1)


def test_points_and_lines_are_as_large_as_the_options_say():
    assert drawn(Point(10, 10), point_radius=0.75).sum() == 4
    assert drawn(Point(10.5, 10.5), point_radius=0.6).sum() == 1
    line = drawn(Line(ring((5, 10), (25, 10))), line_width=4)
    assert np.array_equal(np.flatnonzero(line.sum(axis=1)), [8, 9, 10, 11])
    bent = drawn(Line(ring((5, 5), (15, 5), (15, 15))), line_width=2)
    assert bent[4, 5:15].all()
    assert bent[5:15, 15].all()
    assert not bent[10, 10]


def test_bitmaps_and_shapes_out_of_the_image_are_cut():
    mask = drawn(Bitmap(np.ones((5, 5), bool), row=-2, column=28))
    assert mask.sum() == 3 * 2
    assert mask[:3, 28:].all()
    assert drawn(Ellipse(500, 500, 3, 3)).sum() == 0
    assert leaves(Point(31.5, 3), (20, 30))
    assert not leaves(Polygon((ring((0, 0), (30, 0), (30.4, 20)),)), (20, 30))


def test_hostile_shapes_end_soon_in_a_sentence():
    zigzag = np.column_stack([np.tile([0.0, 10.0], 500_000), np.tile([0.0, 1e9], 500_000)])
    with pytest.raises(DataError, match="1000000 corners is too intricate"):
        covered(Polygon((zigzag,)), (10_000, 10_000))
    with pytest.raises(DataError, match="no numbers"):
        covered(Point(float("nan"), 3), (10, 10))
    with pytest.raises(DataError, match="line of .* corners is too intricate"):
        covered(Line(zigzag[:100_000]), (10_000, 10_000))
    assert drawn(Line(np.full((20_001, 2), 9.5)), line_width=1).sum() == 1
    assert drawn(Polygon((ring((-1e308, -1e308), (1e308, -1e308), (0, 1e308)),))).all()


def test_values_of_the_files_are_kept_and_the_others_fill_the_gaps():
    declared = [DrawnClass("sky", 3, "#112233"), DrawnClass("tree"), DrawnClass("copy", 3)]
    made = assign_values(declared, ["road", "tree", ""], ImportOptions())
    assert {name: value for name, (value, _) in made.items()} == {
        "sky": 3, "tree": 1, "copy": 2, "road": 4, "object": 5
    }  # fmt: skip
    assert made["sky"][1] == "#112233"
    chosen = assign_values(declared, ["road"], ImportOptions(classes=("tree", "sky")))
    assert {name: value for name, (value, _) in chosen.items()} == {"tree": 1, "sky": 2}


# -- a folder of images, and what VIA writes ---------------------------------------------------------------------------


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("a.jpg", "b.png", "c.png"):
        Image.fromarray(np.full((20, 30, 3), 90, np.uint8)).save(folder / name)
    return folder


def region(name, label=None, attribute="class", **shape):
    return {"shape_attributes": {"name": name, **shape}, "region_attributes": {attribute: label} if label else {}}


def polygon(label, *points, name="polygon"):
    x, y = zip(*points, strict=True)
    return region(name, label, all_points_x=list(x), all_points_y=list(y))


def square(label, left, top, side=4):
    right, bottom = left + side, top + side
    return polygon(label, (left, top), (right, top), (right, bottom), (left, bottom))


def entry(filename, *regions, size=1):
    return {f"{filename}{size}": {"filename": filename, "size": size, "regions": list(regions), "file_attributes": {}}}


def write(path, tree):
    path.write_text(json.dumps(tree), encoding="utf-8")
    return path


def labels(out, name):
    return tifffile.imread(out / f"{name}.tif")


def said(made):
    return [(p.file, p.problem, p.done) for p in made.problems]


def test_every_shape_of_via_is_drawn(images, tmp_path):
    shapes = (
        region("rect", "box", x=0, y=0, width=3, height=2),
        region("circle", "disc", cx=10, cy=10, r=4),
        region("ellipse", "disc", cx=22, cy=10, rx=6, ry=2, theta=0),
        region("point", "spot", cx=2.5, cy=17.5),
        polygon("line", (5, 18), (29, 18), name="polyline"),
    )
    file = write(tmp_path / "via.json", entry("a.jpg", *shapes))
    made = import_annotations(file, images, tmp_path / "out", ImportOptions(line_width=2, point_radius=1.1))
    found = labels(tmp_path / "out", "a")
    assert found.dtype == np.uint8
    assert [c.name for c in made.classes] == ["box", "disc", "spot", "line"]
    assert (found == 1).sum() == 6
    assert (found == 2).sum() == drawn(Ellipse(10, 10, 4, 4)).sum() + drawn(Ellipse(22, 10, 6, 2)).sum()
    assert found[17, 2] == 3
    assert (found == 3).sum() == 5
    assert (found[17:19, 5:29] == 4).all()


def test_json_csv_and_projects_of_versions_1_2_and_3_say_the_same(images, tmp_path):
    regions = [square("cell", 2, 3), region("circle", "gap", cx=20, cy=10, r=5)]
    tree = entry("a.jpg", *regions)
    files = [write(tmp_path / "v2.json", tree)]
    numbered = json.loads(json.dumps(tree))
    numbered["a.jpg1"]["regions"] = {str(i): r for i, r in enumerate(regions)}
    files.append(write(tmp_path / "v1.json", numbered))
    attributes = {"region": {"class": {"type": "dropdown", "options": {"cell": "", "gap": ""}, "default_options": {}}}}
    project = {"_via_settings": {}, "_via_img_metadata": tree, "_via_attributes": attributes}
    files.append(write(tmp_path / "project.json", project))
    table = tmp_path / "v2.csv"
    with table.open("w", newline="", encoding="utf-8") as text:
        writer = csv.writer(text)
        writer.writerow(
            ["#filename", "file_size", "file_attributes", "region_count", "region_id",
             "region_shape_attributes", "region_attributes"]
        )  # fmt: skip
        for number, r in enumerate(regions):
            parts = (json.dumps(r["shape_attributes"]), json.dumps(r["region_attributes"]))
            writer.writerow(["a.jpg", 1, "{}", 2, number, *parts])
        writer.writerow(["b.png", 1, "{}", 0, 0, "{}", "{}"])
    files.append(table)
    version_3 = {
        "project": {"pname": "p"},
        "file": {"1": {"fid": "1", "fname": "a.jpg"}},
        "view": {"1": {"fid_list": ["1"]}},
        "attribute": {"1": {"aname": "class", "type": 2, "options": {"0": "cell", "1": "gap"}}},
        "metadata": {
            "1_a": {"vid": "1", "flg": 0, "z": [], "xy": [7, 2, 3, 6, 3, 6, 7, 2, 7], "av": {"1": "0"}},
            "1_b": {"vid": "1", "flg": 0, "z": [], "xy": [3, 20, 10, 5], "av": {"1": "1"}},
        },
    }
    files.append(write(tmp_path / "v3.json", version_3))
    found = []
    for number, file in enumerate(files):
        made = import_annotations(file, images, tmp_path / f"out{number}")
        assert [(c.value, c.name) for c in made.classes] == [(1, "cell"), (2, "gap")]
        found.append(labels(tmp_path / f"out{number}", "a"))
    assert all(np.array_equal(found[0], other) for other in found)
    assert (found[0][3:7, 2:6] == 1).all()


def test_a_line_that_ends_where_it_began_is_an_outline_and_others_can_be(images, tmp_path):
    corners = [(5, 5), (15, 5), (15, 15), (5, 15)]
    closed = polygon("x", *corners, (5, 5), name="polyline")
    open_ = polygon("x", *corners, name="polyline")
    file = write(tmp_path / "via.json", entry("a.jpg", closed) | entry("b.png", open_))
    made = import_annotations(file, images, tmp_path / "out")
    assert labels(tmp_path / "out", "a").sum() == 100
    assert labels(tmp_path / "out", "b")[10, 10] == 0
    assert ("b.png", "Regions that are lines that don't end where they began: 1 of 1.",
            "drawn 3 pixels wide (see fill_lines)") in said(made)  # fmt: skip
    import_annotations(file, images, tmp_path / "filled", ImportOptions(fill_lines=True))
    assert labels(tmp_path / "filled", "b").sum() == 100


def test_what_does_not_fit_is_in_one_table_and_nothing_is_silent(images, tmp_path):
    tree = (
        entry("a.jpg", square("cell", 28, 2), square("dust", 5, 5), square("cell", 90, 90), region("blob", "cell"))
        | entry("b.png")
        | entry("gone.png", square("cell", 1, 1))
    )
    file = write(tmp_path / "via.json", tree)
    made = import_annotations(file, images, tmp_path / "out", ImportOptions(classes=("cell",)))
    assert said(made) == [
        ("a.jpg", "Region 4 (blob) can't be drawn.", "left out"),
        ("via.json", "There is no image 'gone.png'.", "left out"),
        ("c.png", "It has no annotation.", "left out"),
        ("a.jpg", "Regions that reach out of the image: 2 of 3.", "cut at its edge"),
        ("a.jpg", "Regions that hold no pixel of the image: 1 of 3.", "left out"),
        ("a.jpg", "1 region of the unknown class 'dust'.", "left out"),
        ("b.png", "Nothing is drawn on it.", "left out (--set keep_empty=true: background)"),
    ]
    with (tmp_path / "out" / "problems.csv").open(encoding="utf-8") as text:
        assert [tuple(row) for row in csv.reader(text)] == [("file", "problem", "done"), *said(made)]
    assert labels(tmp_path / "out", "a").sum() == 2 * 4
    assert not (tmp_path / "out" / "b.tif").exists()


def test_objects_get_numbers_and_keep_their_classes_in_a_table(images, tmp_path):
    file = write(
        tmp_path / "via.json", entry("a.jpg", square("cell", 1, 1), square("cell", 3, 3), square("gap", 20, 9))
    )
    made = import_annotations(file, images, tmp_path / "out", ImportOptions(task="instances"))
    found = labels(tmp_path / "out", "a")
    assert {int(v): int(n) for v, n in zip(*np.unique(found[found > 0], return_counts=True), strict=True)} == {
        1: 12, 2: 16, 3: 16
    }  # fmt: skip
    assert (tmp_path / "out" / "objects.csv").read_text() == "image,object,class\na,1,cell\na,2,cell\na,3,gap\n"
    assert ("a.jpg", "Regions that lie over others: 1 of 3.", "the later ones are on top") in said(made)


def test_regions_to_ignore_are_255_and_classes_json_says_so(images, tmp_path):
    file = write(tmp_path / "via.json", entry("a.jpg", square("cell", 1, 1), square("blurred", 10, 10)))
    import_annotations(file, images, tmp_path / "out", ImportOptions(ignore=("blurred",)))
    assert labels(tmp_path / "out", "a")[11, 11] == 255
    table = read_classes(tmp_path / "out" / "classes.json")
    assert [(c.value, c.name) for c in table.classes] == [(0, "background"), (1, "cell")]
    assert table.ignored == (255,)
    import_annotations(file, images, tmp_path / "strokes", ImportOptions(unlabelled="ignore"))
    table = read_classes(tmp_path / "strokes" / "classes.json")
    assert [(c.value, c.name) for c in table.classes] == [(1, "cell"), (2, "blurred")]
    assert table.ignored == ()


def test_names_of_classes_may_be_ticked_boxes_or_another_attribute(images, tmp_path):
    ticked = square(None, 1, 1)
    ticked["region_attributes"] = {"kind": {"cell": True, "dead": True, "debris": False}, "remark": "early"}
    file = write(tmp_path / "via.json", entry("a.jpg", ticked))
    assert [c.name for c in import_annotations(file, images, tmp_path / "1").classes] == ["cell+dead"]
    remark = ImportOptions(attribute="remark")
    assert [c.name for c in import_annotations(file, images, tmp_path / "2", remark).classes] == ["early"]
    with pytest.raises(DataError, match="no region has an attribute 'grade'. There are: kind, remark"):
        import_annotations(file, images, tmp_path / "3", ImportOptions(attribute="grade"))


def test_images_are_found_by_name_path_address_or_stem(images, tmp_path):
    tree = (
        entry("C:\\data\\A.jpg", square("x", 1, 1))
        | entry("https://example.org/pictures/b.png", square("x", 1, 1))
        | entry("sub/c.tif", square("x", 1, 1))
    )
    made = import_annotations(write(tmp_path / "via.json", tree), images, tmp_path / "out")
    assert sorted(file.name for file in made.files) == ["a.tif", "b.tif", "c.tif"]
    assert made.problems == ()


def test_labels_never_replace_images_or_corrected_labels(images, tmp_path):
    file = write(tmp_path / "via.json", entry("a.jpg", square("x", 1, 1)))
    with pytest.raises(SegNetError, match="is the folder of the images"):
        import_annotations(file, images, images)
    import_annotations(file, images, tmp_path / "out")
    tifffile.imwrite(tmp_path / "out" / "a.tif", np.full((20, 30), 7, np.uint8))
    with pytest.raises(SegNetError, match=r"a\.tif is there already"):
        import_annotations(file, images, tmp_path / "out")
    assert labels(tmp_path / "out", "a").min() == 7
    import_annotations(file, images, tmp_path / "out", ImportOptions(overwrite=True))
    assert labels(tmp_path / "out", "a").max() == 1


def test_a_folder_of_annotation_files_is_read_whole(images, tmp_path):
    folder = tmp_path / "annotations"
    folder.mkdir()
    write(folder / "one.json", entry("a.jpg", square("cell", 1, 1)))
    write(folder / "two.json", entry("b.png", square("gap", 1, 1)))
    (folder / "notes.txt").write_text("by hand")
    made = import_annotations(folder, images, tmp_path / "out")
    assert [(c.value, c.name) for c in made.classes] == [(1, "cell"), (2, "gap")]
    assert len(made.files) == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is no JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("[1, 2, 3]", "holds no annotations"),
        ('{"a": {"filename": 3, "regions": []}}', "No annotation of"),
        ('{"a": {"filename": "nowhere.png", "regions": []}}', "nowhere.png"),
    ],
)
def test_files_that_hold_no_annotations_are_a_sentence(content, words, images, tmp_path, capsys):
    file = tmp_path / "via.json"
    file.write_text(content)
    code = run(["import-annotations", str(file), "--images", str(images), "--out", str(tmp_path / "out")])
    error = capsys.readouterr().err
    assert code == 2
    assert error.startswith("error: ")
    assert words in error
    assert not (tmp_path / "out").exists()


def test_the_shell_prints_the_table_of_problems(images, tmp_path, capsys):
    file = write(tmp_path / "via.json", entry("a.jpg", square("cell", 28, 2)))
    out = tmp_path / "out"
    assert run(["import-annotations", str(file), "--images", str(images), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "reach out of the image" in printed
    assert "b.png" in printed
    assert f"Written: 1 label file in {out} (1 region, classes: 1 cell)" in printed


def test_an_unknown_format_names_the_known_ones(tmp_path):
    with pytest.raises(ConfigError, match="Did you mean 'via'"):
        read_annotations(tmp_path, ImportOptions(format="vja"))


def test_a_damaged_classes_json_is_a_sentence(tmp_path):
    for content in ("[]", "{", '{"1": {"name": "x"}}', '{"x": {"name": "x", "colour": "#000000"}}', '{"1": 3}'):
        (tmp_path / "classes.json").write_text(content)
        with pytest.raises(ConfigError):
            read_classes(tmp_path / "classes.json")


def test_training_knows_the_classes_that_were_imported(images, tmp_path):
    rng = np.random.default_rng(0)
    for name in ("a.jpg", "b.png"):
        Image.fromarray(rng.integers(0, 255, (64, 64, 3)).astype(np.uint8)).save(images / name)
    tree = {}
    for name in ("a.jpg", "b.png"):
        tree |= entry(name, square("nerve", 4, 4, 20), square("vessel", 30, 30, 20), square("blurred", 4, 40, 16))
    made = import_annotations(
        write(tmp_path / "via.json", tree), images, tmp_path / "out", ImportOptions(ignore=("blurred",))
    )
    assert [c.name for c in made.classes] == ["nerve", "vessel"]
    run_folder = tmp_path / "run"
    arguments = ["train", str(images), str(tmp_path / "out"), "--out", str(run_folder), "--network", "plain-unet"]
    tiny = ["--set", "train.patch_size=32", "--set", "train.steps_per_epoch=1", "--set", "model.options.width=4"]
    assert run([*arguments, *tiny, "--epochs", "1", "--device", "cpu"]) == 0
    data = RunFolder(run_folder).config.data
    assert [(c.value, c.name) for c in data.classes] == [(0, "background"), (1, "nerve"), (2, "vessel")]
    assert data.ignore_values == (255,)
    assert (data.task, data.unlabelled) == ("semantic", "background")
    assert [c.name for c in read_info(run_folder).classes] == ["background", "nerve", "vessel"]


def test_classes_that_no_region_has_leave_no_labels_of_nothing(images, tmp_path):
    file = write(tmp_path / "via.json", entry("a.jpg", square("cell", 1, 1)) | entry("b.png", square("gap", 1, 1)))
    made = import_annotations(file, images, tmp_path / "out", ImportOptions(classes=("cell",), ignore=("blurred",)))
    assert [path.name for path in made.files] == ["a.tif"]
    assert ("b.png", "None of its regions could be drawn.", "left out (--set keep_empty=true: background)") in said(
        made
    )
    assert ("", "No class is called 'blurred'.", "nothing is ignored for it") in said(made)
    with pytest.raises(DataError, match="No labels could be made"):
        import_annotations(file, images, tmp_path / "none", ImportOptions(classes=("foo",)))
