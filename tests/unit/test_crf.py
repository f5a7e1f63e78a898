"""The CRF behind a network: its filter and its mean field against brute force, and what it does to predictions."""

import numpy as np
import pytest
import tifffile
import torch
from scipy.ndimage import gaussian_filter
from torch import nn
from typer.testing import CliRunner

from napari_segnet.api import Model
from napari_segnet.cli import app
from napari_segnet.config import CrfOptions, LabelClass, PredictConfig, validated
from napari_segnet.data.normalization import Normalization
from napari_segnet.errors import ConfigError, DataError
from napari_segnet.inputs import Pixels
from napari_segnet.models.file import write_model
from napari_segnet.models.info import ModelInfo
from napari_segnet.models.registry import build_network
from napari_segnet.predict import crf, permutohedral
from napari_segnet.predict.arrays import predict_stack
from napari_segnet.predict.permutohedral import PermutohedralLattice
from napari_segnet.predict.predictor import Predictor
from napari_segnet.request import read_settings

CRF = PredictConfig(crf=True, precision="float32", device="cpu", tile=32)


pytestmark = pytest.mark.usefixtures("one_thread")


def normalized(kernel):
    norm = kernel.sum(1) ** -0.5
    return norm[:, None] * kernel * norm


def brute_force(probabilities, colours, options):
    """Mean field in float64, with every pair of pixels."""
    classes, height, width = probabilities.shape
    positions = np.stack(np.mgrid[:height, :width], axis=-1).reshape(-1, 2).astype(float)
    looks = colours.reshape(len(colours), -1).T.astype(float)
    far = ((positions[:, None] - positions) ** 2).sum(-1)
    unlike = ((looks[:, None] - looks) ** 2).sum(-1)
    bilateral = np.exp(-far / (2 * options.sigma_alpha**2) - unlike / (2 * options.sigma_beta**2))
    smooth = np.exp(-far / (2 * options.sigma_gamma**2))
    kernel = options.w1 * normalized(bilateral) + options.w2 * normalized(smooth)
    unary = np.log(probabilities.reshape(classes, -1).T.astype(float))
    refined = np.exp(unary)
    for _ in range(options.iterations):
        energy = unary - kernel @ (1 - refined)  # the Potts model: paying for what others say of the other labels
        refined = np.exp(energy - energy.max(1, keepdims=True))
        refined /= refined.sum(1, keepdims=True)
    return refined.T.reshape(probabilities.shape)


def fast(probabilities, colours, options=None):
    *_, last = crf.mean_field(torch.from_numpy(probabilities), torch.from_numpy(colours), options or CrfOptions())
    return last.numpy()


def scene(channels=1, classes=2, noise=3.0, size=40, seed=0):
    """Return a disc on a background (and a stripe), its image with noise, and a network's very noisy opinion."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] - size / 2
    truth = (y**2 + x**2 < (size / 3) ** 2).astype(int)
    if classes == 3:
        truth[:, : size // 4] = 2
    image = 60 + 60 * truth + random.normal(0, noise, (channels, size, size))
    blurred = np.stack([gaussian_filter((truth == k).astype(float), 2) for k in range(classes)])
    logits = torch.from_numpy(2 * blurred + random.normal(0, 1, blurred.shape))
    return truth, image.astype(np.float32), logits.softmax(0).float().numpy()


def iou(one, other):
    values = np.union1d(one, other)
    return np.mean([((one == v) & (other == v)).sum() / ((one == v) | (other == v)).sum() for v in values])


@pytest.mark.parametrize(("dimensions", "tolerance"), [(1, 0.01), (2, 0.01), (3, 0.01), (5, 0.02)])
def test_the_lattice_filters_as_every_pair_of_points_would(dimensions, tolerance):
    torch.manual_seed(0)
    points = 4 * torch.rand(1500, dimensions)
    values = torch.rand(1500, 3)
    exact = normalized(torch.exp(-0.5 * torch.cdist(points, points) ** 2).numpy()) @ values.numpy()
    kernel = crf._normalized(PermutohedralLattice(points).filter, 1500, points.device)
    found = kernel(values).numpy()
    assert np.abs(found - exact).mean() < tolerance
    assert np.corrcoef(found.ravel(), exact.ravel())[0, 1] > 0.98


def test_each_point_lies_in_a_simplex_of_the_lattice():
    torch.manual_seed(0)
    lattice = PermutohedralLattice(20 * torch.randn(500, 4))
    assert lattice._weights.min() > -1e-4
    torch.testing.assert_close(lattice._weights.sum(1), torch.ones(500), atol=1e-4, rtol=0)
    assert all(len(set(corners.tolist())) == 5 for corners in lattice._corner_of)


def test_points_that_are_far_apart_do_not_hear_each_other():
    points = torch.tensor([[0.0, 0.0], [0.0, 0.0], [30.0, -30.0]])
    kernel = crf._normalized(PermutohedralLattice(points).filter, 3, points.device)
    torch.testing.assert_close(kernel(torch.tensor([[1.0], [0.0], [5.0]])), torch.tensor([[0.5], [0.5], [5.0]]))


def test_filtering_many_points_twice_gives_the_same_to_the_bit():
    torch.manual_seed(0)
    points, values = 5 * torch.randn(5000, 5), torch.rand(5000, 2)
    one, two = (PermutohedralLattice(points).filter(values) for _ in range(2))
    assert torch.equal(one, two)


def test_more_points_than_an_int32_counts_are_filtered_the_same(monkeypatch):
    torch.manual_seed(0)
    points, values = 5 * torch.randn(500, 3), torch.rand(500, 2)
    few = PermutohedralLattice(points).filter(values)
    monkeypatch.setattr(permutohedral, "_MOST_INT32", 100)
    assert torch.equal(PermutohedralLattice(points).filter(values), few)


@pytest.mark.parametrize("sigma_beta", [3.0, 20.0])
@pytest.mark.parametrize("noise", [0.0, 3.0])
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("channels", [1, 3])
def test_mean_field_agrees_with_brute_force(channels, classes, noise, sigma_beta):
    _, image, probabilities = scene(channels, classes, noise)
    options = CrfOptions(sigma_beta=sigma_beta)
    exact = brute_force(probabilities, image, options)
    found = fast(probabilities, image, options)
    assert np.abs(found - exact).mean() < 0.002
    assert iou(found.argmax(0), exact.argmax(0)) > 0.99


def test_where_hardly_two_pixels_look_alike_the_lattice_still_comes_close():
    # Noise of three standard deviations in three channels: corners lie scattered, and much of the blur is lost.
    _, image, probabilities = scene(channels=3, classes=3, noise=10)
    exact, found = brute_force(probabilities, image, CrfOptions()), fast(probabilities, image)
    assert iou(found.argmax(0), exact.argmax(0)) > 0.97


def test_the_smoothness_kernel_is_exact():
    _, image, probabilities = scene(classes=3)
    options = CrfOptions(w1=0, sigma_gamma=2.5, iterations=5)
    np.testing.assert_allclose(
        fast(probabilities, image, options), brute_force(probabilities, image, options), atol=1e-4
    )


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (30, 2)])
def test_a_plane_may_be_smaller_than_the_kernels(shape):
    random = np.random.default_rng(0)
    probabilities = torch.from_numpy(random.normal(0, 1, (2, *shape))).softmax(0).float().numpy()
    image = random.uniform(0, 255, (1, *shape)).astype(np.float32)
    options = CrfOptions(w1=0, iterations=3)
    np.testing.assert_allclose(
        fast(probabilities, image, options), brute_force(probabilities, image, options), atol=1e-4
    )
    np.testing.assert_allclose(fast(probabilities, image).sum(0), 1, atol=1e-5)


def test_without_weights_nothing_changes():
    _, image, probabilities = scene()
    np.testing.assert_allclose(fast(probabilities, image, CrfOptions(w1=0, w2=0)), probabilities, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_two_noisy_regions_are_told_apart(channels):
    truth, image, probabilities = scene(channels, size=96)
    assert (probabilities.argmax(0) == truth).mean() < 0.9
    assert (fast(probabilities, image).argmax(0) == truth).mean() > 0.99


def test_an_edge_moves_to_where_the_image_has_it():
    image = np.full((1, 40, 60), 50, np.float32)
    image[:, :, 30:] = 120
    unsure = np.clip(0.5 + (np.arange(60) - 26) * 0.04, 0.05, 0.95)  # the network's edge is four pixels off
    probabilities = np.broadcast_to(np.stack([1 - unsure, unsure])[:, None], (2, 40, 60)).astype(np.float32)
    assert (probabilities.argmax(0)[:, 27:30] == 1).all()
    assert (fast(probabilities, image).argmax(0) == (image[0] > 100)).all()
    # Positions alone don't know where the edge is.
    assert (fast(probabilities, image, CrfOptions(w1=0)).argmax(0)[:, 27:30] == 1).all()


def test_the_limits_of_the_model_become_0_and_255():
    image = np.array([[[100.0, 300.0, 200.0, np.nan, 1e9]]], np.float32)
    dataset = Normalization(mode="dataset", low=(100.0,), high=(300.0,))
    colours = crf.colours_of(image, dataset, dataset.limits(image))
    np.testing.assert_allclose(colours, [[[0, 255, 127.5, 0, 510]]])


def test_an_image_that_the_model_takes_as_it_is_gets_limits_of_its_own():
    image = np.arange(10_000, dtype=np.uint16).reshape(1, 100, 100)
    untouched = Normalization(mode="none")
    colours = crf.colours_of(image, untouched, untouched.limits(image))
    np.testing.assert_allclose([colours.min(), colours.max()], [0, 255], atol=2)


class Threshold(nn.Module):
    """Its logits are the image's first channel plus noise that depends on the pixel's value alone."""

    def __init__(self, outputs=2):
        super().__init__()
        self.head = nn.Conv2d(1, outputs, 1)

    def forward(self, x):
        rest = self.head(x[:, :1]) * 0
        noisy = x[:, :1] + 1.5 * torch.sin(4000 * x[:, :1])
        return rest + torch.cat([-noisy, noisy, noisy - 1][: rest.shape[1]], 1)


def info_of(task="semantic", **changes):
    values = (0, 1) if task == "semantic" else (0, 1, 2)
    return ModelInfo(
        network="threshold",
        channels=1,
        outputs=len(values),
        classes=tuple(LabelClass(value=v, name=f"class {v}", colour="#00ff00") for v in values),
        patch_size=32,
        stride=1,
        halo=0,
        task=task,
        normalization=Normalization(mode="dataset", low=(0.0,), high=(180.0,)),
        **changes,
    )


@pytest.mark.parametrize(("tile", "tiles"), [(32, 9), (1024, 1)])
def test_a_prediction_is_refined_as_a_whole_whatever_its_tiles(tile, tiles):
    truth, image, _ = scene(size=70)
    made = Predictor(Threshold(), info_of(), CRF.replace(crf=False))
    plain = made.empty_outputs(truth.shape, probabilities=True)
    assert made.predict_plane(image, **plain)
    expected = fast(plain["probabilities_out"], image / 180 * 255)

    made = Predictor(Threshold(), info_of(), CRF.replace(tile=tile))
    arrays = made.empty_outputs(truth.shape, probabilities=True, uncertainty=True)
    steps = []
    assert made.predict_plane(image, **arrays, on_progress=lambda *counts: steps.append(counts))
    np.testing.assert_allclose(arrays["probabilities_out"], expected, atol=1e-4)
    np.testing.assert_array_equal(arrays["labels_out"], arrays["probabilities_out"].argmax(0))
    entropy = -(expected * np.log2(np.maximum(expected, 1e-30))).sum(0)
    np.testing.assert_allclose(arrays["uncertainty_out"], entropy, atol=2e-3)
    assert steps == [(n, tiles + 10) for n in range(1, tiles + 11)]
    assert (plain["labels_out"] == truth).mean() < 0.9 < 0.99 < (arrays["labels_out"] == truth).mean()


def test_options_of_the_crf_reach_the_prediction():
    _, image, _ = scene()
    config = validated(PredictConfig, {**CRF.model_dump(), **read_settings(["crf_options.w1=0", "crf_options.w2=0"])})
    made = Predictor(Threshold(), info_of(), config)
    refined, plain = made.empty_outputs(image.shape[1:]), made.empty_outputs(image.shape[1:])
    assert made.predict_plane(image, **refined)
    assert Predictor(Threshold(), info_of(), CRF.replace(crf=False)).predict_plane(image, **plain)
    np.testing.assert_array_equal(refined["labels_out"], plain["labels_out"])


@pytest.mark.parametrize("setting", ["sigma_beta=0", "sigma_alpha=-1", "iterations=0", "w1=-1", "sigma_delta=3"])
def test_options_that_cannot_be_are_refused(setting):
    with pytest.raises(ConfigError, match=setting.partition("=")[0]):
        validated(PredictConfig, read_settings([f"crf_options.{setting}"]))


def test_objects_are_refined_before_they_are_numbered():
    truth, image, _ = scene(size=64)
    made = Predictor(Threshold(3), info_of("instances"), CRF)
    labels, probabilities, _ = predict_stack(made, Pixels(image[0], "YX"), instances=True)
    assert probabilities.shape == (2, 64, 64)
    assert ((labels > 0) == truth).mean() > 0.99
    assert ((labels > 0) == (probabilities[1] > 0.5)).all()


def test_each_plane_of_a_stack_is_refined_by_itself():
    _, image, _ = scene()
    stack = np.concatenate([image, image[:, ::-1]])
    made = Predictor(Threshold(), info_of(), CRF)
    labels, probabilities, _ = predict_stack(made, Pixels(stack, "ZYX"))
    alone, _, _ = predict_stack(made, Pixels(image[0], "YX"))
    np.testing.assert_array_equal(labels[0], alone)
    np.testing.assert_array_equal(labels, probabilities.argmax(0))


def test_it_stops_between_iterations():
    _, image, _ = scene()
    made = Predictor(Threshold(), info_of(), CRF)
    steps = []
    arrays = made.empty_outputs(image.shape[1:])
    done = made.predict_plane(
        image, **arrays, on_progress=lambda *c: steps.append(c), should_stop=lambda: len(steps) >= 8
    )
    assert not done
    assert len(steps) == 8


def test_the_python_interface_takes_it():
    truth, image, _ = scene()
    model = Model(info_of(), Threshold())
    result = model.predict(image[0], crf=True, device="cpu", precision="float32")
    assert (result.labels == truth).mean() > 0.99


def test_the_command_line_takes_it(tmp_path):
    torch.manual_seed(1)
    options = {"width": 4, "depth": 2}
    network = build_network("plain-unet", channels=1, outputs=2, options=options).eval()
    nn.init.normal_(network.head.weight)
    info = info_of().replace(network="plain-unet", options=options, stride=4, halo=32)
    write_model(tmp_path / "model.safetensors", info, network)
    _, image, _ = scene()
    tifffile.imwrite(tmp_path / "cells.tif", image[0])
    paths = [str(tmp_path / name) for name in ("model.safetensors", "cells.tif")]
    out = tmp_path / "out"
    told = ["--crf", "--probabilities", "--device", "cpu", "--set", "crf_options.sigma_beta=10"]
    result = CliRunner().invoke(app, ["predict", *paths, "--out", str(out), *told])
    assert result.exit_code == 0, result.output
    config = PredictConfig(crf=True, crf_options=CrfOptions(sigma_beta=10))
    labels, probabilities, _ = predict_stack(
        Predictor(network, info, config, torch.device("cpu")), Pixels(image[0], "YX")
    )
    np.testing.assert_array_equal(tifffile.imread(out / "cells.tif"), labels)
    np.testing.assert_allclose(tifffile.imread(out / "cells_probabilities.tif"), probabilities, atol=1e-5)
    unrefined, _, _ = predict_stack(Predictor(network, info, PredictConfig(device="cpu")), Pixels(image[0], "YX"))
    assert (labels != unrefined).any()


def test_a_model_of_volumes_is_refused():
    with pytest.raises(ConfigError, match="volumes"):
        Predictor(Threshold(), info_of(axes="ZYX"), CRF)


def test_an_image_that_does_not_fit_is_refused_before_it_is_predicted(monkeypatch):
    monkeypatch.setattr(crf, "free_memory", lambda device: 10_000)
    made = Predictor(Threshold(), info_of(), CRF)
    image = np.zeros((1, 40, 50), np.float32)
    with pytest.raises(DataError, match=r"40 x 50 .* GB"):
        made.predict_plane(image, **made.empty_outputs((40, 50)))


def test_a_full_gpu_leaves_it_to_the_cpu(monkeypatch):
    monkeypatch.setattr(crf, "free_memory", lambda device: 2**30 if device.type == "cpu" else 1000)
    assert crf.choose_device(torch.device("cuda"), 2, 3, (64, 64)).type == "cpu"
    assert crf.choose_device(torch.device("mps"), 2, 3, (64, 64)).type == "cpu"
    monkeypatch.setattr(crf, "free_memory", lambda device: 2**30)
    assert crf.choose_device(torch.device("cuda"), 2, 3, (64, 64)).type == "cuda"
