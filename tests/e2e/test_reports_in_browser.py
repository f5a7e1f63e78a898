"""Reports of a real run and its predictions in a real browser: no request, no error, something to see."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from conftest import discs
from napari_segnet.config import PredictConfig
from napari_segnet.executor import execute, set_up
from napari_segnet.predict.files import predict_files
from napari_segnet.reports.files import evaluate_files
from napari_segnet.reports.page import Markdown, Page, Section, Text, render, simple_table
from napari_segnet.reports.training import write_training_report
from napari_segnet.training.examples import write_examples

pytestmark = [pytest.mark.viewer, pytest.mark.slow]
BROWSER = Path(__file__).with_name("browser.py")
SEEN = """(() => {
  const images = [...document.querySelectorAll("main img")];
  return {
    title: document.title,
    sections: [...document.querySelectorAll("main > section > h2")].map((heading) => heading.textContent),
    rows: document.querySelectorAll("tbody tr").length,
    images: images.length,
    broken: images.filter((image) => !(image.complete && image.naturalWidth > 0)).length,
    tooWide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  };
})()"""
SORTED = """(() => {
  const column = () => [...document.querySelectorAll("tbody tr")].map((row) => row.cells[0].textContent);
  const heads = document.querySelectorAll("th");
  const orders = [column()];
  for (const head of [heads[1], heads[1], heads[0]]) {
    head.click();
    orders.push([...column(), head.getAttribute("aria-sort")]);
  }
  return orders;
})()"""
LARGE = """(() => {
  const image = document.querySelector(".of-5 img");
  const widths = [image.clientWidth];
  image.click();
  widths.push(image.clientWidth);
  document.dispatchEvent(new KeyboardEvent("keydown", {key: "Escape"}));
  return [...widths, image.clientWidth];
})()"""


def look(page, screenshot, script=SEEN):
    """Open a page, and return what the script says of it; whatever a page may never do is checked here."""
    done = subprocess.run(
        [sys.executable, str(BROWSER), str(page), str(screenshot), script],
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.stdout.strip(), done.stderr[-2000:]
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    assert answer["loaded"], answer
    assert [address for address in answer["requests"] if not address.startswith("data:")] == [page.resolve().as_uri()]
    assert answer["console"] == []
    return answer["value"]


def check_picture(path):
    """Check that a screenshot shows something: many greys, and much that differs from the ground."""
    with Image.open(path) as picture:
        grey = np.asarray(picture.convert("L")).astype(int)
    assert grey.shape[1] >= 1000
    assert len(np.unique(grey)) > 60
    assert 0.02 < np.mean(np.abs(grey - int(np.median(grey))) > 40) < 0.9


def test_a_run_and_its_predictions_are_reported(make_run, tmp_path):
    run = make_run(images=2)
    list(execute(run))
    write_examples(run, *set_up(run, torch.device("cpu")))
    image, truth, prediction = (np.load(run.path / "examples" / f"{n}.npy") for n in ("image", "truth", "prediction"))
    assert image.shape == (*truth.shape, 3)
    assert (set(np.unique(truth)) | set(np.unique(prediction))) <= {0, 1}
    # Discs are brighter than the ground: the labels are those of these patches.
    assert image[truth == 1].mean() > image[truth == 0].mean() + 50
    seen = look(write_training_report(run.path, figures=False), tmp_path / "run.png")
    assert seen["title"] == "Training run"
    assert seen["sections"] == [
        "Learning", "Validation examples", "Data", "Augmentation", "Choices", "Model", "Do it again",
    ]  # fmt: skip
    # Three curves, some patches with five pictures each, and augmentation.
    assert seen["images"] >= 3 + 5 + 1
    assert (seen["broken"], seen["tooWide"]) == (0, 0)
    check_picture(tmp_path / "run.png")

    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    for number in range(3):
        image, mask = discs(number + 10)
        tifffile.imwrite(tmp_path / "images" / f"i{number}.tif", image)
        tifffile.imwrite(tmp_path / "labels" / f"i{number}.tif", mask)
    options = {"uncertainty": False, "instances": False, "config": PredictConfig()}
    list(predict_files(run.path, [tmp_path / "images"], tmp_path / "predicted", probabilities=True, **options))
    out = tmp_path / "out"
    summary = evaluate_files(
        tmp_path / "predicted", tmp_path / "labels", out, images=tmp_path / "images", model=run.path, topology=True
    )
    seen = look(out / "report.html", tmp_path / "evaluation.png")
    assert seen["title"] == "Evaluation of predicted"
    assert seen["sections"] == [
        "Classes", "Best, median, worst", "Confusion", "Surfaces", "Topology", "Probabilities", "Agreement", "Images",
        "All measures", "Model",
    ]  # fmt: skip
    assert (seen["broken"], seen["tooWide"]) == (0, 0)
    # Three examples with five pictures, three small ones, and at least ten figures.
    assert seen["images"] >= 15 + 3 + 10
    check_picture(tmp_path / "evaluation.png")
    assert 0 < summary["dice"] < 1
    assert f"{summary['dice']:.4f}" in (out / "report.html").read_text()

    small, large, again = look(out / "report.html", tmp_path / "large.png", LARGE)
    assert large > 2 * small
    assert again == small


def test_a_click_on_a_head_sorts_a_table(tmp_path):
    table = simple_table(["Class", "Dice"], [["b10", 0.5], ["a", None], ["b9", 12.0], ["c", 3]])
    page = tmp_path / "page.html"
    page.write_text(render(Page("A page", (Section("One", (table,)),))))
    orders = look(page, tmp_path / "page.png", SORTED)
    assert orders == [
        ["b10", "a", "b9", "c"],
        ["b10", "c", "b9", "a", "ascending"],
        ["b9", "c", "b10", "a", "descending"],
        ["a", "b9", "b10", "c", "ascending"],
    ]


def test_hostile_texts_ask_for_nothing_and_run_nothing(tmp_path):
    text = "<script>document.title = 'gone'</script><img src='http://example.com/a.png' onerror='document.title = 1'>"
    card = f"{text}\n\n![far](http://example.com/b.png)\n\n[click](javascript:alert(1))"
    page = tmp_path / "page.html"
    parts = (Text(text), Markdown(card), simple_table([text], [[text]], text))
    page.write_text(render(Page("A page", (Section(text, parts),))))
    seen = look(page, tmp_path / "page.png")
    assert seen["title"] == "A page"
    assert seen["images"] == 0
