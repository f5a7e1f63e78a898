import pytest
import torch
from torch import nn

from napari_segnet.errors import ConfigError
from napari_segnet.models.dense_inception_unet import DenseInception, DenseLayer, Down, InceptionRes, Up
from napari_segnet.models.registry import build_network


def count(module):
    return sum(p.numel() for p in module.parameters())


def on_meta(**options):
    with torch.device("meta"):
        return build_network("dense-inception-unet", channels=3, outputs=2, options=options)


def plain(i, o, size=1):
    """Return the parameters of a convolution with biases."""
    return size * i * o + o


def normed(i, o, size=1):
    """Return the parameters of a convolution without biases and of batch normalization."""
    return size * i * o + 2 * o


def inception_res(i, o):
    w = o // 2
    branches = normed(i, w) + plain(i, w) + normed(w, w, 9) + plain(i, w) + 2 * normed(w, w, 9)
    return branches + plain(3 * w, o) + (plain(i, o) if i != o else 0)


def dense_layer(i, g):
    w = 4 * g
    branches = normed(w, g) + normed(w, g) + plain(w, g) + 2 * normed(g, g, 3)
    return normed(i, w) + branches + plain(3 * g, g)


def dense(i, o, layers, g=32):
    return sum(dense_layer(i + n * g, g) for n in range(layers)) + normed(i + layers * g, o)


def sampling(i, o):
    w = i // 4
    return 2 * plain(i, w) + 3 * normed(w, w, 9) + plain(i + 2 * w, o)


def reach(block):
    """Return how many pixels away one pixel changes the answer of a block with one channel."""
    x = torch.randn(1, 1, 15, 15)
    x[..., 7, 7] = torch.nan
    return int((block.eval()(x).isnan().any(dim=1)[0].nonzero() - 7).abs().max())


def test_parameters_by_hand():
    ways = {
        "blocks": inception_res(3, 64) + inception_res(64, 128) + inception_res(128, 256) + dense(256, 512, 12),
        "down": sum(sampling(c, c) for c in (64, 128, 256, 512)),
        "middle": dense(512, 1024, 24),
        "up": sampling(1024, 512) + dense(1024, 512, 12) + sampling(512, 256) + inception_res(512, 256)
        + sampling(256, 128) + inception_res(256, 128) + sampling(128, 64) + inception_res(128, 64),
        "head": plain(64, 2),
    }  # fmt: skip
    network = on_meta()
    assert {name: count(network.get_submodule(name)) for name in ways} == ways
    assert count(network) == sum(ways.values()) == 15_974_370


def test_three_residual_blocks_and_one_dense_block_each_way_and_a_deeper_one_in_the_middle():
    network = on_meta()
    assert [type(block) for block in network.blocks] == [InceptionRes] * 3 + [DenseInception]
    assert [type(up.block) for up in network.up] == [DenseInception] + [InceptionRes] * 3
    assert len(network.down) == len(network.up) == 4
    depths = [len(block.layers) for block in (network.blocks[3], network.middle, network.up[0].block)]
    assert depths == [12, 24, 12]


def test_sizes_at_each_level():
    network, out = on_meta().eval(), []
    for module in (*network.blocks, network.middle, *network.up):
        module.register_forward_hook(lambda m, i, o: out.append(tuple(o.shape[1:])))
    network(torch.zeros(1, 3, 64, 64, device="meta"))
    assert out[:5] == [(64, 64, 64), (128, 32, 32), (256, 16, 16), (512, 8, 8), (1024, 4, 4)]
    # The block of a stage, then the stage.
    assert out[5:] == [(512, 8, 8), (256, 16, 16), (128, 32, 32), (64, 64, 64)]


def test_an_inception_res_block_is_smaller_than_two_convolutions_of_3_x_3():
    for width in (64, 128, 256):
        assert count(InceptionRes(width, width)) < 2 * 9 * width * width
        assert count(InceptionRes(width // 2, width)) < 9 * width * width // 2 + 9 * width * width


def test_an_inception_res_block_sees_5_pixels_and_adds_to_its_input():
    assert reach(InceptionRes(1, 4)) == 2
    block = InceptionRes(4, 4).eval()
    nn.init.zeros_(block.bottleneck.weight)
    nn.init.zeros_(block.bottleneck.bias)
    x = torch.rand(1, 4, 6, 6)
    assert torch.equal(block(x), x)


def test_a_dense_layer_sees_3_pixels_and_gets_what_all_layers_before_it_made():
    assert reach(DenseLayer(1, 2)) == 1
    block = DenseInception(5, 7, 3, 2).eval()
    assert [layer.reduce[0].in_channels for layer in block.layers] == [5, 7, 9]
    x, seen = torch.randn(1, 5, 4, 4), []
    block.layers[2].register_forward_hook(lambda m, i, o: seen.append(i[0]))
    block(x)
    first = block.layers[0](x)
    second = block.layers[1](torch.cat([x, first], dim=1))
    assert torch.allclose(seen[0], torch.cat([x, first, second], dim=1), atol=1e-6)


def test_sampling_blocks_pool_and_copy_beside_their_convolutions():
    down, up = Down(4).eval(), Up(4, 4, nn.Identity()).eval()
    for block in (down, up):
        nn.init.zeros_(block.bottleneck.weight)
        nn.init.zeros_(block.bottleneck.bias)
        block.bottleneck.weight.data[range(4), range(4)] = 1.0  # only what was pooled or copied
    x = torch.randn(1, 4, 8, 6)
    assert torch.equal(down(x), nn.functional.max_pool2d(x, 3, 2, 1))
    skip = torch.randn(1, 2, 16, 12)
    doubled = up(x, skip)
    assert torch.equal(doubled[:, :4], x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3))
    assert torch.equal(doubled[:, 4:], skip)


def test_all_skip_connections_reach_the_answer():
    torch.manual_seed(0)
    options = {"width": 4, "layers": 1, "growth": 2}
    network = build_network("dense-inception-unet", channels=1, outputs=2, options=options).eval()
    skips = []
    for down, up in zip(network.down, network.up, strict=True):
        nn.init.zeros_(down.bottleneck.weight)  # what is left goes over the skip connections
        up.register_forward_pre_hook(lambda module, inputs: skips.append(inputs[1]))
    logits = network(torch.randn(1, 1, 32, 32))
    for skip in skips:
        skip.retain_grad()
    logits[:, 0].sum().backward()
    assert [skip.shape[1] for skip in skips] == [32, 16, 8, 4]
    assert all(skip.grad.abs().max() > 0 for skip in skips)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 3}, "greater than or equal to 4"),
        ({"layers": 0}, "greater than or equal to 1"),
        ({"growth": 129}, "less than or equal to 128"),
        ({"depth": 3}, "no option 'depth'"),
    ],
)
def test_what_can_not_be_built_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        build_network("dense-inception-unet", channels=1, outputs=2, options=options)


def test_layers_and_growth_do_what_they_say():
    small, deep, wide = on_meta(width=8, layers=2, growth=4), on_meta(width=8, layers=3), on_meta(width=8, layers=2)
    assert len(deep.middle.layers) == 6
    assert len(small.middle.layers) == 4
    assert small.middle.transition[0].in_channels == 64 + 4 * 4
    assert wide.middle.transition[0].in_channels == 64 + 4 * 32
