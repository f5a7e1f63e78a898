import pytest
import torch

from napari_segnet.errors import ConfigError
from napari_segnet.models.registry import build_network


def built(width=4, depth=3):
    torch.manual_seed(0)
    return build_network("unet3plus", channels=1, outputs=2, options={"width": width, "depth": depth})


def outputs_of(network, names, image):
    shapes = {}
    for name in names:
        network.get_submodule(name).register_forward_hook(
            lambda *args, name=name: shapes.update({name: tuple(args[2].shape)})
        )
    network(image)
    return shapes


def conv(inputs, outputs):
    return (9 * inputs + 1) * outputs


def test_parameters_are_the_published_ones():
    with torch.device("meta"):
        network = build_network("unet3plus", channels=3, outputs=1)
    widths = [64, 128, 256, 512, 1024]
    encoder = sum(conv(a, b) + conv(b, b) + 4 * b for a, b in zip([3, *widths[:-1]], widths, strict=True))
    decoder = 0
    for level in range(4):
        inputs = [*widths[: level + 1], *[320] * (3 - level), 1024]
        decoder += sum(conv(channels, 64) + 2 * 64 for channels in inputs) + conv(320, 320) + 2 * 320
    assert (encoder, decoder) == (18_851_136, 8_117_760)
    # The paper's table 1: 26.97 M.
    assert sum(p.numel() for p in network.parameters()) == encoder + decoder + conv(320, 1) == 26_971_777
    # 26.99 M with deep supervision: one more 3 x 3 convolution for each of its stages.
    channels = {"down.4": 1024, "join.0": 320, "join.1": 320, "join.2": 320}
    assert set(network.stages) == set(channels)
    assert 26_971_777 + sum(conv(width, 1) for width in channels.values()) == 26_989_637


def test_each_stage_joins_all_scales_in_equal_parts():
    network = built(width=4, depth=3)
    names = [f"join.{stage}.branches.{level}" for stage in range(3) for level in range(4)]
    shapes = outputs_of(network, names, torch.randn(1, 1, 32, 48))
    for stage, (y, x) in enumerate([(8, 12), (16, 24), (32, 48)]):
        assert [shapes[f"join.{stage}.branches.{level}"] for level in range(4)] == [(1, 4, y, x)] * 4
    channels = [[branch[0].in_channels for branch in join.branches] for join in network.join]
    assert channels == [[4, 8, 16, 32], [4, 8, 16, 32], [4, 16, 16, 32]]
    assert [join.fuse[0].in_channels for join in network.join] == [16, 16, 16]


def test_finer_features_are_max_pooled_and_coarser_ones_upsampled():
    join = built().join[1]
    fine = torch.zeros(1, 4, 32, 32)
    fine[:, :, 5, 9] = 3
    pooled = join._resize(fine, 0)
    assert pooled.shape == (1, 4, 16, 16)
    assert pooled[0, 0].nonzero().tolist() == [[2, 4]]
    assert float(pooled.max()) == 3
    ramp = torch.arange(4.0).expand(1, 4, 4, 4)
    upsampled = join._resize(ramp, 3)
    assert upsampled.shape == (1, 4, 16, 16)
    assert upsampled[0, 0, 0, 2:6].tolist() == [0.125, 0.375, 0.625, 0.875]
    same = torch.randn(1, 8, 16, 16)
    assert join._resize(same, 1) is same


@pytest.mark.parametrize("level", range(4))
def test_every_level_reaches_every_stage(level):
    network = built()
    for join in network.join:
        sizes = [32 // 2**n for n in range(4)]
        features = [
            torch.randn(2, branch[0].in_channels, size, size, requires_grad=True)
            for branch, size in zip(join.branches, sizes, strict=True)
        ]
        join(features).square().sum().backward()
        assert float(features[level].grad.abs().max()) > 0


def test_stages_are_those_that_the_paper_supervises():
    network = built(width=4, depth=3)
    shapes = outputs_of(network, network.stages, torch.randn(1, 1, 32, 48))
    assert shapes == {"down.3": (1, 32, 4, 6), "join.0": (1, 16, 8, 12), "join.1": (1, 16, 16, 24)}


@pytest.mark.parametrize(("option", "value"), [("width", 0), ("depth", 1), ("cgm", True)])
def test_bad_options_are_refused(option, value):
    with pytest.raises(ConfigError, match=option):
        build_network("unet3plus", channels=1, outputs=2, options={option: value})
