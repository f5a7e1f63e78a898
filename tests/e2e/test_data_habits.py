"""Weights, repeated patches, normalization and other habits of data, in whole runs."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

import napari_segnet as segnet
from conftest import TINY, discs
from napari_segnet import events
from napari_segnet.config import PredictConfig, RunConfig, merge
from napari_segnet.data.normalization import Normalization
from napari_segnet.data.resampling import resample_nearest
from napari_segnet.errors import ConfigError
from napari_segnet.executor import Control, View, execute
from napari_segnet.inputs import Pixels
from napari_segnet.io.images import open_image
from napari_segnet.io.write import write_npy, write_tiff
from napari_segnet.models.file import load_model
from napari_segnet.predict.arrays import ArrayFiles, predict_arrays, predict_stack
from napari_segnet.predict.ensemble import make_predictor
from napari_segnet.predict.files import predict_files
from napari_segnet.predict.predictor import Predictor
from napari_segnet.run import PairRecord, RunFolder
from napari_segnet.training.prepare import prepare


def numbered(mask):
    return ndimage.label(mask)[0].astype(np.uint16)


def test_a_run_with_weights_and_repeated_patches_goes_on_as_if_nothing_had_happened(make_run):
    train = {"class_weights": "median", "border_weight": 10, "repeat_worst": 0.25, "balanced": 0.75}
    settings = {"images": 4, "labels": numbered, "data": {"task": "instances"}, "train": train}
    whole, run = make_run("whole", **settings), make_run("stopped", **settings)
    started = next(event for event in list(execute(whole)) if isinstance(event, events.Started))
    assert started.choices["weights"].endswith("by median frequency.")
    control = Control()
    for event in execute(run, control):
        control.stop = control.stop or isinstance(event, events.Epoch)
    assert run.state() == "interrupted"
    list(execute(RunFolder(run.path)))
    mine, theirs = (load_model(one.path)[1].state_dict() for one in (run, whole))
    assert all(torch.allclose(mine[key], theirs[key], atol=1e-6) for key in theirs)


def test_a_border_weight_for_classes_is_refused_before_anything_is_learned(make_run):
    with pytest.raises(ConfigError, match="gaps between objects"):
        list(execute(make_run(train={"border_weight": 10})))


@pytest.mark.parametrize("data", [{"normalization": "zscore"}, {"window": (-0.5, 1.5)}])
def test_how_intensities_were_scaled_travels_in_the_model(make_run, data):
    run = make_run(images=2, data=data, train={"epochs": 6, "patience": 10})
    list(execute(run))
    info, network = load_model(run.path)
    image, mask = discs(7)
    expected = (
        Normalization(mode="zscore", clip=5)
        if "window" not in data
        else Normalization(low=(-0.5,), high=(1.5,), clip=1)
    )
    assert info.normalization == expected
    predictor = Predictor(network, info)
    outputs = predictor.empty_outputs(image.shape)
    predictor.predict_plane(image[None], **outputs)
    found = outputs["labels_out"] == 1
    assert 2 * (found & (mask == 1)).sum() / (found.sum() + mask.sum()) > 0.8


def scaled_discs(seed, factor):
    """Return discs of the same size in micrometers, seen with smaller or larger pixels."""
    mask = discs(seed)[1]
    side = round(96 * factor)
    rng = np.random.default_rng(seed)
    mask = resample_nearest(mask, (side, side))
    return (mask * 0.8 + rng.normal(0, 0.15, mask.shape)).astype(np.float32), mask


def resampled_run(tmp_path, **settings):
    run = RunFolder.create(tmp_path / "run", RunConfig().replace(**merge(TINY, settings)))
    records = []
    for n, factor in enumerate((1, 2, 1, 2)):
        image, mask = scaled_discs(n, factor)
        write_npy(run.data / f"i{n}.npy", image)
        write_npy(run.data / f"l{n}.npy", mask)
        files = {"images": (f"data/i{n}.npy",), "labels": f"data/l{n}.npy"}
        records.append(PairRecord(name=f"i{n}", axes="YX", pixel_size=(1 / factor,) * 2, units="micrometer", **files))
    run.set_pairs(records)
    return run


def test_a_model_sees_all_images_at_one_pixel_size_and_answers_at_theirs(tmp_path):
    run = resampled_run(tmp_path, data={"pixel_size": 1.0}, train={"epochs": 6, "patience": 10})
    started = next(event for event in list(execute(run)) if isinstance(event, events.Started))
    assert started.choices["pixels"] == "1 x 1 micrometer: 2 of 4 images are resampled."
    info, _ = load_model(run.path)
    assert (info.pixel_size, info.units, info.resampled) == ((1, 1), "micrometer", True)
    assert info.fingerprint["height"] == 96

    folder, masks = tmp_path / "new", {}
    folder.mkdir()
    for name, factor, size in (("same", 1, 1.0), ("fine", 3, 1 / 3), ("unknown", 1, None)):
        image, masks[name] = scaled_discs(11, factor)
        sizes = {"pixel_size": (size, size), "units": "micrometer"} if size else {}
        write_tiff(folder / f"{name}.tif", image, "YX", **sizes)
    told = list(predict_files(run.path, [folder], tmp_path / "out", probabilities=True, uncertainty=True))
    for name, mask in masks.items():
        labels = open_image(tmp_path / "out" / f"{name}.tif").array
        assert labels.shape == mask.shape
        found = np.asarray(labels) == 1
        assert 2 * (found & (mask == 1)).sum() / (found.sum() + mask.sum()) > 0.85
        likely = np.asarray(open_image(tmp_path / "out" / f"{name}_probabilities.tif").array)
        assert likely.shape == (2, *mask.shape)
        assert np.allclose(likely.sum(axis=0), 1, atol=1e-3)
        assert np.mean((likely[1] > 0.5) == found) > 0.95
    notices = [event.text for event in told if isinstance(event, events.Notice)]
    assert len(notices) == 1
    assert "unknown.tif doesn't say how large its pixels are" in notices[0]
    assert "1 x 1 micrometer" in notices[0]

    image, mask = scaled_discs(12, 2)
    predictor = make_predictor(run.path, PredictConfig(pixel_size=0.5))
    labels, likely, entropy = predict_stack(predictor, Pixels(image, "YX"))
    assert labels.shape == entropy.shape == likely.shape[1:] == mask.shape
    assert 2 * ((labels == 1) & (mask == 1)).sum() / ((labels == 1).sum() + mask.sum()) > 0.85

    # A layer of the viewer, an array and a file with the same pixel size get the same answer.
    write_npy(tmp_path / "layer.npy", image)
    layer = ArrayFiles("layer", (tmp_path / "layer.npy",), "YX", (0.5, 0.5), "micrometer")
    list(predict_arrays(run.path, [layer], tmp_path / "layers"))
    assert np.array_equal(np.load(tmp_path / "layers" / "layer.npy"), labels)
    write_tiff(tmp_path / "half.tif", image, "YX", pixel_size=(0.5, 0.5), units="micrometer")
    assert np.array_equal(segnet.load(run.path).predict(tmp_path / "half.tif").labels, labels)


def test_images_of_wide_objects_are_shown_smaller_and_answered_at_their_own_size(tmp_path):
    images, masks = zip(*(scaled_discs(n, 8) for n in range(3)), strict=True)
    told = []
    quick = ["train.patch_size=64", "train.steps_per_epoch=6", "model.options={width: 8, depth: 2, max_width: 16}"]
    asked = {"epochs": 6, "val_fraction": 0, "task": "semantic", "unlabelled": "background"}
    model = segnet.train(images[:2], masks[:2], settings=quick, on_event=told.append, **asked)
    started = next(event for event in told if isinstance(event, events.Started))
    assert "of their size: objects are about" in started.choices["images"]
    assert model.info.zoom < 0.4
    assert model.info.config.data.zoom == model.info.zoom
    image, mask = images[2], masks[2]
    result = model.predict(image)
    assert result.labels.shape == result.uncertainty.shape == mask.shape
    assert 2 * ((result.labels == 1) & (mask == 1)).sum() / ((result.labels == 1).sum() + mask.sum()) > 0.85
    # Corrections are learned at the size that the model knows, whatever they look like.
    better = segnet.train(image, mask, weights=str(model.save(tmp_path / "first.safetensors")), settings=quick, **asked)
    assert better.info.zoom == model.info.zoom
    told.clear()
    segnet.train(
        image, mask, weights=str(tmp_path / "first.safetensors"), on_event=told.append, **asked,
        settings=[*quick, "data.zoom=1"],
    )  # fmt: skip
    started = next(event for event in told if isinstance(event, events.Started))
    assert started.choices["images"] == "as large as the model to start from knows them, not as asked for."
    with pytest.raises(segnet.SegNetError, match="one zoom"):
        model.predict(np.stack([image] * 4), axes="ZYX", orthoplanes=True)


def test_a_run_of_an_earlier_version_goes_on_with_images_as_they_were(tmp_path):
    image, mask = scaled_discs(0, 8)
    run = RunFolder.create(tmp_path / "run", RunConfig().replace(**merge(TINY, {"data": {"zoom": 1}})))
    write_npy(run.data / "i.npy", image)
    write_npy(run.data / "l.npy", mask)
    run.set_pairs([PairRecord(name="i", images=("data/i.npy",), labels="data/l.npy", axes="YX")])
    control = Control()
    for event in execute(run, control):
        control.stop |= isinstance(event, events.Epoch)
    config = run.config
    run.set_config(config.replace(data={k: v for k, v in config.data.explicit().items() if k != "zoom"}))
    list(execute(run))
    assert load_model(run.path)[0].zoom == 1


def test_images_too_large_to_be_resampled_are_shown_as_they_are(tmp_path, monkeypatch):
    image, mask = scaled_discs(0, 8)
    monkeypatch.setattr("napari_segnet.data.resampling._MOST", image.size - 1)
    quick = ["train.patch_size=64", "train.steps_per_epoch=2", "model.options={width: 8, depth: 2, max_width: 16}"]
    asked = {"epochs": 1, "val_fraction": 0, "task": "semantic", "unlabelled": "background"}
    assert segnet.train(image, mask, settings=quick, **asked).info.zoom == 1
    with pytest.raises(segnet.SegNetError, match="too many to be resampled"):
        segnet.train(image, mask, settings=[*quick, "data.zoom=0.5"], **asked)


def test_resampled_images_are_previewed_in_their_own_pixels(tmp_path):
    run = resampled_run(tmp_path, data={"pixel_size": 1.0}, train={"epochs": 8, "preview_seconds": 0.01})
    told = list(execute(run, Control(view=View("i1", 0, (30, 61), (90, 400)))))
    shown = [event for event in told if isinstance(event, events.Preview)]
    assert shown[-1].origin == (30, 61)
    labels, probabilities = np.load(shown[-1].labels), np.load(shown[-1].probabilities)
    assert labels.shape == (90, 192 - 61)
    assert probabilities.shape == (2, *labels.shape)
    assert np.array_equal(probabilities.argmax(axis=0), labels)
    truth = scaled_discs(1, 2)[1][30:120, 61:] == 1
    assert 2 * ((labels == 1) & truth).sum() / ((labels == 1).sum() + truth.sum()) > 0.8
    # The viewer may still be reading the one before; those before it are gone.
    assert len(shown) > 2
    assert not (run.path / "preview" / "labels-1.npy").exists()
    assert sum(1 for _ in (run.path / "preview").glob("labels-*.npy")) == 2


def test_a_model_of_resampled_images_is_fine_tuned_at_its_own_pixel_size(tmp_path):
    first = resampled_run(tmp_path, data={"pixel_size": "median"}, train={"epochs": 1})
    list(execute(first))
    size = load_model(first.path)[0].pixel_size
    assert size == (0.75, 0.75)
    (tmp_path / "again").mkdir()
    again = resampled_run(
        tmp_path / "again", model={"weights": str(first.path / "model.safetensors")}, train={"epochs": 1}
    )
    again.set_config(again.config.replace(model={"weights": str(first.path / "model.safetensors")}))
    list(execute(again))
    info = load_model(again.path)[0]
    assert (info.pixel_size, info.resampled) == (size, True)


def test_copies_are_told_and_stay_on_one_side_of_the_split(make_run):
    run = make_run(images=6, train={"epochs": 1}, data={"val_fraction": 0.34})
    for n in (3, 4, 5):
        image = np.load(run.data / f"i{n - 3}.npy")
        write_npy(run.data / f"i{n}.npy", image if n == 3 else image * 1.2)
        write_npy(run.data / f"l{n}.npy", np.load(run.data / f"l{n - 3}.npy"))
    extra = {n: discs(n) for n in (6, 7)}
    records = list(run.pairs)
    for n, (image, mask) in extra.items():
        write_npy(run.data / f"i{n}.npy", image)
        write_npy(run.data / f"l{n}.npy", mask)
        files = {"images": (f"data/i{n}.npy",), "labels": f"data/l{n}.npy"}
        records.append(PairRecord(name=f"i{n}", axes="YX", **files))
    ready = prepare(run_with(run, records), torch.device("cpu"))
    train, validation = (
        {ready.pairs[r.pair].name for r in side} for side in (ready.split.train, ready.split.validation)
    )
    assert validation
    for a, b in (("i0", "i3"), ("i1", "i4"), ("i2", "i5")):
        assert (a in train) == (b in train)
    assert any("i0 and i3, i1 and i4, i2 and i5" in warning for warning in ready.warnings)


def run_with(run, records):
    files = [
        r.model_copy(update={"images": tuple(Path(i).name for i in r.images), "labels": Path(r.labels).name})
        for r in records
    ]
    run.set_pairs(
        [r.model_copy(update={"images": (f"data/{r.images[0]}",), "labels": f"data/{r.labels}"}) for r in files]
    )
    return run


def test_a_run_writes_its_history_for_tensorboard(make_run, monkeypatch):
    run = make_run(train={"epochs": 2, "tensorboard": True})
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match="needs the package tensorboard"):
        list(execute(run))
    monkeypatch.undo()
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    rows = [event.row for event in list(execute(run)) if isinstance(event, events.Epoch)]
    found = accumulator.EventAccumulator(str(run.path / "tensorboard"))
    found.Reload()
    assert [e.value for e in found.Scalars("loss")] == pytest.approx([row["loss"] for row in rows])


def test_fine_tuning_keeps_how_intensities_were_scaled_and_says_so(make_run):
    first = make_run("first", train={"epochs": 1})
    list(execute(first))
    again = make_run("again", data={"normalization": "zscore"}, train={"epochs": 1})
    again.set_config(again.config.replace(model={"weights": str(first.path / "model.safetensors")}))
    started = next(event for event in list(execute(again)) if isinstance(event, events.Started))
    assert "not as asked for" in started.choices["intensities"]
    assert load_model(again.path)[0].normalization == load_model(first.path)[0].normalization
