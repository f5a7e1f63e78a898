"""How fast labels are compared: all measures of overlap, surfaces and probabilities, beside other libraries.

    python benchmarks/metrics.py --images 100 --size 1024 --classes 5

Labels are random blobs, the prediction is the reference with its blobs moved and some pixels changed. Times are medians
over repeats of the whole set, in one thread; look at the ratios, the seconds are those of one machine. Before anything
is timed, the numbers of both sides are compared, and the program stops if they differ.

- overlap: `evaluation.scores.score`, which counts one confusion matrix and all measures from it, beside scikit-learn's
  ``confusion_matrix`` (the matrix alone) and MONAI's ``compute_dice`` (Dice alone, of one-hot tensors);
- surfaces: `surface_scores`, which measures seven things, beside MONAI's Hausdorff distance alone, on few images;
- probabilities: `count_probabilities` and all scores from it, beside scikit-learn's ROC AUC alone.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

from napari_segnet._process import prepare_process

prepare_process()

import numpy as np
import torch
from monai.metrics import compute_dice, compute_hausdorff_distance
from numpy.typing import NDArray
from scipy import ndimage
from sklearn import metrics

from napari_segnet.evaluation.calibration import count_probabilities
from napari_segnet.evaluation.curves import score_probabilities
from napari_segnet.evaluation.scores import Rules, score
from napari_segnet.evaluation.surface import surface_scores

# MONAI warns of a change in its own functions.
warnings.filterwarnings("ignore", category=FutureWarning, module="monai")

Labels = NDArray[np.uint8]


def make_pair(size: int, classes: int, seed: int) -> tuple[Labels, Labels]:
    """Return a prediction and its reference, (size, size)."""
    rng = np.random.default_rng(seed)
    fields = [ndimage.gaussian_filter(rng.standard_normal((size, size), np.float32), 20) for _ in range(classes)]
    truth = np.stack(fields).argmax(axis=0).astype(np.uint8)
    prediction = np.roll(truth, 2, axis=1)
    changed = rng.random(truth.shape) < 0.001
    prediction[changed] = rng.integers(0, classes, np.count_nonzero(changed))
    return prediction, truth


def make_probabilities(truth: Labels, classes: int, seed: int) -> NDArray[np.float32]:
    """Return probabilities (K, Y, X) that mostly agree with the reference."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (classes, *truth.shape)) + 4 * (truth == np.arange(classes)[:, None, None])
    odds = np.exp(logits - logits.max(axis=0))
    return (odds / odds.sum(axis=0)).astype(np.float32)


def one_hot(labels: Labels, classes: int) -> torch.Tensor:
    """Return labels as MONAI takes them: (1, K, Y, X) float32."""
    return torch.from_numpy((labels == np.arange(classes)[:, None, None])[None].astype(np.float32))


def median_seconds(run: Callable[[], Any], repeats: int) -> float:
    """Return the median time of `run`."""
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds)


def check(pairs: list[tuple[Labels, Labels]], rules: Rules) -> None:
    """Stop if our numbers of the first image are not those of the others."""
    prediction, truth = pairs[0]
    classes = len(rules.values)
    ours = score(prediction, truth, rules)
    matrix = metrics.confusion_matrix(truth.ravel(), prediction.ravel(), labels=list(rules.values))
    np.testing.assert_array_equal(ours.confusion.matrix, matrix)
    tensors = one_hot(prediction, classes), one_hot(truth, classes)
    dice = [ours.per_class[value].dice for value in rules.values]
    np.testing.assert_allclose(compute_dice(*tensors)[0], dice, rtol=1e-5)
    distances = [found.hausdorff for found in surface_scores(prediction, truth, rules.values).values()]
    theirs = compute_hausdorff_distance(*tensors, include_background=True)[0]
    np.testing.assert_allclose(theirs, distances, rtol=1e-5)


def measure(arguments: argparse.Namespace) -> list[tuple[str, int, float]]:
    """Return what was timed: what it is, on how many images, in how many seconds."""
    classes, repeats = arguments.classes, arguments.repeats
    pairs = [make_pair(arguments.size, classes, seed) for seed in range(arguments.images)]
    few = pairs[: arguments.few]
    values = tuple(range(classes))
    rules = Rules("background", instances=False, white=False, values=values)
    check(pairs, rules)
    probabilities = [make_probabilities(truth, classes, seed) for seed, (_, truth) in enumerate(few)]

    def count_all() -> None:
        found = zip(probabilities, few, strict=True)
        counts = [count_probabilities(p, truth, values) for p, (_, truth) in found]
        score_probabilities(sum(counts[1:], counts[0]))

    def curves_of_sklearn() -> None:
        true = np.concatenate([truth.ravel() for _, truth in few])
        for value in values:
            scores = np.concatenate([p[value].ravel() for p in probabilities])
            metrics.roc_auc_score(true == value, scores)

    ways: list[tuple[str, list[Any], Callable[[], Any]]] = [
        ("overlap: napari-segnet, all measures", pairs, lambda: [score(*pair, rules) for pair in pairs]),
        (
            "overlap: scikit-learn, confusion matrix alone",
            few,
            lambda: [metrics.confusion_matrix(t.ravel(), p.ravel(), labels=list(values)) for p, t in few],
        ),
        (
            "overlap: MONAI, Dice alone",
            few,
            lambda: [compute_dice(one_hot(p, classes), one_hot(t, classes)) for p, t in few],
        ),
        ("surface: napari-segnet, seven measures", few, lambda: [surface_scores(*pair, values) for pair in few]),
        (
            "surface: MONAI, Hausdorff distance alone",
            few,
            lambda: [
                compute_hausdorff_distance(one_hot(p, classes), one_hot(t, classes), include_background=True)
                for p, t in few
            ],
        ),
        ("probabilities: napari-segnet, all measures", few, count_all),
        ("probabilities: scikit-learn, ROC AUC alone", few, curves_of_sklearn),
    ]
    return [(name, len(images), median_seconds(run, repeats)) for name, images, run in ways]


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--few", type=int, default=5, help="images for what takes long")
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--classes", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=5)
    return parser.parse_args()


def main() -> None:
    """Measure, and print a table."""
    arguments = parse()
    torch.set_num_threads(1)
    rows = measure(arguments)
    ours: dict[str, float] = {}
    print(f"{arguments.size} x {arguments.size}, {arguments.classes} classes, median of {arguments.repeats}\n")
    print(f"| | images | seconds | ms an image | s for {arguments.images} images | ratio to ours |")
    print("|---|--:|--:|--:|--:|--:|")
    for name, images, seconds in rows:
        each = seconds / images
        first = ours.setdefault(name.partition(":")[0], each)
        total = each * arguments.images
        print(f"| {name} | {images} | {seconds:.2f} | {1000 * each:.1f} | {total:.2f} | {each / first:.1f} |")
    if (arguments.images, arguments.size) == (100, 1024):
        print(f"\nAll measures of overlap of 100 images: {rows[0][2]:.2f} s (at most 5)")


if __name__ == "__main__":
    main()
