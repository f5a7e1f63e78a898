"""Bundles of MONAI for volumes give the same answers here, with the axes the other way round."""

import json

import pytest
import torch
from monai.networks import nets
from torch import nn

from napari_segnet.errors import ModelFileError
from napari_segnet.importers import ImportConfig, import_model
from napari_segnet.models.file import load_model

ONE_TO_TWO = {"spatial_dims": 3, "in_channels": 1, "out_channels": 2}
NARROW = [4, 4, 8, 16, 32, 4]


@pytest.fixture(autouse=True)
def _quickly(monkeypatch):
    """Leave the receptive field open: to find it takes longer than all the rest, and is tested elsewhere."""
    monkeypatch.setattr("napari_segnet.importers.assemble.receptive_field", lambda *_arguments: None)


def bundle(folder, kind, arguments, metadata=None, **settings):
    """Write a bundle with random weights; returns the network."""
    torch.manual_seed(0)
    network = getattr(nets, kind)(**arguments).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    torch.save(network.state_dict(), folder / "models" / "model.pt")
    write(folder, "inference.json", {"network_def": {"_target_": kind, **arguments}, **settings})
    write(folder, "metadata.json", metadata or {"monai_version": "1.3.0"})
    return network


def write(folder, name, content):
    (folder / "configs" / name).write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("kind", "arguments", "network", "options"),
    [
        ("SegResNet", {**ONE_TO_TWO, "init_filters": 8, "dropout_prob": 0.2}, "segresnet",
         {"width": 8, "dropout": 0.2}),
        ("BasicUNet", {**ONE_TO_TWO, "features": NARROW}, "unet3d", {"width": 4, "dropout": 0.0}),
        ("VNet", ONE_TO_TWO, "vnet", {"dropout": 0.5}),
        ("BasicUNet", {**ONE_TO_TWO, "out_channels": 1, "features": NARROW}, "unet3d", {"width": 4, "dropout": 0.0}),
        ("AttentionUnet", {**ONE_TO_TWO, "channels": [4, 8, 16], "strides": [[2, 2, 1], 2]}, "attention-unet3d",
         {"width": 4, "depth": 2, "flat_levels": 1, "dropout": 0.0}),
        ("DynUNet", {**ONE_TO_TWO, "kernel_size": [[3, 3, 1], 3, 3], "strides": [1, [2, 2, 1], 2],
                     "upsample_kernel_size": [[2, 2, 1], 2], "filters": [4, 8, 16], "deep_supervision": True},
         "dynunet", {"width": 4, "depth": 2, "flat_levels": 1, "residual": False}),
    ],
)  # fmt: skip
def test_a_bundle_answers_the_same_here(tmp_path, kind, arguments, network, options):
    theirs = bundle(tmp_path / "bundle", kind, arguments, inferer={"roi_size": [96, 64, 32]})
    info = import_model(tmp_path / "bundle", tmp_path / "m.safetensors")
    assert (info.network, info.options, info.axes) == (network, options, "ZYX")
    assert info.normalization.mode == "none"
    assert info.patch_size == (32, 64, 96)
    _, ours = load_model(tmp_path / "m.safetensors")
    volume = torch.randn(1, 1, 48, 32, 16)  # X, Y, Z
    with torch.no_grad():
        expected, found = theirs(volume), ours(volume.permute(0, 1, 4, 3, 2)).permute(0, 1, 4, 3, 2)
    if expected.shape[1] == 1:
        expected = torch.cat([torch.zeros_like(expected), expected], dim=1)
    assert torch.allclose(found, expected, atol=1e-4)


def test_class_names_come_from_the_metadata_and_what_is_not_taken_over_is_said(tmp_path):
    metadata = {"network_data_format": {"outputs": {"pred": {"channel_def": {"0": "background", "1": "spleen"}}}}}
    preprocessing = {"_target_": "Compose", "transforms": [{"_target_": "Spacingd"}, {"_target_": "Orientationd"}]}
    arguments = {**ONE_TO_TWO, "features": NARROW}
    bundle(tmp_path / "b", "BasicUNet", arguments, metadata, preprocessing=preprocessing)
    notes = []
    info = import_model(tmp_path / "b", tmp_path / "m.safetensors", on_note=notes.append)
    assert [c.name for c in info.classes] == ["background", "spleen"]
    assert any("Spacingd, Orientationd" in note for note in notes)
    info = import_model(tmp_path / "b", tmp_path / "m.safetensors", ImportConfig(classes=("organ",)))
    assert [c.name for c in info.classes] == ["background", "organ"]


def test_references_to_plain_values_are_followed(tmp_path):
    arguments = {**ONE_TO_TWO, "features": NARROW}
    bundle(tmp_path / "b", "BasicUNet", arguments, classes=2, width=4)
    definition = {"_target_": "monai.networks.nets.BasicUNet", **arguments, "out_channels": "@classes"}
    definition["features"] = ["@width", *NARROW[1:]]
    write(tmp_path / "b", "inference.json", {"network_def": definition, "classes": 2, "width": 4})
    assert import_model(tmp_path / "b", tmp_path / "m.safetensors").options["width"] == 4


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        ({"_target_": "UNet", "spatial_dims": 3}, "a UNet for 3 dimensions, which is not known here. Of MONAI's"),
        ({"_target_": "BasicUNet", "spatial_dims": 2}, "a BasicUNet for 2 dimensions"),
        ({"_target_": "os.system", "command": "true"}, "a system for 3 dimensions"),
        ({"_target_": "BasicUNet", "out_channels": "$__import__('os').getpid()"}, "would have to be computed"),
        ({"_target_": "BasicUNet", "act": {"_target_": "os.getpid"}}, "would have to be computed"),
        ({"_target_": "BasicUNet", "features": [10**9] * 6}, "would have to be computed"),
        ({"_target_": "BasicUNet", "features": NARROW, "act": "RELU"}, "has .*: ReLU.* where unet3d has .*: LeakyReLU"),
        ({"_target_": "BasicUNet", "features": NARROW, "upsample": "nontrainable"}, "can't be imported"),
        ({"_target_": "BasicUNet", "features": [8, *NARROW[1:]]}, "can't be imported"),
        ({"_target_": "BasicUNet", "colour": "red"}, "that MONAI can't build"),
        ({"_target_": "BasicUNet", "features": 3}, "that MONAI can't build"),
        ("BasicUNet", "doesn't say which network it is"),
    ],
)
def test_nothing_is_executed_and_what_is_none_of_ours_is_refused(tmp_path, definition, message):
    bundle(tmp_path / "b", "BasicUNet", {**ONE_TO_TWO, "features": NARROW})
    write(tmp_path / "b", "inference.json", {"network_def": definition})
    with pytest.raises(ModelFileError, match=message):
        import_model(tmp_path / "b", tmp_path / "m.safetensors")
    assert not (tmp_path / "m.safetensors").exists()


def test_classes_that_may_overlap_are_refused(tmp_path):
    after = {"transforms": [{"_target_": "Activationsd", "sigmoid": True}]}
    bundle(tmp_path / "b", "BasicUNet", {**ONE_TO_TWO, "features": NARROW}, postprocessing=after)
    with pytest.raises(ModelFileError, match="its classes may overlap"):
        import_model(tmp_path / "b", tmp_path / "m.safetensors")


def test_a_damaged_bundle_is_refused(tmp_path):
    bundle(tmp_path / "b", "BasicUNet", {**ONE_TO_TWO, "features": NARROW})
    (tmp_path / "b" / "models" / "model.pt").write_bytes(b"nothing")
    with pytest.raises(ModelFileError, match="damaged|execute code"):
        import_model(tmp_path / "b", tmp_path / "m.safetensors")
    (tmp_path / "b" / "configs" / "inference.json").write_text("{")
    with pytest.raises(ModelFileError, match="no configuration of MONAI, or is damaged"):
        import_model(tmp_path / "b", tmp_path / "m.safetensors")
    (tmp_path / "b" / "configs" / "inference.json").unlink()
    with pytest.raises(ModelFileError, match="holds none of inference.json"):
        import_model(tmp_path / "b", tmp_path / "m.safetensors")
