import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from napari_segnet.errors import ConfigError
from napari_segnet.models.lecture_unets import ResidualBlock, ResNetOptions, SqueezeExcite, build
from napari_segnet.models.registry import NetworkRequest, build_network

NAMES = ["resnet50-unet", "se-resnet-unet", "densenet-unet", "xception-resunet", "efficientnet-resunet"]
TINY = "tu-mobilenetv3_small_050"


def count(module):
    return sum(p.numel() for p in module.parameters())


def on_meta(name, **asked):
    with torch.device("meta"):
        return build_network(name, channels=3, outputs=3, **asked)


def record(network, names, side):
    """Return the shapes (without the batch) of what goes into and out of submodules."""
    into, out = {}, {}
    for name in names:

        def hook(module, inputs, output, name=name):
            into[name], out[name] = tuple(inputs[0].shape[1:]), tuple(output.shape[1:])

        network.get_submodule(name).register_forward_hook(hook)
    network.eval()(torch.zeros(1, 3, side, side, device="meta"))
    return into, out


def decoder(network):
    return count(network) - count(network.encoder)


@pytest.mark.parametrize(
    ("name", "whole", "classifier"),
    [
        # What torchvision (ResNet50, DenseNet121, EfficientNet-B4), Keras (Xception, the trainable ones) and
        # pretrained-models.pytorch (SE-ResNet50) say of the classification network, and its last layer.
        ("resnet50-unet", 25_557_032, 2048 * 1000 + 1000),
        ("se-resnet-unet", 28_088_024, 2048 * 1000 + 1000),
        ("densenet-unet", 7_978_856, 1024 * 1000 + 1000),
        ("xception-resunet", 22_855_952, 2048 * 1000 + 1000),
        ("efficientnet-resunet", 19_341_616, 1792 * 1000 + 1000),
    ],
)
def test_the_default_encoders_are_the_published_networks(name, whole, classifier):
    assert count(on_meta(name).encoder) == whole - classifier


def test_the_resnet_unet_has_the_sizes_of_the_lecture_s_table():
    names = [f"lateral.{n}" for n in range(5)] + [f"up.{n}.conv" for n in range(4)] + ["head.0", "head.1"]
    into, out = record(on_meta("resnet50-unet"), names, 256)
    # activation_93, _76, _61, _59 and _50
    assert [out[f"lateral.{n}"] for n in range(5)] == [
        (512, 8, 8), (256, 16, 16), (128, 32, 32), (256, 64, 64), (64, 128, 128)
    ]  # fmt: skip
    # concatenate_13 to _16, conv2d_16 to _19
    assert [into[f"up.{n}.conv"] for n in range(4)] == [
        (768, 16, 16), (384, 32, 32), (384, 64, 64), (128, 128, 128)
    ]  # fmt: skip
    assert [out[f"up.{n}.conv"] for n in range(4)] == [(256, 16, 16), (128, 32, 32), (64, 64, 64), (32, 128, 128)]
    # up_sampling2d_20, conv2d_20
    assert out["head.0"] == (32, 256, 256)
    assert out["head.1"] == (3, 256, 256)


def test_parameters_of_the_resnet_decoder_by_hand():
    lateral = (2048 * 512 + 2 * 512) + (1024 * 256 + 2 * 256) + (512 * 128 + 2 * 128)
    stages = (768 * 256 * 9 + 256) + (384 * 128 * 9 + 128) + (384 * 64 * 9 + 64) + (128 * 32 * 9 + 32)
    assert decoder(on_meta("resnet50-unet")) == lateral + stages + (32 * 3 * 9 + 3)
    # Stages that have the table's widths are joined as they are.
    lateral = on_meta("resnet50-unet").lateral
    assert [type(m) for m in lateral[3:]] == [nn.Identity, nn.Identity]


def test_squeeze_and_excitation_behind_four_stages_and_in_the_segmentation_stage():
    plain, excited = on_meta("resnet50-unet"), on_meta("se-resnet-unet", encoder="resnet50")
    own = sum(2 * c * (c // 16) + c // 16 + c for c in (256, 128, 64, 32, 32))
    assert count(excited) - count(plain) == own
    assert decoder(on_meta("se-resnet-unet", options={"reduction": 8})) - decoder(plain) == sum(
        2 * c * (c // 8) + c // 8 + c for c in (256, 128, 64, 32, 32)
    )
    assert sum(isinstance(m, SqueezeExcite) for m in excited.up.modules()) == 4
    assert sum(isinstance(m, SqueezeExcite) for m in excited.head.modules()) == 1


def test_squeeze_and_excitation_weighs_channels_by_their_means():
    block = SqueezeExcite(2, 2)
    with torch.no_grad():
        block.squeeze.weight.copy_(torch.tensor([1.0, -1.0]).reshape(1, 2, 1, 1))
        block.squeeze.bias.fill_(0.5)
        block.excite.weight.copy_(torch.tensor([2.0, 0.0]).reshape(2, 1, 1, 1))
        block.excite.bias.copy_(torch.tensor([-1.0, 0.0]))
    x = torch.stack([torch.tensor([[0.0, 4.0]]), torch.tensor([[1.0, 1.0]])])[None]
    # Means 2 and 1: hidden 2 - 1 + 0.5 = 1.5; the weights are those of 2 and of 0.
    weights = torch.sigmoid(torch.tensor([2 * 1.5 - 1.0, 0.0])).reshape(1, 2, 1, 1)
    assert torch.allclose(block(x), x * weights)


def test_parameters_of_the_densenet_decoder_are_those_of_the_public_network():
    """Ours has no biases in front of batch normalization; the reference's 10 convolutions have."""
    convolutions = [
        (1024, 320), (320 + 1024, 320), (320, 256), (256 + 512, 256), (256, 128), (128 + 256, 128), (128, 96),
        (96 + 64, 96), (96, 64), (64, 64),
    ]  # fmt: skip
    reference = sum(9 * i * o + o + 2 * o for i, o in convolutions) + 64 * 3 + 3
    assert decoder(on_meta("densenet-unet")) == reference - sum(o for _, o in convolutions)


def test_parameters_and_sizes_of_the_residual_decoder_by_hand():
    def stage(i, o, blocks):
        return 9 * i * o + o + blocks * (2 * 9 * o * o + 4 * 2 * o)

    for blocks in (1, 2):
        ups = [(512, 728, 256), (256, 256, 128), (128, 128, 64), (64, 64, 32), (32, 0, 16)]
        expected = stage(2048, 512, blocks) + 16 * 3 + 3
        expected += sum(9 * i * o + o + stage(o + skip, o, blocks) for i, skip, o in ups)
        assert decoder(on_meta("xception-resunet", options={"blocks": blocks})) == expected
    _, out = record(on_meta("xception-resunet"), ["lateral.0", *(f"up.{n}" for n in range(5))], 256)
    assert list(out.values()) == [
        (512, 8, 8), (256, 16, 16), (128, 32, 32), (64, 64, 64), (32, 128, 128), (16, 256, 256)
    ]  # fmt: skip


def test_a_residual_block_adds_to_its_normalized_input():
    block = ResidualBlock(3).eval()
    nn.init.zeros_(block.body[-1].weight)
    x = torch.randn(2, 3, 8, 8)
    assert torch.allclose(block(x), x, atol=1e-4)
    with torch.no_grad():
        block.body[-1].bias.fill_(2.0)
    assert torch.allclose(block(x), x + 2, atol=1e-4)


class Given(nn.Module):
    """An encoder whose features are given."""

    def __init__(self, features):
        super().__init__()
        self.features = features

    def forward(self, x):
        return self.features


@pytest.mark.parametrize("name", NAMES)
def test_all_five_levels_of_the_encoder_reach_the_answer(name):
    torch.manual_seed(0)
    network = build_network(name, channels=3, outputs=2, encoder=TINY, options={"width": 4}).eval()
    features = [torch.randn(1, c, 64 // 2**n, 64 // 2**n) for n, c in enumerate(network.encoder.out_channels)]
    network.encoder = Given([f.requires_grad_() for f in features])
    network(torch.zeros(1, 3, 64, 64))[:, 0].sum().backward()
    assert features[0].grad is None
    assert all(f.grad.abs().max() > 0 for f in features[1:])


@pytest.mark.parametrize("name", NAMES)
def test_its_stages_make_one_tensor_each_coarse_to_fine(name):
    network = on_meta(name, encoder=TINY, options={"width": 4})
    _, out = record(network, network.stages, 64)
    sides = [out[stage][1] for stage in network.stages]
    assert sides == [4, 8, 16, 32][: len(sides)]
    assert len(sides) == len(network.up) - 1


@pytest.mark.parametrize("name", NAMES)
def test_features_without_channels_are_no_skip_connection(name):
    """Transformers have nothing at half the resolution."""
    network = build_network(name, channels=1, outputs=2, encoder="mit_b0", options={"width": 2}).eval()
    assert network.encoder.out_channels[1] == 0
    with torch.no_grad():
        assert network(torch.zeros(1, 1, 64, 32)).shape == (1, 2, 64, 32)


def test_encoder_weights_of_a_file_are_taken(tmp_path):
    torch.manual_seed(0)
    source = build_network("densenet-unet", channels=3, outputs=2, encoder=TINY, options={"width": 4})
    save_file(source.encoder.state_dict(), tmp_path / "encoder.safetensors")
    torch.manual_seed(1)
    network = build_network(
        "xception-resunet", channels=3, outputs=2, encoder=TINY, weights=str(tmp_path / "encoder.safetensors"),
        options={"width": 4},
    )  # fmt: skip
    theirs = source.encoder.state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in network.encoder.state_dict().items())


def test_dropout_is_for_learning_only():
    torch.manual_seed(0)
    network = build_network(
        "xception-resunet", channels=3, outputs=2, encoder=TINY, options={"width": 2, "dropout": 0.9}
    )
    x = torch.randn(1, 3, 64, 64)
    assert torch.equal(network.eval()(x), network(x))
    drops = [m.p for m in network.modules() if isinstance(m, nn.Dropout) and m not in set(network.encoder.modules())]
    assert drops == [0.9] * 6 + [0.45]


@pytest.mark.parametrize(
    ("name", "asked", "message"),
    [
        ("resnet50-unet", {"options": {"width": 0}}, "greater than or equal to 1"),
        ("resnet50-unet", {"options": {"reduction": 4}}, "no option 'reduction'"),
        ("se-resnet-unet", {"options": {"reduction": 0}}, "greater than or equal to 1"),
        ("densenet-unet", {"options": {"width": 1}}, "greater than or equal to 2"),
        ("xception-resunet", {"options": {"blocks": 0}}, "greater than or equal to 1"),
        ("efficientnet-resunet", {"options": {"dropout": 1.0}}, "less than 1"),
        ("densenet-unet", {"encoder": "tu-test_vit"}, "can't use the encoder 'tu-test_vit'.*--encoder densenet121"),
        ("xception-resunet", {"encoder": "xeption"}, "Did you mean 'xception'"),
    ],
)
def test_what_can_not_be_built_is_refused(name, asked, message):
    with pytest.raises(ConfigError, match=message):
        build_network(name, channels=3, outputs=2, **asked)


def test_an_encoder_of_another_depth_is_refused(monkeypatch):
    class Shallow(nn.Module):
        out_channels, output_stride = (3, 8, 16), 4

    class Smp:
        class encoders:  # noqa: N801
            get_encoder = staticmethod(lambda *args, **kwargs: Shallow())

    monkeypatch.setattr("napari_segnet.models.lecture_unets.import_smp", lambda: Smp)
    with pytest.raises(ConfigError, match="doesn't halve the resolution five times"):
        build(NetworkRequest("resnet50-unet", 3, 2, "resnet18"))
    assert ResNetOptions().width == 32
