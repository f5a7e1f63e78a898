import json
import shutil
import sys
import zipfile

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from napari_segnet.api import load
from napari_segnet.data.labels import default_classes
from napari_segnet.errors import ConfigError, ModelFileError, SegNetError
from napari_segnet.export import EXPORTERS, ExportConfig, export_model, read_options, request, torchscript_file
from napari_segnet.export.layers import Cells
from napari_segnet.models.file import join_models, load_model, write_model
from napari_segnet.models.info import ModelInfo, read_info
from napari_segnet.models.registry import build_network

pytestmark = pytest.mark.usefixtures("one_thread")

OPTIONS = {"width": 4, "depth": 2, "max_width": 8}
FIXED = {"mode": "dataset", "low": (10.0, -5.0), "high": (200.0, 3.0)}


def network(seed=0, outputs=3):
    torch.manual_seed(seed)
    made = build_network("plain-unet", channels=2, outputs=outputs, options=OPTIONS).eval()
    with torch.no_grad():
        made.head.weight.mul_(20)  # an untrained network is sure of nothing: small differences would not show
    return made


def describe(outputs=3, **changes):
    values = {
        "network": "plain-unet", "options": OPTIONS, "channels": 2, "outputs": outputs, "patch_size": 32, "stride": 4,
        "classes": default_classes(range(outputs), "background", "semantic"), "halo": 16, "normalization": FIXED,
    }  # fmt: skip
    return ModelInfo(**{**values, **changes})


@pytest.fixture
def model(tmp_path):
    write_model(tmp_path / "cells.safetensors", describe(), network())
    return tmp_path / "cells.safetensors"


@pytest.fixture(scope="module")
def onnx_folder(tmp_path_factory):
    """A model and its ONNX file, made once: cells.safetensors, cells.onnx ..., and the report."""
    folder = tmp_path_factory.mktemp("onnx")
    write_model(folder / "cells.safetensors", describe(), network())
    return folder, export_model(folder / "cells.safetensors", folder / "cells.onnx", "onnx")


@pytest.fixture
def onnx_copy(onnx_folder, tmp_path):
    for file in onnx_folder[0].iterdir():
        shutil.copy(file, tmp_path / file.name)
    return tmp_path / "cells.onnx"


def images(count, rows, columns):
    rng = np.random.default_rng(rows)
    noise = rng.normal(size=(count, 2, rows, columns))
    return (noise * [[[[60.0]], [[3.0]]]] + [[[[100.0]], [[-1.0]]]]).astype(np.float32)


def said_by_the_model(path, image):
    found = load(path).predict(image, axes="CYX", precision="float32", device="cpu")
    return found.probabilities


def run_onnx(path):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda x: session.run(["probabilities"], {"image": x})[0]


def run_torchscript(path):
    module = torch.jit.load(str(path))
    return lambda x: module(torch.from_numpy(x)).detach().numpy()


def run_torch_export(path):
    module = torch.export.load(path).module()
    return lambda x: module(torch.from_numpy(x)).detach().numpy()


@pytest.mark.parametrize(
    ("name", "suffix", "open_file"),
    [
        ("onnx", ".onnx", run_onnx),
        ("torchscript", ".pt", run_torchscript),
        ("torch-export", ".pt2", run_torch_export),
    ],
)
def test_raw_images_of_any_size_go_in_and_probabilities_come_out(name, suffix, open_file, model, onnx_folder, tmp_path):
    out = tmp_path / "out" / f"cells{suffix}"
    report = onnx_folder[1] if name == "onnx" else export_model(model, out, name)
    run = open_file(report.path)
    spread = []
    for count, rows, columns in ((1, 64, 96), (3, 68, 64), (2, 128, 100)):
        batch = images(count, rows, columns)
        found = run(batch)
        expected = np.stack([said_by_the_model(model, image) for image in batch])
        assert found.shape == (count, 3, rows, columns)
        assert np.abs(found - expected).max() < 1e-5
        spread.append(expected.std())
    assert min(spread) > 0.1
    assert report.differences[name] < 1e-5
    assert f"largest difference {report.differences[name]:.1e}" in report.words[0]


def test_beside_the_file_stand_how_to_use_it_and_a_test(onnx_folder):
    folder, report = onnx_folder
    assert set(report.files) == {
        "cells.onnx", "cells.onnx.json", "cells.onnx.test_input.npy", "cells.onnx.test_output.npy",
    }  # fmt: skip
    said = json.loads((folder / "cells.onnx.json").read_text())
    assert said["input"]["multiple_of"] == {"Y": 4, "X": 4}
    assert said["normalization"]["place"] == "inside"
    assert said["output"]["channels"] == ["background", "class 1", "class 2"]
    assert said["parity"]["largest_difference"] == report.differences["onnx"]
    assert len({tuple(shape) for shape in said["parity"]["shapes"]}) >= 4
    image, answer = (np.load(folder / f"cells.onnx.test_{kind}.npy") for kind in ("input", "output"))
    assert np.abs(run_onnx(report.path)(image) - answer).max() < 1e-5


def test_images_with_limits_of_their_own_are_scaled_before_as_the_sidecar_says(tmp_path):
    model = tmp_path / "cells.safetensors"
    write_model(model, describe(normalization={"mode": "image", "percentiles": (2.0, 98.0)}), network())
    report = export_model(model, tmp_path / "cells.pt", "torchscript")
    said = json.loads((tmp_path / "cells.pt.json").read_text())["normalization"]
    assert said["place"] == "outside"
    assert "Scale each whole image before" in report.words[1]
    image = images(1, 64, 64)[0]
    low, high = np.percentile(image, said["percentiles"], axis=(1, 2), keepdims=True)
    scaled = np.clip(2 * (image - low) / (high - low) - 1, -said["clip"], said["clip"]).astype(np.float32)
    found = run_torchscript(tmp_path / "cells.pt")(scaled[None])[0]
    assert np.abs(found - said_by_the_model(model, image)).max() < 1e-5


def test_an_ensemble_becomes_one_network_that_says_the_mean(tmp_path):
    other = {**FIXED, "low": (0.0, -1.0)}
    for number, way in enumerate((FIXED, other)):
        write_model(tmp_path / f"{number}.safetensors", describe(normalization=way), network(seed=number))
    both = join_models([load_model(tmp_path / f"{number}.safetensors") for number in (0, 1)])
    write_model(tmp_path / "both.safetensors", *both)
    export_model(tmp_path / "both.safetensors", tmp_path / "both.pt", "torchscript")
    image = images(1, 64, 64)
    apart = [said_by_the_model(tmp_path / f"{number}.safetensors", image[0]) for number in (0, 1)]
    assert np.abs(apart[0] - apart[1]).max() > 0.1
    assert np.abs(run_torchscript(tmp_path / "both.pt")(image)[0] - (apart[0] + apart[1]) / 2).max() < 1e-5


@pytest.mark.parametrize(
    ("combine", "ways", "message"),
    [
        ("vote", (FIXED, FIXED), "vote, which an exported network can't say"),
        ("mean", (FIXED, {"mode": "image"}), "scale each image in different ways"),
    ],
)
def test_ensembles_that_no_network_can_repeat_are_refused(combine, ways, message, tmp_path):
    members = [(describe(normalization=way), network(seed)) for seed, way in enumerate(ways)]
    write_model(tmp_path / "both.safetensors", *join_models(members, combine))
    with pytest.raises(ConfigError, match=message):
        export_model(tmp_path / "both.safetensors", tmp_path / "both.onnx", "onnx")


def test_a_volume_is_exported_with_its_three_axes(tmp_path):
    torch.manual_seed(0)
    options = {"width": 4, "depth": 2, "flat_levels": 1}
    made = build_network("dynunet", channels=1, outputs=2, options=options).eval()
    info = describe(
        2, network="dynunet", options=options, channels=1, axes="ZYX", stride=made.stride, halo=(2, 8, 8),
        patch_size=(16, 32, 32), normalization={"mode": "zscore", "clip": 5.0},
    )  # fmt: skip
    write_model(tmp_path / "v.safetensors", info, made)
    export_model(tmp_path / "v.safetensors", tmp_path / "v.pt", "torchscript")
    assert json.loads((tmp_path / "v.pt.json").read_text())["input"]["multiple_of"] == {"Z": 2, "Y": 4, "X": 4}
    volume = np.random.default_rng(0).normal(7, 3, (1, 18, 24, 20)).astype(np.float32)
    scaled = np.clip((volume - volume.mean()) / volume.std(), -5, 5)
    found = run_torchscript(tmp_path / "v.pt")(scaled[None])[0]
    expected = load(tmp_path / "v.safetensors").predict(volume[0], axes="ZYX", precision="float32", device="cpu")
    assert np.abs(found - expected.probabilities).max() < 1e-4


@pytest.mark.parametrize(("name", "file"), [("onnx", "cells.onnx"), ("torchscript", "cells.pt")])
def test_an_exported_file_predicts_like_the_model_it_came_from(name, file, model, onnx_copy, tmp_path):
    if name != "onnx":
        export_model(model, tmp_path / file, name)
    image = images(1, 75, 141)[0]
    ours, theirs = (
        load(path).predict(image, axes="CYX", precision="float32", tile=32, device="cpu")
        for path in (model, tmp_path / file)
    )
    assert np.array_equal(ours.labels, theirs.labels)
    assert np.abs(ours.probabilities - theirs.probabilities).max() < 1e-5
    assert [c.name for c in read_info(tmp_path / file).classes] == ["background", "class 1", "class 2"]


def test_objects_are_numbered_by_an_exported_model_of_instances(tmp_path):
    classes = [
        {"value": 0, "name": "background", "colour": "#000000"},
        {"value": 1, "name": "nucleus", "colour": "#31a354"},
    ]
    write_model(tmp_path / "n.safetensors", describe(task="instances", classes=classes), network())
    report = export_model(tmp_path / "n.safetensors", tmp_path / "n.pt", "torchscript")
    said = json.loads((tmp_path / "n.pt.json").read_text())
    assert said["output"]["channels"] == ["background", "inside of nucleus", "boundary of nucleus"]
    assert "watershed" in report.words[1]
    image = images(1, 64, 64)[0]
    ours, theirs = (
        load(tmp_path / file).predict(image, axes="CYX", instances=True, precision="float32", device="cpu").labels
        for file in ("n.safetensors", "n.pt")
    )
    assert ours.max() > 3
    assert np.array_equal(ours, theirs)


def test_a_test_image_of_the_user_goes_into_the_export(model, tmp_path):
    grey = np.random.default_rng(1).integers(0, 255, (200, 40, 2), np.uint8)
    Image.fromarray(np.dstack([grey, grey[..., :1]])).save(tmp_path / "rgb.png")
    np.save(tmp_path / "two.npy", np.moveaxis(grey, -1, 0))
    with pytest.raises(SegNetError, match="3 channels, but the model was trained on 2"):
        export_model(model, tmp_path / "m.pt", "torchscript", ExportConfig(test_image=tmp_path / "rgb.png"))
    export_model(model, tmp_path / "m.pt", "torchscript", ExportConfig(test_image=tmp_path / "two.npy"))
    found = np.load(tmp_path / "m.pt.test_input.npy")[0]
    first = (200 - found.shape[1]) // 2
    assert found.shape[1:] == (64, 68)
    assert np.array_equal(found[:, :, :40], np.moveaxis(grey, -1, 0)[:, first : first + 64])
    # What is missing is mirrored.
    assert np.array_equal(found[:, :, 40:], found[:, :, 38:10:-1])


def test_files_of_the_user_are_named_without_their_folders(tmp_path):
    info = describe(config={"model": {"network": "plain-unet", "weights": "/home/someone/secret/start.safetensors"}})
    write_model(tmp_path / "m.safetensors", info, network())
    export_model(tmp_path / "m.safetensors", tmp_path / "m.pt", "torchscript")
    assert "start.safetensors" in (tmp_path / "m.pt.json").read_text()
    for file in tmp_path.glob("m.pt*"):
        assert b"secret" not in file.read_bytes()


def test_a_folder_and_a_zip_file_hold_everything(model, tmp_path):
    export_model(model, tmp_path / "new" / "folder", "torchscript")
    names = sorted(path.name for path in (tmp_path / "new" / "folder").iterdir())
    assert names == ["model.pt", "model.pt.json", "model.pt.test_input.npy", "model.pt.test_output.npy"]
    export_model(model, tmp_path / "all.zip", "torchscript")
    with zipfile.ZipFile(tmp_path / "all.zip") as file:
        assert sorted(file.namelist()) == names
    assert load(tmp_path / "new" / "folder" / "model.pt").info.network == "torchscript"


@pytest.mark.parametrize(
    ("out", "format_", "message"),
    [
        ("m.h5", "onnx", r"no name for this. Name a file that ends with .onnx or .zip, or a folder"),
        ("full", "onnx", "exists and is not empty"),
        ("full", "oxnn", "no format called 'oxnn'. Did you mean 'onnx'"),
        ("full.onnx", "onnx", "is a folder"),
        ("file", "torchscript", "no name for this"),
        ("card.html", "card", "no name for a card"),
    ],
)
def test_names_that_can_not_be_written_are_refused(out, format_, message, model, tmp_path):
    for folder in ("full", "full.onnx"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine").touch()
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=message):
        export_model(model, tmp_path / out, format_)


def test_what_says_something_else_than_the_model_is_not_written(model, tmp_path, monkeypatch):
    right = torchscript_file.save

    def save_another(network_, example, path, about):
        with torch.no_grad():
            network_.networks[0].head.bias += torch.tensor([0.5, 0.0, 0.0])
        right(network_, example, path, about)

    monkeypatch.setattr(torchscript_file, "save", save_another)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ModelFileError, match=r"differs from the model by 0\.\d+ in a probability, on 64 x 68 pixels"):
        export_model(model, tmp_path / "deep" / "er" / "m.pt", "torchscript")
    assert sorted(tmp_path.rglob("*")) == before


def test_what_depends_on_the_size_of_the_image_is_found_out(model, tmp_path, monkeypatch):
    class Frozen(torch.nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            # A trace remembers this number: at other sizes it is wrong.
            return self.inner(x + 100.0 * int(x.shape[2] - 64))

    monkeypatch.setattr(
        request.Request, "exported", lambda self, place: Frozen(request.Exported(self.info, self.network, place))
    )
    with pytest.raises(ModelFileError, match="differs from the model by"):
        export_model(model, tmp_path / "m.pt", "torchscript")


def test_a_file_that_was_changed_is_refused(onnx_copy):
    content = bytearray(onnx_copy.read_bytes())
    content[-40] ^= 1
    onnx_copy.write_bytes(content)
    with pytest.raises(ModelFileError, match=r"cells\.onnx in .* is damaged"):
        load(onnx_copy)


def test_a_file_without_its_description_says_what_is_missing(onnx_copy, tmp_path):
    (tmp_path / "cells.onnx.json").rename(tmp_path / "lost.json")
    with pytest.raises(ModelFileError, match=r"there is no cells\.onnx\.json beside it"):
        load(onnx_copy)
    (tmp_path / "cells.onnx.json").write_text('{"format": "napari-segnet export 1", "model": {}}')
    with pytest.raises(ModelFileError, match="describes a model that can't be used"):
        load(onnx_copy)
    (tmp_path / "cells.onnx.json").write_text("[" * 100_000)
    with pytest.raises(ModelFileError, match="doesn't describe a model"):
        load(onnx_copy)
    onnx_copy.unlink()
    with pytest.raises(ModelFileError, match="There is no file"):
        load(onnx_copy)


def test_an_exported_model_is_not_exported_again_nor_made_a_model_file(model, tmp_path):
    export_model(model, tmp_path / "m.pt", "torchscript")
    with pytest.raises(ConfigError, match="a model of another tool's package already"):
        export_model(tmp_path / "m.pt", tmp_path / "n.onnx", "onnx")
    with pytest.raises(ModelFileError, match="can't be written as a model file"):
        load(tmp_path / "m.pt").save(tmp_path / "n.safetensors")


def test_a_missing_library_is_named_with_how_to_get_it(model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(SegNetError, match=r'needs onnxscript.*pip install "napari-segnet\[export\]"'):
        export_model(model, tmp_path / "m.onnx", "onnx")


def test_options_are_read_as_they_are_typed():
    options = read_options(
        ["description=Nuclei: stained, 20x", "authors=[Ada Lovelace, Ben]", "tags=nuclei", "version=1.0"]
    )
    assert options.description == "Nuclei: stained, 20x"
    assert options.authors == ("Ada Lovelace", "Ben")
    assert (options.tags, options.version) == (("nuclei",), "1.0")
    with pytest.raises(ConfigError, match="no option 'autor'"):
        read_options(["autor=Ada"])
    with pytest.raises(ConfigError, match="is not a setting"):
        read_options(["authors"])


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 7), st.integers(1, 7), st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**16))
def test_cells_are_what_torch_averages_over(rows, columns, height, width, seed):
    x = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(seed))
    expected = torch.nn.AdaptiveAvgPool2d((rows, columns))(x)
    assert torch.allclose(Cells(rows, columns)(x), expected, atol=1e-5)


def test_every_format_is_listed_with_what_it_writes():
    assert set(EXPORTERS) == {"onnx", "torchscript", "torch-export", "bioimageio", "card"}
    assert all(exporter.writes and exporter.suffixes for exporter in EXPORTERS.values())


def test_a_network_that_can_not_be_exported_is_refused_at_once(tmp_path):
    classes = default_classes(range(2), "background", "semantic")
    options = {"width": 12, "window": 2}
    made = build_network("swinunetr", channels=1, outputs=2, options=options)
    info = ModelInfo(network="swinunetr", options=options, channels=1, outputs=2, axes="ZYX", classes=classes,
                     patch_size=32, stride=32, halo=0)  # fmt: skip
    write_model(tmp_path / "swin.safetensors", info, made)
    with pytest.raises(ConfigError, match="'swinunetr' can't be exported: .* train another network, such as dynunet"):
        export_model(tmp_path / "swin.safetensors", tmp_path / "swin.onnx", "onnx")
