"""The U-Net of Ronneberger et al. 2015, against the figures of the paper."""

import numpy as np
import pytest
import torch

from napari_segnet.config import PredictConfig
from napari_segnet.data.labels import default_classes
from napari_segnet.errors import ConfigError, DataError
from napari_segnet.models.info import ModelInfo
from napari_segnet.models.registry import build_network
from napari_segnet.predict.predictor import Predictor
from napari_segnet.predict.receptive_field import receptive_field


def build(channels=1, outputs=2, **options):
    torch.manual_seed(0)
    return build_network("unet-original", channels=channels, outputs=outputs, options=options).eval()


def parameters(network):
    return sum(p.numel() for p in network.parameters())


def test_the_parameters_are_those_of_figure_1():
    def convolutions(inputs, width):
        return 9 * inputs * width + width + 9 * width * width + width

    down = [convolutions(i, w) for i, w in [(1, 64), (64, 128), (128, 256), (256, 512), (512, 1024)]]
    up = [4 * 2 * w * w + w + convolutions(2 * w, w) for w in (512, 256, 128, 64)]
    with torch.device("meta"):
        assert parameters(build()) == sum(down) + sum(up) + 64 * 2 + 2 == 31_030_658


def sizes(network, side):
    """Return the sides of what each block and the last layer make of a square image, without computing."""
    found = []
    for module in (*network.encoder, *network.decoder, network.head):
        module.register_forward_hook(lambda _module, _inputs, output: found.append(output.shape[-1]))
    with torch.device("meta"):
        network.to("meta").valid(torch.empty(1, 1, side, side))
    return found


def test_the_valid_network_has_the_sizes_of_figure_1():
    assert sizes(build(width=1), 572) == [568, 280, 136, 64, 28, 52, 100, 196, 388, 388]
    assert sizes(build(width=1), 188)[-1] == 4


def mirror(x):
    # numpy goes on mirroring where the border is wider than the image
    return torch.from_numpy(np.pad(x.numpy(), [(0, 0), (0, 0), (92, 96), (92, 96)], mode="reflect"))


@pytest.mark.parametrize("shape", [(112, 144), (16, 32), (16, 208)])
def test_forward_is_the_valid_network_on_the_mirrored_image(shape):
    network = build(width=2).double()
    x = torch.randn(1, 1, *shape, dtype=torch.float64)
    with torch.no_grad():
        assert torch.allclose(network(x), network.valid(mirror(x))[..., : shape[0], : shape[1]])


def test_far_from_the_border_it_is_the_valid_network_alone():
    network = build(width=2).double()
    x = torch.randn(1, 1, 400, 400, dtype=torch.float64)
    with torch.no_grad():
        # The grids of the pooling have to agree: 96 is a multiple of 16, and 92 are cut off.
        assert torch.allclose(network(x)[..., 96:276, 96:276], network.valid(x[..., 4:368, 4:368]))


@pytest.mark.parametrize("side", [572 + 8, 124 + 16, 171])
def test_a_size_that_does_not_come_out_even_is_refused(side):
    with pytest.raises(DataError, match="188, 204, 220"):
        build(width=1).valid(torch.zeros(1, 1, side, 188))


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_any_depth_answers_at_the_size_of_the_image(depth):
    network = build(width=1, depth=depth)
    assert network.stride == 2**depth
    assert network(torch.zeros(1, 1, 3 * 2**depth, 5 * 2**depth)).shape == (1, 2, 3 * 2**depth, 5 * 2**depth)


@pytest.mark.parametrize("depth", [2, 4])
def test_overlapping_tiles_agree_with_the_whole_image(depth):
    """The overlap-tile strategy of the paper."""
    network = build(width=3, depth=depth, outputs=3)
    reach = receptive_field(network, 1, (network.stride, network.stride))
    # What the valid network cuts off, and what the phase of the grid adds: both below one step of 2 strides.
    assert network.border <= reach < network.border + 2 * network.stride
    info = ModelInfo(
        network="unet-original",
        channels=1,
        outputs=3,
        normalization={"mode": "none"},
        classes=default_classes(range(3), "background", "semantic"),
        patch_size=64,
        stride=network.stride,
        halo=0,
        receptive_field=reach,
    )
    image = np.random.default_rng(0).normal(size=(1, 330, 283)).astype(np.float32)
    answers = {}
    for tile in (32, 1024):
        predictor = Predictor(network, info, PredictConfig(tile=tile, exact=True), torch.device("cpu"))
        answers[tile] = predictor.empty_outputs(image.shape[1:], probabilities=True)
        predictor.predict_plane(image, **answers[tile])
    assert np.array_equal(answers[32]["labels_out"], answers[1024]["labels_out"])
    assert np.allclose(answers[32]["probabilities_out"], answers[1024]["probabilities_out"], atol=1e-5)
    assert len(np.unique(answers[32]["labels_out"])) > 1


def test_weights_start_as_the_paper_says_and_keep_the_signal():
    network = build(width=32)
    first, last = network.encoder[1][2].weight, network.up[0].weight
    assert first.std().item() == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.02)
    assert last.std().item() == pytest.approx((2 / 512) ** 0.5, rel=0.02)
    assert all(torch.count_nonzero(p) == 0 for name, p in network.named_parameters() if name.endswith("bias"))


def test_dropout_is_at_the_end_of_the_contracting_path_and_only_while_learning():
    network = build(width=2, dropout=0.5)
    x = torch.randn(1, 1, 32, 32)
    assert torch.equal(network(x), network(x))
    network.train()
    assert not torch.equal(network(x), network(x))
    passes = []
    network.dropout.register_forward_hook(lambda _m, inputs, _out: passes.append(inputs[0].shape[1]))
    network(x)
    assert passes == [16, 32]  # the two lowest of 2, 4, 8, 16, 32 channels


def test_an_option_that_it_does_not_have_is_refused():
    with pytest.raises(ConfigError, match="no option 'filters'"):
        build(filters=3)
