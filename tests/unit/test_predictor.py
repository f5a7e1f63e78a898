import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from napari_segnet.config import LabelClass, PredictConfig
from napari_segnet.data.normalization import Normalization, scale
from napari_segnet.errors import DataError, SegNetError
from napari_segnet.models.info import ModelInfo
from napari_segnet.predict import planning
from napari_segnet.predict.classes import colour_table, output_classes
from napari_segnet.predict.folding import fold_normalization
from napari_segnet.predict.memory import bytes_per_pixel
from napari_segnet.predict.predictor import Predictor
from napari_segnet.predict.receptive_field import receptive_field

COLOURS = ("#000000", "#ff0000", "#00ff00", "#0000ff")
FP32 = PredictConfig(precision="float32", tile=32, device="cpu")


pytestmark = pytest.mark.usefixtures("one_thread")


class SmallUNet(nn.Module):
    """Two levels, batch normalization, stride 4."""

    def __init__(self, channels=1, outputs=3, width=6):
        super().__init__()
        self.a = nn.Conv2d(channels, width, 3, padding=1)
        self.norm_a = nn.BatchNorm2d(width)
        self.b = nn.Conv2d(width, 2 * width, 3, padding=1)
        self.norm_b = nn.BatchNorm2d(2 * width)
        self.c = nn.Conv2d(2 * width, width, 3, padding=1)
        self.head = nn.Conv2d(2 * width, outputs, 1)

    def forward(self, x):
        top = F.relu(self.norm_a(self.a(x)))
        low = F.relu(self.norm_b(self.b(F.max_pool2d(top, 4))))
        up = F.interpolate(self.c(low), scale_factor=4.0, mode="bilinear", align_corners=False)
        return self.head(torch.cat([top, up], dim=1))


def network(channels=1, outputs=3, seed=0):
    torch.manual_seed(seed)
    made = SmallUNet(channels, outputs).eval()
    for norm in (made.norm_a, made.norm_b):
        norm.running_mean.normal_(0, 0.1)
        norm.running_var.uniform_(0.3, 2.0)
        nn.init.normal_(norm.weight)
    nn.init.normal_(made.head.weight)
    return made


def info_of(values=(0, 1, 2), channels=1, halo=4, task="semantic", normalization=None, **changes):
    classes = tuple(LabelClass(value=v, name=f"class {v}", colour=COLOURS[v % 4]) for v in values)
    outputs = 3 if task == "instances" else len(values)
    return ModelInfo(
        network="small",
        channels=channels,
        outputs=outputs,
        classes=classes,
        patch_size=32,
        stride=4,
        halo=halo,
        task=task,
        normalization=normalization or Normalization(mode="none"),
        **changes,
    )


def picture(shape, channels=1, dtype=np.float32, seed=0):
    random = np.random.default_rng(seed)
    noise = random.normal(0, 1, (channels, *shape))
    return noise.astype(dtype) if np.dtype(dtype).kind == "f" else (noise * 40 + 100).clip(0, 255).astype(dtype)


def whole_image_logits(net, image):
    """Return what the network says of the whole image, mirrored at the end to a multiple of 4."""
    pad = [(0, 0)] + [(0, -length % 4) for length in image.shape[1:]]
    padded = np.pad(np.clip(image, -3, 3), pad, mode="reflect")
    with torch.inference_mode():
        logits = net(torch.from_numpy(padded[None]))[0].numpy()
    return logits[:, : image.shape[1], : image.shape[2]]


def predict(net, info, image, config=FP32, **wanted):
    made = Predictor(net, info, config)
    arrays = made.empty_outputs(image.shape[1:], **wanted)
    assert made.predict_plane(image, **arrays)
    return arrays


@pytest.mark.parametrize("shape", [(97, 101), (128, 64), (33, 250), (64, 65), (5, 7), (1, 90), (3, 2)])
def test_exact_prediction_equals_the_whole_image_at_every_pixel(shape):
    net = network()
    info = info_of(receptive_field=receptive_field(net, 1, (4, 4)))
    image = picture(shape)
    expected = whole_image_logits(net, image)
    arrays = predict(net, info, image, FP32.replace(exact=True), probabilities=True)
    np.testing.assert_array_equal(arrays["labels_out"], expected.argmax(0))
    probabilities = torch.from_numpy(expected).softmax(0).numpy()
    np.testing.assert_allclose(arrays["probabilities_out"], probabilities, atol=1e-6)
    assert len(np.unique(arrays["labels_out"])) == 3 or image.size < 1000


@settings(deadline=None, max_examples=30)
@given(
    shape=st.tuples(st.integers(1, 130), st.integers(1, 130)),
    tile=st.integers(32, 80),
    batch=st.integers(1, 5),
    seed=st.integers(0, 1000),
)
def test_no_size_of_image_tile_or_batch_changes_an_exact_label(shape, tile, batch, seed):
    net = network(seed=seed % 3)
    image = picture(shape, seed=seed)
    info = info_of(receptive_field=receptive_field(net, 1, (4, 4)))
    config = FP32.replace(exact=True, tile=tile, batch_size=batch)
    arrays = predict(net, info, image, config)
    np.testing.assert_array_equal(arrays["labels_out"], whole_image_logits(net, image).argmax(0))


def test_a_halo_that_is_too_small_shows_at_the_seams_only():
    net = network()
    image = picture((128, 128))
    expected = whole_image_logits(net, image).argmax(0)
    found = predict(net, info_of(halo=0), image)["labels_out"]
    wrong = np.argwhere(found != expected)
    assert len(wrong) > 0
    distance = np.minimum(wrong % 32, 31 - wrong % 32).min(axis=1)
    assert distance.max() < receptive_field(net, 1, (4, 4))


def test_a_network_that_sees_everything_gets_the_whole_image_at_once():
    class Gated(SmallUNet):
        def forward(self, x):
            return super().forward(x) * x.mean(dim=(2, 3), keepdim=True)

    torch.manual_seed(1)
    net = Gated().eval()
    image = picture((90, 130))
    info = info_of(receptive_field=None)
    arrays = predict(net, info, image, FP32.replace(exact=True))
    np.testing.assert_array_equal(arrays["labels_out"], whole_image_logits(net, image).argmax(0))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float64, np.float16, bool, ">u2"])
def test_any_type_of_pixel_is_normalized_as_in_training(dtype):
    image = picture((50, 60), channels=2, dtype=np.uint8)
    image = (image > 100) if dtype is bool else image.astype(dtype)
    normalization = Normalization(mode="image")
    net = network(channels=2)
    info = info_of(channels=2, halo=64, normalization=normalization)
    expected = whole_image_logits(net, scale(image, *normalization.limits(image)))
    found = predict(net, info, image, probabilities=True)["probabilities_out"]
    np.testing.assert_allclose(found, torch.from_numpy(expected).softmax(0).numpy(), atol=1e-5)


def test_missing_pixels_count_as_dark_and_spoil_nothing():
    image = picture((64, 64))
    image[0, 10:20, 10:20] = np.nan
    image[0, 30, 30] = np.inf
    net = network()
    arrays = predict(net, info_of(halo=64), image, probabilities=True, uncertainty=True)
    assert np.isfinite(arrays["probabilities_out"]).all()
    assert np.isfinite(arrays["uncertainty_out"]).all()
    filled = np.nan_to_num(image, nan=-1, posinf=3)
    np.testing.assert_array_equal(arrays["labels_out"], whole_image_logits(net, filled).argmax(0))


@pytest.mark.parametrize(
    ("values", "dtype"),
    [((0, 1, 2), np.uint8), ((1, 2, 3), np.uint8), ((4, 9, 200), np.uint8), ((0, 7, 300), np.uint16)],
)
def test_labels_have_the_values_of_the_classes_in_the_smallest_type(values, dtype):
    net, image = network(), picture((60, 70))
    labels = predict(net, info_of(values, halo=64), image)["labels_out"]
    assert labels.dtype == dtype
    np.testing.assert_array_equal(labels, np.array(values)[whole_image_logits(net, image).argmax(0)])


@pytest.mark.parametrize("classes", [2, 3, 12, 13, 20])
def test_the_largest_probability_is_the_label_for_any_number_of_classes(classes):
    net, image = network(outputs=classes), picture((40, 44))
    arrays = predict(net, info_of(tuple(range(classes))), image, probabilities=True, uncertainty=True)
    probabilities = arrays["probabilities_out"]
    np.testing.assert_array_equal(arrays["labels_out"], probabilities.argmax(0))
    np.testing.assert_allclose(probabilities.sum(0), 1, atol=1e-5)
    entropy = -(probabilities * np.log(probabilities)).sum(0) / np.log(classes)
    np.testing.assert_allclose(arrays["uncertainty_out"], entropy, atol=1e-5)


def test_uncertainty_is_one_for_a_network_that_knows_nothing():
    net = network()
    nn.init.zeros_(net.head.weight)
    nn.init.zeros_(net.head.bias)
    assert predict(net, info_of(), picture((20, 20)), uncertainty=True)["uncertainty_out"] == pytest.approx(1)


def test_a_model_of_instances_tells_objects_from_background():
    net, image = network(), picture((80, 50))
    expected = torch.from_numpy(whole_image_logits(net, image)).softmax(0).numpy()
    made = Predictor(net, info_of((1,), halo=64, task="instances"), FP32)
    assert [c.name for c in made.classes] == ["background", "class 1"]
    arrays = made.empty_outputs((80, 50), probabilities=True)
    interior = np.empty((80, 50), np.float32)
    made.predict_plane(image, **arrays, interior_out=interior)
    np.testing.assert_array_equal(arrays["labels_out"], expected[0] < 0.5)
    np.testing.assert_allclose(arrays["probabilities_out"][1], expected[1] + expected[2], atol=1e-5)
    np.testing.assert_allclose(interior, expected[1], atol=1e-5)


def test_averaging_over_symmetries_gives_the_same_answer_for_a_turned_image():
    net, info = network(), info_of(halo=64)
    image = picture((64, 96))
    config = FP32.replace(tta=True)
    straight = predict(net, info, image, config, probabilities=True)["probabilities_out"]
    turned = predict(net, info, np.rot90(image, 1, (1, 2)), config, probabilities=True)["probabilities_out"]
    np.testing.assert_allclose(np.rot90(turned, -1, (1, 2)), straight, atol=1e-5)
    plain = predict(net, info, image, probabilities=True)["probabilities_out"]
    assert np.abs(plain - straight).max() > 0.01


def test_bfloat16_changes_few_labels():
    net, image = network(), picture((200, 200))
    exact = whole_image_logits(net, image)
    found = predict(net, info_of(halo=64), image, PredictConfig(precision="bfloat16", device="cpu"))["labels_out"]
    wrong = found != exact.argmax(0)
    assert wrong.mean() < 0.02
    top = np.sort(exact, axis=0)
    assert (top[-1] - top[-2])[wrong].max(initial=0) < 0.05


def test_progress_counts_tiles_and_stop_stops():
    net, info, image = network(), info_of(), picture((128, 128))
    made = Predictor(net, info, FP32)
    seen = []
    arrays = made.empty_outputs((128, 128))
    assert made.predict_plane(image, **arrays, on_progress=lambda *counts: seen.append(counts))
    assert seen == [(n, 16) for n in range(1, 17)]
    seen.clear()
    finished = made.predict_plane(
        image, **arrays, on_progress=lambda *counts: seen.append(counts), should_stop=lambda: len(seen) == 3
    )
    assert not finished
    assert seen == [(1, 16), (2, 16), (3, 16)]


def test_when_memory_runs_out_smaller_batches_then_smaller_tiles_give_the_same_labels(monkeypatch):
    net, image, notices = network(), picture((256, 256)), []
    config = FP32.replace(tile=64, batch_size=4)
    made = Predictor(net, info_of(halo=16), config, on_notice=notices.append)
    forward = made._network.forward

    def limited(x):
        if x.numel() > 70**2:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return forward(x)

    monkeypatch.setattr(made._network, "forward", limited)
    arrays = made.empty_outputs((256, 256))
    assert made.predict_plane(image, **arrays)
    np.testing.assert_array_equal(arrays["labels_out"], whole_image_logits(net, image).argmax(0))
    assert notices == [
        "Memory is short: going on with 2 tiles at a time.",
        "Memory is short: going on with 1 tile at a time.",
        "Memory is short: going on with tiles of 32 pixels.",
    ]


def test_when_there_is_no_memory_at_all_one_sentence_says_what_to_do(monkeypatch):
    made = Predictor(network(), info_of(), FP32)
    forward = made._network.forward

    def greedy(x):
        return torch.empty(2**58, dtype=torch.uint8) if x.numel() > 32**2 else forward(x)

    monkeypatch.setattr(made._network, "forward", greedy)
    with pytest.raises(SegNetError, match="even for tiles of 36 pixels"):
        made.predict_plane(picture((64, 64)), **made.empty_outputs((64, 64)))


def test_on_a_cpu_tiles_are_made_to_fit_before_the_system_ends_the_process(monkeypatch):
    net, image, notices = network(), picture((256, 256)), []
    made = Predictor(net, info_of(halo=16), FP32.replace(tile=128), on_notice=notices.append)
    monkeypatch.setattr(planning, "free_memory", lambda device: 100**2 * bytes_per_pixel(made._network, 1, (4, 4)))
    arrays = made.empty_outputs((256, 256))
    assert made.predict_plane(image, **arrays)
    np.testing.assert_array_equal(arrays["labels_out"], whole_image_logits(net, image).argmax(0))
    assert notices == ["Memory is short: going on with tiles of 64 pixels."]
    monkeypatch.setattr(planning, "free_memory", lambda device: 1000)
    with pytest.raises(SegNetError, match="even for tiles of"):
        made.predict_plane(image, **arrays)
    exact = Predictor(net, info_of(receptive_field=None), FP32.replace(exact=True))
    with pytest.raises(SegNetError, match="256 x 256 pixels, which this network has to see"):
        exact.predict_plane(image, **arrays)


def test_memory_is_what_all_layers_give():
    # 6 channels + 12 + 6 channels of a sixteenth + 3 channels, and the two normalizations again; 4 bytes each.
    assert bytes_per_pixel(network(), 1, (4, 4)) == pytest.approx(4 * (6 + 6 + (12 + 12 + 6) / 16 + 3))


def test_an_error_that_is_a_bug_is_not_taken_for_a_lack_of_memory(monkeypatch):
    made = Predictor(network(), info_of(), FP32)

    def broken(x):
        raise RuntimeError("shapes cannot be multiplied")

    monkeypatch.setattr(made._network, "forward", broken)
    with pytest.raises(RuntimeError, match="multiplied"):
        made.predict_plane(picture((64, 64)), **made.empty_outputs((64, 64)))


def test_an_image_with_other_channels_is_refused_with_both_numbers():
    with pytest.raises(DataError, match=r"has 3 channels, but the model was trained on 1 channel\b"):
        predict(network(), info_of(), picture((20, 20), channels=3))


def test_only_slices_of_a_lazy_image_are_read():
    class Lazy:
        shape, ndim, dtype, largest = (1, 200, 200), 3, np.dtype(np.float32), 0
        data = picture((200, 200))

        def __getitem__(self, key):
            part = self.data[key]
            self.largest = max(self.largest, part.size)
            return part

    net, lazy = network(), Lazy()
    arrays = predict(net, info_of(), lazy)
    np.testing.assert_array_equal(arrays["labels_out"], predict(net, info_of(), Lazy.data)["labels_out"])
    assert lazy.largest <= 40 * 40


def test_answers_go_into_memory_maps_and_wider_types(tmp_path):
    net, image = network(), picture((70, 70))
    expected = predict(net, info_of(), image)["labels_out"]
    target = np.lib.format.open_memmap(tmp_path / "labels.npy", "w+", np.int32, (70, 70))
    Predictor(net, info_of(), FP32).predict_plane(image, labels_out=target)
    target.flush()
    np.testing.assert_array_equal(np.load(tmp_path / "labels.npy"), expected)


def test_folded_normalization_gives_the_same_logits_with_fewer_layers():
    net = network()
    folded = fold_normalization(net, 1, (4, 4))
    assert sum(isinstance(m, nn.BatchNorm2d) for m in folded.modules()) == 0
    assert sum(isinstance(m, nn.BatchNorm2d) for m in net.modules()) == 2
    x = torch.randn(2, 1, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(folded(x), net(x), atol=1e-5, rtol=1e-4)


def test_a_convolution_that_is_used_twice_is_not_folded():
    class Shortcut(SmallUNet):
        def forward(self, x):
            raw = self.a(x)
            return self.head(torch.cat([F.relu(self.norm_a(raw)), raw], dim=1))

    torch.manual_seed(0)
    net = Shortcut().eval()
    net.norm_a.running_mean.fill_(1.0)
    assert fold_normalization(net, 1, (4, 4)) is net


def test_training_statistics_are_left_alone():
    net = network()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    predict(net.train(), info_of(), picture((64, 64)))
    assert not net.training
    for name, value in net.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_label_arrays_of_another_shape_are_a_bug_of_the_caller():
    made = Predictor(network(), info_of(), FP32)
    with pytest.raises(ValueError, match="labels_out has shape"):
        made.predict_plane(picture((64, 64)), labels_out=np.empty((64, 60), np.uint8))
    with pytest.raises(ValueError, match="at least one"):
        made.predict_plane(picture((64, 64)))


def test_classes_and_colours_are_those_of_the_model():
    info = info_of((1, 3))
    assert output_classes(info) == info.classes
    assert colour_table(info) == ["#000000", "#ff0000", "#000000", "#0000ff"]
    assert colour_table(info_of((1,), task="instances")) == ["#000000", "#ff0000"]
    assert colour_table(info_of((0, 300))) is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("batch", [1, 3])
def test_a_gpu_gives_the_labels_of_the_cpu(batch):
    net, image = network(), picture((300, 333), dtype=np.uint8)
    info = info_of(normalization=Normalization(mode="image"), receptive_field=receptive_field(net, 1, (4, 4)))
    logits = whole_image_logits(net, scale(image, *info.normalization.limits(image)))
    config = FP32.replace(exact=True, device="cuda", batch_size=batch)
    arrays = predict(net, info, image, config, probabilities=True, uncertainty=True)
    wrong = arrays["labels_out"] != logits.argmax(0)
    top = np.sort(logits, axis=0)
    assert (top[-1] - top[-2])[wrong].max(initial=0) < 1e-4
    probabilities = torch.from_numpy(logits).softmax(0).numpy()
    np.testing.assert_allclose(arrays["probabilities_out"], probabilities, atol=1e-4)
    entropy = -(probabilities * np.log(probabilities)).sum(0) / np.log(3)
    np.testing.assert_allclose(arrays["uncertainty_out"], entropy, atol=1e-3)
