"""Averages of a network's weights over the steps, and batch-norm statistics that belong to them.

The averaged weights are what is validated, shown and saved: they answer better, and far more steadily, than those of
any single step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from napari_segnet.config import TrainConfig


def moving_share(config: TrainConfig, step: int, trained: bool) -> float:
    """Return the share of this step's weights in the exponential moving average.

    The average forgets a random start quickly, and gets slow only as the steps become many; what was `trained` is
    not forgotten.
    """
    return 1 - (config.ema if trained else min(config.ema, (1 + step) / (10 + step)))


def collected_share(collected: int, collects: bool, epoch_ends: bool) -> tuple[float, int]:
    """Return the share of this step's weights in stochastic weight averaging, and how many were collected by now.

    Izmailov et al. 2018, https://arxiv.org/abs/1803.05407: the plain mean of the weights at the ends of the last
    epochs. Until the first is collected the average is the network itself.
    """
    if collects and epoch_ends:
        return 1 / (collected + 1), collected + 1
    return (0.0 if collected else 1.0), collected


def take_in(average: nn.Module, network: nn.Module, share: float) -> None:
    """Move the weights of `average` so far towards those of `network`: 0 leaves them, 1 makes them the same."""
    with torch.no_grad():
        torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), share)


def measure_norms(network: nn.Module, batches: Iterable[Tensor], forward: Callable[[Tensor], Tensor]) -> None:
    """Give batch normalization the statistics of these very weights.

    The running statistics lag behind the weights, which makes early answers swing wildly; a few forward passes give
    those that belong to them (Izmailov et al. 2018 do so for averaged weights).

    Parameters
    ----------
    network : torch.nn.Module
        In training mode as far as its statistics are to be measured. It is in evaluation mode afterwards.
    batches : iterable of Tensor
    forward : callable
        Runs the network on a batch.
    """
    norms = [m for m in network.modules() if isinstance(m, _BatchNorm) and m.training]
    for module in network.modules():
        if isinstance(module, _DropoutNd):
            module.eval()  # what is used has no dropout, so its statistics are those without
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over the batches
    if norms:
        with torch.inference_mode():
            for images in batches:
                forward(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.eval()
