"""The report of a run: ``RUN/report.html``, from what lies in the run folder.

It says what was asked for, what was chosen and why, what the data are, how learning went, and how to do it again. It is
written at the end of each run, and anew by ``napari-segnet report RUN``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from napari_segnet.again import run_of
from napari_segnet.config import RunConfig
from napari_segnet.errors import SegNetError
from napari_segnet.evaluation.scores import Rules
from napari_segnet.models.info import ModelInfo, fold_folders, model_path, read_info
from napari_segnet.reports.charts import Chart, save_charts
from napari_segnet.reports.colours import class_colours
from napari_segnet.reports.page import (
    Cell,
    Code,
    Fold,
    Gallery,
    Page,
    Part,
    Picture,
    Section,
    Text,
    Tile,
    Tiles,
    decimal,
    embed,
    number,
    render,
    simple_table,
)
from napari_segnet.reports.panels import PART_WORDS, PARTS, draw_panel, jpeg, png
from napari_segnet.reports.parts import chart_gallery, error_key, model_parts
from napari_segnet.reports.run_story import Story, read_story
from napari_segnet.reports.training_charts import training_charts
from napari_segnet.reports.training_parts import choice_parts, data_parts
from napari_segnet.run import RunFolder, write_atomically
from napari_segnet.script import command_line, free_path, python_code, read_training


def write_training_report(run: Path | str, *, figures: bool = True) -> Path:
    """Write the report of a run, finished or not; of a cross-validation, one for each fold and one for all.

    Parameters
    ----------
    run : Path
        A run folder, or a folder of folds.
    figures : bool
        Whether to write ``RUN/figures`` too: each figure as PNG and PDF.

    Returns
    -------
    Path
        ``RUN/report.html``.

    Raises
    ------
    RunFolderError
        If it is no run folder, or damaged.
    SegNetError
        If the report can't be written.
    """
    run = Path(run)
    run_of(run)
    folds = [] if (run / "config.json").is_file() else fold_folders(run)
    for fold in folds:
        write_training_report(fold, figures=figures)
    page, charts = _page_of_folds(run, folds) if folds else _page_of_run(RunFolder(run))
    path = run / "report.html"
    try:
        if figures:
            save_charts(charts, run / "figures")
        write_atomically(path, render(page))
    except OSError as error:
        raise SegNetError(f"{path} can't be written: {error.strerror or error}.", "Free some room.") from error
    return path


def try_training_report(run: Path | str) -> str | None:
    """Write the report of a run that is over, without its figures; whatever goes wrong must not fail the run.

    Returns
    -------
    str or None
        What went wrong, in a sentence.
    """
    try:
        write_training_report(run, figures=False)
    except Exception as error:
        return f"The report of the run could not be written: {error}"
    return None


# ------------------------------------------------------------------------ one run


def _page_of_run(run: RunFolder) -> tuple[Page, list[Chart]]:
    story, config, info = read_story(run), run.config, _read_model(run.path)
    charts = training_charts(story.history, story.best_epoch)
    sections = [
        Section("Learning", (*_learning(story, charts),)),
        *_examples(run, config),
        Section("Data", data_parts(run, config, info)),
        *_augmentation(run),
        Section("Choices", choice_parts(story.started.choices if story.started else {}, story.notices, config)),
        *([Section("Model", model_parts(info))] if info else []),
        Section("Do it again", _again(run.path)),
    ]
    facts = (run.state(), *([story.started.device] if story.started else []))
    return Page(f"Training {run.path.resolve().name}", tuple(sections), facts, (_tiles(story, info, config),)), charts


def _read_model(path: Path) -> ModelInfo | None:
    """Return what the model of a run says of itself; None before there is one."""
    with contextlib.suppress(SegNetError):
        return read_info(model_path(path))
    return None


def _tiles(story: Story, info: ModelInfo | None, config: RunConfig) -> Part:
    best = story.best
    tiles: list[Tile] = []
    for name, label in (("val_dice", "Validation Dice"), ("val_loss", "Validation loss"), ("loss", "Loss")):
        value = best.get(name)
        if value is not None and (name != "loss" or len(tiles) < 2):
            tiles.append(Tile(label, decimal(value), "of the best epoch" if story.best_epoch else "of the last epoch"))
    tiles.append(Tile("Best epoch", str(story.best_epoch or "-"), f"of {len(story.history)}"))
    tiles.append(Tile("Learned for", _duration(story.seconds), story.end))
    network = info.network if info else config.model.network
    encoder = info.encoder if info else config.model.encoder
    tiles.append(Tile("Network", network, encoder or ""))
    return Tiles(tuple(tiles))


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _learning(story: Story, charts: Sequence[Chart]) -> list[Part]:
    if not story.history:
        return [Text("No epoch is over yet.", "note")]
    names = list(dict.fromkeys(name for row in story.history for name in row))
    rows = [
        [int(value) if name == "epoch" and value is not None else value for name, value in _in_order(row, names)]
        for row in story.history
    ]
    return [chart_gallery(charts), Fold("All epochs", (simple_table(names, rows),))]


def _in_order(row: Mapping[str, float | None], names: Sequence[str]) -> list[tuple[str, float | None]]:
    return [(name, row.get(name)) for name in names]


def _examples(run: RunFolder, config: RunConfig) -> list[Section]:
    """Return validation patches with the best model's answer, where the run kept some."""
    folder = run.path / "examples"
    try:
        images, truths, answers = (np.load(folder / f"{n}.npy") for n in ("image", "truth", "prediction"))
    except (OSError, ValueError):
        return []
    instances = config.data.task == "instances"
    values = tuple(int(v) for v in np.union1d(truths, answers))
    # The patches show what the network learned: of objects interior and boundary, which are classes to it.
    rules = Rules("background", False, False, values, {}, (65535,))
    colours = class_colours(values, () if instances else config.data.classes)
    words = "Patches of the validation, which the network didn't learn from."
    if instances:
        words += " It knows objects by their interior and their boundary."
    parts: list[Part] = [Text(words), error_key()]
    for place, (image, truth, answer) in enumerate(zip(images, truths, answers, strict=True), start=1):
        panel = draw_panel(answer, truth, rules, colours={**colours, 65535: "#555555"}, image=(image, "YXC"), side=256)
        pictures = tuple(
            Picture(
                embed(jpeg(panel.pictures[part]), "image/jpeg")
                if part in ("image", "overlay")
                else embed(png(panel.pictures[part])),
                f"{PART_WORDS[part]} of validation patch {place}",
                PART_WORDS[part] if place == 1 else "",
                pixelated=True,
            )
            for part in PARTS
        )
        parts.append(Gallery(pictures, columns=5))
    return [Section("Validation examples", tuple(parts))]


def _augmentation(run: RunFolder) -> list[Section]:
    try:
        content = (run.path / "examples" / "augmentation.png").read_bytes()
    except OSError:
        return []
    words = "Patches as they are at the left, and as the network may see them: changed by chance, each time anew."
    picture = Picture(embed(content), "Patches before and after augmentation", words)
    return [Section("Augmentation", (picture,))]


def _again(path: Path) -> tuple[Part, ...]:
    try:
        training = read_training(path)
    except SegNetError as error:
        return (Text(str(error), "warning"),)
    out = free_path(path)
    timed = run_of(path).config.train.minutes is not None
    same = "a model like it: what is learned in some minutes depends on the machine" if timed else "the same model"
    return (
        Text(f"The same training once more: with the same data, on the same CPU, it makes {same}."),
        Code(command_line(training, out)),
        Fold("In Python", (Code(python_code(training, out)),)),
    )


# -------------------------------------------------------------------- cross-validation


def _page_of_folds(path: Path, folds: Sequence[Path]) -> tuple[Page, list[Chart]]:
    rows: list[list[Cell | str | float | None]] = []
    finished = 0
    for number_of_fold, fold in enumerate(folds, start=1):
        story = read_story(RunFolder(fold))
        finished += RunFolder(fold).state() == "finished"
        rows.append(
            [
                number_of_fold,
                number(story.best.get("val_dice")),
                number(story.best.get("val_loss")),
                story.best_epoch,
                len(story.history),
                _duration(story.seconds),
                story.end,
            ]
        )
    dice = [float(cell.sort) for row in rows if isinstance(cell := row[1], Cell) and isinstance(cell.sort, float)]
    spread = f"standard deviation {np.std(dice, ddof=1):.4f}" if len(dice) > 1 else ""
    tiles = [
        Tile("Validation Dice", decimal(float(np.mean(dice))) if dice else "-", spread),
        Tile("Folds", str(len(folds)), f"{finished} finished"),
    ]
    titles = ["Fold", "Validation Dice", "Validation loss", "Best epoch", "Epochs", "Learned for", "End"]
    words = Text("Each fold has a report of its own: report.html in its folder.", "note")
    info = _read_model(path)
    sections = [
        Section("Folds", (simple_table(titles, rows, "Scores of the best epoch of each fold."), words)),
        *([Section("Model", model_parts(info))] if info else []),
        Section("Do it again", _again(path)),
    ]
    return Page(f"Cross-validation {path.resolve().name}", tuple(sections), (), (Tiles(tuple(tiles)),)), []
