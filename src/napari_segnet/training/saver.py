"""What is saved while a run learns: the best model, the last one, checkpoints; in an order that survives a crash."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from napari_segnet import events
from napari_segnet.axes import per_axis
from napari_segnet.data.normalization import Normalization
from napari_segnet.data.resampling import units_of
from napari_segnet.data.split import Region
from napari_segnet.devices import channels_last
from napari_segnet.models.card import model_card
from napari_segnet.models.file import load_model, write_model
from napari_segnet.models.info import ModelInfo
from napari_segnet.models.registry import network_spec, strides_of
from napari_segnet.predict.halo import MEASURED_SIDE, measure_halo
from napari_segnet.predict.receptive_field import receptive_field
from napari_segnet.predict.tiles import round_up
from napari_segnet.run import RunFolder, write_atomically
from napari_segnet.training.checkpoint import write_checkpoint
from napari_segnet.training.learner import Learner
from napari_segnet.training.loop import statistics_batches
from napari_segnet.training.prepare import Prepared
from napari_segnet.versions import versions

_UNMEASURED_HALO = 128


def _middle(region: Region) -> tuple[slice, ...]:
    """Return the middle of a region, as much of it as the halo is measured on: the whole may not fit in memory."""
    found = []
    for start, stop in zip(region.start, region.stop, strict=True):
        first = start + max(0, (stop - start - MEASURED_SIDE) // 2)
        found.append(slice(first, min(stop, first + MEASURED_SIDE)))
    return tuple(found)


def model_info(ready: Prepared, network: nn.Module, scores: dict[str, float]) -> ModelInfo:
    """Describe a trained network, with a generous halo that isn't measured."""
    axes = network_spec(ready.config.model.network).axes
    strides = strides_of(network, len(axes))
    patch = per_axis(ready.config.train.patch_size, len(axes))
    wide = [_UNMEASURED_HALO] * 2 if len(axes) == 2 else [side // 4 for side in patch]
    halo = tuple(round_up(border, stride) for border, stride in zip(wide, strides, strict=True))
    size, units = ready.config.data.pixel_size, units_of(ready.pairs)
    record = ready.pairs[0].opened.record
    return ModelInfo(
        network=ready.config.model.network,
        encoder=ready.config.model.encoder,
        options=ready.config.model.options,
        norm=ready.config.model.norm,
        axes=axes,
        channels=ready.pairs[0].channels,
        outputs=ready.outputs,
        pixel_size=size if isinstance(size, tuple) else record.pixel_size,
        units=record.units if size is None else units,
        resampled=size is not None,
        zoom=ready.config.data.zoom,
        normalization=ready.normalization,
        task=ready.config.data.task,
        unlabelled=ready.config.data.unlabelled,
        classes=ready.config.data.classes,
        patch_size=ready.config.train.patch_size,
        stride=_short(strides),
        halo=_short(halo),
        config=ready.config,
        fingerprint=ready.fingerprint,
        scores=scores,
        versions=versions(),
    )


def _short(lengths: tuple[int, ...]) -> int | tuple[int, ...]:
    """Return one number where it is the same along Y and X of planes."""
    return lengths[0] if len(lengths) == 2 and len(set(lengths)) == 1 else lengths


class Saver:
    """Keeps the best weights in memory, and writes models and checkpoints in an order that survives a crash."""

    def __init__(self, run: RunFolder, ready: Prepared, learner: Learner) -> None:
        self._run, self._ready, self._learner = run, ready, learner
        self._best: dict[str, torch.Tensor] | None = None
        self._reaches: list[int | tuple[int, ...] | None] = []

    def remember(self, best: bool) -> None:
        """Keep a copy of the averaged weights if they are the best so far."""
        if best:
            self._best = {k: v.detach().clone() for k, v in self._learner.average.state_dict().items()}

    def save_checkpoint(self) -> Iterator[events.Event]:
        """Write the best model, the last model, then the checkpoint, each whole or not at all."""
        learner = self._learner
        network = learner.refresh_average(lambda: statistics_batches(learner, self._ready.lesson, learner.config))
        info = model_info(self._ready, network, self._scores()).replace(receptive_field=self._reach(network))
        write_model(self._run.last, info, network)
        if self._best is not None:
            self._write_best(info)
        elif not self._run.model.exists():
            write_model(self._run.model, info, network)
        path = self._run.checkpoints / "last.safetensors"
        write_checkpoint(path, learner)
        yield events.Checkpoint(str(path), learner.counters.step)

    def finish(self, reason: str) -> Iterator[events.Event]:
        """Measure the halo of the best model, and say that the run is over."""
        info, network = load_model(self._run.model, self._learner.device)
        network = network.to(memory_format=channels_last(len(info.axes)))  # type: ignore[call-overload]
        shown = self._ready.split.validation or self._ready.split.train
        images = [self._ready.cache.read(region.pair, _middle(region)) for region in shown[:4]]
        plain = info.replace(normalization=Normalization(mode="none", clip=self._ready.normalization.clip))
        halo = measure_halo(network, plain, images, device=self._learner.device)
        info = info.replace(halo=halo)
        write_model(self._run.model, info, network)
        write_atomically(self._run.path / "model_card.md", model_card(info))
        yield events.Finished(reason, str(self._run.model), self._scores())

    def _reach(self, network: nn.Module) -> int | tuple[int, ...] | None:
        # The same for all weights: found once, at the first checkpoint.
        if not self._reaches:
            info = model_info(self._ready, network, {})
            self._reaches.append(receptive_field(network, info.channels, info.strides))
        return self._reaches[0]

    def _write_best(self, info: ModelInfo) -> None:
        holder = copy.deepcopy(self._learner.average)
        holder.load_state_dict(self._best or {})
        write_model(self._run.model, info, holder)

    def _scores(self) -> dict[str, float]:
        counters = self._learner.counters
        if not counters.history:
            return {}
        row = counters.history[max(counters.best_epoch, 1) - 1]
        return {k: float(v) for k, v in row.items() if isinstance(v, int | float) and np.isfinite(v)}
