import numpy as np
import pytest

from napari_segnet.config import DataConfig, LabelClass
from napari_segnet.data.checks import check_image, check_labels
from napari_segnet.data.labels import IGNORE, count_values, default_classes, encode, guess_meaning
from napari_segnet.errors import DataError


def strokes():
    labels = np.zeros((100, 100), np.uint8)
    labels[10:12, 10:60] = 1
    labels[50:52, 30:80] = 2
    return labels


def mask():
    labels = np.zeros((100, 100), np.uint8)
    labels[20:50, 20:50] = 1
    return labels


def objects():
    labels = np.zeros((100, 100), np.uint16)
    for n in range(9):
        y, x = divmod(n, 3)
        labels[5 + 30 * y : 25 + 30 * y, 5 + 30 * x : 25 + 30 * x] = n + 1
    return labels


@pytest.mark.parametrize(
    ("labels", "task", "unlabelled"),
    [
        (strokes(), "semantic", "ignore"),
        (mask(), "semantic", "background"),
        (mask() * 255, "semantic", "background"),
        (objects(), "instances", "background"),
        (mask() + 1, "semantic", "ignore"),
        (np.repeat(np.arange(4, dtype=np.uint8), 25)[:, None] * np.ones((1, 100), np.uint8), "semantic", "background"),
    ],
    ids=["strokes", "mask", "mask-255", "objects", "every-pixel", "four-stripes"],
)
def test_the_meaning_is_guessed_and_said(labels, task, unlabelled):
    meaning = guess_meaning([labels])
    assert (meaning.task, meaning.unlabelled) == (task, unlabelled)
    assert meaning.words.endswith(".")


def test_counts_go_over_all_images():
    assert count_values([mask(), strokes()]) == {0: 9100 + 9800, 1: 900 + 100, 2: 100}


def test_strokes_become_indices_and_the_rest_takes_no_part():
    config = DataConfig(unlabelled="ignore", classes=default_classes([1, 2], "ignore", "semantic"))
    target = encode(strokes(), config)
    assert target[10, 10] == 0
    assert target[50, 30] == 1
    assert target[0, 0] == IGNORE
    assert (target != IGNORE).sum() == 200


def test_background_is_a_class_of_its_own():
    config = DataConfig(unlabelled="background", classes=default_classes([0, 255], "background", "semantic"))
    assert [c.value for c in config.classes] == [0, 255]
    target = encode(mask() * 255, config)
    assert np.array_equal(target, mask())


def test_void_pixels_can_be_left_out():
    classes = default_classes([0, 1], "background", "semantic")
    labels = mask()
    labels[0] = 11
    target = encode(labels, DataConfig(classes=classes, ignore_values=(11,)))
    assert (target[0] == IGNORE).all()
    with pytest.raises(DataError, match="value 11"):
        encode(labels, DataConfig(classes=classes))


def test_huge_values_take_no_memory_of_their_size():
    labels = mask().astype(np.uint32)
    labels[0] = 4_000_000_000
    target = encode(
        labels, DataConfig(classes=default_classes([0, 1], "background", "semantic"), ignore_values=(4_000_000_000,))
    )
    assert (target[0] == IGNORE).all()
    assert target[30, 30] == 1
    with pytest.raises(DataError, match="classes go up to 65535"):
        default_classes([0, 70_000], "background", "semantic")


def test_touching_objects_get_a_boundary_on_both_sides():
    labels = np.zeros((7, 8), np.uint16)
    labels[2:5, 1:4] = 1
    labels[2:5, 4:7] = 2
    target = encode(labels, DataConfig(task="instances"))
    assert target[3].tolist() == [0, 2, 1, 2, 2, 1, 2, 0]
    assert target[1].tolist() == [0] * 8


def test_next_to_unpainted_pixels_nobody_knows_where_an_object_ends():
    labels = np.zeros((5, 9), np.uint16)
    labels[:, 2:7] = 2
    labels[:, 7:] = 1
    target = encode(labels, DataConfig(task="instances", unlabelled="ignore"))
    assert target[2].tolist() == [IGNORE, IGNORE, IGNORE, 1, 1, 1, 2, 0, 0]


def test_a_grey_image_is_no_label_image():
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    with pytest.raises(DataError, match="256 different values"):
        default_classes(np.unique(grey).tolist(), "background", "semantic")
    problems = check_labels(count_values([grey]), DataConfig())
    assert [p.level for p in problems] == ["error"]


@pytest.mark.parametrize(
    ("labels", "config", "level", "words"),
    [
        (np.zeros((9, 9), np.uint8), DataConfig(), "error", "Nothing is painted"),
        (strokes() * (strokes() == 1), DataConfig(unlabelled="ignore"), "error", "Only class 1"),
        (mask() * 0 + 1, DataConfig(), "error", "leave the background"),
        (objects(), DataConfig(task="instances", unlabelled="ignore"), None, ""),
        (objects() + 1, DataConfig(task="instances"), "error", "no background"),
        (objects() * (objects() > 1), DataConfig(task="instances", unlabelled="ignore"), "error", "background strokes"),
        (strokes(), DataConfig(unlabelled="ignore"), None, ""),
    ],
    ids=["empty", "one-class", "full", "objects-ok", "no-background", "no-background-stroke", "strokes-ok"],
)
def test_annotation_that_can_not_work_is_said(labels, config, level, words):
    problems = check_labels(count_values([labels]), config)
    assert [p.level for p in problems] == ([level] if level else [])
    assert all(words in p.text for p in problems)


def test_a_class_with_few_or_no_pixels_is_a_warning():
    classes = (
        LabelClass(value=1, name="cell", colour="#ff0000"),
        LabelClass(value=2, name="wall", colour="#00ff00"),
        LabelClass(value=3, name="dust", colour="#0000ff"),
    )
    problems = check_labels({0: 1000, 1: 500, 2: 7}, DataConfig(unlabelled="ignore", classes=classes))
    assert [p.level for p in problems] == ["warning", "warning"]
    assert "wall has only 7" in problems[0].text
    assert "dust is in the class table" in problems[1].text


@pytest.mark.parametrize(
    ("image", "levels", "words"),
    [
        (np.random.default_rng(0).random((1, 90, 90)), [], ""),
        (np.full((1, 90, 90), np.nan), ["error"], "no numbers"),
        (np.where(np.eye(90) > 0, np.nan, np.random.default_rng(0).random((90, 90)))[None], ["warning"], "1.11%"),
        (np.full((1, 90, 90), 7, np.uint8), ["error"], "same value"),
        (np.stack([np.eye(90), np.zeros((90, 90))]), ["warning"], "channel 1"),
        (np.random.default_rng(0).random((1, 30, 90)), ["warning"], "30 x 90"),
    ],
    ids=["good", "nan", "some-nan", "constant", "one-constant-channel", "small"],
)
def test_images_that_can_not_be_learned_from_are_said(image, levels, words):
    problems = check_image("cells", image, 64)
    assert [p.level for p in problems] == levels
    assert all(words in p.text for p in problems)
