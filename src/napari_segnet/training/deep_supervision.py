"""Deep supervision: coarse stages of the decoder have to answer too, so that they learn sooner.

After Lee et al. 2015, https://arxiv.org/abs/1409.5185, in the way of nnU-Net (Isensee et al. 2021,
https://doi.org/10.1038/s41592-020-01008-z): a 1 x 1 convolution on each stage, judged at the stage's own resolution,
the coarser the less. The weights are 1/2, 1/4 ... beside 1 for the network's own answer; nnU-Net divides them by
their sum. The heads are thrown away in the end.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_segnet.errors import ConfigError


class DeepSupervised(nn.Module):
    """A network with a head on each of its `stages`.

    Called, it answers as the network itself; what the heads answer is told to who is `listening`.

    Parameters
    ----------
    network : torch.nn.Module
        With an attribute `stages`: names of submodules, coarse to fine, without the last one.
    outputs : int
        Channels of its logits.
    example : (1, C, [Z], Y, X) Tensor
        Something to try it on, to see how many channels the stages have.

    Raises
    ------
    ConfigError
        If the network has no stages.
    """

    def __init__(self, network: nn.Module, outputs: int, example: Tensor) -> None:
        super().__init__()
        self.network = network
        self.stride = network.stride
        found = _channels(network, example)
        if not found:
            raise ConfigError(
                "This network has no stages that deep supervision could judge.",
                "Set train.deep_supervision to false, or use plain-unet, unet, unetplusplus, manet or linknet.",
            )
        self.stages = tuple(found)
        kind = nn.Conv2d if example.dim() == 4 else nn.Conv3d
        self.heads = nn.ModuleList(kind(channels, outputs, 1) for channels in found.values())

    def forward(self, x: Tensor) -> Tensor:
        """Map an image to logits, as the network does."""
        logits: Tensor = self.network(x)
        return logits


def plain(network: nn.Module) -> nn.Module:
    """Return the network that is saved and predicts: without heads that only learning needs."""
    return network.network if isinstance(network, DeepSupervised) else network


@contextlib.contextmanager
def listening(network: nn.Module) -> Iterator[list[Tensor]]:
    """Give a list that, after the block, holds what the heads said of what was run in it.

    Logits (B, outputs, [z], y, x) of each stage, coarse to fine; none where the network is not deeply supervised.
    """
    ordered: list[Tensor] = []
    if not isinstance(network, DeepSupervised):
        yield ordered
        return
    answers: dict[int, Tensor] = {}

    def answer(number: int, features: Tensor) -> None:
        answers[number] = network.heads[number](features)

    with _hooks(network.network, network.stages, answer):
        yield ordered
    ordered += [answers[number] for number in sorted(answers)]


def at_size(targets: Tensor, like: Tensor) -> Tensor:
    """Return targets (B, [Z], Y, X) at the resolution of coarse logits (B, K, [z], y, x), nearest pixels."""
    small = F.interpolate(targets[:, None].float(), size=like.shape[2:], mode="nearest")
    return small[:, 0].to(targets.dtype)


def _channels(network: nn.Module, example: Tensor) -> dict[str, int]:
    """Return how many channels each stage has; stages that have none (some encoders leave one out) are left out."""
    names: tuple[str, ...] = tuple(getattr(network, "stages", ()))
    found: dict[int, int] = {}

    def count(number: int, features: Tensor) -> None:
        found[number] = features.shape[1]

    training = network.training
    with _hooks(network, names, count), torch.no_grad():
        network.eval()(example)
    network.train(training)
    return {name: found[number] for number, name in enumerate(names) if found[number]}


@contextlib.contextmanager
def _hooks(network: nn.Module, names: tuple[str, ...], tell: Callable[[int, Tensor], None]) -> Iterator[None]:
    """Tell the output of submodules while the block runs; nothing stays behind that a copy would take along."""

    def hook(number: int) -> Callable[[nn.Module, Any, Tensor], None]:
        return lambda _module, _inputs, output: tell(number, output)

    handles = [network.get_submodule(name).register_forward_hook(hook(n)) for n, name in enumerate(names)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
