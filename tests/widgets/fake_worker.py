"""A worker that learns nothing: it speaks the protocol, answers at once, and its answers are known.

Run as a process of its own. Bright pixels (above the middle of the image's range) are the last class, the others
the first; probabilities are 0.75 and 0.25, the uncertainty is 0.5. An epoch takes 50 ms. Options:
``--epochs N`` (default: 200), ``--fail SENTENCE`` (every training fails), ``--exit`` (ends at once with code 3).
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from napari_segnet import events
from napari_segnet.data.normalization import Normalization
from napari_segnet.io.images import open_image
from napari_segnet.models.catalogue import NETWORKS
from napari_segnet.models.info import METADATA_KEY, ModelInfo
from napari_segnet.run import RunFolder

jobs: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
stop = threading.Event()
view: dict[str, Any] = {}


def say(event: events.Event) -> None:
    print(events.to_json(event), flush=True)


def listen() -> None:
    for line in sys.stdin:
        command = json.loads(line)
        if command["command"] == "stop":
            stop.set()
        elif command["command"] == "view":
            view.clear()
            view.update(command)
        elif command["command"] == "quit":
            break
        else:
            jobs.put(command)
    stop.set()
    jobs.put(None)


def read(path: str, axes: str) -> np.ndarray:
    return np.asarray(open_image(Path(path), axes).array)


def answer(image: np.ndarray, axes: str, values: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Labels without C, probabilities with the classes third from the end."""
    if "C" in axes:
        image = image.mean(axis=axes.index("C"))
    bright = image > (float(image.min()) + float(image.max())) / 2
    labels = np.where(bright, values[-1], values[0]).astype(np.uint8)
    first = np.where(bright, 0.25, 0.75).astype(np.float32)
    stack = [first, *[np.zeros_like(first)] * (len(values) - 2), 1 - first]
    return labels, np.stack(stack, axis=-3)


def train(run: RunFolder, epochs: int) -> None:
    config = run.config
    values = tuple(c.value for c in config.data.classes)
    a_epoch = config.train.steps_per_epoch
    rows: list[dict[str, Any]] = []
    history = run.path / "history.csv"
    if history.exists():
        rows = [
            {"epoch": i + 1, "loss": 0.5, "val_loss": 0.5, "val_dice": 0.9}
            for i in range(len(history.read_text().splitlines()) - 1)
        ]

    def tell(event: events.Event) -> None:
        run.append(event)
        say(event)

    with run.lock():
        tell(events.Started(str(run.path), "cpu", len(rows), epochs, {"network": "none at all."}))
        records = {record.name: record for record in run.pairs}
        while len(rows) < epochs and not stop.is_set():
            for part in range(1, 6):
                time.sleep(0.01)
                n = len(rows) * a_epoch + part * a_epoch // 5
                say(events.Step(n, 1 / n**0.5, n * 0.01, (epochs - len(rows)) * 0.05))
            rows.append({"epoch": len(rows) + 1, "loss": 1 / len(rows or [0]), "val_loss": 0.5, "val_dice": 0.9})
            run.write_history(rows)
            tell(events.Epoch(rows[-1], True, len(rows) * 0.05))
            write_model(run, config)
            if view.get("pair") in records and len(rows) % 4 == 1:
                preview(run, records[view["pair"]], values, dict(view))
        reason = "stopped" if stop.is_set() else "completed"
        tell(events.Finished(reason, str(run.model), {"val_dice": 0.9}))


def preview(run: RunFolder, record: Any, values: tuple[int, ...], wanted: dict[str, Any]) -> None:
    labels, stack = answer(read(record.images[0], record.axes), record.axes, values)
    (y, x), (h, w) = wanted["origin"], wanted["shape"]
    index = np.unravel_index(wanted["plane"], labels.shape[:-2]) if labels.ndim > 2 else ()
    # A file a plane: the viewer may read the last one late.
    paths = [run.path / f"preview_{kind}-{wanted['plane']}.npy" for kind in ("labels", "probabilities")]
    np.save(paths[0], labels[index][y : y + h, x : x + w])
    np.save(paths[1], stack[index][:, y : y + h, x : x + w])
    say(events.Preview(record.name, str(paths[0]), str(paths[1]), (y, x), 0.01, wanted["plane"]))


def write_model(run: RunFolder, config: Any) -> None:
    record = run.pairs[0]
    shape = read(record.images[0], record.axes).shape
    channels = shape[record.axes.index("C")] if "C" in record.axes else len(record.images)
    info = ModelInfo(
        network=config.model.network,
        axes=NETWORKS[config.model.network].axes,
        channels=channels,
        outputs=max(2, len(config.data.classes)),
        normalization=Normalization(mode="none"),
        task=config.data.task,
        unlabelled=config.data.unlabelled,
        classes=config.data.classes,
        patch_size=64,
        stride=16,
        halo=32,
        scores={"val_dice": 0.9},
    )
    temporary = run.path / "model.tmp"
    save_file({"weight": np.zeros(3, np.float32)}, temporary, {METADATA_KEY: info.model_dump_json()})
    temporary.replace(run.model)


def predict(job: dict[str, Any]) -> None:
    from napari_segnet.models.info import read_info

    values = tuple(c.value for c in read_info(job["model"]).classes)
    out = Path(job["out"])
    for number, wanted in enumerate(job["inputs"], start=1):
        labels, stack = answer(read(wanted["images"][0], wanted["axes"]), wanted["axes"], values)
        files = {"labels": labels}
        if job["probabilities"]:
            files["probabilities"] = stack
        if job["uncertainty"]:
            files["uncertainty"] = np.full(labels.shape, 0.5, np.float32)
        paths = {kind: out / f"{wanted['name']}_{kind}.npy" for kind in files}
        for kind, array in files.items():
            np.save(paths[kind], array)
        say(events.Progress("predict", number, len(job["inputs"])))
        say(events.Predicted(wanted["name"], {kind: str(path) for kind, path in paths.items()}))
    say(events.Finished("completed"))


def predict_files(job: dict[str, Any]) -> None:
    """Half the first file, then a sentence if one is called bad; half a second a file."""
    out = Path(job["out"])
    out.mkdir(parents=True, exist_ok=True)
    for path in map(Path, job["inputs"]):
        say(events.Progress(str(path), 1, 2))
        if stop.wait(0.5):
            say(events.Finished("stopped"))
            return
        if "bad" in path.name:
            say(events.Failed(f"{path} is damaged.", "Leave it out."))
            return
        (out / f"{path.stem}.tif").write_bytes(b"labels")
        say(events.Predicted(str(path), {"labels": str(out / f"{path.stem}.tif")}))
    say(events.Finished("completed"))


def preview_augmentation(job: dict[str, Any]) -> None:
    """A grid of two patches a row: the first dark and unlabelled, the second as bright as the seed, and class 2."""
    run = RunFolder(job["run"])
    if stop.wait(0.3):
        say(events.Finished("stopped"))
        return
    image = np.zeros((20, 42, 3), np.uint8)
    image[:, 22:] = job["seed"]
    np.save(run.path / "image.npy", image)
    np.save(run.path / "labels.npy", np.where(image[..., 0] > 0, 2, 0).astype(np.uint16))
    colours = {str(c.value): c.colour for c in run.config.data.classes}
    say(events.Augmented(str(run.path / "image.npy"), str(run.path / "labels.npy"), colours))
    say(events.Finished("completed"))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--fail", default="")
    parser.add_argument("--exit", action="store_true")
    parser.add_argument("--memory", type=int, default=0)
    options = parser.parse_args()
    if options.exit:
        sys.exit(3)
    threading.Thread(target=listen, daemon=True).start()
    print("a library that prints where it should not")
    say(events.Ready("cpu", os.getpid(), options.memory))
    while (job := jobs.get()) is not None:
        stop.clear()
        if job["command"] == "predict":
            predict(job)
        elif job["command"] == "predict-files":
            predict_files(job)
        elif job["command"] == "preview-augmentation" and not options.fail:
            preview_augmentation(job)
        elif options.fail:
            say(events.Failed(options.fail, "Paint more."))
        else:
            train(RunFolder(job["run"]), options.epochs)


if __name__ == "__main__":
    main()
