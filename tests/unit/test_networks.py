"""What every network of the catalogue can do, whoever wrote it."""

import numpy as np
import pytest
import torch
from tiny_networks import SIDES, TINY, build_tiny, names

from napari_segnet.config import PredictConfig, TrainConfig
from napari_segnet.data.labels import default_classes
from napari_segnet.models.catalogue import NETWORKS
from napari_segnet.models.file import load_model, write_model
from napari_segnet.models.info import ModelInfo
from napari_segnet.models.registry import strides_of
from napari_segnet.predict.predictor import Predictor
from napari_segnet.training.learner import Batch, Learner, confusion, dice_of
from napari_segnet.training.losses import loss_function


def sides(name, network):
    """Return the lengths of a small image that the network takes: in planes two strides, and not too few pixels."""
    axes = NETWORKS[name].axes
    strides = strides_of(network, len(axes))
    if name in SIDES:
        return [SIDES[name]] * len(axes)
    return [max(2 * stride, 64) for stride in strides] if len(axes) == 2 else [max(stride, 16) for stride in strides]


def describe(name, network, channels=3, outputs=2):
    asked = TINY[name]
    return ModelInfo(
        network=name,
        encoder=asked.get("encoder"),
        options=asked.get("options", {}),
        axes=NETWORKS[name].axes,
        channels=channels,
        outputs=outputs,
        normalization={"mode": "none"},
        classes=default_classes(range(outputs), "background", "semantic"),
        patch_size=128,
        stride=network.stride,
        halo=0,
    )


def test_every_network_has_a_tiny_version_to_be_tested():
    assert set(TINY) == set(NETWORKS)


@pytest.mark.parametrize("name", names())
def test_it_maps_an_image_of_any_channels_to_logits_and_all_weights_learn(name):
    torch.manual_seed(0)
    network = build_tiny(name, channels=2, outputs=3)
    *shape, last = sides(name, network)
    shape += [last + strides_of(network, len(shape) + 1)[-1]]
    logits = network(torch.randn(2, 2, *shape))
    assert logits.shape == (2, 3, *shape)
    logits.square().mean().backward()
    # An encoder's last stages are not used by every decoder.
    own = [(n, p) for n, p in network.named_parameters() if not n.startswith("encoder.")]
    idle = [n for n, p in own if p.requires_grad and p.grad is None]
    assert not idle


@pytest.mark.parametrize("name", names())
def test_a_batch_of_one_image_can_be_learned_from(name):
    network = build_tiny(name, channels=2)
    network.train()(torch.randn(1, 2, *sides(name, network))).mean().backward()


@pytest.mark.parametrize("name", names())
def test_what_was_saved_predicts_the_same_on_odd_sizes(name, tmp_path):
    torch.manual_seed(0)
    network = build_tiny(name, channels=2).eval()
    info = describe(name, network, channels=2)
    write_model(tmp_path / "m.safetensors", info, network)
    _, loaded = load_model(tmp_path / "m.safetensors")
    shape = (45, 131) if info.axes == "YX" else (5, 21, 37)
    image = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    answers = []
    for one in (network, loaded):
        predictor = Predictor(one, info, PredictConfig(precision="float32"), torch.device("cpu"))
        answers.append(predictor.empty_outputs(shape, probabilities=True))
        predictor.predict_plane(image, **answers[-1])
    assert np.array_equal(answers[0]["labels_out"], answers[1]["labels_out"])
    assert np.allclose(answers[0]["probabilities_out"], answers[1]["probabilities_out"])
    assert np.allclose(answers[0]["probabilities_out"].sum(axis=0), 1, atol=1e-5)


@pytest.mark.parametrize("name", names())
def test_it_can_be_traced_for_export(name):
    network = build_tiny(name, channels=2).eval()
    x = torch.randn(1, 2, *sides(name, network))
    with torch.no_grad():
        traced = torch.jit.trace(network, x)
        assert torch.allclose(traced(x), network(x), atol=1e-5)


def two_images(shape):
    """Return two noisy images with a dark ball and a bright slab, (2, 2, ...), and where the ball and slab are."""
    places = torch.meshgrid(*(torch.linspace(0, 1, n) for n in shape), indexing="ij")
    ball = sum((place - 0.4) ** 2 for place in places) < 0.25**2
    slab = (places[-1] > 0.55) & (places[-1] < 0.85)
    targets = torch.stack([ball, slab]).long()
    noise = torch.randn(2, 2, *shape, generator=torch.Generator().manual_seed(1))
    return 0.3 * noise + torch.stack([0.5 - ball.float(), slab.float() - 0.5])[:, None], targets


@pytest.mark.parametrize("name", names())
def test_it_learns_two_images_by_heart_in_bfloat16(name):
    torch.manual_seed(0)
    network = build_tiny(name, channels=2)
    images, targets = two_images(sides(name, network))
    config = TrainConfig(precision="bfloat16", ema=0.9, batch_size=2)
    learner = Learner(network, loss_function("dice+ce"), torch.ones(2), config, torch.device("cpu"))
    dice = 0.0
    for step in range(300):
        learner.step(Batch(images, targets), 5e-3)
        if step % 20 == 19:
            with torch.no_grad():
                logits = learner.forward(learner.refresh_average(lambda: [images]), images)
            dice = dice_of(confusion(logits.argmax(dim=1), targets, 2), 1)
            if dice > 0.95:
                break
    assert dice > 0.95
