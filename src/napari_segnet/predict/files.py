"""Prediction of image files: TIFFs beside each other in a folder, OME-Zarr for OME-Zarr."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import DTypeLike

from napari_segnet import events
from napari_segnet.axes import ImageStack
from napari_segnet.config import PredictConfig
from napari_segnet.errors import DataError
from napari_segnet.io.formats import is_zarr
from napari_segnet.io.images import ImageFile, open_image
from napari_segnet.io.pairing import file_stem, list_images
from napari_segnet.io.write import open_output
from napari_segnet.models.info import read_info
from napari_segnet.predict.classes import colour_table
from napari_segnet.predict.jobs import SUFFIXES, Job, predict_jobs


def predict_files(
    model: Path | str,
    inputs: Sequence[Path | str],
    out: Path | str,
    *,
    probabilities: bool = False,
    uncertainty: bool = False,
    instances: bool = False,
    axes: str | None = None,
    config: PredictConfig | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Iterator[events.Event]:
    """Predict image files into a folder.

    Parameters
    ----------
    model : Path
        A model file or a run folder.
    inputs : sequence of Path
        Files, folders of files, OME-Zarr folders. Memory doesn't grow with a file that can be read in parts.
    out : Path
        Gets STEM.tif (labels), STEM_probabilities.tif (float32, axes CYX, or ZCYX for a stack) and
        STEM_uncertainty.tif (float32, YX or ZYX), with the pixel size of the image; for OME-Zarr inputs OME-Zarr
        of the same names.
    probabilities, uncertainty : bool
        Whether to write them.
    instances : bool
        Number the objects instead of naming classes.
    axes : str, optional
        Axes of all files; default: guessed for each.
    config : PredictConfig, optional
    should_stop : callable, optional
        Asked between tiles.

    Yields
    ------
    Event
        Notice, Progress, Predicted for each image, Finished.

    Raises
    ------
    SegNetError
        If something can't work, in a sentence: an unreadable file, other channels than the model's, a full disk.
    """
    paths = list_images([Path(path) for path in inputs])
    colours = None if instances else colour_table(read_info(model))
    opened: list[ImageFile] = []  # one at a time: each holds a file open, or its pixels
    jobs = [_job(path, Path(out), axes, colours, opened) for path in paths]
    yield from predict_jobs(
        model,
        jobs,
        probabilities=probabilities,
        uncertainty=uncertainty,
        instances=instances,
        config=config,
        should_stop=should_stop,
    )


def _job(path: Path, out: Path, axes: str | None, colours: Sequence[str] | None, opened: list[ImageFile]) -> Job:
    stem, zarr = file_stem(path), is_zarr(path)
    # An OME-Zarr keeps its own extension: .zarr or .ome.zarr.
    extension = path.name[len(stem) :] or ".zarr" if zarr else ".tif"
    targets = {output: out / f"{stem}{suffix}{extension}" for output, suffix in SUFFIXES.items()}
    for target in targets.values():
        if target.resolve() == path.resolve():
            raise DataError(f"The prediction would replace the image {path}.", "Choose another --out.")

    def stack(spatial: str) -> ImageStack:
        opened[:] = [open_image(path, axes)]
        return opened[-1].stack(spatial)

    def write(output: str, shape: tuple[int, ...], dtype: DTypeLike, of_axes: str) -> Any:
        image = opened[-1]
        return open_output(
            targets[output],
            shape,
            dtype,
            of_axes,
            kind="zarr" if zarr else "tif",
            pixel_size=image.pixel_size,
            units=image.units,
            colours=colours if output == "labels" else None,
        )

    return Job(str(path), stack, write, targets, lambda: (opened[-1].pixel_size, opened[-1].units))
