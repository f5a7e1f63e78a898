"""Folders of predictions against folders of references: what the tables and the summary say."""

import csv
import json
import math

import numpy as np
import pytest
import tifffile
from PIL import Image
from safetensors.numpy import save_file

from napari_segnet.cli import run
from napari_segnet.data.labels import default_classes
from napari_segnet.errors import ConfigError, DataError, ModelFileError, SegNetError
from napari_segnet.evaluation import evaluate
from napari_segnet.models.info import METADATA_KEY, ModelInfo
from napari_segnet.reports import files
from napari_segnet.reports.files import evaluate_files

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
        tifffile.imwrite(predictions / f"{name}_uncertainty.tif", np.zeros((40, 50), np.float32))
    for name in "abc":
        Image.fromarray(TRUTH).save(references / f"{name}_mask.png")
    return predictions, references


@pytest.fixture
def evaluated(tmp_path):
    """Return a function that evaluates into ``out``, without figures, which take their time."""
    return lambda *sides, **options: evaluate_files(*sides, tmp_path / "out", **{"figures": False, **options})


def rows_of(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def write_labels(folder, **images):
    folder.mkdir(exist_ok=True)
    for name, labels in images.items():
        tifffile.imwrite(folder / f"{name}.tif", labels)
    return folder


def write_scaled(folder, size, unit="um", **volumes):
    folder.mkdir(exist_ok=True)
    for name, volume in volumes.items():
        metadata = {"axes": "ZYX"[-volume.ndim :], "unit": unit, "spacing": size[0]}
        resolution = (1 / size[-1], 1 / size[-2])
        tifffile.imwrite(folder / f"{name}.tif", volume, imagej=True, resolution=resolution, metadata=metadata)
    return folder


def test_summary_holds_means_over_images(folders, evaluated, tmp_path):
    answer = evaluated(*folders)
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


def test_every_measure_of_an_image_has_its_mean_over_images(folders, evaluated):
    summary = evaluated(*folders)
    pairs = [
        (folders[0] / f"{p}.tif", folders[1] / f"{t}_mask.png") for p, t in (("a", "a"), ("b", "b"), ("c_img", "c"))
    ]
    scores = [evaluate(*pair, surface=True, instances=False, unlabelled="background") for pair in pairs]
    for name in scores[0].of_image():
        values = [score.of_image()[name] for score in scores]
        finite = [value for value in values if math.isfinite(value)]
        assert summary[name] == pytest.approx(np.mean(finite)), name
    # The class 2 is nowhere in the prediction of c: its distances are left out, and said so.
    assert [math.isinf(score.of_image()["hd95"]) for score in scores] == [False, False, True]
    assert (summary["missed_images"], summary["per_class"]["2"]["missed_images"]) == (1, 1)
    assert summary["per_class"]["1"]["missed_images"] == 0


def test_means_have_intervals_that_hold_them(folders, evaluated):
    summary = evaluated(*folders)
    low, high = summary["confidence"]["dice"]
    assert 0.25 <= low < summary["dice"] < high <= 1
    low, high = summary["per_class"]["1"]["confidence"]["dice"]
    assert 0.5 <= low < (1 + 0.5 + 1) / 3 < high <= 1


def test_one_image_has_no_interval(folders, evaluated):
    summary = evaluated(folders[0] / "a.tif", folders[1] / "a_mask.png")
    assert summary["dice"] == 1
    assert summary["confidence"] == {}


def test_pooled_scores_are_those_of_all_pixels_together(folders, evaluated):
    summary = evaluated(*folders)
    counts = np.array(summary["confusion"]["counts"])
    assert counts.sum() == 3 * TRUTH.size
    assert summary["confusion"]["values"] == [0, 1, 2]
    assert summary["pooled"]["per_class"]["1"]["dice"] == pytest.approx(
        2 * counts[1, 1] / (3 * 400 + counts[:, 1].sum())
    )
    assert summary["pooled"]["pixel_accuracy"] == pytest.approx(np.trace(counts) / counts.sum())


def test_a_row_for_each_image_and_class(folders, evaluated, tmp_path):
    evaluated(*folders)
    rows = rows_of(tmp_path / "out" / "metrics.csv")
    assert [(r["image"], r["class"]) for r in rows] == [(i, c) for i in ("a", "b", "c_img") for c in "012"]
    assert list(rows[0])[:11] == [
        "image", "class", "name", "dice", "iou", "precision", "recall", "pixel_accuracy", "truth_pixels",
        "predicted_pixels", "image_pixel_accuracy",
    ]  # fmt: skip
    missed = rows[-1]
    assert (float(missed["dice"]), float(missed["recall"]), missed["truth_pixels"]) == (0, 0, "64")
    assert float(missed["pixel_accuracy"]) == pytest.approx(1 - 64 / 2000)
    assert float(missed["image_pixel_accuracy"]) == pytest.approx(1 - 64 / 2000)
    assert (missed["hausdorff"], float(missed["rvd"]), float(missed["specificity"])) == ("inf", -1, 1)
    # Shifted by ten pixels, all along one axis.
    assert float(rows[4]["hausdorff"]) == 10


def test_the_confusion_matrix_is_a_table(folders, evaluated, tmp_path):
    evaluated(*folders)
    rows = rows_of(tmp_path / "out" / "confusion.csv")
    assert [row["true"] for row in rows] == ["0 background", "1", "2"]
    # Class 2 was never taken for class 1; 200 pixels of class 1 were missed in b.
    assert (rows[2]["1"], rows[1]["0 background"], rows[1]["1"]) == ("0", "200", "1000")


def test_instances_get_measures_of_objects(evaluated, tmp_path):
    truth = np.zeros((40, 40), np.uint16)
    for i in range(9):
        truth[13 * (i // 3) + 1 : 13 * (i // 3) + 9, 13 * (i % 3) + 1 : 13 * (i % 3) + 9] = i + 1
    write_labels(tmp_path / "p", a=truth, b=np.where(truth > 3, truth, 0))
    write_labels(tmp_path / "t", a=truth, b=truth)
    summary = evaluated(tmp_path / "p", tmp_path / "t")
    assert summary["task"] == "instances"
    assert summary["ap50"] == summary["ap"] == pytest.approx((1 + 6 / 9) / 2)
    assert summary["dice"] == pytest.approx((1 + 2 * 6 / 15) / 2)
    assert (summary["truth_objects"], summary["predicted_objects"]) == (18, 15)
    # In b six of nine are found exactly.
    objects = summary["objects"]
    assert (objects["pq"], objects["object_recall"], objects["object_precision"]) == pytest.approx(
        (0.9, (1 + 6 / 9) / 2, 1)
    )
    assert (objects["count_error"], objects["centroid_error"], objects["splits"]) == pytest.approx((-1.5, 0, 0))
    assert objects["totals"] == {"matched": 15, "missed": 3, "invented": 0, "splits": 0, "merges": 0}
    assert objects["pooled"]["pq"] == pytest.approx(15 / (15 + 3 / 2))
    rows = rows_of(tmp_path / "out" / "objects.csv")
    assert [(r["image"], int(r["matched"]), float(r["ap_0.75"])) for r in rows] == [("a", 9, 1), ("b", 6, 6 / 9)]
    shown = rows_of(tmp_path / "out" / "metrics.csv")
    assert [float(r["ap50"]) for r in shown if r["class"] == "1"] == pytest.approx([1, 6 / 9])
    counts = summary["agreement"][-1]
    assert (counts["quantity"], counts["bland_altman"]["bias"]) == ("number of objects", -1.5)


def test_pixels_that_do_not_count_are_no_objects(evaluated, tmp_path):
    truth = np.zeros((30, 30), np.uint8)
    truth[2:8, 2:8], truth[20:28, 20:28], truth[12:16, 2:28] = 1, 2, 250
    predicted = np.where(truth == 250, 3, truth)
    write_labels(tmp_path / "p", a=predicted)
    write_labels(tmp_path / "t", a=truth)
    summary = evaluated(tmp_path / "p", tmp_path / "t", instances=True, ignore_values=(250,))
    assert (summary["truth_objects"], summary["predicted_objects"], summary["objects"]["pq"]) == (2, 2, 1)


def test_distances_and_volumes_are_in_the_units_of_the_files(evaluated, tmp_path):
    truth = np.zeros((6, 20, 20), np.uint8)
    truth[1:5, 4:12, 4:12] = 1
    shifted = np.roll(truth, 3, 2)
    write_scaled(tmp_path / "p", (2.0, 0.5, 0.5), a=shifted, b=truth)
    write_scaled(tmp_path / "t", (2.0, 0.5, 0.5), a=truth, b=truth)
    summary = evaluated(tmp_path / "p", tmp_path / "t", instances=False)
    assert summary["unit"] == "µm"
    assert summary["hausdorff"] == pytest.approx(3 * 0.5 / 2)
    agreement = summary["agreement"][0]
    assert (agreement["quantity"], agreement["unit"], agreement["bland_altman"]["bias"]) == (
        "volume of class 1",
        "µm³",
        0,
    )
    # A tolerance in micrometres: everything is within two of them.
    assert evaluated(tmp_path / "p", tmp_path / "t", instances=False, tolerance=2)["surface_dice"] == 1


def test_lengths_are_in_pixels_unless_all_files_tell_their_size(evaluated, tmp_path):
    truth = np.zeros((20, 20), np.uint8)
    truth[4:12, 4:12] = 1
    for folder, labels in (("p", np.roll(truth, 3, 1)), ("t", truth)):
        write_scaled(tmp_path / folder, (0.5, 0.5), a=labels)
        tifffile.imwrite(tmp_path / folder / "b.tif", labels)
    summary = evaluated(tmp_path / "p", tmp_path / "t", instances=False)
    assert (summary["unit"], summary["hausdorff"]) == ("px", 3)


def test_surfaces_are_left_out_where_they_would_take_long(folders, evaluated, monkeypatch):
    monkeypatch.setattr("napari_segnet.reports.planning._AFFORDABLE", 3 * TRUTH.size * 2 - 1)
    summary = evaluated(*folders)
    assert "hd95" not in summary
    assert "surface" in summary["left_out"]
    assert "hd95" in evaluated(*folders, surface=True)
    monkeypatch.undo()
    assert "hd95" in evaluated(*folders)
    assert "hd95" not in evaluated(*folders, surface=False)


def test_a_tolerance_is_for_surfaces(folders, evaluated, monkeypatch):
    monkeypatch.setattr("napari_segnet.reports.planning._AFFORDABLE", 0)
    # Who gives one wants them.
    assert evaluated(folders[0] / "b.tif", folders[1] / "b_mask.png", tolerance=10)["surface_dice"] == 0.5
    with pytest.raises(ConfigError, match="tolerance = 1 is for distances"):
        evaluated(*folders, tolerance=1, surface=False)
    with pytest.raises(ConfigError, match="tolerance = -3"):
        evaluated(*folders, tolerance=-3)


def test_topology_is_measured_on_request(evaluated, tmp_path):
    ring = np.zeros((20, 20), np.uint8)
    ring[4:16, 4:16] = 1
    ring[7:13, 7:13] = 0
    broken = ring.copy()
    broken[8:11, 4:7] = 0
    write_labels(tmp_path / "p", a=broken)
    write_labels(tmp_path / "t", a=ring)
    assert "b1_error" not in evaluated(tmp_path / "p", tmp_path / "t", instances=False)["per_class"]["1"]
    found = evaluated(tmp_path / "p", tmp_path / "t", instances=False, topology=True)["per_class"]["1"]
    assert (found["b0_error"], found["b1_error"], found["betti_error"]) == (0, 1, 1)
    row = rows_of(tmp_path / "out" / "metrics.csv")[1]
    assert (row["truth_b1"], row["predicted_b1"]) == ("1", "0")


def test_thirds_of_stacks_are_scored_on_request(evaluated, tmp_path):
    truth = np.zeros((8, 10, 10), np.uint8)
    truth[1:7, 2:8, 2:8] = 1
    predicted = truth.copy()
    predicted[5:7] = 0
    write_labels(tmp_path / "p", a=predicted)
    write_labels(tmp_path / "t", a=truth)
    thirds = evaluated(tmp_path / "p", tmp_path / "t", instances=False, thirds="first")["thirds"]
    assert [(t["region"], t["dice"], t["truth_volume"]) for t in thirds] == [
        ("base", 1, 72), ("middle", 1, 72), ("apex", 0, 72),
    ]  # fmt: skip
    rows = rows_of(tmp_path / "out" / "thirds.csv")
    assert [(r["image"], r["region"], r["first"], r["last"]) for r in rows] == [
        ("a", "base", "1", "2"), ("a", "middle", "3", "4"), ("a", "apex", "5", "6"),
    ]  # fmt: skip
    turned = evaluated(tmp_path / "p", tmp_path / "t", instances=False, thirds="last")["thirds"]
    assert [t["dice"] for t in turned] == [0, 1, 1]


def write_probabilities(path, labels, sure, classes=2):
    """Write probabilities that are `sure` of the labels."""
    planes = np.full((classes, *labels.shape), (1 - sure) / (classes - 1), np.float32)
    for value in range(classes):
        planes[value][labels == value] = sure
    tifffile.imwrite(path, planes, imagej=True, metadata={"axes": "CYX"})


def test_probabilities_beside_predictions_are_measured(evaluated, tmp_path):
    truth = np.zeros((20, 20), np.uint8)
    truth[5:15, 5:15] = 1
    predicted = truth.copy()
    predicted[5, 5:15] = 0
    write_labels(tmp_path / "p", a=predicted, b=truth)
    write_labels(tmp_path / "t", a=truth, b=truth)
    write_probabilities(tmp_path / "p" / "a_probabilities.tif", predicted, 0.8)
    write_probabilities(tmp_path / "p" / "b_probabilities.tif", truth, 0.8)
    found = evaluated(tmp_path / "p", tmp_path / "t", instances=False)["probability"]
    assert found["images"] == 2
    # 790 of 800 pixels are right, all with 0.8.
    assert found["ece"] == pytest.approx(790 / 800 - 0.8)
    assert found["per_class"]["1"]["brier"] == pytest.approx((790 * 0.2**2 + 10 * 0.8**2) / 800)
    # 10 of 200 pixels of the class have the probability of the 600 outside: ties count half.
    assert found["per_class"]["1"]["roc_auc"] == pytest.approx(190 / 200 + 10 / 200 / 2)
    assert found["per_class"]["1"]["dice_at_half"] == pytest.approx(2 * 190 / (190 + 200))
    rows = rows_of(tmp_path / "out" / "calibration.csv")
    full = [row for row in rows if row["class"] == "" and row["pixels"] != "0"]
    assert [(int(r["pixels"]), float(r["share_right"])) for r in full] == [(800, pytest.approx(790 / 800))]


def test_probabilities_of_objects_are_those_of_any_object(evaluated, tmp_path):
    truth = np.zeros((20, 20), np.uint8)
    truth[2:8, 2:8], truth[12:18, 12:18] = 1, 2
    write_labels(tmp_path / "p", a=truth)
    write_labels(tmp_path / "t", a=truth)
    write_probabilities(tmp_path / "p" / "a_probabilities.tif", truth > 0, 0.9)
    found = evaluated(tmp_path / "p", tmp_path / "t", instances=True)["probability"]
    assert (found["per_class"]["1"]["roc_auc"], found["ece"]) == pytest.approx((1, 0.1))


def test_probabilities_of_unknown_classes_are_left_out_and_named(folders, evaluated):
    write_probabilities(folders[0] / "a_probabilities.tif", TRUTH, 0.8, classes=5)
    summary = evaluated(*folders)
    assert "probability" not in summary
    assert "a_probabilities.tif has 5 channels" in summary["left_out"]["probability"]


def test_damaged_probabilities_do_not_stop_the_rest(folders, evaluated, tmp_path):
    write_probabilities(folders[0] / "a_probabilities.tif", TRUTH, 0.8, classes=3)
    sevens = np.full((3, 40, 50), 7, np.float32)
    tifffile.imwrite(folders[0] / "b_probabilities.tif", sevens, imagej=True, metadata={"axes": "CYX"})
    summary = evaluated(*folders)
    assert (summary["images"], summary["probability"]["images"]) == (3, 1)
    assert (
        "b: probabilities were left out. There is a probability of 7." in (tmp_path / "out" / "report.html").read_text()
    )


def test_areas_of_prediction_and_reference_are_compared(evaluated, tmp_path):
    for folder, sizes in (("p", (11, 22, 30, 43)), ("t", (10, 20, 30, 40))):
        images = {}
        for name, size in zip("abcd", sizes, strict=True):
            images[name] = np.zeros((10, 10), np.uint8)
            images[name].flat[:size] = 1
        write_labels(tmp_path / folder, **images)
    found = evaluated(tmp_path / "p", tmp_path / "t", instances=False)["agreement"][0]
    assert (found["quantity"], found["unit"], found["n"]) == ("area of class 1", "px", 4)
    assert found["bland_altman"]["bias"] == pytest.approx(np.mean([1, 2, 0, 3]))
    assert found["bland_altman"]["upper"] == pytest.approx(1.5 + 1.959964 * np.std([1, 2, 0, 3], ddof=1))
    assert found["least_squares"]["slope"] == pytest.approx(np.polyfit((10, 20, 30, 40), (11, 22, 30, 43), 1)[0])
    row = rows_of(tmp_path / "out" / "agreement.csv")[0]
    assert (row["quantity"], float(row["bland_altman_bias"])) == ("area of class 1", 1.5)
    assert 0.9 < float(row["ICC(2,1) value"]) < 1


def test_several_predictions_are_ranked(folders, evaluated, tmp_path):
    best = write_labels(tmp_path / "best", a=TRUTH, b=TRUTH, c=TRUTH)
    summary = evaluated(*folders, also=[best])
    models = summary["comparison"]["models"]
    assert [(m["name"], m["rank"], m["score"]) for m in models] == [
        ("best", 1, 1), ("predictions", 2, pytest.approx((1 + 0.25 + 0.5) / 3)),
    ]  # fmt: skip
    pair = summary["comparison"]["pairs"][0]
    assert (pair["wins"], pair["losses"], pair["ties"]) == (2, 0, 1)
    rows = rows_of(tmp_path / "out" / "comparison.csv")
    assert [(r["image"], r["prediction"]) for r in rows] == [
        (name, model) for model in ("predictions", "best") for name in ("a", "b", "c_img")
    ]
    assert [r["name"] for r in rows_of(tmp_path / "out" / "ranking.csv")] == ["best", "predictions"]
    assert rows_of(tmp_path / "out" / "pairs.csv")[0]["second"] == "predictions"


def test_what_people_agree_on_is_the_ceiling(folders, evaluated, tmp_path):
    # The second person leaves out class 2 everywhere, and agrees with the reference by (1 + 0) / 2.
    person = write_labels(tmp_path / "eve", **{name: np.where(TRUTH == 2, 0, TRUTH) for name in "abc"})
    summary = evaluated(*folders, annotators=[person])
    found = summary["annotators"]
    assert found["between"]["value"] == pytest.approx(0.5)
    # With the reference 1, 1/4 and 1/2, with the person 1/2, 1/4 and 1.
    assert found["pairs"]["prediction - reference"]["value"] == pytest.approx(1.75 / 3)
    assert found["pairs"]["prediction - eve"]["value"] == pytest.approx(1.75 / 3)
    assert found["share"]["value"] == pytest.approx(1.75 / 3 / 0.5)
    assert {m["name"] for m in summary["comparison"]["models"]} == {"predictions", "eve"}


def test_folders_of_one_name_are_told_apart(folders, evaluated, tmp_path):
    (tmp_path / "other").mkdir()
    other = write_labels(tmp_path / "other" / "predictions", a=TRUTH, b=TRUTH, c=TRUTH)
    summary = evaluated(*folders, also=[other])
    assert {m["name"] for m in summary["comparison"]["models"]} == {"predictions", "predictions 2"}


def test_predictions_of_other_images_cannot_be_compared(folders, evaluated, tmp_path):
    other = write_labels(tmp_path / "other", x=TRUTH, y=TRUTH)
    with pytest.raises(DataError):
        evaluated(*folders, also=[other])


def test_classes_beside_the_labels_name_colour_and_ignore(folders, evaluated, tmp_path):
    entries = {
        "0": {"name": "ground", "colour": "#000000"},
        "1": {"name": "cell", "colour": "#00ff00"},
        "2": {"name": "dirt", "colour": "#ff0000", "ignore": True},
    }
    (folders[1] / "classes.json").write_text(json.dumps(entries))
    summary = evaluated(*folders)
    assert (summary["ignore_values"], summary["unlabelled"]) == ([2], "background")
    assert summary["per_class"]["1"]["name"] == "cell"
    # Pixels of dirt don't count; that b predicts some elsewhere does.
    assert summary["per_class"]["0"]["truth_pixels"] == 3 * (2000 - 400 - 64)
    assert 'fill="#00ff00"' in (tmp_path / "out" / "report.html").read_text()


def test_a_model_that_is_none_is_an_error(folders, evaluated, tmp_path):
    (tmp_path / "x.safetensors").write_text("nothing")
    with pytest.raises(ModelFileError):
        evaluated(*folders, model=tmp_path / "x.safetensors")
    assert not (tmp_path / "out").exists()


def test_a_model_of_another_kind_is_said(folders, evaluated, tmp_path):
    info = ModelInfo(
        network="plain-unet", channels=1, outputs=3, patch_size=32, stride=16, halo=16, task="instances",
        classes=default_classes(range(2), "background", "instances"),
    )  # fmt: skip
    path = tmp_path / "objects.safetensors"
    save_file({"weight": np.zeros(1, np.float32)}, path, {METADATA_KEY: info.model_dump_json()})
    summary = evaluated(*folders, model=path)
    assert "--model names one of objects, and these are classes: was it this one that predicted?" in summary["warnings"]


def test_images_of_another_size_are_an_error(folders, evaluated, tmp_path):
    images = write_labels(tmp_path / "images", a=TRUTH[:20], b=TRUTH, c=TRUTH)
    with pytest.raises(DataError, match=r"a\.tif has the shape \(20, 50\), a_mask\.png \(40, 50\)"):
        evaluated(*folders, images=images, figures=True)


def test_images_that_are_missing_are_named(folders, evaluated, tmp_path):
    images = write_labels(tmp_path / "images", a=TRUTH, c=TRUTH)
    summary = evaluated(*folders, images=images)
    assert summary["left_out"] == {"images": "No image was found for b."}


def test_empty_images_are_left_out_of_means(folders, evaluated, tmp_path):
    for folder in folders:
        Image.fromarray(TRUTH * 0).save(folder / "d.png")
    summary = evaluated(*folders)
    assert summary["images"] == 4
    assert summary["dice"] == pytest.approx((1 + 0.25 + 0.5) / 3)
    assert summary["per_class"]["1"]["images"] == 3
    assert rows_of(tmp_path / "out" / "metrics.csv")[-1]["dice"] == ""


def test_nothing_but_empty_images_still_gives_numbers_and_a_page(tmp_path):
    Image.fromarray(TRUTH * 0).save(tmp_path / "d.png")
    summary = evaluate_files(tmp_path / "d.png", tmp_path / "d.png", tmp_path / "out")
    assert (summary["dice"], summary["iou"], summary["pixel_accuracy"]) == (1, 1, 1)
    assert not any(isinstance(v, float) and math.isnan(v) for v in summary.values())
    assert (tmp_path / "out" / "report.html").read_text().count("<h2>") >= 3


def test_what_zero_means_is_decided_for_all_images_together(evaluated, tmp_path):
    strokes = np.where(np.arange(50) % 2, TRUTH + 1, 0).astype(np.uint8)
    for folder, first, second in (("p", TRUTH + 1, TRUTH + 1), ("t", strokes, TRUTH + 1)):
        write_labels(tmp_path / folder, a=first.astype(np.uint8), b=second.astype(np.uint8))
    summary = evaluated(tmp_path / "p", tmp_path / "t")
    assert (summary["unlabelled"], summary["dice"], summary["pixel_accuracy"]) == ("ignore", 1, 1)


def test_a_mask_of_255_is_a_mask_of_1(evaluated, tmp_path):
    mask = (TRUTH > 0).astype(np.uint8)
    Image.fromarray(mask).save(tmp_path / "a.png")
    Image.fromarray(mask * 255).save(tmp_path / "a_mask.png")
    summary = evaluated(tmp_path / "a.png", tmp_path / "a_mask.png", topology=True)
    assert (summary["dice"], list(summary["per_class"])) == (1, ["0", "1"])
    assert (summary["hd95"], summary["per_class"]["1"]["cl_dice"]) == (0, 1)


def test_what_did_not_pair_is_listed(folders, evaluated, tmp_path):
    (folders[1] / "c_mask.png").rename(folders[1] / "z.png")
    summary = evaluated(*folders)
    assert (summary["unpaired_predictions"], summary["unpaired_labels"]) == (["c_img.tif"], ["z.png"])
    assert "References without a prediction: z.png" in (tmp_path / "out" / "report.html").read_text()
    assert summary["warnings"] == [
        "Predictions without a reference: c_img.tif.",
        "References without a prediction: z.png.",
    ]


def test_what_was_left_out_is_said_at_the_shell_too(folders, tmp_path, capsys):
    (folders[1] / "c_mask.png").rename(folders[1] / "z.png")
    arguments = ["evaluate", str(folders[0]), str(folders[1]), "--out", str(tmp_path / "out"), "--no-figures"]
    assert run([*arguments, "--thirds", "first"]) == 0
    told = capsys.readouterr()
    assert "note: References without a prediction: z.png." in told.err
    assert "note: No file holds a stack: there are no base, middle and apex." in told.err
    assert "mean over 2 images" in told.out


def test_another_size_is_an_error_that_names_both(folders, evaluated, tmp_path):
    Image.fromarray(TRUTH[:20]).save(folders[1] / "b_mask.png")
    with pytest.raises(DataError, match=r"b\.tif has the shape \(40, 50\), b_mask\.png \(20, 50\)"):
        evaluated(*folders)
    assert not (tmp_path / "out").exists()


def test_only_probabilities_are_no_prediction(folders, evaluated):
    for name in ("a", "b", "c_img"):
        (folders[0] / f"{name}.tif").unlink()
    with pytest.raises(DataError, match="There are no label images among the predictions"):
        evaluated(*folders)


def test_an_output_that_cannot_be_written(folders, evaluated, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(SegNetError, match="out can't be written"):
        evaluated(*folders)


def test_an_earlier_evaluation_leaves_nothing_behind(folders, evaluated, tmp_path):
    other = write_labels(tmp_path / "other", a=TRUTH, b=TRUTH, c=TRUTH)
    evaluated(*folders, also=[other], figures=True)
    (tmp_path / "out" / "figures" / "mine.pdf").write_bytes(b"%PDF-1.4 by hand")
    before = {path.name for path in (tmp_path / "out" / "figures").iterdir()}
    assert {"ranking.png", "ranking.pdf", "dice_distribution.pdf", "confusion.png"} <= before
    evaluated(*folders, figures=True)
    after = {path.name for path in (tmp_path / "out" / "figures").iterdir()}
    assert before - after == {"ranking.png", "ranking.pdf"}
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {
        "agreement.csv", "confusion.csv", "metrics.csv", "summary.json", "report.html", "figures",
    }  # fmt: skip


def test_progress_is_told(folders, evaluated):
    told = []
    evaluated(*folders, on_progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_several_processes_find_the_same(folders, evaluated, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_WORTH_PROCESSES", 0)
    alone = evaluated(*folders)
    tables = (tmp_path / "out" / "metrics.csv").read_text()
    assert evaluated(*folders, workers=2) == alone
    assert (tmp_path / "out" / "metrics.csv").read_text() == tables
    with pytest.raises(ConfigError, match="workers = 0"):
        evaluated(*folders, workers=0)


def test_only_the_worst_images_keep_their_picture(tmp_path, evaluated, monkeypatch):
    monkeypatch.setattr(files, "_MOST_PICTURES", 2)
    sides = {"p": {}, "t": {}}
    for place in range(7):
        predicted = np.zeros((12, 12), np.uint8)
        predicted[: place + 1, :6] = 1
        sides["p"][f"i{place}"] = predicted
        sides["t"][f"i{place}"] = np.where(np.arange(12)[:, None] < 8, 1, 0).astype(np.uint8) * (np.arange(12) < 6)
    for folder, images in sides.items():
        write_labels(tmp_path / folder, **{name: image.astype(np.uint8) for name, image in images.items()})
    evaluated(tmp_path / "p", tmp_path / "t", instances=False)
    text = (tmp_path / "out" / "report.html").read_text()
    assert text.count("Reference, prediction and errors of") == 2
    assert text.index("errors of i0") < text.index("errors of i1")
