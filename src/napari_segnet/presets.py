"""Three presets that say what they choose, adapted to the data and the device. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from napari_segnet.config import PresetName, RunConfig, merge, validated
from napari_segnet.errors import ConfigError

PRESETS: dict[PresetName, str] = {
    "fast": "An answer in a minute or two: a narrow U-Net, small patches.",
    "balanced": "Some minutes: a wider U-Net on larger patches.",
    "best": "As long as it takes: a large U-Net (on a GPU with a ResNet-34 encoder), large patches, slow averaging.",
}


_FEW_PIXELS = 20_000
"""Annotated pixels below which less is learned for less long."""


@dataclass(frozen=True)
class Fingerprint:
    """What the presets look at.

    `height` and `width` are the median image's, pixels; `annotated` counts annotated pixels over all images;
    `memory` is the device's in GiB.
    """

    images: int
    height: int
    width: int
    channels: int
    outputs: int
    annotated: int
    device: str = "cpu"
    memory: float = 8.0

    @property
    def share(self) -> float:
        """Annotated share of all pixels."""
        return self.annotated / max(1, self.images * self.height * self.width)


def choose(preset: PresetName, data: Fingerprint) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the settings of a preset for some data, and a sentence for each choice.

    Parameters
    ----------
    preset : {"fast", "balanced", "best"}
    data : Fingerprint

    Returns
    -------
    settings : dict
        Sections ``model`` and ``train`` of a `RunConfig`.
    reasons : dict of str to str
        What was chosen -> why.
    """
    gpu = data.device != "cpu"
    patch = _patch(preset, data, gpu)
    batch = _batch(preset, patch, data, gpu)
    model, network = _network(preset, gpu)
    epochs, steps = {"fast": (30, 40), "balanced": (80, 50), "best": (200, 60)}[preset]
    if data.annotated < _FEW_PIXELS:
        # A few strokes are learned by heart soon; more steps would only fit their edges.
        epochs = epochs * 2 // 3
    train = {
        "preset": preset,
        "patch_size": patch,
        "batch_size": batch,
        "epochs": epochs,
        "steps_per_epoch": steps,
        "patience": {"fast": 15, "balanced": 25, "best": 40}[preset],
        "ema": {"fast": 0.98, "balanced": 0.99, "best": 0.995}[preset],
        "learning_rate": 2e-3 if preset == "fast" else 1e-3,
    }
    reasons = {
        "network": network,
        "patch": f"{patch} x {patch} pixels: images are about {data.height} x {data.width}.",
        "batch": f"{batch} patches a step, on {data.device} with {data.memory:.0f} GiB.",
        "length": f"at most {epochs} epochs of {steps} steps, for {data.annotated} annotated pixels.",
    }
    return {"model": model, "train": train}, reasons


def _patch(preset: PresetName, data: Fingerprint, gpu: bool) -> int:
    wanted = {"fast": 128, "balanced": 192, "best": 256}[preset] * (2 if gpu and preset != "fast" else 1)
    side = min(data.height, data.width)
    # A patch larger than the image only adds mirrored pixels; below 64 there is too little to see.
    return max(64, min(wanted, side // 32 * 32))


def _batch(preset: PresetName, patch: int, data: Fingerprint, gpu: bool) -> int:
    wanted = 16 if gpu else 8
    # Roughly what a step needs: activations of all levels, forward and backward.
    each = patch * patch * {"fast": 16, "balanced": 32, "best": 64}[preset] * 4 * 12 / 2**30
    return max(1, min(wanted, int(0.5 * data.memory / each)))


def _network(preset: PresetName, gpu: bool) -> tuple[dict[str, Any], str]:
    if preset == "best" and gpu:
        model = {"network": "unet", "encoder": "resnet34", "options": {}}
        return model, "U-Net with a ResNet-34 encoder, which a GPU trains well."
    width = {"fast": 16, "balanced": 32, "best": 32}[preset]
    options = {
        "width": width,
        "max_width": 512 if preset == "best" else 256,
        "depth": 5 if preset == "best" else 4,
    }
    return {"network": "plain-unet", "options": options}, f"U-Net with {width} channels at full resolution."


def resolve(config: RunConfig, data: Fingerprint, *, fine_tunes: bool = False) -> tuple[RunConfig, dict[str, str]]:
    """Fill in what the user hasn't set from the preset.

    Parameters
    ----------
    config : RunConfig
        What was set counts; the rest is chosen.
    data : Fingerprint
    fine_tunes : bool
        Whether the network is that of a model to start from, with its options and no others.

    Returns
    -------
    config : RunConfig
        Everything set: resolving it again changes nothing.
    reasons : dict of str to str
        A sentence for each choice that the preset made.
    """
    explicit = config.explicit()
    settings, reasons = choose(config.train.preset, data)
    chosen_network = explicit.get("model", {}).get("network")
    if fine_tunes:
        settings["model"] = {}
        reasons["network"] = "that of the model it starts from."
        # Smaller steps: a few corrections of hard places must not undo what it knows of all others.
        settings["train"]["learning_rate"] /= 2
    elif chosen_network and chosen_network != settings["model"]["network"]:
        # The options of the preset's network mean nothing to another one.
        settings["model"] = {}
        reasons["network"] = f"{chosen_network}, as asked for."
    mine = explicit.get("train", {})
    if mine.get("minutes") is not None and "epochs" not in mine:
        settings["train"]["epochs"] = None
        settings["train"]["patience"] = 1_000_000
        reasons["length"] = f"{mine['minutes']:g} minutes, as asked for."
    merged = validated(RunConfig, merge(settings, explicit))
    if merged.train.epochs is None and merged.train.minutes is None:
        raise ConfigError("Neither epochs nor minutes are limited.", "Set train.epochs or train.minutes.")
    return validated(RunConfig, merged.model_dump()), reasons
