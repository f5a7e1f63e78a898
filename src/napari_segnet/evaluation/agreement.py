"""Whether predicted areas, volumes or counts can stand for the reference's: everything that is reported together.

Each part says in its module what it is and what happens to few images, constant values and differences of 0:
`napari_segnet.evaluation.bland_altman`, `correlation`, `regression`, `paired_tests`. docs/agreement.md has it in one
page.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from napari_segnet.evaluation.bland_altman import BlandAltman, bland_altman
from napari_segnet.evaluation.columns import as_pairs, json_ready
from napari_segnet.evaluation.correlation import (
    Correlation,
    IntraclassCorrelation,
    intraclass_correlations,
    pearson,
)
from napari_segnet.evaluation.paired_tests import TTest, Wilcoxon, paired_t_test, wilcoxon
from napari_segnet.evaluation.regression import LeastSquares, Line, deming, least_squares


@dataclass(frozen=True)
class Agreement:
    """How well predicted values agree with those of the reference.

    Attributes
    ----------
    n : int
        Images.
    predicted, reference : tuple of float
        Their values.
    bland_altman : BlandAltman
        In the unit of the values.
    bland_altman_percent : BlandAltman or None
        In percent of the mean of both; None where values are below 0.
    correlation : Correlation
        Pearson's.
    icc : dict of str to IntraclassCorrelation
        All six forms by name, ``"ICC(2,1)"`` and the like.
    t_test : TTest
    wilcoxon : Wilcoxon
    least_squares : LeastSquares
    deming : Line
    notes : tuple of str
        What was left out, and what can't be said, each once.
    """

    n: int
    predicted: tuple[float, ...]
    reference: tuple[float, ...]
    bland_altman: BlandAltman
    bland_altman_percent: BlandAltman | None
    correlation: Correlation
    icc: dict[str, IntraclassCorrelation]
    t_test: TTest
    wilcoxon: Wilcoxon
    least_squares: LeastSquares
    deming: Line
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return everything as a dictionary that JSON can hold; what isn't finite becomes None."""
        tree: dict[str, Any] = json_ready(asdict(self))
        return tree


def measure_agreement(predicted: ArrayLike, reference: ArrayLike, *, confidence: float = 0.95) -> Agreement:
    """Compare predicted areas, volumes or counts with those of the reference.

    Parameters
    ----------
    predicted, reference : (N,) sequences of float
        One number for each image, in one unit. Pairs with NaN are left out.
    confidence : float
        Of all confidence intervals.

    Returns
    -------
    Agreement

    Raises
    ------
    DataError
        If the lengths differ, or they are no finite numbers.
    ConfigError
        If `confidence` is none.
    """
    y, x, notes = as_pairs(predicted, reference)
    in_units = bland_altman(y, x, confidence=confidence)
    # Percents of what is negative mean nothing.
    positive = not ((y < 0).any() or (x < 0).any())
    percents = bland_altman(y, x, percent=True, confidence=confidence) if positive else None
    correlation = pearson(y, x, confidence)
    icc = intraclass_correlations(np.stack([y, x], axis=1), confidence)
    t_test, ranks = paired_t_test(y, x, confidence), wilcoxon(y, x)
    line, both = least_squares(y, x, confidence), deming(y, x, confidence=confidence)
    parts = (in_units, correlation, icc["ICC(2,1)"], t_test, ranks, line, both)
    every = (*notes, *(note for part in parts for note in part.notes))
    return Agreement(
        len(x),
        tuple(y.tolist()),
        tuple(x.tolist()),
        in_units,
        percents,
        correlation,
        icc,
        t_test,
        ranks,
        line,
        both,
        tuple(dict.fromkeys(every)),
    )
