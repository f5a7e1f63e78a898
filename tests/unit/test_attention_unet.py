import pytest
import torch

from napari_segnet.errors import ConfigError
from napari_segnet.models.attention_unet import AttentionGate
from napari_segnet.models.registry import build_network


def built(width=4, depth=2, channels=3, outputs=2):
    torch.manual_seed(0)
    options = {"width": width, "depth": depth}
    return build_network("attention-unet", channels=channels, outputs=outputs, options=options)


def parameters(network):
    return sum(p.numel() for p in network.parameters())


# Counts by hand: a convolution has side**dims * inputs weights and a bias an output, a normalization two numbers.
def conv(inputs, outputs, side=3, dims=2, bias=1):
    return (side**dims * inputs + bias) * outputs


def double(inputs, outputs, dims=2):
    return conv(inputs, outputs, dims=dims) + conv(outputs, outputs, dims=dims) + 4 * outputs


def encoder(channels, width, dims=2):
    widths = [width * 2**level for level in range(5)]
    return sum(double(a, b, dims) for a, b in zip([channels, *widths[:-1]], widths, strict=True))


def gate(width, dims=2):
    theta = conv(width, width, 2, dims, bias=0)
    return theta + conv(2 * width, width, 1) + conv(width, 1, 1) + conv(width, width, 1) + 2 * width


def decoder(width, dims=2):
    return sum(double(3 * width * 2**level, width * 2**level, dims) for level in range(4))


def gates(width):
    return sum(gate(width * 2**level) for level in (1, 2, 3))


def test_parameters_are_those_of_the_layers():
    with torch.device("meta"):
        network = build_network("attention-unet", channels=3, outputs=1)
    assert gates(64) == 2_412_931
    assert parameters(network) == encoder(3, 64) + decoder(64) + gates(64) + conv(64, 1, 1) == 33_803_652


def test_the_same_count_in_three_dimensions_gives_the_published_numbers():
    # The paper's table: 5.88 M for the U-Net, 6.40 M with gates (cut, not rounded), first width 16, one channel.
    # The second is that of the version in the authors' code with two gates a skip connection and a 1 x 1 convolution
    # that joins them, without its convolution of the gating signal.
    heads = sum(conv(16 * 2**level, 2, 1) for level in range(4)) + conv(8, 2, 1)
    unet = encoder(1, 16, dims=3) + decoder(16, dims=3) + heads
    assert unet == 5_887_466
    doubled = sum(2 * gate(16 * 2**n, dims=3) + conv(32 * 2**n, 16 * 2**n, 1) + 32 * 2**n for n in (1, 2, 3))
    assert unet + doubled == 6_406_480


def test_the_widely_used_two_dimensional_version_is_larger_for_reasons_that_can_be_counted():
    # LeeJunHyun/Image_Segmentation, AttU_Net(3, 1): 34,878,573. A 3 x 3 convolution after upsampling halves the
    # channels; gates of half the width, normalized everywhere, look at the upsampled signal, on all four skips.
    widths = [64, 128, 256, 512]
    halving = sum(conv(2 * w, w) + 2 * w for w in widths)
    blocks = sum(double(2 * w, w) for w in widths)
    theirs = sum(2 * (conv(w, w // 2, 1) + w) + conv(w // 2, 1, 1) + 2 for w in widths)
    assert encoder(3, 64) + halving + blocks + theirs + conv(64, 1, 1) == 34_878_573


def test_all_skips_but_the_finest_are_gated_by_the_next_coarser_level():
    network = built(width=4, depth=3)
    assert [up.gate is None for up in network.up] == [False, False, True]
    assert [(up.gate.theta.in_channels, up.gate.phi.in_channels) for up in network.up[:2]] == [(16, 32), (8, 16)]


def test_stages_are_the_coarser_decoder_levels():
    network = built(width=4, depth=3)
    shapes = {}
    for name in network.stages:
        network.get_submodule(name).register_forward_hook(lambda *args, name=name: shapes.update({name: args[2].shape}))
    network(torch.randn(1, 3, 32, 48))
    assert shapes == {"up.0": (1, 16, 8, 12), "up.1": (1, 8, 16, 24)}


def test_gates_are_open_at_first():
    torch.manual_seed(0)
    network = built(width=8, depth=2)
    attention = network.up[0].gate.attention(torch.randn(2, 16, 16, 16), torch.randn(2, 32, 8, 8))
    assert attention.shape == (2, 1, 16, 16)
    assert float(attention.detach().min()) > 0.9


def test_a_closed_gate_lets_nothing_through():
    torch.manual_seed(0)
    gate_ = AttentionGate(8, 16).eval()
    torch.nn.init.constant_(gate_.psi.bias, -100)
    x = torch.randn(1, 8, 8, 8)
    gated = gate_(x, torch.randn(1, 16, 4, 4))
    assert torch.allclose(gated, gate_(torch.zeros_like(x), torch.randn(1, 16, 4, 4)), atol=1e-6)


def test_attention_is_one_number_a_place_of_the_coarser_grid():
    torch.manual_seed(0)
    gate_ = AttentionGate(8, 16).eval()
    x, gating = torch.randn(1, 8, 16, 16), torch.randn(1, 16, 8, 8)
    changed = gating.clone()
    changed[:, :, 4, 4] += 5
    difference = (gate_.attention(x, gating) - gate_.attention(x, changed)).abs()[0, 0]
    # Bilinear upsampling spreads one place of the coarse grid over 4 x 4 pixels.
    assert (difference > 0).nonzero().amin(dim=0).tolist() == [7, 7]
    assert (difference > 0).nonzero().amax(dim=0).tolist() == [10, 10]


def test_the_decoder_steers_what_passes():
    torch.manual_seed(0)
    gate_ = AttentionGate(8, 16)
    gating = torch.randn(1, 16, 4, 4, requires_grad=True)
    gate_(torch.randn(1, 8, 8, 8), gating).square().sum().backward()
    assert float(gating.grad.abs().max()) > 0


@pytest.mark.parametrize(("option", "value"), [("width", 0), ("depth", 1), ("gates", 2)])
def test_bad_options_are_refused(option, value):
    with pytest.raises(ConfigError, match=option):
        build_network("attention-unet", channels=1, outputs=2, options={option: value})
