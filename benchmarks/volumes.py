"""Measure networks for volumes: how good after some minutes on a CPU, with full masks and with a few planes.

The folder holds ``images/`` and ``masks/``: volumes (Z, Y, X) and classes, 0 the background. A quarter of the volumes
is for the test and seen by nobody; of the others a fifth is for validation. Beside ours, on the same volumes and for
the same minutes, the loop of MONAI's spleen tutorial: residual U-Net of widths 16 to 256, batch normalization, Dice
loss, Adam 1e-4, two volumes a step, fp32; volumes are scaled by their own percentiles, and padded instead of cropped.

    python benchmarks/volumes.py FOLDER [--minutes 15] [--threads 1] [--planes 0 5] [--network dynunet ...] [--set ...]

With ``--threads 1`` minutes are CPU minutes. Nothing else should run.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from napari_segnet._process import prepare_process

prepare_process()

import numpy as np
import torch
from numpy.typing import NDArray

import napari_segnet as segnet
from napari_segnet import events
from napari_segnet.data.normalization import Normalization, scale
from napari_segnet.devices import device_name, pick_device
from napari_segnet.io.images import open_image, open_labels
from napari_segnet.io.pairing import pair_files

Volume = NDArray[np.generic]
Pair = tuple[Volume, NDArray[np.uint8]]


def read(folder: Path) -> tuple[list[Pair], list[Pair]]:
    """Return the volumes to learn from, and those for the test."""
    pairs = [
        (np.asarray(open_image(image).array), np.asarray(open_labels(mask).array).astype(np.uint8))
        for image, mask in pair_files(folder / "images", folder / "masks").pairs
    ]
    order = np.random.default_rng(0).permutation(len(pairs))
    number = max(1, round(len(pairs) / 4))
    return [pairs[i] for i in order[:-number]], [pairs[i] for i in order[-number:]]


def keep_planes(mask: NDArray[np.uint8], planes: int) -> NDArray[np.uint8]:
    """Return labels of evenly spread planes, each class one higher; all other voxels are 0, not annotated."""
    sparse = np.zeros_like(mask)
    chosen = np.linspace(0, len(mask) - 1, planes + 2).round().astype(int)[1:-1]
    sparse[chosen] = mask[chosen] + 1
    return sparse


def mean_dice(answers: list[NDArray[np.uint8]], pairs: list[Pair]) -> tuple[float, list[float]]:
    """Return the mean over volumes of the mean foreground Dice, and that of each class."""
    classes = range(1, int(max(mask.max() for _, mask in pairs)) + 1)
    rows = [
        [2 * ((answer == c) & (mask == c)).sum() / max(1, (answer == c).sum() + (mask == c).sum()) for c in classes]
        for answer, (_, mask) in zip(answers, pairs, strict=True)
    ]
    return float(np.mean(rows)), np.mean(rows, axis=0).tolist()


def ours(train: list[Pair], test: list[Pair], network: str, minutes: float, planes: int, settings: list[str]) -> str:
    """Train as a user would; return the row of the table, and print the curve."""
    curve: list[str] = []

    def note(event: events.Event) -> None:
        if isinstance(event, events.Epoch):
            score = event.row["val_dice"]
            curve.append(f"{event.seconds / 60:.1f} min: {'-' if score is None else f'{score:.3f}'}")

    labels = [keep_planes(mask, planes) if planes else mask for _, mask in train]
    model = segnet.train(
        [image for image, _ in train],
        labels,
        preset="fast",
        network=network,
        unlabelled="ignore" if planes else "background",
        task="semantic",
        axes="ZYX",
        minutes=minutes,
        on_event=note,
        settings=settings,
    )
    print(f"{network}, validation: {', '.join(curve)}", flush=True)
    began = time.perf_counter()
    answers = [model.predict(image, axes="ZYX").labels - (1 if planes else 0) for image, _ in test]
    seconds = (time.perf_counter() - began) / len(test)
    return _row(f"{network}, preset fast", planes, mean_dice(answers, test), seconds)


def tutorial(train: list[Pair], test: list[Pair], minutes: float) -> str:
    """Train MONAI's tutorial loop for some minutes, and return its row."""
    from monai.losses import DiceLoss
    from monai.networks.nets import UNet

    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    device = pick_device()
    classes = int(max(mask.max() for _, mask in train)) + 1
    sides = [-(-max(mask.shape[axis] for _, mask in (*train, *test)) // 16) * 16 for axis in range(3)]
    network = UNet(3, 1, classes, (16, 32, 64, 128, 256), (2, 2, 2, 2), num_res_units=2, norm="batch").to(device)
    optimizer = torch.optim.Adam(network.parameters(), 1e-4)
    loss = DiceLoss(to_onehot_y=True, softmax=True)

    def padded(array: NDArray[np.generic]) -> NDArray[np.generic]:
        return np.pad(array, [(0, side - length) for side, length in zip(sides, array.shape, strict=True)])

    def prepared(image: Volume) -> NDArray[np.float32]:
        return padded(scale(image[None], *Normalization(mode="image").limits(image[None]))[0])

    volumes = [(prepared(image), padded(mask)) for image, mask in train]
    began = time.perf_counter()
    while time.perf_counter() - began < minutes * 60:
        chosen = [volumes[i] for i in rng.integers(len(volumes), size=2)]
        flips = [axis for axis in (1, 2, 3) if rng.random() < 0.5]
        images = torch.from_numpy(np.flip(np.stack([v for v, _ in chosen]), flips).copy())[:, None].to(device)
        masks = torch.from_numpy(np.flip(np.stack([m for _, m in chosen]), flips).copy())[:, None].to(device)
        optimizer.zero_grad()
        loss(network(images), masks).backward()
        optimizer.step()
    network.eval()
    began = time.perf_counter()
    answers = []
    with torch.inference_mode():
        for image, mask in test:
            logits = network(torch.from_numpy(prepared(image))[None, None].to(device))
            z, y, x = mask.shape
            answers.append(logits.argmax(dim=1)[0, :z, :y, :x].cpu().numpy().astype(np.uint8))
    return _row("MONAI's tutorial", 0, mean_dice(answers, test), (time.perf_counter() - began) / len(test))


def _row(name: str, planes: int, dice: tuple[float, list[float]], seconds: float) -> str:
    each = " / ".join(f"{value:.3f}" for value in dice[1])
    return f"| {name} | {planes or 'all'} | {dice[0]:.3f} | {each} | {seconds:.2f} |"


def main() -> None:
    """Read the arguments, train, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--planes", type=int, nargs="+", default=[0], help="Annotated planes a volume; 0: all.")
    parser.add_argument("--network", nargs="+", default=["dynunet"])
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="Settings, as for train.")
    parser.add_argument("--no-peer", action="store_true", help="Leave MONAI's tutorial out.")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    train, test = read(arguments.folder)
    print(f"{len(train)} volumes to learn from, {len(test)} for the test; {device_name(pick_device())}, "
          f"{arguments.threads} thread(s), {arguments.minutes:g} minutes.\n")  # fmt: skip
    rows = [
        ours(train, test, network, arguments.minutes, planes, arguments.set)
        for network in arguments.network
        for planes in arguments.planes
    ]
    if not arguments.no_peer:
        rows.append(tutorial(train, test, arguments.minutes))
    print("\n| network | annotated planes | Dice | of each class | predict, s a volume |\n|---|---|---|---|---|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
