"""Where the numbers are crunched: CPU, CUDA or Apple's MPS; in which precision, and with how much memory."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import platform
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import psutil
import torch

from napari_segnet.errors import ConfigError

Precision = Literal["auto", "float32", "bfloat16"]

_OUT_OF_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "alloc_failed",
    "bad_alloc",
    "invalid buffer size",  # MPS, for a buffer beyond what Metal can make
)
# Names of glibc's malloc.h.
_MMAP_MAX, _TRIM_THRESHOLD = -4, -1
_reusing = threading.Lock()


def channels_last(ndim: int) -> torch.memory_format:
    """Return the layout in which convolutions of planes (`ndim` 2) or volumes (3) are quickest."""
    return torch.channels_last if ndim == 2 else torch.channels_last_3d


def pick_device(name: str = "auto") -> torch.device:
    """Return the device called `name`; ``"auto"`` is CUDA, else MPS, else the CPU.

    Raises
    ------
    ConfigError
        If the device is not there, or there is no such kind of device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if _has_mps() else "cpu")
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (number and (kind != "cuda" or not number.isdecimal())):
        raise ConfigError(f"There is no device called {name!r}.", "Use auto, cpu, cuda, cuda:N or mps.")
    if kind == "mps" and not _has_mps():
        raise ConfigError("Device mps was asked for, but this is no Apple GPU.", "Use --device auto.")
    if kind == "cuda":
        _check_cuda(int(number or 0))
    return torch.device(name)


def _has_mps() -> bool:
    return torch.backends.mps.is_available()


def _check_cuda(number: int) -> None:
    if torch.version.cuda is None and torch.version.hip is None:
        raise ConfigError(
            f"Device cuda was asked for, but the installed torch {torch.__version__} was built without it.",
            "Install torch for CUDA (pytorch.org, Get Started), or use --device auto.",
        )
    if not torch.cuda.is_available():
        raise ConfigError(
            "Device cuda was asked for, but torch sees no usable GPU.",
            "Run `napari-segnet doctor`, which says why, or use --device auto.",
        )
    count = torch.cuda.device_count()
    if number >= count:
        raise ConfigError(f"There is no device cuda:{number}: torch sees {count}.", "They are counted from cuda:0.")


def device_name(device: torch.device) -> str:
    """Return the name people know a device by, such as ``"cuda (NVIDIA H100)"``."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    if device.type == "mps":
        return f"mps ({platform.processor() or 'Apple'})"
    return f"cpu ({torch.get_num_threads()} threads)"


def autocast_dtype(device: torch.device, precision: Precision = "auto") -> torch.dtype | None:
    """Return the type that convolutions run in under autocast; None: all in float32.

    ``"auto"`` takes bfloat16 where the hardware has it: elsewhere it is emulated, and slower than float32.
    """
    if precision == "float32":
        return None
    if precision == "bfloat16" or _bfloat16_pays(device):
        return torch.bfloat16
    return None


def _bfloat16_pays(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        # Older torch lacks these questions: then float32 it is.
        questions = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return any(getattr(torch.cpu, question, bool)() for question in questions)
    return False


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether `error` means that memory ran out, on any device."""
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error).lower() for text in _OUT_OF_MEMORY)


def empty_cache(device: torch.device) -> None:
    """Give cached, unused memory of a GPU back, so that a smaller attempt finds it in one piece."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def free_memory(device: torch.device) -> int:
    """Return how many bytes can still be allocated on a device, caches counted as free."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free) + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if device.type == "mps":
        return max(0, int(torch.mps.recommended_max_memory()) - torch.mps.current_allocated_memory())
    return min(int(psutil.virtual_memory().available), _group_memory())


def _group_memory(folder: Path = Path("/sys/fs/cgroup")) -> int:
    """Return what a container or a batch system leaves of its memory limit."""
    try:
        limit = int((folder / "memory.max").read_text())
        used = int((folder / "memory.current").read_text())
        rows = (line.split() for line in (folder / "memory.stat").read_text().splitlines())
        cached = sum(int(value) for key, value in rows if key == "inactive_file")
    except (OSError, ValueError):
        # No such system, or the limit is "max".
        return 2**63
    return max(0, limit - used + cached)


@contextlib.contextmanager
def reused_memory(device: torch.device) -> Iterator[None]:
    """Keep freed memory in the process for the next layer, instead of returning it to the system each time.

    glibc gives each large tensor pages of its own and returns them at once; the system clears them again for
    the next layer. On a CPU that costs a U-Net on large tiles up to 40 % of its time. Afterwards everything
    is returned. It does nothing on a GPU, whose allocator works so already, or with another C library.
    """
    library = _glibc() if device.type == "cpu" else None
    if library is None or _reusing.locked():
        yield
        return
    with _reusing:
        yield from _reuse(library)


def _reuse(library: ctypes.CDLL) -> Iterator[None]:
    library.mallopt(_MMAP_MAX, 0)
    library.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
    try:
        yield
    finally:
        # What a fresh process arrives at after some large allocations.
        library.mallopt(_MMAP_MAX, 65536)
        library.mallopt(_TRIM_THRESHOLD, 2**26)
        library.malloc_trim(0)


@functools.cache
def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    known = all(hasattr(library, name) for name in ("gnu_get_libc_version", "mallopt", "malloc_trim"))
    return library if known else None
