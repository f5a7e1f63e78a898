"""What learns: the network, its averaged copy, the optimizer, and everything that a checkpoint has to hold."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from napari_segnet.config import TrainConfig
from napari_segnet.data.labels import IGNORE
from napari_segnet.devices import autocast_dtype
from napari_segnet.errors import SegNetError
from napari_segnet.training.losses import Loss, soft_cross_entropy

_CORRECTED = 8
"""Pixels around a stroke for which it says that an earlier answer was wrong."""


@dataclass
class Counters:
    """The numbers of a run: what a checkpoint holds besides tensors."""

    step: int = 0
    seconds: float = 0.0
    loss_sum: float = 0.0
    loss_steps: int = 0
    confusion: list[list[int]] = field(default_factory=list)
    history: list[dict[str, float | int | None]] = field(default_factory=list)
    best: float | None = None
    best_epoch: int = 0
    batch_size: int = 0


@dataclass(frozen=True)
class Batch:
    """Patches on the training device: images (B, C, Y, X), targets (B, Y, X) int64.

    `guide` (B, K, Y, X), where there is one, holds soft targets for pixels without annotation; its sum over the
    classes is their weight in the loss.
    """

    images: Tensor
    targets: Tensor
    guide: Tensor | None = None


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
        self.network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.network).eval().requires_grad_(False)
        self._start = copy.deepcopy(self.average) if anchored else None
        self.weights = weights.to(device)
        self.dtype = autocast_dtype(device, config.precision)
        self.optimizer = torch.optim.AdamW(
            _without_decay_on_scales(self.network, config.weight_decay), lr=config.learning_rate
        )
        outputs = len(weights)
        self.counters = Counters(confusion=[[0] * outputs for _ in range(outputs)], batch_size=config.batch_size)
        self._refreshed_at = -1

    def forward(self, network: nn.Module, images: Tensor) -> Tensor:
        """Run a network in the precision of the run; returns float32 logits."""
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, self.dtype or torch.bfloat16, enabled=self.dtype is not None):
            logits: Tensor = network(images)
        return logits.float()

    def step(self, batch: Batch, learning_rate: float) -> float:
        """Learn from one batch; returns its loss.

        Raises
        ------
        SegNetError
            If the loss is not a number: the weights are left as they were.
        """
        self.network.train()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        torch.manual_seed(self.config.seed * 1_000_003 + self.counters.step)  # dropout draws from here
        self.optimizer.zero_grad(set_to_none=True)
        logits = self.forward(self.network, batch.images)
        loss = self.loss(logits, batch.targets, self.weights)
        if batch.guide is not None:
            loss = loss + soft_cross_entropy(logits, batch.guide, batch.targets == IGNORE)
        value = float(loss.detach())
        if not np.isfinite(value):
            raise SegNetError(
                f"The loss became {value} at step {self.counters.step + 1}, so learning stopped.",
                "Lower the learning rate (train.learning_rate), or set train.precision to float32.",
            )
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), self.config.gradient_clip)
        self.optimizer.step()
        self._update_average()
        self._count(logits.detach(), batch.targets, value)
        return value

    def belief(self, images: Tensor) -> Tensor:
        """Return what the averaged network thinks of images, sharpened: (B, K, Y, X) probabilities.

        As soft targets they make the network agree with itself on pixels that nobody painted, however their
        intensities were changed (mean teacher, Tarvainen and Valpola 2017, https://arxiv.org/abs/1703.01780;
        sharpening as in MixMatch, Berthelot et al. 2019, https://arxiv.org/abs/1905.02249, with temperature 1/2).
        """
        with torch.no_grad():
            # The running statistics of the network are near enough here; `refresh_average` measures them anew.
            own = dict(self.network.named_buffers())
            for name, value in self.average.named_buffers():
                value.copy_(own[name])
            self._refreshed_at = -1
            squared = self.forward(self.average, images).softmax(dim=1) ** 2
            return squared / squared.sum(dim=1, keepdim=True)

    def remembered(self, images: Tensor, targets: Tensor) -> Tensor | None:
        """Return what the network thought of images before it learned anything new; None unless it is `anchored`.

        As soft targets it keeps a few strokes on hard places from undoing what was right everywhere else (learning
        without forgetting, Li and Hoiem 2016, https://arxiv.org/abs/1606.09282). Where it hesitated it says little,
        and close to strokes that contradict it nothing: what is corrected there was wrong around them too.

        Parameters
        ----------
        images : (B, C, Y, X) float32
        targets : (B, Y, X)

        Returns
        -------
        (B, K, Y, X) Tensor or None
            Probabilities times confidence (0 where all classes were as likely, 1 where it was certain); zero within
            8 pixels of a contradiction.
        """
        if self._start is None:
            return None
        with torch.no_grad():
            thought = self.forward(self._start, images).softmax(dim=1)
            wrong = (targets != IGNORE) & (thought.argmax(dim=1) != targets)
            near = F.max_pool2d(wrong[:, None].float(), 2 * _CORRECTED + 1, stride=1, padding=_CORRECTED)
            classes = thought.shape[1]
            confidence = (classes * thought.amax(dim=1, keepdim=True) - 1) / (classes - 1)
            return thought * confidence * (1 - near)

    def _update_average(self) -> None:
        # The average forgets its random start quickly, and gets slow only as the steps become many.
        step = self.counters.step
        decay = self.config.ema if self._trained else min(self.config.ema, (1 + step) / (10 + step))
        with torch.no_grad():
            averaged, own = list(self.average.parameters()), list(self.network.parameters())
            torch._foreach_lerp_(averaged, own, 1 - decay)

    def _count(self, logits: Tensor, targets: Tensor, loss: float) -> None:
        self.counters.step += 1
        self.counters.loss_sum += loss
        self.counters.loss_steps += 1
        matrix = confusion(logits.argmax(dim=1), targets, logits.shape[1])
        self.counters.confusion = (np.array(self.counters.confusion) + matrix).tolist()

    def refresh_average(self, batches: Callable[[], Iterable[Tensor]]) -> nn.Module:
        """Return the averaged network with batch-norm statistics that belong to its weights.

        The running statistics of batch normalization lag behind the weights, which makes early answers swing
        wildly; a few forward passes give the statistics of these very weights (Izmailov et al. 2018,
        https://arxiv.org/abs/1803.05407, do so for averaged weights).
        """
        norms = [m for m in self.average.modules() if isinstance(m, _BatchNorm)]
        if self._refreshed_at != self.counters.step and norms:
            momenta = [norm.momentum for norm in norms]
            for norm in norms:
                norm.reset_running_stats()
                norm.momentum = None  # the plain mean over the batches
            self.average.train()
            with torch.inference_mode():
                for images in batches():
                    self.forward(self.average, images)
            self.average.eval()
            for norm, momentum in zip(norms, momenta, strict=True):
                norm.momentum = momentum
        self._refreshed_at = self.counters.step
        average: nn.Module = self.average
        return average

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return everything needed to go on exactly: tensors by name, and numbers for JSON."""
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        for index, values in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{k}": torch.as_tensor(v) for k, v in values.items()}
        return tensors, asdict(self.counters)

    def load_state(self, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> None:
        """Take over what `state` returned."""
        for prefix, module in (("network.", self.network), ("average.", self.average)):
            module.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith("optimizer."):
                _, index, key = name.split(".")
                state.setdefault(int(index), {})[key] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        self.counters = Counters(**numbers)


def _without_decay_on_scales(network: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Weight decay is for convolutions; biases and the scales of normalization are left alone."""
    weights = [p for p in network.parameters() if p.requires_grad and p.dim() > 1]
    others = [p for p in network.parameters() if p.requires_grad and p.dim() <= 1]
    return [{"params": weights, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]


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
