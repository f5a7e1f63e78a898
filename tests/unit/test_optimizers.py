"""Optimizers by name: what each does in a step, and what presets choose for it."""

import importlib

import numpy as np
import pytest
import torch

from napari_segnet.config import RunConfig
from napari_segnet.errors import ConfigError
from napari_segnet.presets import Fingerprint, resolve
from napari_segnet.training.ftrl import Ftrl
from napari_segnet.training.optimizers import OPTIMIZERS, optimizer_spec

SMALL = Fingerprint(images=1, height=300, width=400, channels=1, outputs=2, annotated=1_000_000)
START = [0.5, -1.0, 2.0, 0.01]


def path(optimizer_of, steps=6, rates=None):
    """Return where an optimizer goes on a fixed function, (steps, weights): its gradients are known, not its path."""
    weights = torch.tensor(START, dtype=torch.float64, requires_grad=True)
    optimizer = optimizer_of(weights)
    found = []
    for step in range(steps):
        if rates:
            optimizer.param_groups[0]["lr"] = rates[step]
        optimizer.zero_grad()
        gradient(weights).sum().backward()
        optimizer.step()
        found.append(weights.detach().numpy().copy())
    return np.array(found)


def gradient(weights):
    # Curved otherwise in each direction; the last weight hardly matters.
    target, curve = torch.tensor([[1.0, 0.0, -1.0, 0.0], [1.0, 3.0, 0.2, 0.001]], dtype=torch.float64)
    return (weights - target).square() * curve


def named(name, rate=0.1, decay=0.0, **options):
    build = optimizer_spec(name).read(options).build
    return lambda weights: build([{"params": [weights], "weight_decay": decay}], rate)


optim = torch.optim


@pytest.mark.parametrize(
    ("name", "options", "decay", "same"),
    [
        ("sgd", {}, 0.1, lambda w: optim.SGD([w], 0.1, momentum=0.9, nesterov=True, weight_decay=0.1)),
        ("sgd", {"momentum": 0.5, "nesterov": False}, 0, lambda w: optim.SGD([w], 0.1, momentum=0.5)),
        ("sgd", {"momentum": 0}, 0, lambda w: optim.SGD([w], 0.1)),
        ("adam", {"beta1": 0.8, "eps": 1e-3}, 0.1, lambda w: optim.Adam([w], 0.1, (0.8, 0.999), 1e-3, 0.1)),
        ("adam", {"amsgrad": True, "beta2": 0.5}, 0, lambda w: optim.Adam([w], 0.1, (0.9, 0.5), amsgrad=True)),
        ("adamw", {}, 0.1, lambda w: optim.AdamW([w], 0.1, weight_decay=0.1)),
        ("nadam", {"momentum_decay": 0.1}, 0, lambda w: optim.NAdam([w], 0.1, momentum_decay=0.1)),
        ("radam", {"beta2": 0.9}, 0, lambda w: optim.RAdam([w], 0.1, (0.9, 0.9))),
        ("adamax", {"beta2": 0.9}, 0.1, lambda w: optim.Adamax([w], 0.1, (0.9, 0.9), weight_decay=0.1)),
        ("adagrad", {"initial_accumulator": 2}, 0, lambda w: optim.Adagrad([w], 0.1, initial_accumulator_value=2)),
        ("adadelta", {"rho": 0.5}, 0, lambda w: optim.Adadelta([w], 0.1, rho=0.5)),
        ("rmsprop", {"rho": 0.8, "momentum": 0.5, "centered": True}, 0,
         lambda w: optim.RMSprop([w], 0.1, 0.8, 1e-7, momentum=0.5, centered=True)),
    ],
)  # fmt: skip
def test_options_reach_the_optimizer(name, options, decay, same):
    mine = path(named(name, decay=decay, **options))
    assert np.array_equal(mine, path(same))
    assert not np.array_equal(mine[-1], mine[0])


@pytest.mark.parametrize("name", ["adamw", "nadam", "radam"])
def test_decay_that_is_not_mixed_with_the_gradient_shrinks_weights_by_rate_times_decay(name):
    weights = torch.tensor(START, requires_grad=True)
    optimizer = named(name, rate=0.1, decay=0.5)(weights)
    weights.grad = torch.zeros(4)
    optimizer.step()
    assert np.allclose(weights.detach(), np.array(START) * (1 - 0.1 * 0.5))


def ftrl_by_hand(rate, power, accumulator, l1, l2, beta, steps=6):
    """Return the path of algorithm 1 of McMahan et al. 2013 as Keras has it: written down weight by weight."""
    target, curve = np.array([1.0, 0.0, -1.0, 0.0]), np.array([1.0, 3.0, 0.2, 0.001])
    w, n, z = np.array(START), np.full(4, accumulator), np.zeros(4)
    found = []
    for _ in range(steps):
        g = 2 * (w - target) * curve
        for i in range(4):
            sigma = ((n[i] + g[i] ** 2) ** -power - n[i] ** -power) / rate
            z[i] += g[i] - sigma * w[i]
            n[i] += g[i] ** 2
            if abs(z[i]) <= l1:
                w[i] = 0
            else:
                w[i] = (np.sign(z[i]) * l1 - z[i]) / ((beta + n[i] ** -power) / rate + 2 * l2)
        found.append(w.copy())
    return np.array(found)


CASES = [
    {"power": -0.5, "initial_accumulator": 0.1, "l1": 0.0, "l2": 0.0, "beta": 0.0},
    {"power": -0.5, "initial_accumulator": 0.1, "l1": 0.3, "l2": 0.2, "beta": 1.0},
    {"power": -0.8, "initial_accumulator": 1.0, "l1": 0.0, "l2": 1.0, "beta": 0.0},
    {"power": 0.0, "initial_accumulator": 0.1, "l1": 2.0, "l2": 0.0, "beta": 0.5},
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_ftrl_goes_the_papers_way_step_by_step(case):
    mine = path(lambda w: Ftrl([w], 0.2, keep_start=False, **case))
    c = case
    by_hand = ftrl_by_hand(0.2, c["power"], c["initial_accumulator"], c["l1"], c["l2"], c["beta"])
    assert np.allclose(mine, by_hand, rtol=1e-12, atol=1e-14)
    assert (mine[-1] == 0).any() == (c["l1"] > 0)


@pytest.mark.filterwarnings("ignore:__array__ implementation")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_ftrl_goes_the_way_of_keras(case, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    keras = importlib.import_module("keras")
    theirs = keras.optimizers.Ftrl(
        learning_rate=0.2,
        learning_rate_power=case["power"],
        initial_accumulator_value=case["initial_accumulator"],
        l1_regularization_strength=case["l1"],
        l2_regularization_strength=case["l2"],
        beta=case["beta"],
    )
    variable = keras.Variable(np.array(START, np.float32))
    theirs.build([variable])
    expected = []
    for _ in range(6):
        weights = torch.tensor(keras.ops.convert_to_numpy(variable).astype(np.float64), requires_grad=True)
        gradient(weights).sum().backward()
        theirs.apply([keras.ops.convert_to_tensor(weights.grad.float())])
        expected.append(keras.ops.convert_to_numpy(variable).copy())
    mine = path(lambda w: Ftrl([w], 0.2, keep_start=False, **case))
    assert np.allclose(mine, expected, rtol=1e-5, atol=1e-6)


def test_ftrl_without_regularization_is_adagrad_whatever_the_schedule():
    rates = [0.01, 0.1, 0.3, 0.3, 0.02, 0.001]
    mine = path(lambda w: Ftrl([w], 0.01, initial_accumulator=0.1), rates=rates)
    same = path(lambda w: optim.Adagrad([w], 0.01, initial_accumulator_value=0.1, eps=1e-30), rates=rates)
    assert np.allclose(mine, same, rtol=1e-12)


def test_ftrl_keeps_the_start_that_keras_gives_up():
    weights = torch.tensor(START, requires_grad=True)
    for keeps in (True, False):
        optimizer = Ftrl([weights], 0.1, keep_start=keeps)
        weights.grad = torch.full((4,), 1e-3)
        before = weights.detach().clone()
        optimizer.step()
        kept = float((weights.detach() / before)[2])
        assert kept == pytest.approx(1 if keeps else 0, abs=1e-3)


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_each_finds_the_bottom_of_a_bowl(name):
    build = optimizer_spec(name).read({}).build
    weights = torch.tensor([1.0, -1.0], requires_grad=True)
    optimizer = build([{"params": [weights], "weight_decay": 0.0}], 0.02 * optimizer_spec(name).rate)
    for step in range(600):
        optimizer.param_groups[0]["lr"] = 0.02 * optimizer_spec(name).rate * (1 - step / 600)
        optimizer.zero_grad()
        (weights.square() * torch.tensor([0.5, 2.0])).sum().backward()
        optimizer.step()
    assert weights.abs().max() < 0.05


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer": "sdg"}, r"no optimizer called 'sdg'. Did you mean 'sgd'"),
        ({"optimizer": "sgd", "optimizer_options": {"beta1": 0.9}}, "no option 'beta1'"),
        ({"optimizer": "sgd", "optimizer_options": {"momentum": 1.0}}, "momentum = 1.0.*less than 1"),
        ({"optimizer_options": {"rho": 0.9}}, "no option 'rho'"),
        ({"schedule": "cosinus"}, r"no schedule called 'cosinus'. Did you mean 'cosine'"),
        ({"schedule": "poly", "schedule_options": {"power": 0}}, "power = 0.*greater than 0"),
        ({"schedule": "step", "schedule_options": {"every": 3, "at": [0.5]}}, "either every so many epochs or"),
    ],
)
def test_what_can_not_be_is_refused_before_anything_is_learned(settings, message):
    with pytest.raises(ConfigError, match=message):
        resolve(RunConfig().replace(train=settings), SMALL)


@pytest.mark.parametrize(
    ("optimizer", "preset", "rate", "decay"),
    [("adamw", "fast", 2e-3, 1e-2), ("adamw", "best", 1e-3, 1e-2), ("SGD", "best", 1e-2, 1e-4),
     ("adadelta", "balanced", 1.0, 0.0), ("adagrad", "best", 1e-2, 0.0), ("rmsprop", "fast", 2e-3, 0.0)],
)  # fmt: skip
def test_presets_choose_a_rate_for_the_optimizer_but_what_was_set_counts(optimizer, preset, rate, decay):
    asked = {"optimizer": optimizer, "preset": preset}
    train = resolve(RunConfig().replace(train=asked), SMALL)[0].train
    assert train.learning_rate == pytest.approx(rate)
    assert train.weight_decay == decay
    mine = resolve(RunConfig().replace(train={**asked, "learning_rate": 0.5, "weight_decay": 0.3}), SMALL)[0].train
    assert (mine.learning_rate, mine.weight_decay) == (0.5, 0.3)
