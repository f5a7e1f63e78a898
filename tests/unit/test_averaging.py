"""Statistics of batch normalization, measured anew."""

import pytest
import torch
from torch import nn

from napari_segnet.training.averaging import measure_norms


@pytest.mark.parametrize("dropout", [nn.Dropout(0.5), nn.Dropout2d(0.5), nn.AlphaDropout(0.5)])
def test_statistics_are_those_without_dropout_as_in_use(dropout):
    torch.manual_seed(0)
    network = nn.Sequential(dropout, nn.BatchNorm2d(3)).train()
    images = torch.randn(16, 3, 8, 8) * 2 + 1
    measure_norms(network, [images[:8], images[8:]], network)
    norm = network[1]
    assert torch.allclose(norm.running_mean, images.mean(dim=(0, 2, 3)), atol=0.05)
    assert torch.allclose(norm.running_var, images.var(dim=(0, 2, 3)), rtol=0.05)
    assert not network.training
    assert norm.momentum == 0.1
