"""ROIs of ImageJ, written by roifile: all kinds, half pixels of lines and points, composites, planes, classes."""

import zipfile

import numpy as np
import pytest
import tifffile
from annotation_cases import box, classes, drawn, imported, make_images, objects, rows
from roifile import ROI_OPTIONS, ROI_SUBTYPE, ROI_TYPE, ImagejRoi, roiwrite

from napari_segnet.annotations.model import Ellipse, Polygon
from napari_segnet.errors import DataError

SIZE = (20, 30)


def area(kind, *points, name="", **fields):
    roi = ImagejRoi.frompoints(
        np.array(points, np.int32 if all(isinstance(v, int) for p in points for v in p) else float)
    )
    roi.roitype = kind
    return named(roi, name, **fields)


def sides(kind, left, top, right, bottom, name="", **fields):
    return named(ImagejRoi(roitype=kind, left=left, top=top, right=right, bottom=bottom), name, **fields)


def named(roi, name, **fields):
    roi.name = name
    for key, value in fields.items():
        setattr(roi, key, value)
    return roi


def composite(*path, name=""):
    values = np.array(path, np.float32)
    return named(ImagejRoi(roitype=ROI_TYPE.RECT, shape_roi_size=len(values), multi_coordinates=values), name)


@pytest.fixture
def read(tmp_path):
    images = make_images(tmp_path / "images", "a.png")

    def run(*rois, name="a_RoiSet.zip", **options):
        file = tmp_path / name
        roiwrite(file, rois if name.endswith("zip") else rois[0], mode="w" if name.endswith("zip") else None,
                 name=[f"{i:04d}" for i in range(len(rois))] if name.endswith("zip") else None)  # fmt: skip
        labels, made = imported(file, images, tmp_path / "out", overwrite=True, **options)
        return labels["a"], made

    return run


def test_areas_count_from_the_corners_of_pixels(read):
    labels, made = read(
        sides(ROI_TYPE.RECT, 1, 1, 5, 4),
        area(ROI_TYPE.POLYGON, (7, 1), (11, 1), (11, 4), (7, 4)),
        area(ROI_TYPE.FREEHAND, (13, 1), (17, 1), (17, 4), (13, 4)),
        area(ROI_TYPE.TRACED, (19, 1), (23, 1), (23, 4), (19, 4)),
        sides(ROI_TYPE.OVAL, 2, 8, 12, 14),
        area(ROI_TYPE.POLYGON, (15.5, 8.5), (20.5, 8.5), (20.5, 12.5), (15.5, 12.5)),
        task="instances",
    )
    assert all(np.array_equal(labels == n + 1, box(SIZE, 1, 1 + 6 * n, 4, 5 + 6 * n)) for n in range(4))
    assert np.array_equal(labels == 5, drawn(Ellipse(7, 11, 5, 3), SIZE))
    assert np.array_equal(
        labels == 6, drawn(Polygon((np.array([[15.5, 8.5], [20.5, 8.5], [20.5, 12.5], [15.5, 12.5]]),)), SIZE)
    )
    assert (labels == 6).sum() == 20
    assert made.problems == ()


def test_an_oval_holds_the_pixels_that_imagej_has_in_it(read):
    width, height = 9, 6
    labels, _ = read(sides(ROI_TYPE.OVAL, 4, 3, 4 + width, 3 + height))
    # OvalRoi.getMask, in its own words: from the centre of the box to the numbers of pixels, half a pixel less.
    y, x = np.mgrid[:height, :width]
    inside = (x - (width / 2 - 0.5)) ** 2 / (width / 2) ** 2 + (y - (height / 2 - 0.5)) ** 2 / (height / 2) ** 2 <= 1
    assert np.array_equal(labels[3:9, 4:13] == 1, inside)
    assert labels.sum() == inside.sum()


def test_lines_and_points_count_from_the_centres_of_pixels(read):
    line = ImagejRoi(roitype=ROI_TYPE.LINE, x1=2, y1=3, x2=12, y2=3)
    labels, made = read(
        line,
        area(ROI_TYPE.POLYLINE, (2, 8), (12, 8), (12, 12)),
        area(ROI_TYPE.POINT, (20, 5), (24, 5)),
        area(ROI_TYPE.POINT, (20.25, 9.25)),
        line_width=1,
        point_radius=0.6,
        task="instances",
    )
    assert np.flatnonzero((labels == 1).any(axis=1)).tolist() == [3]
    assert (labels[3, 2:12] == 1).all()
    assert (labels[8, 2:12] == 2).all()
    assert (labels[9:12, 12] == 2).all()
    # Each point of a multi-point is an object.
    assert [labels[5, 20], labels[5, 24], labels[9, 20]] == [3, 4, 5]
    assert "lines that don't end where they began" in rows(made)[0]


def test_composites_have_holes_islands_and_curves(read):
    def ring(left, top, right, bottom):
        corners = ((left, top), (right, top), (right, bottom), (left, bottom))
        return [value for i, corner in enumerate(corners) for value in (min(i, 1), *corner)] + [4]

    labels, _ = read(
        composite(*ring(1, 1, 11, 11), *ring(3, 3, 7, 7), *ring(4, 4, 5, 5)),
        # A circle of four Bezier curves around (20, 10), as Java draws it, and one curve of three points.
        composite(
            0, 26, 10, 3, 26, 13.3137, 23.3137, 16, 20, 16, 3, 16.6863, 16, 14, 13.3137, 14, 10,
            3, 14, 6.6863, 16.6863, 4, 20, 4, 3, 23.3137, 4, 26, 6.6863, 26, 10, 4,
        ),
        composite(0, 1, 19, 2, 3, 11, 5, 19, 4),
        task="instances",
    )  # fmt: skip
    assert np.array_equal(labels == 1, box(SIZE, 1, 1, 11, 11) & ~box(SIZE, 3, 3, 7, 7) | box(SIZE, 4, 4, 5, 5))
    circle = drawn(Ellipse(20, 10, 6, 6), SIZE)
    assert np.count_nonzero((labels == 2) != circle) <= 2
    assert (labels == 3).sum() == pytest.approx(2 / 3 * 4 * 4, abs=2.5)  # a parabola of width 4 and height 4


def test_ellipses_and_rotated_rectangles(read):
    ratio = np.float32(0.5).tobytes()[::-1]
    ellipse = area(ROI_TYPE.FREEHAND, (4, 10), (24, 10), (24, 11), name="e")
    ellipse.subtype, ellipse.x1, ellipse.y1, ellipse.x2, ellipse.y2 = ROI_SUBTYPE.ELLIPSE, 4, 10, 24, 10
    ellipse.arrow_style_or_aspect_ratio, ellipse.arrow_head_size = ratio[0], ratio[1]
    ellipse.rounded_rect_arc_size = int.from_bytes(ratio[2:], "big", signed=True)
    labels, made = read(ellipse)
    assert np.array_equal(labels == 1, drawn(Ellipse(14, 10, 10, 5), SIZE))
    turned = area(
        ROI_TYPE.FREEHAND, (10.0, 2.0), (16.0, 8.0), (12.0, 12.0), (6.0, 6.0), subtype=ROI_SUBTYPE.ROTATED_RECT
    )
    labels, made = read(turned)
    assert labels.sum() == 48
    assert made.problems == ()


def test_positions_are_planes(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    tifffile.imwrite(folder / "a.tif", np.zeros((3, *SIZE), np.uint8), imagej=True, metadata={"axes": "ZYX"})
    rois = [
        sides(ROI_TYPE.RECT, 1, 1, 3, 3, position=2),
        sides(ROI_TYPE.RECT, 5, 1, 7, 3, z_position=3, c_position=1),
        sides(ROI_TYPE.RECT, 9, 1, 11, 3),
        sides(ROI_TYPE.RECT, 13, 1, 15, 3, position=4),
        area(ROI_TYPE.POINT, (20, 5), (24, 5)),
    ]
    rois[-1].counters, rois[-1].counter_positions = np.array([0, 1], np.uint8), np.array([1, 3], np.uint32)
    roiwrite(tmp_path / "a.zip", rois, name=[str(i) for i in range(5)], mode="w")
    labels, made = imported(tmp_path / "a.zip", folder, tmp_path / "out", point_radius=0.6)
    assert [[plane[1, x] for plane in labels["a"]] for x in (1, 5, 9)] == [[0, 1, 0], [0, 0, 1], [1, 1, 1]]
    assert [[plane[5, x] for plane in labels["a"]] for x in (20, 24)] == [[1, 0, 0], [0, 0, 1]]
    said = "\n".join(rows(made))
    assert "planes that the image doesn't have" in said
    assert "points of several counters. | drawn as one class" in said


def test_groups_names_colours_and_properties_can_be_classes(read, tmp_path):
    def roi(n, name, **fields):
        return sides(ROI_TYPE.RECT, 4 * n, 1, 4 * n + 3, 4, name, **fields)

    plain = [roi(0, "cell-1"), roi(1, "cell-2"), roi(2, "dirt-1"), roi(3, "0123-0456")]
    labels, made = read(*plain)
    assert {name: value for name, (value, _) in classes(made).items()} == {"cell": 1, "dirt": 2, "object": 3}
    assert [labels[2, 4 * n] for n in range(4)] == [1, 1, 2, 3]

    labels, made = read(roi(0, "nucleus 1"), roi(1, "nucleus 2"), roi(2, "lysosome_1"))
    assert list(classes(made)) == ["nucleus", "lysosome"]
    assert "3 ROIs (nucleus 1, nucleus 2, lysosome_1): a number at the end of the name." in rows(made)[0]

    several = [roi(0, "CD4"), roi(1, "CD8"), roi(2, "CD4-1"), roi(3, "CD8-1")]  # as ImageJ makes names differ
    assert list(classes(read(*several)[1])) == ["CD4", "CD8"]

    grouped = [roi(0, "x", group=3), roi(1, "y", group=1), roi(2, "z")]
    labels, made = read(*grouped)
    assert {name: value for name, (value, _) in classes(made).items()} == {"group 3": 3, "group 1": 1, "object": 2}
    assert [labels[2, 4 * n] for n in range(3)] == [3, 1, 2]
    assert list(classes(read(*grouped, attribute="name")[1])) == ["x", "y", "z"]

    coloured = [roi(0, "x", stroke_color=b"\xff\xc8\x00\x10"), roi(1, "y", fill_color=b"\x80\x00\xff\x00")]
    made = read(*coloured, attribute="color")[1]
    assert classes(made) == {"#c80010": (1, "#c80010"), "#00ff00": (2, "#00ff00")}

    told = [roi(0, "x", props="class: oak\nage: 7\n"), roi(1, "y", props="class: elm\n")]
    assert list(classes(read(*told)[1])) == ["oak", "elm"]
    assert list(classes(read(*told, attribute="age")[1])) == ["7", "object"]
    with pytest.raises(DataError, match="no ROI has a property 'size'. There are: group, name, color, age, class"):
        read(*told, attribute="size")


def test_names_of_single_objects_are_no_classes(read, tmp_path):
    letters = "abcdefghijklmnopqrst"
    _, made = read(*(sides(ROI_TYPE.RECT, i, 1, i + 1, 2, name) for i, name in enumerate(letters)))
    assert list(classes(made)) == ["object"]
    assert "names of single objects, 20 in all" in rows(made)[0]
    uuids = ["3c1f3f4e-5b1a-11ee-8c99-0242ac120002", "3c1f3f4e-5b1a-11ee-8c99-0242ac120003"]
    _, made = read(*(sides(ROI_TYPE.RECT, i, 1, i + 1, 2, name) for i, name in enumerate(uuids)))
    assert list(classes(made)) == ["object"]
    assert made.problems == ()


@pytest.mark.parametrize("name", ["a_RoiSet.zip", "RoiSet_a.zip", "a-ROIset.zip", "a.zip", "a.roi", "RoiSet.zip"])
def test_the_image_is_named_by_the_file(name, read):
    labels, made = read(sides(ROI_TYPE.RECT, 1, 1, 4, 4, "a"), name=name)
    assert labels.sum() == 9
    assert made.problems == ()


def test_what_is_wrong_is_in_the_table_and_the_rest_is_drawn(read, tmp_path):
    text = sides(ROI_TYPE.RECT, 1, 1, 4, 4)
    text.subtype, text.text_name, text.text = ROI_SUBTYPE.TEXT, "SansSerif", "hello"
    round_corners = sides(ROI_TYPE.RECT, 6, 1, 9, 4, rounded_rect_arc_size=5)
    spline = area(ROI_TYPE.POLYGON, (11, 1), (14, 1), (14, 4), (11, 4))
    spline.options |= ROI_OPTIONS.SPLINE_FIT
    labels, made = read(text, round_corners, spline, composite(0, 1, 1, 7), composite(1, 1, 1))
    assert labels.sum() == 18
    said = "\n".join(rows(made))
    for words in (
        "1 ROI (0000): text, not a shape. | left out",
        "1 ROI (0001): rounded corners. | drawn square",
        "1 ROI (0002): a curve through points (spline). | drawn with straight edges",
        "2 ROIs (0003, 0004): damaged, or of no known kind. | left out",
    ):
        assert words in said
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("short.roi", b"Iout")
        archive.writestr("other.roi", b"nothing at all")
        archive.writestr("readme.txt", b"hello")
    _, made = imported(tmp_path, tmp_path / "images", tmp_path / "all")
    assert "b.zip | 2 ROIs (short, other): damaged, or of no known kind. | left out" in rows(made)


def test_objects_are_numbered_in_the_order_of_the_set(read, tmp_path):
    read(sides(ROI_TYPE.RECT, 1, 1, 3, 3, "dirt-1"), sides(ROI_TYPE.RECT, 5, 1, 8, 3, "cell-1"), task="instances")
    assert objects(tmp_path / "out") == [("a", "1", "dirt"), ("a", "2", "cell")]
