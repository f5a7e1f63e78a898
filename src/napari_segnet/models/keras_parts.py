"""Layers as Keras makes them, so that networks that were published in Keras are the same here to the last digit.

Keras and torch differ in small things: batch normalization adds 0.001 to the variance (torch 0.00001) and keeps 99 %
of its running statistics a step (torch 90 %), a transposed convolution with ``padding="same"`` drops lines at its end
only, and weights start differently. See https://keras.io/api/layers.
"""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor, nn

Initializer = Literal["he_normal", "he_uniform", "glorot_uniform"]
"""Names of Keras: He et al. 2015, https://arxiv.org/abs/1502.01852; Glorot and Bengio 2010."""

EPSILON = 1e-3
_MOMENTUM = 0.01  # torch's word for 1 - 0.99
_TRUNCATED_SPREAD = 0.87962566103423978
"""Standard deviation of a standard normal distribution that is cut off at -2 and 2."""


def normalization(channels: int) -> nn.BatchNorm2d:
    """Make a batch normalization with Keras' constants."""
    return nn.BatchNorm2d(channels, eps=EPSILON, momentum=_MOMENTUM)


class UpConvolution(nn.ConvTranspose2d):
    """A transposed convolution of stride 2 with ``padding="same"``: twice the resolution."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__(inputs, outputs, kernel, stride=2)

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:  # noqa: A002 - torch's name
        """Map (B, inputs, Y, X) to (B, outputs, 2Y, 2X)."""
        y = super().forward(input, output_size)
        # A kernel of 3 reaches one line further, which Keras drops at the bottom and at the right.
        return y[..., : 2 * input.shape[-2], : 2 * input.shape[-1]]


def initialize(network: nn.Module, kernels: Initializer) -> None:
    """Give convolutions of 3 x 3 pixels the initial weights that are asked for, and all others Keras' own.

    Those are Glorot's for transposed convolutions and for the last layer, and zero for biases.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            plain = isinstance(module, nn.Conv2d) and module.kernel_size != (1, 1)
            _fill(module.weight, kernels if plain else "glorot_uniform")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _fill(weight: Tensor, how: Initializer) -> None:
    if how == "he_uniform":
        nn.init.kaiming_uniform_(weight, nonlinearity="relu")
    elif how == "glorot_uniform":
        nn.init.xavier_uniform_(weight)
    else:
        spread = math.sqrt(2 / weight[0].numel()) / _TRUNCATED_SPREAD
        nn.init.trunc_normal_(weight, std=spread, a=-2 * spread, b=2 * spread)
