"""Overlap, correlation and the Lovász extension, against values computed by hand and other libraries."""

import importlib
import math

import numpy as np
import pytest
import torch
from loss_cases import make, one_hot
from sklearn.metrics import jaccard_score, matthews_corrcoef

from napari_segnet._torch import import_smp
from napari_segnet.training.losses.lovasz import jaccard_slopes

FOREGROUND = {"background": False}


@pytest.fixture
def smp():
    return import_smp().losses


@pytest.fixture
def monai():
    return importlib.import_module("monai.losses")


@pytest.fixture
def case():
    """Class 1 on pixels 1 and 2 of four, with probabilities 0.8, 0.4, 0.5, 0.1."""
    made = make("binary", dtype=torch.float64)
    p = torch.tensor([0.8, 0.4, 0.5, 0.1], dtype=torch.float64)
    made.logits = torch.stack([torch.zeros(4, dtype=torch.float64), torch.log(p / (1 - p))])[None, :, None]
    made.target = torch.tensor([1, 1, 0, 0])[None, None]
    return made


# Class 1: TP 1.2, FP 0.6, FN 0.8, TN 1.4. Class 0: TP 1.4, FP 0.8, FN 0.6.
BY_HAND = [
    ("dice", {}, 1 - ((2.4 + 1) / (1.8 + 2 + 1) + (2.8 + 1) / (2.2 + 2 + 1)) / 2),
    ("dice", {"smooth": 0}, 1 - (2.4 / 3.8 + 2.8 / 4.2) / 2),
    ("dice", FOREGROUND, 1 - 3.4 / 4.8),
    ("dice-squared", FOREGROUND, 1 - 3.4 / (0.64 + 0.16 + 0.25 + 0.01 + 2 + 1)),
    ("generalized-dice", {}, 1 - 2 * (1.2 + 1.4) / (3.8 + 4.2)),
    ("jaccard", FOREGROUND, 1 - (1.2 + 1) / (2.6 + 1)),
    ("jaccard", {"smooth": 0}, 1 - (1.2 / 2.6 + 1.4 / 2.8) / 2),
    ("tversky", {}, 1 - (1.2 + 1) / (1.2 + 0.3 * 0.6 + 0.7 * 0.8 + 1)),
    ("tversky", {"alpha": 1, "beta": 2, "smooth": 0}, 1 - 1.2 / (1.2 + 0.6 + 1.6)),
    ("focal-tversky", {}, (1 - 2.2 / 2.94) ** 0.75),
    ("focal-tversky", {"gamma": 0.5}, (1 - 2.2 / 2.94) ** 2),
    ("mcc", {}, 1 - (1.2 * 1.4 - 0.6 * 0.8) / math.sqrt(1.8 * 2 * 2 * 2.2)),
    ("bce-log-dice", FOREGROUND, -np.log([0.8, 0.4, 0.5, 0.9]).mean() - math.log(3.4 / 4.8)),
    ("combo", {}, (-np.log([0.8, 0.4, 0.5, 0.9]).mean() / 2 + 1 - 3.4 / 4.8) / 2),
    (
        "combo",
        {"alpha": 0.3, "beta": 0.9},
        0.3 * -(0.9 * np.log([0.8, 0.4]).sum() + 0.1 * np.log([0.5, 0.9]).sum()) / 4 + 0.7 * (1 - 3.4 / 4.8),
    ),
]


@pytest.mark.parametrize(("name", "options", "expected"), BY_HAND)
def test_values_by_hand(case, name, options, expected):
    assert float(case.loss(name, options)) == pytest.approx(expected, rel=2e-5)


def test_dice_of_a_class_that_is_absent_is_left_out(case):
    # Two pixels of class 0, seen with probability 3/4: Dice = (2 * 1.5 + 1) / (1.5 + 2 + 1).
    logits = torch.tensor([math.log(3.0), 0.0]).reshape(1, 2, 1, 1).expand(1, 2, 1, 2)
    value = case.loss("dice", logits=logits, target=torch.zeros(1, 1, 2, dtype=torch.int64), weights=torch.ones(2))
    assert float(value) == pytest.approx(1 - 4 / 4.5)


def test_generalized_dice_weighs_by_size_squared():
    # Class 0 on three pixels, class 1 on one, all with probability 3/4.
    z = math.log(3.0)
    made = make("binary", dtype=torch.float64)
    made.logits = torch.tensor([[z, z, z, 0], [0, 0, 0, z]], dtype=torch.float64)[None, :, None]
    made.target = torch.tensor([0, 0, 0, 1])[None, None]
    weights = np.array([1 / 9, 1.0])
    overlap, size = np.array([2.25, 0.75]), np.array([2.5 + 3, 1.5 + 1])
    expected = 1 - 2 * (weights * overlap).sum() / (weights * size).sum()
    assert float(made.loss("generalized-dice")) == pytest.approx(expected)


KINDS = ("multiclass", "volume")


@pytest.mark.parametrize("kind", KINDS)
def test_overlaps_agree_with_segmentation_models_pytorch(smp, kind):
    case = make(kind)

    def theirs(loss):
        return pytest.approx(float(loss(case.logits.flatten(3), case.target.flatten(2))), rel=1e-4)

    assert float(case.loss("dice")) == theirs(smp.DiceLoss("multiclass", smooth=0.5))
    assert float(case.loss("jaccard")) == theirs(smp.JaccardLoss("multiclass", smooth=1.0))
    tversky = {"background": True, "alpha": 0.2, "beta": 0.6}
    assert float(case.loss("tversky", tversky)) == theirs(smp.TverskyLoss("multiclass", smooth=1, alpha=0.2, beta=0.6))
    log_dice = float(case.loss("bce-log-dice")) - float(case.loss("bce"))
    assert log_dice == theirs(smp.DiceLoss("multiclass", smooth=0.5, log_loss=True))


def test_overlaps_of_multilabel_agree_with_segmentation_models_pytorch(smp):
    case = make("multilabel")
    target = case.target.float()
    theirs = smp.DiceLoss("multilabel", smooth=0.5)(case.logits, target)
    assert float(case.loss("dice")) == pytest.approx(float(theirs), rel=1e-4)
    theirs = smp.JaccardLoss("multilabel", smooth=1.0)(case.logits, target)
    assert float(case.loss("jaccard")) == pytest.approx(float(theirs), rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_overlaps_agree_with_monai(monai, kind):
    case = make(kind)
    target = case.target[:, None]
    shared = {"to_onehot_y": True, "softmax": True, "batch": True}
    theirs = {
        "dice": monai.DiceLoss(**shared, smooth_nr=1, smooth_dr=1),
        "dice-squared": monai.DiceLoss(**shared, smooth_nr=1, smooth_dr=1, squared_pred=True),
        "jaccard": monai.DiceLoss(**shared, smooth_nr=1, smooth_dr=1, jaccard=True),
        "generalized-dice": monai.GeneralizedDiceLoss(**shared, smooth_nr=0, smooth_dr=0),
        "tversky": monai.TverskyLoss(**shared, alpha=0.3, beta=0.7, smooth_nr=1, smooth_dr=1, include_background=False),
        "mcc": monai.MCCLoss(**shared),
    }
    for name, loss in theirs.items():
        # MONAI's Jaccard doubles the fraction before it is smoothed.
        options = {"smooth": 0.5} if name == "jaccard" else {}
        assert float(case.loss(name, options)) == pytest.approx(float(loss(case.logits, target)), rel=1e-4), name


@pytest.mark.parametrize("kind", ["binary", "multiclass", "volume", "multilabel"])
def test_half_and_half_is_dice_and_one_and_one_is_jaccard(kind):
    case = make(kind, ignored=0.2)
    same = {"background": True, "smooth": 0}
    dice, jaccard = float(case.loss("dice", {"smooth": 0})), float(case.loss("jaccard", {"smooth": 0}))
    assert float(case.loss("tversky", {**same, "alpha": 0.5, "beta": 0.5})) == pytest.approx(dice, rel=1e-5)
    assert float(case.loss("tversky", {**same, "alpha": 1, "beta": 1})) == pytest.approx(jaccard, rel=1e-5)


def test_hard_predictions_give_the_metrics_of_scikit_learn():
    case = make("multiclass", size=12)
    answer = case.logits.argmax(1)
    sure = 100 * one_hot(answer).float()
    truth, guess = case.target.ravel().numpy(), answer.ravel().numpy()
    iou = jaccard_score(truth, guess, average="macro")
    for name, options in (("jaccard", {"smooth": 0}), ("lovasz-softmax", {})):
        assert float(case.loss(name, options, logits=sure)) == pytest.approx(1 - iou, rel=1e-4), name
    mcc = np.mean([matthews_corrcoef(truth == k, guess == k) for k in range(3)])
    assert float(case.loss("mcc", logits=sure)) == pytest.approx(1 - mcc, rel=1e-4)


def test_matthews_leaves_out_classes_that_are_everywhere():
    case = make("multiclass")
    case.target[:] = 1
    assert float(case.loss("mcc")) == 0


def test_matthews_keeps_its_digits_on_millions_of_pixels():
    case = make("binary", size=1200, seed=1)
    case.logits *= 4
    case.target[:] = 1
    case.target[:, ::100, ::100] = 0
    exact = case.loss("mcc", logits=case.logits.double(), weights=torch.ones(2).double())
    assert 1 - float(case.loss("mcc")) == pytest.approx(1 - float(exact), rel=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_lovasz_softmax_agrees_with_segmentation_models_pytorch(smp, kind):
    case = make(kind, ignored=0.3)
    theirs = smp.LovaszLoss("multiclass", ignore_index=255)(case.logits, case.target)
    assert float(case.loss("lovasz-softmax")) == pytest.approx(float(theirs), rel=1e-4)
    z = case.logits.clone().requires_grad_()
    (ours,) = torch.autograd.grad(case.loss("lovasz-softmax", logits=z), z)
    (expected,) = torch.autograd.grad(smp.LovaszLoss("multiclass", ignore_index=255)(z, case.target), z)
    torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-6)


def test_lovasz_hinge_agrees_with_segmentation_models_pytorch(smp):
    case = make("binary", ignored=0.3)
    theirs = smp.LovaszLoss("binary", ignore_index=255)(case.logits[:, 1] - case.logits[:, 0], case.target)
    assert float(case.loss("lovasz-hinge", FOREGROUND)) == pytest.approx(float(theirs), rel=1e-4)
    many = make("multilabel")
    each = [float(smp.LovaszLoss("binary")(many.logits[:, k], many.target[:, k])) for k in range(3)]
    assert float(many.loss("lovasz-hinge")) == pytest.approx(np.mean(each), rel=1e-4)


def test_lovasz_by_hand(case):
    # Class 1, errors 0.6 (true), 0.5 (false), 0.2 (true), 0.1 (false). One minus IoU, error by error:
    # 1 - 1/2, 1 - 1/3, 1 - 0/3, 1 - 0/4: steps of 1/2, 1/6, 1/3, 0.
    expected = 0.6 / 2 + 0.5 / 6 + 0.2 / 3
    assert float(case.loss("lovasz-softmax", FOREGROUND)) == pytest.approx(expected)
    # Margins log(p / (1 - p)): hinge errors 1 - 1.386 < 0, 1 + 0.405, 1 + 0, 1 - 2.197 < 0.
    expected = (1 - math.log(0.4 / 0.6)) / 2 + 1 / 6
    assert float(case.loss("lovasz-hinge", FOREGROUND)) == pytest.approx(expected)


def test_slopes_of_the_jaccard_loss_are_the_differences_of_its_values():
    truth = (torch.rand(500, generator=torch.Generator().manual_seed(0)) < 0.3).double()
    values = [0.0]
    for wrong in range(1, 501):
        missed = float(truth[:wrong].sum())
        union = float(truth.sum()) + wrong - missed
        values.append(1 - (float(truth.sum()) - missed) / union)
    np.testing.assert_allclose(jaccard_slopes(truth), np.diff(values), atol=1e-12)


def test_slopes_have_no_noise_on_millions_of_pixels():
    truth = (torch.rand(3_000_000, generator=torch.Generator().manual_seed(0)) < 0.5).float()
    np.testing.assert_allclose(jaccard_slopes(truth), jaccard_slopes(truth.double()), rtol=1e-4)


def test_one_plus_bce_minus_dice_is_bce_plus_dice():
    case = make("multiclass")
    dice = 1 - float(case.loss("dice"))
    assert float(case.loss("1+bce-dice")) == pytest.approx(1 + float(case.loss("bce")) - dice, rel=1e-6)


def test_log_dice_is_what_courses_teach():
    # As written for Keras: one sigmoid, Dice of the whole batch, an epsilon of 1e-7 below the fraction and in the log.
    case = make("binary", size=20, dtype=torch.float64)
    p = torch.sigmoid(case.logits[:, 1] - case.logits[:, 0]).numpy()
    t = case.target.numpy()
    crossentropy = -(t * np.log(p) + (1 - t) * np.log(1 - p)).mean()
    dice = 2 * (t * p).sum() / ((t + p).sum() + 1e-7)
    expected = crossentropy - np.log(dice + 1e-7)
    assert float(case.loss("bce-log-dice", {"background": False, "smooth": 0})) == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["binary", "multiclass", "volume", "multilabel"])
def test_sums_are_sums(kind):
    case = make(kind, ignored=0.2)

    def of(*names):
        return pytest.approx(sum(float(case.loss(name)) for name in names), rel=1e-6)

    assert float(case.loss("dice+ce")) == of("dice", "ce")
    assert float(case.loss("bce+dice")) == of("bce", "dice")
    assert float(case.loss("focal+lovasz")) == of("focal", "lovasz-softmax")
    assert float(case.loss("bce+dice+focal")) == of("bce", "dice", "focal")


def test_of_two_classes_dice_and_either_cross_entropy_are_the_same():
    case = make("binary", ignored=0.2)
    assert float(case.loss("bce+dice")) == pytest.approx(float(case.loss("dice+ce")), rel=1e-6)


def test_tversky_pulls_harder_on_what_is_missed():
    case = make("binary")
    flat = torch.zeros_like(case.logits).requires_grad_()
    sums = []
    for beta in (0.3, 0.7):
        value = case.loss("tversky", {"alpha": 1 - beta, "beta": beta}, logits=flat)
        (slope,) = torch.autograd.grad(value, flat)
        sums.append(float(slope[:, 1].sum()))
    assert sums[1] < sums[0]  # the foreground is asked to grow more
