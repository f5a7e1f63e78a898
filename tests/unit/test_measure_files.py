"""Folders of labels measured: which files belong together, what the tables say, and what is told."""

import inspect
import json
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from napari_segnet.cli import measure as commands
from napari_segnet.cli import run
from napari_segnet.errors import ConfigError, DataError, SegNetError
from napari_segnet.io.write import write_tiff
from napari_segnet.measure import METHODS, MeasureOptions, measure_files, write_table
from napari_segnet.measure.columns import COLUMNS
from napari_segnet.measure.options import CircleOptions, ObjectOptions

LABELS = np.zeros((40, 50), np.uint8)
LABELS[5:15, 5:25] = 1
LABELS[20:30, 5:15] = 1
LABELS[20:35, 30:40] = 2


def numbered(seed=0):
    labels = np.zeros((40, 50), np.uint16)
    for number in range(1, 9):
        row, column = divmod(number - 1, 4)
        labels[row * 20 + 2 : row * 20 + 10, column * 12 + 2 : column * 12 + 8 + seed] = number * 3
    return labels


@pytest.fixture
def folders(tmp_path):
    """Two label files, their images with two channels, and their probabilities."""
    for name in ("labels", "images"):
        (tmp_path / name).mkdir()
    for name, labels in {"a": LABELS, "b": LABELS * 0}.items():
        image = np.stack([labels * 10.0 + 5, labels * 0 + 7.0]).astype(np.float32)
        probabilities = np.stack([labels == value for value in range(3)]).astype(np.float32) * 0.6 + 0.2
        tifffile.imwrite(
            tmp_path / "labels" / f"{name}.tif",
            labels,
            imagej=True,
            resolution=(2, 2),
            metadata={"unit": "um", "axes": "YX"},
        )
        tifffile.imwrite(tmp_path / "images" / f"{name}.tif", image, imagej=True, metadata={"axes": "CYX"})
        tifffile.imwrite(
            tmp_path / "labels" / f"{name}_probabilities.tif", probabilities, imagej=True, metadata={"axes": "CYX"}
        )
    return tmp_path


def named(folder, words):
    (folder / "classes.json").write_text(json.dumps(words))


CLASSES = {
    "0": {"name": "ground", "colour": "#000000"},
    "1": {"name": "cell", "colour": "#ff0000"},
    "2": {"name": "debris", "colour": "#00ff00"},
}


def test_a_folder_becomes_tables(folders):
    named(folders / "labels", CLASSES)
    notes, done = [], []
    made = measure_files(
        folders / "labels",
        folders / "out",
        images=folders / "images",
        probabilities=folders / "labels",
        on_progress=lambda *numbers: done.append(numbers),
        on_note=notes.append,
    )
    objects = pd.read_csv(made.files["objects"])
    assert objects["image"].tolist() == ["a"] * 3
    assert objects["unit"].unique().tolist() == ["micrometer"]
    assert objects["class_name"].tolist() == ["cell", "cell", "debris"]
    assert objects["area"].tolist() == [50, 25, 37.5]
    assert objects["intensity_c1_mean"].tolist() == [15, 15, 25]
    assert objects["intensity_c2_mean"].tolist() == [7, 7, 7]
    assert objects["mean_probability"].tolist() == pytest.approx([0.8] * 3)
    counts = pd.read_csv(made.files["counts"])
    assert counts[["image", "class_name", "objects"]].to_numpy().tolist() == [
        ["a", "cell", 2],
        ["a", "debris", 1],
        ["b", "cell", 0],
        ["b", "debris", 0],
    ]
    cover = pd.read_csv(made.files["cover"]).set_index(["image", "class_name"])
    assert cover.loc[("a", "cell"), "fraction"] == 300 / 2000
    assert cover.loc[("b", "ground"), "fraction"] == 1
    assert cover.loc[("a", "debris"), "mean_probability"] == pytest.approx(0.2 + 0.6 * 150 / 2000)
    assert done == [(1, 2), (2, 2)]
    columns = pd.read_csv(made.files["columns"]).set_index(["table", "column"])
    assert columns.loc[("objects", "area"), "unit"] == "unit^2"
    for name, table in made.tables.items():
        assert {(name, column) for column in table.columns} <= set(columns.index)
    assert columns["meaning"].notna().all()
    settings = json.loads(made.files["settings"].read_text())
    assert settings["classes"] == {"0": "ground", "1": "cell", "2": "debris"}
    assert MeasureOptions.model_validate(settings["options"]) == MeasureOptions()


def test_numbers_of_objects_are_told_from_classes(folders):
    for seed, name in enumerate("ab"):
        tifffile.imwrite(folders / "labels" / f"{name}.tif", numbered(seed))
    notes = []
    made = measure_files(folders / "labels", folders / "out", on_note=notes.append, write_objects=True)
    assert made.meaning.task == "instances"
    assert "8 values besides 0: taken for numbers of objects (otherwise: --task semantic)" in notes[0]
    assert made.tables["objects"]["label"].tolist() == [3 * n for n in range(1, 9)] * 2
    assert np.array_equal(tifffile.imread(folders / "out" / "objects" / "a.tif"), numbered())
    few = measure_files(
        folders / "labels",
        folders / "out",
        options=MeasureOptions(task="semantic", tables=("objects",), objects=ObjectOptions(minimum_pixels=50)),
        write_objects=True,
    )
    assert set(few.files) == {"objects", "columns", "settings"}
    assert few.tables["objects"]["image"].tolist() == ["b"] * 8
    assert tifffile.imread(folders / "out" / "objects" / "b.tif").max() == 8


def test_objects_have_the_classes_that_were_imported_with_them(folders):
    tifffile.imwrite(folders / "labels" / "a.tif", numbered())
    named(
        folders / "labels",
        {
            "0": CLASSES["0"],
            "1": {**CLASSES["1"], "objects": True},
            "2": {**CLASSES["2"], "objects": True},
        },
    )
    rows = [f"a,{3 * n},{'cell' if n < 6 else 'debris'}" for n in range(1, 8)]
    (folders / "labels" / "objects.csv").write_text("image,object,class\n" + "\n".join(rows) + "\n")
    made = measure_files(folders / "labels", folders / "out")
    counts = made.tables["counts"]
    found = counts[counts["image"] == "a"].set_index("class_name")["objects"].to_dict()
    assert found == {"none": 1, "cell": 5, "debris": 2}


def test_the_class_of_objects_comes_from_label_images(folders):
    for name in "ab":
        tifffile.imwrite(folders / "labels" / f"{name}.tif", numbered())
    (folders / "kinds").mkdir()
    for name in "ab":
        kinds = np.ones((40, 50), np.uint8)
        kinds[20:] = 2
        tifffile.imwrite(folders / "kinds" / f"{name}.tif", kinds)
    made = measure_files(folders / "labels", folders / "out", class_labels=folders / "kinds")
    assert made.tables["objects"]["class"].tolist() == [1, 1, 1, 1, 2, 2, 2, 2] * 2
    with pytest.raises(ConfigError, match="hold classes already"):
        measure_files(
            folders / "labels",
            folders / "out",
            class_labels=folders / "kinds",
            options=MeasureOptions(task="semantic"),
        )


def test_zero_counts_unless_the_class_table_says_otherwise(folders):
    strokes = {"1": CLASSES["1"], "2": CLASSES["2"]}
    named(folders / "labels", strokes)
    notes = []
    made = measure_files(folders / "labels", folders / "out", on_note=notes.append)
    cover = made.tables["cover"].set_index(["image", "class"])
    assert cover.loc[("a", 1), "fraction"] == 300 / 450
    assert np.isnan(cover.loc[("b", 1), "fraction"])
    assert "0 is none of the classes: 88.8% of the pixels don't count" in notes[0]
    said = measure_files(folders / "labels", folders / "out", options=MeasureOptions(unlabelled="background"))
    assert said.tables["cover"].set_index(["image", "class"]).loc[("a", 1), "fraction"] == 300 / 2000
    # One class alone would cover everything: of masks 0 is the background.
    for name in "ab":
        tifffile.imwrite(folders / "labels" / f"{name}.tif", (LABELS > 0).astype(np.uint8))
    named(folders / "labels", {"1": CLASSES["1"]})
    mask = measure_files(folders / "labels", folders / "out")
    assert mask.tables["cover"].set_index(["image", "class"]).loc[("a", 1), "fraction"] == 450 / 2000


def test_a_model_says_the_classes(folders, monkeypatch):
    from napari_segnet.config import LabelClass
    from napari_segnet.measure import sources
    from napari_segnet.models.info import ModelInfo

    classes = tuple(LabelClass(value=int(v), **words) for v, words in CLASSES.items())
    info = ModelInfo(network="plain-unet", channels=1, outputs=3, classes=classes, patch_size=64, stride=16, halo=32)
    monkeypatch.setattr(sources, "read_info", lambda _path: info)
    (folders / "m.safetensors").touch()
    made = measure_files(folders / "labels", folders / "out", classes=folders / "m.safetensors")
    assert made.tables["counts"]["class_name"].tolist() == ["cell", "debris"] * 2
    with pytest.raises(ConfigError, match="There is no file"):
        measure_files(folders / "labels", folders / "out", classes=folders / "missing.json")


def test_several_markers_are_told_apart_by_their_folders(folders):
    for marker, value in (("dapi", 10.0), ("gfp", 20.0)):
        (folders / marker).mkdir()
        tifffile.imwrite(folders / marker / "a.tif", np.full((40, 50), value, np.float32))
    notes = []
    made = measure_files(
        folders / "labels", folders / "out", images=[folders / "dapi", folders / "gfp"], on_note=notes.append
    )
    assert made.tables["objects"]["dapi_mean"].tolist() == [10] * 3
    assert made.tables["objects"]["gfp_mean"].tolist() == [20] * 3
    assert "b.tif has no image in 'dapi': what would be measured there is left empty." in notes


def test_images_and_labels_can_share_a_folder(tmp_path):
    for name in "ab":
        Image.fromarray(LABELS * 20).save(tmp_path / f"{name}.png")
        Image.fromarray(LABELS).save(tmp_path / f"{name}_mask.png")
    made = measure_files(tmp_path, tmp_path / "out", images=tmp_path)
    assert made.tables["objects"]["image"].tolist() == ["a_mask"] * 3 + ["b_mask"] * 3
    assert made.tables["objects"]["intensity_mean"].tolist() == [20, 20, 40] * 2


def test_volumes_are_measured_as_such_or_plane_by_plane(tmp_path):
    volume = np.zeros((4, 20, 20), np.uint8)
    volume[1:3, 5:10, 5:15] = 1
    metadata = {"axes": "ZYX", "spacing": 2.0, "unit": "um"}
    tifffile.imwrite(tmp_path / "v.tif", volume, imagej=True, resolution=(2, 2), metadata=metadata)
    whole = measure_files(tmp_path / "v.tif", tmp_path / "out").tables
    assert whole["objects"]["volume"].tolist() == [100 * 2 * 0.25]
    assert whole["cover"]["volume"].sum() == 1600 * 0.5
    planes = measure_files(tmp_path / "v.tif", tmp_path / "out", options=MeasureOptions(planes=True)).tables
    assert planes["objects"]["z"].tolist() == [1, 2]
    assert planes["objects"]["area"].tolist() == [12.5, 12.5]
    assert planes["counts"]["objects"].tolist() == [0, 1, 1, 0]


def test_a_volume_without_a_depth_of_its_planes_is_refused(tmp_path):
    tifffile.imwrite(
        tmp_path / "v.tif",
        np.ones((4, 8, 8), np.uint8),
        imagej=True,
        resolution=(2, 2),
        metadata={"axes": "ZYX", "unit": "um"},
    )
    with pytest.raises(DataError, match="not along Z"):
        measure_files(tmp_path / "v.tif", tmp_path / "out", options=MeasureOptions(pixel_size=(0.5, 0.5)))
    made = measure_files(
        tmp_path / "v.tif", tmp_path / "out", options=MeasureOptions(pixel_size=(2, 0.5, 0.5), units="mm")
    )
    assert made.tables["objects"]["volume"].tolist() == [256 * 0.5]
    assert made.tables["objects"]["unit"].tolist() == ["mm"]


def test_time_points_have_rows_of_their_own(tmp_path):
    times = np.stack([LABELS, LABELS * 0, (LABELS == 2).astype(np.uint8)])
    tifffile.imwrite(tmp_path / "t.tif", times, imagej=True, metadata={"axes": "TYX"})
    made = measure_files(tmp_path / "t.tif", tmp_path / "out", write_objects=True)
    assert made.tables["objects"]["t"].tolist() == [0, 0, 0, 2]
    assert tifffile.imread(tmp_path / "out" / "objects" / "t.tif").shape == times.shape


def test_regions_are_label_images_shapes_or_annotations(folders):
    (folders / "regions").mkdir()
    halves = np.ones((40, 50), np.uint8)
    halves[:, 25:] = 2
    for name in "ab":
        Image.fromarray(halves).save(folders / "regions" / f"{name}_mask.png")
    shapes = folders / "shapes.csv"
    corners = [(-0.5, -0.5), (-0.5, 24.5), (39.5, 24.5), (39.5, -0.5)]
    lines = ["index,shape-type,vertex-index,axis-0,axis-1"]
    lines += [f"0,rectangle,{i},{y},{x}" for i, (y, x) in enumerate(corners)]
    shapes.write_text("\n".join(lines) + "\n")
    drawn = {
        f"{name}.tif": {
            "filename": f"{name}.tif",
            "size": 1,
            "regions": [
                {
                    "shape_attributes": {"name": "rect", "x": 0, "y": 0, "width": 25, "height": 40},
                    "region_attributes": {},
                }
            ],
            "file_attributes": {},
        }
        for name in "ab"
    }
    (folders / "via.json").write_text(json.dumps(drawn))
    for source in (folders / "regions", shapes, folders / "via.json"):
        made = measure_files(
            folders / "labels", folders / "out", regions=source, options=MeasureOptions(tables=("regions",))
        )
        table = made.tables["regions"].set_index(["image", "region", "class"])
        assert table.loc[("a", 1, 1), "fraction"] == pytest.approx(300 / 1000), source
        assert table.loc[("a", 1, 1), "objects"] == 2
        assert table.loc[("b", 1, 1), "objects"] == 0
        assert table.loc[("a", 1, 1), "density"] == pytest.approx(2 / 250)
    assert (folders / "out" / "regions.csv").is_file()
    (folders / "per_image").mkdir()
    (folders / "per_image" / "a.csv").write_text(shapes.read_text())
    notes = []
    one = measure_files(folders / "labels", folders / "out", regions=folders / "per_image", on_note=notes.append)
    assert one.tables["regions"]["image"].unique().tolist() == ["a"]
    assert any("b.tif has no regions" in note for note in notes)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "index,shape-type,vertex-index,axis-0,axis-1\n0,path,0,1,1\n0,path,1,2,2\n0,path,2,3,3\n",
            "'path' encloses no area",
        ),
        ("index,shape-type,vertex-index,axis-0,axis-1\n0,polygon,0,one,two\n", "no Shapes layer"),
        ("index,shape-type,vertex-index,axis-0,axis-1\n0,polygon,0,1\n0,polygon,1,1,2\n", "no Shapes layer"),
        ("index,shape-type,vertex-index,axis-0,axis-1\n", "There are no shapes in"),
    ],
)
def test_damaged_shapes_are_named(folders, text, words):
    (folders / "s.csv").write_text(text)
    with pytest.raises(DataError, match=words):
        measure_files(folders / "labels", folders / "out", regions=folders / "s.csv")


def test_the_circle_of_photographs_has_rows_a_ring(folders):
    options = MeasureOptions(tables=("cover",), circle=CircleOptions(rings=2))
    cover = measure_files(folders / "labels", folders / "out", options=options).tables["cover"]
    assert cover[["zenith_start", "zenith_stop"]].drop_duplicates().to_numpy().tolist() == [[0, 45], [45, 90]]
    assert (cover["counted_pixels"] < 2000).all()


def test_parquet_files_say_what_their_columns_mean(folders):
    import pyarrow.parquet as pq

    made = measure_files(folders / "labels", folders / "out", table_format="parquet")
    table = pd.read_parquet(made.files["objects"])
    pd.testing.assert_frame_equal(table, made.tables["objects"], check_dtype=False)
    said = json.loads(pq.read_schema(made.files["objects"]).metadata[b"napari_segnet"])
    assert said["area"] == {"unit": "unit^2", "meaning": COLUMNS["area"].meaning}


def test_parquet_without_pyarrow_names_the_extra(folders, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"napari-segnet\[parquet\]"):
        measure_files(folders / "labels", folders / "out", table_format="parquet")
    assert not (folders / "out").exists()


def test_tables_are_csv_or_parquet(tmp_path):
    table = pd.DataFrame({"label": [1, 2], "area": [0.1, np.nan]})
    write_table(table, tmp_path / "new" / "t.csv")
    assert (tmp_path / "new" / "t.csv").read_text() == "label,area\n1,0.1\n2,\n"
    with pytest.raises(ConfigError, match="has to end with"):
        write_table(table, tmp_path / "t.xlsx")
    (tmp_path / "file").touch()
    with pytest.raises(SegNetError, match="can't be written"):
        write_table(table, tmp_path / "file" / "t.csv")


def test_mistakes_are_told_before_anything_is_written(folders):
    labels, out = folders / "labels", folders / "out"
    (folders / "other").mkdir()
    tifffile.imwrite(folders / "other" / "z.tif", LABELS)
    tifffile.imwrite(folders / "other" / "y.tif", LABELS)
    (folders / "small").mkdir()
    tifffile.imwrite(folders / "small" / "a.tif", LABELS[:20])
    cases = [
        ({"out": labels}, ConfigError, "among the labels"),
        ({"images": folders / "other"}, DataError, "No image goes with any labels"),
        ({"images": folders / "small"}, DataError, "doesn't fit a.tif"),
        ({"probabilities": folders / "other"}, DataError, "None of the probabilities"),
        ({"regions": folders / "missing"}, DataError, "no file or folder"),
        ({"regions": folders / "other"}, DataError, "No image goes|None of the regions"),
        ({"options": MeasureOptions(tables=("regions",))}, ConfigError, "there are no regions"),
        ({"labels": [labels / "a_probabilities.tif"]}, DataError, "no label images"),
        ({"options": MeasureOptions(circle=CircleOptions(centre=(900, 900), radius=2))}, DataError, "has no pixel"),
    ]
    for arguments, kind, words in cases:
        with pytest.raises(kind, match=words):
            measure_files(**{"labels": labels, "out": out, **arguments})
    assert not out.exists()


def test_photographs_given_as_labels_are_refused_at_once(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for name in "ab":
        Image.fromarray(rng.integers(0, 256, (300, 400)).astype(np.uint8)).save(tmp_path / f"{name}.png")
    with pytest.raises(DataError, match=r"a\.png looks like an image, not like labels: there are 255 values.*--task"):
        measure_files(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    # Asked for, they are classes; and cover alone needs no pieces.
    monkeypatch.setattr("napari_segnet.measure.objects.ndimage.label", None)
    made = measure_files(tmp_path, tmp_path / "out", options=MeasureOptions(task="semantic", tables=("cover",)))
    assert len(made.tables["cover"]) == 2 * 256


def test_many_whole_objects_are_still_taken_for_objects(tmp_path):
    labels = np.kron(np.arange(100).reshape(10, 10), np.ones((4, 4), int)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", labels)
    assert len(measure_files(tmp_path / "a.tif", tmp_path / "out").tables["objects"]) == 99
    tables = measure_files(
        tmp_path / "a.tif", tmp_path / "out", options=MeasureOptions(task="semantic", tables=("counts",))
    )
    assert tables.tables["counts"]["objects"].sum() == 99


def test_many_classes_that_only_later_files_have_are_refused(tmp_path):
    for number in range(7):
        tifffile.imwrite(tmp_path / f"{number}.tif", LABELS)
    photograph = np.random.default_rng(0).integers(0, 256, (40, 50)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "late.tif", photograph)
    with pytest.raises(DataError, match=r"late\.tif looks like an image"):
        measure_files(tmp_path, tmp_path / "out")


def test_a_length_along_z_is_refused_where_there_is_no_z(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", LABELS)
    options = MeasureOptions(pixel_size=(1, 2, 3), units="mm")
    with pytest.raises(ConfigError, match=r"\[1.0, 2.0, 3.0\] has a length along Z, but a\.tif is no stack"):
        measure_files(tmp_path / "a.tif", tmp_path / "out", options=options)
    # Planes of a stack: what was said of the volume holds for them.
    tifffile.imwrite(tmp_path / "v.tif", LABELS[None].repeat(3, 0), imagej=True, metadata={"axes": "ZYX"})
    made = measure_files(tmp_path / "v.tif", tmp_path / "out", options=options.replace(planes=True))
    assert made.tables["objects"]["area"].tolist() == [1200, 600, 900] * 3


@pytest.mark.parametrize("said", [("--pixel-size", "0.5"), ("--units", "micrometer")])
def test_a_size_needs_its_unit_at_the_shell(tmp_path, capsys, said):
    tifffile.imwrite(tmp_path / "a.tif", LABELS)
    assert run(["measure", str(tmp_path / "a.tif"), "--out", str(tmp_path / "out"), *said]) == 2
    assert "--pixel-size 0.5 --units micrometer" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_files_that_hold_nan_are_named_and_cells_left_empty(folders):
    image = np.full((40, 50), 7, np.float32)
    image[5, 5] = image[0, 0] = np.nan  # the first object of a, and the background
    tifffile.imwrite(folders / "images" / "a.tif", image)
    tifffile.imwrite(folders / "images" / "b.tif", np.ones((40, 50), np.float32))
    chances = np.full((3, 40, 50), 0.5, np.float32)
    chances[2, 20, 30] = np.nan  # the third object
    tifffile.imwrite(folders / "labels" / "a_probabilities.tif", chances, imagej=True, metadata={"axes": "CYX"})
    notes = []
    made = measure_files(
        folders / "labels",
        folders / "out",
        images=folders / "images",
        probabilities=folders / "labels",
        on_note=notes.append,
    )
    assert [note for note in notes if "NaN" in note] == [
        "a.tif, a_probabilities.tif: NaN among the values. What is measured of objects with such pixels is left empty."
    ]
    table = pd.read_csv(made.files["objects"])
    assert table["intensity_mean"].isna().tolist() == [True, False, False]
    assert table["intensity_above_background"].tolist()[1:] == [0, 0]
    assert table["mean_probability"].isna().tolist() == [False, False, True]


def test_volumes_have_their_probabilities(tmp_path):
    labels = np.zeros((4, 12, 14), np.uint8)
    labels[1:3, 2:6, 2:6], labels[1:3, 8:11, 8:12] = 1, 2
    probabilities = np.stack([labels == value for value in range(3)]).astype(np.float32) * 0.7 + 0.1
    write_tiff(tmp_path / "v.tif", labels, "ZYX", (2.0, 0.5, 0.5), "micrometer")
    write_tiff(tmp_path / "v_probabilities.tif", probabilities, "CZYX", (2.0, 0.5, 0.5), "micrometer")
    made = measure_files(tmp_path / "v.tif", tmp_path / "out", probabilities=tmp_path / "v_probabilities.tif")
    assert made.tables["objects"]["mean_probability"].tolist() == pytest.approx([0.8, 0.8])
    assert made.tables["objects"]["volume"].tolist() == [32 * 0.5, 24 * 0.5]


def test_the_page_names_what_there_is():
    page = (Path(__file__).parents[2] / "docs" / "measuring.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `([a-z-]+)` \|", page, re.MULTILINE)
    assert listed == list(METHODS)
    for section, model in (("circle", CircleOptions), ("objects", ObjectOptions)):
        named = set(re.findall(rf"{section}\.([a-z_]+)=", page))
        assert named
        assert named <= set(model.model_fields)
    parameters = {
        name.strip("_")
        for command in (commands.measure, commands.cut_out, commands.pre_annotate)
        for name in inspect.signature(command).parameters
    }
    options = {option.replace("-", "_") for option in re.findall(r"--([a-z][a-z-]+)", page)}
    known = parameters | {"no_objects", "no_counts", "no_cover"}
    assert not options - known
