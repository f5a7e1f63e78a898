"""FC-DenseNet: published sizes, what is connected with what, and its options."""

import re

import numpy as np
import pytest
import torch
from torch import nn

from napari_segnet.errors import ConfigError
from napari_segnet.models.catalogue import NETWORKS
from napari_segnet.models.fc_densenet import LAYERS, Options, Up, layer
from napari_segnet.models.file import transfer
from napari_segnet.models.registry import build_network

CAMVID = {"channels": 3, "outputs": 11}
TINY = {"width": 5, "growth": 3}


def whole(name, **options):
    with torch.device("meta"):
        return build_network(name, **CAMVID, options=options)


def tiny(name="fc-densenet56", outputs=2, **options):
    torch.manual_seed(0)
    return build_network(name, channels=1, outputs=outputs, options={**TINY, **options})


def by_hand(layers, growth, width=48):
    """Return the weights that are learned, and the statistics of batch normalization, from table 2 of the paper."""
    learned, normalized = 9 * 3 * width + width, 0

    def add(inputs, outputs, cells):
        nonlocal learned, normalized
        learned += cells * inputs * outputs + outputs + 2 * inputs
        normalized += inputs

    def block(inputs, count):
        for n in range(count):
            add(inputs + n * growth, growth, 9)
        return inputs + count * growth

    depth, skips = len(layers) // 2, []
    for count in layers[:depth]:
        width = block(width, count)
        skips.append(width)
        add(width, width, 1)
    block(width, layers[depth])
    for below, count in zip(layers[depth:], layers[depth + 1 :], strict=False):
        kept = below * growth
        learned += 9 * kept * kept + kept
        width = block(kept + skips.pop(), count)
    learned += width * 11 + 11
    return learned, 2 * normalized


@pytest.mark.parametrize(
    ("name", "growth", "published"),
    # The paper's 1.5 M of the first is not what its widths give, however it is counted.
    [("fc-densenet56", 12, 1.4), ("fc-densenet67", 16, 3.5), ("fc-densenet103", 16, 9.4)],
)
def test_parameters_are_those_of_table_3(name, growth, published):
    network = whole(name)
    statistics = sum(b.numel() for key, b in network.named_buffers() if "running" in key)
    counts = sum(p.numel() for p in network.parameters()), statistics
    assert counts == by_hand(LAYERS[name], growth)
    # The authors' script prints all values that it saves: those that are learned, means and deviations.
    assert round(sum(counts) / 1e6, 1) == published
    assert f"{published} M" in NETWORKS[name].parameters


@pytest.mark.parametrize("name", LAYERS)
def test_the_name_is_the_number_of_convolutions(name):
    convolutions = [m for m in whole(name).modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    assert len(convolutions) == int(re.sub(r"\D", "", name))


def test_channels_of_fc_densenet103_at_each_level():
    # Table 2 of the paper, with the correction that the authors' repository gives: 16 more from the bottleneck on.
    network = whole("fc-densenet103")
    assert [block.outputs for block in network.blocks] == [112, 192, 304, 464, 656]
    assert network.bottleneck.outputs == 896
    assert [up.block.outputs for up in network.up] == [1088, 816, 576, 384, 256]


def test_a_layer_normalizes_first_and_drops_last():
    kinds = [nn.BatchNorm2d, nn.ReLU, nn.Conv2d, nn.Dropout]
    assert [type(m) for m in layer(3, 2, 3, 0.2)] == kinds
    assert [type(m) for m in tiny().down[0][0]] == kinds


def test_a_block_hands_on_all_that_came_before():
    block = tiny().blocks[0].eval()
    x = torch.randn(1, 5, 8, 8)
    y = block(x)
    assert y.shape[1] == 5 + 4 * 3
    assert torch.equal(y[:, :5], x)
    # The second layer sees the input and what the first made of it.
    assert torch.equal(y[:, 8:11], block.layers[1](y[:, :8]))


def test_only_what_the_last_block_added_is_upsampled_and_the_skip_connection_is_used():
    network = tiny().eval()
    added = 4 * 3
    x = torch.randn(1, network.bottleneck.outputs, 2, 2, requires_grad=True)
    skip = torch.randn(1, network.blocks[-1].outputs, 4, 4, requires_grad=True)
    network.up[0](x, skip).square().sum().backward()
    assert (x.grad[:, :-added] == 0).all()
    assert (x.grad[:, -added:] != 0).all()
    assert (skip.grad != 0).all()


def test_a_cell_is_spread_over_the_pixels_that_the_authors_crop_leaves():
    up = Up(1, 1, 1, Options())
    nn.init.ones_(up.upsample.weight)
    nn.init.zeros_(up.upsample.bias)
    x = torch.zeros(1, 1, 3, 3)
    x[..., 1, 1] = 1
    joined = up(x, torch.zeros(1, 1, 6, 6))[0, 0]
    # A kernel of 3 at stride 2: cell i covers pixels 2i to 2i + 2.
    assert torch.equal(joined.nonzero().unique(), torch.tensor([2, 3, 4]))


def test_stages_are_the_way_up_from_coarse_to_fine():
    network = tiny().eval()
    shapes = []
    for stage in network.stages:
        network.get_submodule(stage).register_forward_hook(lambda _m, _i, y: shapes.append(tuple(y.shape[2:])))
    network(torch.randn(1, 1, 64, 96))
    assert shapes == [(4, 6), (8, 12), (16, 24), (32, 48)]


def test_weights_are_he_uniform_and_biases_zero():
    weight = build_network("fc-densenet56", channels=1, outputs=2).down[0][0][2].weight
    bound = (6 / weight.shape[1]) ** 0.5
    assert 0.99 * bound < weight.abs().max() <= bound
    assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)
    assert all((p == 0).all() for name, p in tiny().named_parameters() if name.endswith("2.bias"))


def test_dropout_acts_in_training_only():
    torch.manual_seed(0)
    one = layer(4, 50, 3, 0.2)
    x = torch.randn(2, 4, 32, 32)
    assert (one(x) == 0).float().mean().item() == pytest.approx(0.2, abs=0.01)
    assert (one.eval()(x) != 0).all()
    rates = {m.p for m in whole("fc-densenet103").modules() if isinstance(m, nn.Dropout)}
    assert rates == {0.2}
    assert {m.p for m in tiny(dropout=0).modules() if isinstance(m, nn.Dropout)} == {0}


def test_an_answer_does_not_depend_on_the_other_images_of_a_batch():
    network = tiny().eval()
    x = torch.randn(2, 1, 32, 32)
    assert torch.allclose(network(x)[:1], network(x[:1]), atol=1e-5)


def test_it_can_be_fine_tuned_to_other_classes():
    old, new = tiny(outputs=2), tiny(outputs=3)
    transfer(old, new, {2: 0})
    x = torch.randn(1, 1, 32, 32)
    assert np.allclose(new.eval()(x)[0, 2].detach(), old.eval()(x)[0, 0].detach(), atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"growth": 0}, "growth = 0: .*greater than or equal to 1"),
        ({"dropout": 1}, "dropout = 1: .*less than 1"),
        ({"width": 513}, "width = 513: .*less than or equal to 512"),
        ({"depth": 3}, "no option 'depth'"),
    ],
)
def test_options_that_can_not_be_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        build_network("fc-densenet67", channels=1, outputs=2, options=options)
