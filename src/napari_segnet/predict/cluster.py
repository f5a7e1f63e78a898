"""Prediction on many machines: one task an image, on an existing Dask cluster that sees the same files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_segnet import events
from napari_segnet.config import PredictConfig, validated
from napari_segnet.errors import ConfigError, DataError, SegNetError
from napari_segnet.io.pairing import list_images
from napari_segnet.models.info import read_info
from napari_segnet.predict.files import predict_files
from napari_segnet.predict.jobs import raise_first

_CONNECT_SECONDS = 20


def predict_on_cluster(
    address: str,
    model: Path | str,
    inputs: Sequence[Path | str],
    out: Path | str,
    *,
    config: PredictConfig | None = None,
    should_stop: Callable[[], bool] | None = None,
    **options: Any,
) -> Iterator[events.Event]:
    """Predict image files on the workers of a Dask cluster.

    Parameters
    ----------
    address : str
        Of the scheduler, such as ``tcp://host:8786``, or the name of its scheduler file.
    model, inputs, out : paths
        As for `predict_files`; every worker has to see them under the same names.
    config : PredictConfig, optional
    should_stop : callable, optional
        Asked after each image; what has not begun is then taken back.
    **options
        As for `predict_files`.

    Yields
    ------
    Event
        Progress and Predicted as images are ready, Finished.

    Raises
    ------
    SegNetError
        If the cluster can't be reached, or an image can't be predicted.
    """
    paths = [path.resolve() for path in list_images([Path(path) for path in inputs])]
    read_info(model)  # a wrong model is said here, before anything travels
    file = Path(model).resolve()
    settings = (config or PredictConfig()).model_dump()
    client, as_completed = _connect(address)
    with client, client.as_current():
        where = str(Path(out).resolve())
        tasks = {
            client.submit(_predict_one, str(file), str(path), where, settings, options, pure=False): path
            for path in paths
        }
        try:
            yield from _gather(as_completed(list(tasks)), tasks, should_stop or (lambda: False))
        finally:
            client.cancel(list(tasks))  # what is over already doesn't mind


def _gather(
    completed: Iterable[Any], tasks: Mapping[Any, Path], should_stop: Callable[[], bool]
) -> Iterator[events.Event]:
    """Tell what becomes of each image, in the order in which they are ready."""
    bad: list[DataError] = []
    for done, task in enumerate(completed, start=1):
        answer = task.result()
        if answer.get("of_image") and len(tasks) > 1:
            bad.append(DataError(answer["problem"], answer["remedy"]))
            yield events.Notice(f"Left out: {bad[-1]}")
        elif "problem" in answer:
            raise SegNetError(answer["problem"], answer["remedy"])
        else:
            yield events.Predicted(str(tasks[task]), answer["files"])
        yield events.Progress("images", done, len(tasks))
        if should_stop():
            yield events.Finished("stopped")
            return
    raise_first(bad, len(tasks))
    yield events.Finished("completed")


def _connect(address: str) -> tuple[Any, Any]:
    try:
        from distributed import Client, as_completed
    except ImportError as error:
        raise ConfigError(
            "A cluster needs the package distributed.", "pip install 'napari-segnet[cluster]'."
        ) from error
    where = {"scheduler_file": address} if Path(address).is_file() else {"address": address}
    try:
        return Client(**where, timeout=_CONNECT_SECONDS, set_as_default=False), as_completed
    except (OSError, ValueError, TimeoutError) as error:
        raise ConfigError(
            f"The cluster at {address!r} can't be reached: {error or type(error).__name__}.",
            "Give the address of a Dask scheduler, such as tcp://host:8786, or its scheduler file.",
        ) from error


def _predict_one(model: str, path: str, out: str, settings: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """Predict one image on a worker. Errors travel as sentences: a worker's exception may not be readable here."""
    files: dict[str, str] = {}
    try:
        for event in predict_files(model, [path], out, config=validated(PredictConfig, settings), **options):
            if isinstance(event, events.Predicted):
                files = event.files
    except SegNetError as error:
        return {"problem": error.problem, "remedy": error.remedy, "of_image": isinstance(error, DataError)}
    return {"files": files}
