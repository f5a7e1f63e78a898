"""Schedules by name, against torch's where it has the same; all follow from the step, the progress and the history."""

import json

import pytest
import torch

from napari_segnet.config import TrainConfig
from napari_segnet.errors import ConfigError
from napari_segnet.training.schedule import SCHEDULES, learning_rate, pace, schedule_spec

lr_scheduler = torch.optim.lr_scheduler
STEPS = 101


def config(schedule, epoch=10, warmup=0, **options):
    return TrainConfig(
        schedule=schedule, schedule_options=options, learning_rate=0.5, warmup_steps=warmup, steps_per_epoch=epoch
    )


def mine(asked, steps=STEPS, history=()):
    return [learning_rate(asked, step, step / (steps - 1), history) for step in range(steps)]


def theirs(schedule_of, rate=0.5, key="lr"):
    weights = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weights], lr=rate, momentum=0.9)
    schedule = schedule_of(optimizer)
    found = []
    for _ in range(STEPS):
        found.append(optimizer.param_groups[0][key])
        optimizer.step()
        schedule.step()
    return found


@pytest.mark.parametrize(
    ("asked", "same"),
    [
        (config("constant"), lambda o: lr_scheduler.ConstantLR(o, 1.0)),
        (config("step", every=3, gamma=0.3), lambda o: lr_scheduler.StepLR(o, 30, 0.3)),
        (config("step", at=[0.2, 0.5, 0.9]), lambda o: lr_scheduler.MultiStepLR(o, [20, 50, 90], 0.1)),
        (config("step"), lambda o: lr_scheduler.MultiStepLR(o, [50, 75], 0.1)),
        (config("poly"), lambda o: lr_scheduler.PolynomialLR(o, STEPS - 1, 0.9)),
        (config("poly", power=2), lambda o: lr_scheduler.PolynomialLR(o, STEPS - 1, 2.0)),
        (config("cosine", lowest=0.1), lambda o: lr_scheduler.CosineAnnealingLR(o, STEPS - 1, 0.05)),
        (config("flat-cosine", flat=0, lowest=0), lambda o: lr_scheduler.CosineAnnealingLR(o, STEPS - 1)),
        (config("cyclic", epochs_up=2), lambda o: lr_scheduler.CyclicLR(o, 0.125, 0.5, 20, cycle_momentum=False)),
        (config("cyclic", epochs_up=1.5, halve=True),
         lambda o: lr_scheduler.CyclicLR(o, 0.125, 0.5, 15, mode="triangular2", cycle_momentum=False)),
    ],
    ids=lambda value: f"{value.schedule}-{value.schedule_options}" if isinstance(value, TrainConfig) else "",
)  # fmt: skip
def test_rates_are_those_of_torch(asked, same):
    assert mine(asked) == pytest.approx(theirs(same), abs=1e-12)


@pytest.mark.parametrize("shape", ["cosine", "linear"])
def test_one_cycle_is_that_of_torch_and_the_momentum_goes_the_other_way(shape):
    def same(optimizer):
        return lr_scheduler.OneCycleLR(
            optimizer, 0.5, total_steps=STEPS + 1, pct_start=0.3, anneal_strategy={"cosine": "cos"}.get(shape, shape)
        )

    # Torch begins its second phase a step before the share that it is told, and ends one step after these.
    asked = config("one-cycle", shape=shape, up=(0.3 * (STEPS + 1) - 1) / STEPS)
    paces = [pace(asked, step, step / STEPS) for step in range(STEPS)]
    assert [p.rate for p in paces] == pytest.approx(theirs(same), abs=1e-12)
    assert [p.momentum for p in paces] == pytest.approx(theirs(same, key="momentum"), abs=1e-12)
    assert pace(asked, STEPS, 1.0).rate == pytest.approx(0.5 * 4e-6)
    assert pace(config("one-cycle", cycle_momentum=False), 5, 0.2).momentum is None
    assert pace(config("cosine"), 5, 0.2).momentum is None


LOSSES = [1.0, 0.8, 0.81, 0.82, 0.79995, 0.83, 0.7, 0.7, 0.7, 0.7, 0.71, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]


@pytest.mark.parametrize(("watch", "mode"), [("val_loss", "min"), ("val_dice", "max")])
def test_the_rate_falls_where_torch_sees_a_plateau(watch, mode):
    asked = config("reduce-on-plateau", watch=watch, patience=2, lowest=0.2)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    same = lr_scheduler.ReduceLROnPlateau(optimizer, mode, 0.5, patience=2, threshold=1e-4, min_lr=0.1)
    history = []
    for loss in LOSSES:
        value = loss if mode == "min" else 1 - loss
        history.append({"epoch": len(history) + 1, "loss": 0.0, watch: value})
        same.step(value)
        # What a checkpoint holds of the history is enough to go on.
        stored = json.loads(json.dumps(history))
        assert learning_rate(asked, 1, 0.5, stored) == pytest.approx(optimizer.param_groups[0]["lr"])
    assert learning_rate(asked, 1, 0.5, history) < 0.5


def test_without_validation_the_training_loss_is_looked_at():
    asked = config("reduce-on-plateau", watch="val_dice", patience=1)
    falling = [{"loss": 1 / (n + 1), "val_dice": None} for n in range(8)]
    still = [{"loss": 1.0, "val_dice": None} for _ in range(8)]
    assert learning_rate(asked, 1, 0.5, falling) == 0.5
    assert learning_rate(asked, 1, 0.5, still) == pytest.approx(0.5 * 0.5**3)


def test_epochs_that_could_not_be_measured_are_no_reason_to_wait():
    asked = config("reduce-on-plateau", patience=1)
    rows = [{"val_loss": v} for v in (1.0, None, 1.0, None, 1.0, None)]
    assert learning_rate(asked, 1, 0.5, rows) == 0.25


@pytest.mark.parametrize("name", list(SCHEDULES))
def test_each_begins_slowly_and_never_is_above_the_rate_or_below_nothing(name):
    rates = mine(config(name, warmup=9))
    assert rates[0] <= 0.5 * 0.25
    assert max(rates) == pytest.approx(0.5, rel=0.1)
    assert min(rates) >= 0
    # After the end, where time may run a little over, too.
    assert 0 <= learning_rate(config(name), 10_000, 1.0) <= 0.5


def test_cyclic_and_one_cycle_need_no_other_warm_up():
    for name in ("cyclic", "one-cycle"):
        assert mine(config(name, warmup=50)) == mine(config(name))


def test_the_encoder_is_frozen_and_weights_are_collected_in_their_shares_of_the_run():
    asked = TrainConfig(freeze_encoder=0.3, averaging="swa", swa_start=0.6)
    told = [(p.frozen, p.collects) for p in (pace(asked, 0, progress) for progress in (0, 0.29, 0.3, 0.59, 0.6, 1))]
    assert told == [(True, False), (True, False), (False, False), (False, False), (False, True), (False, True)]
    assert not pace(TrainConfig(), 0, 0).frozen
    assert not pace(TrainConfig(), 0, 1).collects
    assert pace(TrainConfig(freeze_encoder=1), 0, 0.999).frozen


def test_names_are_found_whatever_their_capitals_and_unknown_ones_are_said():
    assert schedule_spec("Flat-Cosine").name == "flat-cosine"
    with pytest.raises(ConfigError, match=r"no schedule called 'onecycle'. Did you mean 'one-cycle'"):
        schedule_spec("onecycle")
    with pytest.raises(ConfigError, match="no option 'gama'"):
        schedule_spec("step").read({"gama": 0.1})
