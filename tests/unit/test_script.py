"""A run as a text: read back, it asks for the same run."""

import ast
import shlex
from pathlib import Path

import hypothesis.strategies as st
import imageio.v3 as iio
import numpy as np
import pytest
from hypothesis import given, settings

from napari_segnet.again import copy_records, missing_files, run_of
from napari_segnet.config import PredictConfig, RunConfig, validated
from napari_segnet.errors import RunFolderError
from napari_segnet.io.pairing import pair_files
from napari_segnet.io.records import make_records
from napari_segnet.presets import Fingerprint, resolve
from napari_segnet.request import build_config, read_settings
from napari_segnet.run import PairRecord, RunFolder
from napari_segnet.script import Prediction, command_line, free_path, python_code, read_training

CLASSES = [
    {"value": 1, "name": "ground", "colour": "#101010"},
    {"value": 2, "name": 'cell\'s "rim", größer', "colour": "#ff8800", "weight": 2.5},
]
NEW = Path("/new")
NUMBERS = st.floats(1e-7, 9, allow_nan=False)


def make_run(path, config=None, records=()):
    return RunFolder.create(path, validated(RunConfig, config or {}), records)


def options_of(words):
    """Take a command apart: arguments, options, settings, as the shell's command line does."""
    arguments, options, sets = [], {}, []
    words = iter(words)
    for word in words:
        if word == "--set":
            sets.append(next(words))
        elif word.startswith("--"):
            options[word[2:].replace("-", "_")] = next(words)
        else:
            arguments.append(word)
    return arguments, options, sets


def config_of(text):
    """Return the configuration that the words of a train command stand for."""
    _, options, sets = options_of(shlex.split(text.replace("\\\n", " ")))
    options.pop("out")
    numbers = {"epochs": int, "folds": int, "seed": int, "minutes": float, "val_fraction": float}
    return build_config({name: numbers.get(name, str)(value) for name, value in options.items()}, sets)


def windows_words(line):
    """Take a command line of Windows apart by the rules of its C library."""
    words, word, inside, i = [], None, False, 0
    while i < len(line):
        slashes = len(line) - i - len(line[i:].lstrip("\\"))
        if slashes and line[i + slashes : i + slashes + 1] == '"':
            word = (word or "") + "\\" * (slashes // 2)
            i += slashes
            if slashes % 2:
                word, i = word + '"', i + 1
        elif line[i] == '"':
            word, inside, i = word or "", not inside, i + 1
        elif line[i] == " " and not inside:
            words, word, i = words + ([word] if word is not None else []), None, i + 1
        else:
            word, i = (word or "") + line[i], i + 1
    return words + ([word] if word is not None else [])


@st.composite
def configs(draw):
    """Configurations as people set them: some sections, some values, some of them as they are by default."""
    data = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "task": st.sampled_from(["semantic", "instances"]),
                "unlabelled": st.sampled_from(["ignore", "background"]),
                "classes": st.just(CLASSES),
                "ignore_values": st.sampled_from([(), (0, 11)]),
                "window": st.sampled_from([None, "lung", (-100.5, 300.0)]),
                "zoom": st.sampled_from([1.0, 0.3333]),
                "val_fraction": st.sampled_from([0.2, 0.0]),
            },
        )
    )
    model = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "network": st.sampled_from(["plain-unet", "segnet"]),
                "norm": st.sampled_from([None, "group"]),
                "options": st.just({"width": 8, "mode": "1e3", "slow": True, "rate": 1e-5}),
            },
        )
    )
    augment = st.fixed_dictionaries(
        {}, optional={"flip": st.sampled_from([True, False, "left-right"]), "rotation": st.floats(0, 180)}
    )
    train = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "preset": st.sampled_from(["fast", "best"]),
                "learning_rate": NUMBERS,
                "weight_decay": NUMBERS,
                "minutes": st.none() | NUMBERS,
                "epochs": st.none() | st.integers(1, 999),
                "patch_size": st.sampled_from([128, 96, (8, 64, 64)]),
                "loss_options": st.sampled_from([{}, {"gamma": 2.0, "weights": (0.5, 1e-6)}]),
                "seed": st.integers(0, 2**31 - 1),
                "device": st.sampled_from(["auto", "cuda:1"]),
                "find_rate": st.booleans(),
                "augment": augment,
            },
        )
    )
    return validated(RunConfig, {"data": data, "model": model, "train": train})


@settings(max_examples=60, deadline=None)
@given(config=configs())
def test_the_words_ask_for_just_that_configuration(tmp_path_factory, config):
    run = RunFolder.create(tmp_path_factory.mktemp("runs") / "run", config)
    training = read_training(run.path)
    expected = config.model_dump()
    assert config_of(command_line(training, NEW, windows=False)).model_dump() == expected
    line = command_line(training, NEW, windows=True)
    assert line.count("\n") == 1
    assert config_of(shlex.join(windows_words(line.strip()))).model_dump() == expected
    (call,) = [node.value for node in ast.parse(python_code(training, NEW)).body if hasattr(node, "targets")]
    said = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
    assert said.pop("run") == str(NEW)
    sets = said.pop("settings", [])
    assert build_config(said, sets).model_dump() == expected


@pytest.mark.parametrize("preset", ["fast", "balanced", "best"])
@pytest.mark.parametrize("depth", [None, 24])
def test_what_a_preset_chose_for_other_data_is_kept(tmp_path, preset, depth):
    small = Fingerprint(1, 96, 96, 1, 2, 500, depth=depth)
    started, _ = resolve(validated(RunConfig, {"train": {"preset": preset, "minutes": 3}}), small)
    run = RunFolder.create(tmp_path / "run", started)
    large = Fingerprint(9, 2048, 2048, 3, 4, 10**7, memory=64, depth=4 * depth if depth else None)
    again, _ = resolve(config_of(command_line(read_training(run.path), NEW, windows=False)), large)
    assert again.model_dump() == started.model_dump()


def test_nothing_is_said_of_what_is_as_always(tmp_path):
    run = make_run(tmp_path / "run", {"train": {"seed": 0, "loss": "dice+ce", "batch_size": 8}, "data": {"folds": 0}})
    training = read_training(run.path)
    assert training.options == {}
    assert training.settings == {"train.batch_size": 8}  # the preset chooses it where nothing is said


def write_files(folder, names, suffix="_mask"):
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for name in names:
        iio.imwrite(folder / "images" / f"{name}.png", np.zeros((8, 8), np.uint8))
        iio.imwrite(folder / "labels" / f"{name}{suffix}.png", np.ones((8, 8), np.uint8))
    return folder / "images", folder / "labels"


def test_folders_are_named_where_their_pairs_are_those_of_the_run(tmp_path):
    images, labels = write_files(tmp_path / "my data", ["2", "10"])
    run = make_run(tmp_path / "run", records=make_records(pair_files(images, labels)))
    training = read_training(run.path)
    assert (training.images, training.labels) == (images.resolve(), labels.resolve())
    assert f"'{images.resolve()}'" in command_line(training, NEW, windows=False)
    write_files(tmp_path / "my data", ["3"])
    assert read_training(run.path).images == run.path.resolve()
    assert read_training(run.path).labels is None
    one = make_run(tmp_path / "one", records=make_records(pair_files(images / "2.png", labels / "2_mask.png")))
    assert read_training(one.path).images == (images / "2.png").resolve()


def test_other_names_orders_and_channels_need_the_run_itself(tmp_path):
    images, labels = write_files(tmp_path, ["a", "b"])
    records = make_records(pair_files(images, labels))
    cases = {
        "order": records[::-1],
        "names": [r.replace(name=f"{r.name}-x") for r in records],
        "channels": [r.replace(images=r.images * 2) for r in records],
    }
    for name, changed in cases.items():
        run = make_run(tmp_path / name, records=changed)
        assert read_training(run.path).labels is None, name


def snapshot(path):
    """A run of two channels in two files, with axes and sizes that no file says, and one file elsewhere."""
    run = make_run(path)
    for name, value in (("cell_0", 1), ("cell_1", 2), ("cell_labels", 3)):
        np.save(run.data / f"{name}.npy", np.full((2, 8, 8), value, np.uint8))
    np.save(path.parent / "elsewhere.npy", np.zeros((8, 8), np.uint8))
    cell = PairRecord(
        name="cell",
        images=("data/cell_0.npy", "data/cell_1.npy"),
        labels="data/cell_labels.npy",
        axes="ZYX",
        pixel_size=(3.0, 0.5, 0.5),
        units="um",
    )
    away = str(path.parent / "elsewhere.npy")
    run.set_pairs([cell, PairRecord(name="away", images=(away,), labels="data/cell_labels.npy", axes="YX")])
    return run


def test_data_are_copied_with_what_only_the_run_knows(tmp_path):
    run = snapshot(tmp_path / "run")
    new = tmp_path / "new"
    records = copy_records(run.path, new)
    assert sorted(p.name for p in (new / "data").iterdir()) == ["cell_0.npy", "cell_1.npy", "cell_labels.npy"]
    assert np.load(new / "data" / "cell_1.npy").max() == 2
    assert records[0].images == ("data/cell_0.npy", "data/cell_1.npy")
    assert (records[0].axes, records[0].pixel_size, records[0].units) == ("ZYX", (3.0, 0.5, 0.5), "um")
    assert records[1].images == (str(tmp_path / "elsewhere.npy"),)
    again = RunFolder.create(new, RunConfig(), records)
    (run.data / "cell_0.npy").unlink()
    assert all(Path(name).exists() for record in again.pairs for name in record.images)


def test_data_that_are_gone_are_a_sentence(tmp_path):
    run = snapshot(tmp_path / "run")
    assert missing_files(run) == []
    (run.data / "cell_0.npy").unlink()
    assert missing_files(run) == [run.data / "cell_0.npy"]
    with pytest.raises(RunFolderError, match=r"cell_0\.npy of the run .* can't be found"):
        copy_records(run.path, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    with pytest.raises(RunFolderError, match="without labels"):
        copy_records(tmp_path, tmp_path / "new")
    with pytest.raises(RunFolderError, match="not a run folder"):
        read_training(tmp_path)


def test_the_copy_of_the_model_it_started_from_is_named(tmp_path):
    run = make_run(tmp_path / "run", {"model": {"weights": "gone.safetensors"}})
    assert read_training(run.path).options["weights"] == "gone.safetensors"
    run.start.write_bytes(b"weights")
    assert read_training(run.path).options["weights"] == str(run.start.resolve())


def test_folds_are_asked_for_together_or_one_alone(tmp_path):
    folds = tmp_path / "folds"
    for fold in (1, 2, 3):
        made = make_run(folds / f"fold-{fold}", {"data": {"folds": 3, "fold": fold}})
    (folds / "data").mkdir()
    np.save(folds / "data" / "a.npy", np.zeros((4, 4)))
    for fold in (1, 2, 3):
        record = PairRecord(name="a", images=("../data/a.npy",), labels="../data/a.npy", axes="YX")
        RunFolder(folds / f"fold-{fold}").set_pairs([record])
    whole, one = read_training(folds), read_training(made.path)
    assert (whole.images, whole.options, whole.settings) == (folds.resolve(), {"folds": 3}, {})
    assert (one.images, one.options, one.settings) == (made.path.resolve(), {"folds": 3}, {"data.fold": 3})
    assert copy_records(folds, tmp_path / "new")[0].images == ("data/a.npy",)
    assert (tmp_path / "new" / "data" / "a.npy").exists()
    assert run_of(folds).path == folds / "fold-1"


def test_a_prediction_is_repeated_with_its_options(tmp_path):
    said = {"tta": True, "tile": 512, "device": "cpu", "pixel_size": [3.0, 0.5, 0.5], "tta_scales": [0.75, 1.0]}
    made = Prediction(
        (Path("/in/a b.tif"), Path("/in/c.tif")),
        model=Path("/m.safetensors"),
        out=tmp_path,
        axes="ZYX",
        uncertainty=True,
        config=validated(PredictConfig, said),
    )
    words = shlex.split(command_line(None, NEW, [made], windows=False).replace("\\\n", " "))
    assert words[:5] == ["napari-segnet", "predict", *map(str, (made.model, *made.inputs))]
    flags = [word for word in words if word in ("--tta", "--uncertainty")]
    assert flags == ["--uncertainty", "--tta"]
    _, options, sets = options_of([word for word in words if word not in flags])
    assert options == {"out": str(tmp_path), "axes": "ZYX", "device": "cpu"}
    assert read_settings(sets) == {"tile": 512, "pixel_size": [3.0, 0.5, 0.5], "tta_scales": [0.75, 1.0]}
    code = python_code(None, NEW, [made])
    assert "predict_files" in code
    assert "tta=True" in code
    ast.parse(code)


def test_a_prediction_follows_with_the_model_of_the_training(tmp_path):
    run = make_run(tmp_path / "run")
    new = free_path(run.path)
    assert new == tmp_path / "run-again"
    made = Prediction((tmp_path / "a.tif",), instances=True)
    first, second = command_line(read_training(run.path), new, [made], windows=True).splitlines()
    assert first.startswith("napari-segnet train ")
    assert windows_words(second)[:4] == ["napari-segnet", "predict", str(new), str(tmp_path / "a.tif")]
    assert "--instances" in second
    call = ast.parse(python_code(read_training(run.path), new, [made])).body[-1].value
    assert ast.unparse(call.func) == "model.predict"
    assert [ast.literal_eval(argument) for argument in call.args] == [str(tmp_path / "a.tif")]
    assert [(k.arg, ast.literal_eval(k.value)) for k in call.keywords] == [("instances", True)]
    new.mkdir()
    assert free_path(run.path) == tmp_path / "run-again-2"


@pytest.mark.parametrize(
    "word", ["plain", r"C:\data\run", r"C:\my data\\", 'say "hi" & go', r"a\"b", "", "50% | more", "{a: 'b'}"]
)
def test_words_survive_the_shell_of_windows(word):
    from napari_segnet.script import _quote_for_windows

    assert windows_words(f"x {_quote_for_windows(word)} y") == ["x", word, "y"]
