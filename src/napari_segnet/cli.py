"""The command line. Exit codes: 0 done, 2 the user's mistake (one line starting with ``error: ``), 1 a bug."""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from napari_segnet import __version__, completion
from napari_segnet._console import Reporter, print_table
from napari_segnet._process import prepare_process
from napari_segnet.cli_lists import encoders, losses, networks, optimizers, schedules, settings
from napari_segnet.config import PredictConfig, PresetName, RunConfig, Task, Unlabelled, validated
from napari_segnet.errors import ModelFileError, SegNetError
from napari_segnet.models.info import Combine
from napari_segnet.request import build_config

# typer brings a click of its own in some versions: the base class of its errors is found, not imported.
_UsageError: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")

app = typer.Typer(
    name="napari-segnet",
    help="Paint a few strokes, train a U-Net, get segmentation layers back.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
Out = Annotated[Path, typer.Option(help="Folder to write into.")]
Images = Annotated[Path, typer.Argument(help="An image, or a folder of images.")]
Labels = Annotated[Path, typer.Argument(help="Its labels, or a folder of labels with the same names.")]
Meaning = Annotated[Unlabelled | None, typer.Option(help="What 0 means; default: guessed.")]
TaskChoice = Annotated[Task | None, typer.Option(help="Classes, or numbered objects; default: guessed.")]
Preset = Annotated[PresetName | None, typer.Option(help="How much effort; default: fast.")]
ValFraction = Annotated[float | None, typer.Option(help="Part kept for validation; 0: none.")]
Axes = Annotated[str | None, typer.Option(help="Axes of the image files, such as ZYX; default: guessed.")]
DeviceOrAuto = Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
ConfigFile = Annotated[Path | None, typer.Option(help="YAML file of options, as for train.")]
Network = Annotated[
    str | None,
    typer.Option(help="auto, or a name: see napari-segnet networks.", autocompletion=completion.networks_or_auto),
]
Encoder = Annotated[str | None, typer.Option(help="See napari-segnet encoders.", autocompletion=completion.encoders)]
Loss = Annotated[str | None, typer.Option(help="See napari-segnet losses.", autocompletion=completion.losses)]
Optimizer = Annotated[
    str | None, typer.Option(help="See napari-segnet optimizers.", autocompletion=completion.optimizers)
]
Schedule = Annotated[str | None, typer.Option(help="See napari-segnet schedules.", autocompletion=completion.schedules)]


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command()
def train(
    images: Images,
    labels: Labels,
    out: Annotated[Path, typer.Option(help="Run folder to make.")],
    unlabelled: Meaning = None,
    task: TaskChoice = None,
    preset: Preset = None,
    network: Network = None,
    encoder: Encoder = None,
    weights: Annotated[
        str | None, typer.Option(help="imagenet, none, a model to fine-tune, or a file of encoder weights.")
    ] = None,
    loss: Loss = None,
    optimizer: Optimizer = None,
    schedule: Schedule = None,
    epochs: Annotated[int | None, typer.Option(help="Most epochs.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Most minutes of learning.")] = None,
    val_fraction: ValFraction = None,
    folds: Annotated[int | None, typer.Option(min=2, max=100, help="Cross-validate: so many runs, one model.")] = None,
    axes: Axes = None,
    device: DeviceOrAuto = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same data, same CPU: same model.")] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file of options.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="KEY=VALUE, such as train.batch_size=4.", autocompletion=completion.settings),
    ] = None,
) -> None:
    """Train a network on images and their labels."""
    options = {
        "unlabelled": unlabelled,
        "task": task,
        "preset": preset,
        "network": network,
        "encoder": encoder,
        "weights": weights,
        "loss": loss,
        "optimizer": optimizer,
        "schedule": schedule,
        "epochs": epochs,
        "minutes": minutes,
        "val_fraction": val_fraction,
        "folds": folds,
        "axes": axes,
        "device": device,
        "seed": seed,
    }
    _train(images, labels, out, build_config(options, set_ or (), config))


def _train(images: Path, labels: Path, out: Path, config: RunConfig) -> None:
    from napari_segnet.executor import Control
    from napari_segnet.folds import train_folder
    from napari_segnet.io.pairing import pair_files
    from napari_segnet.io.records import make_records
    from napari_segnet.run import check_new

    pairing = pair_files(images, labels)
    reporter = Reporter()
    for path in (*pairing.unpaired_images, *pairing.unpaired_labels):
        reporter.note(f"{path} has no partner and is left out.")
    control = Control()
    check_new(out)
    _show(out, control, train_folder(out, config, make_records(pairing, config.data.axes), control))


@app.command("preview-augmentation")
def preview_augmentation(
    images: Images,
    labels: Labels,
    out: Out,
    rows: Annotated[int, typer.Option(min=1, max=64, help="Patches of the images to show.")] = 4,
    columns: Annotated[int, typer.Option(min=2, max=64, help="Ways to show each; the first is unchanged.")] = 6,
    unlabelled: Meaning = None,
    task: TaskChoice = None,
    axes: Axes = None,
    seed: Annotated[int | None, typer.Option(help="Another one shows other patches and changes.")] = None,
    config: ConfigFile = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Such as train.augment.rotation=90.", autocompletion=completion.settings),
    ] = None,
) -> None:
    """Show what augmentation does to patches: augmentation.png and augmentation_labels.png."""
    from napari_segnet.training.augmentation_preview import write_preview

    options = {"unlabelled": unlabelled, "task": task, "axes": axes, "seed": seed}
    paths = write_preview(images, labels, out, build_config(options, set_ or (), config), rows, columns)
    typer.echo(f"Written: {paths[0]}, {paths[1]}")


@app.command("find-rate")
def find_rate(
    images: Images,
    labels: Labels,
    out: Out,
    unlabelled: Meaning = None,
    task: TaskChoice = None,
    preset: Preset = None,
    network: Network = None,
    encoder: Encoder = None,
    weights: Annotated[str | None, typer.Option(help="As for train.")] = None,
    loss: Loss = None,
    optimizer: Optimizer = None,
    val_fraction: ValFraction = None,
    axes: Axes = None,
    device: DeviceOrAuto = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same data, same CPU: same curve.")] = None,
    config: ConfigFile = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="KEY=VALUE, such as train.optimizer=sgd.", autocompletion=completion.settings),
    ] = None,
) -> None:
    """Find a learning rate: a hundred steps at growing rates, and where the loss falls quickest."""
    from napari_segnet.find_rate import find_rate as find

    options = {
        "unlabelled": unlabelled,
        "task": task,
        "preset": preset,
        "network": network,
        "encoder": encoder,
        "weights": weights,
        "loss": loss,
        "optimizer": optimizer,
        "val_fraction": val_fraction,
        "axes": axes,
        "device": device,
        "seed": seed,
    }
    curve = find(images, labels, out, build_config(options, set_ or (), config))
    typer.echo(f"The loss falls quickest at a learning rate of {curve.steepest:.2g}; lowest: at {curve.lowest:.2g}.")
    typer.echo(f"To learn with it: --set train.learning_rate={curve.steepest:.2g}")
    typer.echo(f"Written: {out / 'rates.csv'}, {out / 'rates.png'}")


@app.command()
def resume(run: Annotated[Path, typer.Argument(help="A run folder.")]) -> None:
    """Go on with a run, or the folds of a cross-validation, that were stopped or killed."""
    from napari_segnet.folds import is_folds
    from napari_segnet.run import RunFolder

    if is_folds(run):
        _execute(run)
        return
    folder = RunFolder(run)
    if folder.state() == "finished":
        Reporter().note(f"{run} is finished already: {folder.model}")
        return
    _execute(run)


def _execute(path: Path) -> None:
    from napari_segnet.executor import Control
    from napari_segnet.folds import execute_folder

    control = Control()
    _show(path, control, execute_folder(path, control))


def _show(path: Path, control: Any, told: Iterator[Any]) -> None:
    """Show events as they come; a signal ends them after the step that is going on."""
    with _graceful(control) as interrupted, Reporter() as reporter:
        for event in told:
            reporter.show(event)
    if interrupted:
        typer.echo(f"Stopped. To go on: napari-segnet resume {path}", err=True)
        raise typer.Exit(128 + interrupted[0])


@contextmanager
def _graceful(control: Any) -> Iterator[list[int]]:
    """Let Ctrl-C (and a cluster's SIGTERM) finish the step and save; a second one ends at once."""
    received: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)
        control.stop = True

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="A model file or a run folder.")],
    inputs: Annotated[list[Path], typer.Argument(help="Images, folders of images, or OME-Zarr.")],
    out: Out,
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Write STEM_probabilities.tif.")] = False,
    uncertainty: Annotated[bool, typer.Option("--uncertainty", help="Write STEM_uncertainty.tif.")] = False,
    tta: Annotated[bool, typer.Option("--tta", help="Average over flips and turns: better, 8 times slower.")] = False,
    orthoplanes: Annotated[
        bool, typer.Option("--orthoplanes", help="A model of planes looks along all three axes of volumes.")
    ] = False,
    crf: Annotated[bool, typer.Option("--crf", help="Refine edges with a fully connected CRF; planes only.")] = False,
    instances: Annotated[bool, typer.Option("--instances", help="Number the objects.")] = False,
    exact: Annotated[bool, typer.Option("--exact", help="Tiles agree with the whole image in every pixel.")] = False,
    axes: Annotated[str | None, typer.Option(help="Axes of the files, such as CYX; default: guessed.")] = None,
    pixel_size: Annotated[
        float | None, typer.Option(help="Size of a pixel in the model's units, where files don't say it.")
    ] = None,
    device: Device = "auto",
    cluster: Annotated[str | None, typer.Option(help="Address of a Dask scheduler: one task an image.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE, such as tile=512.")] = None,
) -> None:
    """Predict images with a trained model."""
    from napari_segnet.predict.files import predict_files
    from napari_segnet.request import read_settings

    flags = {"tta": tta, "orthoplanes": orthoplanes, "crf": crf, "exact": exact}
    said = {**flags, "device": device, "pixel_size": pixel_size, **read_settings(set_ or ())}
    config = validated(PredictConfig, said)
    options = {"probabilities": probabilities, "uncertainty": uncertainty, "instances": instances, "axes": axes}
    control = _Stop()

    def should_stop() -> bool:
        return control.stop

    if cluster is None:
        told = predict_files(model, inputs, out, config=config, should_stop=should_stop, **options)  # type: ignore[arg-type]
    else:
        from napari_segnet.predict.cluster import predict_on_cluster

        told = predict_on_cluster(cluster, model, inputs, out, config=config, should_stop=should_stop, **options)
    with _graceful(control) as interrupted, Reporter() as reporter:
        for event in told:
            reporter.show(event)
    if interrupted:
        raise typer.Exit(128 + interrupted[0])


class _Stop:
    stop = False


@app.command()
def ensemble(
    models: Annotated[list[Path], typer.Argument(help="Model files, run folders, folders of folds.")],
    out: Annotated[Path, typer.Option(help="Model file to write; ends with .safetensors.")],
    combine: Annotated[Combine, typer.Option(help="Mean of probabilities, or majority of labels.")] = "mean",
) -> None:
    """Put models together into one file: they answer together."""
    from napari_segnet.models.file import join_models, load_model, write_model

    if out.is_dir() or out.suffix != ".safetensors":
        raise ModelFileError(f"{out} is no name for a model file.", "Name a file that ends with .safetensors.")
    info, network = join_models([load_model(model) for model in models], combine)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_model(out, info, network)
    typer.echo(f"Written: {out} ({len(info.members)} models: {', '.join(m.network for m in info.members)})")


@app.command("pseudo-label")
def pseudo_label(
    model: Annotated[Path, typer.Argument(help="A model file or a run folder.")],
    images: Images,
    out: Out,
    confidence: Annotated[float, typer.Option(min=0, max=1, help="Least probability of a label.")] = 0.9,
    tta: Annotated[bool, typer.Option("--tta", help="Average over flips and turns: better, 8 times slower.")] = False,
    axes: Annotated[str | None, typer.Option(help="Axes of the files, such as CYX; default: guessed.")] = None,
    device: Device = "auto",
    set_: Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE, such as tile=512.")] = None,
) -> None:
    """Label images where a model is sure, to learn from them."""
    from napari_segnet.pseudo_labels import pseudo_label as write_labels
    from napari_segnet.request import read_settings

    config = validated(PredictConfig, {"tta": tta, "device": device, **read_settings(set_ or ())})
    told = write_labels(model, images, out, confidence=confidence, axes=axes, config=config)
    with Reporter() as reporter:
        while True:
            try:
                reporter.show(next(told))
            except StopIteration as end:
                made = end.value
                break
    print_table(("class", "kept"), [(name, f"{share:.1%}") for name, share in made.shares.items()])
    typer.echo(f"To learn from them: {made.command}")


@app.command()
def evaluate(
    predictions: Annotated[Path, typer.Argument(help="Predicted labels: a file or a folder.")],
    labels: Annotated[Path, typer.Argument(help="Reference labels: a file or a folder.")],
    out: Out,
    unlabelled: Annotated[Unlabelled | None, typer.Option(help="What 0 means in the reference.")] = None,
    task: TaskChoice = None,
    ignore: Annotated[list[int] | None, typer.Option(help="Reference values that don't count.")] = None,
) -> None:
    """Compare predictions with reference labels."""
    from napari_segnet.evaluation.files import evaluate_files

    summary = evaluate_files(
        predictions,
        labels,
        out,
        unlabelled=unlabelled,
        instances=None if task is None else task == "instances",
        ignore_values=tuple(ignore or ()),
    )
    names = ("dice", "iou", "pixel_accuracy", "precision", "recall", "ap50", "ap")
    print_table(
        ("measure", "mean over images"),
        [(name, f"{summary[name]:.4f}") for name in names if isinstance(summary.get(name), float)],
    )
    typer.echo(f"Written: {out / 'metrics.csv'}, {out / 'summary.json'}, {out / 'report.html'}")


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder to write into.")] = Path("demo"),
    no_viewer: Annotated[bool, typer.Option("--no-viewer", help="Don't open the viewer at the end.")] = False,
) -> None:
    """Do the main job on a bundled photograph: strokes in, labels, scores and a screenshot out."""
    from napari_segnet.demo import run_demo

    run_demo(out, viewer=not no_viewer, on_line=typer.echo)


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="A model of another tool: a file or a folder.")],
    out: Annotated[Path, typer.Option(help="Model file to write; ends with .safetensors.")],
    format_: Annotated[str, typer.Option("--format", help="keras, smp, monai or weights; auto: by the file.")] = "auto",
    network: Annotated[
        str | None,
        typer.Option(help="For weights alone: the network they belong to.", autocompletion=completion.networks),
    ] = None,
    encoder: Annotated[
        str | None, typer.Option(help="For weights alone: its encoder.", autocompletion=completion.encoders)
    ] = None,
    classes: Annotated[str | None, typer.Option(help="Names of the classes, with commas between.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE, such as intensities=raw.")] = None,
) -> None:
    """Make a model file of a model that another tool has trained."""
    from napari_segnet.importers import ImportConfig, import_model
    from napari_segnet.request import read_settings

    names = None if classes is None else [name.strip() for name in classes.split(",")]
    said = {"format": format_, "network": network, "encoder": encoder, "classes": names}
    settings = {name: value for name, value in said.items() if value is not None} | read_settings(set_ or ())
    info = import_model(file, out, validated(ImportConfig, settings), on_note=Reporter().note)
    named = ", ".join(f"{c.value} {c.name}" for c in info.classes)
    typer.echo(f"Written: {out} ({info.network}, image channels: {info.channels}, classes: {named})")


for _command in (networks, encoders, losses, optimizers, schedules, settings):
    app.command()(_command)


@app.command()
def doctor() -> None:
    """Look at torch, GPU, Qt, OpenGL and napari: what works, and how to mend what doesn't."""
    from napari_segnet.doctor import checks

    found = checks()
    print_table(("", "what", "found", "remedy"), [(c.status, c.name, c.found, c.remedy) for c in found])
    failed = [c.name for c in found if c.status == "fail"]
    if failed:
        typer.echo(f"error: {', '.join(failed)}: this does not work yet. The table says how to mend it.", err=True)
        raise typer.Exit(2)


def main() -> None:
    """Run the command line; the entry point of ``napari-segnet``."""
    prepare_process()
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run the command line with some arguments; returns the exit code."""
    try:
        code = app(arguments, standalone_mode=False, prog_name="napari-segnet")
    except SegNetError as error:
        return _mistake(str(error))
    except _UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error.format_message())
            return 0
        return _mistake(error.format_message())
    except (typer.Abort, KeyboardInterrupt):
        return 130
    except Exception:  # what nobody foresaw is a bug: say so, with everything that helps to find it
        traceback.print_exc()
        print("This is a bug in napari-segnet; please report it with the lines above.", file=sys.stderr)
        return 1
    return code if isinstance(code, int) else 0


def _mistake(text: str) -> int:
    print("error: " + " ".join(text.split()), file=sys.stderr)
    return 2
