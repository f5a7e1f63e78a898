"""Models are ranked as challenges do it, and annotators are the ceiling."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from sklearn.metrics import f1_score
from statsmodels.stats.multitest import multipletests

from napari_segnet.errors import ConfigError, DataError
from napari_segnet.evaluation.annotators import annotator_ceiling, annotator_dice, mean_dice
from napari_segnet.evaluation.bootstrap import bootstrap_interval, draw_counts
from napari_segnet.evaluation.ranking import rank_models
from napari_segnet.evaluation.ranks import mean_tau

NAN = math.nan


def scores_of_four(n=20, seed=0):
    rng = np.random.default_rng(seed)
    difficulty = rng.normal(0, 0.05, n)
    means = {"unet": 0.80, "forest": 0.70, "unet3plus": 0.81, "threshold": 0.5}
    return {name: mean + difficulty + rng.normal(0, 0.02, n) for name, mean in means.items()}


def test_the_best_mean_is_first():
    table = scores_of_four()
    found = rank_models(table)
    expected = sorted(table, key=lambda name: -table[name].mean())
    assert [model.name for model in found.models] == expected
    assert [model.rank for model in found.models] == [1, 2, 3, 4]
    for model in found.models:
        alone = bootstrap_interval(table[model.name], resamples=2000)
        assert (model.score, model.low, model.high) == pytest.approx((alone.value, alone.low, alone.high))
    ranks = stats.rankdata(-np.stack([table[name] for name in expected]), axis=0).mean(axis=1)
    assert [model.mean_rank for model in found.models] == pytest.approx(ranks.tolist())


def test_distances_are_ranked_the_other_way_round():
    table = scores_of_four()
    found = rank_models({name: 1 - scores for name, scores in table.items()}, higher_is_better=False)
    same = rank_models(table)
    assert [m.name for m in found.models] == [m.name for m in same.models]
    assert [(p.wins, p.losses) for p in found.pairs] == [(p.wins, p.losses) for p in same.pairs]
    assert [p.difference for p in found.pairs] == pytest.approx([-p.difference for p in same.pairs])
    assert found.stability == pytest.approx(same.stability)


def test_tests_are_those_of_scipy_and_statsmodels():
    table = scores_of_four()
    found = rank_models(table)
    theirs = stats.friedmanchisquare(*table.values())
    assert (found.friedman, found.friedman_p) == pytest.approx((theirs.statistic, theirs.pvalue))
    # Kendall's W from sums of ranks: 12 S / (n^2 (k^3 - k)).
    sums = stats.rankdata(np.stack(list(table.values()), axis=1), axis=1).sum(axis=0)
    w = 12 * ((sums - sums.mean()) ** 2).sum() / (20**2 * (4**3 - 4))
    assert found.kendall_w == pytest.approx(w)
    p = [stats.wilcoxon(table[pair.first], table[pair.second]).pvalue for pair in found.pairs]
    assert [pair.p for pair in found.pairs] == pytest.approx(p)
    assert [pair.p_holm for pair in found.pairs] == pytest.approx(multipletests(p, method="holm")[1].tolist())
    for pair in found.pairs:
        differences = table[pair.first] - table[pair.second]
        assert (pair.wins, pair.losses, pair.ties) == ((differences > 0).sum(), (differences < 0).sum(), 0)
        assert pair.difference == pytest.approx(differences.mean())
        assert pair.low < pair.difference < pair.high


@pytest.mark.parametrize("by", ["mean", "median", "mean rank"])
def test_stability_is_that_of_rankings_made_anew_in_each_draw(by):
    table = scores_of_four(9)
    scores = np.stack(list(table.values()), axis=1)
    found = rank_models(table, by=by, resamples=60, seed=2)
    counts = np.concatenate(list(draw_counts(9, 60, 2))).astype(int)

    def aggregated(rows):
        if by == "mean rank":
            return -stats.rankdata(-scores, axis=1)[rows].mean(axis=0)
        return (np.mean if by == "mean" else np.median)(scores[rows], axis=0)

    whole = aggregated(np.arange(9))
    draws = [aggregated(np.repeat(np.arange(9), row)) for row in counts]
    taus = [stats.kendalltau(whole, draw).statistic for draw in draws]
    assert found.stability == pytest.approx(np.mean(taus))
    places = np.array([stats.rankdata(-np.round(draw, 12), method="min") for draw in draws])
    for model in found.models:
        mine = places[:, list(table).index(model.name)]
        assert model.first_share == pytest.approx(np.mean(mine == 1))
        assert (model.rank_low, model.rank_high) == tuple(np.quantile(mine, [0.025, 0.975], method="nearest"))


@settings(max_examples=60, deadline=None)
@given(arrays(float, (5, 4), elements=st.sampled_from([1.0, 2.0, 2.5, 4.0])))
def test_tau_is_that_of_scipy(drawn):
    ranks = np.array([1.0, 2.5, 2.5, 4.0])
    taus = [stats.kendalltau(ranks, row).statistic for row in drawn]
    expected = np.nanmean(taus) if np.isfinite(taus).any() else NAN
    assert mean_tau(ranks, drawn) == pytest.approx(expected, nan_ok=True)


def test_a_clear_winner_is_stable_and_told_apart():
    found = rank_models({"good": np.linspace(0.8, 0.9, 12), "bad": np.linspace(0.5, 0.6, 12), "ugly": np.zeros(12)})
    assert (found.stability, found.kendall_w) == (1, pytest.approx(1))
    best = found.models[0]
    assert (best.name, best.rank_low, best.rank_high, best.first_share) == ("good", 1, 1, 1)
    assert found.not_worse_than_best() == ("good",)
    # All 12 differences have one sign.
    assert found.pairs[0].p == pytest.approx(2 / 2**12)
    assert found.pairs[0].p_holm == pytest.approx(3 * 2 / 2**12)
    rows = found.table()
    assert [row["p_holm"] for row in rows] == [None, pytest.approx(6 / 2**12), pytest.approx(6 / 2**12)]
    json.dumps(found.to_dict(), allow_nan=False)


def test_two_that_are_alike_are_not_told_apart():
    table = scores_of_four()
    found = rank_models(table)
    assert set(found.not_worse_than_best(1e-9)) >= {"unet", "unet3plus"}
    assert "threshold" not in found.not_worse_than_best()


def test_level_models_share_the_better_rank():
    scores = np.random.default_rng(0).random(11)
    found = rank_models({"a": scores, "b": scores, "c": scores - 1})
    assert [(m.name, m.rank, m.mean_rank) for m in found.models] == [("a", 1, 1.5), ("b", 1, 1.5), ("c", 3, 3)]
    assert found.models[1].first_share == 1
    pair = found.pairs[0]
    assert (pair.p, pair.ties, pair.difference, pair.rank_biserial) == (1, 11, 0, 0)
    same = rank_models({"a": scores, "b": scores, "c": scores})
    assert math.isnan(same.stability)
    assert math.isnan(same.friedman)
    assert "All models are level: there is no ranking to be stable." in same.notes


def test_rounding_puts_nobody_first():
    found = rank_models({"a": [0.3, 0.6, 0.5], "b": [0.1 * 3, 0.2 * 3, 0.5]})
    assert [model.rank for model in found.models] == [1, 1]
    assert (found.pairs[0].ties, found.pairs[0].p) == (3, 1)


def test_ways_to_rank_may_differ():
    table = {"steady": [0.7, 0.7, 0.7, 0.7, 0.7], "bold": [0.8, 0.8, 0.8, 0.1, 0.75]}
    assert rank_models(table).models[0].name == "steady"
    assert rank_models(table, by="median").models[0].name == "bold"
    assert rank_models(table, by="mean rank").models[0].name == "bold"
    assert rank_models(table, by="median").models[0].score == 0.8


def test_missing_scores_leave_images_out_or_count_as_told():
    table = pd.DataFrame({"a": [0.9, NAN, 0.8, 0.7], "b": [0.5, 0.6, 0.4, None]})
    found = rank_models(table)
    assert found.images == 2
    assert found.notes[0] == "2 images of 4 left out: a score is missing."
    assert found.models[0].score == pytest.approx(0.85)
    counted = rank_models(table, missing=0)
    assert (counted.images, counted.notes[0]) == (4, "2 missing scores counted as 0.")
    assert counted.models[0].score == pytest.approx((0.9 + 0 + 0.8 + 0.7) / 4)


def test_images_of_a_group_are_one_row():
    found = rank_models({"a": [1, 3, 5, NAN], "b": [0, 0, 1, 9]}, groups=["x", "x", "y", "y"])
    assert found.images == 2
    assert {m.name: m.score for m in found.models} == {"a": pytest.approx(3.5), "b": pytest.approx(0.5)}
    assert "3 images in 2 groups: means of groups are compared." in found.notes


def test_one_image_and_two_models():
    found = rank_models({"a": [0.5], "b": [0.7]})
    assert [m.name for m in found.models] == ["b", "a"]
    assert math.isnan(found.stability)
    assert math.isnan(found.models[0].rank_low)
    assert found.notes == (
        "One image: no intervals, and no stability.",
        "Two models: Friedman's test needs three.",
    )
    assert found.pairs[0].notes == ("With 1 difference p can't be below 1.",)


def test_what_cannot_be_ranked_is_refused():
    with pytest.raises(DataError, match="only 'a' to rank"):
        rank_models({"a": [1, 2]})
    with pytest.raises(DataError, match="'b' has an infinite score"):
        rank_models({"a": [1, 2], "b": [1, math.inf]})
    with pytest.raises(DataError, match="no image for which all models"):
        rank_models({"a": [1, NAN], "b": [NAN, 1]})
    with pytest.raises(ConfigError, match="way to rank called 'men'"):
        rank_models({"a": [1], "b": [2]}, by="men")
    with pytest.raises(ConfigError, match="missing = nan"):
        rank_models({"a": [1], "b": [2]}, missing=NAN)
    with pytest.raises(ConfigError, match="resamples = 0"):
        rank_models({"a": [1], "b": [2]}, resamples=0)


labels = arrays("uint8", (4, 5), elements=st.integers(0, 3))


@settings(max_examples=60, deadline=None)
@given(labels, labels)
def test_dice_of_a_pair_is_that_of_scikit_learn(a, b):
    values = sorted({*a.flat, *b.flat} - {0})
    expected = np.mean(f1_score(a.ravel(), b.ravel(), labels=values, average=None)) if values else NAN
    assert mean_dice(a, b) == pytest.approx(expected, nan_ok=True)


def row(*spans):
    """Return a row of 20 pixels with ones in a span."""
    line = np.zeros((1, 20), np.uint8)
    for start, stop in spans:
        line[0, start:stop] = 1
    return line


def test_annotators_are_the_ceiling():
    first = annotator_dice(row((0, 10)), {"Ada": row((0, 8)), "Bo": row((2, 10))})
    assert first == {
        ("prediction", "Ada"): pytest.approx(16 / 18),
        ("prediction", "Bo"): pytest.approx(16 / 18),
        ("Ada", "Bo"): pytest.approx(12 / 16),
    }
    second = annotator_dice(row((0, 2)), {"Ada": row((0, 4)), "Bo": row((0, 4))})
    found = annotator_ceiling([first, second])
    assert found.images == 2
    assert found.between.value == pytest.approx((12 / 16 + 1) / 2)
    assert found.prediction.value == pytest.approx((16 / 18 + 4 / 6) / 2)
    assert found.share.value == pytest.approx((16 / 18 + 4 / 6) / (12 / 16 + 1))
    # Draws are of the first, the second, or both.
    assert (found.share.low, found.share.high) == pytest.approx(((4 / 6) / 1, (16 / 18) / (12 / 16)))
    assert found.pairs["Ada - Bo"].value == found.between.value
    assert set(found.pairs) == {"prediction - Ada", "prediction - Bo", "Ada - Bo"}
    json.dumps(found.to_dict(), allow_nan=False)


def test_shares_of_groups_are_those_of_groups_drawn_whole():
    image = annotator_dice(row((0, 10)), {"a": row((0, 8)), "b": row((2, 10))})
    other = annotator_dice(row((0, 2)), {"a": row((0, 4)), "b": row((0, 4))})
    found = annotator_ceiling([image, image, image, other], groups=["x", "x", "x", "y"])
    assert found.share.value == pytest.approx((3 * 16 / 18 + 4 / 6) / (3 * 12 / 16 + 1))
    assert (found.share.low, found.share.high) == pytest.approx((4 / 6, (16 / 18) / (12 / 16)))


def test_three_annotators_have_three_pairs_and_some_may_miss():
    three = annotator_dice(row((0, 4)), {"a": row((0, 4)), "b": row((0, 4)), "c": row((2, 4))})
    assert len(three) == 6
    two = annotator_dice(row((0, 4)), {"a": row((0, 4)), "b": row((4, 8))})
    found = annotator_ceiling([three, two])
    assert found.pairs["a - c"].n == 1
    assert found.between.value == pytest.approx(((1 + 2 * 4 / 6) / 3 + 0) / 2)
    assert found.prediction.value == pytest.approx(((2 + 4 / 6) / 3 + 1 / 2) / 2)


def test_images_without_the_class_have_no_share():
    nothing = row()
    empty = annotator_dice(nothing, {"a": nothing, "b": nothing})
    assert all(math.isnan(dice) for dice in empty.values())
    assert annotator_ceiling([empty]).share.note == "No image has a number."
    apart = annotator_dice(nothing, {"a": row((0, 2)), "b": row((5, 9))})
    found = annotator_ceiling([apart])
    assert (found.between.value, found.prediction.value) == (0, 0)
    assert found.share.note == "Annotators have nothing in common."
    whole = annotator_dice(row((0, 2)), {"a": row((0, 2)), "b": row((0, 2))})
    both = annotator_ceiling([whole, empty])
    assert (both.share.value, both.share.n, both.between.n) == (1, 1, 1)
    assert math.isnan(both.share.low)
    assert annotator_dice(row((0, 2)), {"a": row((0, 2)), "b": row((0, 2))}, values=[1])[("a", "b")] == 1
    # Where nobody but the prediction sees anything, it has a Dice of 0, but there is no ceiling to compare it with.
    invented = annotator_ceiling([whole, annotator_dice(row((0, 2)), {"a": nothing, "b": nothing})])
    assert (invented.prediction.value, invented.share.value, invented.share.n) == (0.5, 1, 1)


def test_what_has_no_ceiling_is_refused():
    with pytest.raises(DataError, match="a ceiling needs two"):
        annotator_dice(row(), {"a": row()})
    with pytest.raises(DataError, match="called 'prediction'"):
        annotator_dice(row(), {"a": row(), "prediction": row()})
    with pytest.raises(DataError, match=r"shape \(1, 20\), the reference \(20, 1\)"):
        annotator_dice(row(), {"a": row().T, "b": row().T})
    with pytest.raises(DataError, match="no images"):
        annotator_ceiling([])
