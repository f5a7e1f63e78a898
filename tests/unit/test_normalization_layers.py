"""Group and instance normalization instead of batch normalization, in any network."""

import numpy as np
import pytest
import torch
from tiny_networks import TINY
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from napari_segnet.data.labels import default_classes
from napari_segnet.errors import ConfigError
from napari_segnet.models.file import load_model, transfer, write_model
from napari_segnet.models.info import ModelInfo, read_info
from napari_segnet.models.normalization_layers import GroupNormAct, groups_of, replace_norms
from napari_segnet.models.registry import build_network
from napari_segnet.predict.receptive_field import receptive_field

NAMES = ("plain-unet", "unet", "fpn", "pspnet", "pan", "deeplabv3", "deeplabv3plus", "segformer")


def build(name, norm, channels=2, outputs=3):
    torch.manual_seed(0)
    return build_network(name, channels=channels, outputs=outputs, norm=norm, **TINY[name])


@pytest.mark.parametrize(
    ("channels", "groups"),
    [(1, 1), (2, 1), (3, 1), (4, 2), (16, 8), (32, 16), (48, 24), (62, 31), (64, 32), (96, 32), (100, 25), (512, 32)],
)
def test_groups_are_32_or_the_most_that_divide_the_channels_with_two_in_each(channels, groups):
    assert groups_of(channels) == groups


@pytest.mark.parametrize("norm", ["group", "instance"])
@pytest.mark.parametrize("name", NAMES)
def test_no_batch_norm_is_left_and_one_image_can_be_learned_from(name, norm):
    network = build(name, norm)
    assert not [m for m in network.modules() if isinstance(m, _BatchNorm)]
    side = max(2 * int(network.stride), 64)
    x = torch.randn(2, 2, side, side)
    network.train()(x[:1]).square().mean().backward()
    # An image is answered alike alone and beside another one, while learning and in use.
    network.double().eval()
    with torch.no_grad():
        assert torch.allclose(network(x.double())[:1], network(x[:1].double()))


@pytest.mark.parametrize("norm", ["group", "instance"])
def test_scales_shifts_and_activations_stay(norm):
    as_built, changed = build("unet", None), build("unet", norm)
    assert {type(m).__name__ for m in as_built.encoder.modules()} >= {"BatchNormAct2d"}
    theirs, mine = as_built.state_dict(), changed.state_dict()
    gone = {name.rsplit(".", 1)[1] for name in set(theirs) - set(mine)}
    assert gone == {"running_mean", "running_var", "num_batches_tracked"}
    assert all(torch.equal(value, theirs[name]) for name, value in mine.items())
    acts = [m for m in changed.modules() if isinstance(m, GroupNormAct)]
    x = torch.randn(2, acts[0].num_channels, 5, 7)
    shape = (2, acts[0].num_groups, -1)
    flat = x.reshape(shape)
    expected = (flat - flat.mean(-1, keepdim=True)) / (flat.var(-1, keepdim=True, unbiased=False) + acts[0].eps).sqrt()
    assert torch.allclose(acts[0](x), acts[0].act(expected.reshape(x.shape)), atol=1e-5)


def test_instance_normalization_is_that_of_torch():
    network = nn.Sequential(nn.BatchNorm2d(6), nn.BatchNorm3d(3, eps=0.1), nn.BatchNorm1d(4, affine=False))
    nn.init.uniform_(network[0].weight)
    replace_norms(network, "instance")
    same = nn.InstanceNorm2d(6, affine=True)
    same.load_state_dict(network[0].state_dict())
    x = torch.randn(2, 6, 4, 5)
    assert torch.allclose(network[0](x), same(x), atol=1e-6)
    volume = torch.randn(2, 3, 4, 5, 6)
    assert torch.allclose(network[1](volume), nn.InstanceNorm3d(3, eps=0.1)(volume), atol=1e-6)
    assert network[2].weight is None


def test_what_is_pooled_to_one_value_a_channel_keeps_its_meaning():
    # With groups of one or two channels a single pixel would always become the same.
    for norm in ("group", "instance"):
        network = build("deeplabv3", norm)
        pooled = next(
            m for m in network.modules() if isinstance(m, nn.Sequential) and isinstance(m[0], nn.AdaptiveAvgPool2d)
        )
        norms = [m for m in pooled.modules() if isinstance(m, nn.GroupNorm)]
        assert [m.num_groups for m in norms] == [1]


def test_volumes_with_instance_normalization_get_batch_normalization():
    network = nn.Sequential(nn.Conv3d(1, 4, 3), nn.InstanceNorm3d(4, affine=True), nn.InstanceNorm2d(4))
    replace_norms(network, "batch")
    assert [type(m) for m in network[1:]] == [nn.BatchNorm3d, nn.BatchNorm2d]
    assert network[1].affine
    assert not network[2].affine


def test_a_layer_that_is_used_twice_stays_one():
    norm = nn.BatchNorm2d(4)
    network = nn.ModuleDict({"a": nn.Sequential(norm), "b": nn.Sequential(norm)})
    replace_norms(network, "group")
    assert network["a"][0] is network["b"][0]


def test_batch_normalization_may_be_asked_for_where_it_is():
    assert all(
        torch.equal(a, b)
        for a, b in zip(
            build("unet", "batch").state_dict().values(), build("unet", None).state_dict().values(), strict=True
        )
    )


@pytest.mark.parametrize("norm", ["batch", "group", "instance"])
def test_a_network_without_normalization_is_refused(norm):
    with pytest.raises(ConfigError, match=f"no normalization that {norm} normalization could replace"):
        replace_norms(nn.Sequential(nn.Conv2d(1, 1, 3), nn.LayerNorm(4)), norm)


@pytest.mark.parametrize("name", ["plain-unet", "unet"])
def test_a_model_says_its_normalization_and_is_loaded_with_it(name, tmp_path):
    network = build(name, "group").eval()
    info = ModelInfo(
        network=name,
        encoder=TINY[name].get("encoder"),
        options=TINY[name]["options"],
        norm="group",
        channels=2,
        outputs=3,
        classes=default_classes(range(3), "background", "semantic"),
        patch_size=64,
        stride=network.stride,
        halo=0,
    )
    write_model(tmp_path / "m.safetensors", info, network)
    assert read_info(tmp_path / "m.safetensors").norm == "group"
    _, loaded = load_model(tmp_path / "m.safetensors")
    x = torch.randn(1, 2, 64, 64)
    assert torch.equal(loaded(x), network(x))
    # Fine-tuning to other classes finds the last layer where it always is.
    other = build(name, "group", outputs=2)
    transfer(loaded, other, {0: 0, 1: 2})
    mine, theirs = list(other.state_dict().values())[-1], list(loaded.state_dict().values())[-1]
    assert torch.equal(mine, theirs[[0, 2]])


def test_group_normalization_looks_at_the_whole_tile():
    bounded = receptive_field(build("plain-unet", None), 2, (4, 4))
    assert np.all(np.array(bounded) > 0)
    assert receptive_field(build("plain-unet", "group"), 2, (4, 4)) is None
