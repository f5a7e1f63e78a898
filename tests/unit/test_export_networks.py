"""Networks whose layers exporters only know in another form; the others are like those tested elsewhere."""

import pytest
import torch
from tiny_networks import TINY, build_tiny

from napari_segnet.data.labels import default_classes
from napari_segnet.export import export_model
from napari_segnet.export.layers import exportable_layers
from napari_segnet.models.catalogue import NETWORKS
from napari_segnet.models.file import write_model
from napari_segnet.models.info import ModelInfo

pytestmark = pytest.mark.usefixtures("one_thread")


def write(path, name):
    torch.manual_seed(0)
    network = build_tiny(name, channels=2, outputs=3).eval()
    with torch.no_grad():
        list(network.parameters())[-2].mul_(10)  # what is sure of nothing shows no difference
    info = ModelInfo(
        network=name,
        encoder=TINY[name].get("encoder"),
        options=TINY[name].get("options", {}),
        axes=NETWORKS[name].axes,
        channels=2,
        outputs=3,
        normalization={"mode": "dataset", "low": (0, 0), "high": (255, 255)},
        classes=default_classes(range(3), "background", "semantic"),
        patch_size=128,
        stride=network.stride,
        halo=0,
    )
    write_model(path, info, network)
    return path


@pytest.mark.parametrize(
    ("name", "format_"),
    [
        ("pspnet", "torch-export"),  # means over a grid of cells
        ("dynunet", "torch-export"),  # instance normalization that knows single voxels
        ("inception-unet", "onnx"),  # numbers that follow from the sides of the image
    ],
)
def test_networks_with_layers_of_their_own_say_the_same_at_all_sizes(name, format_, tmp_path):
    report = export_model(write(tmp_path / "m.safetensors", name), tmp_path / "out", format_)
    assert report.differences[format_] < 1e-4
    assert report.words[0].count(" x ") >= 3


@pytest.mark.parametrize("name", ["pspnet", "upernet", "dynunet", "unet3d"])
def test_layers_in_another_form_give_the_same_answer_and_leave_the_network_alone(name):
    torch.manual_seed(0)
    network = build_tiny(name, channels=2, outputs=3).eval()
    kinds = [type(module) for module in network.modules()]
    shape = (64, 96) if NETWORKS[name].axes == "YX" else (16, 32, 16)
    image = torch.randn(1, 2, *shape)
    with torch.inference_mode():
        expected, found = network(image), exportable_layers(network)(image)
    assert (expected - found).abs().max() < 1e-5
    assert [type(module) for module in network.modules()] == kinds
    assert [type(module) for module in exportable_layers(network).modules()] != kinds
