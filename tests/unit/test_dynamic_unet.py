import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from napari_segnet.errors import ConfigError
from napari_segnet.models.dynamic_unet import SelfAttention, SubPixelUp
from napari_segnet.models.registry import build_network

SMALL = "tu-mobilenetv3_small_050"


def built(encoder=SMALL, channels=3, **options):
    torch.manual_seed(0)
    return build_network("dynamic-unet", channels=channels, outputs=2, encoder=encoder, options=options)


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def conv(inputs, outputs, side=3):
    return (side**2 * inputs + 1) * outputs


def by_hand(outputs, norms):
    """Count weights with resnet34; `norms`: convolutions have batch normalization instead of a bias, as here."""
    extra = 1 if norms else 0  # two numbers a channel instead of one

    def block(inputs, outputs):
        return conv(inputs, outputs) + extra * outputs

    total = 2 * 512 + block(512, 1024) + block(1024, 512)
    width = 512
    for skip in (256, 128, 64, 64):
        joined = width // 2 + skip
        after = joined // 2 if skip == 64 and width == 256 else joined
        total += conv(width, 4 * (width // 2), 1) + 2 * skip + block(joined, after) + block(after, after)
        width = after
    assert width == 96
    return total + conv(96, 4 * 96, 1) + 2 * block(99, 99) + conv(99, outputs, 1)


def test_parameters_are_those_of_the_layers():
    with torch.device("meta"):
        network = build_network("dynamic-unet", channels=3, outputs=2)
    resnet34 = 21_797_672 - 1000 * 513  # torchvision's, without its classifier
    assert parameters(network.encoder) == resnet34
    assert parameters(network) == resnet34 + by_hand(2, norms=True) == 41_225_398
    # fastai's DynamicUnet of this encoder, without its weight normalization.
    assert resnet34 + by_hand(2, norms=False) == 41_221_168


@pytest.mark.parametrize("blur", [False, True])
def test_upsampling_starts_as_copying_of_pixels(blur):
    torch.manual_seed(0)
    up = SubPixelUp(6, 5, blur)
    x = torch.randn(2, 6, 4, 7)
    once = F.relu(F.conv2d(x, up.conv.weight[::4], up.conv.bias[::4]))
    copied = F.interpolate(once, scale_factor=2.0, mode="nearest")
    assert float(copied.std()) > 0
    if blur:
        copied = F.avg_pool2d(F.pad(copied, (1, 0, 1, 0), mode="replicate"), 2, stride=1)
    assert torch.allclose(up(x), copied, atol=1e-6)


def test_the_four_sub_pixels_may_learn_to_differ():
    torch.manual_seed(0)
    up = SubPixelUp(6, 5, blur=False)
    y = up(torch.randn(1, 6, 4, 4))
    y[:, :, ::2, ::2].sum().backward()
    grad = up.conv.weight.grad.reshape(5, 4, 6)
    assert float(grad[:, 0].abs().max()) > 0
    assert float(grad[:, 1:].abs().max()) == 0


def test_the_blur_keeps_a_constant_image_and_flattens_a_checkerboard():
    blur = SubPixelUp(1, 1, blur=True).blur
    constant = torch.full((1, 3, 8, 6), 7.5)
    assert torch.equal(blur(constant), constant)
    y, x = torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij")
    board = ((y + x) % 2).float()[None, None]
    assert (blur(board)[:, :, 1:, 1:] == 0.5).all()


def test_the_input_s_own_pixels_are_joined():
    network = built().eval()
    x = torch.randn(1, 3, 64, 64)
    features = [torch.zeros_like(f) for f in network.encoder(x)]
    network.encoder.forward = lambda _: features
    network.blocks.requires_grad_(False)
    x.requires_grad_()
    network(x)[0, 0, 30, 30].backward()
    # Two 3 x 3 convolutions look at the input itself.
    assert x.grad.abs().amax(dim=(0, 1)).nonzero().amin(dim=0).tolist() == [28, 28]
    assert x.grad.abs().amax(dim=(0, 1)).nonzero().amax(dim=0).tolist() == [32, 32]


def test_without_it_the_input_is_seen_by_the_encoder_only():
    network = built(join_input=False).eval()
    features = [torch.zeros_like(f) for f in network.encoder(torch.randn(1, 3, 64, 64))]
    network.encoder.forward = lambda _: features
    assert torch.equal(network(torch.randn(1, 3, 64, 64)), network(torch.randn(1, 3, 64, 64)))


@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_features_of_each_level_cross_over_to_the_decoder(level):
    network = built().eval()
    x = torch.randn(1, 3, 64, 64)
    features = [f.detach() for f in network.encoder(x)]
    network.encoder.forward = lambda _: features
    before = network(x)
    features[level] = features[level] + 1
    assert float((network(x) - before).abs().max()) > 1e-4


def test_stages_are_the_coarser_decoder_levels():
    network = built(encoder="resnet18").eval()
    shapes = {}
    for name in network.stages:
        network.get_submodule(name).register_forward_hook(
            lambda *args, name=name: shapes.update({name: tuple(args[2].shape)})
        )
    network(torch.randn(1, 3, 64, 96))
    assert shapes == {
        "blocks.0": (1, 512, 4, 6),
        "blocks.1": (1, 384, 8, 12),
        "blocks.2": (1, 256, 16, 24),
        "blocks.3": (1, 96, 32, 48),
    }


@pytest.mark.parametrize(("encoder", "depth"), [("mit_b0", 5), ("tu-convnext_atto", 5), (SMALL, 3), ("resnet18", 4)])
def test_encoders_of_each_family_fit(encoder, depth):
    network = built(encoder, channels=1, depth=depth).eval()
    assert network.stride == 2**depth
    side = 2 * network.stride
    assert network(torch.randn(1, 1, side, side + network.stride)).shape == (1, 2, side, side + network.stride)


def test_an_encoder_without_a_pyramid_is_refused():
    with pytest.raises(ConfigError, match=r"'dynamic-unet' can't use the encoder 'tu-vit_tiny_patch16_224'"):
        built("tu-vit_tiny_patch16_224")


def test_encoder_weights_come_from_a_file(tmp_path):
    donor = built()
    torch.manual_seed(1)
    save_file(donor.encoder.state_dict(), tmp_path / "encoder.safetensors")
    network = build_network(
        "dynamic-unet", channels=3, outputs=2, encoder=SMALL, weights=str(tmp_path / "encoder.safetensors")
    )
    own, theirs = network.encoder.state_dict(), donor.encoder.state_dict()
    assert all(torch.equal(own[name], theirs[name]) for name in own)


def test_self_attention_adds_nothing_at_first_and_then_looks_everywhere():
    torch.manual_seed(0)
    attention = SelfAttention(16)
    x = torch.randn(1, 16, 8, 8, requires_grad=True)
    assert torch.equal(attention(x), x)
    torch.nn.init.ones_(attention.gain)
    attention(x)[0, :, 0, 0].square().sum().backward()
    assert (x.grad.abs().amax(dim=1) > 0).all()


def test_self_attention_is_the_weighted_mean_of_the_values():
    torch.manual_seed(0)
    attention = SelfAttention(8)
    torch.nn.init.ones_(attention.gain)
    x = torch.randn(1, 8, 2, 3)
    flat = x[0].flatten(1)
    q, k, v = (layer.weight[:, :, 0, 0] @ flat for layer in (attention.query, attention.key, attention.value))
    weights = (q.T @ k).softmax(dim=1)  # one key channel: divided by the root of 1
    assert torch.allclose(attention(x)[0].flatten(1), flat + v @ weights.T, atol=1e-5)


def test_self_attention_sits_in_the_third_block_from_the_end():
    network = built(self_attention=True)
    assert [isinstance(block.attention, SelfAttention) for block in network.blocks] == [False, True, False, False]
    assert not any(isinstance(block.attention, SelfAttention) for block in built().blocks)


@pytest.mark.parametrize(("option", "value"), [("depth", 2), ("blur", "some"), ("last_cross", True)])
def test_bad_options_are_refused(option, value):
    with pytest.raises(ConfigError, match=option):
        built(**{option: value})
