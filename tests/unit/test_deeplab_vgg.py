"""DeepLab on VGG: published sizes, dilation that keeps what VGG learned, and where its cells lie."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from napari_segnet.errors import ConfigError, ModelFileError
from napari_segnet.models.deeplab_vgg import RATES, enlarge, keep_resolution
from napari_segnet.models.file import transfer
from napari_segnet.models.registry import build_network
from napari_segnet.models.vgg import Vgg

NAMES = sorted(RATES)
TINY = {"width": 2, "head": 6}
VGG16 = 9 * (3 * 64 + 64**2 + 64 * 128 + 128**2 + 128 * 256 + 2 * 256**2 + 256 * 512 + 5 * 512**2) + 4224


def tiny(name, outputs=2, channels=1, **options):
    torch.manual_seed(0)
    return build_network(name, channels=channels, outputs=outputs, options={**TINY, **options})


def parameters(name, outputs):
    with torch.device("meta"):
        return sum(p.numel() for p in build_network(name, channels=3, outputs=outputs).parameters())


def test_parameters_of_largefov_are_the_20_5_million_of_the_paper():
    # Table 2 of arXiv:1412.7062, for the 21 classes of Pascal VOC.
    by_hand = VGG16 + 9 * 512 * 1024 + 1024 + 1024**2 + 1024 + 21 * 1025
    assert parameters("deeplab-largefov", 21) == by_hand == 20_505_429


def test_parameters_of_deeplabv2_by_hand():
    branch = 9 * 512 * 1024 + 1024 + 1024**2 + 1024 + 21 * 1024
    # One bias for the sum of four scores, where the authors have four: 63 parameters less.
    assert parameters("deeplabv2", 21) == VGG16 + 4 * branch + 21 == 37_877_589


def test_the_field_of_view_of_largefov_is_vgg16s():
    # Table 2 of arXiv:1412.7062: a kernel of 3 with rate 12 sees 224 pixels, as fc6 of VGG16 does.
    with torch.device("meta"):
        fc6 = build_network("deeplab-largefov", channels=3, outputs=2).branches[0][0]
    assert (fc6.kernel_size[0] - 1) * fc6.dilation[0] * 8 + 32 == 224


@pytest.mark.parametrize(("name", "rates"), [("deeplab-largefov", [12]), ("deeplabv2", [6, 12, 18, 24])])
def test_layers_are_those_of_the_authors_models(name, rates):
    network = tiny(name)
    pools = [m for m in network.encoder.features if isinstance(m, nn.MaxPool2d)]
    assert [(p.kernel_size, p.stride, p.padding) for p in pools] == [(3, 2, 1)] * 3 + [(3, 1, 1)] * 2
    dilations = [m.dilation[0] for m in network.encoder.features if isinstance(m, nn.Conv2d)]
    assert dilations == [1] * 10 + [2] * 3
    assert [branch[0].dilation[0] for branch in network.branches] == rates
    assert {m.p for m in network.modules() if isinstance(m, nn.Dropout)} == {0.5}
    assert isinstance(network.average, nn.AvgPool2d) == (name == "deeplab-largefov")


def test_dilation_gives_between_the_cells_of_vgg_what_vgg_gives_on_them():
    torch.manual_seed(0)
    strided, dense = Vgg("vgg16", 1, 2).eval(), Vgg("vgg16", 1, 2).eval()
    dense.load_state_dict(strided.state_dict())
    fourth = [n for n, m in enumerate(strided.features) if isinstance(m, nn.MaxPool2d)][3]
    strided.features[fourth] = nn.MaxPool2d(3, 2, padding=1)
    keep_resolution(
        dense, [nn.MaxPool2d(2), nn.MaxPool2d(2), nn.MaxPool2d(2), nn.MaxPool2d(3, 1, padding=1), nn.Identity()]
    )
    x = torch.randn(1, 1, 72, 88)
    expected = strided.features[:-1](x)
    assert torch.allclose(dense.features(x)[..., ::2, ::2], expected, atol=1e-6)
    assert expected.std() > 0.01


def test_pretrained_weights_fit_though_layers_are_dilated():
    ours = tiny("deeplabv2").encoder.state_dict()
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in Vgg("vgg16", 1, 2).state_dict().items()}


def test_cells_lie_on_every_eighth_pixel():
    ramp = torch.arange(0.0, 57, 8)
    grid = torch.stack([ramp[:, None].expand(8, 8), ramp.expand(8, 8)])[None]
    y, x = enlarge(grid)[0]
    assert torch.allclose(y, torch.arange(56.0)[:, None].expand(56, 56), atol=1e-4)
    assert torch.allclose(x, torch.arange(56.0).expand(56, 56), atol=1e-4)


def test_what_is_symmetrical_about_a_cell_stays_so():
    # With symmetrical kernels a bright pixel answers alike on both sides: nothing is shifted.
    network = tiny("deeplab-largefov").eval()
    with torch.no_grad():
        for p in network.encoder.parameters():
            p.copy_(torch.ones_like(p) * (p.dim() > 1))
    image = torch.zeros(1, 1, 176, 176)
    image[..., 88, 88] = 1
    features = network.encoder.features[:17](image)
    assert features.shape[2:] == (23, 23)
    line = enlarge(features)[0, 0, 88]
    assert line.argmax() == 88
    assert line[80] > 0
    assert torch.allclose(line[88:170], line[6:89].flip(0)[:82])


def test_scores_of_deeplabv2_are_the_sum_over_its_branches():
    network = tiny("deeplabv2", outputs=3).eval()
    x = torch.randn(1, 1, 64, 48)
    features = network.encoder.features(x)
    assert features.shape[2:] == (9, 7)
    scores = network.score.bias[:, None, None]
    for branch, weight in zip(network.branches, network.score.weight.split(6, dim=1), strict=True):
        scores = scores + torch.conv2d(branch(features), weight)
    assert torch.allclose(network(x)[..., ::8, ::8], scores[..., :-1, :-1], atol=1e-6)


def test_scores_start_as_gaussian_noise_of_a_hundredth():
    score = tiny("deeplabv2", head=512).score
    assert score.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert (score.bias == 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_trace_fits_other_sizes(name):
    network = tiny(name).eval()
    with torch.no_grad():
        traced = torch.jit.trace(network, torch.randn(1, 1, 64, 64))
        x = torch.randn(2, 1, 40, 96)
        assert torch.allclose(traced(x), network(x), atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_it_can_be_fine_tuned_to_other_classes(name):
    old, new = tiny(name, outputs=2), tiny(name, outputs=3)
    transfer(old, new, {2: 0})
    x = torch.randn(1, 1, 32, 32)
    assert np.allclose(new.eval()(x)[0, 2].detach(), old.eval()(x)[0, 0].detach(), atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_weights_of_an_encoder_come_from_a_file(name, tmp_path):
    donor = Vgg("vgg13_bn", 3, 2)
    save_file(donor.state_dict(), tmp_path / "vgg.safetensors")
    file = str(tmp_path / "vgg.safetensors")
    network = build_network(name, channels=3, outputs=2, encoder="vgg13_bn", weights=file, options=TINY)
    assert torch.equal(network.encoder.features[-4].weight, donor.features[-4].weight)
    with pytest.raises(ModelFileError, match="fits .* tensors of this encoder"):
        build_network(name, channels=3, outputs=2, encoder="vgg16", weights=file, options=TINY)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"encoder": "resnet18"}, r"can't use the encoder 'resnet18': .*vgg16.*Try --encoder vgg16"),
        ({"weights": "imagenet", "options": {"width": 8}}, "no ImageNet weights for a VGG network with width 8"),
        ({"options": {"head": 0}}, "head = 0: .*greater than or equal to 1"),
        ({"options": {"rates": "6"}}, "no option 'rates'"),
    ],
)
def test_what_can_not_be_built_is_refused(asked, message):
    with pytest.raises(ConfigError, match=message):
        build_network("deeplabv2", channels=3, outputs=2, **asked)
