"""Switchable normalization.

After Luo, Ren, Peng, Zhang and Li (2018), https://arxiv.org/abs/1806.10779: mean and variance are mixed from those of
a channel of an image (instance normalization), of an image (layer normalization), and of a channel of the batch
(batch normalization); the two mixtures are learned. In use the batch's statistics are the running ones, as in batch
normalization; the authors also offer an average over many batches, which `Learner.refresh_average` takes here.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SwitchNorm(nn.BatchNorm2d):
    """Normalize with learned mixtures of the statistics of instances, images and the batch.

    It is a batch normalization to those who measure running statistics anew.

    Parameters
    ----------
    channels : int
        2 values of scale and shift are learned a channel, and 6 weights of the mixtures.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        # The softmax of equal weights: all three statistics count alike at first, as in the paper.
        self.mean_weight = nn.Parameter(torch.ones(3))
        self.var_weight = nn.Parameter(torch.ones(3))

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name that torch gives it
        """Map (B, C, Y, X) to the same shape and type; statistics are computed in float32."""
        x = input.float()
        var, mean = torch.var_mean(x, dim=(2, 3), correction=0, keepdim=True)
        square = var + mean**2
        image_mean = mean.mean(dim=1, keepdim=True)
        image_var = square.mean(dim=1, keepdim=True) - image_mean**2
        batch_mean, batch_var = self._batch(mean, square)
        to_mean, to_var = self.mean_weight.softmax(dim=0), self.var_weight.softmax(dim=0)
        mixed_mean = to_mean[0] * mean + to_mean[1] * image_mean + to_mean[2] * batch_mean
        mixed_var = to_var[0] * var + to_var[1] * image_var + to_var[2] * batch_var
        scale = self.weight[:, None, None] * torch.rsqrt(mixed_var.clamp_min(0) + self.eps)
        return ((x - mixed_mean) * scale + self.bias[:, None, None]).to(input.dtype)

    def _batch(self, mean: Tensor, square: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and variance of each channel, (1, C, 1, 1): those of the batch when learning, which it keeps."""
        running_mean, running_var = self.get_buffer("running_mean"), self.get_buffer("running_var")
        if not self.training:
            return running_mean[None, :, None, None], running_var[None, :, None, None]
        batch_mean = mean.mean(dim=0, keepdim=True)
        batch_var = square.mean(dim=0, keepdim=True) - batch_mean**2
        with torch.no_grad():
            batches = self.get_buffer("num_batches_tracked").add_(1)
            weight = 1 / batches.float() if self.momentum is None else torch.full_like(running_mean[0], self.momentum)
            running_mean.lerp_(batch_mean.flatten(), weight)
            running_var.lerp_(batch_var.flatten(), weight)
        return batch_mean, batch_var
