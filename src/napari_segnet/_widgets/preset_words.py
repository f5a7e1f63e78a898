"""What a preset chooses for the data on the screen, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import psutil

from napari_segnet import _layers
from napari_segnet._widgets.session import Session
from napari_segnet.config import PatchSize, PresetName, RunConfig
from napari_segnet.errors import SegNetError
from napari_segnet.models.info import ModelInfo
from napari_segnet.presets import PRESETS, Fingerprint, resolve

_PRESET_LOOKS_AT = ("model.network", "train.optimizer")


def words_of(session: Session) -> tuple[str, str]:
    """Return what the preset chooses here: one or two lines, and the reasons for a tooltip.

    While a run goes on these are the worker's own words for what it chose.
    """
    preset: PresetName = session.settings.preset
    if session.busy and session.progress.choices:
        return PRESETS[preset], _lines(session.progress.choices)
    found = resolved(session)
    if found is None:
        return PRESETS[preset], PRESETS[preset]
    train, reasons = found[0].train, found[1]
    patches = _patches(train.patch_size, _spatial(session, session.models.start))
    until = f"at most {train.epochs} epochs" if train.epochs else "until the time is over"
    return f"{PRESETS[preset]} Here: {patches}, {train.batch_size} a step, {until}.", _lines(reasons)


def resolved(session: Session, of_preset: bool = False) -> tuple[RunConfig, dict[str, str]] | None:
    """Return everything that the preset and the user choose for the data on the screen, and why.

    None where there are no data yet, or where the user's choices can't be: Train says why. With `of_preset` what the
    preset chooses for the user's network and optimizer, whatever else the user has chosen.
    """
    settings = session.settings
    if of_preset:
        kept = {key: value for key, value in settings.advanced.items() if key in _PRESET_LOOKS_AT}
        settings = replace(settings, advanced=kept)
    start = session.models.start
    fingerprint = _fingerprint(session, _spatial(session, start))
    if fingerprint is None:
        return None
    try:
        config = settings.run_config(session.data.config(start))
        return resolve(config, fingerprint, fine_tunes=start is not None)
    except SegNetError:
        return None


def _patches(patch: PatchSize, spatial: str) -> str:
    if spatial == "YX":
        return f"patches of {patch} pixels"
    # The worker rounds the sides to multiples of what the network pools.
    sides = (patch,) * 3 if isinstance(patch, int) else patch
    return f"patches of about {' x '.join(map(str, sides))} voxels"


def _lines(reasons: Mapping[str, str]) -> str:
    return "\n".join(f"{name}: {text}" for name, text in reasons.items())


def _spatial(session: Session, start: ModelInfo | None) -> str:
    return start.axes if start is not None else session.settings.spatial


def _fingerprint(session: Session, spatial: str) -> Fingerprint | None:
    data = session.data
    axes = data.current.axes
    if not data.images or not set(spatial) <= set(axes):
        return None
    image = data.images[0]
    sizes = dict(zip(axes, _layers.array_of(image).shape, strict=False))
    items = int(np.prod([sizes[axis] for axis in axes if axis in "TZ" and axis not in spatial]))
    painted = sum(n for value, n in data.counts.items() if value != 0 or data.meaning.unlabelled == "background")
    device = session.device.split()[0].lower() if session.device else "cpu"
    size, _ = _layers.pixel_size_of(image, axes)
    known = size is not None and len(size) == 3 and min(size) > 0
    return Fingerprint(
        images=max(1, len(data.everything())) * items,
        height=sizes["Y"],
        width=sizes["X"],
        channels=sum(_layers.channels_of(image, axes) for image in data.images),
        outputs=max(2, len(data.classes)),
        annotated=painted,
        device="cpu" if "cpu" in device else device,
        memory=(session.memory or psutil.virtual_memory().available) / 2**30,
        depth=sizes["Z"] if spatial == "ZYX" else None,
        spacing=(size[0], size[1], size[2]) if size is not None and known else (1.0, 1.0, 1.0),
    )
