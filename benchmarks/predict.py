"""How fast a whole image is predicted, against two common ways, and what it costs besides the network.

    python benchmarks/predict.py --size 4096

The network is the plain U-Net of the preset "fast" with random weights, the same for all; the image is random
too. Times are medians; look at the ratios, the seconds are those of one machine. Ways that are compared:

- naive loop: windows of 512 with half overlap, float32, probabilities averaged in one array, argmax at the end;
- MONAI's ``sliding_window_inference``, windows of 512, overlap 0.25, then argmax;
- napari-segnet: `Predictor`, labels only, then with probabilities and uncertainty, then exact.

"Beside the network" is what the predictor spends outside the network's own time on the same tiles. Memory is
measured in fresh processes for two sizes: what grows with the image should be the outputs, and nothing else.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from napari_segnet._process import prepare_process

prepare_process()

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_segnet.config import LabelClass, PredictConfig
from napari_segnet.data.normalization import Normalization, scale
from napari_segnet.devices import device_name, pick_device
from napari_segnet.models.info import ModelInfo
from napari_segnet.models.registry import build_network
from napari_segnet.predict.predictor import Predictor
from napari_segnet.predict.receptive_field import receptive_field

WINDOW = 512
NORMALIZATION = Normalization(mode="dataset", low=(0.0,), high=(255.0,))


def make_model(halo: int | None) -> tuple[nn.Module, ModelInfo]:
    """Build the network and its description."""
    torch.manual_seed(0)
    network = build_network("plain-unet", channels=1, outputs=2, options={}).eval()
    stride = int(network.stride)  # type: ignore[arg-type]
    reach = receptive_field(network, 1, stride)
    if reach is None:
        raise ValueError("the plain U-Net sees no whole images")
    info = ModelInfo(
        network="plain-unet",
        channels=1,
        outputs=2,
        normalization=NORMALIZATION,
        classes=(
            LabelClass(value=0, name="background", colour="#000000"),
            LabelClass(value=1, name="object", colour="#ff8800"),
        ),
        patch_size=128,
        stride=stride,
        halo=reach if halo is None else halo,
        receptive_field=reach,
    )
    return network, info


def make_image(size: int) -> NDArray[np.uint8]:
    """Return a (1, size, size) image."""
    return np.random.default_rng(0).integers(0, 256, (1, size, size), np.uint8)


def as_tensor(image: NDArray[np.uint8], device: torch.device) -> Tensor:
    """Return the whole image as the peers take it: (1, C, Y, X) float32, normalized."""
    return torch.from_numpy(scale(image, *NORMALIZATION.limits(image))[None]).to(device)


def naive_loop(network: nn.Module, image: NDArray[np.uint8], device: torch.device) -> NDArray[np.uint8]:
    """Predict with half-overlapping windows whose probabilities are averaged."""
    x = as_tensor(image, device)
    height, width = x.shape[2:]
    total = torch.zeros((2, height, width), device=device)
    seen = torch.zeros((height, width), device=device)
    with torch.no_grad():
        for top in starts(height):
            for left in starts(width):
                window = (slice(top, top + WINDOW), slice(left, left + WINDOW))
                total[:, *window] += network(x[:, :, *window]).softmax(dim=1)[0]
                seen[window] += 1
    return (total / seen).argmax(dim=0).to(torch.uint8).cpu().numpy()


def starts(length: int) -> list[int]:
    """Return where half-overlapping windows begin."""
    return sorted({min(start, length - WINDOW) for start in range(0, length - WINDOW // 2, WINDOW // 2)})


def monai_windows(network: nn.Module, image: NDArray[np.uint8], device: torch.device) -> NDArray[np.uint8]:
    """Predict with MONAI."""
    from monai.inferers import sliding_window_inference

    with torch.no_grad():
        logits = sliding_window_inference(as_tensor(image, device), (WINDOW, WINDOW), 1, network, overlap=0.25)
    return logits.argmax(dim=1)[0].to(torch.uint8).cpu().numpy()


class Timed(nn.Module):
    """A network that adds up the time it takes."""

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        super().__init__()
        self.network, self.device, self.seconds = network, device, 0.0

    def forward(self, x: Tensor) -> Tensor:
        """Run the network."""
        synchronize(self.device)
        begin = time.perf_counter()
        logits: Tensor = self.network(x)
        synchronize(self.device)
        self.seconds += time.perf_counter() - begin
        return logits


def synchronize(device: torch.device) -> None:
    """Wait for a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def own(
    network: nn.Module, info: ModelInfo, image: NDArray[Any], device: torch.device, everything: bool, **config: Any
) -> Callable[[], NDArray[Any]]:
    """Return a function that predicts `image` in our way."""
    predictor = Predictor(network, info, PredictConfig(**config), device)

    def run() -> NDArray[Any]:
        arrays = predictor.empty_outputs(image.shape[1:], probabilities=everything, uncertainty=everything)
        predictor.predict_plane(image, **arrays)
        return arrays["labels_out"]

    return run


def median_seconds(run: Callable[[], Any], repeats: int, device: torch.device) -> float:
    """Return the median time of `run`."""
    seconds = []
    for _ in range(repeats):
        synchronize(device)
        begin = time.perf_counter()
        run()
        synchronize(device)
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds)


def beside_network(
    network: nn.Module, info: ModelInfo, image: NDArray[Any], device: torch.device, repeats: int
) -> tuple[float, float]:
    """Return (seconds in the network, seconds in all) of a prediction of labels, as medians."""
    predictor = Predictor(network, info, PredictConfig(), device)
    arrays = predictor.empty_outputs(image.shape[1:])
    whole = median_seconds(lambda: predictor.predict_plane(image, **arrays), repeats, device)
    timed = Timed(predictor._network, device)
    predictor._network = timed
    inside, outside = [], []
    for _ in range(repeats):
        timed.seconds = 0.0
        total = median_seconds(lambda: predictor.predict_plane(image, **arrays), 1, device)
        inside.append(timed.seconds)
        outside.append(total - timed.seconds)
    if device.type == "cpu":
        # Inside and outside of the same run: other programs disturb both alike.
        return statistics.median(inside), statistics.median(inside) + statistics.median(outside)
    return statistics.median(inside), whole


def memory_of(size: int, threads: int, device: str, halo: int | None) -> dict[str, float]:
    """Measure one prediction in a fresh process: growth of its peak memory, and its outputs, in MB."""
    command = [sys.executable, __file__, "--memory-of", str(size), "--threads", str(threads), "--device", device]
    command += [] if halo is None else ["--halo", str(halo)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return answer


def measure_memory(size: int, halo: int | None, device: torch.device) -> dict[str, float]:
    """Predict labels, probabilities and uncertainty, and return what the peak memory grew by."""
    import resource

    network, info = make_model(halo)
    image = make_image(size)
    predictor = Predictor(network, info, PredictConfig(), device)
    # The first prediction loads libraries; a small one, so that its peak stays below that of the large one.
    warm = make_image(256)
    predictor.predict_plane(warm, **predictor.empty_outputs(warm.shape[1:]))
    unit = 1 if platform.system() == "Darwin" else 1024
    before = psutil.Process().memory_info().rss
    arrays = predictor.empty_outputs(image.shape[1:], probabilities=True, uncertainty=True)
    predictor.predict_plane(image, **arrays)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return {"growth": (peak - before) / 1e6, "outputs": sum(a.nbytes for a in arrays.values()) / 1e6}


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--halo", type=int, help="border of a tile that is cut off; default: the whole receptive field")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="auto")
    parser.add_argument("--without-memory", action="store_true")
    parser.add_argument("--memory-of", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Measure, and print a table."""
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    device = pick_device(arguments.device)
    if arguments.memory_of:
        print(json.dumps(measure_memory(arguments.memory_of, arguments.halo, device)))
        return
    network, info = make_model(arguments.halo)
    image = make_image(arguments.size)
    print(f"{arguments.size} x {arguments.size}, torch {torch.__version__}, {device_name(device)}")
    print(f"halo {info.halo} (theoretical {info.receptive_field}), median of {arguments.repeats}\n")
    plain = make_model(arguments.halo)[0].to(device)
    ways: dict[str, Callable[[], NDArray[Any]]] = {
        "naive loop, 50 % overlap, float32": lambda: naive_loop(plain, image, device),
        "MONAI sliding window, 0.25 overlap": lambda: monai_windows(plain, image, device),
        "napari-segnet, labels": own(network, info, image, device, False),
        "  with probabilities, uncertainty": own(network, info, image, device, True),
        "  float32": own(network, info, image, device, False, precision="float32"),
        "  exact (float32, theoretical halo)": own(network, info, image, device, False, exact=True),
    }
    small = image[:, : 2 * WINDOW, : 2 * WINDOW]
    naive_loop(plain, small, device), monai_windows(plain, small, device)
    seconds = {name: median_seconds(run, arguments.repeats, device) for name, run in ways.items()}
    ours = seconds["napari-segnet, labels"]
    print(f"{'':38}{'seconds':>9}{'Mpixel/s':>10}{'ratio to ours':>15}")
    for name, value in seconds.items():
        print(f"{name:38}{value:9.3f}{image.size / value / 1e6:10.2f}{value / ours:15.2f}")
    inside, whole = beside_network(network, info, image, device, arguments.repeats)
    print(f"\nbeside the network: {100 * (whole / inside - 1):.1f} % of its {inside:.3f} s  (at most 15 %)")
    if not arguments.without_memory:
        report_memory(arguments)


def report_memory(arguments: argparse.Namespace) -> None:
    """Print how the peak memory grows with the image."""
    sizes = (max(2048, arguments.size // 2), max(4096, arguments.size))
    first, second = (memory_of(size, arguments.threads, arguments.device, arguments.halo) for size in sizes)
    for size, found in zip(sizes, (first, second), strict=True):
        print(f"{size:5} x {size}: peak memory + {found['growth']:.0f} MB, outputs {found['outputs']:.0f} MB")
    growth, outputs = (second[key] - first[key] for key in ("growth", "outputs"))
    print(f"from one to the other: {growth:+.0f} MB, of which outputs {outputs:+.0f} MB")


if __name__ == "__main__":
    main()
