import numpy as np
import pytest
import torch

from napari_segnet import events
from napari_segnet.config import TrainConfig
from napari_segnet.data.labels import IGNORE
from napari_segnet.data.sampling import Windows
from napari_segnet.errors import ConfigError, SegNetError
from napari_segnet.models.registry import build_network
from napari_segnet.training.checkpoint import read_checkpoint, write_checkpoint
from napari_segnet.training.learner import Batch, Learner, confusion, dice_of
from napari_segnet.training.loop import Lesson, draw_batch, train
from napari_segnet.training.losses import loss_function
from napari_segnet.training.optimizers import OPTIMIZERS
from napari_segnet.training.schedule import Pace, learning_rate, pace

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
        def draw(self, _step, batch, size, _again):
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


def with_encoder(**changes):
    torch.manual_seed(0)
    options = {"decoder_width": 16}
    network = build_network("unet", channels=1, outputs=2, encoder="tu-mobilenetv3_small_050", options=options)
    config = TrainConfig(epochs=1, precision="float32", **changes)
    return Learner(network, loss_function("dice+ce"), torch.ones(2), config, CPU)


def large_batch(number=4, side=64, seed=1):
    images = torch.randn(number, 1, side, side, generator=torch.Generator().manual_seed(seed))
    return Batch(images, (images[:, 0] > 0).long())


def steps_of(one, first, last, total=8):
    """Do some steps of a run of `total`, each on a batch of its own, at the pace of the configuration."""
    for step in range(first, last):
        shown = batch()
        shown = Batch(shown.images.roll(step, 2), shown.targets.roll(step, 1))
        one.step(shown, pace(one.config, step, step / total, one.counters.history))


@pytest.mark.parametrize(
    "changes",
    [
        *({"optimizer": name, "learning_rate": 2e-3 * spec.rate} for name, spec in OPTIMIZERS.items()),
        {"optimizer": "sgd", "optimizer_options": {"momentum": 0}},
        {"optimizer": "adam", "optimizer_options": {"amsgrad": True}},
        {"optimizer": "rmsprop", "optimizer_options": {"momentum": 0.5, "centered": True}},
        {"optimizer": "sgd", "schedule": "one-cycle"},
        {"optimizer": "nadam", "schedule": "one-cycle", "learning_rate": 1e-2},
        {"averaging": "swa", "swa_start": 0.25, "steps_per_epoch": 2},
        {"averaging": "none"},
        {"accumulate": 2, "batch_size": 2},
    ],
    ids=lambda changes: " ".join(str(v) for v in changes.values()),
)
def test_what_was_saved_goes_on_exactly(changes, tmp_path):
    whole, first, second = learner(**changes), learner(**changes), learner(**changes)
    steps_of(whole, 0, 8)
    steps_of(first, 0, 5)
    write_checkpoint(tmp_path / "c.safetensors", first)
    read_checkpoint(tmp_path / "c.safetensors", second)
    steps_of(second, 5, 8)
    for kind in ("network", "average"):
        mine, theirs = getattr(second, kind).state_dict(), getattr(whole, kind).state_dict()
        assert all(torch.equal(mine[key], theirs[key]) for key in theirs)
    assert second.counters == whole.counters
    assert not torch.equal(whole.network.head.weight, first.network.head.weight)


@pytest.mark.parametrize("name", [n for n in OPTIMIZERS if n != "ftrl"])
def test_decay_leaves_biases_and_scales_of_normalization_alone(name):
    one = learner(optimizer=name, weight_decay=0.5)
    decays = {p: group["weight_decay"] for group in one.optimizer.param_groups for p in group["params"]}
    assert {n: decays[p] for n, p in one.network.named_parameters()} == {
        n: 0.5 if p.dim() > 1 else 0.0 for n, p in one.network.named_parameters()
    }


def test_a_momentum_is_cycled_where_there_is_one():
    for name, options, key, expected in (
        ("sgd", {}, "momentum", 0.7),
        ("sgd", {"momentum": 0}, "momentum", 0),
        ("adamw", {"beta2": 0.9}, "betas", (0.7, 0.9)),
        ("adagrad", {}, "momentum", None),
    ):
        one = learner(optimizer=name, optimizer_options=options)
        one.step(batch(), Pace(1e-3, momentum=0.7))
        assert one.optimizer.param_groups[0].get(key) == expected


def without_batch_norm(**changes):
    torch.manual_seed(0)
    options = {"width": 4, "depth": 1}
    network = build_network("plain-unet", channels=1, outputs=2, options=options, norm="group")
    config = TrainConfig(epochs=1, precision="float32", ema=0.9, **changes)
    return Learner(network, loss_function("ce"), torch.ones(2), config, CPU)


def test_gradients_of_parts_add_up_to_those_of_the_whole_batch():
    whole, parts, uneven = without_batch_norm(batch_size=4), without_batch_norm(batch_size=1), without_batch_norm()
    uneven.counters.batch_size = 3
    for one in (whole, parts, uneven):
        for _ in range(3):
            one.step(batch(), 1e-2)
    for other in (parts, uneven):
        for a, b in zip(other.network.parameters(), whole.network.parameters(), strict=True):
            assert torch.allclose(a, b, atol=1e-5)
        assert other.counters.loss_sum == pytest.approx(whole.counters.loss_sum, rel=1e-5)
        assert np.sum(other.counters.confusion) == np.sum(whole.counters.confusion) == 3 * 4 * 16 * 16
        assert other.counters.step == 3
    # A soft target and what is believed and remembered are cut alike.
    guide = parts.belief(batch().images)
    assert torch.allclose(guide, whole.belief(batch().images), atol=1e-4)


class Windowed:
    """A sampler of noise that remembers how many patches were asked for."""

    def draw(self, step, number, size, _again=()):
        self.number = number
        images = np.random.default_rng(step).normal(size=(number, 1, size, size)).astype(np.float32)
        return Windows(images, (images[:, 0] > 0).astype(np.uint8), None)


def test_a_step_draws_batch_size_times_accumulate_patches_also_when_memory_ran_out(monkeypatch):
    one = learner(patch_size=32, batch_size=2, accumulate=3)
    lesson = Lesson(Windowed(), (), first_class=0)
    config = one.config.replace(epochs=1, steps_per_epoch=2)
    seen = []
    forward = Learner.forward

    def scarce(learner_, network, images):
        if network is one.network:
            seen.append(len(images))
            if len(images) > 1:
                raise torch.OutOfMemoryError("CUDA out of memory.")
        return forward(learner_, network, images)

    one.step(draw_batch(one, lesson, config, 0.0), 1e-3)
    assert lesson.sampler.number == 6
    one.counters.step = 0
    monkeypatch.setattr(Learner, "forward", scarce)
    told = list(train(one, lesson, config, lambda: False))
    assert [e.text for e in told if isinstance(e, events.Notice)] == [
        "Memory ran out: going on with batches of 1, 6 of them a step."
    ]
    assert seen == [2] + [1] * 12
    assert one.counters.step == 2


def test_the_encoder_learns_at_its_own_rate():
    def moved(**changes):
        one = with_encoder(optimizer="sgd", optimizer_options={"momentum": 0}, weight_decay=0, **changes)
        before = [p.clone() for p in one.network.parameters()]
        inside = {id(p) for p in one.network.encoder.parameters()}
        one.step(large_batch(), 0.1)
        change = [(a - b).abs().sum() for a, b in zip(one.network.parameters(), before, strict=True)]
        ids = [id(p) in inside for p in one.network.parameters()]
        return [float(sum(c for c, i in zip(change, ids, strict=True) if i == which)) for which in (True, False)]

    encoder, rest = moved()
    slow_encoder, same_rest = moved(encoder_rate=0.1)
    assert slow_encoder == pytest.approx(0.1 * encoder, rel=1e-2)
    assert same_rest == pytest.approx(rest, rel=1e-5)
    assert encoder > 0


def test_a_frozen_encoder_keeps_weights_and_statistics_until_it_thaws():
    one = with_encoder(freeze_encoder=0.5)
    before = {k: v.clone() for k, v in one.network.encoder.state_dict().items()}
    rest = one.network.decoder.blocks[0].conv1[0].weight.clone()
    early = one.refresh_average(lambda: [large_batch().images]).encoder.state_dict()
    assert all(torch.equal(v, before[k]) for k, v in early.items())
    for step in range(2):
        one.step(large_batch(), pace(one.config, step, 0.2))
    assert all(torch.equal(v, before[k]) for k, v in one.network.encoder.state_dict().items())
    assert not torch.equal(one.network.decoder.blocks[0].conv1[0].weight, rest)
    average = one.refresh_average(lambda: [large_batch().images])
    assert all(torch.equal(v, before[k]) for k, v in average.encoder.state_dict().items())
    decoder_norm = average.decoder.blocks[0].conv1[1]
    assert not torch.equal(decoder_norm.running_mean, torch.zeros_like(decoder_norm.running_mean))
    one.step(large_batch(), pace(one.config, 2, 0.5))
    after = one.network.encoder.state_dict()
    changed = [k for k, v in after.items() if not torch.equal(v, before[k])]
    assert [k for k in changed if "running_mean" in k]
    assert [k for k in changed if k.endswith("conv_stem.weight")]
    thawed = one.refresh_average(lambda: [large_batch().images])
    name = next(k for k in before if k.endswith("running_mean"))
    assert not torch.equal(thawed.encoder.state_dict()[name], before[name])


def test_a_frozen_encoder_goes_on_exactly_from_a_checkpoint(tmp_path):
    def run(one, first, last):
        for step in range(first, last):
            one.step(large_batch(seed=step), pace(one.config, step, step / 4))

    changes = {"freeze_encoder": 0.5, "encoder_rate": 0.3}
    whole, first, second = (with_encoder(**changes) for _ in range(3))
    run(whole, 0, 4)
    run(first, 0, 2)
    write_checkpoint(tmp_path / "c.safetensors", first)
    read_checkpoint(tmp_path / "c.safetensors", second)
    assert second.counters.frozen
    kept = second.refresh_average(lambda: [large_batch().images]).encoder.state_dict()
    assert all(torch.equal(v, kept[k]) for k, v in with_encoder().network.encoder.state_dict().items())
    run(second, 2, 4)
    theirs = whole.network.state_dict()
    assert all(torch.equal(v, theirs[k]) for k, v in second.network.state_dict().items())


@pytest.mark.parametrize("changes", [{"encoder_rate": 0.1}, {"freeze_encoder": 1.0}])
def test_a_network_without_an_encoder_can_not_treat_it_otherwise(changes):
    with pytest.raises(ConfigError, match=r"no encoder that could learn.*--network unet"):
        learner(**changes)


def weights_after(one, number):
    seen = []
    for step in range(number):
        one.step(batch(), pace(one.config, step, step / number))
        seen.append((one.network.head.weight.clone(), one.average.head.weight.clone()))
    return seen


def test_stochastic_weight_averaging_is_the_mean_at_the_ends_of_the_last_epochs():
    one = learner(averaging="swa", swa_start=0.5, steps_per_epoch=2, learning_rate=1e-2, warmup_steps=0)
    seen = weights_after(one, 12)
    # Steps 7, 9 and 11 (counted from 0) end the epochs of the second half.
    for step in range(7):
        assert torch.equal(seen[step][0], seen[step][1])
    mean = torch.stack([seen[step][0] for step in (7, 9, 11)]).mean(0)
    assert torch.allclose(seen[11][1], mean, atol=1e-6)
    assert torch.equal(seen[10][1], seen[9][1])
    assert one.counters.collected == 3


def test_without_averaging_the_last_weights_are_used():
    for step in weights_after(learner(averaging="none", ema=0.99), 3):
        assert torch.equal(*step)


def test_volumes_are_learned_from_too():
    class Volumes(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm, self.head = torch.nn.Conv3d(1, 4, 3, padding=1), torch.nn.BatchNorm3d(4), None
            self.head, self.stride = torch.nn.Conv3d(4, 2, 1), 1

        def forward(self, x):
            return self.head(self.norm(self.conv(x)).relu())

    torch.manual_seed(0)
    config = TrainConfig(precision="float32", batch_size=2)
    one = Learner(Volumes(), loss_function("dice+ce"), torch.ones(2), config, CPU, trained=True, anchored=True)
    images = torch.randn(2, 1, 4, 8, 8)
    shown = Batch(images, (images[:, 0] > 0).long())
    losses = [one.step(shown, 1e-2) for _ in range(40)]
    assert losses[-1] < 0.6 * losses[0]
    average = one.refresh_average(lambda: [images])
    assert torch.allclose(average.norm.running_mean, average.conv(images).mean((0, 2, 3, 4)), atol=1e-4)
    assert one.remembered(images, shown.targets).shape == (2, 2, 4, 8, 8)
