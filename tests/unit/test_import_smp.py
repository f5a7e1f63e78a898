"""Models of segmentation-models-pytorch, and weights of any network that is named, give the same answers here."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tiny_networks import TINY, build_tiny
from torch import nn

from napari_segnet._torch import import_smp
from napari_segnet.cli import run
from napari_segnet.errors import ConfigError, ModelFileError
from napari_segnet.importers import ImportConfig, import_model
from napari_segnet.models.file import load_model

ENCODER = "tu-mobilenetv3_small_050"
SMALL = {"encoder_name": ENCODER, "encoder_weights": None, "classes": 2}


@pytest.fixture(autouse=True)
def _quickly(monkeypatch):
    """Leave the receptive field open: to find it takes longer than all the rest, and is tested elsewhere."""
    monkeypatch.setattr("napari_segnet.importers.assemble.receptive_field", lambda *_arguments: None)


def make(kind, **arguments):
    """Make a network of smp whose batch normalizations have something to tell."""
    torch.manual_seed(0)
    network = getattr(import_smp(), kind)(**{**SMALL, **arguments}).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return network


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A small U-Net as smp saves it."""
    folder = tmp_path_factory.mktemp("smp") / "unet"
    make("Unet", decoder_channels=(16,) * 5).save_pretrained(folder)
    return folder


def with_config(folder, copy, changes, without=()):
    """Copy a folder of smp, and change its configuration."""
    shutil.copytree(folder, copy)
    config = json.loads((copy / "config.json").read_text())
    kept = {key: value for key, value in config.items() if key not in without}
    (copy / "config.json").write_text(json.dumps({**kept, **changes}))
    return copy


def logits(network, channels=3):
    torch.manual_seed(1)
    with torch.no_grad():
        found = network(torch.randn(1, channels, 128, 160))
    return found[0] if isinstance(found, tuple) else found


KINDS = [
    ("Unet", {"classes": 1, "in_channels": 1, "decoder_channels": (64, 32, 16, 16, 16)}, {"decoder_width": 64}),
    ("Unet", {"encoder_depth": 4, "decoder_channels": (32, 16, 16, 16)}, {"depth": 4, "decoder_width": 32}),
    ("UnetPlusPlus", {"classes": 5, "decoder_channels": (32, 16, 16, 16, 16)}, {"decoder_width": 32}),
    ("MAnet", {"decoder_pab_channels": 16, "decoder_channels": (32, 16, 16, 16, 16)}, {"attention_width": 16}),
    ("Linknet", {"in_channels": 4}, {"depth": 5}),
    ("FPN", {"classes": 1, "decoder_pyramid_channels": 64, "decoder_segmentation_channels": 32}, {"decoder_width": 64}),
    ("PSPNet", {"psp_out_channels": 32, "psp_dropout": 0.3}, {"decoder_width": 32, "dropout": 0.3}),
    ("PAN", {}, {"decoder_width": 32}),
    ("DeepLabV3", {"decoder_channels": 32, "encoder_output_stride": 16}, {"decoder_width": 32, "output_stride": 16}),
    ("DeepLabV3Plus", {"decoder_channels": 32}, {"decoder_width": 32, "output_stride": 16}),
    ("UPerNet", {"decoder_channels": 32}, {"decoder_width": 32}),
    ("Segformer", {"decoder_segmentation_channels": 32}, {"decoder_width": 32}),
]


@pytest.mark.parametrize(("kind", "arguments", "options"), KINDS)
def test_what_smp_saved_answers_the_same_here(tmp_path, kind, arguments, options):
    network = make(kind, **arguments)
    network.save_pretrained(tmp_path / "there")
    info = import_model(tmp_path / "there", tmp_path / "m.safetensors")
    _, ours = load_model(tmp_path / "m.safetensors")
    channels = arguments.get("in_channels", 3)
    theirs = logits(network, channels)
    if theirs.shape[1] == 1:  # a sigmoid's logit x is softmax's 0 and x
        theirs = torch.cat([torch.zeros_like(theirs), theirs], dim=1)
    assert torch.allclose(logits(ours, channels), theirs, atol=1e-6)
    assert options.items() <= info.options.items()
    assert (info.encoder, info.channels, info.outputs) == (ENCODER, channels, max(arguments.get("classes", 2), 2))
    assert info.normalization.high == (255,) * channels


def test_a_pretrained_encoder_means_that_images_had_imagenets_mean_taken_out(saved, tmp_path):
    path = with_config(saved, tmp_path / "there", {"encoder_weights": "imagenet"})
    low, high = import_model(path, tmp_path / "m.safetensors").normalization.limits(np.zeros((3, 4, 4)))
    white = (255 - (low + high) / 2) / ((high - low) / 2)
    assert white == pytest.approx([(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225])
    info = import_model(path, tmp_path / "m.safetensors", ImportConfig(intensities="0..1"))
    assert info.normalization.low == (-255,) * 3


def test_the_name_that_smp_once_gave_to_batch_normalization_is_known(saved, tmp_path):
    path = with_config(saved, tmp_path / "old", {"decoder_use_batchnorm": True}, without=("decoder_use_norm",))
    assert import_model(path, tmp_path / "m.safetensors").network == "unet"
    path = with_config(saved, tmp_path / "bare", {"decoder_use_batchnorm": False}, without=("decoder_use_norm",))
    with pytest.raises(ModelFileError, match="made with decoder_use_norm = False, but unet has 'batchnorm'"):
        import_model(path, tmp_path / "m.safetensors")


def test_a_second_head_is_left_out_and_said(tmp_path):
    network = make("Linknet", aux_params={"classes": 3})
    network.save_pretrained(tmp_path / "there")
    notes = []
    import_model(tmp_path / "there", tmp_path / "m.safetensors", on_note=notes.append)
    assert any("second head" in note for note in notes)
    assert torch.allclose(logits(load_model(tmp_path / "m.safetensors")[1]), logits(network), atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decoder_channels": [64, 32, 16, 8, 4]}, r"decoder_channels = \[64, 32, 16, 8, 4\]"),
        ({"decoder_attention_type": "scse"}, "decoder_attention_type = 'scse'"),
        ({"activation": "sigmoid"}, "ends with 'sigmoid' for 2 classes"),
        ({"_model_class": "Mystery"}, "holds a Mystery of smp"),
        ({"encoder_name": "resnet19"}, "no encoder called 'resnet19'"),
        ({"encoder_name": "hf-hub:somebody/something"}, "no encoder called"),
        (
            {"encoder_depth": 4, "decoder_channels": [256, 128, 64, 32]},
            "weights more than unet has|is missing|in the file",
        ),
        ({"new_argument": 3}, "new_argument = 3"),
    ],
)
def test_what_ours_can_not_be_is_refused(saved, tmp_path, changes, message):
    path = with_config(saved, tmp_path / "there", changes)
    with pytest.raises(ModelFileError, match=message):
        import_model(path, tmp_path / "m.safetensors")
    assert not (tmp_path / "m.safetensors").exists()


def test_a_damaged_folder_is_refused(saved, tmp_path):
    path = with_config(saved, tmp_path / "there", {})
    whole = (path / "model.safetensors").read_bytes()
    (path / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelFileError, match="no file of weights, or is damaged"):
        import_model(path, tmp_path / "m.safetensors")
    for text in ("{", "[1]", '{"_model_class": 3}'):
        (path / "config.json").write_text(text)
        with pytest.raises(ModelFileError, match="damaged|holds a 3 of smp"):
            import_model(path, tmp_path / "m.safetensors")


# Weights alone


def wrapped(weights):
    return {f"module.model.{name}": value for name, value in weights.items()}


@pytest.mark.parametrize(
    ("content", "suffix"),
    [
        (lambda weights: weights, ".pt"),
        (lambda weights: weights, ".safetensors"),
        (wrapped, ".pth"),
        (lambda weights: {"epoch": 3, "state_dict": wrapped(weights), "optimizer": {"state": {}}}, ".ckpt"),
    ],
)
def test_weights_of_a_network_that_is_named_are_imported(tmp_path, content, suffix):
    network = make("Unet", decoder_channels=(16,) * 5, in_channels=2, classes=3)
    path = tmp_path / f"weights{suffix}"
    kept = content(network.state_dict())
    save_file(kept, path) if suffix == ".safetensors" else torch.save(kept, path)
    config = ImportConfig(network="unet", encoder=ENCODER, options={"decoder_width": 16})
    info = import_model(path, tmp_path / "m.safetensors", config)
    assert (info.channels, info.outputs) == (2, 3)
    assert torch.equal(logits(load_model(tmp_path / "m.safetensors")[1], 2), logits(network, 2))


@pytest.mark.parametrize("name", ["plain-unet", "imageseg-unet", "workshop-unet", "dynamic-unet"])
def test_any_network_of_the_catalogue_takes_its_weights_back(tmp_path, name):
    network = build_tiny(name, channels=5, outputs=4).eval()
    torch.save(network.state_dict(), tmp_path / "w.pt")
    config = ImportConfig(network=name, encoder=TINY[name].get("encoder"), options=TINY[name]["options"])
    info = import_model(tmp_path / "w.pt", tmp_path / "m.safetensors", config)
    assert (info.channels, info.outputs) == (5, 4)
    assert torch.equal(logits(load_model(tmp_path / "m.safetensors")[1], 5), logits(network, 5))


def test_the_command_takes_network_and_encoder(tmp_path):
    network = make("Unet", decoder_channels=(16,) * 5)
    torch.save(network.state_dict(), tmp_path / "w.pt")
    arguments = ["import", str(tmp_path / "w.pt"), "--out", str(tmp_path / "m.safetensors")]
    settings = ["--set", "network=unet", "--set", f"encoder={ENCODER}", "--set", "options.decoder_width=16"]
    assert run([*arguments, *settings]) == 0
    assert run([*arguments, "--network", "unet", "--encoder", ENCODER, "--set", "options.decoder_width=16"]) == 0
    assert torch.equal(logits(load_model(tmp_path / "m.safetensors")[1]), logits(network))


class Trap:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def test_code_in_a_file_of_weights_is_never_executed(tmp_path, capsys):
    torch.save({"state_dict": Trap(tmp_path / "sprung")}, tmp_path / "w.pt")
    torch.save(make("Linknet"), tmp_path / "whole.pt")
    for name in ("w.pt", "whole.pt"):
        assert run(["import", str(tmp_path / name), "--out", str(tmp_path / "m.safetensors"), "--network", "unet"]) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert "to load it could execute code" in line
    assert not (tmp_path / "sprung").exists()
    assert not (tmp_path / "m.safetensors").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"weight": torch.ones(2)}, "'stem.conv1.weight' is missing"),
        ({"step": 3}, "holds no weights by name, but 'step'"),
        ([torch.ones(2)], "holds no weights by name, but list"),
        (None, "damaged"),
        ({}, "holds no weights"),
    ],
)
def test_other_contents_are_refused(tmp_path, content, message):
    if content is None:
        (tmp_path / "w.pt").write_bytes(b"PK\x03\x04 and nothing more")
    else:
        torch.save(content, tmp_path / "w.pt")
    with pytest.raises(ModelFileError, match=message):
        import_model(tmp_path / "w.pt", tmp_path / "m.safetensors", ImportConfig(network="plain-unet"))


def test_weights_need_their_network_and_its_options(tmp_path):
    network = build_tiny("plain-unet")
    path, out = tmp_path / "w.pt", tmp_path / "m.safetensors"
    torch.save(network.state_dict(), path)
    with pytest.raises(ConfigError, match="which network they belong to"):
        import_model(path, out)
    with pytest.raises(ConfigError, match="no network called 'plane-unet'"):
        import_model(path, out, ImportConfig(network="plane-unet"))
    with pytest.raises(ModelFileError, match=r"is missing|is \(4, 3, 3, 3\) in the file, and \(16, 3, 3, 3\) here"):
        import_model(path, out, ImportConfig(network="plain-unet"))
    with pytest.raises(ModelFileError, match="more than plain-unet has"):
        import_model(path, out, ImportConfig(network="plain-unet", options={"width": 4, "depth": 1}))
    with pytest.raises(ConfigError, match="no option 'wide'"):
        import_model(path, out, ImportConfig(network="plain-unet", options={"wide": 4}))


def test_a_model_file_of_ours_is_not_imported(tmp_path):
    torch.save(build_tiny("plain-unet").state_dict(), tmp_path / "w.pt")
    config = ImportConfig(network="plain-unet", options=TINY["plain-unet"]["options"])
    import_model(tmp_path / "w.pt", tmp_path / "m.safetensors", config)
    with pytest.raises(ModelFileError, match="a model file of napari-segnet already"):
        import_model(tmp_path / "m.safetensors", tmp_path / "n.safetensors", config)
