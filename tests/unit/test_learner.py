import numpy as np
import pytest
import torch

from napari_segnet.config import TrainConfig
from napari_segnet.data.labels import IGNORE
from napari_segnet.data.sampling import Windows
from napari_segnet.errors import SegNetError
from napari_segnet.models.registry import build_network
from napari_segnet.training.learner import Batch, Learner, confusion, dice_of
from napari_segnet.training.loop import Lesson, draw_batch
from napari_segnet.training.losses import loss_function
from napari_segnet.training.schedule import learning_rate

CPU = torch.device("cpu")


def learner(**changes):
    torch.manual_seed(0)
    network = build_network("plain-unet", channels=1, outputs=2, options={"width": 4, "depth": 1})
    config = TrainConfig(epochs=1, precision="float32", **changes)
    return Learner(network, loss_function("dice+ce"), torch.ones(2), config, CPU)


def batch(known=True):
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(4, 1, 16, 16, generator=generator)
    targets = (images[:, 0] > 0).long() if known else torch.full((4, 16, 16), IGNORE)
    return Batch(images, targets)


def test_a_soft_target_teaches_where_nothing_is_annotated():
    one = learner()
    shown = batch(known=False)
    wish = torch.nn.functional.one_hot((shown.images[:, 0] > 0).long(), 2).permute(0, 3, 1, 2).float()
    for _ in range(150):
        one.step(Batch(shown.images, shown.targets, wish), 1e-2)
    one.network.eval()
    agree = (one.forward(one.network, shown.images).argmax(1) == wish.argmax(1)).float().mean()
    assert agree > 0.95


def test_where_strokes_are_strokes_count():
    shown = batch()
    wrong = torch.nn.functional.one_hot((shown.images[:, 0] <= 0).long(), 2).permute(0, 3, 1, 2).float()
    with_wish, without = learner(), learner()
    with_wish.step(Batch(shown.images, shown.targets, 5 * wrong), 1e-2)
    without.step(shown, 1e-2)
    for a, b in zip(with_wish.network.parameters(), without.network.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_average_of_a_trained_network_does_not_forget_it():
    def drift(trained):
        one = learner(ema=0.99)
        one = Learner(one.network, one.loss, torch.ones(2), one.config, CPU, trained=trained)
        before = [p.clone() for p in one.average.parameters()]
        one.step(batch(), 1e-1)
        return sum(float((a - b).abs().sum()) for a, b in zip(one.average.parameters(), before, strict=True))

    assert drift(trained=True) < 0.02 * drift(trained=False)


@pytest.mark.parametrize(
    ("step", "progress", "weight"),
    [(0, 0.0, 1.0), (100, 0.95, 0.75), (400, 0.3, 0.5), (400, 0.6, 0.0), (2000, 0.9, 0.0)],
)
def test_the_forest_guides_a_short_run_to_its_end_and_fades_in_a_long_one(step, progress, weight):
    class Sampler:
        def draw(self, _step, batch, size):
            guide = np.full((batch, 2, size, size), 0.5, np.float16)
            return Windows(np.zeros((batch, 1, size, size), np.float32), np.zeros((batch, size, size), np.uint8), guide)

    one = learner(patch_size=32)
    one.counters.step = step
    drawn = draw_batch(one, Lesson(Sampler(), (), first_class=0), one.config, progress)
    assert (0.0 if drawn.guide is None else float(drawn.guide[0, :, 0, 0].sum())) == pytest.approx(weight)


def test_what_an_anchored_network_knew_is_remembered_but_not_beside_corrections():
    start = learner().network
    one = Learner(start, learner().loss, torch.ones(2), learner().config, CPU, trained=True, anchored=True)
    images = batch().images
    thought = one.forward(one.average, images).softmax(1)
    for _ in range(5):
        one.step(batch(), 1e-1)
    untouched = torch.full((4, 16, 16), IGNORE)
    remembered = one.remembered(images, untouched)
    assert torch.allclose(remembered, thought * (2 * thought.amax(1, keepdim=True) - 1), atol=1e-6)

    corrected = untouched.clone()
    corrected[:, 0, 0] = 1 - thought.argmax(1)[:, 0, 0]
    kept = one.remembered(images, corrected)
    assert (kept[:, :, :9, :9] == 0).all()
    assert torch.equal(kept[:, :, 9:], remembered[:, :, 9:])
    agreeing = untouched.clone()
    agreeing[:, 0, 0] = thought.argmax(1)[:, 0, 0]
    assert torch.equal(one.remembered(images, agreeing), remembered)


def test_few_strokes_on_one_hard_place_do_not_undo_the_rest():
    def change_elsewhere(anchored):
        torch.manual_seed(0)
        taught = learner()
        for _ in range(60):
            taught.step(batch(), 1e-2)
        one = Learner(taught.network, taught.loss, torch.ones(2), taught.config, CPU, trained=True, anchored=anchored)
        images = batch().images
        before = one.forward(one.average, images).softmax(1)
        hard = torch.full((4, 16, 16), IGNORE)
        hard[:, :2, :2] = 1
        for _ in range(30):
            one.step(Batch(images, hard, one.remembered(images, hard)), 1e-2)
        one.network.eval()
        after = one.forward(one.network, images).softmax(1)
        return float((after - before)[:, :, 10:, 10:].abs().mean())

    assert change_elsewhere(anchored=True) < 0.5 * change_elsewhere(anchored=False)


def test_without_an_anchor_nothing_is_remembered():
    assert learner().remembered(batch().images, batch().targets) is None


def test_a_belief_is_sharper_than_the_answer_it_comes_from():
    one = learner()
    one.step(batch(), 1e-2)
    images = batch().images
    belief = one.belief(images)
    plain = one.forward(one.average, images).softmax(1)
    assert torch.allclose(belief.sum(1), torch.ones(4, 16, 16), atol=1e-5)
    assert (belief.max(1).values >= plain.max(1).values - 1e-6).all()
    assert torch.equal(belief.argmax(1), plain.argmax(1))


def test_the_average_gets_statistics_of_its_own_weights():
    one = learner()
    for _ in range(5):
        one.step(batch(), 1e-2)
    images = batch().images * 3 + 1
    network = one.refresh_average(lambda: [images])
    with torch.no_grad():
        first = torch.nn.functional.conv2d(images, network.stem.conv1.weight, padding=1)
    assert torch.allclose(network.stem.norm1.running_mean, first.mean((0, 2, 3)), atol=1e-4)
    assert torch.allclose(network.stem.norm1.running_var, first.var((0, 2, 3)), rtol=1e-3)
    assert network.stem.norm1.momentum == 0.1
    assert not network.training


def test_a_step_that_is_not_a_number_changes_no_weight():
    one = learner()
    before = [p.clone() for p in one.network.parameters()]
    with pytest.raises(SegNetError, match="step 1"):
        one.step(Batch(batch().images * float("nan"), batch().targets), 1e-2)
    assert all(torch.equal(a, b) for a, b in zip(before, one.network.parameters(), strict=True))


def test_dice_of_a_confusion_matrix_by_hand():
    predicted = torch.tensor([[0, 0, 1, 1, 2]])
    targets = torch.tensor([[0, 1, 1, 1, IGNORE]])
    matrix = confusion(predicted, targets, 3)
    assert matrix.tolist() == [[1, 0, 0], [1, 2, 0], [0, 0, 0]]
    # Class 0: 2 * 1 / (1 + 2); class 1: 2 * 2 / (3 + 2); class 2 is nowhere.
    assert dice_of(matrix, 0) == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert dice_of(matrix, 1) == pytest.approx(4 / 5)
    assert dice_of(np.zeros((3, 3)), 0) is None


def test_the_learning_rate_warms_up_stays_and_falls():
    config = TrainConfig(learning_rate=1.0, warmup_steps=9)
    assert learning_rate(config, 0, 0.0) == pytest.approx(0.1)
    assert learning_rate(config, 9, 0.1) == 1.0
    assert learning_rate(config, 500, 0.4) == 1.0
    assert learning_rate(config, 500, 0.7) == pytest.approx(0.01 + 0.99 / 2)
    assert learning_rate(config, 500, 1.0) == pytest.approx(0.01)
    assert learning_rate(config.replace(schedule="constant"), 500, 1.0) == 1.0
    assert learning_rate(config.replace(schedule="cosine"), 500, 0.5) == pytest.approx(0.01 + 0.99 / 2)
