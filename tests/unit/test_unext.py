import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from napari_segnet.errors import ConfigError
from napari_segnet.models.registry import build_network
from napari_segnet.models.unext import Options, ShiftedMLP, shift_groups
from napari_segnet.predict.receptive_field import receptive_field


def built(**options):
    torch.manual_seed(0)
    return build_network("unext", channels=1, outputs=2, options={"width": 2, **options})


def conv(inputs, outputs, side=3):
    return (side**2 * inputs + 1) * outputs


def tokenized(width):
    # Two normalizations over channels, two linear maps, a depthwise convolution.
    return 4 * width + 2 * conv(width, width, 1) + 10 * width


def by_hand(widths):
    first, second, third, fourth, fifth = widths
    down = conv(3, first) + conv(first, second) + conv(second, third) + 2 * (first + second + third)
    down += conv(third, fourth) + conv(fourth, fifth) + 2 * (fourth + fifth) + tokenized(fourth) + tokenized(fifth)
    up = conv(fifth, fourth) + conv(fourth, third) + conv(third, second) + conv(second, first)
    up += 2 * (fourth + third + second + first) + tokenized(fourth) + tokenized(third)
    return down + up + conv(first, first) + conv(first, 1, 1)


def test_parameters_are_the_published_ones():
    with torch.device("meta"):
        network = build_network("unext", channels=3, outputs=1)
    # The paper's table 1: 1.47 M. With the widths that its text gives it would be more.
    assert sum(p.numel() for p in network.parameters()) == by_hand((16, 32, 128, 160, 256)) == 1_471_921
    assert by_hand((32, 64, 128, 160, 256)) == 1_580_961


def test_multiplications_are_the_published_ones():
    # The paper's table 1: 0.57 G for 256 x 256 pixels, a multiplication and its addition counted as one.
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        build_network("unext", channels=3, outputs=1).eval()(torch.empty(1, 3, 256, 256))
    assert counter.get_total_flops() / 2e9 == pytest.approx(0.57, abs=0.015)


@pytest.mark.parametrize("axis", [2, 3])
def test_groups_of_channels_are_moved_by_minus_two_to_two(axis):
    x = torch.zeros(1, 10, 7, 7)
    x[:, :, 3, 3] = torch.arange(1.0, 11.0)
    places = shift_groups(x, 2, axis)[0].nonzero()
    moved, still = (places[:, 1], places[:, 2]) if axis == 2 else (places[:, 2], places[:, 1])
    assert (moved - 3).tolist() == [-2, -2, -1, -1, 0, 0, 1, 1, 2, 2]
    assert (still == 3).all()
    assert torch.equal(shift_groups(x, 2, axis).sum(dim=(2, 3)), x.sum(dim=(2, 3)))


def test_what_is_moved_out_does_not_come_in_on_the_other_side():
    x = torch.ones(1, 5, 4, 6)
    rows = shift_groups(x, 2, 2)[0, :, :, 0]
    assert rows.tolist() == [[1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1], [0, 1, 1, 1], [0, 0, 1, 1]]
    assert torch.equal(shift_groups(x, 0, 3), x)


def test_groups_are_as_even_as_possible():
    x = torch.zeros(1, 128, 9, 9)
    x[:, :, 4, 4] = 1
    rows = shift_groups(x, 2, 2)[0].nonzero()[:, 1]
    assert torch.bincount(rows)[2:7].tolist() == [26, 26, 26, 25, 25]


def test_a_tokenized_block_sees_two_shifts_and_a_convolution_far():
    torch.manual_seed(0)
    block = ShiftedMLP(20, Options(shift=2)).eval()
    x = torch.zeros(1, 20, 15, 15, requires_grad=True)
    block(x + torch.randn(1, 20, 15, 15))[0, :, 7, 7].square().sum().backward()
    seen = x.grad[0].abs().amax(dim=0).nonzero()
    # Along Y the first shift, along X the second one, and one token more by the 3 x 3 convolution.
    assert seen.amin(dim=0).tolist() == [4, 4]
    assert seen.amax(dim=0).tolist() == [10, 10]


def test_the_receptive_field_is_bounded_and_grows_with_the_shift():
    assert receptive_field(built(), 1, (32, 32), limit=512) == 384
    assert receptive_field(built(shift=0), 1, (32, 32), limit=512) < 256


def test_encoder_features_are_added_to_the_decoder():
    network = built().eval()
    up = network.up[3]
    x, skip = torch.randn(1, 4, 8, 8), torch.randn(1, 2, 16, 16)
    assert torch.allclose(up(x, skip) - up(x, torch.zeros_like(skip)), skip, atol=1e-6)


def test_dropout_only_learns():
    network = built(dropout=0.5)
    x = torch.randn(1, 1, 64, 64)
    assert torch.equal(network.eval()(x), network(x))
    block = network.down[4].mlp.train()
    tokens = torch.randn(1, 32, 4, 4)
    assert not torch.equal(block(tokens), block(tokens))


def test_stages_are_the_coarser_decoder_levels():
    network = built()
    shapes = {}
    for name in network.stages:
        network.get_submodule(name).register_forward_hook(
            lambda *args, name=name: shapes.update({name: tuple(args[2].shape)})
        )
    network(torch.randn(2, 1, 64, 96))
    assert shapes == {
        "up.0": (2, 20, 4, 6),
        "up.1": (2, 16, 8, 12),
        "up.2": (2, 4, 16, 24),
        "up.3": (2, 2, 32, 48),
    }


@pytest.mark.parametrize(("option", "value"), [("width", 1), ("shift", 8), ("dropout", 1.0), ("depth", 4)])
def test_bad_options_are_refused(option, value):
    with pytest.raises(ConfigError, match=option):
        build_network("unext", channels=1, outputs=2, options={option: value})
