"""What is a correction worth? Paint, learn, paint where the answer is wrong, and learn on: simulated.

For each folder (as for ``scribbles.py``): strokes are simulated on some training images, a U-Net (``--preset fast``)
learns them for some seconds. In each round as many pixels again are painted, only where its answer on these images is
plainly wrong, and it learns on from its last model (what the button Improve does), for the same seconds. Beside it
stands a U-Net that begins anew each time with the same strokes (what the button Train does).

    python benchmarks/correcting.py FOLDER ... [--annotation 0.005] [--seconds 20] [--rounds 2]

Every figure is the mean over images of the mean Dice over foreground classes: the images that are painted on (the
whole of them, of which strokes are a hundredth), and test images that nobody painted. Nothing else should run.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.ndimage import distance_transform_edt

import napari_segnet as segnet
from scribbles import Mask, Task, add_row, draw_from, draw_strokes, mean_dice, read_task


def learn(task: Task, strokes: list[Mask], seconds: float, start: Path | None, save: Path | None) -> segnet.Model:
    """Learn strokes for some seconds, from scratch or from a model file."""
    weights = [] if start is None else [f"model.weights={start}"]
    with tempfile.TemporaryDirectory() as scratch:
        model = segnet.train(
            [image for image, _ in task.train],
            strokes,
            preset="fast",
            seed=0,
            unlabelled="ignore",
            task="semantic",
            axes="CYX",
            minutes=seconds / 60,
            run=Path(scratch) / "run",
            settings=weights,
        )
        if save is not None:
            model.save(save)
    return model


def answers(model: segnet.Model, pairs: list[tuple[np.ndarray, Mask]]) -> list[Mask]:
    """Predict images: values from 0 on."""
    return [(model.predict(image, axes="CYX").labels.astype(int) - 1).astype(np.uint8) for image, _ in pairs]


def corrections(task: Task, found: list[Mask], share: float, rng: np.random.Generator) -> list[Mask]:
    """Paint strokes where an answer is plainly wrong: class + 1, else 0.

    As in studies of interactive segmentation, nobody corrects the thin rim of an object that is a pixel off:
    strokes lie where the nearest right pixel is at least two pixels away. They begin anywhere there: what is wrong
    most often is corrected most often.
    """
    painted = []
    for (_, mask), answer in zip(task.train, found, strict=True):
        wrong = (answer != mask) & (mask < task.classes)
        plain = distance_transform_edt(wrong) >= 2
        places = np.argwhere(plain)
        painted.append(np.zeros_like(mask))
        wanted = min(share * mask.size, 0.8 * len(places))
        draw_from(places, wanted, np.where(plain, mask, task.classes), painted[-1], rng)
    return painted


def judge(task: Task, number: int, improved: segnet.Model, anew: segnet.Model) -> dict[str, object]:
    """Judge two models on the images that are painted on, and on the others."""
    found: dict[str, object] = {"set": task.name, "round": number}
    for how, model in (("improved", improved), ("anew", anew)):
        for which, pairs in (("painted", task.train), ("others", task.test)):
            found[f"{how}, {which}"] = round(mean_dice(replace(task, test=pairs), answers(model, pairs)), 3)
    return found


def measure(task: Task, share: float, seconds: float, rounds: int) -> list[dict[str, object]]:
    """Return a row a round."""
    rng = np.random.default_rng(0)
    strokes = [draw_strokes(mask, share, task.classes, rng) for _, mask in task.train]
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{n}.safetensors" for n in range(rounds + 1)]
        model = learn(task, strokes, seconds, None, files[0])
        rows.append(judge(task, 0, model, model))
        for number in range(1, rounds + 1):
            more = corrections(task, answers(model, task.train), share, rng)
            strokes = [np.where(new > 0, new, old) for new, old in zip(more, strokes, strict=True)]
            anew = learn(task, strokes, seconds, None, None)
            model = learn(task, strokes, seconds, files[number - 1], files[number])
            rows.append(judge(task, number, model, anew))
    return rows


def main() -> None:
    """Measure what is asked for, print a table, and keep it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--annotation", type=float, default=0.005, help="share of the pixels painted in each round")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--most-images", type=int, default=4, help="training images to paint")
    parser.add_argument("--out", type=Path, help="JSON file for the rows")
    options = parser.parse_args()
    rows: list[dict[str, object]] = []
    for folder in options.folders:
        task = read_task(folder, ordered=False)
        task = replace(task, train=task.train[: options.most_images])
        for row in measure(task, options.annotation, options.seconds, options.rounds):
            add_row(rows, row, options.out)


if __name__ == "__main__":
    main()
