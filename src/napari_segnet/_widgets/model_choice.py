"""Which model predicts: a file that was opened, or that of the last run."""

from __future__ import annotations

from pathlib import Path

from napari_segnet._widgets.settings import Settings
from napari_segnet.errors import ModelFileError, SegNetError
from napari_segnet.models.info import ModelInfo, model_path, read_info
from napari_segnet.models.packages import model_bytes
from napari_segnet.run import RunFolder


class ModelChoice:
    """The models of a session.

    Parameters
    ----------
    settings : Settings
        Its `model` is the file that was opened, if any.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.run: RunFolder | None = None
        self.earlier: Path | None = None
        self._looked_at: dict[Path, tuple[int, ModelInfo]] = {}

    def begin(self, run: RunFolder) -> None:
        """Turn to another run; until it has a model, the one before it counts."""
        self.earlier = self.last
        self.run = run

    @property
    def path(self) -> Path | None:
        """The model that predicts."""
        return self._settings.model or self.last

    @property
    def last(self) -> Path | None:
        """The model of the last run here."""
        if self.run is None:
            return None
        try:
            return model_path(self.run.path)
        except ModelFileError:
            return self.earlier

    @property
    def start(self) -> ModelInfo | None:
        """What the model to start from says of itself; None where learning begins anew, or it can't be read."""
        return self._read(self._settings.start_from)

    @property
    def known(self) -> ModelInfo | None:
        """What the model that predicts says of itself; None where there is none, or it can't be read."""
        return self._read(self.path)

    def _read(self, path: Path | None) -> ModelInfo | None:
        if path is None:
            return None
        try:
            changed = path.stat().st_mtime_ns
            if path not in self._looked_at or self._looked_at[path][0] != changed:
                self._looked_at[path] = changed, read_info(path)
        except (OSError, ModelFileError):
            return None
        return self._looked_at[path][1]

    def info(self) -> ModelInfo:
        """Return what the model says of itself; raises `ModelFileError` if there is none or it is damaged."""
        if self.path is None:
            raise ModelFileError("There is no model yet.", "Train one, or open a model file.")
        return read_info(self.path)

    def open(self, path: Path | None) -> str:
        """Predict with a model file or a run folder (None: with the last run's model); returns what to say.

        Raises
        ------
        ModelFileError
            If it is no model of ours; then nothing changes.
        """
        if path is None:
            self._settings.model = None
            return ""
        info = read_info(path)
        self._settings.model = model_path(path)
        return f"Opened {path.name}: {', '.join(c.name for c in info.classes)}."

    def save(self, path: Path) -> str:
        """Copy the model to a file of its own, whole or not at all; returns what to say.

        Raises
        ------
        SegNetError
            If there is no model, or the file can't be written.
        """
        self.info()
        source = self.path
        if source is None:
            return ""
        path = path if path.suffix == ".safetensors" else path.with_name(path.name + ".safetensors")
        temporary = path.with_name(f".{path.name}.tmp")
        try:
            temporary.write_bytes(model_bytes(source))
            temporary.replace(path)
        except OSError as error:
            raise SegNetError(
                f"{path} can't be written: {error.strerror or error}.", "Choose another place."
            ) from error
        finally:
            temporary.unlink(missing_ok=True)
        return f"Saved the model to {path}."
