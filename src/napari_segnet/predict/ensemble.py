"""Several models that answer together, tile by tile: memory for one tile's sums, whatever the number of models.

Averaging networks that were trained on different parts of the data, or from different starts, makes fewer mistakes
than any of them (Krogh and Vedelsby 1995, Neural Network Ensembles, Cross Validation, and Active Learning), and the
averaged probabilities say better how sure they are (Lakshminarayanan et al. 2017, https://arxiv.org/abs/1612.01474).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from napari_segnet.config import PredictConfig
from napari_segnet.data.normalization import Limits
from napari_segnet.devices import pick_device
from napari_segnet.errors import ConfigError
from napari_segnet.models.file import Ensemble, load_model
from napari_segnet.models.info import ModelInfo
from napari_segnet.predict import outputs
from napari_segnet.predict.predictor import Predictor
from napari_segnet.predict.reading import TileReader
from napari_segnet.predict.tiles import Span, Tile, round_up
from napari_segnet.predict.wanted import Wanted

_LEAST = 1e-30
"""Probability whose logarithm stands for that of zero."""


def make_predictor(
    model: Path | str | tuple[ModelInfo, nn.Module],
    config: PredictConfig | None = None,
    device: torch.device | None = None,
    *,
    on_notice: Callable[[str], None] | None = None,
) -> Predictor:
    """Return what applies a model, or an ensemble, to images.

    Parameters
    ----------
    model : path, or (ModelInfo, network)
        A model file, a run folder, a folder of folds, or what `load_model` returns.
    config : PredictConfig, optional
    device : torch.device, optional
        Default: the one that `config.device` names.
    on_notice : callable, optional
        As for `Predictor`.

    Raises
    ------
    SegNetError
        If the model can't be read, the device can't be used, or the model can't be applied as asked for.
    """
    config = config or PredictConfig()
    device = device or pick_device(config.device)
    info, network = load_model(model, device) if isinstance(model, Path | str) else model
    if config.orthoplanes and (info.axes == "ZYX" or info.resampled or info.zoom != 1):
        why = "sees volumes already" if info.axes == "ZYX" else "knows images of one pixel size, or one zoom, only"
        raise ConfigError(
            f"Orthoplanes are for models of planes, but this one {why}.", "Predict without --orthoplanes."
        )
    kind = EnsemblePredictor if info.members else Predictor
    return kind(network, info, config, device, on_notice=on_notice)


class EnsemblePredictor(Predictor):
    """Applies the members of an ensemble, and puts their answers together; otherwise a `Predictor`.

    Each member sees the image with its own normalization, padded to its own stride, with its own halo: it answers as
    it does alone. Probabilities are the mean of the members', and uncertainty is the entropy of that mean. Labels are
    the likeliest class by the mean, or, where `info.combine` is ``"vote"``, the class that most members say, and of
    classes with equally many votes the likelier by the mean.

    Parameters
    ----------
    network : Ensemble
    info : ModelInfo
        With members.
    config, device, on_notice
        As for `Predictor`. Flips, turns and scales are averaged within each member, before members are.

    Raises
    ------
    ConfigError
        If a CRF is asked for, but members vote.

    Notes
    -----
    `limits` that are given to `iterate` hold for the members whose normalization is that of `info`, the first's.
    """

    def __init__(
        self,
        network: nn.Module,
        info: ModelInfo,
        config: PredictConfig | None = None,
        device: torch.device | None = None,
        *,
        on_notice: Callable[[str], None] | None = None,
    ) -> None:
        config = config or PredictConfig()
        if config.crf and info.combine == "vote":
            raise ConfigError(
                "A CRF refines averaged probabilities, but the members of this ensemble vote.",
                "Leave the CRF out, or make the ensemble with --combine mean.",
            )
        self._members: list[Predictor] = []
        super().__init__(network, info, config, device, on_notice=on_notice)

    def _make_ready(self, network: nn.Module) -> nn.Module:
        networks = cast("Ensemble", network).member
        self._members = [
            Predictor(one, info, self.config, self.device)
            for one, info in zip(networks, self.info.members, strict=True)
        ]
        return network

    def open_reader(self, image: Any, limits: Limits) -> list[TileReader]:
        """Return a reader for each member."""
        same = [member.info.normalization == self.info.normalization for member in self._members]
        return [
            member.open_reader(image, limits if given else member.info.normalization.limits(image))
            for member, given in zip(self._members, same, strict=True)
        ]

    def memory_per_pixel(self) -> float:
        """Return the memory for each pixel of a tile, bytes: of the largest, for they run one after another."""
        return max(member.memory_per_pixel() for member in self._members)

    def _answer_tiles(
        self, reader: Sequence[TileReader], tiles: Sequence[Tile], wanted: Wanted
    ) -> Iterator[dict[str, Tensor]]:
        sums = [_Sum(self.info) for _ in tiles]
        for member, own in zip(self._members, reader, strict=True):
            fitted = [self._fit(tile, member, own.image.shape[1:]) for tile in tiles]
            for total, logits in zip(sums, member.tile_logits(own, fitted), strict=True):
                total.add(logits)
        for total in sums:
            answers = self._answers(total.logits(), wanted)
            if "labels" in answers and self.info.combine == "vote":
                answers["labels"] = total.winner()
            yield answers

    def _fit(self, tile: Tile, member: Predictor, shape: Sequence[int]) -> Tile:
        if self.halo is None or member.halo is None:
            halos = [(0, 0)] * len(shape)
        else:
            halos = list(zip(self.halo, member.halo, strict=True))
        spans = [
            fit_span(span, length, round_up(wide, step), round_up(narrow, stride), stride)
            for span, length, (wide, narrow), step, stride in zip(
                tile.spans, shape, halos, self.strides, member.strides, strict=True
            )
        ]
        return Tile(tuple(spans))


def fit_span(span: Span, length: int, halo: int, own_halo: int, stride: int) -> Span:
    """Return a tile along one axis with the same kept part, as a member of the ensemble would cut it.

    Parameters
    ----------
    span : Span
        One of `plan`, cut with `halo` and a multiple of `stride`.
    length : int
        Of the image along this axis, pixels.
    halo : int
        What tiles of the ensemble were cut with.
    own_halo : int
        What the member needs: at most `halo`, a multiple of `stride`.
    stride : int
        The member's.

    Returns
    -------
    Span
        Of one length for all tiles of an image. For the member that asked for `halo` and the ensemble's stride it is
        `span` itself.
    """
    padded = round_up(length, stride)
    if (span.keep_start, span.keep_stop) == (0, length):
        return Span(0, padded, 0, length)
    side = min(span.stop - span.start - halo + own_halo, padded)
    start = min(max(span.keep_start - own_halo, 0), padded - side)
    return Span(start, start + side, span.keep_start, span.keep_stop)


class _Sum:
    """The answers of the members for one tile, added up."""

    def __init__(self, info: ModelInfo) -> None:
        self._joined, self._votes_count = info.task == "instances", info.combine == "vote"
        self._mean: Tensor | None = None
        self._votes: Tensor | None = None
        self._members = len(info.members)

    def add(self, logits: Tensor) -> None:
        """Add the logits (1, K, [Z], Y, X) of one more member."""
        if self._votes_count:
            classes = outputs.join_object(logits) if self._joined else logits
            index = outputs.class_index(classes).long()[:, None]
            votes = torch.zeros(classes.shape, dtype=torch.float32, device=classes.device).scatter_(1, index, 1.0)
            self._votes = votes if self._votes is None else self._votes.add_(votes)
        if self._members == 1:
            self._mean = logits
            return
        probabilities = logits.float().softmax(dim=1)
        self._mean = probabilities if self._mean is None else self._mean.add_(probabilities)

    def logits(self) -> Tensor:
        """Return logits (1, K, [Z], Y, X) whose softmax is the mean of the members' probabilities."""
        assert self._mean is not None
        return self._mean if self._members == 1 else (self._mean / self._members).clamp_min(_LEAST).log()

    def winner(self) -> Tensor:
        """Return the number of the class with the most votes, ([Z], Y, X) uint8."""
        assert self._votes is not None
        logits = outputs.join_object(self.logits()) if self._joined else self.logits()
        # Half a probability is less than a vote: it decides only between equal numbers of votes.
        return outputs.class_index(self._votes + logits.float().softmax(dim=1) / 2)[0]
