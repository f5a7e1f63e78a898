"""Three presets that say what they choose, adapted to the data and the device. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from napari_segnet import volumes
from napari_segnet.axes import times
from napari_segnet.config import PresetName, RunConfig, TrainConfig, merge, validated
from napari_segnet.errors import ConfigError
from napari_segnet.training.optimizers import optimizer_spec
from napari_segnet.training.schedule import schedule_spec

PRESETS: dict[PresetName, str] = {
    "fast": "An answer in a minute or two: a narrow U-Net, small patches.",
    "balanced": "Some minutes: a wider U-Net on larger patches.",
    "best": "As long as it takes: a large U-Net (on a GPU with a ResNet-34 encoder), large patches, slow averaging.",
}


_ENOUGH: dict[PresetName, float] = {"best": 300.0, "balanced": 60.0}
"""Minutes of learning on a CPU from which on a preset is chosen. At a quarter of an hour fast is far ahead
(docs/benchmarks.md); where the others pass it is a guess."""
_GPU = 10.0
"""Minutes of a CPU that a minute of a GPU stands for, at the very least."""
_VOLUMES = 4.0
"""Times as many minutes that volumes need."""
_OBJECT, _IMAGE, _GRAIN = 0.3, 1.4, 15.0
"""What images are shown smaller down to: width of objects and of images in sides of a patch, distance of edges in
pixels."""
_FEW_PIXELS = 20_000
"""Annotated pixels below which less is learned for less long."""


@dataclass(frozen=True)
class Fingerprint:
    """What the presets look at.

    `height` and `width` are the median image's, pixels; `annotated` counts annotated pixels over all images;
    `memory` is the device's in GiB. Where a network sees volumes, `depth` is their median number of planes, and
    `spacing` the size of a voxel along Z, Y and X, in any unit. `object_width` is how wide objects are, and `grain`
    how far edges are apart, pixels; None where strokes don't tell.
    """

    images: int
    height: int
    width: int
    channels: int
    outputs: int
    annotated: int
    device: str = "cpu"
    memory: float = 8.0
    depth: int | None = None
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    object_width: float | None = None
    grain: float | None = None

    @property
    def share(self) -> float:
        """Annotated share of all pixels."""
        return self.annotated / max(1, self.images * (self.depth or 1) * self.height * self.width)


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
    patch = _patch(preset, data, gpu) if data.depth is None else _patch_of_volume(preset, data, gpu)
    batch = _batch(preset, patch, data, gpu)
    model, network = _network(preset, gpu) if isinstance(patch, int) else _volume_network(preset, patch, data)
    epochs, steps = {"fast": (30, 40), "balanced": (80, 50), "best": (200, 60)}[preset]
    if data.annotated < _FEW_PIXELS:
        # A few strokes are learned by heart soon; more steps would only fit their edges.
        epochs = epochs * 2 // 3
    train: dict[str, Any] = {
        "preset": preset,
        "patch_size": patch,
        "batch_size": batch,
        "epochs": epochs,
        "steps_per_epoch": steps,
        "patience": {"fast": 15, "balanced": 25, "best": 40}[preset],
        "ema": {"fast": 0.98, "balanced": 0.99, "best": 0.995}[preset],
        "learning_rate": 2e-3 if preset == "fast" else 1e-3,
    }
    turned = {}
    if isinstance(patch, tuple) and (preset == "fast" or not gpu):
        # A short run can't learn that a side may be any: on MRI crops Dice was 0.86 instead of 0.81.
        train["augment"] = {"flip": False, "quarter_turns": False}
        turned = {"augmentation": "volumes are neither mirrored nor turned by right angles in a short run."}
    reasons = {
        "network": network,
        "patch": _words(patch, data),
        "batch": f"{batch} patches a step, on {data.device} with {data.memory:.0f} GiB.",
        "length": f"at most {epochs} epochs of {steps} steps, for {data.annotated} annotated pixels.",
        **turned,
    }
    return {"model": model, "train": train}, reasons


def choose_zoom(config: RunConfig, data: Fingerprint) -> tuple[float, dict[str, str]]:
    """Choose the size at which images are shown to the network, and say why where it isn't their own.

    A patch should show objects with what lies around them, three times as wide as they are. Larger patches do that,
    too, but are fewer in the same time: on photographs of whale tails two minutes of patches twice as wide changed
    little, and images half as wide gave a Dice of 0.88 instead of 0.77 (docs/benchmarks.md).

    Parameters
    ----------
    config : RunConfig
    data : Fingerprint
        Of the images as they are.

    Returns
    -------
    zoom : float
        What `data.zoom` asks for, or 1, or one by a whole number.
    reasons : dict of str to str
    """
    asked, patch = config.data.explicit(), config.train.explicit().get("patch_size")
    if "zoom" in asked:
        return config.data.zoom, {}
    if data.object_width is None or data.grain is None or config.data.pixel_size is not None:
        return 1.0, {}
    side = patch if isinstance(patch, int) else _side(_preset(config.train, data)[0], data.device != "cpu")
    # Patches of hardly more than one image are all alike, and what is finer than some pixels is lost.
    most = data.object_width / (_OBJECT * side), min(data.height, data.width) / (_IMAGE * side), data.grain / _GRAIN
    parts = math.floor(min(most))
    if parts < 2:
        return 1.0, {}
    words = f"1/{parts} of their size: objects are about {data.object_width:.0f} pixels wide"
    return round(1 / parts, 4), {"images": f"{words} (data.zoom=1: as they are)."}


def _patch(preset: PresetName, data: Fingerprint, gpu: bool) -> int:
    wanted = _side(preset, gpu)
    side = min(data.height, data.width)
    # A patch larger than the image only adds mirrored pixels; below 64 there is too little to see.
    return max(64, min(wanted, side // 32 * 32))


def _side(preset: PresetName, gpu: bool) -> int:
    return {"fast": 128, "balanced": 192, "best": 256}[preset] * (2 if gpu and preset != "fast" else 1)


def _patch_of_volume(preset: PresetName, data: Fingerprint, gpu: bool) -> tuple[int, ...]:
    sides = {"fast": 64, "balanced": 96, "best": 128} if gpu else {"fast": 40, "balanced": 64, "best": 96}
    shape = (data.depth or 1, data.height, data.width)
    return volumes.patch_shape(shape, data.spacing, sides[preset] ** 3)


def _words(patch: int | tuple[int, ...], data: Fingerprint) -> str:
    if isinstance(patch, int):
        return f"{patch} x {patch} pixels: images are about {data.height} x {data.width}."
    return f"about {times(patch)} voxels: volumes are about {data.depth} x {data.height} x {data.width}."


def _batch(preset: PresetName, patch: int | tuple[int, ...], data: Fingerprint, gpu: bool) -> int:
    pixels = patch * patch if isinstance(patch, int) else math.prod(patch)
    wanted = (16 if gpu else 8) if isinstance(patch, int) else 2
    # Roughly what a step needs: activations of all levels, forward and backward, and what the loss makes of each class.
    activations = {"fast": 16, "balanced": 32, "best": 64}[preset] * 12
    each = pixels * (activations + 6 * data.outputs) * 4 / 2**30
    return max(1, min(wanted, int(0.5 * data.memory / each)))


def _volume_network(preset: PresetName, patch: tuple[int, ...], data: Fingerprint) -> tuple[dict[str, Any], str]:
    width = {"fast": 16, "balanced": 24, "best": 32}[preset]
    model = volumes.choose_network(patch, data.spacing, width)
    depth, flat = model["options"]["depth"], model["options"]["flat_levels"]
    words = f"nnU-Net's network for volumes: {width} channels at full resolution, {depth} levels"
    return model, f"{words}, the first {flat} of them flat." if flat else f"{words}."


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
    words = f"U-Net with {width} channels at full resolution, halved {options['depth']} times."
    return {"network": "plain-unet", "options": options}, words


def _preset(train: TrainConfig, data: Fingerprint) -> tuple[PresetName, dict[str, str]]:
    """Return the preset that is asked for, or else the one that the time is enough for, and why."""
    if "preset" in train.explicit() or train.minutes is None:
        return train.preset, {}
    work = train.minutes * (1 if data.device == "cpu" else _GPU) / (1 if data.depth is None else _VOLUMES)
    preset: PresetName = next((name for name, least in _ENOUGH.items() if work >= least), "fast")
    return preset, {"preset": f"{preset}, which suits {train.minutes:g} minutes on {data.device}."}


def _asked_for(mine: Mapping[str, Any]) -> dict[str, str]:
    """Return words for what the user has set; none for a run that goes on, where everything is set."""
    if set(mine) >= set(TrainConfig.model_fields):
        return {}
    words = {
        "patch": ("patch_size", "{} pixels, as asked for."),
        "batch": ("batch_size", "{} patches a step, as asked for."),
        "length": ("epochs", "at most {} epochs, as asked for."),
    }
    found = {}
    for choice, (name, text) in words.items():
        value = mine.get(name)
        if value is not None:
            found[choice] = text.format(times(value) if isinstance(value, list | tuple) else value)
    return found


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
    preset, reasons = _preset(config.train, data)
    settings, chosen = choose(preset, data)
    reasons |= chosen
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
    optimizer = optimizer_spec(config.train.optimizer)
    settings["train"] |= {
        "learning_rate": settings["train"]["learning_rate"] * optimizer.rate,
        "weight_decay": optimizer.decay,
    }
    # What they can't take is said before anything is learned.
    optimizer.read(config.train.optimizer_options)
    schedule = schedule_spec(config.train.schedule)
    schedule.read(config.train.schedule_options)
    mine = explicit.get("train", {})
    if mine.get("minutes") is not None and "epochs" not in mine:
        settings["train"]["epochs"] = None
        settings["train"]["patience"] = 1_000_000
        reasons["length"] = f"{mine['minutes']:g} minutes, as asked for."
    reasons |= _asked_for(mine)
    merged = validated(RunConfig, merge(settings, explicit))
    if not set(mine) >= set(TrainConfig.model_fields):  # of a run that goes on it was said before
        rate = "a rate that is looked for" if merged.train.find_rate else f"{merged.train.learning_rate:g}"
        reasons["schedule"] = f"{schedule.name}, from {rate}."
    if merged.train.epochs is None and merged.train.minutes is None:
        raise ConfigError("Neither epochs nor minutes are limited.", "Set train.epochs or train.minutes.")
    return validated(RunConfig, merged.model_dump()), reasons
