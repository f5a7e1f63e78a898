"""What surrounds it: Python, memory, disk, folders, the network."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
import urllib.error
import urllib.request

import psutil

from napari_segnet.doctor.check import Check, first_line
from napari_segnet.run import home


def check_python(version: tuple[int, int] = sys.version_info[:2]) -> Check:
    """Look at Python itself."""
    found = f"{platform.python_version()} on {platform.platform(terse=True)}, {platform.machine()}"
    if version < (3, 11):
        return Check("Python", "fail", found, "Install Python 3.11 or newer.")
    return Check("Python", "ok", found)


def check_memory(available: int | None = None) -> Check:
    """See whether there is memory left to learn with."""
    available = psutil.virtual_memory().available if available is None else available
    found = f"{available / 2**30:.1f} GB free"
    if available < 2 * 2**30:
        return Check("memory", "warn", found, "Close other programs; learning takes 1 to 2 GB on the CPU.")
    return Check("memory", "ok", found)


def check_disk(free: int | None = None) -> Check:
    """See whether there is room for runs."""
    if free is None:
        folder = home()
        while not folder.exists():
            folder = folder.parent
        free = shutil.disk_usage(folder).free
    found = f"{free / 2**30:.1f} GB free for runs ({home()})"
    remedy = "Free some space, or set NAPARI_SEGNET_HOME to a folder on another disk."
    if free < 200 * 2**20:
        return Check("disk", "fail", found, remedy)
    return Check("disk", "warn", found, remedy) if free < 2 * 2**30 else Check("disk", "ok", found)


def check_runs_folder() -> Check:
    """Write to the folder of the viewer's runs."""
    folder = home()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
    except OSError as error:
        return Check(
            "runs folder",
            "fail",
            f"{folder} can't be written: {error.strerror or error}.",
            "Set NAPARI_SEGNET_HOME to a folder that you may write to.",
        )
    return Check("runs folder", "ok", str(folder))


def check_hub(timeout: float = 5) -> Check:
    """See whether pretrained encoder weights can be fetched."""
    scratch = "Train from scratch (--weights none), or name a file (--weights FILE)."
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        return Check(
            "model hub",
            "warn",
            "HF_HUB_OFFLINE is set: only encoder weights that are on this machine already can be used.",
            f"Unset HF_HUB_OFFLINE. {scratch}",
        )
    address = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    if not address.startswith(("https://", "http://")):
        return Check("model hub", "fail", f"HF_ENDPOINT={address!r} is no web address.", "Unset HF_ENDPOINT.")
    try:
        with urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=timeout):  # noqa: S310
            pass
    except urllib.error.HTTPError as error:
        if error.code >= 500 or error.code in (403, 407):
            return Check("model hub", "warn", f"{address} answers with error {error.code}.", scratch)
    except OSError as error:
        reason = getattr(error, "reason", error)
        return Check(
            "model hub",
            "warn",
            f"{address} can't be reached ({first_line(str(reason))}): no pretrained encoder weights.",
            f"Look at the connection; behind a proxy set HTTPS_PROXY. {scratch}",
        )
    return Check("model hub", "ok", f"{address} can be reached")
