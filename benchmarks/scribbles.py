"""How good is a model after some seconds, with so many painted pixels? The honest measure of the main job.

For each folder with ``images/`` and ``masks/`` (or ``train/`` and ``val/`` with these inside): strokes are
simulated on the training images, a U-Net (``--preset fast``, as it is) learns them for 10, 30, 60, 180 s, and is
judged on test images that nobody painted. Beside it a random forest on filter features, which needs a second or
two. With full masks the peer is the loop of segmentation-models-pytorch's tutorial instead: resnet18 U-Net, fp32,
Adam 1e-3, BCE + Dice, 256 x 256 patches, flips, for the same seconds.

    python benchmarks/scribbles.py FOLDER ... [--annotation 0.005 0.01 0.05 full] [--seconds 10 30 60 180]

Every figure is the mean over test images of the mean Dice over foreground classes. Nothing else should run.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from napari_segnet._process import prepare_process

prepare_process()

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.feature import multiscale_basic_features
from skimage.transform import resize
from sklearn.ensemble import RandomForestClassifier
from torch.nn import functional as F

import napari_segnet as segnet
from napari_segnet._torch import import_smp
from napari_segnet.axes import to_stack
from napari_segnet.data.normalization import Normalization, fit, scale
from napari_segnet.devices import device_name, pick_device
from napari_segnet.io.images import open_image, open_labels
from napari_segnet.io.pairing import pair_files

Image = NDArray[np.generic]
Mask = NDArray[np.uint8]


@dataclass(frozen=True)
class Task:
    """Images (C, Y, X) and masks (Y, X) to learn from and to be judged on; values from `classes` on are void."""

    name: str
    train: list[tuple[Image, Mask]]
    test: list[tuple[Image, Mask]]
    classes: int


def read_task(folder: Path, ordered: bool) -> Task:
    """Read a folder; a quarter of the images (or ``val/``) is for the test."""
    if (folder / "train").is_dir():
        train, test = read_pairs(folder / "train"), read_pairs(folder / "val")
    else:
        pairs = read_pairs(folder)
        number = max(1, round(len(pairs) / 4))
        # Consecutive sections resemble each other: then the last ones are the test, not scattered ones.
        order = np.arange(len(pairs)) if ordered else np.random.default_rng(0).permutation(len(pairs))
        train, test = [pairs[i] for i in order[:-number]], [pairs[i] for i in order[-number:]]
    values = np.unique(np.concatenate([np.unique(mask) for _, mask in train]))
    classes = int(values[values < 11].max()) + 1
    return Task(folder.name, train, test, classes)


def read_pairs(folder: Path) -> list[tuple[Image, Mask]]:
    """Read all images of a folder."""
    pairs = []
    for image, mask in pair_files(folder / "images", folder / "masks").pairs:
        opened = open_image(image)
        plane = np.asarray(to_stack(opened.array, opened.axes)[0])
        pairs.append((plane, np.asarray(open_labels(mask).array).astype(np.uint8)))
    return pairs


def enlarged(task: Task, factor: int) -> Task:
    """Return a task whose images have so many times as many pixels along each side, as of a finer camera."""

    def enlarge(image: Image, mask: Mask) -> tuple[Image, Mask]:
        sides = len(image), *(factor * side for side in mask.shape)
        larger = resize(image.astype(np.float32), sides, order=1, preserve_range=True)
        return larger.astype(image.dtype), mask.repeat(factor, axis=0).repeat(factor, axis=1)

    train, test = ([enlarge(*pair) for pair in pairs] for pairs in (task.train, task.test))
    return Task(task.name, train, test, task.classes)


def draw_strokes(mask: Mask, share: float, classes: int, rng: np.random.Generator) -> Mask:
    """Simulate strokes three pixels wide that stay inside one class: class + 1 where painted, else 0.

    Each class gets its part of the pixels; strokes start anywhere in it, wander, and end at its border.
    """
    painted = np.zeros_like(mask)
    present = [value for value in np.unique(mask).tolist() if value < classes]
    for value in present:
        places = np.argwhere(mask == value)
        wanted = min(share * mask.size / len(present), 0.8 * len(places))
        draw_from(places, wanted, mask, painted, rng)
    return painted


def draw_from(places: NDArray[np.int64], wanted: float, mask: Mask, painted: Mask, rng: np.random.Generator) -> None:
    """Paint strokes that begin at some of these places, until so many pixels are painted."""
    done = 0
    for _ in range(3000):
        if done >= wanted:
            break
        start = places[rng.integers(len(places))]
        done += _one_stroke(mask, painted, int(mask[tuple(start)]), start, wanted - done, rng)


def _one_stroke(
    mask: Mask, painted: Mask, value: int, start: NDArray[np.int64], most: float, rng: np.random.Generator
) -> int:
    """Paint one stroke of at most so many pixels; returns how many it painted."""
    position, angle, done = start.astype(float), rng.uniform(0, 2 * np.pi), 0
    for _ in range(int(rng.integers(15, 60))):
        y, x = np.round(position).astype(int)
        if not (0 <= y < mask.shape[0] and 0 <= x < mask.shape[1]) or mask[y, x] != value or done >= most:
            break
        window = slice(max(y - 1, 0), y + 2), slice(max(x - 1, 0), x + 2)
        fresh = (mask[window] == value) & (painted[window] == 0)
        painted[window][fresh] = value + 1
        done += int(fresh.sum())
        angle += rng.normal(0, 0.3)
        position += 1.5 * np.array([np.sin(angle), np.cos(angle)])
    return done


def mean_dice(task: Task, answers: list[Mask]) -> float:
    """Judge predictions of the test images."""
    scores = []
    for (_, mask), answer in zip(task.test, answers, strict=True):
        known = mask < task.classes
        if not (mask[known] > 0).any():
            continue
        values = [
            2 * np.sum((answer == v) & (mask == v)) / total
            for v in range(1, task.classes)
            if (total := np.sum((answer == v) & known) + np.sum(mask == v))
        ]
        scores.append(float(np.mean(values)))
    return float(np.mean(scores))


def unet(task: Task, labels: list[Mask], unlabelled: str, seconds: float, settings: list[str]) -> float:
    """Train the preset fast for some seconds as a user would, and judge it."""
    images = [image for image, _ in task.train]
    if unlabelled == "background":
        void = sorted({int(v) for mask in labels for v in np.unique(mask) if v >= task.classes})
        settings = [f"data.ignore_values={void}", *settings]
    with tempfile.TemporaryDirectory() as scratch:
        model = segnet.train(
            images,
            labels,
            preset="fast",
            seed=0,
            unlabelled=unlabelled,
            task="semantic",
            axes="CYX",
            minutes=seconds / 60,
            run=Path(scratch) / "run",
            settings=settings,
        )
    shift = 1 if unlabelled == "ignore" else 0
    return mean_dice(task, [model.predict(image, axes="CYX").labels - shift for image, _ in task.test])


def forest(task: Task, labels: list[Mask]) -> tuple[float, float]:
    """Train a random forest on the strokes; returns its Dice and the seconds that learning took."""
    began = time.perf_counter()
    normalization = fit([image for image, _ in task.train])

    def features(image: Image) -> NDArray[np.float32]:
        pixels = scale(image, *normalization.limits(image))
        return multiscale_basic_features(pixels, sigma_min=1, sigma_max=16, channel_axis=0)

    samples = [
        (features(image)[known > 0], known[known > 0]) for (image, _), known in zip(task.train, labels, strict=True)
    ]
    x, y = np.concatenate([s for s, _ in samples]), np.concatenate([k for _, k in samples])
    if len(y) > 200_000:
        picked = np.random.default_rng(0).choice(len(y), 200_000, replace=False)
        x, y = x[picked], y[picked]
    model = RandomForestClassifier(
        100, min_samples_leaf=2, class_weight="balanced_subsample", n_jobs=-1, random_state=0
    )
    model.fit(x, y)
    seconds = time.perf_counter() - began
    answers = []
    for image, mask in task.test:
        found = features(image)
        answers.append(model.predict(found.reshape(-1, found.shape[-1])).reshape(mask.shape) - 1)
    return mean_dice(task, answers), seconds


def tutorial(task: Task, seconds: float, batch: int = 8, side: int = 256) -> float:
    """Train smp's tutorial loop on full masks for some seconds, and judge it."""
    smp = import_smp()
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    device = pick_device()
    binary = task.classes == 2
    network = smp.Unet(
        "resnet18", encoder_weights=None, in_channels=len(task.train[0][0]), classes=1 if binary else task.classes
    )
    network = network.to(device)
    dice = smp.losses.DiceLoss("binary" if binary else "multiclass", ignore_index=None if binary else 255)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    normalization = Normalization(
        mode="dataset", low=(0.0,) * len(task.train[0][0]), high=(255.0,) * len(task.train[0][0])
    )
    pixels = [scale(image, *normalization.limits(image)) for image, _ in task.train]
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        network.train()
        x, y = _tutorial_batch(task, pixels, batch, side, rng)
        x, y = x.to(device), y.to(device)
        logits = network(x)
        if binary:
            entropy = F.binary_cross_entropy_with_logits(logits[:, 0], y.float())
        else:
            entropy = F.cross_entropy(logits, y, ignore_index=255)
        loss = entropy + dice(logits, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network.eval()
    answers = []
    with torch.inference_mode():
        for image, mask in task.test:
            x = torch.from_numpy(scale(image, *normalization.limits(image)))[None].to(device)
            height, width = mask.shape
            logits = network(F.pad(x, (0, -width % 32, 0, -height % 32), mode="reflect"))[0, :, :height, :width]
            answers.append(((logits[0] > 0) if binary else logits.argmax(0)).to(torch.uint8).cpu().numpy())
    return mean_dice(task, answers)


def _tutorial_batch(
    task: Task, pixels: list[NDArray[np.float32]], batch: int, side: int, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    images, masks = [], []
    for number in rng.integers(len(pixels), size=batch):
        image, mask = pixels[number], task.train[number][1]
        short = [(0, max(0, side - n)) for n in mask.shape]
        image, mask = np.pad(image, [(0, 0), *short], mode="reflect"), np.pad(mask, short, mode="reflect")
        y, x = (int(rng.integers(n - side + 1)) for n in mask.shape)
        part = image[:, y : y + side, x : x + side], mask[y : y + side, x : x + side]
        for axis in (-1, -2):
            if rng.random() < 0.5:
                part = np.flip(part[0], axis), np.flip(part[1], axis)
        images.append(part[0])
        masks.append(np.where(part[1] < task.classes, part[1], 255))
    return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(masks)).long()


def measure(task: Task, annotation: str, seconds: list[float], settings: list[str]) -> dict[str, object]:
    """Return one row of the table."""
    if annotation == "full":
        labels, unlabelled = [mask for _, mask in task.train], "background"
        peer = f"{tutorial(task, max(seconds)):.3f} (smp, {max(seconds):g} s)"
    else:
        rng = np.random.default_rng(0)
        labels = [draw_strokes(mask, float(annotation), task.classes, rng) for _, mask in task.train]
        unlabelled = "ignore"
        score, needed = forest(task, labels)
        peer = f"{score:.3f} (forest, {needed:.0f} s)"
    row: dict[str, object] = {"set": task.name, "painted": annotation}
    for budget in seconds:
        row[f"{budget:g} s"] = round(unet(task, labels, unlabelled, budget, settings), 3)
    row["peer"] = peer
    return row


def add_row(rows: list[dict[str, object]], row: dict[str, object], out: Path | None) -> None:
    """Add a row to a table: print it, under the heads if it is the first, and keep all as JSON."""
    if not rows:
        print("| " + " | ".join(row) + " |\n|" + "---|" * len(row))
    print("| " + " | ".join(str(value) for value in row.values()) + " |", flush=True)
    rows.append(row)
    if out:
        out.write_text(json.dumps(rows, indent=1))


def main() -> None:
    """Measure what is asked for, print a table, and keep it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--annotation", nargs="+", default=["0.005", "0.01", "0.05", "full"])
    parser.add_argument("--seconds", nargs="+", type=float, default=[10, 30, 60, 180])
    parser.add_argument("--most-images", type=int, help="training images to paint; default: all")
    parser.add_argument("--enlarge", type=int, default=1, help="show all images so many times as large")
    parser.add_argument("--ordered", action="store_true", help="test on the last images: for consecutive sections")
    parser.add_argument("--set", nargs="*", default=[], help="settings as at the shell, to try an idea")
    parser.add_argument("--out", type=Path, help="JSON file for the rows")
    options = parser.parse_args()
    print(f"# {device_name(pick_device())}, torch {torch.__version__}, {torch.get_num_threads()} threads", flush=True)
    rows: list[dict[str, object]] = []
    for folder in options.folders:
        task = read_task(folder, options.ordered)
        if options.most_images:
            task = Task(task.name, task.train[: options.most_images], task.test, task.classes)
        if options.enlarge > 1:
            task = enlarged(task, options.enlarge)
        for annotation in options.annotation:
            row = measure(task, annotation, options.seconds, options.set)
            add_row(rows, row, options.out)


if __name__ == "__main__":
    main()
