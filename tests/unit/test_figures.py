"""Figures: what they draw, how they are saved, and the pictures of images with their errors."""

import io
import xml.etree.ElementTree as ET

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from napari_segnet.config import LabelClass
from napari_segnet.evaluation.curves import Curve
from napari_segnet.evaluation.scores import Rules
from napari_segnet.reports import panels
from napari_segnet.reports.agreement_charts import bland_altman_chart, regression_chart
from napari_segnet.reports.charts import literal, new_figure, save_charts
from napari_segnet.reports.colours import (
    CONFUSED,
    ERROR_COLOURS,
    HIT,
    IGNORED,
    INVENTED,
    MISSED,
    NOTHING,
    class_colours,
)
from napari_segnet.reports.object_charts import ranking_chart, threshold_curves_chart
from napari_segnet.reports.page import embed
from napari_segnet.reports.probability_charts import precision_recall_chart, reliability_chart, roc_chart
from napari_segnet.reports.score_charts import Mean, bars_chart, confusion_chart, distribution_chart
from napari_segnet.reports.training_charts import training_charts

HISTORY = [
    {"epoch": n, "loss": 2.0 / n, "val_loss": 2.5 / n, "learning_rate": 1e-3, "dice": 1 - 0.5 / n, "val_dice": None}
    for n in range(1, 6)
]
CLASSES = Rules("background", instances=False, white=False, values=(0, 1, 2), ignore_values=())


def lines_of(axes):
    return {line.get_label(): line for line in axes.get_lines()}


def texts_of(figure):
    return [text.get_text() for text in figure.findobj(mpl.text.Text) if text.get_text()]


def test_training_curves_show_every_epoch_and_the_best():
    charts = {chart.name: chart for chart in training_charts(HISTORY, best_epoch=4)}
    assert set(charts) == {"training_loss", "training_scores", "learning_rate"}
    lines = lines_of(charts["training_loss"].figure.axes[0])
    assert set(lines) == {"learning", "validation", "best: epoch 4"}
    np.testing.assert_allclose(lines["validation"].get_xydata(), [[n, 2.5 / n] for n in range(1, 6)])
    assert lines["best: epoch 4"].get_xdata()[0] == 4
    # There is no validation Dice: no line for it.
    assert set(lines_of(charts["training_scores"].figure.axes[0])) == {"learning", "best: epoch 4"}


def test_an_epoch_without_a_number_is_left_out_of_its_line():
    history = [{**row, "val_dice": None if row["epoch"] == 2 else 0.1 * row["epoch"]} for row in HISTORY]
    scores = next(chart for chart in training_charts(history, None) if chart.name == "training_scores")
    assert lines_of(scores.figure.axes[0])["validation"].get_xdata().tolist() == [1, 3, 4, 5]


def test_nothing_to_draw_is_no_figure():
    assert training_charts([], None) == []
    assert training_charts([{"epoch": 1, "loss": float("nan")}], None) == []


def test_distributions_show_each_image_and_the_worst_class_at_the_bottom():
    chart = distribution_chart({"good": [0.9, 0.8, 0.95, float("nan")], "bad": [0.1, 0.3]}, "Dice", name="d")
    axes = chart.figure.axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["bad (2)", "good (3)"]
    places = [points.get_offsets() for points in axes.collections]
    assert [sorted(np.asarray(p)[:, 0]) for p in places] == [[0.1, 0.3], [0.8, 0.9, 0.95]]
    assert all(abs(p[:, 1] - row).max() < 0.2 for row, p in enumerate(map(np.asarray, places)))


def test_boxes_are_tukeys():
    values = [0.1, 0.5, 0.55, 0.6, 0.65, 0.7]
    axes = distribution_chart({"a": values}, "Dice", name="d").figure.axes[0]
    box = axes.get_lines()[0].get_xdata()
    low, high = np.quantile(values, (0.25, 0.75))
    assert (min(box), max(box)) == pytest.approx((low, high))
    segments = [segment for part in axes.collections[1:] for segment in part.get_segments()]
    reached = sorted({round(float(x), 6) for segment in segments for x in np.asarray(segment)[:, 0]})
    # 0.1 is an outlier: the whisker ends at 0.5.
    assert (reached[0], reached[-1]) == pytest.approx((0.5, 0.7))
    assert np.median(values) in reached


def test_bars_have_their_means_and_intervals():
    means = {"a": {"Dice": Mean(0.8, 0.7, 0.85)}, "b": {"Dice": Mean(0.5, float("nan"), float("nan"))}}
    axes = bars_chart(means, "Overlap", name="b").figure.axes[0]
    assert [bar.get_width() for bar in axes.patches] == [0.8, 0.5]
    whiskers = [segment[:, 0].tolist() for part in axes.collections for segment in part.get_segments()]
    assert whiskers[0] == pytest.approx([0.7, 0.85])
    assert whiskers[1] == pytest.approx([0.5, 0.5])


def test_the_confusion_matrix_is_written_as_counts_and_shares():
    figure = confusion_chart(np.array([[90, 10], [0, 25_000]]), ["ground", "cell"]).figure
    counts, shares = (texts_of(axes) for axes in figure.axes)
    assert {"90", "10", "0", "25k", "Pixels", "true", "predicted"} <= set(counts)
    assert {"90.0%", "10.0%", "0.0%", "100.0%"} <= set(shares)


def test_a_class_that_the_reference_never_has_has_no_shares():
    figure = confusion_chart(np.array([[9, 1], [0, 0]]), ["ground", "cell"]).figure
    assert "0.0%" not in texts_of(figure.axes[1])
    assert np.isnan(np.ma.filled(figure.axes[1].images[0].get_array(), np.nan)[1]).all()


def test_roc_and_precision_recall_draw_the_curves_they_are_given():
    curve = Curve(np.array([0.0, 0.1, 1.0]), np.array([0.0, 0.9, 1.0]), np.array([np.inf, 0.5, 0.0]), 0.9, 0.0)
    lines = lines_of(roc_chart({"cell": curve}).figure.axes[0])
    np.testing.assert_allclose(lines["cell: AUC 0.9000"].get_xydata(), [[0, 0], [0.1, 0.9], [1, 1]])
    lines = lines_of(precision_recall_chart({"cell": curve}, {"cell": 0.25}).figure.axes[0])
    assert lines["cell: AP 0.9000"].get_drawstyle() == "steps-pre"
    assert any(line.get_ydata()[0] == 0.25 for line in lines.values())


def test_the_reliability_diagram_leaves_out_empty_bins():
    nan = float("nan")
    axes = reliability_chart([0.1, nan, 0.7, 0.9], [0.2, nan, 0.6, 0.95], [10, 0, 30, 60], 0.05).figure.axes[0]
    np.testing.assert_allclose(lines_of(axes)["right"].get_xydata(), [[0.1, 0.2], [0.7, 0.6], [0.9, 0.95]])
    assert [bar.get_height() for bar in axes.patches] == pytest.approx([0.1, 0, 0.3, 0.6])


def test_bland_altman_and_regression_draw_what_was_measured():
    reference, predicted = [10.0, 20.0, 40.0], [12.0, 19.0, 43.0]
    chart = bland_altman_chart(reference, predicted, 1.3, (-2.0, 4.0), quantity="area", unit="µm²", name="ba")
    axes = chart.figure.axes[0]
    np.testing.assert_allclose(axes.collections[0].get_offsets(), [[11, 2], [19.5, -1], [41.5, 3]])
    assert {1.3, -2.0, 4.0} <= {line.get_ydata()[0] for line in axes.get_lines()}
    assert axes.get_ylabel() == "prediction - reference [µm²]"
    chart = regression_chart(reference, predicted, (1.1, -2.0), 0.99, quantity="area", unit="px", name="r")
    line = lines_of(chart.figure.axes[0])["1.1 x - 2, r = 0.9900"]
    np.testing.assert_allclose(line.get_ydata(), 1.1 * line.get_xdata() - 2)


def test_equal_measurements_can_be_drawn():
    chart = regression_chart([5.0, 5.0], [5.0, 5.0], (1.0, 0.0), 1.0, quantity="area", unit="px", name="r")
    assert chart.figure.axes[0].get_xlim() == (4, 6)


def test_the_best_prediction_is_at_the_top():
    axes = ranking_chart({"a": Mean(0.5, 0.4, 0.6), "b": Mean(0.9, 0.8, 0.95)}, "Dice").figure.axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["a", "b"]
    lines = lines_of(threshold_curves_chart((0.5, 0.75), {"AP": [0.9, 0.4]}).figure.axes[0])
    np.testing.assert_allclose(lines["AP"].get_xydata(), [[0.5, 0.9], [0.75, 0.4]])


@pytest.mark.parametrize("name", ["cost in $ or $x_1$", "细胞", "<b>&</b>", "a" * 200, r"\frac{1}{2}"])
def test_any_class_name_can_be_drawn(name):
    charts = [
        distribution_chart({name: [0.5] * 6}, "Dice", name="d"),
        bars_chart({name: {"Dice": Mean(0.5, 0.4, 0.6)}}, "Overlap", name="b"),
        confusion_chart(np.ones((2, 2), np.int64), [name, "x"]),
        ranking_chart({name: Mean(0.5, 0.4, 0.6)}, "Dice"),
        bland_altman_chart([1.0, 2.0], [1.0, 2.5], 0.25, (0.0, 1.0), quantity=name, unit=name, name="ba"),
    ]
    assert all(chart.picture().source.startswith("data:") for chart in charts)
    assert len(literal(name)) <= 32


def test_letters_that_the_font_lacks_do_not_stop_a_figure(tmp_path):
    save_charts([ranking_chart({"细胞": Mean(0.5, 0.4, 0.6)}, "Dice")], tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"ranking.png", "ranking.pdf"}


def test_figures_are_saved_as_png_and_pdf_and_embedded_as_vectors(tmp_path):
    chart = training_charts(HISTORY, 4)[0]
    save_charts([chart], tmp_path / "figures")
    with Image.open(tmp_path / "figures" / "training_loss.png") as picture:
        assert picture.width > 600
        assert len(np.unique(np.asarray(picture.convert("L")))) > 10
    assert (tmp_path / "figures" / "training_loss.pdf").read_bytes().startswith(b"%PDF")
    assert not [path for path in (tmp_path / "figures").iterdir() if path.name.startswith(".")]
    source = chart.picture().source
    assert source.startswith("data:image/svg+xml;base64,")
    import base64

    root = ET.fromstring(base64.b64decode(source.partition(",")[2]))
    assert root.tag.endswith("svg")
    assert not [e for e in root.iter() if any("http" in v and "w3.org" not in v for v in e.attrib.values())]


def test_the_same_numbers_give_the_same_figure():
    first, second = (training_charts(HISTORY, 4)[0].picture() for _ in range(2))
    assert first == second


def test_the_users_own_figures_are_left_alone():
    import sys

    before = dict(mpl.rcParams)
    mpl.rcParams["font.size"] = 31
    try:
        chart = training_charts(HISTORY, 4)[0]
        chart.picture()
        assert mpl.rcParams["font.size"] == 31
        assert chart.figure.axes[0].xaxis.label.get_size() < 15
    finally:
        mpl.rcParams.update(before)
    # Nothing of pyplot's state: no window, no list of figures.
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_figures_can_have_several_axes():
    with new_figure(2, 3) as (figure, axes):
        assert len(axes) == 6
    assert figure.axes == axes


# ------------------------------------------------------------------------ pictures


def test_errors_say_what_was_missed_invented_and_confused():
    truth = np.array([[0, 1, 1, 0, 2, 3]], np.uint8)
    prediction = np.array([[0, 1, 0, 1, 1, 1]], np.uint8)
    rules = Rules("background", instances=False, white=False, values=(0, 1, 2), ignore_values=(3,))
    found = panels.find_errors(prediction, truth, rules)
    assert found.tolist() == [[NOTHING, HIT, MISSED, INVENTED, CONFUSED, IGNORED]]


def test_objects_have_other_numbers_on_either_side():
    rules = Rules("background", instances=True, white=False, values=(0, 1))
    truth, prediction = np.array([[0, 7, 7, 0]], np.uint16), np.array([[0, 2, 0, 3]], np.uint16)
    assert panels.find_errors(prediction, truth, rules).tolist() == [[NOTHING, HIT, MISSED, INVENTED]]


def test_a_panel_shows_image_reference_prediction_overlay_and_errors():
    truth = np.zeros((40, 60), np.uint8)
    truth[10:30, 10:30] = 2
    prediction = np.roll(truth, 5, 1)
    image = np.linspace(0, 1, truth.size).reshape(truth.shape)
    panel = panels.draw_panel(prediction, truth, CLASSES, colours={2: "#00ff00"}, image=(image, "YX"), side=60)
    assert list(panel.pictures) == list(panels.PARTS)
    assert {picture.shape for picture in panel.pictures.values()} == {(40, 60, 3)}
    assert panel.pictures["truth"][20, 20].tolist() == [0, 255, 0]
    assert panel.pictures["prediction"][20, 12].tolist() == [16, 16, 16]
    error = panel.pictures["error"]
    colours = ["#{:02x}{:02x}{:02x}".format(*error[20, x]) for x in (5, 12, 20, 32)]
    assert colours == [ERROR_COLOURS[kind] for kind in (NOTHING, MISSED, HIT, INVENTED)]
    # The reference is a white line, within which the prediction tints the image.
    assert panel.pictures["overlay"][10, 20].tolist() == [255, 255, 255]
    tinted, plain = panel.pictures["overlay"][20, 20].astype(int), panel.pictures["image"][20, 20].astype(int)
    assert tinted[1] > plain[1]
    assert tinted[0] < plain[0]


def test_without_an_image_there_is_no_overlay():
    truth = np.ones((10, 10), np.uint8)
    panel = panels.draw_panel(truth, truth, CLASSES, colours={})
    assert list(panel.pictures) == ["truth", "prediction", "error"]


def test_large_images_are_thinned_out_and_tiny_ones_enlarged():
    large = panels.draw_panel(*(np.ones((3000, 1000), np.uint8),) * 2, CLASSES, colours={}, side=100)
    assert large.pictures["truth"].shape == (100, 34, 3)
    tiny = panels.draw_panel(*(np.ones((20, 10), np.uint8),) * 2, CLASSES, colours={}, side=320)
    assert tiny.pictures["truth"].shape == (160, 80, 3)


def test_of_a_stack_the_plane_with_most_to_find_is_drawn():
    truth = np.zeros((2, 5, 8, 8), np.uint8)
    truth[1, 3, 2:6, 2:6] = 1
    truth[0, 1, :2, :2] = 1
    image = np.zeros((2, 5, 8, 8), np.float32)
    image[1, 3] = np.arange(64).reshape(8, 8)
    panel = panels.draw_panel(truth * 0, truth, CLASSES, colours={1: "#ffffff"}, image=(image, "TZYX"), side=8)
    assert panel.plane == 8
    assert (panel.pictures["truth"][..., 0] == 255).sum() == 16
    assert panel.pictures["image"].max() == 255


@pytest.mark.parametrize(
    ("array", "axes", "pixel", "shown"),
    [
        (np.full((4, 4), 9, np.uint16), "YX", (0, 0), [0, 0, 0]),
        (np.array([[0, 100], [50, 100]], np.float32), "YX", (0, 1), [255, 255, 255]),
        (np.dstack([np.full((4, 4), c, np.uint8) for c in (10, 200, 30)]), "YXC", (1, 1), [10, 200, 30]),
        (np.stack([np.eye(4), 1 - np.eye(4)]), "CYX", (0, 0), [255, 0, 255]),
        (np.array([[np.nan, 1.0], [0.0, np.nan]]), "YX", (0, 0), [0, 0, 0]),
    ],
)
def test_images_of_any_kind_can_be_looked_at(array, axes, pixel, shown):
    assert panels.show_image(array, axes)[pixel].tolist() == shown


def test_pictures_of_few_colours_are_small_and_exact():
    picture = panels.palette(ERROR_COLOURS)[np.arange(600).reshape(20, 30) % 6]
    png = panels.png(picture)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png)).convert("RGB")), picture)
    assert len(png) < 400
    noise = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(panels.png(noise)))), noise)
    assert embed(png).startswith("data:image/png;base64,iVBOR")


def test_classes_keep_their_colours():
    classes = [LabelClass(value=3, name="cell", colour="#123456")]
    colours = class_colours((0, 1, 3), classes)
    assert (colours[0], colours[3]) == ("#101010", "#123456")
    assert colours[1] not in (colours[0], colours[3])
