"""What a preset chooses for the data on the screen, in words."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import psutil

from napari_segnet import _layers
from napari_segnet._widgets.session import Session
from napari_segnet.config import PresetName
from napari_segnet.presets import PRESETS, Fingerprint, choose


def words_of(session: Session) -> tuple[str, str]:
    """Return what the preset chooses here: one or two lines, and the reasons for a tooltip.

    While a run goes on these are the worker's own words for what it chose.
    """
    preset: PresetName = session.settings.preset
    if session.busy and session.progress.choices:
        return PRESETS[preset], _lines(session.progress.choices)
    fingerprint = _fingerprint(session)
    if fingerprint is None:
        return PRESETS[preset], PRESETS[preset]
    settings, reasons = choose(preset, fingerprint)
    mine = session.settings.advanced
    patch = mine.get("train.patch_size", settings["train"]["patch_size"])
    batch = mine.get("train.batch_size", settings["train"]["batch_size"])
    epochs = mine.get("train.epochs", None if session.settings.minutes else settings["train"]["epochs"])
    until = f"at most {epochs} epochs" if epochs else "until the time is over"
    return f"{PRESETS[preset]} Here: patches of {patch} pixels, {batch} a step, {until}.", _lines(reasons)


def _lines(reasons: Mapping[str, str]) -> str:
    return "\n".join(f"{name}: {text}" for name, text in reasons.items())


def _fingerprint(session: Session) -> Fingerprint | None:
    data = session.data
    if not data.images:
        return None
    sizes = dict(zip(data.current.axes, _layers.array_of(data.images[0]).shape, strict=False))
    planes = int(np.prod([sizes.get("T", 1), sizes.get("Z", 1)]))
    painted = sum(n for value, n in data.counts.items() if value != 0 or data.meaning.unlabelled == "background")
    device = session.device.split()[0].lower() if session.device else "cpu"
    return Fingerprint(
        images=max(1, len(data.everything())) * planes,
        height=sizes["Y"],
        width=sizes["X"],
        channels=sum(_layers.channels_of(image, data.current.axes) for image in data.images),
        outputs=max(2, len(data.classes)),
        annotated=painted,
        device="cpu" if "cpu" in device else device,
        memory=(session.memory or psutil.virtual_memory().available) / 2**30,
    )
