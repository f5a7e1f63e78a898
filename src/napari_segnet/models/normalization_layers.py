"""Other normalization layers in any network: ``--set model.norm=group``.

Batch normalization needs batches: with one or two patches a step its statistics are poor. Group normalization (Wu and
He 2018, https://arxiv.org/abs/1803.08494) and instance normalization (Ulyanov, Vedaldi and Lempitsky 2016,
https://arxiv.org/abs/1607.08022) look at one image at a time, and do the same in training and in use. What a pixel is
then depends on the whole tile, so tiles agree with the whole image less well.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from napari_segnet.config import NormName
from napari_segnet.errors import ConfigError

_MOST_GROUPS = 32
_BATCH = {nn.InstanceNorm1d: nn.BatchNorm1d, nn.InstanceNorm2d: nn.BatchNorm2d, nn.InstanceNorm3d: nn.BatchNorm3d}


class PooledBatchNorm(nn.BatchNorm2d):
    """Batch normalization behind global pooling: a single image has no spread there, so it is scaled as in use."""

    def forward(self, input: Any) -> Any:  # noqa: A002 - the name that torch gives it
        """Map (B, C, 1, 1) to the same shape."""
        if self.training and input.numel() == input.shape[1]:
            return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, False, 0, self.eps)
        return super().forward(input)


class GroupNormAct(nn.GroupNorm):
    """Group normalization with the dropout and the activation of a layer of timm that holds all three."""

    def __init__(self, groups: int, old: Any) -> None:
        super().__init__(groups, old.num_features, old.eps, old.affine)
        self.drop, self.act = getattr(old, "drop", nn.Identity()), old.act

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name that torch gives it
        """Map (B, C, ...) to the same shape."""
        activated: Tensor = self.act(self.drop(super().forward(input)))
        return activated


def replace_norms(network: nn.Module, kind: NormName) -> None:
    """Replace the batch and instance normalization of a network; scales and shifts are kept.

    Instance normalization is group normalization with a group for each channel: it accepts any size, and is quick in
    every memory layout. Behind global pooling, where a channel is a single value, one group holds all channels.

    Parameters
    ----------
    network : torch.nn.Module
        Changed in place.
    kind : {"batch", "group", "instance"}

    Raises
    ------
    ConfigError
        If the network has none that could be replaced.
    """
    wanted = _InstanceNorm if kind == "batch" else _BatchNorm | _InstanceNorm
    made: dict[nn.Module, nn.Module] = {}
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, wanted):
                if child not in made:
                    made[child] = _replacement(child, kind)
                setattr(parent, name, made[child])
    there = _BatchNorm if kind == "batch" else nn.GroupNorm
    if not any(isinstance(module, there) for module in network.modules()):
        raise ConfigError(
            f"This network has no normalization that {kind} normalization could replace.", "Leave out model.norm."
        )


def groups_of(channels: int) -> int:
    """Return the groups of group normalization: the paper's 32, or fewer where they don't divide the channels.

    A group has two channels at least: with one it would be instance normalization.
    """
    return next(n for n in range(max(1, min(_MOST_GROUPS, channels // 2)), 0, -1) if channels % n == 0)


def _replacement(old: Any, kind: NormName) -> nn.Module:
    new: nn.Module
    if kind == "batch":
        new = _BATCH[type(old)](old.num_features, old.eps, affine=old.affine)
    else:
        groups = groups_of(old.num_features) if kind == "group" else old.num_features
        if isinstance(old, PooledBatchNorm):
            groups = 1
        acts = isinstance(getattr(old, "act", None), nn.Module)
        new = GroupNormAct(groups, old) if acts else nn.GroupNorm(groups, old.num_features, old.eps, old.affine)
    if old.affine:
        new.weight, new.bias = old.weight, old.bias
    return new.train(old.training)
