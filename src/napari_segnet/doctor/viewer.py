"""What shows: Qt, OpenGL, napari, and the plugin in it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterable
from importlib import resources

import yaml

from napari_segnet.doctor.check import Check, first_line, version_of

_BINDINGS = ("PySide6", "PyQt6", "PyQt5", "PySide2")
_SOFTWARE = ("llvmpipe", "softpipe", "swrast", "swiftshader", "software")
_DEBIAN = (
    "libgl1 libgl1-mesa-dri libegl1 libopengl0 libxcb-cursor0 libxcb-icccm4 libxcb-image0 libxcb-keysyms1 "
    "libxcb-render-util0 libxcb-xkb1 libxkbcommon-x11-0"
)
_FEDORA = (
    "mesa-dri-drivers mesa-libGL mesa-libEGL libglvnd-opengl xcb-util-cursor xcb-util-wm xcb-util-image "
    "xcb-util-keysyms xcb-util-renderutil libxkbcommon-x11"
)
_OPENGL_PROBE = """
from qtpy.QtGui import QGuiApplication, QOffscreenSurface, QOpenGLContext
app = QGuiApplication([])
context = QOpenGLContext()
surface = QOffscreenSurface()
surface.create()
assert context.create() and context.makeCurrent(surface), "no OpenGL context could be made"
import ctypes, ctypes.util, sys
print("platform", app.platformName())
print("version", ".".join(map(str, context.format().version())))
if sys.platform.startswith("linux"):
    for name in ("libOpenGL.so.0", "libGL.so.1"):
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        library.glGetString.restype = ctypes.c_char_p
        print("renderer", (library.glGetString(0x1F01) or b"").decode())
        break
"""


def check_qt(installed: Iterable[str] | None = None) -> Check:
    """Count the Qt bindings: one, and one only, should be there."""
    if installed is None:
        installed = [name for name in _BINDINGS if importlib.util.find_spec(name) is not None]
    names = list(installed)
    if not names:
        return Check(
            "Qt",
            "fail",
            "There is no Qt binding: the viewer can't open.",
            'Run: pip install "napari-segnet[pyside6]" (the shell commands work without).',
        )
    if len(names) > 1:
        wanted = os.environ.get("QT_API")
        choice = f"QT_API={wanted} chooses" if wanted else "the order of imports decides which is used"
        return Check(
            "Qt",
            "warn",
            f"{' and '.join(names)} are installed; {choice}.",
            f"Keep one: pip uninstall {' '.join(names[1:])}",
        )
    return Check("Qt", "ok", f"{names[0]} {version_of(names[0])}")


def check_pyside(version: str | None = None, python: tuple[int, int] = sys.version_info[:2]) -> Check:
    """Look for versions that crash: PySide6 6.12.0 on Python 3.11 miscounts references, 6.7 collects too early."""
    version = version or version_of("PySide6")
    if not version:
        return Check("PySide6", "ok", "It is not installed, and need not be beside another binding.")
    if version == "6.12.0" and python == (3, 11):
        return Check(
            "PySide6",
            "fail",
            "6.12.0 on Python 3.11 crashes after some hundred signals.",
            'Run: pip install "PySide6!=6.12.0"',
        )
    if version.startswith("6.7."):
        return Check(
            "PySide6", "fail", f"{version} crashes when a viewer is closed.", 'Run: pip install "PySide6>=6.8"'
        )
    return Check("PySide6", "ok", f"{version} has no known trap on Python {python[0]}.{python[1]}")


def check_opengl() -> Check:
    """Make an OpenGL context, in a process of its own: it may crash."""
    if check_qt().status == "fail":
        return Check("OpenGL", "fail", "It can't be tried without a Qt binding.")
    if os.environ.get("QT_QPA_PLATFORM") in ("offscreen", "minimal"):
        return Check(
            "OpenGL",
            "fail",
            f"QT_QPA_PLATFORM={os.environ['QT_QPA_PLATFORM']} has no OpenGL: adding an image would fail.",
            "Unset QT_QPA_PLATFORM; without a display use a virtual one: xvfb-run -a napari",
        )
    if not has_display():
        return Check(
            "OpenGL",
            "warn",
            "There is no display, so no viewer can open; the shell commands work.",
            "For a virtual display: sudo apt-get install xvfb libgl1-mesa-dri (Fedora: xorg-x11-server-Xvfb "
            "mesa-dri-drivers), then xvfb-run -a napari",
        )
    try:
        answer = subprocess.run(
            [sys.executable, "-c", _OPENGL_PROBE], capture_output=True, text=True, timeout=60, check=False
        )
    except subprocess.TimeoutExpired:
        return Check("OpenGL", "fail", "Qt gave no answer within 60 s.", "Look at the display, or its server.")
    return judge_opengl(answer.returncode, answer.stdout, answer.stderr)


def judge_opengl(code: int, output: str, complaint: str) -> Check:
    """Read the answer of the process that tried to make an OpenGL context."""
    if code == 0:
        facts = dict(line.split(" ", 1) for line in output.splitlines() if " " in line)
        renderer = facts.get("renderer", "")
        found = f"{facts.get('version', '?')} on {facts.get('platform', '?')}"
        found += f", {renderer}" if renderer else ""
        if any(word in renderer.lower() for word in _SOFTWARE):
            return Check(
                "OpenGL",
                "warn",
                f"{found}: drawn in software, which is slow for large images.",
                "Fine for tests and in virtual displays; else install the driver of the graphics card.",
            )
        return Check("OpenGL", "ok", found)
    remedy = "Update the driver of the graphics card."
    if sys.platform.startswith("linux"):
        remedy = f"Debian, Ubuntu: sudo apt-get install {_DEBIAN}. Fedora: sudo dnf install {_FEDORA}"
    lines = [line for line in complaint.splitlines() if line.strip()]
    telling = [line for line in lines if any(w in line for w in ("plugin", "lib", "OpenGL", "display"))]
    reason = (telling or lines or [f"exit code {code}"])[-1].strip()
    return Check("OpenGL", "fail", f"No context could be made: {first_line(reason)}", remedy)


def has_display() -> bool:
    """Say whether a window could open: always on Windows and macOS, on Linux where a display is named."""
    if not sys.platform.startswith("linux"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def check_napari(version: str | None = None) -> Check:
    """See whether napari is new enough."""
    version = version or version_of("napari")
    if not version:
        return Check("napari", "fail", "It is not installed.", 'Run: pip install "napari>=0.9"')
    if tuple(int(part) for part in version.split(".")[:2] if part.isdecimal()) < (0, 9):
        return Check("napari", "fail", f"{version} is too old.", 'Run: pip install --upgrade "napari>=0.9"')
    return Check("napari", "ok", version)


def check_plugin() -> Check:
    """See whether napari finds the plugin."""
    remedy = "Install it anew: pip install --force-reinstall --no-deps napari-segnet"
    if "napari-segnet" not in importlib.metadata.entry_points(group="napari.manifest").names:
        return Check("plugin", "fail", "napari finds no manifest of napari-segnet.", remedy)
    manifest = yaml.safe_load((resources.files("napari_segnet") / "napari.yaml").read_text(encoding="utf-8"))
    widgets = (manifest or {}).get("contributions", {}).get("widgets")
    if not widgets:
        return Check("plugin", "fail", "The manifest of napari-segnet names no widget.", remedy)
    names = ", ".join(str(widget["display_name"]) for widget in widgets)
    return Check("plugin", "ok", f"napari-segnet {version_of('napari-segnet')}: {names}")
