"""Whether a network, its encoder, the channels and the patch go together: asked before anything is learned."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from napari_segnet.axes import per_axis, times
from napari_segnet.config import RunConfig
from napari_segnet.errors import ConfigError
from napari_segnet.models.registry import build_network, strides_of
from napari_segnet.predict.tiles import round_up


def fit_patch(config: RunConfig, ndim: int, channels: int, outputs: int, *, asked: bool) -> RunConfig:
    """Make the patch one that the network takes.

    Parameters
    ----------
    config : RunConfig
        Everything decided but this.
    ndim : int
        2 for planes, 3 for volumes.
    channels, outputs : int
    asked : bool
        Whether the user has set the patch: then it is refused where it doesn't fit, not changed.

    Returns
    -------
    RunConfig

    Raises
    ------
    ConfigError
        If the network can't be built as it is asked for, or its patch doesn't fit.
    """
    network = _without_memory(config, channels, outputs)
    strides = strides_of(network, ndim)
    size = config.train.patch_size
    if isinstance(size, tuple) and ndim == 2:
        raise ConfigError(
            f"A patch of {_times(size)} pixels is one of a volume, but {config.model.network} is for planes.",
            "Set train.patch_size to one number, or choose a network for volumes, such as dynunet.",
        )
    patch = per_axis(size, ndim)
    fitting = tuple(round_up(side, stride) for side, stride in zip(patch, strides, strict=True))
    if fitting != patch:
        if asked:
            raise ConfigError(
                f"Patches of {_times(patch)} pixels don't fit this network, "
                f"which needs multiples of {_times(strides)}.",
                f"Set train.patch_size to {_setting(fitting)}.",
            )
        patch = fitting
    _check_smallest(network, channels, patch, strides)
    # One number is a square; a box has three, also where they are the same.
    fitted = patch[0] if ndim == 2 else patch
    if fitted == size:
        return config
    return config.replace(train={**config.train.explicit(), "patch_size": fitted})


def _without_memory(config: RunConfig, channels: int, outputs: int) -> nn.Module:
    model = config.model
    weights = "none"  # only its shape is looked at
    options = {"channels": channels, "outputs": outputs, "encoder": model.encoder, "options": model.options}
    options["norm"] = model.norm
    try:
        with torch.device("meta"):
            return build_network(model.network, weights=weights, **options)  # type: ignore[arg-type]
    except RuntimeError:
        # Some encoders compute with their weights while they are built.
        return build_network(model.network, weights=weights, **options).to("meta")  # type: ignore[arg-type]


def _check_smallest(network: nn.Module, channels: int, patch: Sequence[int], strides: Sequence[int]) -> None:
    """Refuse patches that leave a batch normalization a single value: it has no spread to be divided by."""
    try:
        network.train()(torch.empty((1, channels, *patch), device="meta"))
    except ValueError as error:
        if "more than 1 value" not in str(error):
            raise
        larger = [side + stride for side, stride in zip(patch, strides, strict=True)]
        raise ConfigError(
            f"Patches of {_times(patch)} pixels are too small for this network: a single pixel is left of them.",
            f"Set train.patch_size to {_setting(larger)}.",
        ) from error
    except (RuntimeError, NotImplementedError):
        return  # not every layer can be asked without numbers


def _times(lengths: Sequence[int]) -> str:
    lengths = lengths if len(set(lengths)) > 1 or len(lengths) > 2 else lengths[:1]
    return times(lengths)


def _setting(lengths: Sequence[int]) -> str:
    return str(lengths[0]) if len(set(lengths)) == 1 and len(lengths) == 2 else str(list(lengths))
