import json
import struct

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from napari_segnet._torch import import_smp
from napari_segnet.data.labels import default_classes
from napari_segnet.errors import ConfigError, ModelFileError, SegNetError
from napari_segnet.models.encoders import encoder_names
from napari_segnet.models.file import load_model, transfer, write_model
from napari_segnet.models.info import METADATA_KEY, ModelInfo, read_info
from napari_segnet.models.registry import build_network

TINY = {"width": 4, "depth": 2, "max_width": 8}


def tiny(outputs=2, channels=1):
    torch.manual_seed(0)
    return build_network("plain-unet", channels=channels, outputs=outputs, options=TINY)


def info(outputs=2, **changes):
    classes = default_classes(range(outputs), "background", "semantic")
    values = {"network": "plain-unet", "options": TINY, "channels": 1, "outputs": outputs, "classes": classes,
              "patch_size": 32, "stride": 4, "halo": 16}  # fmt: skip
    return ModelInfo(**{**values, **changes})


@pytest.fixture
def model(tmp_path):
    write_model(tmp_path / "m.safetensors", info(), tiny())
    return tmp_path / "m.safetensors"


def test_parameters_of_the_plain_unet_by_hand():
    # depth 1, width 2: stem (1->2): 9*1*2 + 4 + 9*2*2 + 4 + shortcut 1*2; down (2->4): 72 + 8 + 144 + 8 + 8;
    # up: reduce 4*2, conv 9*4*2, norm 4; head: 2*2 + 2.
    network = build_network("plain-unet", channels=1, outputs=2, options={"width": 2, "depth": 1})
    expected = (18 + 4 + 36 + 4 + 2) + (72 + 8 + 144 + 8 + 8) + (8 + 72 + 4) + 6
    assert sum(p.numel() for p in network.parameters()) == expected


def test_the_unet_is_that_of_segmentation_models_pytorch():
    torch.manual_seed(0)
    mine = build_network("unet", channels=3, outputs=2, encoder="resnet18").eval()
    theirs = import_smp().Unet("resnet18", encoder_weights=None, in_channels=3, classes=2).eval()
    theirs.load_state_dict(mine.state_dict())
    x = torch.randn(1, 3, 64, 64)
    assert torch.equal(mine(x), theirs(x))


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"name": "unett"}, r"Did you mean 'unet'"),
        ({"name": "unet", "encoder": "resnet19"}, r"no encoder called 'resnet19'. Did you mean 'resnet"),
        ({"name": "unet", "encoder": "tu-resnet19"}, r"no encoder called 'tu-resnet19'. Did you mean 'tu-resnet"),
        ({"name": "plain-unet", "encoder": "resnet18"}, "has no encoder to choose"),
        ({"name": "plain-unet", "options": {"widht": 3}}, "no option 'widht'"),
        ({"name": "plain-unet", "options": {"width": 10**9}}, "less than or equal to 512"),
        ({"name": "unet", "weights": "nowhere.safetensors"}, "no weights"),
        ({"name": "plain-unet", "weights": "notes.txt"}, "no model that can be fine-tuned"),
    ],
)
def test_what_can_not_be_built_is_refused_with_what_would_work(request_, message):
    request_ = dict(request_)
    with pytest.raises(ConfigError, match=message):
        build_network(request_.pop("name"), channels=1, outputs=2, **request_)


def test_smp_s_encoders_are_listed():
    assert {"resnet34", "efficientnet-b0", "se_resnext50_32x4d", "xception", "vgg16_bn"} <= set(encoder_names())


def test_without_a_connection_pretrained_weights_are_a_sentence(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    smp = import_smp()

    def offline(*_args, **_kwargs):
        raise OSError("Cannot find the requested files in the local cache and outgoing traffic has been disabled.")

    monkeypatch.setattr(smp, "Unet", offline)
    with pytest.raises(SegNetError, match=r"could not be fetched.*--weights none"):
        build_network("unet", channels=3, outputs=2, weights="imagenet")


def test_encoder_weights_come_from_a_local_file(tmp_path):
    torch.manual_seed(1)
    donor = import_smp().Unet("resnet18", encoder_weights=None, in_channels=3, classes=1)
    save_file(donor.encoder.state_dict(), tmp_path / "resnet18.safetensors")
    network = build_network(
        "unet", channels=1, outputs=2, encoder="resnet18", weights=str(tmp_path / "resnet18.safetensors")
    )
    assert torch.equal(network.encoder.layer1[0].conv1.weight, donor.encoder.layer1[0].conv1.weight)
    with pytest.raises(ModelFileError, match=r"fits \d+ of the \d+ tensors"):
        build_network(
            "unet", channels=3, outputs=2, encoder="mobilenet_v2", weights=str(tmp_path / "resnet18.safetensors")
        )


def test_a_saved_model_predicts_the_same(model):
    loaded_info, network = load_model(model)
    x = torch.randn(1, 1, 32, 32)
    assert loaded_info == info()
    assert torch.equal(network(x), tiny().eval()(x))


@pytest.mark.parametrize("encoder", ["mit_b0", "mobilenet_v2", "efficientnet-b0", "tu-resnet10t"])
def test_models_with_encoders_of_each_family_are_loaded_again(tmp_path, encoder):
    torch.manual_seed(0)
    network = build_network("unet", channels=3, outputs=2, encoder=encoder).eval()
    described = info(network="unet", encoder=encoder, options={}, channels=3, stride=32)
    write_model(tmp_path / "m.safetensors", described, network)
    _, loaded = load_model(tmp_path / "m.safetensors")
    x = torch.randn(1, 3, 64, 64)
    assert torch.equal(loaded(x), network(x))


@pytest.mark.parametrize("cut", [0, 4, 8, 100, 2000])
def test_a_truncated_file_is_said(model, cut):
    model.write_bytes(model.read_bytes()[:cut])
    with pytest.raises(ModelFileError, match=r"damaged|not a model file"):
        load_model(model)


def write_header(path, header, size=0):
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(size))


def test_a_header_that_claims_terabytes_costs_nothing(tmp_path):
    path = tmp_path / "bomb.safetensors"
    path.write_bytes(struct.pack("<Q", 2**60) + b"{}")
    with pytest.raises(ModelFileError, match="damaged"):
        read_info(path)
    header = {"__metadata__": {METADATA_KEY: info().model_dump_json()},
              "head.weight": {"dtype": "F32", "shape": [2**20, 2**20], "data_offsets": [0, 2**42]}}  # fmt: skip
    write_header(path, header)
    with pytest.raises(ModelFileError, match="does not hold the weights"):
        load_model(path)


@pytest.mark.parametrize(
    "change",
    [
        {"options": {"width": 512, "depth": 99}},
        {"options": {"width": -1}},
        {"network": "os.system"},
        {"encoder": "resnet18"},
        {"network": "unet", "options": {}, "encoder": "resnext101_32x48d"},
        {"network": "unet", "options": {}, "encoder": "tu-vit_giant_patch14_dinov2"},
        {"network": "unet", "options": {}, "encoder": "tu-hf-hub:somebody/something"},
        {"network": "unet", "options": {}, "encoder": "tu-local-dir:/tmp"},
        {"patch_size": 10**12},
        {"classes": []},
        {"extra": 1},
    ],
    ids=str,
)
def test_a_hostile_description_is_refused(tmp_path, change):
    path = tmp_path / "hostile.safetensors"
    described = {**json.loads(info().model_dump_json()), **change}
    write_header(path, {"__metadata__": {METADATA_KEY: json.dumps(described)}})
    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ModelFileError):
        load_model(path)
    # Nothing of what it asks for was allocated: the largest of these would take gigabytes.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000


@pytest.mark.parametrize("text", ["{", "[]", "null", '"x"', "[" * 100_000])
def test_a_description_that_is_none_is_refused(tmp_path, text):
    path = tmp_path / "hostile.safetensors"
    write_header(path, {"__metadata__": {METADATA_KEY: text}})
    with pytest.raises(ModelFileError):
        read_info(path)


def test_a_pickle_is_not_even_looked_at(tmp_path):
    path = tmp_path / "old.pth"
    torch.save({"anything": torch.zeros(3)}, path)
    with pytest.raises(ModelFileError, match="not a model file"):
        load_model(path)


def test_weights_of_something_else_are_said(tmp_path):
    save_file({"a": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(ModelFileError, match="nothing that says how to use them"):
        load_model(tmp_path / "other.safetensors")


def test_swapped_weights_are_noticed(tmp_path):
    write_model(tmp_path / "m.safetensors", info(), tiny(outputs=3))
    with pytest.raises(ModelFileError, match="'head.bias'"):
        load_model(tmp_path / "m.safetensors")


def test_an_interrupted_write_keeps_the_model(model, monkeypatch):
    before = model.read_bytes()
    monkeypatch.setattr("os.fsync", lambda _fd: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        write_model(model, info(), tiny())
    assert model.read_bytes() == before


def test_known_classes_keep_their_weights_and_new_ones_are_added():
    old, new = tiny(outputs=2), build_network("plain-unet", channels=1, outputs=3, options=TINY)
    fresh = new.head.weight.detach().clone()
    transfer(old, new, {0: 0, 2: 1})
    assert torch.equal(new.head.weight[0], old.head.weight[0])
    assert torch.equal(new.head.weight[2], old.head.weight[1])
    assert torch.equal(new.head.weight[1], fresh[1])
    assert torch.equal(new.stem.conv1.weight, old.stem.conv1.weight)
    with pytest.raises(ModelFileError, match="another shape"):
        transfer(tiny(channels=3), new, {})
    assert np.isfinite(new.head.weight.detach().numpy()).all()


def test_a_file_of_torch_export_is_for_other_programs(tmp_path):
    (tmp_path / "cells.pt2").write_bytes(b"PK")
    with pytest.raises(ModelFileError, match="for other programs. Use the model that it was made of"):
        read_info(tmp_path / "cells.pt2")
