"""Confidence intervals of means are those of SciPy's bootstrap, and hold the truth as often as they say."""

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from napari_segnet.errors import ConfigError, DataError
from napari_segnet.evaluation import bootstrap
from napari_segnet.evaluation.bootstrap import Interval, bootstrap_interval, draw_counts, mean_intervals

NAN = math.nan
DICE = np.random.default_rng(3).beta(8, 1.5, 24)


def same_draws(n, resamples, seed=0):
    """How often each image is in each draw, as ours are made."""
    return np.concatenate(list(draw_counts(n, resamples, seed)))


@pytest.mark.parametrize("method", ["percentile", "bca"])
@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_intervals_are_scipys_from_the_same_draws(method, confidence):
    means = same_draws(24, 2000) @ DICE / 24
    theirs = stats.bootstrap(
        (DICE,),
        np.mean,
        n_resamples=0,
        method=method,
        confidence_level=confidence,
        bootstrap_result=SimpleNamespace(bootstrap_distribution=means),
    ).confidence_interval
    found = bootstrap_interval(DICE, method=method, confidence=confidence, resamples=2000)
    assert (found.value, found.n) == (pytest.approx(DICE.mean()), 24)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), rel=1e-9)


@pytest.mark.parametrize("statistic", [np.median, np.std])
def test_other_statistics_are_near_scipys(statistic):
    theirs = stats.bootstrap((DICE,), statistic, n_resamples=9999, random_state=1).confidence_interval
    found = bootstrap_interval(DICE, statistic=statistic)
    assert found.value == pytest.approx(statistic(DICE))
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=0.006)


def test_the_mean_and_a_function_that_computes_it_are_the_same():
    fast = bootstrap_interval(DICE, resamples=500)
    slow = bootstrap_interval(DICE, resamples=500, statistic=lambda v, axis: np.sum(v, axis) / v.shape[axis])
    assert (slow.low, slow.high) == pytest.approx((fast.low, fast.high))
    groups = np.arange(24) // 5
    fast = bootstrap_interval(DICE, resamples=500, groups=groups)
    slow = bootstrap_interval(
        DICE, resamples=500, groups=groups, statistic=lambda v, axis: np.sum(v, axis) / v.shape[axis]
    )
    assert (slow.low, slow.high) == pytest.approx((fast.low, fast.high))


def test_each_column_leaves_out_its_own_missing_images():
    table = {"dice": [0.5, 0.7, NAN, 0.9], "iou": [0.4, None, 0.6, 0.8], "hd95": [1.0, 2.0, 3.0, 4.0]}
    found = mean_intervals(table)
    assert {name: (i.value, i.n) for name, i in found.items()} == {
        "dice": (pytest.approx(0.7), 3),
        "iou": (pytest.approx(0.6), 3),
        "hd95": (2.5, 4),
    }
    for name, interval in found.items():
        alone = bootstrap_interval([v for v in table[name] if v is not None and not math.isnan(v)])
        assert (interval.low, interval.high) == pytest.approx((alone.low, alone.high))
        assert interval.low < interval.value < interval.high


def test_a_data_frame_is_a_table():
    frame = pd.DataFrame({"dice": DICE, "ap": np.where(DICE > 0.9, NAN, DICE)})
    assert mean_intervals(frame) == mean_intervals({"dice": DICE.tolist(), "ap": frame["ap"].tolist()})
    gaps = pd.DataFrame({"ap": pd.array([0.25, None, 0.75], "Float64"), "found": [True, False, True]})
    assert {name: i.value for name, i in mean_intervals(gaps).items()} == {"ap": 0.5, "found": pytest.approx(2 / 3)}


def test_the_same_seed_gives_the_same_interval():
    assert bootstrap_interval(DICE, seed=4) == bootstrap_interval(DICE, seed=4)
    assert bootstrap_interval(DICE, seed=4) != bootstrap_interval(DICE, seed=5)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], Interval(NAN, NAN, NAN, 0, "No image has a number.")),
        ([NAN, NAN], Interval(NAN, NAN, NAN, 0, "No image has a number.")),
        ([0.8, NAN], Interval(0.8, NAN, NAN, 1, "One image has no confidence interval.")),
        ([0.75, 0.75, 0.75], Interval(0.75, 0.75, 0.75, 3)),
        ([0.0, 0.0], Interval(0.0, 0.0, 0.0, 2)),
        ([1.0, math.inf], Interval(math.inf, NAN, NAN, 2, "A value is infinite: there is no confidence interval.")),
    ],
)
@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_few_or_equal_values(values, expected, method):
    found = bootstrap_interval(values, method=method)
    assert str(found) == str(expected)
    assert all(v is None or isinstance(v, str) or math.isfinite(v) for v in found.to_dict().values())


def test_two_images_have_an_interval_between_them():
    for method in ("percentile", "bca"):
        found = bootstrap_interval([0.4, 0.8], method=method)
        assert (found.low, found.high) == pytest.approx((0.4, 0.8))


def test_one_infinite_column_leaves_the_others_alone():
    found = mean_intervals({"a": [1.0, 2.0, math.inf], "b": [1.0, 2.0, 4.0]})
    assert found["b"] == bootstrap_interval([1.0, 2.0, 4.0])


def test_groups_are_drawn_whole():
    # Two animals with all values alike: the mean of a draw is one of three, with 1/4, 1/2 and 1/4 of the draws.
    values, animals = [0.2] * 6 + [0.8] * 2, ["a"] * 6 + ["b"] * 2
    found = bootstrap_interval(values, groups=animals, method="percentile")
    assert (found.value, found.low, found.high) == pytest.approx(((6 * 0.2 + 2 * 0.8) / 8, 0.2, 0.8))
    middle = bootstrap_interval(values, groups=animals, method="percentile", confidence=0.4)
    assert (middle.low, middle.high) == pytest.approx((0.35, 0.35))


def test_images_of_a_group_that_are_alike_count_as_one():
    rng = np.random.default_rng(0)
    animals = np.repeat(np.arange(12), 8)
    values = rng.normal(0, 1, 12)[animals] + rng.normal(0, 0.01, 96)
    alone = bootstrap_interval(values)
    grouped = bootstrap_interval(values, groups=animals)
    # The standard error is larger by about the root of 8.
    assert (grouped.high - grouped.low) / (alone.high - alone.low) == pytest.approx(math.sqrt(8), rel=0.2)
    single = bootstrap_interval(values[::8])
    assert (grouped.low, grouped.high) == pytest.approx((single.low, single.high), abs=0.05)


def test_groups_of_one_image_are_images():
    assert bootstrap_interval(DICE, groups=[f"animal {i}" for i in range(24)]) == bootstrap_interval(DICE)


def test_one_group_has_no_interval():
    found = bootstrap_interval([0.1, 0.5], groups=["a", "a"])
    assert (found.value, found.n, found.note) == (0.3, 2, "Images of one group have no confidence interval.")
    # The images of the second group have no number.
    assert "one group" in bootstrap_interval([0.1, 0.5, NAN], groups=["a", "a", "b"]).note


def test_intervals_hold_the_true_mean_about_as_often_as_they_say():
    rng = np.random.default_rng(0)
    samples = rng.beta(8, 1.5, (30, 400))
    found = mean_intervals({str(k): samples[:, k] for k in range(400)}, resamples=1000)
    held = np.mean([i.low <= 8 / 9.5 <= i.high for i in found.values()])
    assert 0.90 < held < 0.975


def test_blocks_add_up(monkeypatch):
    counts = same_draws(7, 50)
    assert counts.shape == (50, 7)
    assert (counts.sum(axis=1) == 7).all()
    monkeypatch.setattr(bootstrap, "_BLOCK", 21)
    blocks = list(draw_counts(7, 50, 0))
    assert [len(block) for block in blocks] == [3] * 16 + [2]


def test_what_is_no_table_is_refused():
    with pytest.raises(DataError, match=r"Column 'image': \['a', 'b'\] are no numbers"):
        mean_intervals({"dice": [0.1, 0.2], "image": ["a", "b"]})
    with pytest.raises(DataError, match="are no numbers"):
        mean_intervals({"image": ["001", "002"]})
    with pytest.raises(DataError, match="are no numbers"):
        mean_intervals({"image": [None, "002"]})
    with pytest.raises(DataError, match="are no numbers"):
        mean_intervals({"date": pd.to_datetime(["2024-01-01", "2024-01-02"])})
    with pytest.raises(DataError, match="are no numbers"):
        mean_intervals({"ragged": [[1], [1, 2]]})
    with pytest.raises(DataError, match="different lengths: 'a' 1, 'b' 2"):
        mean_intervals({"a": [1], "b": [1, 2]})
    with pytest.raises(DataError, match="no columns"):
        mean_intervals({})
    with pytest.raises(DataError, match="2 groups for 3 images"):
        bootstrap_interval([1, 2, 3], groups=["a", "b"])
    with pytest.raises(DataError, match="Row 2 has no group"):
        bootstrap_interval([1, 2, 3], groups=["a", None, "b"])
    with pytest.raises(ConfigError, match="bootstrap method called 'bcaa'"):
        bootstrap_interval([1, 2], method="bcaa")
    with pytest.raises(ConfigError, match="confidence = 95"):
        bootstrap_interval([1, 2], confidence=95)
    with pytest.raises(ConfigError, match="resamples = 0"):
        bootstrap_interval([1, 2], resamples=0)
