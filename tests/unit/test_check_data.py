"""The data doctor: each mistake that people make is found, named and said how to mend; healthy data pass."""

import csv
import json
import re

import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy.stats import median_abs_deviation

from napari_segnet.config import LabelClass
from napari_segnet.data.duplicates import Lookalikes
from napari_segnet.datasets import check
from napari_segnet.datasets import likeness as likeness_module
from napari_segnet.datasets.facts import ImageFacts
from napari_segnet.datasets.image_findings import robust_scores
from napari_segnet.datasets.likeness import ManyLookalikes, join
from napari_segnet.datasets.sheet import choose, draw
from napari_segnet.errors import DataError, SegNetError

SHAPE = (40, 60)


def picture(seed, level=100):
    """Return an image that looks like no other, with some structure, and its mask: a disc of another size each."""
    rng = np.random.default_rng(seed)
    coarse = np.kron(rng.normal(size=(5, 6)), np.ones((8, 10)))
    image = np.clip(level + 25 * coarse + rng.normal(0, 8, SHAPE), 0, 250).astype(np.uint8)
    rows, columns = np.ogrid[: SHAPE[0], : SHAPE[1]]
    mask = ((rows - 20) ** 2 + (columns - 15 - 3 * (seed % 8)) ** 2 < 100).astype(np.uint8)
    return image, mask


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".tif":
        tifffile.imwrite(path, array)
    else:
        Image.fromarray(array).save(path)


def make(folder, count=8, first=0, images="images", masks="masks"):
    """Write some images and masks."""
    for number in range(first, first + count):
        image, mask = picture(number)
        save(folder / images / f"{number}.png", image)
        save(folder / masks / f"{number}.png", mask)
    return folder


@pytest.fixture
def data(tmp_path):
    return make(tmp_path / "data")


def finding(report, name):
    return next(found for found in report.findings if found.name == name)


# ---------------------------------------------------------------- healthy data


def test_healthy_data_pass_and_their_numbers_are_right(data):
    report = check(data)
    assert {f.status for f in report.findings} == {"ok"}
    assert report.failed == ()
    painted = sum(int(picture(n)[1].sum()) for n in range(8))
    assert report.counts == {0: 8 * 40 * 60 - painted, 1: painted}
    assert (report.task, report.unlabelled) == ("semantic", "background")
    assert [c.name for c in report.classes] == ["background", "class 1"]
    image, mask = picture(3)
    facts = report.images[3]
    assert (facts.name, facts.axes, facts.shape, facts.channels, facts.dtype) == ("3", "YX", SHAPE, 1, "uint8")
    assert (facts.lowest, facts.highest) == (image.min(), image.max())
    assert facts.brightness == (np.median(image),)
    assert facts.contrast[0] == pytest.approx(np.percentile(image, 95) - np.percentile(image, 5))
    assert facts.painted == pytest.approx(mask.mean())
    assert facts.counts == {0: int((mask == 0).sum()), 1: int(mask.sum())}
    assert finding(report, "classes").found == (f"background {1 - painted / 19200:.2%}, class 1 {painted / 19200:.2%}")


@pytest.mark.parametrize(
    ("folders", "parts"),
    [
        ([("", "images", "masks")], [""]),
        ([("", "Image", "Labels")], [""]),
        ([("train", "images", "masks"), ("val", "images", "masks")], ["train", "val"]),
        ([("training", "img", "gt"), ("test", "img", "gt")], ["train", "test"]),
        ([("", "images/train", "masks/train"), ("", "images/val", "masks/val")], ["train", "val"]),
    ],
)
def test_folders_are_found_as_people_lay_them_out(tmp_path, folders, parts):
    for number, (sub, images, masks) in enumerate(folders):
        make(tmp_path / "d" / sub, 6, 10 * number, images, masks)
    report = check(tmp_path / "d")
    assert report.failed == ()
    assert list(dict.fromkeys(f.part for f in report.images)) == parts
    assert all(f.labels for f in report.images)
    assert finding(report, "images").found.startswith(f"{6 * len(folders)} images")


def test_images_and_masks_side_by_side_and_in_two_folders(tmp_path):
    for number in range(3):
        image, mask = picture(number)
        save(tmp_path / "one" / f"{number}.png", image)
        save(tmp_path / "one" / f"{number}_mask.png", mask)
    assert [f.name for f in check(tmp_path / "one").images] == ["0", "1", "2"]
    make(tmp_path / "two", 3, images="a", masks="b")
    report = check(tmp_path / "two" / "a", tmp_path / "two" / "b")
    assert finding(report, "pairs").found == "3 images with labels"
    single = check(tmp_path / "two" / "a" / "1.png", tmp_path / "two" / "b" / "1.png")
    assert len(single.images) == 1


def test_other_labels_of_the_same_images_are_named(data):
    make(data, masks="instances")
    assert "other labels in instances were not looked at" in finding(check(data), "pairs").found


def test_images_without_any_labels_are_looked_at_alone(tmp_path):
    make(tmp_path, 3)
    report = check(tmp_path / "images")
    assert report.failed == ()
    assert finding(report, "pairs").status == "warn"
    assert report.task is None


def test_nothing_is_written_and_progress_is_told(data, tmp_path):
    before = {p: p.read_bytes() for p in data.rglob("*") if p.is_file()}
    told = []
    check(data, on_progress=lambda done, total: told.append((done, total)))
    assert told == [(n, 8) for n in range(1, 9)]
    assert {p: p.read_bytes() for p in data.rglob("*") if p.is_file()} == before
    assert [p.name for p in tmp_path.iterdir()] == ["data"]


# ---------------------------------------------------------------- mistakes


def cut_short(data):
    path = data / "images" / "2.png"
    path.write_bytes(path.read_bytes()[:200])


def no_mask(data):
    (data / "masks" / "2.png").unlink()
    save(data / "masks" / "other.png", picture(2)[1])


def wrong_size(data):
    save(data / "masks" / "2.png", picture(2)[1][:30])


def jpeg_mask(data):
    (data / "masks" / "2.png").unlink()
    Image.fromarray(picture(2)[1] * 255).save(data / "masks" / "2.jpg", quality=50)


def probabilities(data):
    (data / "masks" / "2.png").unlink()
    save(data / "masks" / "2.tif", (picture(2)[1] * 0.7).astype(np.float32))


def colours(data):
    save(data / "images" / "2.png", np.stack([picture(2)[0]] * 3, 2))


def sixteen_bits(data):
    save(data / "images" / "2.png", picture(2)[0].astype(np.uint16) * 200)


def constant(data):
    save(data / "images" / "2.png", np.full(SHAPE, 9, np.uint8))


def not_numbers(data):
    (data / "images" / "2.png").unlink()
    image = picture(2)[0].astype(np.float32)
    image[:4] = np.nan
    save(data / "images" / "2.tif", image)


def overexposed(data):
    image = picture(2)[0]
    image[:20] = 255
    save(data / "images" / "2.png", image)


def too_dark(data):
    save(data / "images" / "2.png", picture(2)[0] // 4)


def copy(data):
    save(data / "images" / "2.png", (picture(5)[0] * 0.95 + 3).astype(np.uint8))


def blank(data):
    save(data / "masks" / "2.png", np.zeros(SHAPE, np.uint8))


def void(data):
    mask = picture(2)[1]
    mask[:3] = 255
    save(data / "masks" / "2.png", mask)
    save(data / "masks" / "3.png", picture(3)[1] * 255 + picture(3)[1][::-1] * (picture(3)[1] == 0))


def other_convention(data):
    save(data / "masks" / "2.png", picture(2)[1] * 255)


def blurred(data):
    for number in range(8):
        mask = picture(number)[1] * 255
        mask[19, :4], mask[20, :4] = (1, 2, 3, 254), (253, 252, 130, 2)
        save(data / "masks" / f"{number}.png", mask)


def grey_mask(data):
    save(data / "masks" / "2.png", np.arange(2400, dtype=np.uint16).reshape(SHAPE).astype(np.uint8) % 200)


def small(data):
    for folder in ("images", "masks"):
        path = data / folder / "2.png"
        save(path, np.asarray(Image.open(path))[:20, :20])


@pytest.mark.parametrize(
    ("mistake", "name", "status", "found"),
    [
        (cut_short, "images", "fail", r"8 images\. 1 can't be used: .*2\.png"),
        (
            no_mask,
            "pairs",
            "warn",
            r"7 of 8 images have labels; without labels: 2; labels without an image: other\.png",
        ),
        (wrong_size, "label sizes", "fail", r"the labels are 30 x 60, the image is 40 x 60"),
        (jpeg_mask, "label files", "fail", r"2\.jpg is a JPEG with \d+ different values"),
        (probabilities, "label files", "fail", r"2\.tif can't be used as labels: .* no whole numbers, such as 0\.7"),
        (colours, "channels", "fail", r"^2: 3; the others: 1"),
        (sixteen_bits, "types", "warn", r"uint8, uint16, .*; not uint8: 2\."),
        (constant, "values", "warn", r"the same value everywhere: 2\."),
        (not_numbers, "values", "warn", r"NaN or infinite values, up to 10\.00%: 2\."),
        (overexposed, "saturation", "warn", r"on 50% of the pixels or less: 2\."),
        (too_dark, "brightness", "warn", r"1 stand out: 2 \(darker: \d+, usual \d+"),
        (copy, "copies", "warn", r"2 images look like another one, such as 2 and 5\."),
        (blank, "blank labels", "warn", r"1 of 8 are all background: 2\."),
        (void, "label values", "warn", r"255 beside 0, 1: often what doesn't count"),
        (other_convention, "label values", "warn", r"some masks hold 0 and 1, others 0 and 255, such as 2"),
        (
            blurred,
            "label values",
            "fail",
            r"0 and 255, and 1, 2, 3, 130, 252 and 2 more in a few places: a mask blurred",
        ),
        (grey_mask, "label values", "fail", r"hold 199 different values.* So many are in 2\."),
        (small, "sizes", "warn", r"from 20 x 20 to 40 x 60 pixels \(YX\); smaller than 32 pixels: 2\."),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_mistake_is_found_named_and_said_how_to_mend(data, mistake, name, status, found):
    mistake(data)
    report = check(data)
    said = finding(report, name)
    assert said.status == status
    assert re.search(found, said.found), said.found
    assert said.remedy or name == "classes"
    assert (name in report.failed) == (status == "fail")


def test_what_is_wrong_with_an_image_stands_in_its_row(data):
    too_dark(data)
    wrong_size_of = data / "masks" / "4.png"
    save(wrong_size_of, picture(4)[1][:30])
    blank_of = data / "masks" / "6.png"
    save(blank_of, np.zeros(SHAPE, np.uint8))
    report = check(data)
    remarks = {f.name: remark for f, remark in zip(report.images, report.remarks, strict=True)}
    assert remarks["2"].startswith("darker: ")
    assert "the labels are 30 x 60" in remarks["4"]
    assert remarks["6"] == "labels blank"
    assert {remarks[n] for n in "01357"} == {""}


def test_nothing_pairs(tmp_path):
    make(tmp_path, 2, images="images", masks="x")
    make(tmp_path, 2, first=5, images="y", masks="masks")
    report = check(tmp_path / "images", tmp_path / "masks")
    assert report.failed == ("pairs",)
    assert "No image goes with any labels" in finding(report, "pairs").found


def test_nothing_is_painted_at_all(data):
    for number in range(8):
        save(data / "masks" / f"{number}.png", np.zeros(SHAPE, np.uint8))
    assert {"blank labels", "meaning"} <= set(check(data).failed)


@pytest.mark.parametrize(
    ("folder", "sentence"), [("empty", "holds no images"), ("nowhere", "There is no file or folder")]
)
def test_no_data_at_all_is_an_error(tmp_path, folder, sentence):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=sentence):
        check(tmp_path / folder)


# ---------------------------------------------------------------- parts


def test_a_copy_in_another_part_is_named(tmp_path):
    make(tmp_path / "train", 6)
    make(tmp_path / "val", 3, first=20)
    image, mask = picture(4)
    save(tmp_path / "val" / "images" / "stolen.png", np.clip(image * 1.1 + 4, 0, 255).astype(np.uint8))
    save(tmp_path / "val" / "masks" / "stolen.png", mask)
    said = finding(check(tmp_path), "copies")
    assert said.status == "warn"
    assert said.found == "The same image, or nearly, in several parts: train/4 and val/stolen."


def test_a_class_that_is_missing_in_a_part_is_named(tmp_path):
    make(tmp_path / "train", 6)
    make(tmp_path / "val", 6, first=20)
    for number in range(6):
        mask = picture(number)[1]
        mask[:8, :8] = 2
        save(tmp_path / "train" / "masks" / f"{number}.png", mask)
    assert finding(check(tmp_path), "parts").found == "Missing: class 2 in val."


# ---------------------------------------------------------------- meaning


def numbered(number):
    mask = np.zeros(SHAPE, np.uint16)
    for place in range(8):
        row, column = 4 + 20 * (place // 4), 3 + 14 * (place % 4)
        mask[row : row + 6, column : column + 5 + number % 3] = place + 1
    return mask


def test_numbered_objects_are_counted_and_specks_named(data):
    for number in range(8):
        save(data / "masks" / f"{number}.png", numbered(number))
    report = check(data)
    assert report.task == "instances"
    assert report.counts == {}
    assert finding(report, "objects").found == "64 in 8 images, from 8 to 8 an image; median of 36 pixels"
    specks = numbered(3)
    specks[0, 0] = 9
    save(data / "masks" / "3.png", specks)
    report = check(data)
    assert finding(report, "objects").status == "warn"
    assert "1 have one or two pixels, in 3." in finding(report, "objects").found
    assert report.remarks[3] == "1 speck"


def test_what_labels_mean_can_be_said(data):
    for number in range(8):
        save(data / "masks" / f"{number}.png", numbered(number))
    report = check(data, task="semantic", unlabelled="ignore", ignore_values=[8])
    assert (report.task, report.unlabelled) == ("semantic", "ignore")
    assert [c.value for c in report.classes] == [1, 2, 3, 4, 5, 6, 7]


def test_the_class_file_beside_the_labels_counts(data):
    entries = {"0": {"name": "ground", "colour": "#000000"}, "1": {"name": "disc", "colour": "#ff0000"}}
    (data / "masks" / "classes.json").write_text(
        json.dumps(entries | {"255": {"name": "void", "colour": "#888888", "ignore": True}})
    )
    void(data)
    report = check(data)
    assert [(c.value, c.name, c.colour) for c in report.classes] == [(0, "ground", "#000000"), (1, "disc", "#ff0000")]
    assert finding(report, "label values").status == "ok"


def test_rare_classes(data):
    mask = picture(1)[1]
    mask[0, :60] = 2
    save(data / "masks" / "1.png", mask)
    said = finding(check(data, unlabelled="background"), "balance")
    assert said.status == "warn"
    assert said.found.startswith("background has ")
    assert "times the pixels of class 2" in said.found


# ---------------------------------------------------------------- volumes and sizes


def test_volumes_with_other_pixel_sizes(tmp_path):
    rng = np.random.default_rng(0)
    for number, spacing in enumerate((1.0, 1.0, 2.5)):
        volume = rng.integers(0, 200, (6, 34, 36)).astype(np.uint8)
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / "masks").mkdir(exist_ok=True)
        tifffile.imwrite(
            tmp_path / "images" / f"{number}.tif",
            volume,
            imagej=True,
            resolution=(2.0, 2.0),
            metadata={"axes": "ZYX", "unit": "um", "spacing": spacing},
        )
        tifffile.imwrite(
            tmp_path / "masks" / f"{number}.tif", (volume > 100).astype(np.uint8), metadata={"axes": "ZYX"}
        )
    report = check(tmp_path)
    assert finding(report, "sizes").found == "6 x 34 x 36 pixels (ZYX)"
    assert finding(report, "pixel size").status == "ok"  # in the plane they are the same
    assert report.images[2].pixel_size == pytest.approx((2.5, 0.5, 0.5))
    tifffile.imwrite(
        tmp_path / "images" / "1.tif",
        volume,
        imagej=True,
        resolution=(1.0, 1.0),
        metadata={"axes": "ZYX", "unit": "um"},
    )
    said = finding(check(tmp_path), "pixel size")
    assert (said.status, said.found) == ("warn", "from 0.5 to 1 micrometer")


# ---------------------------------------------------------------- numbers


def test_robust_scores_are_distances_in_median_deviations():
    values = np.array([10.0, 11, 12, 13, 14, 15, 80])
    expected = (values - 13) / (median_abs_deviation(values) / 0.6745)
    np.testing.assert_allclose(robust_scores(values), expected)
    same = np.array([5.0, 5, 5, 5, 9])
    np.testing.assert_allclose(robust_scores(same)[-1], 4 / (0.8 * 1.253314))
    assert robust_scores(np.full(4, 3.0)).tolist() == [0, 0, 0, 0]


def test_groups_of_lookalikes_are_those_that_pairs_join(monkeypatch):
    monkeypatch.setattr(likeness_module, "_ROWS", 3)
    seen, plain = ManyLookalikes(), Lookalikes()
    images = [picture(n)[0] for n in range(7)]
    images += [images[2], (images[2] * 0.9).astype(np.uint8), (images[5] * 0.8 + 5).astype(np.uint8)]
    images += [np.full(SHAPE, 3, np.uint8)] * 2
    for number, image in enumerate(images):
        seen.look(number, image[np.newaxis])
        plain.look(number, image[np.newaxis])
    leaders = join(len(images), plain.alike())
    expected = [[n for n in range(len(images)) if leaders[n] == leader] for leader in sorted(set(leaders))]
    assert seen.groups() == [group for group in expected if len(group) > 1]
    assert [2, 7, 8] in seen.groups()


# ---------------------------------------------------------------- files and pictures


def test_what_is_written(data, tmp_path):
    too_dark(data)
    report = check(data, out=tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "check.csv",
        "check.html",
        "check.json",
        "check.png",
    ]
    with (tmp_path / "out" / "check.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8
    assert int(rows[3]["pixels_1"]) == picture(3)[1].sum()
    assert rows[3]["shape"] == "40 x 60"
    assert rows[2]["remark"].startswith("darker")
    tree = json.loads((tmp_path / "out" / "check.json").read_text())
    assert [f["status"] for f in tree["findings"]] == [f.status for f in report.findings]
    assert tree["counts"] == {str(v): n for v, n in report.counts.items()}
    assert tree["images"][3]["painted"] == pytest.approx(picture(3)[1].mean())
    page = (tmp_path / "out" / "check.html").read_text()
    assert page.count("<img") == 8
    assert "http://" not in page
    assert "https://" not in page
    sheet = np.asarray(Image.open(tmp_path / "out" / "check.png"))
    assert sheet.shape[1] >= 3 * 200


def test_values_as_large_as_numbers_can_be(tmp_path):
    image = np.linspace(-1, 1, 2400).reshape(SHAPE) * 1.7e308
    (tmp_path / "images").mkdir()
    np.save(tmp_path / "images" / "a.npy", image)
    report = check(tmp_path / "images", out=tmp_path / "out")
    assert json.loads((tmp_path / "out" / "check.json").read_text())["images"][0]["highest"] == 1e300
    assert report.failed == ()


def test_names_in_a_page_are_text_and_no_html(tmp_path):
    image, mask = picture(1)
    save(tmp_path / "images" / "<b>&.png", image)
    save(tmp_path / "masks" / "<b>&.png", mask)
    check(tmp_path, out=tmp_path / "out")
    page = (tmp_path / "out" / "check.html").read_text()
    assert "<b>&" not in page
    assert "&lt;b&gt;&amp;" in page


def test_a_folder_that_cant_be_written_is_said(data, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SegNetError, match="can't be written"):
        check(data, out=tmp_path / "file")


def test_labels_are_drawn_over_the_image_in_the_colours_of_the_classes(tmp_path):
    save(tmp_path / "images" / "a.png", np.stack([np.full(SHAPE, 100, np.uint8)] * 3, 2))
    mask = np.zeros(SHAPE, np.uint8)
    mask[:, 30:] = 1
    save(tmp_path / "masks" / "a.png", mask)
    report = check(tmp_path)
    red = (LabelClass(value=0, name="a", colour="#0000ff"), LabelClass(value=1, name="b", colour="#ff0000"))
    shown = draw(report.images[0], red, "odd")
    image, labels, over = shown.pictures
    assert image.shape == (133, 200, 3)
    assert labels[60, 20].tolist() == [0, 0, 0]
    assert labels[60, 180].tolist() == [255, 0, 0]
    assert over[60, 20].tolist() == [100, 100, 100]
    assert over[60, 180].tolist() == [round(0.55 * 100 + 0.45 * 255), 55, 55]
    assert shown.words == "40 x 60 uint8, 50.0% painted"


def test_the_plane_in_the_middle_of_a_volume_is_drawn(tmp_path):
    volume = np.random.default_rng(0).integers(0, 200, (7, 34, 36)).astype(np.uint8)
    mask = np.zeros_like(volume)
    mask[3] = 1
    save(tmp_path / "images" / "a.tif", volume)
    save(tmp_path / "masks" / "a.tif", mask)
    report = check(tmp_path, unlabelled="background")
    shown = draw(report.images[0], report.classes)
    assert "plane 3 of 7" in shown.words
    assert (shown.pictures[1].any(axis=2)).all()


def facts(number):
    return [ImageFacts(name=str(n), part="", image=f"{n}.png") for n in range(number)]


def test_of_many_images_the_odd_ones_are_drawn_and_some_of_all():
    remarks = ["odd" if n % 10 == 0 else "" for n in range(100)]
    chosen = choose(facts(100), remarks, 30)
    assert len(chosen) == 30
    assert set(range(0, 100, 10)) <= set(chosen)
    chosen = choose(facts(100), ["odd"] * 100, 10)
    assert len(chosen) == 10
    chosen = choose(facts(100), ["odd"] * 60 + [""] * 40, 20)
    assert sum(n < 60 for n in chosen) == 10
    assert choose(facts(3), [""] * 3, 10) == [0, 1, 2]
    assert choose(facts(3), [""] * 3, 0) == []
