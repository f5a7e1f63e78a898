"""The section of a page that compares several predictions, and tells what people agree on."""

from __future__ import annotations

import math

from napari_segnet.evaluation.annotators import Ceiling
from napari_segnet.evaluation.bootstrap import Interval
from napari_segnet.evaluation.ranking import ComparedPair, RankedModel
from napari_segnet.reports.comparison import TOLD, Comparison
from napari_segnet.reports.evaluation import Evaluation
from napari_segnet.reports.figures import Figures
from napari_segnet.reports.object_charts import ranking_chart
from napari_segnet.reports.page import Cell, Column, Part, Text, Tile, Tiles, decimal, number, simple_table
from napari_segnet.reports.parts import with_interval
from napari_segnet.reports.score_charts import Mean
from napari_segnet.reports.words import column, title


def comparison_parts(found: Evaluation, drawn: Figures) -> list[Part]:
    """Return the ranking of several predictions with its tests, and how far they are from what people agree on."""
    parts: list[Part] = []
    if found.comparison is not None:
        parts += _ranking_parts(found, found.comparison, drawn)
    if found.ceiling is not None:
        parts += _ceiling_parts(found.ceiling)
    return parts


def _ranking_parts(found: Evaluation, comparison: Comparison, drawn: Figures) -> list[Part]:
    ranking, measure = comparison.ranking, title(comparison.measure)
    told = [name for name in TOLD if any(name in means for means in comparison.means.values())]
    others = [name for name in told if name != comparison.measure]
    columns = [
        Column("Rank"),
        Column("Prediction", numeric=False),
        Column(measure),
        Column(
            "p against the best", meaning="Wilcoxon's signed ranks, with Holm's correction for the number of pairs."
        ),
        Column("Mean rank", meaning="Of its ranks within each image."),
        Column("Rank interval", meaning="95 % of the ranks when images are drawn with replacement."),
        Column("First in", meaning="Share of these draws in which it was first."),
        *(column(name, found.unit) for name in others),
    ]
    against = {pair.second: pair.p_holm for pair in ranking.pairs if pair.first == ranking.models[0].name}
    rows = [
        [*_model_cells(model, comparison, against.get(model.name)), *(_mean(comparison, model.name, n) for n in others)]
        for model in ranking.models
    ]
    caption = f"Ranked by mean {measure} over {ranking.images} images that all of them have; other means are over the "
    caption += "images that each has."
    parts: list[Part] = [simple_table(columns, rows, caption)]
    if math.isfinite(ranking.friedman_p):
        words = f"Friedman's test: chi-squared {decimal(ranking.friedman, 3)}, p = {decimal(ranking.friedman_p)}, "
        parts.append(Text(f"{words}Kendall's W = {decimal(ranking.kendall_w, 3)}."))
    if math.isfinite(ranking.stability):
        parts.append(Text(f"Stability of the ranking (mean of Kendall's tau): {decimal(ranking.stability, 3)}."))
    parts.append(_table_of_pairs(ranking.pairs, measure))
    parts += [Text(note, "note") for note in ranking.notes]
    if drawn.wanted:
        parts += drawn(ranking_chart({m.name: Mean(m.score, m.low, m.high) for m in ranking.models}, measure))
    return parts


def _model_cells(model: RankedModel, comparison: Comparison, p: float | None) -> list[Cell]:
    name = f"{model.name} (person)" if model.name in comparison.people else model.name
    ends = (model.rank_low, model.rank_high)
    interval = f"{ends[0]:.0f} to {ends[1]:.0f}" if math.isfinite(ends[0]) else "-"
    return [
        number(model.rank),
        Cell(name, name),
        with_interval(Interval(model.score, model.low, model.high, 0)),
        number(p),
        number(model.mean_rank, 2),
        Cell(interval, model.rank_low if math.isfinite(model.rank_low) else None),
        number(model.first_share, 2),
    ]


def _mean(comparison: Comparison, model: str, name: str) -> Cell:
    interval = comparison.means[model].get(name)
    return number(None) if interval is None else with_interval(interval)


def _table_of_pairs(pairs: tuple[ComparedPair, ...], measure: str) -> Part:
    columns = [
        Column("Better", numeric=False),
        Column("Other", numeric=False),
        Column(f"Difference of {measure}"),
        Column("Wins", meaning="Images in which the first is better."),
        Column("Losses"),
        Column("Ties"),
        Column("p", meaning="Wilcoxon's signed ranks, two-sided."),
        Column("p (Holm)", meaning="Corrected for the number of pairs."),
        Column("Rank-biserial r", meaning="Effect size: 1 if all scores of the first are higher, -1 if lower."),
    ]
    rows = [
        [
            pair.first, pair.second, with_interval(Interval(pair.difference, pair.low, pair.high, 0)),
            pair.wins, pair.losses, pair.ties, pair.p, pair.p_holm, number(pair.rank_biserial, 3),
        ]
        for pair in pairs
    ]  # fmt: skip
    return simple_table(columns, rows, "Each pair on the same images.")


def _ceiling_parts(ceiling: Ceiling) -> list[Part]:
    tiles = [
        Tile(name, decimal(interval.value), _ends(interval))
        for name, interval in (
            ("Dice between people", ceiling.between),
            ("Dice of the prediction with them", ceiling.prediction),
            ("Share of the ceiling", ceiling.share),
        )
    ]
    rows = [[name, with_interval(interval), interval.n] for name, interval in ceiling.pairs.items()]
    words = "People never draw the same: what they agree on is the ceiling. The reference is one of them."
    return [
        Text(words),
        Tiles(tuple(tiles)),
        simple_table([Column("Pair", numeric=False), Column("Dice"), Column("Images")], rows, "Means over images."),
    ]


def _ends(interval: Interval) -> str:
    return f"{decimal(interval.low, 3)} to {decimal(interval.high, 3)}" if math.isfinite(interval.low) else ""
