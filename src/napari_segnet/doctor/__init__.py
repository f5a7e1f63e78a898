"""What works on this machine, what doesn't, and how to mend it: ``napari-segnet doctor``.

Each check answers one question and never raises: a broken installation is what it is for. What could take the
process down with it (Qt, OpenGL) is tried in a process of its own.
"""

from __future__ import annotations

from collections.abc import Callable

from napari_segnet.doctor import compute, machine, viewer
from napari_segnet.doctor.check import Check, Status, first_line

__all__ = ["Check", "Status", "checks"]


def checks() -> list[Check]:
    """Run all checks; takes some seconds, most of them for importing torch.

    Returns
    -------
    list of Check
        In the order in which things are needed.
    """
    return [
        _safely(name, check)
        for name, check in (
            ("Python", machine.check_python),
            ("torch", compute.check_torch),
            ("torchvision", compute.check_torchvision),
            ("networks", compute.check_networks),
            ("GPU", compute.check_gpu),
            ("bfloat16", compute.check_bfloat16),
            ("Qt", viewer.check_qt),
            ("PySide6", viewer.check_pyside),
            ("OpenGL", viewer.check_opengl),
            ("napari", viewer.check_napari),
            ("plugin", viewer.check_plugin),
            ("memory", machine.check_memory),
            ("disk", machine.check_disk),
            ("runs folder", machine.check_runs_folder),
            ("model hub", machine.check_hub),
        )
    ]


def _safely(name: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    except Exception as error:  # a check that fails is a finding too, and the others go on
        return Check(name, "fail", f"Could not be checked: {type(error).__name__}: {first_line(str(error))}")
