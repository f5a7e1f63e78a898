import io
import itertools
import json
import pickle
import struct
import zipfile

import numpy as np
import onnx
import pytest
import tifffile
import torch
import yaml
from foreign_packages import core, onnx_network, torchscript_network, v0_5, write_package
from onnx import TensorProto, helper

from napari_segnet.api import load
from napari_segnet.errors import ModelFileError, SegNetError
from napari_segnet.models import packages
from napari_segnet.models.file import load_model
from napari_segnet.models.info import read_info
from napari_segnet.predict.files import predict_files

pytestmark = pytest.mark.usefixtures("one_thread")

RANGE = ("scale_range", {"axes": ("y", "x"), "min_percentile": 1, "max_percentile": 99.8})
FLOAT = {"dtype": "float32"}
CLIP = ("clip", {"min": 0.0, "max": 1.0})


def picture(channels, rows, columns, seed=0):
    return np.random.default_rng(seed).normal(100, 30, (channels, rows, columns)).astype(np.float32)


def predicted(path, image, **options):
    axes = "CYX" if image.ndim == 3 else "CZYX"
    return load(path).predict(image, axes=axes, precision="float32", device="cpu", **options)


@pytest.mark.parametrize(
    "before",
    [
        (RANGE, CLIP),
        (("scale_range", {"min_percentile": 5}),),
        (("zero_mean_unit_variance", {"axes": ("y", "x")}),),
        (("zero_mean_unit_variance", None), ("scale_linear", {"gain": 0.5, "offset": 0.1})),
        (("fixed_zero_mean_unit_variance", {"mean": [90.0, 110.0], "std": [20.0, 40.0], "axis": "channel"}),),
        (("fixed_zero_mean_unit_variance", {"mean": 100.0, "std": 30.0}), ("sigmoid", None)),
        (("scale_linear", {"gain": [0.01, -0.02], "offset": [0.5, 1.0], "axis": "channel"}), CLIP),
        (
            ("ensure_dtype", {"dtype": "uint8"}),
            ("scale_linear", {"gain": 0.01}),
            ("ensure_dtype", {"dtype": "float32"}),
        ),
    ],
    ids=lambda steps: "-".join(name for name, _ in steps) or "nothing",
)
def test_images_are_fed_as_bioimageio_core_feeds_them(before, tmp_path):
    path, core_says = write_package(tmp_path / "p", onnx_network(2, 1, "Sigmoid"), inputs=2, before=before)
    image = picture(2, 48, 64)
    found = predicted(path, image)
    expected = core_says(image[None])[0]
    assert np.ptp(expected) > 0.2
    assert np.abs(found.probabilities[1] - expected[0]).max() < 1e-4
    assert np.array_equal(found.labels, expected[0] > 0.5)


def test_probabilities_that_add_up_to_one_are_those_of_the_classes(tmp_path):
    path, core_says = write_package(
        tmp_path / "p", onnx_network(1, 3), names=("sky", "leaf", "channel2"), before=[RANGE],
        after=[("softmax", {"axis": "channel"})],
    )  # fmt: skip
    image = picture(1, 40, 56)
    found = predicted(path, image)
    assert [c.name for c in found.classes] == ["sky", "leaf", "class 2"]
    assert np.abs(found.probabilities - core_says(image[None])[0]).max() < 1e-6
    inside, core_says = write_package(
        tmp_path / "q", onnx_network(1, 3, "Softmax"), names=("a", "b", "c"), before=[RANGE]
    )
    assert np.abs(predicted(inside, image).probabilities - core_says(image[None])[0]).max() < 1e-6


def test_an_answer_of_zeros_and_ones_is_one_too(tmp_path):
    after = [("binarize", {"threshold": 0.6}), ("ensure_dtype", FLOAT)]
    path, core_says = write_package(tmp_path / "p", onnx_network(1, 1, "Sigmoid"), before=[RANGE], after=after)
    image = picture(1, 40, 56)
    found, expected = predicted(path, image), core_says(image[None])[0, 0]
    assert 0.1 < expected.mean() < 0.9
    assert np.array_equal(found.labels, expected)


def test_channels_that_overlap_get_a_background_where_none_is_above_one_half(tmp_path):
    path, core_says = write_package(
        tmp_path / "p", torchscript_network(1, 2), kind="torchscript", names=("leaf", "vein"),
        before=[("zero_mean_unit_variance", None)], after=[("sigmoid", None)],
    )  # fmt: skip
    image = picture(1, 40, 56)
    found = predicted(path, image)
    separate = core_says(image[None])[0]
    expected = np.where(separate.max(axis=0) > 0.5, separate.argmax(axis=0) + 1, 0)
    assert [c.name for c in found.classes] == ["background", "leaf", "vein"]
    assert np.unique(expected).tolist() == [0, 1, 2]
    assert (found.labels == expected).all()


def test_foreground_and_boundary_tell_objects_that_touch_apart(tmp_path):
    path, _ = write_package(
        tmp_path / "p", onnx_network(2, 2, "Sigmoid", copies=True), inputs=2, names=("foreground", "boundaries")
    )
    # The network copies its channels: the image is the answer. Two squares of 16 pixels side by side.
    foreground, boundary = np.full((2, 32, 48), -9.0, np.float32)
    foreground[8:24, 8:40] = 9
    for column in (8, 23, 24, 39):
        boundary[8:24, column] = 12
    info = read_info(path)
    assert (info.task, info.outputs, [c.name for c in info.classes]) == ("instances", 3, ["background", "object"])
    image = np.stack([foreground, boundary])
    found = predicted(path, image, instances=True).labels
    expected = np.zeros((32, 48), int)
    expected[8:24, 8:24], expected[8:24, 24:40] = 1, 2
    assert np.array_equal(found, expected)
    assert np.array_equal(predicted(path, image).labels, expected > 0)


def test_channels_may_come_last_and_sides_need_not_start_at_a_multiple_of_their_step(tmp_path):
    path, core_says = write_package(
        tmp_path / "p", onnx_network(2, 1, "Sigmoid", channels_last=True), axes="byxc", inputs=2, before=[RANGE],
        size=v0_5.ParameterizedSize(min=20, step=16), shape=(36, 52),
    )  # fmt: skip
    image = picture(2, 52, 68)
    assert (read_info(path).stride, read_info(path).halo) == (16, 64)
    found = predicted(path, image)
    expected = core_says(np.moveaxis(image, 0, -1)[None])[0, ..., 0]
    # 52 and 68 are 20 and two or three steps; tiles of multiples of 16 are mirrored up to such sizes.
    assert np.abs(found.probabilities[1] - expected)[:-1, :-1].max() < 1e-4
    assert predicted(path, picture(2, 7, 9)).labels.shape == (7, 9)


def test_volumes_are_predicted_with_the_networks_of_volumes(tmp_path):
    path, core_says = write_package(
        tmp_path / "p", onnx_network(1, 1, "Sigmoid", ndim=3), axes="bczyx", shape=(8, 16, 24),
        before=[("zero_mean_unit_variance", None)],
    )  # fmt: skip
    volume = picture(16, 24, 32)[None]
    info = read_info(path)
    assert (info.axes, info.strides, info.halo) == ("ZYX", (8, 8, 8), (16, 16, 16))
    assert np.abs(predicted(path, volume).probabilities[1] - core_says(volume[None])[0, 0]).max() < 1e-4


def test_a_network_of_one_size_sees_large_images_in_windows_without_seams(tmp_path):
    path, _ = write_package(
        tmp_path / "p", fixed_size(onnx_network(1, 1, "Sigmoid"), 32), size=32, shape=(32, 32), before=[RANGE, CLIP]
    )
    free, _ = write_package(tmp_path / "q", onnx_network(1, 1, "Sigmoid"), before=[RANGE, CLIP])
    image = picture(1, 75, 141)
    whole, windows = predicted(free, image), predicted(path, image)
    inside = (slice(1, -1), slice(1, -1))
    assert np.abs(whole.probabilities[1][inside] - windows.probabilities[1][inside]).max() < 1e-5
    assert predicted(path, picture(1, 20, 33)).labels.shape == (20, 33)


def fixed_size(content, side):
    model = onnx.load_model_from_string(content)
    for tensor in (*model.graph.input, *model.graph.output):
        for axis, length in ((0, 1), (2, side), (3, side)):
            tensor.type.tensor_type.shape.dim[axis].dim_value = length
    return model.SerializeToString()


def test_tiles_fit_together(tmp_path):
    path, _ = write_package(tmp_path / "p", onnx_network(1, 1, "Sigmoid"), before=[RANGE], halo=1)
    image = picture(1, 200, 168)
    whole, tiles = predicted(path, image), predicted(path, image, tile=32)
    assert np.abs(whole.probabilities - tiles.probabilities).max() < 1e-6


def test_format_0_4_is_read_too(tmp_path):
    path, core_says = write_package(tmp_path / "p", onnx_network(2, 2), inputs=2, names=("a", "b"),
                                    before=[("zero_mean_unit_variance", {"axes": ("y", "x")}), CLIP],
                                    after=[("sigmoid", None)])  # fmt: skip
    folder = unpack(path, tmp_path / "old")
    described = {
        "format_version": "0.4.10", "type": "model", "name": "old",
        "inputs": [{
            "name": "raw", "axes": "bcyx", "data_type": "float32",
            "shape": {"min": [1, 2, 8, 8], "step": [0, 0, 8, 8]},
            "preprocessing": [
                {"name": "zero_mean_unit_variance", "kwargs": {"mode": "per_sample", "axes": "xy"}},
                {"name": "clip", "kwargs": {"min": 0, "max": 1}},
            ],
        }],
        "outputs": [{
            "name": "answer", "axes": "bcyx", "data_type": "float32", "halo": [0, 0, 8, 8],
            "shape": {"reference_tensor": "raw", "scale": [1, 0, 1, 1], "offset": [0, 1, 0, 0]},
            "postprocessing": [{"name": "sigmoid"}],
        }],
        "test_inputs": ["input.npy"], "test_outputs": ["output.npy"],
        "weights": {"onnx": {"source": "weights", "opset_version": 17}},
    }  # fmt: skip
    (folder / "rdf.yaml").write_text(yaml.safe_dump(described))
    image = picture(2, 48, 40)
    info = read_info(folder)
    assert (info.channels, info.outputs, info.stride, info.halo) == (2, 3, 8, 8)
    separate = core_says(image[None])[0]
    expected = np.where(separate.max(axis=0) > 0.5, separate.argmax(axis=0) + 1, 0)
    assert np.array_equal(predicted(folder, image).labels, expected)


def unpack(path, folder):
    with zipfile.ZipFile(path) as file:
        file.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    path, _ = write_package(tmp_path_factory.mktemp("usual") / "p", onnx_network(1, 1, "Sigmoid"), before=[RANGE, CLIP])
    return path


@pytest.fixture
def folder(usual, tmp_path):
    return unpack(usual, tmp_path / "package")


def described(folder):
    return yaml.safe_load((folder / "rdf.yaml").read_text())


def change(folder, tree):
    (folder / "rdf.yaml").write_text(yaml.safe_dump(tree))


def test_a_package_is_used_as_any_model_at_the_shell(usual, tmp_path):
    np.save(tmp_path / "image.npy", picture(1, 40, 56)[0])
    list(predict_files(usual, [tmp_path / "image.npy"], tmp_path / "out", probabilities=True))
    labels = tifffile.imread(tmp_path / "out" / "image.tif")
    assert labels.shape == (40, 56)
    assert np.array_equal(labels, tifffile.imread(tmp_path / "out" / "image_probabilities.tif")[1] > 0.5)


def test_a_zip_of_a_folder_a_folder_and_its_description_are_the_same(usual, folder, tmp_path):
    (folder / "rdf.yaml").rename(folder / "bioimageio.yaml")
    with zipfile.ZipFile(tmp_path / "nested.zip", "w") as file:
        for path in folder.iterdir():
            file.write(path, f"some-model-1.0/{path.name}")
    image = picture(1, 40, 56)
    expected = predicted(usual, image).probabilities
    for path in (folder, folder / "bioimageio.yaml", tmp_path / "nested.zip"):
        assert np.array_equal(predicted(path, image).probabilities, expected)


def replace_weights(folder, content, kind="onnx"):
    tree = described(folder)
    version = {"opset_version": 17} if kind == "onnx" else {"pytorch_version": "2.4"}
    tree["weights"] = {kind: {"source": "weights", **version}}
    (folder / "weights").write_bytes(content)
    change(folder, tree)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"inputs": 2}, "has 2 inputs, but one is needed"),
        ({"weights": {"pytorch_state_dict": {"source": "w.pt", "architecture": {"source": "net.py"}}}},
         "pytorch_state_dict, which can't be run here.*never executed"),
        ({"weights": {"keras_hdf5": {"source": "w.h5"}}}, "weights in .* are keras_hdf5"),
        ({"format_version": "0.3.6"}, "format 0.3.6, but 0.4 and 0.5 are known"),
        ({"type": "dataset"}, "describes a dataset, not a model"),
        ({"inputs": "nothing"}, "has 7 inputs|in a way that is known"),
        ({"weights": None}, "doesn't describe a model in a way that is known here"),
    ],
)  # fmt: skip
def test_what_can_not_be_done_is_said(part, message, folder):
    tree = described(folder)
    if part == {"inputs": 2}:
        part = {"inputs": [tree["inputs"][0], {**tree["inputs"][0], "id": "second"}]}
    change(folder, tree | part)
    with pytest.raises(ModelFileError, match=message):
        load_model(folder)


@pytest.mark.parametrize(
    ("before", "message"),
    [
        ([CLIP, RANGE], "scale_range after other steps"),
        ([("scale_range", {"axes": ["x"]})], "scale_range over x alone"),
        ([("clip", {"min_percentile": 3, "max_percentile": 90})], "asks for clip"),
        ([("scale_linear", {"gain": [1, 2], "axis": "x"})], "scale_linear along x"),
        ([("cellpose_flow_dynamics", {})], "asks for cellpose_flow_dynamics"),
    ],
)
def test_processing_that_can_not_be_done_is_named(before, message, folder):
    tree = described(folder)
    tree["inputs"][0]["preprocessing"] = [{"id": name, "kwargs": kwargs} for name, kwargs in before]
    change(folder, tree)
    with pytest.raises(ModelFileError, match=message):
        read_info(folder)


def test_answers_that_are_no_probabilities_are_refused(tmp_path):
    path, _ = write_package(tmp_path / "p", onnx_network(1, 1), before=[("zero_mean_unit_variance", None)])
    with pytest.raises(ModelFileError, match=r"is no probability of classes: it goes from -\d"):
        read_info(path)


def test_an_answer_of_another_size_is_refused(folder):
    tree = described(folder)
    tree["outputs"][0]["axes"][2]["scale"] = 0.5
    change(folder, tree)
    with pytest.raises(ModelFileError, match="has another size than the image"):
        read_info(folder)
    tree["outputs"][0]["axes"][2] |= {"scale": 1.0, "size": {"tensor_id": "raw", "axis_id": "y", "offset": -4}}
    change(folder, tree)
    with pytest.raises(ModelFileError, match="has another size than the image"):
        read_info(folder)


@pytest.mark.parametrize("source", ["../secret.onnx", "/etc/passwd", "C:\\secret", "https://example.com/w.onnx"])
def test_files_elsewhere_are_never_read(source, folder, tmp_path):
    (tmp_path / "secret.onnx").write_bytes((folder / "weights").read_bytes())
    tree = described(folder)
    tree["weights"]["onnx"] = {"source": source, "opset_version": 17}
    change(folder, tree)
    with pytest.raises(ModelFileError, match="which is not a part of it"):
        load_model(folder)


def test_a_link_that_leads_out_of_the_folder_is_not_followed(folder, tmp_path):
    (folder / "weights").rename(tmp_path / "outside")
    (folder / "weights").symlink_to(tmp_path / "outside")
    with pytest.raises(ModelFileError, match="has no file weights"):
        load_model(folder)


def test_a_changed_file_is_noticed(folder):
    content = bytearray((folder / "weights").read_bytes())
    content[-3] ^= 1
    (folder / "weights").write_bytes(content)
    with pytest.raises(ModelFileError, match="weights in .* is damaged: it is not the file that was described"):
        load_model(folder)


def test_a_zip_bomb_is_not_unpacked(folder, tmp_path):
    (folder / "weights").unlink()
    tree = described(folder)
    tree["weights"]["onnx"].pop("sha256")
    change(folder, tree)
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as file:
        for path in folder.iterdir():
            file.write(path, path.name)
        with file.open("weights", "w") as stream:
            for _ in range(80):
                stream.write(bytes(1 << 20))
    assert bomb.stat().st_size < 1_000_000
    with pytest.raises(ModelFileError, match="larger than such a file can be"):
        load_model(bomb)


def test_a_zip_cut_short_or_of_something_else_is_refused(usual, tmp_path):
    content = usual.read_bytes()
    for name, part in (("half", content[: len(content) // 2]), ("none", b""), ("text", b"no zip at all")):
        (tmp_path / f"{name}.zip").write_bytes(part)
        with pytest.raises(ModelFileError, match="is no zip file, or is damaged"):
            load_model(tmp_path / f"{name}.zip")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as file:
        file.writestr("readme.txt", "hello")
    with pytest.raises(ModelFileError, match=r"holds no description of a model \(rdf.yaml or bioimageio.yaml\)"):
        read_info(tmp_path / "other.zip")
    with pytest.raises(ModelFileError, match="There is no file"):
        read_info(tmp_path / "missing.zip")


TEN = ",".join(["*{0}"] * 10)
NEIGHBOURS = list(itertools.pairwise("abcdefghi"))


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x,x,x]\n" + "".join(f"{n}: &{n} [{TEN.format(before)}]\n" for before, n in NEIGHBOURS),
        "a: &a {k: 1}\n" + "".join(f"{n}: &{n} {{<<: [{TEN.format(old)}], {n}{n}: 1}}\n" for old, n in NEIGHBOURS),
        "a: &a [*a]",
        "[" * 100_000,
        "- a list",
        "!!python/object/apply:os.system ['echo pwned']",
        "a: 'not ended",
        "\x00",
        "x" * 400_000,
    ],
    ids=["laughs", "merged laughs", "itself", "deep", "list", "code", "broken", "null", "long"],
)  # fmt: skip
def test_hostile_descriptions_are_refused_quickly(text, folder):
    (folder / "rdf.yaml").write_text(text)
    with pytest.raises(ModelFileError, match="is no description of a model|larger than such a file can be"):
        read_info(folder)


def test_pickles_are_never_loaded(folder, tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "executed"), "w"))

    for content in (pickle.dumps(Evil()), npy_of_objects(Evil()), npy_that_promises_too_much()):
        (folder / "output.npy").write_bytes(content)
        tree = described(folder)
        tree["outputs"][0]["test_tensor"] = {"source": "output.npy"}
        change(folder, tree)
        with pytest.raises(ModelFileError, match="output.npy in .* is no array, or is damaged"):
            read_info(folder)
    replace_weights(folder, pickle.dumps(Evil()))
    (folder / "output.npy").write_bytes(npy(np.full((1, 1, 32, 40), 0.5, np.float32)))
    with pytest.raises(ModelFileError, match="weights is no ONNX file that can be run"):
        load_model(folder)
    replace_weights(folder, pickle.dumps(Evil()), "torchscript")
    with pytest.raises(ModelFileError, match="weights is no TorchScript file"):
        load_model(folder)
    file = io.BytesIO()
    torch.save(Evil(), file)
    replace_weights(folder, file.getvalue(), "torchscript")
    with pytest.raises(ModelFileError, match="weights is no TorchScript file"):
        load_model(folder)
    assert not (tmp_path / "executed").exists()


def npy(array, **options):
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def npy_of_objects(value):
    return npy(np.array([value], dtype=object), allow_pickle=True)


def npy_that_promises_too_much():
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 1000000, 1000000)}"
    header += b" " * (63 - (len(header) + 10) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + b"1234"


class Saves(torch.nn.Module):
    def __init__(self, path):
        super().__init__()
        self.path: str = path

    def forward(self, x):
        torch.save(x, self.path)
        return x.sigmoid()


def test_a_torchscript_program_that_writes_files_is_not_even_loaded(folder, tmp_path):
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(Saves(str(tmp_path / "written"))), file)
    replace_weights(folder, file.getvalue(), "torchscript")
    with pytest.raises(ModelFileError, match="does more than compute: it asks for 'save'"):
        load_model(folder)
    assert not (tmp_path / "written").exists()


def test_onnx_whose_numbers_lie_in_other_files_is_refused(folder, tmp_path):
    model = onnx.load_model_from_string(onnx_network(1, 1, "Sigmoid"))
    tensor = model.graph.initializer[0]
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../../../etc/passwd"
    replace_weights(folder, model.SerializeToString())
    with pytest.raises(ModelFileError, match="has its weights in another file"):
        load_model(folder)


def test_a_network_that_fails_says_so_in_a_sentence(folder):
    node = helper.make_node("Reshape", ["x", "s"], ["y"])
    graph = helper.make_graph(
        [node], "g", [helper.make_tensor_value_info("x", 1, [None] * 4)],
        [helper.make_tensor_value_info("y", 1, [None] * 4)], [helper.make_tensor("s", 7, [4], [1, 1, 3, 3])],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    replace_weights(folder, model.SerializeToString())
    with pytest.raises(SegNetError, match=r"The network of .* failed on \d+ x \d+ pixels"):
        predicted(folder, picture(1, 40, 40))


def test_weights_that_need_onnxruntime_say_so_where_it_is_missing(folder, monkeypatch):
    find = packages.util.find_spec
    monkeypatch.setattr(packages.util, "find_spec", lambda name: None if name == "onnxruntime" else find(name))
    with pytest.raises(ModelFileError, match=r'onnxruntime is not installed. pip install "napari-segnet\[export\]"'):
        read_info(folder)


def test_a_model_of_others_can_not_be_fine_tuned_nor_written_as_a_model_file(folder, tmp_path):
    with pytest.raises(ModelFileError, match="holds no model file: its network is one for onnx, to predict with only"):
        packages.model_bytes(folder)
    with pytest.raises(ModelFileError, match="can't be written as a model file"):
        load(folder).save(tmp_path / "m.safetensors")


def test_packages_that_were_not_made_by_us_are_recognized_by_core_too(usual):
    assert core.test_model(usual, weight_format="onnx").status == "passed"
    assert json.loads(read_info(usual).model_dump_json())["network"] == "onnx"
