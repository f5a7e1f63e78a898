import copy

import numpy as np
import pytest
import torch

from napari_segnet.config import TrainConfig
from napari_segnet.data.normalization import Normalization
from napari_segnet.data.sampling import ImageCache, PatchSampler
from napari_segnet.data.split import Region
from napari_segnet.models.registry import build_network
from napari_segnet.training.checkpoint import read_checkpoint, write_checkpoint
from napari_segnet.training.hard_patches import how_many, remember, worst
from napari_segnet.training.learner import Learner
from napari_segnet.training.loop import Lesson, draw_batch
from napari_segnet.training.losses import loss_function


def test_the_worst_of_ten_batches_are_known_and_a_new_loss_replaces_the_old():
    known = []
    for step in range(12):
        known = remember(known, [(0, step, 0), (0, step, 1)], [step / 100, (11 - step) / 100 + 0.5])
    assert len(known) == 20
    assert known[0] == [0, 2, 0, 0.02]
    assert worst(known, 2) == [(0, 2, 1), (0, 3, 1)]
    known = remember(known, [(0, 2, 1), (1, 7, 7)], [0.001, 9.0])
    assert worst(known, 2) == [(1, 7, 7), (0, 3, 1)]
    assert sum(entry[:3] == [0, 2, 1] for entry in known) == 1
    assert worst([], 3) == []


@pytest.mark.parametrize(("share", "number"), [(0.1, 8), (0.1, 1), (0.25, 4), (0.5, 3)])
def test_the_share_comes_out_right_over_many_steps(share, number):
    counts = [how_many(share, step, number) for step in range(1000)]
    assert sum(counts) == pytest.approx(1000 * share * number, abs=1)
    assert max(counts) - min(counts) <= 1


class Plane:
    def __init__(self, array):
        self._array = array

    def image(self):
        return self._array


def world(share):
    """Return a learner, and a lesson of which one corner is labelled at random."""
    rng = np.random.default_rng(0)
    image = rng.normal(size=(1, 160, 160)).astype(np.float32)
    target = (image[0] > 0).astype(np.uint8)
    target[:40, :40] = rng.integers(0, 2, (40, 40))
    sampler = PatchSampler(
        ImageCache([Plane(image)], Normalization(mode="none")), [target], [Region(0, (0, 0), (160, 160))], 0
    )
    torch.manual_seed(0)
    network = build_network("plain-unet", channels=1, outputs=2, options={"width": 4, "depth": 1})
    config = TrainConfig(epochs=1, precision="float32", batch_size=4, patch_size=32, repeat_worst=share)
    return Learner(network, loss_function("ce"), torch.ones(2), config, torch.device("cpu")), Lesson(sampler, (), 0)


def learn(learner, lesson, steps):
    places = []
    for _ in range(steps):
        batch = draw_batch(learner, lesson, learner.config, 0.0)
        places += batch.places
        learner.step(batch, 1e-2)
    return places


def test_what_can_not_be_learned_is_shown_again_and_again():
    def near(share):
        places = learn(*world(share), 40)
        return np.mean([max(y, x) < 48 for _, y, x in places])

    assert near(0.5) > 2 * near(0.01)


def test_without_repeating_nothing_is_kept():
    learner, lesson = world(0)
    assert learn(learner, lesson, 2) == []
    assert learner.counters.hard == []


def test_each_patch_has_its_own_loss():
    learner, lesson = world(0.25)
    batch = draw_batch(learner, lesson, learner.config, 0.0)
    network = copy.deepcopy(learner.network)
    learner.step(batch, 1e-2)
    with torch.no_grad():
        logits = learner.forward(network.train(), batch.images)
        expected = [float(learner.loss(logits[[n]], batch.targets[[n]], learner.weights)) for n in range(4)]
    assert [entry[-1] for entry in learner.counters.hard] == pytest.approx(expected, rel=1e-5)
    assert [tuple(entry[:-1]) for entry in learner.counters.hard] == list(batch.places)


def test_a_resumed_run_shows_the_same_patches_again(tmp_path):
    learner, lesson = world(0.5)
    learn(learner, lesson, 5)
    write_checkpoint(tmp_path / "last.safetensors", learner)
    other, same = world(0.5)
    read_checkpoint(tmp_path / "last.safetensors", other)
    assert other.counters.hard == learner.counters.hard
    assert learn(other, same, 5) == learn(learner, lesson, 5)
    for a, b in zip(other.network.parameters(), learner.network.parameters(), strict=True):
        assert torch.equal(a, b)
