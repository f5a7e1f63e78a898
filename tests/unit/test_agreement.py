"""Agreement statistics are those of SciPy, statsmodels, pingouin, and of published examples."""

import json
import math
import warnings

import numpy as np
import pandas as pd
import pingouin
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from napari_segnet.errors import ConfigError, DataError
from napari_segnet.evaluation.agreement import measure_agreement
from napari_segnet.evaluation.bland_altman import bland_altman
from napari_segnet.evaluation.correlation import intraclass_correlations, pearson
from napari_segnet.evaluation.paired_tests import hedges_correction, holm, paired_t_test, wilcoxon
from napari_segnet.evaluation.regression import deming, least_squares

# Shrout and Fleiss 1979, table 2: six targets, four judges.
JUDGES = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
FORMS = ["ICC(1,1)", "ICC(2,1)", "ICC(3,1)", "ICC(1,k)", "ICC(2,k)", "ICC(3,k)"]
NAN = math.nan


def made_up(n, seed=0, bias=3.0):
    rng = np.random.default_rng(seed)
    reference = rng.uniform(50, 200, n)
    return reference + bias + rng.normal(0, 8, n), reference


def test_bias_and_limits_of_a_case_done_by_hand():
    found = bland_altman([12, 9, 14, 9], [10, 10, 10, 10])
    # Differences 2, -1, 4, -1: mean 1, squared deviations 1 + 4 + 9 + 4.
    sd = math.sqrt(18 / 3)
    assert (found.n, found.bias, found.sd) == (4, 1, pytest.approx(sd))
    assert (found.lower, found.upper) == pytest.approx((1 - 1.959964 * sd, 1 + 1.959964 * sd))
    # Student's t of 3 degrees of freedom at 97.5 % is 3.18245.
    assert (found.bias_low, found.bias_high) == pytest.approx((1 - 3.18245 * sd / 2, 1 + 3.18245 * sd / 2), rel=1e-5)
    assert found.differences == (2, -1, 4, -1)
    assert found.means == (11, 9.5, 12, 9.5)


def test_percents_are_of_the_mean_of_both():
    found = bland_altman([11, 0, 0, 5, 6], [9, 0, 4, 5, 2], percent=True)
    assert found.differences == pytest.approx((20, 0, -200, 0, 100))
    assert found.percent
    assert found.bias == pytest.approx(-16)


def test_approximate_limits_have_the_interval_of_bland_and_altman():
    found = bland_altman(*made_up(20), interval="approximate")
    reach = stats.t.ppf(0.975, 19) * found.sd * math.sqrt(1 / 20 + 1.96**2 / (2 * 19))
    assert found.upper_high - found.upper == pytest.approx(reach, rel=1e-4)
    assert found.lower - found.lower_low == pytest.approx(reach, rel=1e-4)


@pytest.mark.parametrize(("n", "factor"), [(10, 2.911), (20, 2.396), (50, 2.065), (100, 1.927)])
def test_exact_limits_have_the_factors_of_tolerance_tables(n, factor):
    # One-sided tolerance factors of a normal distribution, 95 % of it with a confidence of 95 %.
    found = bland_altman(*made_up(n), share=0.9, confidence=0.9)
    assert (found.upper_high - found.bias) / found.sd == pytest.approx(factor, abs=6e-4)
    assert (found.bias - found.lower_low) / found.sd == pytest.approx(factor, abs=6e-4)


def test_exact_limits_hold_the_true_limit_as_often_as_they_say():
    draws = np.random.default_rng(0).normal(0, 1, (600, 6))
    found = [bland_altman(differences, np.zeros(6)) for differences in draws]
    assert np.mean([b.upper_low <= 1.959964 <= b.upper_high for b in found]) == pytest.approx(0.95, abs=0.025)


def test_with_many_images_exact_and_approximate_limits_agree():
    exact, about = (bland_altman(*made_up(20_000), interval=name) for name in ("exact", "approximate"))
    for name in ("lower_low", "lower_high", "upper_low", "upper_high"):
        assert getattr(exact, name) == pytest.approx(getattr(about, name), abs=2e-3 * exact.sd)


def test_differences_that_grow_are_a_trend():
    _, reference = made_up(30)
    found = bland_altman(1.2 * reference, reference)
    # d = 0.2 r over m = 1.1 r.
    assert found.trend.slope == pytest.approx(0.2 / 1.1)
    assert found.trend.p < 1e-6
    assert bland_altman(reference + 5, reference).trend.slope == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("n", [4, 7, 40])
def test_pearson_is_that_of_scipy(n):
    y, x = made_up(n)
    found, theirs = pearson(y, x), stats.pearsonr(y, x)
    interval = theirs.confidence_interval(0.95)
    assert (found.r, found.p) == pytest.approx((theirs.statistic, theirs.pvalue))
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


def test_pearson_of_three_and_of_a_line():
    found = pearson([1, 2, 4], [1, 3, 4])
    assert (found.low, found.high) == (-1, 1)
    assert found.r == pytest.approx(stats.pearsonr([1, 2, 4], [1, 3, 4]).statistic)
    exact = pearson([2, 4, 6, 8.5], [-1, -2, -3, -4.25])
    assert (exact.r, exact.low, exact.high, exact.p) == (-1, -1, -1, 0)


def test_the_intraclass_correlations_of_shrout_and_fleiss():
    found = intraclass_correlations(JUDGES)
    assert list(found) == FORMS
    assert [round(found[form].value, 2) for form in FORMS] == [0.17, 0.29, 0.71, 0.44, 0.62, 0.91]


@pytest.mark.filterwarnings("ignore:The inplace keyword")
@pytest.mark.parametrize(("n", "raters", "seed"), [(5, 2, 0), (12, 2, 1), (30, 4, 2), (8, 3, 3)])
def test_intraclass_correlations_are_those_of_pingouin(n, raters, seed, monkeypatch):
    monkeypatch.setitem(pingouin.options, "round", None)
    monkeypatch.setitem(pingouin.options, "round.column.CI95", None)
    rng = np.random.default_rng(seed)
    table = rng.normal(0, 3, (n, 1)) + rng.normal(0, 1, (1, raters)) + rng.normal(0, 1.5, (n, raters))
    long = pd.DataFrame([(i, j, table[i, j]) for i in range(n) for j in range(raters)], columns=["image", "rater", "v"])
    theirs = pingouin.intraclass_corr(long, "image", "rater", "v")
    found = intraclass_correlations(table)
    for form, (_, row) in zip(FORMS, theirs.iterrows(), strict=True):
        ours = found[form]
        assert ours.value == pytest.approx(row["ICC"])
        assert (ours.f, ours.df1, ours.df2) == (pytest.approx(row["F"]), row["df1"], row["df2"])
        assert ours.p == pytest.approx(row["pval"])
        assert [ours.low, ours.high] == pytest.approx(list(row["CI95"]))


def test_raters_that_agree_or_differ_by_a_constant():
    values = np.array([3.0, 5, 8, 13])
    same = intraclass_correlations(np.stack([values, values], axis=1))
    assert {(icc.value, icc.low, icc.high, icc.p) for icc in same.values()} == {(1, 1, 1, 0)}
    shifted = intraclass_correlations(np.stack([values, values + 2], axis=1))
    assert shifted["ICC(3,1)"].value == 1
    # Mean squares: between 2 x 18.9167, raters 8, rest 0.
    assert shifted["ICC(2,1)"].value == pytest.approx(37.8333 / (37.8333 + 2 * 8 / 4), rel=1e-4)


def test_images_that_are_all_alike_have_no_consistency():
    found = intraclass_correlations([[1, 2], [1, 2], [1, 2]])
    assert math.isnan(found["ICC(3,1)"].value)
    assert (found["ICC(1,1)"].value, found["ICC(2,1)"].value) == (-1, 0)
    assert found["ICC(3,1)"].notes == ("The images have all the same mean.",)


@pytest.mark.parametrize("n", [2, 3, 15])
def test_the_paired_t_test_is_that_of_scipy_and_pingouin(n):
    y, x = made_up(n, seed=n)
    found, theirs = paired_t_test(y, x), stats.ttest_rel(y, x)
    interval = theirs.confidence_interval(0.95)
    assert (found.t, found.df, found.p) == pytest.approx((theirs.statistic, theirs.df, theirs.pvalue))
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.cohen_dz == pytest.approx(pingouin.compute_effsize(y - x, 0, eftype="cohen"))


@pytest.mark.parametrize("df", [2, 3, 9, 40])
def test_hedges_correction_makes_effects_unbiased(df):
    # The mean of the effect size is the mean of a noncentral t by the root of n: its factor has to be undone.
    n = df + 1
    mean = stats.nct.mean(df, 0.8 * math.sqrt(n)) / math.sqrt(n)
    assert hedges_correction(df) * mean == pytest.approx(0.8)
    assert hedges_correction(df) == pytest.approx(1 - 3 / (4 * df - 1), abs=0.01)
    assert math.isnan(hedges_correction(1))


@pytest.mark.parametrize("n", [1, 2, 6, 13, 30, 50])
def test_wilcoxon_is_exact_as_scipys(n):
    y, x = made_up(n, seed=n, bias=2)
    found, theirs = wilcoxon(y, x), stats.wilcoxon(y, x, mode="exact")
    assert found.method == "exact"
    assert found.p == pytest.approx(theirs.pvalue)
    assert min(found.positive, found.negative) == theirs.statistic


def test_wilcoxon_of_many_is_scipys_approximation():
    rng = np.random.default_rng(0)
    y, x = rng.integers(0, 9, (2, 80))
    found = wilcoxon(y, x)
    theirs = stats.wilcoxon(y, x, zero_method="wilcox", correction=False, mode="approx")
    assert (found.method, found.zeros) == ("normal", int((x == y).sum()))
    assert found.p == pytest.approx(theirs.pvalue)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-4, 4), min_size=1, max_size=9).filter(any))
def test_wilcoxon_with_ties_counts_all_signs(differences):
    found = wilcoxon(differences, [0] * len(differences))
    moved = np.array([d for d in differences if d])
    ranks = stats.rankdata(np.abs(moved))
    signs = (np.arange(2 ** len(moved))[:, None] >> np.arange(len(moved))) & 1
    sums = signs @ ranks
    observed = ranks[moved > 0].sum()
    p = min(1, 2 * min(np.mean(sums <= observed), np.mean(sums >= observed)))
    assert found.p == pytest.approx(p)
    assert (found.positive, found.zeros) == (observed, differences.count(0))
    if len(moved) > 1:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = pingouin.wilcoxon(moved.astype(float), np.zeros(len(moved)))
        assert found.rank_biserial == pytest.approx(float(theirs["RBC"].iloc[0]))


def test_small_samples_are_told_how_low_p_can_be():
    found = wilcoxon([2, 3, 4, 5, 6], [1, 1, 1, 1, 1])
    assert (found.p, found.rank_biserial) == (0.0625, 1)
    assert found.notes == ("With 5 differences p can't be below 0.0625.",)
    assert wilcoxon([2, 3, 4, 5, 6, 7], [1] * 6).notes == ()


@pytest.mark.parametrize("n", [1, 2, 5, 12])
def test_holm_is_that_of_statsmodels(n):
    p_values = np.random.default_rng(n).choice([0.0, 0.001, 0.01, 0.02, 0.2, 1.0], n)
    np.testing.assert_allclose(holm(p_values), multipletests(p_values, method="holm")[1], atol=1e-12)


def test_holm_leaves_out_what_was_not_tested():
    np.testing.assert_allclose(holm([0.01, NAN, 0.04]), [0.02, NAN, 0.04])
    assert holm([]).size == 0


@pytest.mark.parametrize("n", [3, 12, 200])
def test_least_squares_are_those_of_statsmodels(n):
    y, x = made_up(n)
    found, theirs = least_squares(y, x), sm.OLS(y, sm.add_constant(x)).fit()
    low, high = theirs.conf_int(0.05).T
    assert (found.intercept, found.slope) == pytest.approx(theirs.params)
    assert (found.intercept_low, found.slope_low) == pytest.approx(low)
    assert (found.intercept_high, found.slope_high) == pytest.approx(high)
    assert (found.r_squared, found.p) == pytest.approx((theirs.rsquared, theirs.pvalues[1]))
    assert found.residual_sd == pytest.approx(math.sqrt(theirs.mse_resid))


@pytest.mark.parametrize("ratio", [0.25, 1.0, 4.0])
def test_deming_is_orthogonal_distance_regression(ratio):
    y, x = made_up(25)
    found = deming(y, x, ratio)
    # The first principal axis, after the errors are made alike.
    scaled = np.stack([x * math.sqrt(ratio), y], axis=1)
    axis = np.linalg.svd(scaled - scaled.mean(axis=0))[2][0]
    assert found.slope == pytest.approx(axis[1] / axis[0] * math.sqrt(ratio))
    assert found.intercept == pytest.approx(y.mean() - found.slope * x.mean())


def test_demings_interval_is_the_jackknifes():
    y, x = made_up(9)
    found = deming(y, x, 2.0)
    without = [deming(np.delete(y, i), np.delete(x, i), 2.0) for i in range(9)]
    for name in ("slope", "intercept"):
        whole = getattr(found, name)
        pseudo = [9 * whole - 8 * getattr(line, name) for line in without]
        reach = stats.t.ppf(0.975, 7) * np.std(pseudo, ddof=1) / 3
        assert getattr(found, f"{name}_low") == pytest.approx(whole - reach)
        assert getattr(found, f"{name}_high") == pytest.approx(whole + reach)


def test_deming_does_not_care_which_side_is_which():
    y, x = made_up(30)
    assert deming(x, y).slope == pytest.approx(1 / deming(y, x).slope)
    assert least_squares(x, y).slope < 1 / least_squares(y, x).slope
    assert deming(-y, x).slope == pytest.approx(-deming(y, x).slope)


def test_exact_pairs_have_exact_lines():
    for fit in (least_squares, deming):
        found = fit([5, 7, 9, 13], [1, 2, 3, 5])
        assert [found.slope, found.slope_low, found.slope_high] == pytest.approx([2, 2, 2])
        assert [found.intercept, found.intercept_low, found.intercept_high] == pytest.approx([3, 3, 3])
        flat = fit([4, 4, 4], [1, 2, 3])
        assert (flat.slope, flat.intercept) == (0, 4)
    assert (least_squares([4, 4, 4], [1, 2, 3]).p, least_squares([5, 7, 9], [1, 2, 3]).p) == (1, 0)


@pytest.mark.parametrize(
    ("predicted", "reference", "words"),
    [
        ([], [], "There are no images."),
        ([3], [2], "One image: there is no standard deviation."),
        ([3, 4], [2, 5], "2 images: at least 3 are needed."),
        ([3, 4, 5], [2, 2, 2], "All values of the reference are 2: no line."),
        ([3, 3, 3], [1, 2, 5], "All values of the prediction are 3: no correlation."),
        ([3, 4, 6], [2, 3, 5], "All differences are 1: without a spread there is no test."),
        ([3, 4, 6], [3, 4, 6], "All differences are 0."),
        ([0, 0, 0], [0, 0, 0], "All values are 0: no correlation."),
        ([NAN, 4, 6, 8], [2, 5, 5, 9], "1 pair of 4 left out: a value is missing."),
    ],
)
def test_what_cannot_be_said_is_said_in_words(predicted, reference, words):
    found = measure_agreement(predicted, reference)
    assert words in found.notes
    text = json.dumps(found.to_dict(), allow_nan=False)
    assert json.loads(text)["n"] == len([p for p in predicted if not math.isnan(p)])


def test_nothing_to_tell_apart():
    found = measure_agreement([3, 4, 6], [3, 4, 6])
    assert (found.bland_altman.bias, found.bland_altman.sd, found.bland_altman.upper_high) == (0, 0, 0)
    assert (found.t_test.p, found.wilcoxon.p, found.wilcoxon.rank_biserial) == (1, 1, 0)
    assert (found.correlation.r, found.icc["ICC(2,1)"].value, found.deming.slope) == (1, 1, pytest.approx(1))


def test_two_images_have_limits_but_no_line():
    found = measure_agreement([3, 4], [2, 5])
    # Differences 1 and -1.
    assert (found.bland_altman.bias, found.bland_altman.sd) == (0, pytest.approx(math.sqrt(2)))
    assert (found.t_test.p, found.t_test.df) == (1, 1)
    for number in (found.correlation.r, found.least_squares.slope, found.deming.slope, found.icc["ICC(1,1)"].value):
        assert math.isnan(number)


def test_rounding_is_no_difference():
    reference = np.array([0.1, 0.2, 0.3]) * 3
    predicted = np.array([0.3, 0.6, 0.9])
    assert (predicted != reference).any()
    found = measure_agreement(predicted, reference)
    assert (found.t_test.p, found.wilcoxon.p) == (1, 1)
    shifted = measure_agreement(reference + 1000.1, reference)
    assert shifted.bland_altman.sd == 0
    assert math.isnan(shifted.t_test.p)


def test_everything_together():
    y, x = made_up(30)
    found = measure_agreement(y, x)
    assert found.bland_altman == bland_altman(y, x)
    assert found.bland_altman_percent == bland_altman(y, x, percent=True)
    assert found.correlation == pearson(y, x)
    assert found.icc == intraclass_correlations(np.stack([y, x], axis=1))
    assert found.wilcoxon == wilcoxon(y, x)
    assert found.notes == ()
    assert measure_agreement(y - 500, x).bland_altman_percent is None


def test_a_bias_is_seen_by_agreement_and_not_by_correlation():
    _, x = made_up(30)
    found = measure_agreement(1.5 * x, x)
    assert (found.correlation.r, found.least_squares.slope) == (1, pytest.approx(1.5))
    assert found.icc["ICC(2,1)"].value < 0.75
    assert found.bland_altman_percent.bias == pytest.approx(40)


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(DataError, match="3 predicted values and 2 of the reference"):
        measure_agreement([1, 2, 3], [1, 2])
    with pytest.raises(DataError, match=r"\['big', 'small'\] are no numbers"):
        measure_agreement(["big", "small"], [1, 2])
    with pytest.raises(DataError, match="infinite"):
        measure_agreement([1, math.inf], [1, 2])
    with pytest.raises(DataError, match=r"shape \(2, 2\)"):
        measure_agreement([[1, 2], [3, 4]], [1, 2])
    with pytest.raises(DataError, match="negative"):
        bland_altman([-1, 2], [1, 2], percent=True)
    for confidence in (0, 1, 95, NAN):
        with pytest.raises(ConfigError, match="confidence"):
            measure_agreement([1, 2, 3], [1, 2, 4], confidence=confidence)
    with pytest.raises(ConfigError, match="'exakt'"):
        bland_altman([1, 2], [1, 3], interval="exakt")
    with pytest.raises(ConfigError, match=r"share = 1\.96"):
        bland_altman([1, 2], [1, 3], share=1.96)
    with pytest.raises(ConfigError, match="ratio = 0"):
        deming([1, 2, 3], [1, 2, 4], 0)
    with pytest.raises(DataError, match=r"shape \(3, 1\)"):
        intraclass_correlations([[1], [2], [3]])
