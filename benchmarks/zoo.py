"""How good is each network after the same time, on the same data? One table of all that are asked for.

The folder holds ``train/`` and ``test/`` (or ``val/``, and the table says so), each with ``images/`` and ``masks/``.
Every network learns from the same patches' size and batches, with the optimizer and learning rate of the preset fast,
for the same minutes, in a process of its own: so memory and threads are as in the first. What is done is kept, a JSON
line a network, beside the table, and not done again.

    python benchmarks/zoo.py FOLDER --minutes 3 [--networks unet segnet fc-densenet56] [--ignore 11] [--out zoo.md]

Dice and IoU are means over all classes, class 0 among them, counted over the pixels of all test images together.
Nothing else should run.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from napari_segnet._process import prepare_process

prepare_process()

import numpy as np
import torch

import napari_segnet as segnet
from napari_segnet import events
from napari_segnet.devices import device_name, pick_device
from napari_segnet.evaluation.overlap import confusion_matrix
from napari_segnet.io.images import open_labels
from napari_segnet.io.pairing import Pairing, pair_files
from napari_segnet.models.catalogue import NETWORKS
from napari_segnet.models.registry import network_spec
from napari_segnet.models.size import measure

Record = dict[str, Any]
_COLUMNS = ("network", "encoder", "Dice", "mIoU", "parameters", "work", "learned", "train", "predict")


def test_part(folder: Path) -> str:
    """Return which part of a folder the networks are judged on."""
    return "test" if (folder / "test").is_dir() else "val"


def pairs_of(folder: Path) -> Pairing:
    """Return the images and masks of a part."""
    return pair_files(folder / "images", folder / "masks")


def try_network(name: str, asked: argparse.Namespace) -> Record:
    """Train a network, and judge it on the test images."""
    spec, last = network_spec(name), events.Step(0, 0.0, 0.0, None)

    def watch(event: events.Event) -> None:
        nonlocal last
        if isinstance(event, events.Step):
            last = event

    with tempfile.TemporaryDirectory() as scratch:
        model = segnet.train(
            asked.folder / "train" / "images",
            asked.folder / "train" / "masks",
            preset="fast",
            network=spec.name,
            weights=asked.weights if spec.encoders else "none",
            minutes=asked.minutes,
            unlabelled="background",
            task="semantic",
            device=asked.device,
            run=Path(scratch) / "run",
            on_event=watch,
            settings=settings_of(asked),
        )
    dice, iou, speed = judge(model, asked)
    size = measure(
        spec.name,
        channels=model.info.channels,
        outputs=model.info.outputs,
        encoder=model.info.encoder,
        options=model.info.options,
        side=asked.size,
    )
    return {
        **conditions(name, asked),
        "encoder": model.info.encoder or spec.encoder,
        "dice": dice,
        "iou": iou,
        "parameters": sum(parameter.numel() for parameter in model.network.parameters()),
        "work": size.work,
        "steps": last.step,
        "train": last.step * asked.batch * asked.size**2 / 1e6 / max(last.seconds, 1e-9),
        "predict": speed,
        "device": device_name(pick_device(asked.device)),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def settings_of(asked: argparse.Namespace) -> list[str]:
    """Return what all networks have in common, as settings."""
    common = [f"train.patch_size={asked.size}", f"train.batch_size={asked.batch}", f"data.ignore_values={asked.ignore}"]
    return [*common, *asked.set]


def judge(model: segnet.Model, asked: argparse.Namespace) -> tuple[float, float, float]:
    """Return Dice, IoU and the speed of prediction (million pixels a second, reading and writing left out)."""
    pairs = [
        (image, np.asarray(open_labels(mask).array))
        for image, mask in pairs_of(asked.folder / test_part(asked.folder)).pairs
    ]
    # A class that only the test images have is one that was missed.
    seen = {value for _, truth in pairs for value in np.unique(truth).tolist()}
    values = sorted({known.value for known in model.classes} | seen - set(asked.ignore))
    counts = np.zeros((len(values), len(values)), np.int64)
    seconds, pixels = 0.0, 0
    for number, (image, truth) in enumerate(pairs):
        if number == 0:
            model.predict(image, device=asked.device)  # the first time things are made that are kept
        began = time.perf_counter()
        answer = model.predict(image, device=asked.device).labels
        seconds += time.perf_counter() - began
        pixels += answer.size
        counts += confusion_matrix(answer, truth, values, asked.ignore)
    hits, both = np.diag(counts), counts.sum(axis=0) + counts.sum(axis=1)
    there = both > 0
    dice, iou = 2 * hits[there] / both[there], hits[there] / (both - hits)[there]
    return float(dice.mean()), float(iou.mean()), pixels / 1e6 / seconds


def conditions(name: str, asked: argparse.Namespace) -> Record:
    """Return everything that a figure depends on: with another of these it is measured again."""
    names = ("minutes", "size", "batch", "weights", "ignore", "set")
    return {"network": name, "folder": asked.folder.name, **{key: getattr(asked, key) for key in names}}


def try_in_a_process(name: str, asked: argparse.Namespace) -> Record:
    """Try a network in a fresh process; what goes wrong there is written down."""
    command = [sys.executable, __file__, *sys.argv[1:], "--only", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    if done.returncode == 0 and lines:
        record: Record = json.loads(lines[-1])
        return record
    said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
    return {**conditions(name, asked), "error": said[-1].removeprefix("napari_segnet.errors.")}


def read_records(path: Path) -> list[Record]:
    """Return what was measured before."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def table(records: list[Record], asked: argparse.Namespace) -> str:
    """Return the table, the best network first, and what it was measured with."""
    good = sorted((r for r in records if "error" not in r), key=lambda r: -r["iou"])
    lines = [f"| {' | '.join(_COLUMNS)} |", "|" + "---|" * len(_COLUMNS)]
    for r in good:
        cells = (
            r["network"], r["encoder"] or "-", f"{r['dice']:.3f}", f"{r['iou']:.3f}", f"{r['parameters'] / 1e6:.2f} M",
            f"{r['work'] / 1e9:.3g} G", f"{r['steps']} steps", f"{r['train']:.2f} Mpx/s", f"{r['predict']:.2f} Mpx/s",
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    lines += [f"\n{r['network']} failed: {r['error']}" for r in records if "error" in r]
    machines = sorted({f"{r['device']}, {r['threads']} threads, torch {r['torch']}" for r in good})
    part = test_part(asked.folder)
    said = "" if part == "test" else " (there is no test part; nothing was chosen by val)"
    used = (
        f"\n{asked.folder.name}: {asked.minutes:g} minutes each, patches of {asked.size} pixels in batches of "
        f"{asked.batch}, encoder weights: {asked.weights}; judged on {part}{said}."
    )
    lines += [used, f"Measured on: {'; '.join(machines) or 'nothing yet'}. Work: multiply-adds of one patch."]
    if len(machines) > 1:
        lines.append("Rows of different machines can't be compared in their speeds, nor in what equal time is worth.")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Try all networks that were asked for and not yet tried, and write the table after each."""
    asked = arguments()
    if asked.only:
        print(json.dumps(try_network(asked.only, asked)))
        return
    path, kept = asked.out.with_suffix(".jsonl"), []
    before = read_records(path)
    for name in asked.networks:
        wanted = conditions(name, asked)
        found = [r for r in before if "error" not in r and {key: r.get(key) for key in wanted} == wanted]
        record = found[-1] if found else try_in_a_process(name, asked)
        if not found:
            with path.open("a") as file:
                file.write(json.dumps(record) + "\n")
        kept.append(record)
        asked.out.write_text(table(kept, asked))
        print(name, record.get("error") or f"Dice {record['dice']:.3f}, mIoU {record['iou']:.3f}", flush=True)
    print(table(kept, asked))


def arguments() -> argparse.Namespace:
    """Read what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=3.0, help="of learning, for each network")
    parser.add_argument("--networks", nargs="+", default=[n for n, spec in NETWORKS.items() if spec.axes == "YX"])
    parser.add_argument("--size", type=int, default=256, help="side of the patches; 256 suits all networks")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--weights", default="none", help="imagenet: for all networks with an encoder")
    parser.add_argument("--ignore", type=int, nargs="*", default=[], help="values of masks that don't count")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--set", nargs="*", default=[], help="more settings for all, such as train.learning_rate=1e-3")
    parser.add_argument("--out", type=Path, default=Path("zoo.md"), help="the table; OUT.jsonl: what is done")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    asked.networks = [network_spec(name).name for name in asked.networks]
    return asked


if __name__ == "__main__":
    main()
