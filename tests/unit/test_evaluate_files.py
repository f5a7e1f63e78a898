"""Folders of predictions against folders of references: what the three files say."""

import csv
import io
import json
import math
import re

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_segnet.errors import DataError, SegNetError
from napari_segnet.evaluation.files import evaluate_files
from napari_segnet.evaluation.report import thumbnail
from napari_segnet.evaluation.scores import Rules

TRUTH = np.zeros((40, 50), np.uint8)
TRUTH[10:30, 10:30] = 1
TRUTH[30:38, 40:48] = 2


@pytest.fixture
def folders(tmp_path):
    """Three predictions (perfect, shifted, with a class missed) and their references."""
    predictions, references = tmp_path / "predictions", tmp_path / "references"
    predictions.mkdir()
    references.mkdir()
    for name, prediction in {
        "a": TRUTH,
        "b": np.roll(TRUTH, 10, 0),
        "c_img": np.where(TRUTH == 2, 0, TRUTH),
    }.items():
        tifffile.imwrite(predictions / f"{name}.tif", prediction)
        tifffile.imwrite(predictions / f"{name}_probabilities.tif", np.zeros((2, 40, 50), np.float32))
        tifffile.imwrite(predictions / f"{name}_uncertainty.tif", np.zeros((40, 50), np.float32))
    for name in "abc":
        Image.fromarray(TRUTH).save(references / f"{name}_mask.png")
    return predictions, references


def rows_of(out):
    with (out / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_summary_holds_means_over_images(folders, tmp_path):
    answer = evaluate_files(*folders, tmp_path / "out")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary == answer
    assert summary["images"] == 3
    # Class 1 is half hit in b; class 2 is hit in a only.
    assert summary["per_class"]["1"]["dice"] == pytest.approx((1 + 0.5 + 1) / 3)
    assert summary["per_class"]["2"]["dice"] == pytest.approx(1 / 3)
    assert summary["dice"] == pytest.approx((1 + 0.25 + 0.5) / 3)
    assert summary["iou"] == pytest.approx((1 + (1 / 3) / 2 + 0.5) / 3)
    wrong = np.mean([0, np.mean(np.roll(TRUTH, 10, 0) != TRUTH), 64 / 2000])
    assert summary["pixel_accuracy"] == pytest.approx(1 - wrong)
    assert {"precision", "recall", "0"} <= {*summary, *summary["per_class"]}
    assert "ap50" not in summary


def test_a_row_for_each_image_and_class(folders, tmp_path):
    evaluate_files(*folders, tmp_path / "out")
    rows = rows_of(tmp_path / "out")
    assert [(r["image"], r["class"]) for r in rows] == [(i, c) for i in ("a", "b", "c_img") for c in "012"]
    missed = rows[-1]
    assert (float(missed["dice"]), float(missed["recall"]), missed["truth_pixels"]) == (0, 0, "64")
    assert float(missed["pixel_accuracy"]) == pytest.approx(1 - 64 / 2000)
    assert float(missed["image_pixel_accuracy"]) == pytest.approx(1 - 64 / 2000)


def test_the_report_needs_no_other_file(folders, tmp_path):
    evaluate_files(*folders, tmp_path / "out")
    text = (tmp_path / "out" / "report.html").read_text()
    assert text.count("data:image/png;base64,") == 3
    assert not re.search(r'(src|href)="(?!data:)', text)
    assert "<script" not in text
    # The worst image comes first.
    assert text.index("<td>b</td>") < text.index("<td>c_img</td>") < text.index("<td>a</td>")
    assert len(text) < 40_000


def test_pictures_show_what_was_missed_and_what_was_invented():
    truth = np.array([[0, 1, 1, 0, 2, 3]], np.uint8)
    prediction = np.array([[0, 1, 0, 1, 1, 1]], np.uint8)
    rules = Rules("background", instances=False, white=False, values=(0, 1, 2), ignore_values=(3,))
    picture = Image.open(io.BytesIO(thumbnail(prediction, truth, rules))).convert("RGB")
    colours = ["#{:02x}{:02x}{:02x}".format(*pixel) for pixel in np.asarray(picture)[0]]
    assert colours[-6:] == ["#000000", "#d9d9d9", "#3182bd", "#e6550d", "#c51b8a", "#4d4d4d"]
    # A value has one colour in the reference (first) and the prediction (after a gap of 4).
    assert colours[1] == colours[2] == colours[11] != colours[4]


def test_names_cannot_put_code_into_the_report(tmp_path):
    name = "<script>alert(1)<"
    Image.fromarray(TRUTH).save(tmp_path / f"{name}.png")
    evaluate_files(tmp_path / f"{name}.png", tmp_path / f"{name}.png", tmp_path / "out")
    assert "<script" not in (tmp_path / "out" / "report.html").read_text()


def test_instances_get_average_precision(tmp_path):
    truth = np.zeros((40, 40), np.uint16)
    for i in range(9):
        truth[13 * (i // 3) + 1 : 13 * (i // 3) + 9, 13 * (i % 3) + 1 : 13 * (i % 3) + 9] = i + 1
    (tmp_path / "p").mkdir()
    (tmp_path / "t").mkdir()
    for name, prediction in (("a", truth), ("b", np.where(truth > 3, truth, 0))):
        tifffile.imwrite(tmp_path / "p" / f"{name}.tif", prediction)
        tifffile.imwrite(tmp_path / "t" / f"{name}.tif", truth)
    summary = evaluate_files(tmp_path / "p", tmp_path / "t", tmp_path / "out")
    assert summary["task"] == "instances"
    assert summary["ap50"] == summary["ap"] == pytest.approx((1 + 6 / 9) / 2)
    assert summary["dice"] == pytest.approx((1 + 2 * 6 / 15) / 2)
    assert (summary["truth_objects"], summary["predicted_objects"]) == (18, 15)
    assert [float(r["ap50"]) for r in rows_of(tmp_path / "out") if r["class"] == "1"] == pytest.approx([1, 6 / 9])


def test_empty_images_are_left_out_of_means(folders, tmp_path):
    for folder, name in zip(folders, ("d.png", "d.png"), strict=True):
        Image.fromarray(TRUTH * 0).save(folder / name)
    summary = evaluate_files(*folders, tmp_path / "out")
    assert summary["images"] == 4
    assert summary["dice"] == pytest.approx((1 + 0.25 + 0.5) / 3)
    assert summary["per_class"]["1"]["images"] == 3
    assert rows_of(tmp_path / "out")[-1]["dice"] == ""


def test_nothing_but_empty_images_still_gives_numbers(tmp_path):
    Image.fromarray(TRUTH * 0).save(tmp_path / "d.png")
    summary = evaluate_files(tmp_path / "d.png", tmp_path / "d.png", tmp_path / "out")
    assert (summary["dice"], summary["iou"], summary["pixel_accuracy"]) == (1, 1, 1)
    assert not any(isinstance(v, float) and math.isnan(v) for v in summary.values())


def test_what_zero_means_is_decided_for_all_images_together(tmp_path):
    strokes = np.where(np.arange(50) % 2, TRUTH + 1, 0).astype(np.uint8)
    for folder, first, second in (("p", TRUTH + 1, TRUTH + 1), ("t", strokes, TRUTH + 1)):
        (tmp_path / folder).mkdir()
        Image.fromarray(first.astype(np.uint8)).save(tmp_path / folder / "a.png")
        Image.fromarray(second.astype(np.uint8)).save(tmp_path / folder / "b.png")
    summary = evaluate_files(tmp_path / "p", tmp_path / "t", tmp_path / "out")
    assert (summary["unlabelled"], summary["dice"], summary["pixel_accuracy"]) == ("ignore", 1, 1)


def test_a_mask_of_255_is_a_mask_of_1(tmp_path):
    mask = (TRUTH > 0).astype(np.uint8)
    Image.fromarray(mask).save(tmp_path / "a.png")
    Image.fromarray(mask * 255).save(tmp_path / "a_mask.png")
    summary = evaluate_files(tmp_path / "a.png", tmp_path / "a_mask.png", tmp_path / "out")
    assert (summary["dice"], list(summary["per_class"])) == (1, ["0", "1"])


def test_what_did_not_pair_is_listed(folders, tmp_path):
    (folders[1] / "c_mask.png").rename(folders[1] / "z.png")
    summary = evaluate_files(*folders, tmp_path / "out")
    assert (summary["unpaired_predictions"], summary["unpaired_labels"]) == (["c_img.tif"], ["z.png"])
    assert "References without a prediction: z.png" in (tmp_path / "out" / "report.html").read_text()


def test_another_size_is_an_error_that_names_both(folders, tmp_path):
    Image.fromarray(TRUTH[:20]).save(folders[1] / "b_mask.png")
    with pytest.raises(DataError, match=r"b\.tif has the shape \(40, 50\), b_mask\.png \(20, 50\)"):
        evaluate_files(*folders, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_only_probabilities_are_no_prediction(folders, tmp_path):
    for name in ("a", "b", "c_img"):
        (folders[0] / f"{name}.tif").unlink()
    with pytest.raises(DataError, match="There are no label images among the predictions"):
        evaluate_files(*folders, tmp_path / "out")


def test_an_output_that_cannot_be_written(folders, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(SegNetError, match="out can't be written"):
        evaluate_files(*folders, tmp_path / "out")


def test_progress_is_told(folders, tmp_path):
    told = []
    evaluate_files(*folders, tmp_path / "out", on_progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]
