import pytest
import torch
from torch.nn import functional as F

from napari_segnet.errors import ConfigError
from napari_segnet.models.r2unet import RecurrentConv
from napari_segnet.models.registry import build_network
from napari_segnet.predict.receptive_field import receptive_field


def built(**options):
    torch.manual_seed(0)
    return build_network("r2unet", channels=1, outputs=2, options={"width": 2, "depth": 2, **options})


def parameters(network):
    return sum(p.numel() for p in network.parameters())


def conv(inputs, outputs, side=3):
    return (side**2 * inputs + 1) * outputs


def unit(inputs, outputs, norms):
    return conv(inputs, outputs, 1) + 2 * (conv(outputs, outputs) + norms * 2 * outputs)


def by_hand(norms):
    """Count weights, with so many normalizations for each recurrent convolution."""
    widths = [64, 128, 256, 512, 1024]
    down = sum(unit(a, b, norms) for a, b in zip([3, *widths[:-1]], widths, strict=True))
    up = sum(conv(2 * w, w) + 2 * w + unit(2 * w, w, norms) for w in widths[:-1])
    return down + up + conv(64, 1, 1)


def test_parameters_are_those_of_the_layers():
    with torch.device("meta"):
        network = build_network("r2unet", channels=3, outputs=1)
    # LeeJunHyun/Image_Segmentation, R2U_Net(3, 1), has one normalization for all times.
    assert by_hand(norms=1) == 39_091_393
    assert parameters(network) == by_hand(norms=3) == 39_114_945


@pytest.mark.parametrize("recurrences", [1, 2, 4])
def test_more_recurrences_need_no_more_weights_but_those_of_normalization(recurrences):
    module = RecurrentConv(8, recurrences)
    assert parameters(module) == conv(8, 8) + (recurrences + 1) * 16
    calls = []
    module.conv.register_forward_hook(lambda *_: calls.append(1))
    module(torch.randn(1, 8, 5, 5))
    assert len(calls) == recurrences + 1


def test_a_recurrent_convolution_unrolled():
    torch.manual_seed(0)
    module = RecurrentConv(4, 2).eval()
    x = torch.randn(2, 4, 6, 7)
    weight, bias = module.conv.weight, module.conv.bias
    scale = 1 / (1 + 1e-5) ** 0.5  # normalization with mean 0 and variance 1, as at the start
    first = F.relu(scale * F.conv2d(x, weight, bias, padding=1))
    second = F.relu(scale * F.conv2d(x + first, weight, bias, padding=1))
    third = F.relu(scale * F.conv2d(x + second, weight, bias, padding=1))
    assert torch.allclose(module(x), third, atol=1e-6)


def test_after_measuring_statistics_it_answers_as_it_did_while_learning():
    # With one normalization for all times, as in LeeJunHyun/Image_Segmentation, they differ by more than a deviation.
    torch.manual_seed(0)
    network = built(width=8)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    x = torch.randn(4, 1, 64, 64)
    with torch.no_grad():
        learning = network.train()(x)
        in_use = network.eval()(x)
    assert float((learning - in_use).std()) < 0.02 * float(learning.std())


def test_the_unit_has_a_shortcut():
    network = built()
    unit_ = network.down[0].eval()
    torch.nn.init.zeros_(unit_.recurrent[1].conv.weight)
    torch.nn.init.constant_(unit_.recurrent[1].conv.bias, -1.0)
    x = torch.randn(1, 1, 8, 8)
    assert torch.equal(unit_(x), unit_.widen(x))


def test_each_recurrence_looks_further():
    # A unit applies its convolutions 2 (t + 1) times: at full resolution twice (down, up), and once at half of it.
    fields = [receptive_field(built(depth=1, recurrences=t), 1, (2, 2), limit=128) for t in (1, 2, 3)]
    assert fields == [18, 26, 34]


def test_stages_are_the_coarser_decoder_levels():
    network = built(depth=3)
    shapes = {}
    for name in network.stages:
        network.get_submodule(name).register_forward_hook(lambda *args, name=name: shapes.update({name: args[2].shape}))
    network(torch.randn(1, 1, 32, 48))
    assert shapes == {"up.0": (1, 8, 8, 12), "up.1": (1, 4, 16, 24)}


@pytest.mark.parametrize(("option", "value"), [("width", 0), ("depth", 9), ("recurrences", 0), ("t", 2)])
def test_bad_options_are_refused(option, value):
    with pytest.raises(ConfigError, match=option):
        build_network("r2unet", channels=1, outputs=2, options={option: value})
