import io
import json
import sys
import zipfile

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from napari_segnet.api import load
from napari_segnet.errors import ConfigError, ModelFileError, SegNetError
from napari_segnet.export import ExportConfig, bioimageio_package, export_model, onnx_file, torchscript_file
from napari_segnet.export.libraries import import_extra
from napari_segnet.models.file import load_model, write_model
from napari_segnet.models.info import ModelInfo, read_info
from napari_segnet.models.packages import model_bytes
from napari_segnet.models.registry import build_network

pytestmark = pytest.mark.usefixtures("one_thread")

OPTIONS = {"width": 4, "depth": 2, "max_width": 8}
CLASSES = [
    {"value": 1, "name": "soil", "colour": "#8c6d31"},
    {"value": 2, "name": "leaf", "colour": "#31a354"},
    {"value": 5, "name": "sky", "colour": "#4a90d9"},
]
SAID = {
    "name": "leaves under the sky", "description": "Made for a test.", "authors": ("Ada Lovelace", "Ben"),
    "license": "CC-BY-4.0", "tags": ("canopy",), "version": "1.2.0",
    "cite": ("Lovelace 1843, https://doi.org/10.1000/notes",), "limits": "Not for snow.",
}  # fmt: skip


def write(path, **changes):
    torch.manual_seed(0)
    network = build_network("plain-unet", channels=2, outputs=3, options=OPTIONS).eval()
    with torch.no_grad():
        network.head.weight.mul_(20)
    values = {
        "network": "plain-unet", "options": OPTIONS, "channels": 2, "outputs": 3, "patch_size": 32, "stride": 4,
        "classes": CLASSES, "unlabelled": "ignore", "halo": 16, "normalization": {"mode": "image"},
        "pixel_size": (0.5, 0.25), "units": "micrometer",
    }  # fmt: skip
    write_model(path, ModelInfo(**{**values, **changes}), network)
    return path


def picture(rows, columns):
    return (
        np.random.default_rng(rows).normal([[[100.0]], [[7.0]]], [[[40.0]], [[2.0]]], (2, rows, columns)).astype("f4")
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    model = write(folder / "leaves.safetensors")
    np.save(folder / "test.npy", picture(100, 120))
    config = ExportConfig(**SAID, test_image=folder / "test.npy")
    report = export_model(model, folder / "leaves.zip", "bioimageio", config)
    with zipfile.ZipFile(folder / "leaves.zip") as file:
        file.extractall(folder / "unpacked")
    return model, report, folder / "unpacked"


def description(folder):
    return yaml.safe_load((folder / "rdf.yaml").read_text())


def test_bioimageio_core_runs_its_own_test_of_both_kinds_of_weights(made):
    core = import_extra("bioimageio.core")
    for weights in ("onnx", "torchscript"):
        summary = core.test_model(made[1].path, weight_format=weights)
        assert summary.status == "passed"
        names = [detail.name for detail in summary.details]
        assert f"Reproduce test outputs from test inputs ({weights})" in names
        assert sum("inference for inputs with" in name for name in names) >= 4
    assert max(made[1].differences.values()) < 1e-5
    assert set(made[1].differences) == {"torchscript", "onnx"}


def test_core_says_of_an_image_what_the_model_says(made):
    core = import_extra("bioimageio.core")
    image = picture(88, 92)
    found = core.predict(model=made[2] / "rdf.yaml", inputs={"image": image[None]}).members["probabilities"].data.values
    expected = load(made[0]).predict(image, axes="CYX", precision="float32", device="cpu").probabilities
    # Core mirrors images at their border, as wide as the halo: what is farther inside is the same.
    inner = (slice(None), slice(32, -32), slice(32, -32))
    assert found.shape == (1, *expected.shape)
    assert np.abs(found[0][inner] - expected[inner]).max() < 0.02
    test = np.load(made[2] / "test_input.npy")
    ours = load(made[0]).predict(test[0], axes="CYX", precision="float32", device="cpu").probabilities
    assert np.abs(np.load(made[2] / "test_output.npy")[0] - ours).max() < 1e-5


def test_the_description_says_what_the_model_file_says(made):
    said = description(made[2])
    image, answer = said["inputs"][0], said["outputs"][0]
    assert [axis.get("size") for axis in image["axes"][2:]] == [{"min": 64, "step": 4}] * 2
    assert [(axis["scale"], axis["unit"]) for axis in image["axes"][2:]] == [(0.5, "micrometer"), (0.25, "micrometer")]
    assert [axis["halo"] for axis in answer["axes"][2:]] == [16, 16]
    assert answer["axes"][1]["channel_names"] == ["soil", "leaf", "sky"]
    assert answer["data"] == {"type": "float32", "range": [0.0, 1.0]}
    assert image["preprocessing"][0]["id"] == "scale_range"
    assert image["preprocessing"][0]["kwargs"]["min_percentile"] == 0.5
    assert image["preprocessing"][2] == {"id": "clip", "kwargs": {"min": -3.0, "max": 3.0}}
    assert (said["name"], said["license"], said["version"]) == ("leaves under the sky", "CC-BY-4.0", "1.2.0")
    assert [author["name"] for author in said["authors"]] == ["Ada Lovelace", "Ben"]
    assert {"canopy", "2d", "semantic-segmentation", "plain-unet"} <= set(said["tags"])
    assert said["cite"] == [{"text": "Lovelace 1843", "doi": "10.1000/notes"}]
    assert set(said["weights"]) == {"onnx", "torchscript"}


def test_it_holds_a_card_a_cover_and_the_test_image(made):
    assert "# leaves under the sky" in (made[2] / "README.md").read_text()
    assert "- Not for snow." in (made[2] / "README.md").read_text()
    with Image.open(io.BytesIO((made[2] / "cover.png").read_bytes())) as cover:
        assert cover.size == (512, 256)
    assert (made[2] / "cover.png").stat().st_size < 500_000
    test = np.load(made[2] / "test_input.npy")
    assert test.shape == (1, 2, 64, 68)
    assert np.array_equal(test[0], picture(100, 120)[:, 18:82, 26:94])


def test_a_package_of_ours_predicts_exactly_as_the_model_does(made):
    image = picture(75, 141)
    expected = load(made[0]).predict(image, axes="CYX", precision="float32", device="cpu")
    for path in (made[1].path, made[2], made[2] / "rdf.yaml"):
        model = load(path)
        found = model.predict(image, axes="CYX", precision="float32", device="cpu")
        assert np.array_equal(found.probabilities, expected.probabilities)
        assert np.array_equal(found.labels, expected.labels)
        assert model.info == read_info(made[0]) == read_info(path)
    assert set(np.unique(expected.labels)) <= {1, 2, 5}


@pytest.mark.parametrize("weights", ["onnx", "torchscript"])
def test_without_our_file_the_weights_of_others_say_the_same(weights, made, tmp_path):
    said = description(made[2])
    said["config"], said["weights"] = {}, {weights: said["weights"][weights]}
    for name in (said["weights"][weights]["source"], "test_output.npy", "test_input.npy"):
        (tmp_path / name).write_bytes((made[2] / name).read_bytes())
    (tmp_path / "rdf.yaml").write_text(yaml.safe_dump(said))
    image = picture(76, 140)
    ours, theirs = (
        load(path).predict(image, axes="CYX", precision="float32", device="cpu") for path in (made[0], tmp_path)
    )
    assert read_info(tmp_path).network == weights
    assert [c.name for c in theirs.classes] == ["soil", "leaf", "sky"]
    assert np.abs(ours.probabilities - theirs.probabilities).max() < 1e-4


def test_a_model_file_in_a_package_that_was_changed_is_refused(made, tmp_path):
    for file in made[2].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    content = bytearray((tmp_path / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelFileError, match=r"model\.safetensors in .* is damaged"):
        load(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(content[:100])
    said = description(tmp_path)
    del said["config"]["napari_segnet"]["sha256"]
    (tmp_path / "rdf.yaml").write_text(yaml.safe_dump(said))
    with pytest.raises(ModelFileError, match=rf"model\.safetensors in {tmp_path} is not a model file, or is damaged"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("way", "ids"),
    [
        ({"mode": "none"}, ["clip"]),
        ({"mode": "zscore", "clip": 5.0}, ["zero_mean_unit_variance", "clip"]),
        ({"mode": "dataset", "low": (0.0, 1.0), "high": (9.0, 3.0)}, ["fixed_zero_mean_unit_variance", "clip"]),
        # The format knows no standard deviation as small as this: the weights do it themselves.
        ({"mode": "dataset", "low": (0.0, 1.0), "high": (9.0, 1.0 + 1e-6)}, []),
    ],
    ids=["none", "zscore", "dataset", "narrow"],
)
def test_each_way_to_scale_images_passes_the_test_of_core(way, ids, tmp_path, monkeypatch):
    model = write(tmp_path / "m.safetensors", normalization=way)
    monkeypatch.setattr(onnx_file, "save", refuse)  # TorchScript is quicker
    report = export_model(model, tmp_path / "package", "bioimageio")
    assert [step["id"] for step in description(tmp_path / "package")["inputs"][0]["preprocessing"]] == ids
    assert "Left out: An ONNX file can't be made of this network." in report.words
    assert any("more than a quarter is exactly 0" in text for text in report.words) == (way["mode"] == "zscore")
    assert any("--set license=CC-BY-4.0" in text for text in report.words)


def refuse(*_):
    raise ModelFileError("An ONNX file can't be made of this network.", "Export it as torchscript instead.")


def test_where_no_weights_can_be_written_nothing_is(tmp_path, monkeypatch):
    model = write(tmp_path / "m.safetensors")
    monkeypatch.setattr(onnx_file, "save", refuse)
    monkeypatch.setattr(torchscript_file, "save", refuse)
    with pytest.raises(ModelFileError, match="can't be made of this network"):
        export_model(model, tmp_path / "package", "bioimageio")
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"license": "CC-BY"}, "'CC-BY' is no licence that bioimage.io knows. .* such as CC-BY-4.0"),
        ({"name": "with: colon"}, "'with: colon' is no name that bioimage.io allows"),
        ({"authors": ("Ada", "A/B")}, "author 'A/B' has a slash"),
        ({"cite": ("a book",)}, "'a book' ends with no DOI and no address"),
    ],
)
def test_options_that_the_format_does_not_allow_are_refused(option, message, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_file, "save", refuse)
    model = write(tmp_path / "m.safetensors")
    with pytest.raises(ConfigError, match=message):
        export_model(model, tmp_path / "m.zip", "bioimageio", ExportConfig(**option))
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]


def test_a_package_that_fails_the_test_of_core_is_not_kept(tmp_path, monkeypatch):
    model = write(tmp_path / "m.safetensors")
    monkeypatch.setattr(onnx_file, "save", refuse)
    right = bioimageio_package.tensors

    def without_scaling(info, place):
        said = right(info, place)
        said["inputs"][0]["preprocessing"] = []
        return said

    monkeypatch.setattr(bioimageio_package, "tensors", without_scaling)
    with pytest.raises(ModelFileError, match="bioimageio.core's test of the torchscript weights failed: .*disagree"):
        export_model(model, tmp_path / "m.zip", "bioimageio")
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]


def test_without_bioimageio_it_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "bioimageio.core", None)
    with pytest.raises(SegNetError, match=r'needs bioimageio.core.*pip install "napari-segnet\[export\]"'):
        export_model(write(tmp_path / "m.safetensors"), tmp_path / "m.zip", "bioimageio")


def test_a_package_can_be_exported_once_more_from_the_model_file_in_it(made, tmp_path):
    report = export_model(made[1].path, tmp_path / "again.pt", "torchscript")
    assert report.differences["torchscript"] < 1e-5
    assert json.loads((tmp_path / "again.pt.json").read_text())["output"]["channels"] == ["soil", "leaf", "sky"]
    assert load_model(made[1].path)[0].classes[2].value == 5


def test_learning_can_go_on_from_the_model_file_in_a_package(made, tmp_path):
    (tmp_path / "start.safetensors").write_bytes(model_bytes(made[1].path))
    assert read_info(tmp_path / "start.safetensors") == read_info(made[0])
    assert model_bytes(made[0]) == made[0].read_bytes()
