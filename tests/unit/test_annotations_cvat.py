"""CVAT XML: shapes, masks, order and groups of images, and the tracks of videos, become labels."""

import numpy as np
import pytest
from annotation_cases import box, classes, drawn, imported, make_images, objects, rows

from napari_segnet.annotations.model import Ellipse, Polygon
from napari_segnet.errors import DataError

SIZE = (20, 30)
META = """<meta><task><id>7</id><name>cells</name><size>2</size><mode>annotation</mode><labels>
<label><name>cell</name><color>#ff6037</color><type>any</type><attributes></attributes></label>
<label><name>debris</name><color>#33ddff</color><type>any</type><attributes></attributes></label>
</labels><original_size><width>30</width><height>20</height></original_size></task></meta>"""


def cvat(*elements, meta=META):
    body = "".join(elements)
    return f'<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>{meta}{body}</annotations>'


def image(*shapes, name="a.png", size=SIZE):
    return f'<image id="0" name="{name}" width="{size[1]}" height="{size[0]}">{"".join(shapes)}</image>'


def element(tag, label="cell", content="", **given):
    said = {"label": label, "source": "manual", "occluded": "0", "z_order": "0", **given}
    attributes = " ".join(f'{key}="{value}"' for key, value in said.items())
    return f"<{tag} {attributes}>{content}</{tag}>"


def rectangle(left, top, right, bottom, label="cell", **given):
    return element("box", label, xtl=left, ytl=top, xbr=right, ybr=bottom, **given)


@pytest.fixture
def read(tmp_path):
    images = make_images(tmp_path / "images", "a.png")

    def run(text, **options):
        file = tmp_path / "annotations.xml"
        file.write_text(text)
        labels, made = imported(file, images, tmp_path / "out", overwrite=True, **options)
        return labels["a"], made

    return run


def test_shapes_of_an_image(read):
    shapes = (
        rectangle("3.00", "2.00", "8.00", "6.00"),
        element("polygon", points="10.00,2.00;15.00,2.00;15.00,6.00;10.00,6.00"),
        element("ellipse", "debris", cx="20.00", cy="10.00", rx="6.00", ry="3.00", rotation="30.00"),
        element("points", points="2.50,15.50;6.50,15.50"),
        element("polyline", points="9.00,17.00;14.00,17.00"),
    )
    labels, made = read(cvat(image(*shapes)), point_radius=0.6, line_width=2)
    cells = box(SIZE, 2, 3, 6, 8) | box(SIZE, 2, 10, 6, 15) | box(SIZE, 15, 2, 16, 3) | box(SIZE, 15, 6, 16, 7)
    assert np.array_equal((labels == 1)[:, :8], cells[:, :8])
    assert np.array_equal(labels[2:6] == 1, cells[2:6])
    assert (labels[16:18, 9:14] == 1).all()
    assert np.array_equal(labels == 2, drawn(Ellipse(20, 10, 6, 3, np.pi / 6), SIZE))
    assert classes(made) == {"cell": (1, "#ff6037"), "debris": (2, "#33ddff")}


def test_boxes_turn_clockwise_around_their_centre(read):
    labels, _ = read(cvat(image(rectangle(10, 8, 20, 12, rotation="90.00"))))
    assert np.array_equal(labels == 1, box(SIZE, 5, 13, 15, 17))
    labels, _ = read(cvat(image(rectangle(8, 8, 20, 12, rotation="30.00"))))
    cos, sin = np.cos(np.pi / 6), np.sin(np.pi / 6)
    corners = np.array(
        [(14 + x * cos - y * sin, 10 + x * sin + y * cos) for x, y in ((-6, -2), (6, -2), (6, 2), (-6, 2))]
    )
    assert np.array_equal(labels == 1, drawn(Polygon((corners,)), SIZE))
    assert labels[:, 18].argmax() > labels[:, 9].argmax()  # clockwise: the right end is lower


def test_masks_run_along_the_rows_of_their_box(read):
    labels, made = read(cvat(image(element("mask", rle="1, 3, 2, 1, 2", left="5", top="7", width="3", height="3"))))
    expected = np.zeros(SIZE, bool)
    expected[7:10, 5:8] = [[0, 1, 1], [1, 0, 0], [1, 0, 0]]
    assert np.array_equal(labels == 1, expected)
    assert made.problems == ()


def test_higher_shapes_lie_above_lower_ones_and_later_ones_above_earlier_ones(read):
    labels, _ = read(
        cvat(
            image(
                rectangle(0, 0, 10, 10, "debris", z_order="2"),
                rectangle(0, 0, 20, 10, "cell", z_order="1"),
                rectangle(15, 0, 25, 10, "debris", z_order="1"),
            )
        )
    )
    assert [labels[5, x] for x in (5, 12, 17, 23)] == [2, 1, 2, 2]


def test_shapes_of_one_label_and_group_are_one_object_and_points_several(read, tmp_path):
    shapes = (
        rectangle(0, 0, 4, 4, group_id="1"),
        rectangle(6, 0, 10, 4),
        rectangle(12, 0, 16, 4, group_id="1"),
        rectangle(18, 0, 22, 4, "debris", group_id="1"),
        element("points", points="2.5,10.5;8.5,10.5"),
    )
    labels, _ = read(cvat(image(*shapes)), task="instances", point_radius=0.6)
    assert [labels[2, x] for x in (2, 7, 13, 19)] == [1, 2, 1, 3]
    assert [labels[10, x] for x in (2, 8)] == [4, 5]
    assert objects(tmp_path / "out")[2] == ("a", "3", "debris")


def test_an_attribute_can_be_the_class(read):
    def attribute(name, value):
        return f'<attribute name="{name}">{value}</attribute>'

    text = cvat(
        image(
            rectangle(0, 0, 4, 4, content=attribute("stage", "early")),
            rectangle(6, 0, 10, 4, content=attribute("stage", "late")),
            rectangle(12, 0, 16, 4),
        )
    )
    labels, made = read(text, attribute="stage")
    assert {name: value for name, (value, _) in classes(made).items()} == {"early": 1, "late": 2, "object": 3}
    assert [labels[2, x] for x in (2, 7, 13)] == [1, 2, 3]
    with pytest.raises(DataError, match="no shape has an attribute 'age'. There are: stage"):
        read(text, attribute="age")


def test_frames_of_a_video_are_called_as_cvat_calls_them(tmp_path):
    images = make_images(tmp_path / "images", "frame_000000.png", "frame_000001.png", "frame_000002.png")

    def at(frame, left, **given):
        return rectangle(left, 2, left + 4, 6, frame=frame, **{"keyframe": 0, "outside": 0, **given})

    tracks = (
        f'<track id="0" label="cell">{at(0, 1, keyframe=1)}{at(1, 3)}{at(2, 5, outside=1, keyframe=1)}</track>',
        f'<track id="4" label="debris">{at(1, 20, keyframe=1)}{at(2, 22)}</track>',
    )
    file = tmp_path / "annotations.xml"
    file.write_text(cvat(*tracks))
    labels, made = imported(file, images, tmp_path / "out", task="instances")
    # The number of a track is the number of its object in all frames.
    assert [(frame[3, 3], frame[3, 5], frame[3, 23]) for frame in labels.values()] == [(1, 0, 0), (1, 1, 5), (0, 0, 5)]
    assert objects(tmp_path / "out") == [
        ("frame_000000", "1", "cell"),
        ("frame_000001", "1", "cell"),
        ("frame_000001", "5", "debris"),
        ("frame_000002", "5", "debris"),
    ]
    assert made.problems == ()


def test_what_is_wrong_is_in_the_table_and_the_rest_is_drawn(read):
    shapes = (
        rectangle(0, 0, 4, 4),
        rectangle(0, 0, 4, "x"),
        rectangle(0, 0, 4, "nan"),
        rectangle(0, 0, 4, "1e400"),
        element("polygon", points="1,1;2,2"),
        element("polygon", points="1,1;2;3,3"),
        element("mask", rle="5,20,3", left="0", top="0", width="3", height="3"),
        element("mask", rle="5", left="0", top="0"),
        element("cuboid"),
        element("skeleton"),
        element("tag"),
    )
    labels, made = read(cvat(image(*shapes), image(name="b.png"), image(name="")))
    assert labels.sum() == 16
    said = "\n".join(rows(made))
    for words in (
        "1 image (0): no name. | left out",
        "(box cell of a.png): 'x' is no number. | left out",
        "2 shapes (box cell of a.png, box cell of a.png): a number beyond 1e9, or none. | left out",
        "(polygon cell of a.png): fewer than 3 points. | left out",
        "(polygon cell of a.png): coordinates that are no pairs of numbers. | left out",
        "(mask cell of a.png): run lengths that are negative, or longer than the image. | left out",
        "(mask cell of a.png): a mask without a box. | left out",
        "a cuboid, which covers no pixels of its own. | left out",
        "a skeleton, which covers no pixels of its own. | left out",
        "a tag, which covers no pixels of its own. | left out",
        "There is no image 'b.png'. | left out",
    ):
        assert words in said


def test_labels_of_projects_are_classes_in_their_order_and_sizes_are_checked(read):
    project = (
        "<meta><project><labels><label><name>sky</name><color>#000fff</color></label>"
        "<label><name>cell</name></label></labels></project></meta>"
    )
    _, made = read(cvat(image(rectangle(0, 0, 4, 4)), meta=project))
    assert {name: value for name, (value, _) in classes(made).items()} == {"sky": 1, "cell": 2}
    with pytest.raises(DataError, match="annotated as 40 x 60"):
        read(cvat(image(rectangle(0, 0, 4, 4), size=(40, 60))))


def test_what_is_no_cvat_is_a_sentence(read):
    with pytest.raises(DataError, match="holds no annotations"):
        read("<annotation><filename>a.png</filename></annotation>")
    with pytest.raises(DataError, match="begins with <annotation>"):
        read("<annotation/>", format="cvat")
    with pytest.raises(DataError, match="is no XML"):
        read("<annotations><version>1.1</version><image")
