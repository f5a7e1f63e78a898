"""The run folder: one directory holds everything that a run is made of.

``config.json`` (what was asked for), ``data/`` (the snapshot, or references to files), ``events.jsonl`` (what
happened), ``history.csv`` (one row an epoch), ``checkpoints/``, ``model.safetensors`` and ``last.safetensors``.
The viewer, the command line and a cluster job all make one and execute it. Files are written under a temporary
name and renamed, so that a full disk or a killed process leaves the previous version whole.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import platform
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import platformdirs
import psutil
from pydantic import Field

from napari_segnet import events
from napari_segnet.config import Frozen, RunConfig, validated
from napari_segnet.errors import ConfigError, RunFolderError, SegNetError

State = Literal["new", "running", "interrupted", "finished"]
_SILENCE = 900
"""Seconds without a word after which a process on another machine counts as dead."""


class PairRecord(Frozen):
    """One image and its labels, as files.

    `images` is one file, or several of one shape that are used as channels. Relative paths start at the run
    folder. `axes` are those of each image file (``"YX"``, ``"YXC"``, ``"ZYX"``, ``"CYX"`` ...); the labels have
    the same axes without C.
    """

    name: str = Field(min_length=1)
    images: tuple[str, ...] = Field(min_length=1)
    labels: str
    axes: str = Field(pattern=r"^[TZCYX]+$")
    pixel_size: tuple[float, ...] | None = Field(None, description="Size of a pixel along [Z], Y, X.")
    units: str | None = None


def home() -> Path:
    """Return the folder of the runs that were started in the viewer (``NAPARI_SEGNET_HOME`` overrides it)."""
    return Path(os.environ.get("NAPARI_SEGNET_HOME") or platformdirs.user_data_path("napari-segnet"))


def check_new(folder: Path, allowed: Sequence[str] = ()) -> None:
    """Raise `RunFolderError` unless a run can be made here: nothing is in the folder but what is allowed."""
    if folder.exists() and (not folder.is_dir() or any(f.name not in allowed for f in folder.iterdir())):
        raise RunFolderError(f"{folder} exists and is not empty.", "Choose another --out, or resume it.")


class RunFolder:
    """An existing run folder.

    Parameters
    ----------
    path : Path
        The folder. Use `create` for a new one.

    Raises
    ------
    RunFolderError
        If there is no ``config.json`` in it.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        if not (self.path / "config.json").is_file():
            raise RunFolderError(
                f"{self.path} is not a run folder: it has no config.json.", "Name the folder of --out."
            )

    @classmethod
    def create(cls, path: Path | str, config: RunConfig, pairs: Sequence[PairRecord] = ()) -> RunFolder:
        """Make a new run folder; `set_pairs` may add the data later.

        Raises
        ------
        RunFolderError
            If the folder exists and isn't empty, or can't be made.
        """
        folder = Path(path)
        check_new(folder, allowed=("data",))
        try:
            for sub in ("data", "checkpoints"):
                (folder / sub).mkdir(parents=True, exist_ok=True)
            write_atomically(folder / "data" / "pairs.json", _pairs_json(pairs))
            # Last, because a folder with a config.json is a run folder.
            write_atomically(folder / "config.json", config.to_json())
        except OSError as error:
            raise RunFolderError(f"{folder} can't be written: {error.strerror or error}.") from error
        return cls(folder)

    @property
    def data(self) -> Path:
        """The folder of the snapshot."""
        return self.path / "data"

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def model(self) -> Path:
        """The best model on validation."""
        return self.path / "model.safetensors"

    @property
    def last(self) -> Path:
        """The model of the last checkpoint."""
        return self.path / "last.safetensors"

    @property
    def start(self) -> Path:
        """The copy of the model that learning starts from, if it starts from one."""
        return self.data / "start.safetensors"

    @property
    def config(self) -> RunConfig:
        """The configuration, read from disk."""
        return RunConfig.from_json(self._read("config.json"))

    def set_config(self, config: RunConfig) -> None:
        """Replace the configuration."""
        write_atomically(self.path / "config.json", config.to_json())

    @property
    def pairs(self) -> list[PairRecord]:
        """The images and labels of the run; relative paths are resolved."""
        try:
            records = [validated(PairRecord, item) for item in json.loads(self._read("data/pairs.json"))]
        except (json.JSONDecodeError, TypeError, ConfigError) as error:
            raise RunFolderError(f"{self.data / 'pairs.json'} is damaged: {error}.") from error
        return [
            r.replace(images=tuple(str(self.path / i) for i in r.images), labels=str(self.path / r.labels))
            for r in records
        ]

    def set_pairs(self, pairs: Sequence[PairRecord]) -> None:
        """Replace the list of images and labels."""
        write_atomically(self.data / "pairs.json", _pairs_json(pairs))

    def append(self, event: events.Event) -> None:
        """Append one event to ``events.jsonl``."""
        with (self.path / "events.jsonl").open("ab+") as file:
            # A line that a full disk cut short must not swallow the next one.
            if file.tell() > 0 and file.seek(-1, os.SEEK_END) >= 0 and file.read(1) != b"\n":
                file.write(b"\n")
            file.write((events.to_json(event) + "\n").encode())

    def events(self) -> list[events.Event]:
        """Return what happened so far; lines that a crash cut short are left out."""
        path = self.path / "events.jsonl"
        found = []
        if path.exists():
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                with contextlib.suppress(SegNetError):
                    found.append(events.from_json(line))
        return found

    def write_history(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write ``history.csv``: one row an epoch, None as an empty field."""
        columns = list(dict.fromkeys(key for row in rows for key in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: ("" if v is None else v) for k, v in row.items()} for row in rows)
        write_atomically(self.path / "history.csv", text.getvalue())

    def state(self) -> State:
        """Say whether the run is new, running (its process lives), interrupted or finished."""
        if self._owner() is not None:
            return "running"
        ends = [e for e in self.events() if isinstance(e, events.Started | events.Finished)]
        if not ends:
            return "new"
        last = ends[-1]
        return "finished" if isinstance(last, events.Finished) and last.reason != "stopped" else "interrupted"

    def discard_unless_started(self) -> None:
        """Remove a run that ended before it learned anything, so that its name is free for the next try."""
        if self.state() == "new" and not self.last.exists():
            shutil.rmtree(self.path, ignore_errors=True)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run folder; raises `RunFolderError` while another living process holds it."""
        owner = self._owner()
        if owner is not None and owner != (os.getpid(), platform.node()):
            pid, host = owner
            where = f" on {host}" if host != platform.node() else ""
            way_out = f" If it is over, delete {self.path / 'lock'}." if host != platform.node() else ""
            raise RunFolderError(f"{self.path} is in use by process {pid}{where}.", f"Stop that run first.{way_out}")
        mine = {"pid": os.getpid(), "started": psutil.Process().create_time(), "host": platform.node()}
        write_atomically(self.path / "lock", json.dumps(mine))
        try:
            yield
        finally:
            if self._owner() == (os.getpid(), platform.node()):
                (self.path / "lock").unlink(missing_ok=True)

    def beat(self) -> None:
        """Show other machines that the process that holds the lock is alive."""
        with contextlib.suppress(OSError):
            os.utime(self.path / "lock")

    def _owner(self) -> tuple[int, str] | None:
        """Return the number and the machine of the process that holds the folder."""
        try:
            lock = json.loads((self.path / "lock").read_text())
            pid, host = int(lock["pid"]), str(lock.get("host", platform.node()))
            if host != platform.node():
                # A folder that machines share: the process can't be looked at, but what it writes can.
                return (pid, host) if self._seconds_since_written() < _SILENCE else None
            process = psutil.Process(pid)
            # A number is used again for other processes: the same one started at the same time.
            alive = abs(process.create_time() - float(lock["started"])) < 1 and process.status() != "zombie"
        except (OSError, ValueError, KeyError, TypeError, AttributeError, psutil.Error):
            return None
        return (pid, host) if alive else None

    def _seconds_since_written(self) -> float:
        names = ("lock", "events.jsonl", "history.csv")
        return time.time() - max((self.path / n).stat().st_mtime for n in names if (self.path / n).exists())

    def _read(self, name: str) -> str:
        try:
            return (self.path / name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise RunFolderError(f"{self.path / name} can't be read: {error}.") from error


def new_run_path(parent: Path, stem: str) -> Path:
    """Return a path below `parent` that doesn't exist yet: stem, date and time."""
    name = f"{stem}-{time.strftime('%Y%m%d-%H%M%S')}"
    candidates = (parent / (name if n == 1 else f"{name}-{n}") for n in range(1, 10_000))
    return next(path for path in candidates if not path.exists())


def list_runs(parent: Path) -> list[RunFolder]:
    """Return the run folders directly below `parent`, newest first."""
    if not parent.is_dir():
        return []
    found = [RunFolder(p) for p in parent.iterdir() if (p / "config.json").is_file()]
    return sorted(found, key=lambda run: run.path.stat().st_mtime, reverse=True)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file under a temporary name, then rename it: readers see the old file or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _pairs_json(pairs: Sequence[PairRecord]) -> str:
    return json.dumps([pair.model_dump(mode="json") for pair in pairs], indent=1)
