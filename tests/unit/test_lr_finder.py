"""The range test: a learning rate from the curve of losses, and nothing changed by looking."""

import csv

import numpy as np
import pytest
import torch

from napari_segnet.config import TrainConfig
from napari_segnet.errors import SegNetError
from napari_segnet.models.registry import build_network
from napari_segnet.training.learner import Batch, Learner, NotANumberError
from napari_segnet.training.losses import loss_function
from napari_segnet.training.lr_finder import RateCurve, range_test, write_curve


def learner(**changes):
    torch.manual_seed(0)
    network = build_network("plain-unet", channels=1, outputs=2, options={"width": 4, "depth": 1})
    config = TrainConfig(precision="float32", **changes)
    return Learner(network, loss_function("dice+ce"), torch.ones(2), config, torch.device("cpu"))


def draw(one):
    images = torch.randn(4, 1, 16, 16, generator=torch.Generator().manual_seed(one.counters.step))
    return Batch(images, (images[:, 0] > 0).long())


def curve(loss_of, noise=0.0):
    rates = np.geomspace(1e-6, 1, 100)
    losses = np.array([loss_of(np.log10(rate)) for rate in rates])
    return RateCurve(rates, losses + noise * np.random.default_rng(0).normal(size=100))


def falling(exponent):
    """Flat at 1, falling around 1e-3, lowest at 1e-1, then exploding."""
    return 1 - 0.8 / (1 + np.exp(-6 * (exponent + 3))) + 3 * max(0.0, exponent + 1)


@pytest.mark.parametrize("noise", [0, 0.02])
def test_the_steepest_descent_is_suggested(noise):
    found = curve(falling, noise)
    assert found.steepest == pytest.approx(1e-3, rel=0.5)
    assert 1e-2 < found.lowest < 0.2


def test_smoothing_keeps_a_straight_line_and_takes_noise_away():
    found = curve(lambda exponent: 2 - exponent)
    assert np.allclose(found.smoothed[6:-6], found.losses[6:-6])
    noise = curve(lambda _: 1.0, 0.1)
    assert noise.smoothed[6:-6].std() < 0.5 * noise.losses.std()


def test_a_loss_that_falls_nowhere_is_a_sentence():
    with pytest.raises(SegNetError, match=r"falls at no learning rate from 1.0e-06 to 1.0e\+00"):
        _ = curve(lambda exponent: exponent).steepest


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "adagrad"])
def test_the_learner_stays_as_it_was_and_what_is_found_learns_better_than_the_lowest_rate(optimizer):
    one, twin = learner(optimizer=optimizer), learner(optimizer=optimizer)
    for other in (one, twin):
        other.step(draw(other), 1e-3)
    found = range_test(one, draw)
    mine, theirs = one.state(), twin.state()
    assert mine[1] == theirs[1]
    assert all(torch.equal(value, theirs[0][name]) for name, value in mine[0].items())
    assert one.network.training == twin.network.training
    # The next step is what it would have been.
    assert one.step(draw(one), 1e-3) == twin.step(draw(twin), 1e-3)
    assert found.rates[0] == pytest.approx(2e-7)
    assert found.rates[-1] <= 2.0

    def after(rate):
        tried = learner(optimizer=optimizer)
        return np.mean([tried.step(draw(tried), rate) for _ in range(40)][-10:])

    assert after(found.steepest) < 0.8 * after(found.rates[0])


def test_it_ends_where_the_loss_explodes():
    class Exploding(Learner):
        limit = 1e-2

        def step(self, batch, pace):
            loss = 1.0 if pace.rate < 1e-3 else 1e3 * pace.rate
            if pace.rate > self.limit:
                raise NotANumberError("The loss became nan.")
            return loss

    one = learner()
    one.__class__ = Exploding
    found = range_test(one, draw)
    assert 1e-3 < found.rates[-1] <= 1e-2
    one.config, one.limit = one.config.replace(learning_rate=10), 1.2e-3
    with pytest.raises(SegNetError, match="exploded at a learning rate of"):
        range_test(one, draw)


def test_memory_that_runs_out_makes_smaller_parts(monkeypatch):
    one, sizes = learner(batch_size=4), set()
    forward = Learner.forward

    def scarce(learner_, network, images):
        if len(images) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        sizes.add(len(images))
        return forward(learner_, network, images)

    monkeypatch.setattr(Learner, "forward", scarce)
    assert len(range_test(one, draw, steps=12).losses) == 12
    assert sizes == {1}
    assert one.counters.batch_size == 4


def test_the_curve_is_written_as_a_table_and_a_picture(tmp_path):
    from skimage.io import imread

    found = curve(falling)
    write_curve(found, tmp_path / "new" / "folder")
    with (tmp_path / "new" / "folder" / "rates.csv").open() as file:
        rows = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]
    assert list(rows[0]) == ["rate", "loss", "smoothed"]
    assert [row["loss"] for row in rows] == pytest.approx(found.losses.tolist())
    picture = imread(tmp_path / "new" / "folder" / "rates.png")
    # The line at the suggestion is orange, and right of the middle of -6 .. 0.
    orange = (picture[..., 0] > 200) & (picture[..., 1].astype(int) - picture[..., 2] > 60) & (picture[..., 2] < 120)
    assert orange.sum() > 100
    (tmp_path / "file").write_text("")
    with pytest.raises(SegNetError, match="can't be written"):
        write_curve(found, tmp_path / "file" / "folder")
