"""The convolutions of the VGG networks, on which the first segmentation networks stand.

Simonyan and Zisserman (2015), https://arxiv.org/abs/1409.1556: 3 x 3 convolutions with ReLU, and pooling that halves
the resolution after each level. The names with ``_bn`` have batch normalization after each convolution. Layers
have torchvision's names, so that its weights fit. Built here and not by smp, because the indices of pooling and
narrower versions are wanted. Weights are drawn as He et al. say; the paper starts from a shallower network that was
trained before.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from torch import Tensor, nn

from napari_segnet._torch import import_smp
from napari_segnet.errors import ConfigError
from napari_segnet.models.encoders import build_on_encoder
from napari_segnet.models.registry import NetworkRequest

_CONVOLUTIONS = {
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}
"""Convolutions of each level, fine to coarse."""

WIDTH = 64
"""Channels of the first level in the paper, and in all pretrained weights."""


class Vgg(nn.Module):
    """The convolutional part of a VGG network.

    Parameters
    ----------
    name : str
        ``vgg11``, ``vgg13``, ``vgg16`` or ``vgg19``, with or without ``_bn``.
    channels : int
        Channels of the image.
    width : int
        Channels of the first level; the next have 2, 4, 8 and 8 times as many.
    levels : int
        How many of the five levels there are.
    indices : bool
        Whether pooling says where each maximum was.

    Attributes
    ----------
    convolutions, widths : list of int
        Convolutions and channels of each level, fine to coarse.
    """

    def __init__(self, name: str, channels: int, width: int = WIDTH, levels: int = 5, indices: bool = False) -> None:
        super().__init__()
        normalized = name.endswith("_bn")
        self.convolutions = list(_CONVOLUTIONS[name.removesuffix("_bn")][:levels])
        self.widths = [width * factor for factor in (1, 2, 4, 8, 8)][:levels]
        layers: list[nn.Module] = []
        for count, (below, inside) in zip(self.convolutions, pairwise([channels, *self.widths]), strict=True):
            for inputs in [below, *[inside] * (count - 1)]:
                layers.append(nn.Conv2d(inputs, inside, 3, padding=1))
                layers += [nn.BatchNorm2d(inside)] if normalized else []
                layers.append(nn.ReLU(inplace=True))
            layers.append(nn.MaxPool2d(2, return_indices=indices))
        self.features = nn.Sequential(*layers)
        he_normal(self)

    def forward(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Map (B, channels, Y, X) to the maps after each pooling, and where in the level each maximum was.

        Level l has (B, widths[l], Y / 2**(l + 1), X / 2**(l + 1)). The second list is empty without `indices`.
        """
        pooled, places = [], []
        for layer in self.features:
            x = layer(x)
            if isinstance(layer, nn.MaxPool2d):
                if layer.return_indices:
                    x, index = x
                    places.append(index)
                pooled.append(x)
        return pooled, places


def he_normal(network: nn.Module) -> None:
    """Draw the weights of all convolutions anew, as He et al. 2015 (https://arxiv.org/abs/1502.01852) do for ReLU."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def build_on_vgg(request: NetworkRequest, width: int, make: Callable[[str], nn.Module]) -> nn.Module:
    """Build a network whose attribute ``encoder`` is a `Vgg`, with the weights that are asked for.

    Parameters
    ----------
    request : NetworkRequest
    width : int
        The one that `make` gives the encoder.
    make : callable
        Gets the encoder's name; returns the network.

    Raises
    ------
    ConfigError
        For an encoder that is no VGG network, or for ImageNet weights of a network that isn't 64 wide.
    SegNetError
        If pretrained weights can't be fetched.
    """

    def made(name: str, weights: str | None) -> nn.Module:
        if name.removesuffix("_bn") not in _CONVOLUTIONS:
            raise ValueError(f"its layers are those of {', '.join(_CONVOLUTIONS)}, and of these with _bn")
        if weights and width != WIDTH:
            raise ConfigError(
                f"There are no ImageNet weights for a VGG network with width {width}.",
                f"Use model.options.width={WIDTH}, or train from scratch with --weights none.",
            )
        network = make(name)
        if weights:
            encoder: nn.Module = network.encoder  # type: ignore[assignment]
            donor = import_smp().encoders.get_encoder(name, in_channels=request.channels, weights=weights)
            theirs = donor.state_dict()
            encoder.load_state_dict({key: theirs[key] for key in encoder.state_dict()})
        return network

    return build_on_encoder(request, made)
