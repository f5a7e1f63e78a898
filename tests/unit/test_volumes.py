"""Volumes on their way from files to answers: windows, regions, tiles, and what the presets choose for them."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_segnet import presets, volumes
from napari_segnet.axes import to_stack
from napari_segnet.config import DataConfig, PredictConfig, RunConfig
from napari_segnet.data.labels import IGNORE, default_classes, encode, guess_meaning
from napari_segnet.data.normalization import Normalization
from napari_segnet.data.sampling import ImageCache, PatchSampler, read_window, validation_windows
from napari_segnet.data.split import Region, split
from napari_segnet.errors import ConfigError, DataError
from napari_segnet.models.info import ModelInfo
from napari_segnet.models.registry import build_network, strides_of
from napari_segnet.models.volume_layers import SteadyConv3d
from napari_segnet.predict.predictor import Predictor
from napari_segnet.predict.receptive_field import receptive_field
from napari_segnet.predict.stacks import predict_stack_into
from napari_segnet.predict.tiles import plan
from napari_segnet.training.fitting import fit_patch

FP32 = PredictConfig(precision="float32", device="cpu")


class Volume:
    channels = 1

    def __init__(self, shape):
        self.pixels = np.arange(math.prod(shape), dtype=np.float32).reshape(1, *shape)

    def image(self):
        return self.pixels


def test_an_image_with_z_gives_volumes_and_one_without_is_refused():
    array = np.arange(2 * 3 * 4 * 5 * 6).reshape(2, 3, 4, 5, 6)
    stack = to_stack(array, "TCZYX", "ZYX")
    assert (len(stack), stack.leading_axes, stack.item_shape, stack.channels) == (2, "T", (4, 5, 6), 3)
    assert np.array_equal(stack[1], array[1])
    assert np.array_equal(to_stack(np.moveaxis(array, 2, -1), "TCYXZ", "ZYX")[1], array[1])
    with pytest.raises(DataError, match="YX is no volume"):
        to_stack(array[0, 0, 0], "YX", "ZYX")


def test_a_window_is_the_volume_mirrored_beyond_its_region():
    target = (np.arange(4 * 6 * 7).reshape(4, 6, 7) % 3).astype(np.uint8)
    cache = ImageCache([Volume(target.shape)], Normalization(mode="none"))
    image, labels = read_window(cache, target, Region(0, (0, 0, 0), target.shape), (-2, -3, 1), (8, 10, 5))
    assert image.shape == (1, 8, 10, 5)
    expected = np.pad(target, ((2, 2), (3, 1), (0, 0)), mode="reflect")[:, :, 1:6]
    assert np.array_equal(labels, expected)


def test_no_voxel_of_validation_is_seen_in_training():
    rng = np.random.default_rng(0)
    target = rng.integers(0, 2, (40, 30, 30)).astype(np.uint8)
    parts = split([target], ["one"], 0.25, (8, 8, 8))
    (train,), (validation,) = parts.train, parts.validation
    seen = np.zeros(target.shape, int)
    seen[train.slices] += 1
    seen[validation.slices] += 1
    assert (seen == 1).all()
    assert 0.1 < math.prod(validation.shape) / target.size < 0.4


def test_windows_come_from_the_annotated_planes():
    target = np.full((30, 40, 40), IGNORE, np.uint8)
    target[11] = 0
    target[11, 10:20, 10:20] = 1
    cache = ImageCache([Volume(target.shape)], Normalization(mode="none"))
    sampler = PatchSampler(cache, [target], [Region(0, (0, 0, 0), target.shape)], 0)
    drawn = sampler.draw(0, 12, (8, 16, 16))
    assert drawn.images.shape == (12, 1, 8, 16, 16)
    assert ((drawn.targets != IGNORE).any(axis=(1, 2, 3))).all()


def test_validation_windows_cover_all_annotation():
    target = np.zeros((9, 20, 30), np.uint8)
    windows = validation_windows([target], [Region(0, (0, 0, 0), target.shape)], (4, 16, 16), 1000)
    covered = np.zeros(target.shape, bool)
    for _, (z, y, x) in windows:
        covered[z : z + 4, y : y + 16, x : x + 16] = True
    assert covered.all()


@given(
    shape=st.tuples(*[st.integers(1, 70)] * 3),
    core=st.integers(1, 40),
    halo=st.tuples(*[st.integers(0, 9)] * 3),
    stride=st.tuples(*[st.sampled_from([1, 2, 4])] * 3),
)
def test_every_voxel_is_written_once_by_a_tile_that_knows_its_surroundings(shape, core, halo, stride):
    written = np.zeros(shape, int)
    for tile in plan(shape, core, halo, stride):
        written[tile.write] += 1
        for span, length, border, step in zip(tile.spans, shape, halo, stride, strict=True):
            assert span.start % step == 0
            assert (span.stop - span.start) % step == 0
            assert span.start == 0 or span.keep_start - span.start >= border
            assert span.stop >= length or span.stop - span.keep_stop >= border
    assert (written == 1).all()


def convolutions():
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv3d(1, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool3d((1, 2, 2)),
        torch.nn.Conv3d(4, 4, 3, padding=1), torch.nn.Upsample(scale_factor=(1, 2, 2)), torch.nn.Conv3d(4, 3, 1),
    ).eval()  # fmt: skip
    network.stride = (1, 2, 2)
    return network


def info_of(**changes):
    values = {
        "network": "dynunet", "axes": "ZYX", "channels": 1, "outputs": 3, "normalization": Normalization(mode="none"),
        "classes": default_classes(range(3), "background", "semantic"), "patch_size": (8, 16, 16),
        "stride": (1, 2, 2), "halo": (2, 4, 4),
    }  # fmt: skip
    return ModelInfo(**{**values, **changes})


def test_the_receptive_field_of_a_volume_is_known_for_each_axis():
    assert receptive_field(convolutions(), 1, (1, 2, 2)) == (2, 4, 4)


@settings(max_examples=15, deadline=None)
@given(shape=st.tuples(st.integers(1, 12), st.integers(1, 40), st.integers(1, 40)), tile=st.sampled_from([32, 33]))
def test_tiles_of_a_volume_agree_with_the_whole(shape, tile):
    network = convolutions()
    image = np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)
    info = info_of(receptive_field=(2, 4, 4))
    answers = []
    for side in (tile, 256):
        predictor = Predictor(network, info, FP32.replace(tile=side, exact=True))
        predictor._planner.core = min(side, 16) if side == tile else side
        answers.append(predictor.empty_outputs(shape, probabilities=True, uncertainty=True))
        predictor.predict_plane(image, **answers[-1])
    assert np.array_equal(answers[0]["labels_out"], answers[1]["labels_out"])
    assert np.allclose(answers[0]["probabilities_out"], answers[1]["probabilities_out"], atol=1e-6)


def test_sixteen_symmetries_of_a_volume_are_averaged():
    class Corner(torch.nn.Module):
        """Says where the first voxel is: an answer that depends on how the volume is turned."""

        def forward(self, x):
            out = torch.zeros_like(x).repeat(1, 2, 1, 1, 1)
            out[:, 1, 0, 0, 0] = 16.0
            return out

    info = info_of(outputs=2, classes=default_classes(range(2), "background", "semantic"), stride=1, halo=0)
    predictor = Predictor(Corner(), info, FP32.replace(tta=True))
    outputs = predictor.empty_outputs((4, 6, 6), probabilities=True)
    predictor.predict_plane(np.zeros((1, 4, 6, 6), np.float32), **outputs)
    corners = outputs["probabilities_out"][1][::3, ::5, ::5]
    assert np.allclose(corners, corners[0, 0, 0])
    assert corners[0, 0, 0] > outputs["probabilities_out"][1][1, 1, 1]


@pytest.mark.parametrize("axes", ["ZYX", "TZYX", "ZTYX", "CZYX"])
def test_outputs_of_volumes_have_the_axes_of_the_image(axes):
    lengths = {"T": 2, "C": 1, "Z": 5, "Y": 8, "X": 10}
    image = np.random.default_rng(0).normal(size=[lengths[a] for a in axes]).astype(np.float32)
    made = {}

    class Opened:
        def __init__(self, array):
            self.array = array

        def __enter__(self):
            return self.array

        def __exit__(self, *_):
            return None

    def sink(output, shape, dtype, of_axes):
        made[output] = (np.zeros(shape, dtype), of_axes)
        return Opened(made[output][0])

    predictor = Predictor(convolutions(), info_of(), FP32)
    for _ in predict_stack_into(predictor, to_stack(image, axes, "ZYX"), sink, probabilities=True):
        pass
    labels, label_axes = made["labels"]
    assert label_axes == axes.replace("C", "")
    probabilities, of_classes = made["probabilities"]
    assert of_classes == label_axes.replace("Y", "CY")
    assert np.array_equal(probabilities.argmax(axis=of_classes.index("C")), labels)
    alone = predictor.empty_outputs((5, 8, 10))
    first = image[0][None] if axes[0] == "T" else image[:, 0][None] if axes == "ZTYX" else image.reshape(1, 5, 8, 10)
    predictor.predict_plane(first, **alone)
    own = labels[0] if axes[0] == "T" else labels[:, 0] if axes == "ZTYX" else labels
    assert np.array_equal(own, alone["labels_out"])


def test_bodies_are_masks_and_strokes_in_planes_are_strokes():
    body = np.zeros((20, 40, 40), np.uint8)
    body[6:14, 10:18, 10:18] = 1
    body[6:14, 18:26, 10:18] = 2
    assert guess_meaning([body]).unlabelled == "background"
    strokes = np.zeros_like(body)
    strokes[10] = body[10]
    strokes[4, 2:4] = 1
    assert guess_meaning([strokes]).unlabelled == "ignore"


def test_objects_of_a_volume_get_a_boundary_in_all_directions():
    labels = np.zeros((9, 9, 9), np.int32)
    labels[2:7, 2:7, 2:7] = 1
    target = encode(labels, DataConfig(task="instances", unlabelled="background"))
    assert (target[3:6, 3:6, 3:6] == 1).all()
    assert (target[2, 2:7, 2:7] == 2).all()
    assert (target == 2).sum() == 5**3 - 3**3


@given(shape=st.tuples(*[st.integers(1, 600)] * 3), ratio=st.floats(1, 12), voxels=st.sampled_from([40**3, 128**3]))
def test_a_patch_lies_in_the_volume_and_is_of_about_the_wanted_size(shape, ratio, voxels):
    patch = volumes.patch_shape(shape, (ratio, 1.0, 1.0), voxels)
    assert all(1 <= side <= max(length, 1) + 1 for side, length in zip(patch, shape, strict=True))
    wanted = min(voxels, math.prod(shape))
    assert 0.4 * wanted <= math.prod(patch) <= 1.7 * wanted
    depth, flat = volumes.levels(patch, (ratio, 1.0, 1.0))
    assert 2 <= depth <= 5
    assert flat <= 7


def test_thick_planes_are_pooled_later_and_get_flat_patches():
    thick = volumes.patch_shape((30, 512, 512), (5.0, 0.8, 0.8), 64**3)
    assert thick[0] < thick[1] == thick[2]
    assert 4 < thick[1] / thick[0] < 9
    assert volumes.flat_levels((5.0, 0.8, 0.8)) == 3
    assert volumes.flat_levels((1.0, 1.0, 1.0)) == 0
    model = volumes.choose_network(thick, (5.0, 0.8, 0.8), 16)
    network = build_network(model["network"], channels=1, outputs=2, options=model["options"])
    z, y, x = strides_of(network, 3)
    assert y == x == 2 ** model["options"]["depth"] > z


def test_the_preset_says_what_it_chose_for_volumes():
    data = presets.Fingerprint(40, 51, 35, 1, 3, 100_000, depth=37)
    settings_, reasons = presets.choose("fast", data)
    assert settings_["model"]["network"] == "dynunet"
    assert len(settings_["train"]["patch_size"]) == 3
    assert "volumes are about 37 x 51 x 35" in reasons["patch"]


def fitted(patch, network, asked=True, ndim=3, **options):
    config = RunConfig().replace(model={"network": network, "options": options}, train={"patch_size": patch})
    return fit_patch(config, ndim, 1, 2, asked=asked).train.patch_size


def test_one_number_is_the_side_of_a_cube():
    assert fitted(16, "dynunet", width=4, depth=2) == (16, 16, 16)
    assert fitted(32, "plain-unet", ndim=2) == 32


def test_patches_are_rounded_up_or_refused_with_what_would_work():
    assert fitted((10, 37, 49), "dynunet", asked=False, width=4, depth=3, flat_levels=1) == (12, 40, 56)
    with pytest.raises(ConfigError, match=r"10 x 37 x 49 pixels don't fit.*4 x 8 x 8.*\[12, 40, 56\]"):
        fitted((10, 37, 49), "dynunet", width=4, depth=3, flat_levels=1)
    with pytest.raises(ConfigError, match="one of a volume, but plain-unet is for planes"):
        fitted((16, 32, 32), "plain-unet", ndim=2)
    with pytest.raises(ConfigError, match=r"too small for this network.*\[32, 32, 32\]"):
        fitted((16, 16, 16), "vnet")
    with pytest.raises(ConfigError, match="1, 2, 4, 8 or 16 channels"):
        build_network("vnet", channels=3, outputs=2)
    with pytest.raises(ConfigError, match="Only 2 levels"):
        build_network("dynunet", channels=1, outputs=2, options={"depth": 2, "flat_levels": 3})


def test_gradients_of_a_volume_smaller_than_the_kernel_are_those_of_float32():
    torch.manual_seed(0)
    plain = torch.nn.Conv3d(4, 4, 3, padding=1)
    steady = torch.nn.Conv3d(4, 4, 3, padding=1)
    steady.load_state_dict(plain.state_dict())
    steady.__class__ = SteadyConv3d
    x = torch.randn(2, 4, 2, 5, 5)
    with torch.autocast("cpu", torch.bfloat16):
        answer = steady(x)
    answer.square().mean().backward()
    plain(x).square().mean().backward()
    assert torch.allclose(steady.weight.grad, plain.weight.grad, rtol=1e-4, atol=1e-6)
