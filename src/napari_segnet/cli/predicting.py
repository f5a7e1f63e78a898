"""Applying models: predict, pseudo-label."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_segnet._console import Reporter, print_table
from napari_segnet.cli.options import Device, Images, Out
from napari_segnet.cli.signals import Stop, graceful
from napari_segnet.config import PredictConfig, validated


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
    control = Stop()

    def should_stop() -> bool:
        return control.stop

    if cluster is None:
        told = predict_files(model, inputs, out, config=config, should_stop=should_stop, **options)  # type: ignore[arg-type]
    else:
        from napari_segnet.predict.cluster import predict_on_cluster

        told = predict_on_cluster(cluster, model, inputs, out, config=config, should_stop=should_stop, **options)
    with graceful(control) as interrupted, Reporter() as reporter:
        for event in told:
            reporter.show(event)
    if interrupted:
        raise typer.Exit(128 + interrupted[0])


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
