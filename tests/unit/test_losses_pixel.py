"""Means over pixels, against values computed by hand and other libraries."""

import importlib
import math

import numpy as np
import pytest
import torch
from loss_cases import KINDS, make, one_hot
from sklearn.metrics import log_loss
from torch.nn import functional as F

from napari_segnet._torch import import_smp, prepare_torchvision
from napari_segnet.data.labels import IGNORE
from napari_segnet.training.losses import cross_entropy

UNEVEN = torch.tensor([1.0, 2.0, 0.5])


def row(*probabilities):
    """Return logits (1, 2, 1, X) of pixels whose class 1 has these probabilities."""
    p = torch.tensor(probabilities, dtype=torch.float64)
    return torch.stack([torch.zeros_like(p), torch.log(p / (1 - p))])[None, :, None]


def labels(*values):
    return torch.tensor(values)[None, None]


def of(case, name, options=None, **changes):
    return float(case.loss(name, options, **changes))


@pytest.fixture
def rows():
    """Four pixels of classes 1, 1, 0, 0: the right class has probability 0.8, 0.4, 0.5, 0.9; one is not annotated."""
    case = make("binary", dtype=torch.float64)
    case.logits, case.target = row(0.8, 0.4, 0.5, 0.1, 0.3), labels(1, 1, 0, 0, IGNORE)
    return case


RIGHT = np.array([0.8, 0.4, 0.5, 0.9])
LOSS = -np.log(RIGHT)


def test_cross_entropy_agrees_with_scikit_learn():
    case = make("volume")
    probabilities = case.logits.softmax(1).movedim(1, -1).reshape(-1, 3).double().numpy()
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    assert of(case, "ce") == pytest.approx(log_loss(case.target.ravel().numpy(), probabilities), rel=1e-5)
    weighted = log_loss(case.target.ravel(), probabilities, sample_weight=UNEVEN[case.target].ravel())
    assert of(case, "ce", weights=UNEVEN) == pytest.approx(weighted, rel=1e-5)


def test_cross_entropy_by_hand(rows):
    assert of(rows, "ce") == pytest.approx(LOSS.mean())
    weights = torch.tensor([1.0, 3.0], dtype=torch.float64)
    assert of(rows, "ce", weights=weights) == pytest.approx((3 * LOSS[:2].sum() + LOSS[2:].sum()) / 8)
    pixels = torch.tensor([1.0, 2.0, 0.5, 4.0, 100.0], dtype=torch.float64)[None, None]
    expected = (3 * LOSS[0] + 6 * LOSS[1] + 0.5 * LOSS[2] + 4 * LOSS[3]) / 13.5
    assert of(rows, "ce", weights=weights, pixel_weights=pixels) == pytest.approx(expected)


def test_multilabel_cross_entropy_is_that_of_each_sigmoid():
    case = make("multilabel")
    expected = F.binary_cross_entropy_with_logits(case.logits, case.target.float())
    assert of(case, "ce") == pytest.approx(float(expected), rel=1e-5)
    assert of(case, "bce") == pytest.approx(float(expected), rel=1e-5)
    each = F.binary_cross_entropy_with_logits(case.logits, case.target.float(), reduction="none").mean(dim=(0, 2, 3))
    assert of(case, "ce", weights=UNEVEN) == pytest.approx(float((each * UNEVEN).sum() / 3.5), rel=1e-5)


@pytest.mark.parametrize("kind", ["multiclass", "volume"])
def test_label_smoothing_agrees_with_torch(kind):
    case = make(kind, ignored=0.3)
    theirs = F.cross_entropy(case.logits, case.target, ignore_index=IGNORE, label_smoothing=0.1)
    assert of(case, "label-smoothing") == pytest.approx(float(theirs), rel=1e-5)
    assert of(case, "ce", {"smoothing": 0.1}) == pytest.approx(float(theirs), rel=1e-5)


def test_label_smoothing_agrees_with_segmentation_models_pytorch_for_multilabel():
    case = make("multilabel")
    theirs = import_smp().losses.SoftBCEWithLogitsLoss(smooth_factor=0.2, ignore_index=None)
    # Its factor moves both ends by itself, ours by half of it each: 0 becomes 0.1, 1 becomes 0.9.
    target = case.target.float() * 0.8 + 0.1
    expected = F.binary_cross_entropy_with_logits(case.logits, target)
    assert of(case, "label-smoothing", {"smoothing": 0.2}) == pytest.approx(float(expected), rel=1e-5)
    assert of(case, "label-smoothing", {"smoothing": 0.4}) == pytest.approx(
        float(theirs(case.logits, case.target.float())), rel=1e-5
    )


def test_balanced_cross_entropy_by_hand():
    case = make("binary", dtype=torch.float64)
    case.logits, case.target = row(0.8, 0.5, 0.1, 0.3, 0.6), labels(1, 0, 0, 0, IGNORE)
    zeros = -np.log([0.5, 0.9, 0.7]).mean()
    assert of(case, "balanced-ce") == pytest.approx((-math.log(0.8) + zeros) / 2)
    weights = torch.tensor([1.0, 3.0], dtype=torch.float64)
    assert of(case, "balanced-ce", weights=weights) == pytest.approx((-3 * math.log(0.8) + zeros) / 4)
    # One class alone is all there is.
    case.target[case.target == 1] = IGNORE
    assert of(case, "balanced-ce") == pytest.approx(zeros)


def test_balanced_cross_entropy_is_that_with_weights_of_inverse_frequency():
    case = make("volume", ignored=0.5)
    counts = torch.bincount(case.target[case.target != IGNORE], minlength=3)
    theirs = F.cross_entropy(case.logits, case.target, 1 / counts, ignore_index=IGNORE)
    assert of(case, "balanced-ce") == pytest.approx(float(theirs), rel=1e-5)


def test_balanced_multilabel_gives_yes_and_no_the_same_say():
    case = make("multilabel", ignored=0.2, seed=3)
    values = []
    for channel in range(3):
        z, t = case.logits[:, channel], case.target[:, channel]
        yes, no = F.softplus(-z[t == 1]).mean(), F.softplus(z[t == 0]).mean()
        values.append(float(yes + no) / 2)
    assert of(case, "balanced-ce") == pytest.approx(np.mean(values), rel=1e-5)


@pytest.mark.parametrize("kind", ["multiclass", "volume"])
def test_binary_cross_entropy_is_that_of_softmax_probabilities(kind):
    case = make(kind)
    expected = F.binary_cross_entropy(case.logits.softmax(1), one_hot(case.target).float())
    assert of(case, "bce") == pytest.approx(float(expected), rel=1e-5)


def test_binary_cross_entropy_of_two_classes_is_cross_entropy():
    case = make("binary", ignored=0.3)
    weights = torch.tensor([1.0, 4.0])
    expected = float(cross_entropy(case.logits, case.target, weights))
    assert of(case, "bce", weights=weights) == pytest.approx(expected, rel=1e-5)


def test_log_odds_keep_their_digits_where_a_class_is_nearly_certain():
    case = make("multiclass", dtype=torch.float64)
    rough = case.logits * 20
    exact = of(case, "bce", logits=rough)
    assert of(case, "bce", logits=rough.float(), weights=torch.ones(3)) == pytest.approx(exact, rel=1e-5)


def test_focal_by_hand(rows):
    assert of(rows, "focal") == pytest.approx(((1 - RIGHT) ** 2 * LOSS).mean())
    assert of(rows, "focal", {"gamma": 0.5}) == pytest.approx(((1 - RIGHT) ** 0.5 * LOSS).mean())
    assert of(rows, "focal", {"gamma": 0}) == pytest.approx(LOSS.mean())
    alpha = np.array([0.25, 0.25, 0.75, 0.75])
    assert of(rows, "focal", {"alpha": 0.25}) == pytest.approx((alpha * (1 - RIGHT) ** 2 * LOSS).mean())


@pytest.mark.parametrize("kind", ["multiclass", "volume"])
def test_focal_agrees_with_monai_and_segmentation_models_pytorch(kind):
    monai = importlib.import_module("monai.losses")
    case = make(kind)
    # MONAI's mean is over the classes as well, of which all but one are zero.
    theirs = 3 * monai.FocalLoss(use_softmax=True, to_onehot_y=True, gamma=1.5)(case.logits, case.target[:, None])
    assert of(case, "focal", {"gamma": 1.5}) == pytest.approx(float(theirs), rel=1e-4)
    theirs = import_smp().losses._functional.softmax_focal_loss_with_logits(case.logits, case.target, gamma=1.5)
    assert of(case, "focal", {"gamma": 1.5}) == pytest.approx(float(theirs), rel=1e-4)


def test_focal_multilabel_agrees_with_torchvision():
    prepare_torchvision()
    from torchvision.ops import sigmoid_focal_loss

    case = make("multilabel")
    theirs = sigmoid_focal_loss(case.logits, case.target.float(), alpha=0.25, gamma=2, reduction="mean")
    assert of(case, "focal", {"alpha": 0.25}) == pytest.approx(float(theirs), rel=1e-5)


def test_top_k_by_hand(rows):
    hardest = np.sort(LOSS)[::-1]
    assert of(rows, "topk", {"share": 0.25}) == pytest.approx(hardest[0])
    assert of(rows, "topk", {"share": 0.26}) == pytest.approx(hardest[:2].mean())
    assert of(rows, "topk", {"share": 1}) == pytest.approx(LOSS.mean())
    # With weights the pixels of class 1 count thrice, in finding them and in the mean.
    weights = torch.tensor([1.0, 3.0], dtype=torch.float64)
    chosen = (3 * LOSS[1] + LOSS[2]) / 4
    assert 3 * LOSS[0] < LOSS[2]
    assert of(rows, "topk", {"share": 0.5}, weights=weights) == pytest.approx(chosen)


@pytest.mark.parametrize("kind", KINDS)
def test_top_k_of_all_pixels_is_cross_entropy(kind):
    case = make(kind, ignored=0.4)
    weights = UNEVEN[: len(case.weights)]
    expected = pytest.approx(of(case, "ce", weights=weights), rel=1e-5)
    assert of(case, "topk", {"share": 1}, weights=weights) == expected
    assert of(case, "ohem", {"share": 1}, weights=weights) == expected


def test_online_hard_pixels_by_hand(rows):
    # Less likely than 0.7: the second and the third; than 0.45: the second alone, and half of the four is two.
    assert of(rows, "ohem") == pytest.approx((LOSS[1] + LOSS[2]) / 2)
    assert of(rows, "ohem", {"threshold": 0.45}) == pytest.approx(LOSS[1])
    assert of(rows, "ohem", {"threshold": 0.45, "share": 0.5}) == pytest.approx((LOSS[1] + LOSS[2]) / 2)
    assert of(rows, "ohem", {"threshold": 0.85}) == pytest.approx(LOSS[:3].mean())
