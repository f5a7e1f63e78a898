import pytest
import torch
from torch import nn
from torch.nn import functional as F

from napari_segnet.errors import ConfigError
from napari_segnet.models.fcn import Upsampling
from napari_segnet.models.file import transfer
from napari_segnet.models.registry import build_network
from napari_segnet.predict.receptive_field import receptive_field

NAMES = ["fcn-32s", "fcn-16s", "fcn-8s"]


def build(name, outputs=2, channels=3, **options):
    torch.manual_seed(0)
    options = {"width": 2, "head": 8, **options}
    return build_network(name, channels=channels, outputs=outputs, options=options)


def count(module):
    return sum(p.numel() for p in module.parameters())


def test_the_parameters_are_those_of_the_paper_and_of_the_authors_model():
    with torch.device("meta"):
        network, coarsest = (build_network(name, channels=3, outputs=21) for name in ("fcn-8s", "fcn-32s"))
    vgg16 = 14_714_688
    fc6, fc7 = 7 * 7 * 512 * 4096 + 4096, 4096 * 4096 + 4096
    assert vgg16 + fc6 + fc7 == 134_260_544  # 134 M in table 1 of the first paper
    assert count(coarsest) == vgg16 + fc6 + fc7 + 4096 * 21 + 21 == 134_346_581
    scores = (4096 + 512 + 256) * 21
    assert count(network) == vgg16 + fc6 + fc7 + scores + 21 + 2 * 16 == 134_362_741
    # The authors' voc-fcn8s has three biases a class, and kernels for each pair of classes: 4, 4 and 16 wide.
    theirs = vgg16 + fc6 + fc7 + scores + 3 * 21 + 21 * 21 * (4 * 4 + 4 * 4 + 16 * 16)
    assert theirs == 134_489_759


def test_a_feature_of_fc7_sees_404_pixels():
    # Table 1 of the first paper.
    network = build("fcn-32s", channels=1, width=1, head=1).eval()
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.ones_(layer.weight)
    x = torch.zeros(420, 1, 32, 640)
    places = torch.arange(100, 520)
    x[range(420), 0, 16, places] = 1
    with torch.no_grad():
        seen = torch.cat([network.fc6(network.encoder(part)[0][-1]) for part in x.split(84)])
    reached = places[seen[:, 0, 0, 9] > 0]
    assert (int(reached.min()), int(reached.max())) == (9 * 32 + 16 - 202, 9 * 32 + 15 + 202)


def test_upsampling_starts_as_bilinear_and_is_learned():
    torch.manual_seed(0)
    up, x = Upsampling(), torch.randn(2, 3, 5, 4)
    assert torch.allclose(up(x), F.interpolate(x, scale_factor=2, mode="bilinear"), atol=1e-6)
    up(x).square().mean().backward()
    assert up.kernel.grad.abs().min() > 0


@pytest.mark.parametrize("name", NAMES)
def test_scores_start_at_zero_and_the_bias_is_the_same_everywhere(name):
    network = build(name).eval()
    x = torch.randn(1, 3, 64, 96)
    assert not network(x).any()
    nn.init.constant_(network.score.bias, 0.5)
    assert torch.allclose(network(x), torch.tensor(0.5))


@pytest.mark.parametrize(("name", "scored"), [("fcn-32s", [8]), ("fcn-16s", [8, 16]), ("fcn-8s", [8, 16, 8])])
def test_each_map_is_scored_at_its_own_resolution(name, scored):
    network = build(name).eval()
    assert network.scored == scored
    x = torch.randn(1, 3, 64, 96)
    maps = network.encoder(x)[0]
    features = [F.relu(network.fc7(F.relu(network.fc6(maps[4])))), maps[3], maps[2]]
    for part, feature in enumerate(features[: len(scored)]):
        nn.init.zeros_(network.score.weight)
        own = network.score.weight.detach().split(scored, dim=1)[part]
        nn.init.normal_(own)
        scores = F.conv2d(feature, own)
        for _ in range(len(scored) - 1 - part):
            scores = F.interpolate(scores, scale_factor=2, mode="bilinear")
        expected = F.interpolate(scores, size=(64, 96), mode="bilinear")
        assert torch.allclose(network(x), expected, rtol=1e-3, atol=1e-4 * float(expected.detach().abs().max()))


@pytest.mark.parametrize("name", NAMES)
def test_scores_lie_where_their_pixels_are(name):
    # With kernels that look the same from both sides, any shift between image and scores would break the symmetry.
    network = build(name).eval()
    nn.init.normal_(network.score.weight)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.weight.data = layer.weight.data + layer.weight.data.flip(2, 3)
    x = torch.randn(1, 3, 96, 64)
    answer = network(x)
    assert answer.std() > 0
    assert torch.allclose(
        network(x.flip(2, 3)), answer.flip(2, 3), rtol=1e-3, atol=1e-4 * float(answer.detach().abs().max())
    )


@pytest.mark.parametrize(("name", "by_hand"), [("fcn-32s", 208), ("fcn-16s", 216), ("fcn-8s", 220)])
def test_how_far_it_sees(name, by_hand):
    # A cell of 32 x 32 pixels reaches cells -3 to 3 of the fifth pooling, by fc6 -6 to 6, and half a cell more with
    # each upsampling.
    assert receptive_field(build(name), 3, (32, 32)) == -(-by_hand // 32) * 32


def test_dropout_follows_the_option_and_rests_in_use():
    network = build("fcn-8s", dropout=0.7)
    nn.init.normal_(network.score.weight)
    x = torch.randn(1, 3, 64, 64)
    assert network.dropout.p == 0.7
    assert not torch.equal(network.train()(x), network(x))
    assert torch.equal(network.eval()(x), network(x))
    without = build("fcn-8s", dropout=0.0).train()
    nn.init.normal_(without.score.weight)
    assert torch.equal(without(x), without(x))


@pytest.mark.parametrize("name", NAMES)
def test_it_can_be_fine_tuned_to_other_classes(name):
    old, new = build(name, outputs=2), build(name, outputs=4)
    nn.init.normal_(old.score.weight)
    transfer(old, new, {3: 1})
    assert torch.equal(new.score.weight[3], old.score.weight[1])
    assert torch.equal(new.fc6.weight, old.fc6.weight)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"encoder": "resnet34"}, r"'fcn-8s' can't use the encoder 'resnet34': its layers are those of vgg11"),
        ({"weights": "imagenet", "options": {"width": 8}}, "no ImageNet weights for a VGG network with width 8"),
        ({"options": {"head": 0}}, "greater than or equal to 1"),
        ({"options": {"dropout": 1.0}}, "less than 1"),
        ({"options": {"skips": 1}}, "no option 'skips'"),
    ],
)
def test_what_can_not_be_built_is_refused(asked, message):
    with pytest.raises(ConfigError, match=message):
        build_network("fcn-8s", channels=3, outputs=2, **asked)
