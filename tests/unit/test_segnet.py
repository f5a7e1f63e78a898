import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from napari_segnet._torch import import_smp
from napari_segnet.errors import ConfigError, ModelFileError, SegNetError
from napari_segnet.models.file import transfer
from napari_segnet.models.registry import build_network
from napari_segnet.models.segnet import unpool
from napari_segnet.models.vgg import Vgg
from napari_segnet.predict.receptive_field import receptive_field

VGG16 = [(3, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 256), (256, 512), *[(512, 512)] * 5]
"""Inputs and outputs of the 13 convolutions of VGG16."""


def build(name, outputs=2, channels=3, width=2, **asked):
    torch.manual_seed(0)
    return build_network(name, channels=channels, outputs=outputs, options={"width": width}, **asked)


def build_whole(name, outputs, **asked):
    with torch.device("meta"):
        return build_network(name, channels=3, outputs=outputs, **asked)


def count(module):
    return sum(p.numel() for p in module.parameters())


def convolutions(module):
    return [m for m in module.modules() if isinstance(m, nn.Conv2d)]


def weights_of(pairs, size=3, bias=1):
    return sum(size * size * inputs * outputs + bias * outputs for inputs, outputs in pairs)


def test_segnet_has_the_parameters_of_the_authors_model():
    network = build_whole("segnet", outputs=11)
    assert (
        count(build_whole("segnet", outputs=11, encoder="vgg16").encoder) == weights_of(VGG16) == 14_714_688
    )  # 14.7 M
    # The authors' Caffe model for CamVid: the mirror image, the classes instead of the image, and a scale and a shift
    # a channel behind every convolution but the last. Table 6 says 117 MB, at 4 bytes each.
    mirror = [(outputs, inputs) for inputs, outputs in VGG16[:0:-1]] + [(64, 11)]
    normalized = sum(2 * outputs for _, outputs in VGG16 + mirror[:-1])
    assert count(network) == weights_of(VGG16) + weights_of(mirror) + normalized == 29_449_355


def test_segnet_basic_has_the_parameters_of_the_layers_in_the_paper():
    layers = [(3, 64), *[(64, 64)] * 7]
    by_hand = weights_of(layers, size=7, bias=0) + 8 * 2 * 64 + weights_of([(64, 11)], size=1)
    assert count(build_whole("segnet-basic", outputs=11)) == by_hand == 1_416_075
    # Table 1 says 1.425 M, and not what was counted: no count of these layers gives exactly that.
    assert by_hand == pytest.approx(1.425e6, rel=0.01)


def test_vgg_segnet_has_the_parameters_of_the_keras_package():
    # Its vgg16.py up to block4_pool; segnet_decoder(n_up=3) with 512, 256, 128 and 64 filters; Keras' own sums.
    encoder = [1792, 36928, 73856, 147584, 295168, 590080, 590080, 1180160, 2359808, 2359808]
    decoder = [2359808, 1179904, 295040, 73792]
    normalized = [2 * width for width in (512, 256, 128, 64)]  # Keras counts the running statistics, too
    head = 9 * 64 * 101 + 101
    assert count(build_whole("vgg-segnet", outputs=101)) == sum([*encoder, *decoder, *normalized, head]) == 11_604_005


@pytest.mark.parametrize("name", ["vgg11", "vgg13", "vgg16", "vgg19", "vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn"])
def test_the_tensors_are_those_of_the_pretrained_networks(name):
    with torch.device("meta"):
        own = Vgg(name, channels=3).state_dict()
        theirs = import_smp().encoders.get_encoder(name, weights=None).state_dict()
    assert {key: value.shape for key, value in own.items()} == {key: value.shape for key, value in theirs.items()}


def test_with_the_same_weights_the_features_are_those_of_smp():
    torch.manual_seed(0)
    own = Vgg("vgg11_bn", channels=3).eval()
    with torch.device("meta"):  # its classifier, which is thrown away, would take 500 MB
        theirs = import_smp().encoders.get_encoder("vgg11_bn", weights=None)
    theirs.to_empty(device="cpu").load_state_dict(own.state_dict())
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(own(x)[0][-1], theirs.eval()(x)[-1])


def test_unpooling_puts_values_back_to_where_they_were_the_largest():
    torch.manual_seed(0)
    x = torch.rand(2, 3, 6, 10)
    pooled, index = F.max_pool2d(x, 2, return_indices=True)
    back = unpool(pooled, index)
    assert torch.equal(back, F.max_unpool2d(pooled, index, 2))
    assert torch.equal(back[back > 0], x[back > 0])
    assert (back > 0).sum() == pooled.numel()


@pytest.mark.parametrize("encoder", ["vgg11", "vgg16_bn", "vgg19_bn"])
def test_the_decoder_is_the_encoder_in_the_mirror(encoder):
    network = build("segnet", outputs=5, encoder=encoder)
    down = [(c.in_channels, c.out_channels) for c in convolutions(network.encoder)]
    up = [(c.out_channels, c.in_channels) for c in [*convolutions(network.decoder), network.head]]
    assert up[::-1][1:] == down[1:]
    assert up[-1] == (5, 2)
    norms = [m for m in network.decoder.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == len(convolutions(network.decoder))


@pytest.mark.parametrize("name", ["segnet", "segnet-basic"])
def test_every_decoder_starts_where_its_own_encoder_had_the_largest_values(name, monkeypatch):
    network = build(name, width=3).eval()
    pooled, filled = [], []
    original = F.max_pool2d

    def recorded(x, *args, **options):
        pooled.append((x, *original(x, *args, **options)))
        return pooled[-1][1:]

    monkeypatch.setattr(F, "max_pool2d", recorded)
    for stage in network.decoder:
        stage.layers.register_forward_pre_hook(lambda _module, inputs: filled.append(inputs[0]))
    with torch.no_grad():
        network(torch.randn(1, 3, 64, 64))
    assert len(pooled) == len(filled) == len(network.decoder)
    for (before, largest, index), after in zip(pooled, filled[::-1], strict=True):
        places = F.max_unpool2d(torch.ones_like(largest), index, 2) > 0
        assert after.shape == before.shape
        assert not after[~places].any()
        assert after[places].any()


@pytest.mark.parametrize(("name", "depth"), [("segnet", 5), ("segnet-basic", 4), ("vgg-segnet", 4)])
def test_stages_go_from_coarse_to_fine(name, depth):
    network = build(name)
    sizes = []
    for stage in network.stages:
        network.get_submodule(stage).register_forward_hook(lambda _m, _i, output: sizes.append(output.shape[-2:]))
    network(torch.randn(2, 3, 64, 96))
    first = 2 ** (depth if name == "vgg-segnet" else depth - 1)
    assert sizes == [(64 * 2**level // first, 96 * 2**level // first) for level in range(depth - 1)]


def test_segnet_basic_is_what_section_3_1_says():
    network = build_whole("segnet-basic", outputs=11)
    layers = convolutions(network.down) + convolutions(network.decoder)
    assert [c.kernel_size for c in layers] == [(7, 7)] * 8
    assert all(c.bias is None for c in layers)
    assert len([m for m in network.down.modules() if isinstance(m, nn.ReLU)]) == 4
    assert not [m for m in network.decoder.modules() if isinstance(m, nn.ReLU)]


def test_the_deepest_feature_of_segnet_basic_sees_106_pixels():
    network = build("segnet-basic", channels=1, width=1).eval()
    for layer in convolutions(network.down):
        nn.init.ones_(layer.weight)
    # One bright pixel in each strip: how many of them reach the middle one of the deepest features?
    length = 224
    x = torch.zeros(length, 1, 16, length)
    x[torch.arange(length), 0, 8, torch.arange(length)] = 1
    with torch.no_grad():
        for down in network.down:
            x = F.max_pool2d(down(x), 2)
    assert (x[:, 0, 0, 7] > 0).sum() == 106


@pytest.mark.parametrize(("name", "by_hand"), [("segnet", 186), ("segnet-basic", 93), ("vgg-segnet", 81)])
def test_how_far_it_sees(name, by_hand):
    # A cell of stride x stride pixels through convolutions (radius 1 or 3) and pooling, down and up again.
    network = build(name, width=2)
    stride = network.stride
    assert receptive_field(network, 3, (stride, stride)) == -(-by_hand // stride) * stride


def test_vgg_segnet_answers_at_half_the_resolution():
    network = build("vgg-segnet").eval()
    assert not [m for m in network.decoder.modules() if isinstance(m, nn.ReLU)]
    halves = []
    network.head.register_forward_hook(lambda _m, _i, output: halves.append(output))
    with torch.no_grad():
        logits = network(torch.randn(1, 3, 32, 48))
    assert halves[0].shape == (1, 2, 16, 24)
    assert torch.allclose(logits, F.interpolate(halves[0], size=(32, 48), mode="bilinear"), atol=1e-6)


def test_weights_start_as_he_et_al_say():
    network = build("segnet", width=16)
    for layer in convolutions(network):
        expected = (2 / (9 * layer.in_channels)) ** 0.5
        assert float(layer.weight.detach().std()) == pytest.approx(expected, rel=0.15)
        assert not layer.bias.any()


@pytest.mark.parametrize(
    ("name", "asked", "message"),
    [
        (
            "segnet",
            {"encoder": "resnet18"},
            r"can't use the encoder 'resnet18': its layers are those of vgg11.*vgg16_bn",
        ),
        ("vgg-segnet", {"encoder": "tu-resnet18"}, r"can't use the encoder 'tu-resnet18'"),
        ("segnet", {"encoder": "vgg17"}, "no encoder called 'vgg17'. Did you mean 'vgg1"),
        ("segnet-basic", {"encoder": "vgg16"}, "has no encoder to choose"),
        ("segnet", {"weights": "imagenet"}, "no ImageNet weights for a VGG network with width 2"),
        ("segnet", {"width": 0}, "greater than or equal to 1"),
        ("segnet-basic", {"width": 513}, "less than or equal to 512"),
    ],
)
def test_what_can_not_be_built_is_refused(name, asked, message):
    with pytest.raises(ConfigError, match=message):
        build(name, **asked)


@pytest.mark.parametrize("name", ["segnet", "vgg-segnet"])
def test_imagenet_weights_are_smp_s(name, monkeypatch):
    torch.manual_seed(1)
    donors = []

    def fetch(encoder, in_channels, weights):
        assert weights == "imagenet"
        donors.append(Vgg(encoder, in_channels))
        return donors[-1]

    monkeypatch.setattr(import_smp().encoders, "get_encoder", fetch)
    network = build(name, channels=1, width=64, encoder="vgg11", weights="imagenet")
    theirs = donors[0].state_dict()
    assert network.encoder.state_dict()
    for key, value in network.encoder.state_dict().items():
        assert torch.equal(value, theirs[key])


def test_without_a_connection_imagenet_weights_are_a_sentence(monkeypatch):
    def offline(*_args, **_kwargs):
        raise OSError("Cannot find the requested files in the local cache.")

    monkeypatch.setattr(import_smp().encoders, "get_encoder", offline)
    with pytest.raises(SegNetError, match=r"weights of 'vgg11' could not be fetched.*--weights none"):
        build("segnet", width=64, encoder="vgg11", weights="imagenet")


def test_encoder_weights_come_from_a_file_with_torchvision_s_names(tmp_path):
    torch.manual_seed(1)
    donor = Vgg("vgg16_bn", channels=3, width=2)
    save_file({**donor.state_dict(), "classifier.6.bias": torch.zeros(1000)}, tmp_path / "vgg.safetensors")
    network = build("segnet", weights=str(tmp_path / "vgg.safetensors"))
    assert torch.equal(network.encoder.features[7].weight, donor.features[7].weight)
    with pytest.raises(ModelFileError, match=r"fits \d+ of the \d+ tensors"):
        build("segnet", width=4, weights=str(tmp_path / "vgg.safetensors"))


@pytest.mark.parametrize("name", ["segnet", "segnet-basic", "vgg-segnet"])
def test_it_can_be_fine_tuned_to_other_classes(name):
    old, new = build(name, outputs=2), build(name, outputs=4)
    transfer(old, new, {3: 1})
    assert torch.equal(new.head.weight[3], old.head.weight[1])
    assert torch.equal(next(new.decoder.parameters()), next(old.decoder.parameters()))
