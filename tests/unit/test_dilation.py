"""The dilated networks of Yu and Koltun: sizes, table 1, the identity that they start from, and their edges."""

from itertools import accumulate

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from napari_segnet.errors import ConfigError
from napari_segnet.models.dilation import LAYERS, WIDTHS, context_module, pass_on
from napari_segnet.models.file import transfer
from napari_segnet.models.registry import build_network

NAMES = sorted(WIDTHS)
CONTEXTS = ["dilation-basic", "dilation-large"]
VGG16 = 14_714_688
FRONT_END = VGG16 + 7 * 7 * 512 * 4096 + 4096 + 4096**2 + 4096 + 21 * 4097


def tiny(name, outputs=2, **options):
    torch.manual_seed(0)
    maps = {} if name == "dilation-frontend" else {"maps": 3}
    return build_network(name, channels=1, outputs=outputs, options={"width": 2, "head": 8, **maps, **options})


@pytest.mark.parametrize(
    ("name", "squares", "biases"),
    [
        ("dilation-frontend", 0, 0),
        ("dilation-basic", 7 * 9 + 1, 8),
        ("dilation-large", 9 * (2 + 2 * 2 + 2 * 4 + 4 * 8 + 8 * 16 + 16 * 32 + 32 * 32) + 32, 2 + 2 + 4 + 8 + 16 + 65),
    ],
)
def test_parameters_follow_table_1_for_21_classes(name, squares, biases):
    with torch.device("meta"):
        network = build_network(name, channels=3, outputs=21)
    # 134.3 M for the front end: what table 2 of arXiv:1412.7062 gives for the same layers (DeepLab-CRF-7x7).
    assert round(FRONT_END / 1e6, 1) == 134.3
    assert sum(p.numel() for p in network.parameters()) == FRONT_END + 21**2 * squares + 21 * biases


@pytest.mark.parametrize("name", NAMES)
def test_the_front_end_is_vgg16_without_its_last_two_poolings(name):
    network = tiny(name)
    features = network.encoder.features
    assert [type(features[n]) for n in (4, 9, 16, 23, 30)] == [nn.MaxPool2d] * 3 + [nn.Identity] * 2
    assert [m.dilation[0] for m in features if isinstance(m, nn.Conv2d)] == [1] * 10 + [2] * 3
    fc6 = network.frontend.fc6
    assert (fc6.kernel_size, fc6.dilation) == ((7, 7), (4, 4))
    assert network.encoder(torch.randn(1, 1, 64, 80))[0][-1].shape[2:] == (8, 10)


def test_far_from_the_edges_it_is_the_original_without_padding():
    # The authors' convolutions are not padded: an image loses 186 pixels on each side, and its cells start there.
    network = tiny("dilation-frontend").double().eval()
    image = torch.randn(1, 1, 8 * 3 + 384, 8 * 2 + 384, dtype=torch.float64)
    ours = network.frontend(network.encoder.features(image))
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.padding = (0, 0)
    # Six pixels further in their cells start at pixel 192, where our cell number 24 does.
    theirs = network.frontend(network.encoder.features(image[..., 6:-6, 6:-6]))
    assert theirs.shape[2:] == (3, 2)
    assert torch.allclose(ours[..., 24:27, 24:26], theirs, rtol=1e-9, atol=1e-12)
    assert theirs.std() > 1e-5


@pytest.mark.parametrize("name", CONTEXTS)
def test_the_context_module_has_the_dilations_widths_and_fields_of_table_1(name):
    context = context_module(21, 21, WIDTHS[name])
    layers = [m for m in context if isinstance(m, nn.Conv2d)]
    widths = {"dilation-basic": [1] * 8, "dilation-large": [2, 2, 4, 8, 16, 32, 32, 1]}[name]
    assert [m.out_channels for m in layers] == [21 * width for width in widths]
    assert [m.dilation[0] for m in layers][:7] == [1, 1, 2, 4, 8, 16, 1]
    fields = accumulate(((size - 1) * dilation for size, dilation in LAYERS), initial=1)
    assert list(fields)[1:] == [3, 5, 9, 17, 33, 65, 67, 67]
    # A truncation behind each layer but the last.
    assert [type(m) for m in context] == [nn.Conv2d, nn.ReLU] * 7 + [nn.Conv2d]


def test_the_context_module_sees_67_cells():
    context = context_module(1, 1, WIDTHS["dilation-basic"])
    cell = torch.zeros(1, 1, 99, 99)
    cell[..., 49, 49] = 1
    with torch.no_grad():
        assert torch.equal(context(cell), cell)
        for p in context.parameters():
            p.copy_(torch.ones_like(p) * (p.dim() > 1))
        reached = context(cell)[0, 0].nonzero().unique()
    assert torch.equal(reached, torch.arange(49 - 33, 49 + 34))


@pytest.mark.parametrize("name", CONTEXTS)
def test_the_context_module_starts_as_the_identity(name):
    torch.manual_seed(0)
    context = context_module(5, 5, WIDTHS[name])
    x = torch.randn(1, 5, 40, 40)
    # Equation 4 is exact; equation 5 has noise.
    assert (context(x) - x.clamp_min(0)).abs().max() < (0.05 if name == "dilation-large" else 1e-6)


def test_channels_that_stand_for_a_map_share_its_values():
    # Equation 5 for two maps: from 2 channels to 4 (each a half), and from 4 to 2 (a whole of both).
    wider, narrower = nn.Conv2d(2, 4, 3), nn.Conv2d(4, 2, 1)
    pass_on(wider, 2, copies=2)
    pass_on(narrower, 2, copies=1)
    middle = wider.weight[:, :, 1, 1]
    assert torch.equal(middle == 0.5, torch.tensor([[1, 0], [1, 0], [0, 1], [0, 1]]).bool())
    assert torch.equal(narrower.weight[..., 0, 0] == 1, torch.tensor([[1, 1, 0, 0], [0, 0, 1, 1]]).bool())
    others = torch.cat([wider.weight[wider.weight != 0.5], narrower.weight[narrower.weight != 1]])
    assert 0 < others.abs().max() < 0.005
    assert (wider.bias == 0).all()


@pytest.mark.parametrize("outputs", [2, 5])
def test_class_k_starts_as_map_k_and_classes_without_a_map_as_noise(outputs):
    torch.manual_seed(0)
    last = context_module(3, outputs, WIDTHS["dilation-large"])[-1].weight[..., 0, 0]
    for k in range(outputs):
        own = torch.arange(96) // 32 == k
        assert (last[k, own] == 1).all()
        assert last[k, ~own].abs().max() < 0.005


@pytest.mark.parametrize("name", CONTEXTS)
def test_scores_of_the_front_end_can_be_supervised(name):
    network = tiny(name, maps=4)
    shapes = []
    network.get_submodule(*network.stages).register_forward_hook(lambda _m, _i, y: shapes.append(tuple(y.shape)))
    network(torch.randn(2, 1, 64, 80))
    assert shapes == [(2, 4, 8, 10)]


def test_upsampling_is_the_authors_bilinear_kernel_away_from_the_edges():
    network = tiny("dilation-frontend", outputs=2).eval()
    x = torch.randn(1, 1, 64, 64)
    scores = network.frontend(network.encoder.features(x))
    line = 1 - (torch.arange(16) - 7.5).abs() / 8
    kernel = (line[:, None] * line)[None, None].expand(2, 1, 16, 16)
    theirs = F.conv_transpose2d(scores, kernel, stride=8, padding=4, groups=2)
    assert torch.allclose(network(x)[..., 4:-4, 4:-4], theirs[..., 4:-4, 4:-4], atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_it_can_be_fine_tuned_to_other_classes(name):
    old, new = tiny(name, outputs=2), tiny(name, outputs=3)
    transfer(old, new, {2: 0})
    x = torch.randn(1, 1, 64, 64)
    assert np.allclose(new.eval()(x)[0, 2].detach(), old.eval()(x)[0, 0].detach(), atol=1e-6)


def test_dropout_follows_fc6_and_fc7_in_training_only():
    network = tiny("dilation-frontend", head=512)
    features = network.encoder.features(torch.randn(1, 1, 64, 64))
    seen = []
    network.frontend.fc7.register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0]))
    network.frontend(features)
    network.eval().frontend(features)
    kept, whole = seen
    assert (kept[whole > 0] == 0).float().mean().item() == pytest.approx(0.5, abs=0.03)
    assert {m.p for m in tiny("dilation-basic", dropout=0).modules() if isinstance(m, nn.Dropout)} == {0}


@pytest.mark.parametrize(
    ("name", "asked", "message"),
    [
        ("dilation-frontend", {"options": {"maps": 3}}, "no option 'maps'"),
        ("dilation-basic", {"options": {"maps": 0}}, "maps = 0: .*greater than or equal to 1"),
        ("dilation-large", {"encoder": "mobilenet_v2"}, r"can't use the encoder 'mobilenet_v2': .*vgg16"),
        ("dilation-large", {"weights": "imagenet", "options": {"width": 32}}, "no ImageNet weights .* width 32"),
    ],
)
def test_what_can_not_be_built_is_refused(name, asked, message):
    with pytest.raises(ConfigError, match=message):
        build_network(name, channels=3, outputs=2, **asked)
