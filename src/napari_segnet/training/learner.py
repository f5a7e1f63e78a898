"""What learns: the network, its averaged copy, the optimizer, and everything that a checkpoint has to hold."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from napari_segnet.config import TrainConfig
from napari_segnet.data.labels import IGNORE
from napari_segnet.data.sampling import Place
from napari_segnet.devices import autocast_dtype, channels_last
from napari_segnet.errors import SegNetError
from napari_segnet.training import averaging, hard_patches
from napari_segnet.training.deep_supervision import at_size, listening, plain
from napari_segnet.training.losses import Loss, SegmentationLoss, soft_cross_entropy
from napari_segnet.training.optimizers import optimizer_spec
from napari_segnet.training.parameters import parameter_groups, separate_encoder
from napari_segnet.training.schedule import Pace

_CORRECTED = 8
"""Pixels around a stroke for which it says that an earlier answer was wrong."""


@dataclass
class Counters:
    """The numbers of a run: what a checkpoint holds besides tensors.

    `batch_size` is how many patches are learned from at once: fewer than there are in a step where gradients are
    accumulated. `collected` counts the weights in stochastic weight averaging. `hard` are places of patches with their
    losses, see `hard_patches`.
    """

    step: int = 0
    seconds: float = 0.0
    loss_sum: float = 0.0
    loss_steps: int = 0
    confusion: list[list[int]] = field(default_factory=list)
    history: list[dict[str, float | int | None]] = field(default_factory=list)
    best: float | None = None
    best_epoch: int = 0
    batch_size: int = 0
    collected: int = 0
    frozen: bool = False
    hard: list[list[float]] = field(default_factory=list)


@dataclass(frozen=True)
class Batch:
    """Patches on the training device: images (B, C, [Z], Y, X), targets (B, [Z], Y, X) int64.

    `guide` (B, K, [Z], Y, X), where there is one, holds soft targets for pixels without annotation; its sum over the
    classes is their weight in the loss. `weights` (B, [Z], Y, X) are those of pixels, for losses that have a place for
    them. `places` say where patches come from, where the worst are to be shown again.
    """

    images: Tensor
    targets: Tensor
    guide: Tensor | None = None
    weights: Tensor | None = None
    places: tuple[Place, ...] = ()

    def parts(self, size: int) -> Iterator[Batch]:
        """Yield the batch in parts of at most `size` patches."""
        for start in range(0, len(self.images), size):
            part = slice(start, start + size)
            yield Batch(
                self.images[part],
                self.targets[part],
                None if self.guide is None else self.guide[part],
                None if self.weights is None else self.weights[part],
                self.places[part],
            )


class NotANumberError(SegNetError):
    """The loss became infinite or NaN."""


class Learner:
    """A network that learns, one batch at a time.

    Parameters
    ----------
    network : torch.nn.Module
    loss : callable
        A loss of `losses.LOSSES`.
    weights : (K,) Tensor
        Weight of each class.
    config : TrainConfig
    device : torch.device
    trained : bool
        Whether the network knows something already: then its average doesn't forget it in the first steps.
    anchored : bool
        Whether what the network says now stays a soft target: see `remembered`.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: Loss,
        weights: Tensor,
        config: TrainConfig,
        device: torch.device,
        trained: bool = False,
        anchored: bool = False,
    ) -> None:
        self.config, self.device, self.loss = config, device, loss
        self._trained = trained
        self.network = _laid_out(network.to(device))
        self.average = copy.deepcopy(plain(self.network)).eval().requires_grad_(False)
        self._start = copy.deepcopy(self.average) if anchored else None
        self.weights = weights.to(device)
        self.dtype = autocast_dtype(device, config.precision)
        self._encoder = separate_encoder(self.network, config)
        self._encoder_weights = (
            [p for p in self._encoder.parameters() if p.requires_grad] if self._encoder is not None else []
        )
        groups = parameter_groups(self.network, self._encoder, config)
        options = optimizer_spec(config.optimizer).read(config.optimizer_options)
        self.optimizer = options.build(groups, config.learning_rate)
        outputs = len(weights)
        self.counters = Counters(
            confusion=[[0] * outputs for _ in range(outputs)],
            batch_size=config.batch_size,
            frozen=config.freeze_encoder > 0,
        )
        self._refreshed_at = -1

    def forward(self, network: nn.Module, images: Tensor) -> Tensor:
        """Run a network in the precision of the run; returns float32 logits."""
        images = images.contiguous(memory_format=channels_last(images.dim() - 2))
        with torch.autocast(self.device.type, self.dtype or torch.bfloat16, enabled=self.dtype is not None):
            logits: Tensor = network(images)
        return logits.float()

    def step(self, batch: Batch, pace: Pace | float) -> float:
        """Learn from one batch.

        Parameters
        ----------
        batch : Batch
            More patches than are learned from at once (``counters.batch_size``) are taken in parts, whose gradients
            are summed up: for losses that are means over the patches nothing changes by it but batch normalization.
        pace : Pace or float
            A number is a learning rate.

        Returns
        -------
        float
            The loss, without that of deep supervision.

        Raises
        ------
        NotANumberError
            If the loss is not a number: the weights are left as they were.
        """
        pace = pace if isinstance(pace, Pace) else Pace(pace)
        self._set_pace(pace)
        torch.manual_seed(self.config.seed * 1_000_003 + self.counters.step)  # dropout draws from here
        self.optimizer.zero_grad(set_to_none=True)
        value, matrix = 0.0, np.array(self.counters.confusion)
        each: list[float] = []
        for part in batch.parts(self.counters.batch_size):
            loss, logits = self._learn_from(part, len(part.images) / len(batch.images))
            value += loss
            each += [float(self._judge(logits, one, part)) for one in range(len(part.places))]
            matrix += confusion(logits.argmax(dim=1), part.targets, logits.shape[1])
        nn.utils.clip_grad_norm_(self.network.parameters(), self.config.gradient_clip)
        self.optimizer.step()
        self._update_average(pace)
        self.counters.step += 1
        self.counters.loss_sum += value
        self.counters.loss_steps += 1
        self.counters.confusion = matrix.tolist()
        self.counters.hard = hard_patches.remember(self.counters.hard, batch.places, each)
        return value

    def _judge(self, logits: Tensor, number: int, part: Batch) -> Tensor:
        """Return the loss of one patch by itself."""
        one = slice(number, number + 1)
        return self._compare(logits[one], part.targets[one], None if part.weights is None else part.weights[one])

    def _compare(self, logits: Tensor, targets: Tensor, pixel_weights: Tensor | None) -> Tensor:
        """Return the loss; only losses that have a place for weights of pixels are told of them."""
        if pixel_weights is None:
            return self.loss(logits, targets, self.weights)
        loss = cast("SegmentationLoss", self.loss)
        return loss(logits, targets, self.weights, pixel_weights=pixel_weights)

    def _set_pace(self, pace: Pace) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = pace.rate * group["scale"]
            if pace.momentum is not None and "betas" in group:
                group["betas"] = (pace.momentum, group["betas"][1])
            elif pace.momentum is not None and group.get("momentum"):
                group["momentum"] = pace.momentum
        self.network.train()
        if self._encoder is not None:
            # In evaluation mode its batch normalization keeps its statistics, too.
            self._encoder.train(not pace.frozen)
            for weight in self._encoder_weights:
                weight.requires_grad_(not pace.frozen)
        self.counters.frozen = pace.frozen

    def _learn_from(self, part: Batch, share: float) -> tuple[float, Tensor]:
        """Add the gradients of a part of a batch; returns its share of the loss, and its logits."""
        with listening(self.network) as coarse:
            logits = self.forward(self.network, part.images)
        loss = self._compare(logits, part.targets, part.weights)
        if part.guide is not None:
            loss = loss + soft_cross_entropy(logits, part.guide, part.targets == IGNORE)
        value = self._finite(loss)
        for level, answer in enumerate(reversed(coarse), start=1):
            coarse_weights = None if part.weights is None else at_size(part.weights, answer)
            loss = loss + 0.5**level * self._compare(answer.float(), at_size(part.targets, answer), coarse_weights)
        if coarse:
            self._finite(loss)
        (loss * share).backward()  # type: ignore[no-untyped-call]
        return value * share, logits.detach()

    def _finite(self, loss: Tensor) -> float:
        value = float(loss.detach())
        if not np.isfinite(value):
            raise NotANumberError(
                f"The loss became {value} at step {self.counters.step + 1}, so learning stopped.",
                "Lower the learning rate (train.learning_rate), or set train.precision to float32.",
            )
        return value

    def belief(self, images: Tensor) -> Tensor:
        """Return what the averaged network thinks of images, sharpened: (B, K, Y, X) probabilities.

        As soft targets they make the network agree with itself on pixels that nobody painted, however their
        intensities were changed (mean teacher, Tarvainen and Valpola 2017, https://arxiv.org/abs/1703.01780;
        sharpening as in MixMatch, Berthelot et al. 2019, https://arxiv.org/abs/1905.02249, with temperature 1/2).
        """
        with torch.no_grad():
            # The running statistics of the network are near enough here; `refresh_average` measures them anew.
            own = dict(plain(self.network).named_buffers())
            for name, value in self.average.named_buffers():
                value.copy_(own[name])
            self._refreshed_at = -1
            squared = self._look_at(self.average, images) ** 2
            return squared / squared.sum(dim=1, keepdim=True)

    def remembered(self, images: Tensor, targets: Tensor) -> Tensor | None:
        """Return what the network thought of images before it learned anything new; None unless it is `anchored`.

        As soft targets it keeps a few strokes on hard places from undoing what was right everywhere else (learning
        without forgetting, Li and Hoiem 2016, https://arxiv.org/abs/1606.09282). Where it hesitated it says little,
        and close to strokes that contradict it nothing: what is corrected there was wrong around them too.

        Parameters
        ----------
        images : (B, C, [Z], Y, X) float32
        targets : (B, [Z], Y, X)

        Returns
        -------
        (B, K, [Z], Y, X) Tensor or None
            Probabilities times confidence (0 where all classes were as likely, 1 where it was certain); zero within
            8 pixels of a contradiction.
        """
        if self._start is None:
            return None
        with torch.no_grad():
            thought = self._look_at(self._start, images)
            wrong = (targets != IGNORE) & (thought.argmax(dim=1) != targets)
            pool = F.max_pool2d if images.dim() == 4 else F.max_pool3d
            near = pool(wrong[:, None].float(), 2 * _CORRECTED + 1, stride=1, padding=_CORRECTED)
            classes = thought.shape[1]
            confidence = (classes * thought.amax(dim=1, keepdim=True) - 1) / (classes - 1)
            return thought * confidence * (1 - near)

    def _look_at(self, network: nn.Module, images: Tensor) -> Tensor:
        """Return probabilities of images, as many at once as are learned from at once: memory may be short."""
        parts = torch.split(images, self.counters.batch_size)
        return torch.cat([self.forward(network, i).softmax(dim=1) for i in parts])

    def _update_average(self, pace: Pace) -> None:
        counters, kind = self.counters, self.config.averaging
        share = 1.0
        if kind == "ema":
            share = averaging.moving_share(self.config, counters.step, self._trained)
        elif kind == "swa":
            epoch_ends = (counters.step + 1) % self.config.steps_per_epoch == 0
            share, counters.collected = averaging.collected_share(counters.collected, pace.collects, epoch_ends)
        averaging.take_in(self.average, plain(self.network), share)

    def refresh_average(self, batches: Callable[[], Iterable[Tensor]]) -> nn.Module:
        """Return the averaged network with batch-norm statistics that belong to its weights.

        See `averaging.measure_norms`. A frozen encoder keeps the statistics that it came with.
        """
        if self._refreshed_at != self.counters.step:
            self.average.train()
            if self.counters.frozen and isinstance(self.average.encoder, nn.Module):
                self.average.encoder.eval()
            averaging.measure_norms(self.average, batches(), lambda images: self.forward(self.average, images))
        self._refreshed_at = self.counters.step
        average: nn.Module = self.average
        return average

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return everything needed to go on exactly: tensors by name, and numbers for JSON."""
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        for index, values in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{k}": torch.as_tensor(v) for k, v in values.items() if v is not None}
        return tensors, asdict(self.counters)

    def load_state(self, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> None:
        """Take over what `state` returned."""
        for prefix, module in (("network.", self.network), ("average.", self.average)):
            module.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith("optimizer."):
                _, index, key = name.split(".", 2)
                state.setdefault(int(index), {})[key] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        self.counters = Counters(**numbers)


def _laid_out(network: nn.Module) -> nn.Module:
    """Put the weights of convolutions into the layout in which they are quickest."""
    ndim = 3 if any(p.dim() == 5 for p in network.parameters()) else 2
    laid_out: nn.Module = network.to(memory_format=channels_last(ndim))  # type: ignore[call-overload]
    return laid_out


def confusion(predicted: Tensor, targets: Tensor, classes: int) -> NDArray[np.int64]:
    """Count pixels by target (rows) and prediction (columns), `IGNORE` left out: (K, K) int64."""
    known = targets != IGNORE
    pairs = targets[known] * classes + predicted[known]
    counts = torch.bincount(pairs, minlength=classes * classes)
    matrix: NDArray[np.int64] = counts.reshape(classes, classes).cpu().numpy()
    return matrix


def dice_of(matrix: NDArray[np.int64], first: int) -> float | None:
    """Return the mean Dice of the classes from number `first` on; None where none of them occurs."""
    matrix = np.asarray(matrix)
    sizes = matrix.sum(axis=0) + matrix.sum(axis=1)
    present = [k for k in range(first, len(matrix)) if sizes[k] > 0]
    if not present:
        return None
    return float(np.mean([2 * matrix[k, k] / sizes[k] for k in present]))
