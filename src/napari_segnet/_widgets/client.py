"""The worker process as a Qt object: commands go in, events come out, nothing blocks."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qtpy.QtCore import QCoreApplication, QObject, QProcess, QProcessEnvironment, QTimer, Signal

from napari_segnet import run
from napari_segnet.errors import SegNetError
from napari_segnet.events import Event, Ready, from_json

WORKER: tuple[str, ...] = (sys.executable, "-m", "napari_segnet.worker")
_LOG_LIMIT = 2_000_000
_LINES_A_TURN = 50


class WorkerClient(QObject):
    """Starts the worker, sends it commands, and emits its events.

    Parameters
    ----------
    command : sequence of str
        The program and its arguments; the tests put a small script here.
    parent : QObject, optional
        The owner.
    """

    received = Signal(object)
    """An `Event`."""
    died = Signal(str)
    """The process ended without having been asked to; a sentence says how."""

    def __init__(self, command: Sequence[str] = WORKER, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._command = tuple(command)
        self._process: QProcess | None = None
        self._lines: list[str] = []
        self._rest = b""
        self._asked_to_end = False
        self._ready = False
        # A burst of lines must not hold the event loop: some lines a turn.
        self._drain = QTimer(self)
        self._drain.setInterval(0)
        self._drain.timeout.connect(self._emit_some)
        application = QCoreApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(self.end_now)

    @property
    def log(self) -> Path:
        """The file that holds what the worker wrote to its standard error."""
        return run.home() / "worker.log"

    @property
    def alive(self) -> bool:
        """Whether the process is starting or running."""
        return self._process is not None and self._process.state() != QProcess.ProcessState.NotRunning

    @property
    def pid(self) -> int | None:
        """The number of the process, None where there is none."""
        return int(self._process.processId()) if self._process is not None and self.alive else None

    def start(self) -> None:
        """Start the worker, unless it is alive already; returns at once."""
        if self.alive:
            return
        self._forget()
        self._asked_to_end = self._ready = False
        process = QProcess(self)
        environment = QProcessEnvironment.systemEnvironment()
        environment.insert("PYTHONUNBUFFERED", "1")
        environment.insert("PYTHONIOENCODING", "utf-8")
        process.setProcessEnvironment(environment)
        self._send_errors_to_log(process)
        process.readyReadStandardOutput.connect(self._read)
        process.finished.connect(self._on_finished)
        process.errorOccurred.connect(self._on_error)
        self._process = process
        process.start(self._command[0], list(self._command[1:]))

    def send(self, command: str, **values: Any) -> None:
        """Send one command; it is lost when there is no worker."""
        if self._process is not None and self.alive:
            self._process.write((json.dumps({"command": command, **values}) + "\n").encode())

    def close(self, patience: float = 5.0) -> None:
        """End the worker without waiting: it is asked first, and killed if it is there after `patience` seconds.

        A run that is going on is saved by the worker before it ends; if it is killed, its last checkpoint stays.
        """
        process = self._process
        self._asked_to_end = True
        application = QCoreApplication.instance()
        if process is None or not self.alive or application is None:
            self._forget()
            return
        self.send("quit")
        process.closeWriteChannel()
        self._let_go(process)
        if not self._ready:
            # Still loading its libraries: it has nothing to save, and wouldn't hear it for seconds.
            process.kill()
        # From here on the process belongs to the application: this object and its dock may go.
        process.setParent(application)
        process.finished.connect(process.deleteLater)
        killer = QTimer(process)
        killer.setSingleShot(True)
        killer.timeout.connect(process.kill)
        killer.start(int(patience * 1000))
        application.aboutToQuit.connect(lambda: _end_now(process))
        self._process = None

    def end_now(self) -> None:
        """End the worker, and wait until it is gone: for the moment when the application ends."""
        process = self._process
        if process is not None and self.alive:
            self._asked_to_end = True
            self.send("quit")
            process.waitForBytesWritten(200)
            process.closeWriteChannel()
            _end_now(process)
        self._forget()

    def _send_errors_to_log(self, process: QProcess) -> None:
        try:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            if self.log.exists() and self.log.stat().st_size > _LOG_LIMIT:
                self.log.unlink()
            writable = os.access(self.log.parent, os.W_OK)
        except OSError:
            writable = False
        # Without a reader the pipe would fill, and the worker would stand still.
        name = str(self.log) if writable else QProcess.nullDevice()
        process.setStandardErrorFile(name, QProcess.OpenModeFlag.Append)

    def _read(self) -> None:
        if self._process is None:
            return
        data = self._rest + bytes(self._process.readAllStandardOutput().data())
        *lines, self._rest = data.split(b"\n")
        self._lines += [line.decode("utf-8", "replace") for line in lines if line.strip()]
        if self._lines and not self._drain.isActive():
            self._drain.start()

    def _emit_some(self) -> None:
        now, self._lines = self._lines[:_LINES_A_TURN], self._lines[_LINES_A_TURN:]
        if not self._lines:
            self._drain.stop()
        for line in now:
            event = _event_or_none(line)
            if event is not None:
                self._ready = self._ready or isinstance(event, Ready)
                self.received.emit(event)

    def _on_finished(self, code: int, status: QProcess.ExitStatus) -> None:
        self._read()
        while self._lines:
            self._emit_some()
        if self._asked_to_end:
            return
        crashed = status == QProcess.ExitStatus.CrashExit
        how = "was killed" if crashed else f"ended with code {code}"
        self.died.emit(f"The worker process {how}.")

    def _on_error(self, error: QProcess.ProcessError) -> None:
        # Other errors are followed by `finished`; this one is not.
        if error == QProcess.ProcessError.FailedToStart and not self._asked_to_end:
            self.died.emit(f"The worker process can't be started: {self._command[0]} doesn't run.")

    def _forget(self) -> None:
        if self._process is not None:
            self._let_go(self._process)
            self._process.deleteLater()
            self._process = None

    def _let_go(self, process: QProcess) -> None:
        self._drain.stop()
        self._lines, self._rest = [], b""
        process.readyReadStandardOutput.disconnect(self._read)
        process.finished.disconnect(self._on_finished)
        process.errorOccurred.disconnect(self._on_error)


def _end_now(process: QProcess, patience: float = 1.5) -> None:
    # The C++ object may be gone already, with its process.
    with contextlib.suppress(RuntimeError):
        if not process.waitForFinished(int(patience * 1000)):
            process.kill()
            process.waitForFinished(1000)


def _event_or_none(line: str) -> Event | None:
    # A library that prints to standard output must not break the run.
    try:
        return from_json(line)
    except SegNetError:
        return None
