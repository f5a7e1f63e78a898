"""A trained network applied to whole images: tile by tile, with memory for one tile at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_segnet.axes import counted, per_axis
from napari_segnet.config import PredictConfig
from napari_segnet.data.normalization import Limits
from napari_segnet.devices import (
    autocast_dtype,
    channels_last,
    empty_cache,
    is_out_of_memory,
    pick_device,
    reused_memory,
)
from napari_segnet.errors import ConfigError, DataError, SegNetError
from napari_segnet.models.info import ModelInfo
from napari_segnet.predict import crf, outputs, scales
from napari_segnet.predict.classes import output_classes
from napari_segnet.predict.folding import fold_normalization
from napari_segnet.predict.memory import bytes_per_pixel
from napari_segnet.predict.planning import TilePlanner
from napari_segnet.predict.reading import TileReader
from napari_segnet.predict.tiles import Span, Tile
from napari_segnet.predict.wanted import Wanted, answers_of

_TILE, _VOLUME_TILE = 1024, 128
"""Sides of what is kept of a tile, pixels: of a plane and of a volume."""


@dataclass(frozen=True)
class _Batch:
    """Answers for some tiles, on their way to the host; `ready` says when they have arrived."""

    tiles: Sequence[Tile]
    answers: Sequence[dict[str, Tensor]]
    ready: torch.cuda.Event | None


class Predictor:
    """Applies a network to images of any size.

    Parameters
    ----------
    network : torch.nn.Module
        Maps (B, C, [Z], Y, X) float32 to logits (B, K, [Z], Y, X). It is moved to the device, into evaluation mode.
    info : ModelInfo
        What its model file says of it.
    config : PredictConfig
    device : torch.device, optional
        Default: the one that `config.device` names.
    on_notice : callable, optional
        Told in a sentence when memory is short and tiles were made smaller.

    Raises
    ------
    ConfigError
        If a CRF is asked for, but the model predicts volumes.

    Attributes
    ----------
    classes : tuple of LabelClass
        The classes of labels and probabilities, in order: background and object for a model of instances.
    label_dtype : numpy.dtype
        The smallest unsigned type that holds their values.
    halo : tuple of int, or None
        What is cut off each side of a tile along each axis, pixels; None: the whole image is one tile.
    strides : tuple of int
        What the sides and places of tiles have to be multiples of, pixels: at each size that they are seen in, too.
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
        self.info, self.config = info, config
        self.device = device or pick_device(config.device)
        self.classes = output_classes(info)
        self.label_dtype = np.dtype(np.min_scalar_type(max(c.value for c in self.classes)))
        halo = info.receptive_field if config.exact else info.halo if config.halo is None else config.halo
        self._ndim = len(info.axes)
        if config.crf and self._ndim != 2:
            raise ConfigError(f"A CRF refines planes, but this model predicts volumes ({info.axes}).", "Leave it out.")
        self._scales = scales.all_scales(config.tta_scales)
        self.strides = scales.tile_strides(info.strides, self._scales)
        self.halo = None if halo is None else scales.wide_halo(per_axis(halo, self._ndim), self._scales)
        self._values = np.array([c.value for c in self.classes], self.label_dtype)
        self._on_notice = on_notice or (lambda _text: None)
        self._autocast = autocast_dtype(self.device, "float32" if config.exact else config.precision)
        self._bytes_per_pixel: float | None = None
        core = config.tile or (_VOLUME_TILE if self._ndim == 3 else _TILE)
        self._planner = TilePlanner(self.device, core, config.batch_size, self.halo, self.strides, self._on_notice)
        self._network = self._make_ready(network)

    def _make_ready(self, network: nn.Module) -> nn.Module:
        network = network.to(self.device, memory_format=channels_last(self._ndim)).eval()  # type: ignore[call-overload]
        return network if self.config.exact else fold_normalization(network, self.info.channels, self.info.strides)

    @property
    def spatial(self) -> str:
        """The axes of what images are cut into: those that the model sees, or of volumes for orthoplanes."""
        return "ZYX" if self.config.orthoplanes else self.info.axes

    def empty_outputs(
        self, shape: tuple[int, ...], *, probabilities: bool = False, uncertainty: bool = False
    ) -> dict[str, NDArray[Any]]:
        """Make arrays in memory for images of a ([Z], Y, X) shape, as keyword arguments of `predict_plane`."""
        made = {"labels_out": np.empty(shape, self.label_dtype)}
        if probabilities:
            made["probabilities_out"] = np.empty((len(self.classes), *shape), np.float32)
        if uncertainty:
            made["uncertainty_out"] = np.empty(shape, np.float32)
        return made

    def predict_plane(
        self,
        image: Any,
        *,
        labels_out: Any = None,
        probabilities_out: Any = None,
        uncertainty_out: Any = None,
        interior_out: Any = None,
        limits: Limits | None = None,
        on_progress: Callable[[int, int], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> bool:
        """Predict one plane, or one volume, and write what is wanted into the arrays that are given.

        Parameters
        ----------
        image : array-like (C, [Z], Y, X)
            Any dtype; numpy, memory map, zarr or dask: it is sliced tile by tile.
        labels_out : array-like ([Z], Y, X), optional
            Gets the value of the likeliest class; of equally likely ones the first. `label_dtype` or wider.
        probabilities_out : array-like (K, [Z], Y, X) float32, optional
            Gets the probability of each of `classes`.
        uncertainty_out : array-like ([Z], Y, X) float32, optional
            Gets the entropy of the classes, 0 .. 1.
        interior_out : array-like ([Z], Y, X) float32, optional
            For a model of instances: gets the probability of an object's inside, boundary excluded.
        limits : (low, high), optional
            From `Normalization.limits`; default: those of this image.
        on_progress : callable, optional
            Called with the tiles done so far, and how many there are.
        should_stop : callable, optional
            Asked between tiles.

        Returns
        -------
        bool
            False if it was stopped: then the outputs are incomplete.

        Raises
        ------
        DataError
            If the image doesn't fit the model.
        SegNetError
            If memory runs out even with the smallest tiles.
        """
        wanted = Wanted(labels_out, probabilities_out, uncertainty_out, interior_out)
        steps = self.iterate(image, wanted, limits)
        while should_stop is None or not should_stop():
            counts = next(steps, None)
            if counts is None:
                return True
            if on_progress is not None:
                on_progress(*counts)
        steps.close()
        return False

    def iterate(self, image: Any, wanted: Wanted, limits: Limits | None = None) -> Generator[tuple[int, int]]:
        """Predict as `predict_plane` does, a batch of tiles a step.

        Yields
        ------
        (done, total) : (int, int)
            Tiles, and the iterations of a CRF. When memory ran out, counting starts again with smaller tiles.
        """
        self._check(image)
        wanted.check(image.shape[1:], len(self.classes))
        limits = limits or self.info.normalization.limits(image)
        yield from (self._iterate_refined if self.config.crf else self._iterate_tiles)(image, wanted, limits)

    def _iterate_refined(self, image: Any, wanted: Wanted, limits: Limits) -> Iterator[tuple[int, int]]:
        """Predict the probabilities of the whole plane, refine them with a CRF, and write what is wanted of that."""
        shape = tuple(image.shape[1:])
        device = crf.choose_device(self.device, len(self.classes), self.info.channels, shape)
        if device.type != self.device.type:
            self._on_notice(f"The CRF is computed on the CPU: {self.device} can't do it, or has not memory enough.")
        options = self.config.crf_options
        joined = np.empty((len(self.classes), *shape), np.float32)
        total = 0
        for done, total in self._iterate_tiles(image, Wanted(probabilities=joined, interior=wanted.interior), limits):
            yield done, total + options.iterations
        colours = torch.from_numpy(crf.colours_of(np.asarray(image[...]), self.info.normalization, limits)).to(device)
        refined = torch.from_numpy(joined).to(device)
        steps = crf.mean_field(refined, colours, options)
        for n in range(1, options.iterations + 1):
            refined = next(steps)
            if n < options.iterations:
                yield total + n, total + options.iterations
        whole = Tile(tuple(Span(0, length, 0, length) for length in shape))
        wanted = replace(wanted, interior=None)
        logarithms = refined[None].clamp_min(1e-30).log()
        answers = {name: answer.cpu() for name, answer in answers_of(logarithms, wanted).items()}
        self._finish(_Batch([whole], [answers], ready=None), wanted)
        yield total + options.iterations, total + options.iterations

    def _iterate_tiles(self, image: Any, wanted: Wanted, limits: Limits) -> Iterator[tuple[int, int]]:
        reader = self.open_reader(image, limits)
        while True:
            tiles = self._planner.plan(image.shape[1:], self.memory_per_pixel)
            try:
                with reused_memory(self.device):
                    yield from self._run(reader, tiles, wanted)
                return
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            # Only here are the error, and the tensors that it holds, gone: now there is memory to go on with.
            empty_cache(self.device)
            self._planner.shrink(tiles)

    def open_reader(self, image: Any, limits: Limits) -> Any:
        """Return what reads the tiles of an image as the network sees them."""
        low, high = limits
        return TileReader(image, low, high, self.info.normalization.clip, self.device)

    def _check(self, image: Any) -> None:
        if image.ndim != 1 + self._ndim or 0 in image.shape:
            remedy = f"Give (C, {', '.join(self.info.axes)})."
            raise DataError(f"An image of shape {tuple(image.shape)} can't be predicted.", remedy)
        if image.shape[0] != self.info.channels:
            raise DataError(
                f"The image has {counted(image.shape[0], 'channel')}, "
                f"but the model was trained on {counted(self.info.channels, 'channel')}.",
                "Choose images with the same channels, in the same order.",
            )
        if np.dtype(image.dtype).kind not in "buif":
            raise DataError(f"An image of type {image.dtype} can't be predicted.", "Convert it to real numbers.")

    def memory_per_pixel(self) -> float:
        """Return the memory that the network takes for each pixel of a tile, at the largest of its sizes; bytes."""
        if self._bytes_per_pixel is None:
            with self._precision():
                self._bytes_per_pixel = bytes_per_pixel(self._network, self.info.channels, self.info.strides)
        return self._bytes_per_pixel * max(self._scales) ** self._ndim

    @contextlib.contextmanager
    def _precision(self) -> Iterator[None]:
        # TF32 keeps 10 bits of the mantissa: what was asked for as float32 has to be float32.
        exact = {"enabled": True, "benchmark": False, "deterministic": True, "allow_tf32": False}
        with contextlib.ExitStack() as stack:
            if self._autocast is not None:
                stack.enter_context(torch.autocast(self.device.type, self._autocast))
            elif self.device.type == "cuda":
                stack.enter_context(torch.backends.cudnn.flags(**exact))
            yield

    def _run(self, reader: TileReader, tiles: Sequence[Tile], wanted: Wanted) -> Iterator[tuple[int, int]]:
        done, together = 0, self._planner.batch_size
        waiting: _Batch | None = None
        for first in range(0, len(tiles) + together, together):
            batch = tiles[first : first + together]
            # Not around the yield: whoever asked for this prediction has modes of their own.
            with torch.inference_mode(), self._precision():
                # A GPU works on this batch while the answers of the one before are written.
                begun = self._begin(reader, batch, wanted) if batch else None
            if waiting is not None:
                self._finish(waiting, wanted)
                done += len(waiting.tiles)
                yield done, len(tiles)
            waiting = begun

    def _begin(self, reader: TileReader, tiles: Sequence[Tile], wanted: Wanted) -> _Batch:
        answers = [self._to_host(answers) for answers in self._answer_tiles(reader, tiles, wanted)]
        ready = None
        if self.device.type == "cuda":
            ready = torch.cuda.Event()  # type: ignore[no-untyped-call]
            ready.record(torch.cuda.current_stream(self.device))
        return _Batch(tiles, answers, ready)

    def _answer_tiles(self, reader: Any, tiles: Sequence[Tile], wanted: Wanted) -> Iterator[dict[str, Tensor]]:
        for logits in self.tile_logits(reader, tiles):
            yield self._answers(logits, wanted)

    def tile_logits(self, reader: TileReader, tiles: Sequence[Tile]) -> Iterator[Tensor]:
        """Yield the logits (1, K, [Z], Y, X) of what is kept of each tile."""
        logits = self._forward(reader.read(tiles))
        if logits.shape[1] != self.info.outputs:
            raise SegNetError(f"The network has {logits.shape[1]} outputs instead of {self.info.outputs}.")
        for n, tile in enumerate(tiles):
            yield logits[(slice(n, n + 1), slice(None), *tile.core)]

    def _forward(self, batch: Tensor) -> Tensor:
        if not self.config.tta and len(self._scales) == 1:
            logits: Tensor = self._network(batch)
            return logits
        mean: Tensor | None = None
        symmetries = outputs.symmetries(self._ndim) if self.config.tta else [outputs.AS_IT_IS]
        for scale in self._scales:
            sized = scales.resize(batch, [round(length * scale) for length in batch.shape[2:]])
            for symmetry in symmetries:
                turned = outputs.transform(sized, symmetry).contiguous(memory_format=channels_last(self._ndim))
                answer = outputs.transform_back(self._network(turned).float().softmax(dim=1), symmetry)
                answer = scales.resize(answer, batch.shape[2:])
                mean = answer if mean is None else mean.add_(answer)
        assert mean is not None
        # Logarithms of probabilities are logits: from here on it is as without averaging.
        return mean.div_(len(self._scales) * len(symmetries)).clamp_min_(1e-30).log_()

    def _answers(self, logits: Tensor, wanted: Wanted) -> dict[str, Tensor]:
        inside = {}
        if wanted.interior is not None:
            inside["interior"] = logits.float().softmax(dim=1)[0, 1]
        if self.info.task == "instances":
            logits = outputs.join_object(logits)
        return inside | answers_of(logits, wanted)

    def _to_host(self, answers: dict[str, Tensor]) -> dict[str, Tensor]:
        if self.device.type != "cuda":
            return {name: answer.cpu() for name, answer in answers.items()}
        on_host = {}
        for name, answer in answers.items():
            host = torch.empty(answer.shape, dtype=answer.dtype, pin_memory=True)
            on_host[name] = host.copy_(answer, non_blocking=True)
        return on_host

    def _finish(self, batch: _Batch, wanted: Wanted) -> None:
        if batch.ready is not None:
            batch.ready.synchronize()
        for tile, answers in zip(batch.tiles, batch.answers, strict=True):
            for name, array in wanted.arrays().items():
                answer = answers[name].numpy()
                if name == "labels":
                    array[tile.write] = self._to_values(answer)
                elif name == "probabilities":
                    array[(slice(None), *tile.write)] = answer
                else:
                    array[tile.write] = answer

    def _to_values(self, index: NDArray[np.uint8]) -> NDArray[Any]:
        first = self._values[0]
        if (self._values == np.arange(len(self._values)) + first).all():
            return index if first == 0 else index.astype(self.label_dtype, copy=False) + first
        return self._values.take(index)
