"""The networks of the R packages imageseg and platypus, against Keras' summaries of them."""

import pytest
import torch
from torch import nn

from napari_segnet.errors import ConfigError
from napari_segnet.models.keras_parts import UpConvolution
from napari_segnet.models.registry import build_network


def build(name, channels=3, outputs=2, **options):
    torch.manual_seed(0)
    return build_network(name, channels=channels, outputs=outputs, options=options).eval()


def as_keras_counts(network):
    """Return all parameters and the learned ones; Keras counts running statistics as parameters, too."""
    learned = sum(p.numel() for p in network.parameters())
    return learned + sum(b.numel() for name, b in network.named_buffers() if "running" in name), learned


def test_the_summary_of_the_platypus_tutorial():
    with torch.device("meta"):
        network = build("imageseg-unet", outputs=3, filters=16, blocks=4)
    assert as_keras_counts(network) == (2_164_627, 2_161_683)
    assert sum(p.numel() for p in network.up[1].parameters()) == 73_792  # 128 -> 64, 3 x 3
    assert sum(p.numel() for p in network.head.parameters()) == 51


# Keras' count_params of the same layers in TensorFlow 2.15, with one output; ours has one more, of filters + 1 weights.
@pytest.mark.parametrize(
    ("options", "keras"),
    [
        ({"up": "transpose2"}, (1_946_993, 1_944_049)),
        ({"up": "copy"}, (1_968_513, 1_965_569)),
        ({"up": "transpose2", "layers_per_block": 3}, (2_932_177, 2_927_761)),
        ({"up": "copy", "layers_per_block": 3}, (2_953_697, 2_949_281)),
    ],
)
def test_the_options_of_imageseg_count_as_in_keras(options, keras):
    with torch.device("meta"):
        found = as_keras_counts(build("imageseg-unet", **options))
    assert found == tuple(number + 17 for number in keras)


@pytest.mark.parametrize(
    ("blocks", "joined", "convolved"),
    [
        (1, (21_827, 21_603), (26_467, 26_211)),
        (2, (105_747, 105_171), (131_267, 130_563)),
        (3, (457_987, 456_675), (562_211, 560_547)),
        (4, (1_899_827, 1_897_011), (2_297_475, 2_293_827)),
    ],
)
def test_u_net_plusplus_counts_as_in_keras_with_and_without_its_nodes_convolutions(blocks, joined, convolved):
    for convolve, expected in ((False, joined), (True, convolved)):
        with torch.device("meta"):
            network = build("imageseg-unetplusplus", outputs=3, blocks=blocks, convolve=convolve)
        assert as_keras_counts(network) == expected


def test_an_upconvolution_drops_what_keras_drops():
    """As the transpose of a convolution of stride 2 that is padded at its end: the first line stays, the last goes."""
    up = UpConvolution(1, 1, 3)
    nn.init.zeros_(up.bias)
    with torch.no_grad():
        up.weight.copy_(torch.arange(1.0, 10).reshape(1, 1, 3, 3))
        spread = up(torch.tensor([[[[1.0, 0], [0, 10]]]]))[0, 0]
    assert spread.tolist() == [[1, 2, 3, 0], [4, 5, 6, 0], [7, 8, 19, 20], [0, 0, 40, 50]]


def test_blocks_have_normalization_before_relu_or_none_at_all():
    kinds = [type(m).__name__ for m in build("imageseg-unet", layers_per_block=3).encoder[0]]
    assert kinds == ["Conv2d", "BatchNorm2d", "ReLU"] * 3
    plain = build("imageseg-unet", batch_norm=False)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in plain.modules())
    norm = build("imageseg-unet").encoder[0][1]
    assert (norm.eps, norm.momentum) == (1e-3, 0.01)


def test_dropout_lies_behind_each_pooling_and_each_join():
    network = build("imageseg-unet", filters=2, blocks=3, dropout=0.25).train()
    seen = []
    network.dropout.register_forward_hook(lambda _m, inputs, _out: seen.append(tuple(inputs[0].shape[1:3])))
    x = torch.randn(1, 3, 32, 32)
    first = network(x)
    assert seen == [(2, 16), (4, 8), (8, 4), (16, 8), (8, 16), (4, 32)]
    assert not torch.equal(first, network(x))
    assert torch.equal(network.eval()(x), network(x))


def test_a_node_of_u_net_plusplus_joins_what_is_below_with_all_to_its_left():
    network = build("imageseg-unetplusplus", filters=2, blocks=3)
    shapes = {}
    for name, node in network.nodes.items():
        node.register_forward_hook(lambda _m, _i, out, name=name: shapes.update({name: tuple(out.shape[1:3])}))
    network(torch.randn(1, 3, 32, 32))
    # Without convolutions a node has twice the channels of its left neighbour.
    expected = {"0_1": (4, 32), "1_1": (8, 16), "2_1": (16, 8), "0_2": (8, 32), "1_2": (16, 16), "0_3": (16, 32)}
    assert shapes == expected
    left = [torch.zeros(1, 2, 8, 8), torch.ones(1, 4, 8, 8)]
    answer = network.nodes["0_2"](torch.randn(1, 8, 4, 4), left)
    assert answer[0, 2:, 0, 0].tolist() == [1, 1, 1, 1, 0, 0]  # the nearest first


def test_weights_start_as_in_keras():
    network = build("imageseg-unet")
    weight = network.encoder[4][3].weight
    spread = (2 / (9 * 256)) ** 0.5
    assert weight.std().item() == pytest.approx(spread, rel=0.01)
    assert weight.abs().max() <= 2 * spread / 0.8796  # cut off at two standard deviations
    limit = (6 / (9 * (128 + 64))) ** 0.5
    assert 0.99 * limit < network.up[1].weight.abs().max() <= limit
    assert torch.count_nonzero(network.encoder[4][3].bias) == 0


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("imageseg-unet", {"width": 3}, "no option 'width'"),
        ("imageseg-unet", {"up": "bilinear"}, "transpose3"),
        ("imageseg-unetplusplus", {"blocks": 5}, "less than or equal to 4"),
        ("imageseg-unetplusplus", {"dropout": 0.1}, "no option 'dropout'"),
    ],
)
def test_what_the_packages_do_not_have_is_refused(name, options, message):
    with pytest.raises(ConfigError, match=message):
        build(name, **options)
