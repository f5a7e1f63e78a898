import numpy as np
import pytest
import tifffile
import torch
import zarr

from napari_segnet import events
from napari_segnet.axes import to_stack
from napari_segnet.channels import join_channels
from napari_segnet.config import LabelClass, PredictConfig
from napari_segnet.data.normalization import Normalization
from napari_segnet.errors import DataError, SegNetError
from napari_segnet.inputs import Pixels
from napari_segnet.io.images import open_image
from napari_segnet.io.write import open_output
from napari_segnet.models.file import write_model
from napari_segnet.models.info import ModelInfo
from napari_segnet.models.registry import build_network
from napari_segnet.predict import jobs
from napari_segnet.predict.arrays import ArrayFiles, predict_arrays, predict_stack
from napari_segnet.predict.files import predict_files
from napari_segnet.predict.predictor import Predictor

CONFIG = PredictConfig(device="cpu", precision="float32", tile=64)
OPTIONS = {"width": 4, "depth": 2}


pytestmark = pytest.mark.usefixtures("one_thread")


def make_model(path, *, channels=1, values=(0, 1), task="semantic", unlabelled="background"):
    torch.manual_seed(1)
    outputs = 3 if task == "instances" else len(values)
    network = build_network("plain-unet", channels=channels, outputs=outputs, options=OPTIONS).eval()
    torch.nn.init.normal_(network.head.weight)
    info = ModelInfo(
        network="plain-unet",
        options=OPTIONS,
        channels=channels,
        outputs=outputs,
        normalization=Normalization(mode="image"),
        task=task,
        unlabelled=unlabelled,
        classes=tuple(LabelClass(value=v, name=f"class {v}", colour="#00ff00") for v in values),
        patch_size=32,
        stride=4,
        halo=32,
    )
    write_model(path, info, network)
    return path, info, network


@pytest.fixture
def model(tmp_path):
    return make_model(tmp_path / "model.safetensors")


def picture(*shape, dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(0, 255, shape).astype(dtype)


def expected_of(model, plane):
    """Predict one plane (C, Y, X) directly."""
    predictor = Predictor(model[2], model[1], CONFIG)
    arrays = predictor.empty_outputs(plane.shape[1:], probabilities=True, uncertainty=True)
    predictor.predict_plane(plane, **arrays)
    return arrays


def run(model, inputs, out, **options):
    return list(predict_files(model[0], inputs, out, config=CONFIG, **options))


def test_a_folder_gives_a_tiff_of_labels_for_each_image(model, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    images = {"a": picture(70, 50), "b": picture(33, 120, dtype=np.uint16, seed=1)}
    for name, image in images.items():
        tifffile.imwrite(folder / f"{name}.tif", image)
    said = run(model, [folder], tmp_path / "out")
    assert [type(e) for e in said if not isinstance(e, events.Progress)] == [
        events.Predicted,
        events.Predicted,
        events.Finished,
    ]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.tif", "b.tif"]
    for name, image in images.items():
        labels = tifffile.imread(tmp_path / "out" / f"{name}.tif")
        assert labels.dtype == np.uint8
        np.testing.assert_array_equal(labels, expected_of(model, image[None])["labels_out"])


def test_probabilities_and_uncertainty_are_written_on_request(model, tmp_path):
    image = picture(64, 80)
    tifffile.imwrite(tmp_path / "cells.tif", image)
    said = run(model, [tmp_path / "cells.tif"], tmp_path / "out", probabilities=True, uncertainty=True)
    expected = expected_of(model, image[None])
    probabilities = tifffile.imread(tmp_path / "out" / "cells_probabilities.tif")
    uncertainty = tifffile.imread(tmp_path / "out" / "cells_uncertainty.tif")
    assert probabilities.dtype == uncertainty.dtype == np.float32
    np.testing.assert_allclose(probabilities, expected["probabilities_out"], atol=1e-6)
    np.testing.assert_allclose(uncertainty, expected["uncertainty_out"], atol=1e-6)
    assert open_image(tmp_path / "out" / "cells_probabilities.tif").axes == "CYX"
    (predicted,) = (e for e in said if isinstance(e, events.Predicted))
    assert set(predicted.files) == {"labels", "probabilities", "uncertainty"}
    assert said[-2] == predicted
    assert said[-1] == events.Finished("completed")


def test_a_stack_is_predicted_plane_by_plane_and_keeps_its_pixel_size(model, tmp_path):
    stack = picture(3, 40, 44)
    stack[1] //= 4
    with open_output(
        tmp_path / "stack.tif", stack.shape, np.uint8, "ZYX", pixel_size=(2.0, 0.5, 0.5), units="micrometer"
    ) as output:
        output[...] = stack
    run(model, [tmp_path / "stack.tif"], tmp_path / "out", probabilities=True, uncertainty=True)
    labels = open_image(tmp_path / "out" / "stack.tif")
    assert labels.axes == "ZYX"
    assert labels.pixel_size == pytest.approx((2.0, 0.5, 0.5))
    probabilities = open_image(tmp_path / "out" / "stack_probabilities.tif", "ZCYX")
    for z in range(3):
        expected = expected_of(model, stack[z][None])
        np.testing.assert_array_equal(labels.array[z], expected["labels_out"])
        np.testing.assert_allclose(probabilities.array[z], expected["probabilities_out"], atol=1e-6)


def test_an_ome_zarr_gives_ome_zarrs(model, tmp_path):
    image = picture(100, 130)
    with open_output(tmp_path / "big.ome.zarr", image.shape, np.uint8, "YX", kind="zarr") as output:
        output[...] = image
    run(model, [tmp_path / "big.ome.zarr"], tmp_path / "out", probabilities=True)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["big.ome.zarr", "big_probabilities.ome.zarr"]
    group = zarr.open_group(tmp_path / "out" / "big.ome.zarr", mode="r")
    assert [a["name"] for a in group.attrs["ome"]["multiscales"][0]["axes"]] == ["y", "x"]
    expected = expected_of(model, image[None])
    np.testing.assert_array_equal(group["0"][:], expected["labels_out"])
    found = zarr.open_group(tmp_path / "out" / "big_probabilities.ome.zarr", mode="r")["0"][:]
    np.testing.assert_allclose(found, expected["probabilities_out"], atol=1e-6)


def test_an_rgb_image_for_a_grey_model_is_refused_with_both_numbers(model, tmp_path):
    tifffile.imwrite(tmp_path / "rgb.tif", picture(40, 40, 3), photometric="rgb")
    with pytest.raises(DataError, match=r"rgb\.tif has 3 channels, but the model was trained on 1 channel\."):
        run(model, [tmp_path / "rgb.tif"], tmp_path / "out")


def test_axes_can_be_told(tmp_path):
    model = make_model(tmp_path / "model.safetensors", channels=3)
    image = picture(3, 40, 48)
    np.save(tmp_path / "image.npy", image)
    run(model, [tmp_path / "image.npy"], tmp_path / "out", axes="CYX")
    expected = expected_of(model, image)["labels_out"]
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out" / "image.tif"), expected)


def test_the_image_itself_is_never_overwritten(model, tmp_path):
    tifffile.imwrite(tmp_path / "cells.tif", picture(40, 40))
    with pytest.raises(DataError, match="would replace the image"):
        run(model, [tmp_path / "cells.tif"], tmp_path)
    assert tifffile.imread(tmp_path / "cells.tif").max() > 200


def test_stopping_leaves_finished_images_and_nothing_else(model, tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "_SECONDS_BETWEEN_PROGRESS", 0)
    for name in ("a", "b"):
        tifffile.imwrite(tmp_path / f"{name}.tif", picture(300, 300))
    said = []

    def stop():
        return sum(isinstance(e, events.Progress) and e.task.endswith("b.tif") for e in said) == 2

    for event in predict_files(
        model[0], [tmp_path / "a.tif", tmp_path / "b.tif"], tmp_path / "out", config=CONFIG, should_stop=stop
    ):
        said.append(event)  # noqa: PERF402 (stop() looks at it meanwhile)
    assert said[-1] == events.Finished("stopped")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["a.tif"]


def test_a_full_disk_is_one_sentence_and_leaves_nothing_behind(model, tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "a.tif", picture(60, 60))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(SegNetError, match=r"a\.tif can't be written: No space left"):
        run(model, [tmp_path / "a.tif"], tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_objects_are_numbered_in_the_smallest_type(model, tmp_path):
    image = picture(64, 64)
    tifffile.imwrite(tmp_path / "a.tif", image)
    run(model, [tmp_path / "a.tif"], tmp_path / "out", instances=True)
    objects = tifffile.imread(tmp_path / "out" / "a.tif")
    classes = expected_of(model, image[None])["labels_out"]
    np.testing.assert_array_equal(objects > 0, classes > 0)
    assert len(np.unique(objects)) == objects.max() + 1 > 3
    assert objects.dtype == np.min_scalar_type(int(objects.max()))


def test_objects_of_a_model_without_background_cover_everything(tmp_path):
    model = make_model(tmp_path / "model.safetensors", values=(1, 2), unlabelled="ignore")
    tifffile.imwrite(tmp_path / "a.tif", picture(64, 64))
    run(model, [tmp_path / "a.tif"], tmp_path / "out", instances=True)
    assert tifffile.imread(tmp_path / "out" / "a.tif").min() == 1


def test_a_model_of_instances_numbers_objects_by_their_insides(tmp_path):
    model = make_model(tmp_path / "model.safetensors", values=(1,), task="instances")
    image = picture(64, 64)
    tifffile.imwrite(tmp_path / "a.tif", image)
    run(model, [tmp_path / "a.tif"], tmp_path / "out", instances=True, probabilities=True)
    objects = tifffile.imread(tmp_path / "out" / "a.tif")
    expected = expected_of(model, image[None])
    np.testing.assert_array_equal(objects > 0, expected["labels_out"] == 1)
    probabilities = tifffile.imread(tmp_path / "out" / "a_probabilities.tif")
    assert probabilities.shape == (2, 64, 64)
    np.testing.assert_array_equal(probabilities[1] > probabilities[0], objects > 0)


def test_objects_are_numbered_anew_at_each_time(model):
    movie = np.stack([picture(32, 32)] * 2)
    labels, _, _ = predict_stack(Predictor(model[2], model[1], CONFIG), Pixels(movie, "TYX"), instances=True)
    np.testing.assert_array_equal(labels[0], labels[1])
    volume, _, _ = predict_stack(Predictor(model[2], model[1], CONFIG), Pixels(movie, "ZYX"), instances=True)
    np.testing.assert_array_equal(volume[0] > 0, labels[0] > 0)
    # Every object touches itself in the next plane, so both planes hold the same few objects.
    assert volume.max() <= labels[0].max()


def test_a_stack_in_memory_puts_classes_first(model):
    stack = picture(2, 40, 44)
    predictor = Predictor(model[2], model[1], CONFIG)
    labels, probabilities, uncertainty = predict_stack(predictor, Pixels(stack, "ZYX"))
    assert probabilities.shape == (2, 2, 40, 44)
    expected = expected_of(model, stack[1][None])
    np.testing.assert_array_equal(labels[1], expected["labels_out"])
    np.testing.assert_array_equal(probabilities[:, 1], expected["probabilities_out"])
    np.testing.assert_array_equal(uncertainty[1], expected["uncertainty_out"])


def test_the_viewer_gets_arrays_of_several_layers_used_as_channels(tmp_path):
    model = make_model(tmp_path / "model.safetensors", channels=2)
    red, green = picture(2, 40, 44), picture(2, 40, 44, dtype=np.uint16, seed=1)
    np.save(tmp_path / "red.npy", red)
    np.save(tmp_path / "green.npy", green)
    inputs = [ArrayFiles("both", (tmp_path / "red.npy", tmp_path / "green.npy"), "ZYX")]
    said = list(predict_arrays(model[0], inputs, tmp_path / "out", config=CONFIG))
    files = next(e.files for e in said if isinstance(e, events.Predicted))
    labels, probabilities = np.load(files["labels"]), np.load(files["probabilities"])
    assert probabilities.shape == (2, 2, 40, 44)
    for z in range(2):
        expected = expected_of(model, np.stack([red[z], green[z]]))
        np.testing.assert_array_equal(labels[z], expected["labels_out"])
        np.testing.assert_allclose(probabilities[z], expected["probabilities_out"], atol=1e-6)
    assert np.load(files["uncertainty"]).shape == (2, 40, 44)


def test_layers_of_different_sizes_are_no_channels(tmp_path):
    model = make_model(tmp_path / "model.safetensors", channels=2)
    np.save(tmp_path / "a.npy", picture(40, 44))
    np.save(tmp_path / "b.npy", picture(40, 48))
    image = ArrayFiles("both", (tmp_path / "a.npy", tmp_path / "b.npy"), "YX")
    with pytest.raises(DataError, match="channels of both have different sizes"):
        list(predict_arrays(model[0], [image], tmp_path))


def test_channels_are_read_only_where_they_are_sliced():
    class Counted:
        def __init__(self, pixels):
            self.pixels, self.read = pixels, 0
            self.shape, self.ndim, self.dtype = pixels.shape, pixels.ndim, pixels.dtype

        def __getitem__(self, key):
            part = self.pixels[key]
            self.read += part.size
            return part

    parts = picture(40, 44), picture(2, 40, 44, dtype=np.uint16, seed=1)
    arrays = [Counted(part) for part in parts]
    plane = join_channels("both", [to_stack(arrays[0], "YX"), to_stack(arrays[1], "CYX")])[0]
    whole = np.concatenate([parts[0][None], parts[1]])
    assert plane.shape == (3, 40, 44)
    np.testing.assert_array_equal(plane[1:, 3:5, ::2], whole[1:, 3:5, ::2])
    assert sum(array.read for array in arrays) == 3 * 2 * 22
    np.testing.assert_array_equal(np.asarray(plane), whole)


def test_a_damaged_file_among_many_is_left_out_and_told(model, tmp_path):
    for name in ("a", "b", "c"):
        tifffile.imwrite(tmp_path / f"{name}.tif", picture(40, 44))
    (tmp_path / "b.tif").write_bytes((tmp_path / "b.tif").read_bytes()[:60])
    told = []
    with pytest.raises(DataError, match=r"^1 of 3 images can't be predicted, the others are done\. The first: "):
        told.extend(predict_files(model[0], [tmp_path], tmp_path / "out", config=CONFIG))
    assert [e.text for e in told if isinstance(e, events.Notice) and e.text.startswith("Left out: ")]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.tif", "c.tif"]
