"""Models of Keras and TensorFlow give the same answers here, and what isn't theirs is refused with a sentence."""

import importlib
import json
import os
import shutil
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from keras_networks import u_net, u_net_plusplus, workshop

from napari_segnet.cli import run
from napari_segnet.config import PredictConfig
from napari_segnet.errors import ConfigError, ModelFileError
from napari_segnet.importers import ImportConfig, import_model
from napari_segnet.models.file import load_model
from napari_segnet.predict.predictor import Predictor

os.environ.setdefault("KERAS_BACKEND", "torch")
MADE = Path(__file__).parents[1] / "data" / "tensorflow_models.zip"


@pytest.fixture(scope="module")
def keras():
    return importlib.import_module("keras")


@pytest.fixture(scope="module")
def tensorflow_models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tensorflow")
    with zipfile.ZipFile(MADE) as archive:
        archive.extractall(folder)
    # A SavedModel keeps the same pair of files in a folder of its own.
    (folder / "saved_model" / "variables").mkdir(parents=True)
    for path in folder.glob("unet_model_weights.*"):
        shutil.copy(path, folder / "saved_model" / "variables" / f"variables{path.suffix}")
    return folder


def randomize(model):
    """Give a network of Keras weights that leave nothing out: no bias, mean or variance is 0 or 1."""
    generator = np.random.default_rng(0)
    for layer in model.layers:
        for variable in layer.weights:
            shape, name = variable.shape, variable.path
            if "variance" in name or "gamma" in name:
                variable.assign(generator.uniform(0.5, 2, shape))
            elif "kernel" not in name:
                variable.assign(generator.normal(0, 0.3, shape))
    return model


def photographs(channels, side=(32, 48)):
    return np.random.default_rng(1).integers(0, 256, (2, *side, channels)).astype(np.uint8)


def probabilities(path, images):
    """Predict 8-bit images (N, Y, X, C) with a model file, as a user would: (N, Y, X, K)."""
    info, network = load_model(path)
    predictor = Predictor(network, info, PredictConfig(exact=True), torch.device("cpu"))
    found = []
    for image in images:
        arrays = predictor.empty_outputs(image.shape[:2], probabilities=True)
        predictor.predict_plane(image.transpose(2, 0, 1), **arrays)
        found.append(arrays["probabilities_out"].transpose(1, 2, 0))
    return np.stack(found)


def agree(found, theirs):
    """Compare our classes with Keras' outputs: one output is the probability of the class that isn't background."""
    return np.abs((found[..., 1:] if theirs.shape[-1] == 1 else found) - theirs).max() < 1e-4


def save_weights_as_keras_2(model, path):
    """Write weights alone as Keras 2 and R do; Keras 3 only writes whole models in this layout."""
    whole = path.with_name("whole.h5")
    model.save(whole)
    with h5py.File(whole) as source, h5py.File(path, "w") as target:
        for name in source["model_weights"]:
            source.copy(f"model_weights/{name}", target)
        target.attrs.update(source["model_weights"].attrs)


def save(model, path):
    if path.name == "weights.h5":
        save_weights_as_keras_2(model, path)
    elif path.name.endswith(".weights.h5"):
        model.save_weights(path)
    else:
        model.save(path)


FILES = ("whole.h5", "archive.keras", "weights.h5", "new.weights.h5")
UNET = {"filters": 2, "blocks": 2, "layers_per_block": 2, "batch_norm": True, "up": "transpose2", "dropout": 0.0}
CASES = [
    ({}, UNET),
    ({"up": "transpose3", "dropout": 0.1, "classes": 3}, {**UNET, "up": "transpose3", "dropout": 0.1}),
    ({"norm": False, "classes": 3}, {**UNET, "batch_norm": False}),
    ({"blocks": 4, "channels": 1, "dropout": 0.2}, {**UNET, "blocks": 4, "dropout": 0.2}),
    ({"layers": 3, "classes": 2}, {**UNET, "layers_per_block": 3}),
    ({"blocks": 3, "layers": 1, "norm": False}, {**UNET, "blocks": 3, "layers_per_block": 1, "batch_norm": False}),
    # imageseg 0.4 copied pixels, and joined in another order with two layers a block than with three
    ({"up": "copy", "skip_first": True}, {**UNET, "up": "copy"}),
    ({"up": "copy", "layers": 3}, {**UNET, "up": "copy", "layers_per_block": 3}),
]


def imported_from_all_files(model, folder):
    """Save a network in each way, import it, compare the answers; returns what is said of each import."""
    randomize(model)
    images = photographs(model.input_shape[-1])
    theirs = model.predict(images / 255, verbose=0)
    for file in FILES:
        save(model, folder / file)
        notes = []
        info = import_model(folder / file, folder / "m.safetensors", on_note=notes.append)
        assert agree(probabilities(folder / "m.safetensors", images), theirs), file
        assert (info.channels, info.outputs) == (images.shape[-1], max(theirs.shape[-1], 2))
        yield info, notes, "weights" in file


@pytest.mark.parametrize(("asked", "options"), CASES)
def test_a_u_net_answers_here_as_in_keras(keras, tmp_path, asked, options):
    for info, notes, only_weights in imported_from_all_files(u_net(keras, **asked), tmp_path):
        assert info.network == "imageseg-unet"
        # Weights alone don't say what was dropped.
        assert info.options == {**options, "dropout": 0.0 if only_weights else options["dropout"]}
        assert any("options.dropout" in note for note in notes) == only_weights


@pytest.mark.parametrize(("blocks", "convolve"), [(1, False), (1, True), (2, True), (3, False), (4, False), (4, True)])
def test_a_u_net_plusplus_answers_here_as_in_keras(keras, tmp_path, blocks, convolve):
    """Its branches make it hard to tell from the order of layers which is which."""
    model = u_net_plusplus(keras, blocks=blocks, convolve=convolve, classes=3)
    for info, _, _ in imported_from_all_files(model, tmp_path):
        assert info.network == "imageseg-unetplusplus"
        assert info.options == {"filters": 2, "blocks": blocks, "convolve": convolve}


def test_the_u_net_of_workshops_answers_here_as_in_keras(keras, tmp_path):
    for info, _, only_weights in imported_from_all_files(workshop(keras), tmp_path):
        if only_weights:  # of the same layers as imageseg's
            assert info.network == "imageseg-unet"
        else:
            assert (info.network, info.options) == ("workshop-unet", {"width": 2, "dropout": 0.3})


@pytest.mark.parametrize(
    ("file", "answers", "options"),
    [
        ("platypus.h5", "platypus", {**UNET, "up": "transpose3", "dropout": 0.1}),
        ("unet_model_weights", "platypus", {**UNET, "up": "transpose3"}),
        ("unet_model_weights.index", "platypus", {**UNET, "up": "transpose3"}),
        ("unet_model_weights.data-00000-of-00001", "platypus", {**UNET, "up": "transpose3"}),
        ("saved_model", "platypus", {**UNET, "up": "transpose3"}),
        ("plusplus_weights.h5", "plusplus", {"filters": 2, "blocks": 2, "convolve": False}),
    ],
)
def test_files_of_tensorflow_2_15_answer_as_there(tensorflow_models, tmp_path, file, answers, options):
    """Written by the last Keras 2, as R does it; with TensorFlow's own transposed convolutions of 3 pixels."""
    info = import_model(tensorflow_models / file, tmp_path / "m.safetensors")
    assert info.options == options
    with np.load(tensorflow_models / "answers.npz") as kept:
        assert agree(probabilities(tmp_path / "m.safetensors", kept["images"]), kept[answers])


def test_the_model_file_says_where_it_comes_from_and_what_it_is_fed_with(tensorflow_models, tmp_path):
    info = import_model(tensorflow_models / "platypus.h5", tmp_path / "new" / "m.safetensors")
    assert info.versions["keras"] == "2.15.0"
    assert info.fingerprint["imported_from"] == "platypus.h5"
    assert len(info.fingerprint["sha256"]) == 64
    assert [(c.value, c.name) for c in info.classes] == [(0, "background"), (1, "class 1"), (2, "class 2")]
    assert (info.unlabelled, info.task, info.patch_size, info.stride) == ("background", "semantic", 16, 4)
    assert info.receptive_field == info.halo == 28
    low, high = info.normalization.limits(np.zeros((3, 4, 4), np.uint8))
    assert (low.tolist(), high.tolist()) == ([-255] * 3, [255] * 3)  # so 0 .. 255 becomes 0 .. 1


@pytest.mark.parametrize(
    ("settings", "limits"),
    [
        ({"maximum": 65535}, (-65535, 65535)),
        ({"minimum": -100, "maximum": 300}, (-500, 300)),
        ({"intensities": "raw"}, (-1, 1)),
    ],
)
def test_what_it_was_fed_with_can_be_said(tensorflow_models, tmp_path, settings, limits):
    info = import_model(tensorflow_models / "platypus.h5", tmp_path / "m.safetensors", ImportConfig(**settings))
    low, high = info.normalization.limits(np.zeros((3, 4, 4), np.uint8))
    assert (low[0], high[0]) == limits


def test_class_names_and_options_can_be_said(tensorflow_models, tmp_path):
    path, out = tensorflow_models / "unet_model_weights.index", tmp_path / "m.safetensors"
    assert [c.name for c in import_model(path, out, ImportConfig(classes=("cat", "dog"))).classes][1:] == ["cat", "dog"]
    info = import_model(path, out, ImportConfig(classes=("a", "b", "c"), options={"dropout": 0.2}, patch_size=50))
    assert [c.name for c in info.classes] == ["a", "b", "c"]
    assert info.options["dropout"] == 0.2
    assert info.patch_size == 52  # a multiple of 4
    with pytest.raises(ConfigError, match="1 names were given for 3 classes"):
        import_model(path, out, ImportConfig(classes=("a",)))
    with pytest.raises(ConfigError, match="holds the network 'imageseg-unet', but 'unet' was asked for"):
        import_model(path, out, ImportConfig(network="unet"))


@pytest.mark.parametrize("asked", [{"epsilon": 0.05}, {"shifts": False}])
@pytest.mark.parametrize("file", ["m.h5", "m.keras"])
def test_another_epsilon_and_layers_without_shifts_are_the_same_numbers_here(keras, tmp_path, asked, file):
    model = randomize(u_net(keras, **asked))
    model.save(tmp_path / file)
    import_model(tmp_path / file, tmp_path / "m.safetensors")
    images = photographs(3)
    assert agree(probabilities(tmp_path / "m.safetensors", images), model.predict(images / 255, verbose=0))


def test_dropout_that_our_network_can_not_have_is_said(keras, tmp_path):
    workshop(keras, rates=(0.1, 0.1, 0.1, 0.2, 0.5)).save(tmp_path / "m.h5")
    notes = []
    info = import_model(tmp_path / "m.h5", tmp_path / "m.safetensors", on_note=notes.append)
    assert (info.network, info.options["dropout"]) == ("imageseg-unet", 0)
    assert any("is left out" in note for note in notes)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"activation": "elu"}, "'activation' has activation = 'elu'"),
        ({"classes": 3, "end": "sigmoid"}, "ends with 'sigmoid' for 3 outputs"),
        ({"classes": 1, "end": "linear"}, "ends with 'linear' for 1 outputs"),
        ({"up": "transpose4"}, "not of a network that we know: 10 convolutions"),
    ],
)
def test_a_network_that_is_not_quite_theirs_is_refused(keras, tmp_path, asked, message):
    keras.backend.clear_session()
    u_net(keras, **asked).save(tmp_path / "m.h5")
    with pytest.raises(ModelFileError, match=message):
        import_model(tmp_path / "m.h5", tmp_path / "m.safetensors")


def test_other_models_are_refused(keras, tmp_path):
    layers = keras.layers
    image = keras.Input((8, 8, 3))
    classifier = keras.Model(image, layers.Dense(2)(layers.Flatten()(layers.Conv2D(4, 3)(image))))
    classifier.save(tmp_path / "classifier.h5")
    scaled = layers.Conv2D(2, 1, activation="softmax")(layers.Rescaling(1 / 255)(image))
    keras.Model(image, scaled).save(tmp_path / "scaled.h5")
    keras.Sequential([image, layers.Conv2D(2, 1)]).save(tmp_path / "sequential.h5")
    for name, message in [
        ("classifier.h5", "padding = 'valid'"),
        ("scaled.h5", "is a Rescaling"),
        ("sequential.h5", "Sequential model instead of a functional one"),
    ]:
        with pytest.raises(ModelFileError, match=message):
            import_model(tmp_path / name, tmp_path / "m.safetensors")


def change(source, target, what):
    shutil.copy(source, target)
    with h5py.File(target, "r+") as file:
        what(file)
    return target


def renamed(file):
    config = json.loads(file.attrs["model_config"])
    config["config"]["layers"][5]["inbound_nodes"] = [[["nowhere", 0, 0, {}]]]
    file.attrs["model_config"] = json.dumps(config)


def rewired(file):
    """Let the last block look at the first one's features, which fit as well."""
    config = json.loads(file.attrs["model_config"])
    layers = config["config"]["layers"]
    first = next(layer["name"] for layer in layers if layer["class_name"] == "Activation")
    layers[-1]["inbound_nodes"] = [[[first, 0, 0, {}]]]
    file.attrs["model_config"] = json.dumps(config)


def replaced(group, name, make):
    del group[name]
    make()


def kernel_of(file):
    layer = min(name for name in file["model_weights"] if name.startswith("conv2d") and "transpose" not in name)
    return file["model_weights"][layer][layer]


def linked(file):
    group = kernel_of(file)
    replaced(group, "kernel:0", lambda: group.__setitem__("kernel:0", h5py.ExternalLink("secret.h5", "kernel")))


def inflated(file):
    group = kernel_of(file)
    replaced(group, "kernel:0", lambda: group.create_dataset("kernel:0", (3, 3, 3, 10**9), "f4"))


def misshapen(file):
    group = kernel_of(file)
    replaced(group, "kernel:0", lambda: group.create_dataset("kernel:0", data=np.zeros((3, 3, 2), np.float32)))


def not_finite(file):
    kernel_of(file)["kernel:0"][0, 0, 0, 0] = np.nan


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (renamed, "damaged: 'nowhere'"),
        (rewired, "'input_img' is of the kind input where relu is expected|is used where"),
        (linked, "lies elsewhere"),
        (inflated, "is larger than its file"),
        (misshapen, "has 3 axes instead of 4"),
        (not_finite, "not finite"),
        (lambda file: file.attrs.__setitem__("model_config", "{"), "damaged"),
        (lambda file: file.attrs.__setitem__("model_config", "[1, 2]"), "damaged"),
        (lambda file: file.__delitem__("model_weights"), "damaged"),
    ],
)
def test_a_damaged_or_hostile_file_is_refused_and_nothing_is_written(tensorflow_models, tmp_path, what, message):
    path = change(tensorflow_models / "platypus.h5", tmp_path / "bad.h5", what)
    out = tmp_path / "m.safetensors"
    out.write_bytes(b"before")
    with pytest.raises(ModelFileError, match=message):
        import_model(path, out)
    assert out.read_bytes() == b"before"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.h5", "m.safetensors"]


@pytest.mark.parametrize("suffix", ["index", "data-00000-of-00001"])
@pytest.mark.parametrize("keep", [0, 20, 3000])
def test_weights_of_tensorflow_that_were_cut_short_are_refused(tensorflow_models, tmp_path, suffix, keep):
    for path in tensorflow_models.glob("unet_model_weights.*"):
        shutil.copy(path, tmp_path)
    file = tmp_path / f"unet_model_weights.{suffix}"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(ModelFileError, match="holds no weights of Keras, or is damaged"):
        import_model(tmp_path / "unet_model_weights", tmp_path / "m.safetensors")


def test_the_command_imports_and_says_what_it_assumed(tensorflow_models, tmp_path, capsys):
    out = tmp_path / "pets.safetensors"
    assert run(["import", str(tensorflow_models / "platypus.h5"), "--out", str(out), "--classes", "cat, dog"]) == 0
    said = capsys.readouterr()
    assert "0 background, 1 cat, 2 dog" in said.out
    assert "0 .. 255 scaled to 0 .. 1" in said.err
    assert load_model(out)[0].network == "imageseg-unet"


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"I am no model.", "nothing that can be imported"), (b"\x89HDF\r\n\x1a\n" + bytes(100), "is damaged")],
)
def test_the_command_refuses_other_files_in_a_sentence(tmp_path, capsys, content, message):
    (tmp_path / "x.h5").write_bytes(content)
    assert run(["import", str(tmp_path / "x.h5"), "--out", str(tmp_path / "m.safetensors")]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert not (tmp_path / "m.safetensors").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.h5", "--out", "m.safetensors"], "There is no file"),
        ([str(MADE), "--out", "m.txt"], "no name for a model file"),
        ([str(MADE), "--out", "m.safetensors"], "nothing that can be imported"),
        ([str(MADE), "--out", "m.safetensors", "--format", "kears"], "Did you mean 'keras'"),
        ([str(MADE), "--out", "m.safetensors", "--set", "scale=2"], "no option 'scale'"),
        ([str(MADE), "--out", "m.safetensors", "--set", "maximum=-1"], "not above minimum"),
    ],
)
def test_the_command_says_what_is_wrong_with_its_options(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert run(["import", *arguments]) == 2
    assert message in capsys.readouterr().err
