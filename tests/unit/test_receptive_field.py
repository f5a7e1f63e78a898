import pytest
import torch
from torch import nn
from torch.nn import functional as F

from napari_segnet.predict.receptive_field import receptive_field


def convolutions(*sizes, dilation=1):
    return nn.Sequential(*(nn.Conv2d(1, 1, s, padding=dilation * (s // 2), dilation=dilation) for s in sizes))


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (convolutions(1), 0),
        (convolutions(3), 1),
        (convolutions(3, 3, 5), 4),
        (convolutions(3, 3, dilation=4), 8),
        (nn.MaxPool2d(3, stride=1, padding=1), 1),
        (
            nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(1), nn.Conv2d(1, 2, 3, padding=1)),
            2,
        ),
    ],
)
def test_known_answers(network, expected):
    assert receptive_field(network, 1, (1, 1)) == expected


class Hourglass(nn.Module):
    """Halve, convolve by 3 x 3, double: 2 pixels each side, plus what the phase of the grid adds."""

    def __init__(self, factor, mode="nearest"):
        super().__init__()
        self.conv, self.factor, self.mode = nn.Conv2d(1, 1, 3, padding=1), factor, mode

    def forward(self, x):
        low = self.conv(F.avg_pool2d(x, self.factor))
        return F.interpolate(low, scale_factor=float(self.factor), mode=self.mode)


@pytest.mark.parametrize(("factor", "mode", "expected"), [(2, "nearest", 2), (8, "nearest", 8), (4, "bilinear", 8)])
def test_pooling_and_upsampling(factor, mode, expected):
    assert receptive_field(Hourglass(factor, mode), 1, (factor, factor)) == expected


def test_zero_weights_still_count():
    network = convolutions(7)
    nn.init.zeros_(network[0].weight)
    assert receptive_field(network, 1, (1, 1)) == 3


def test_the_longer_direction_counts():
    assert receptive_field(nn.Conv2d(1, 1, (1, 9), padding=(0, 4)), 1, (1, 1)) == 4
    assert receptive_field(nn.Conv2d(1, 1, (9, 1), padding=(4, 0)), 1, (1, 1)) == 4


def test_a_far_reach_is_found_up_to_the_limit():
    assert receptive_field(convolutions(3, dilation=300), 1, (1, 1)) == 300
    assert receptive_field(convolutions(3, dilation=300), 1, (1, 1), limit=299) is None


class Squeeze(nn.Module):
    def forward(self, x):
        return x * x.mean(dim=(2, 3), keepdim=True).sigmoid()


@pytest.mark.parametrize("network", [Squeeze(), nn.GroupNorm(1, 1), nn.InstanceNorm2d(1)])
def test_what_looks_at_the_whole_image_is_unbounded(network):
    assert receptive_field(network, 1, (1, 1), limit=512) is None


def test_the_network_keeps_its_weights_and_its_mode():
    network = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.BatchNorm2d(1)).train()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    assert receptive_field(network, 1, (1, 1)) == 1
    assert network.training
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
