"""The command line. Exit codes: 0 done, 2 the user's mistake (one line starting with ``error: ``), 1 a bug.

A group of commands is one module of this folder, and each command one function of it; `_COMMANDS` names them all.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from typing import Annotated, Any

import typer

from napari_segnet import __version__
from napari_segnet._process import prepare_process
from napari_segnet.cli import (
    datasets,
    exploring,
    export,
    labels,
    learning,
    lists,
    machine,
    measure,
    model_files,
    predicting,
    reports,
    script,
)
from napari_segnet.errors import SegNetError

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


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


_COMMANDS: dict[str, Callable[..., None]] = {
    "train": learning.train,
    "preview-augmentation": exploring.preview_augmentation,
    "find-rate": exploring.find_rate,
    "resume": learning.resume,
    "predict": predicting.predict,
    "ensemble": model_files.ensemble,
    "pseudo-label": predicting.pseudo_label,
    "evaluate": reports.evaluate,
    "report": reports.report,
    "export": export.export,
    "measure": measure.measure,
    "cut-out": measure.cut_out,
    "check": datasets.check,
    "prepare": datasets.prepare,
    "pre-annotate": measure.pre_annotate,
    "import-annotations": labels.import_annotations,
    "export-labels": labels.export_labels,
    "script": script.script,
    "demo": machine.demo,
    "import": model_files.import_,
    "networks": lists.networks,
    "encoders": lists.encoders,
    "losses": lists.losses,
    "optimizers": lists.optimizers,
    "schedules": lists.schedules,
    "settings": lists.settings,
    "tutorial-data": machine.tutorial_data,
    "doctor": machine.doctor,
}
for _name, _command in _COMMANDS.items():
    app.command(_name)(_command)


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
