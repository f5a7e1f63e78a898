"""What learns: torch, its libraries, and the device they run on."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import warnings

from napari_segnet.doctor.check import Check, first_line, version_of


def check_torch() -> Check:
    """Import torch, and see what it was built for."""
    try:
        import torch
    except ModuleNotFoundError:
        return Check("torch", "fail", "It is not installed.", "Run: pip install torch torchvision")
    except (ImportError, OSError) as error:
        return Check(
            "torch",
            "fail",
            f"It can't be loaded: {first_line(str(error))}",
            "Reinstall it: pip install --force-reinstall torch torchvision. On Windows it also needs "
            "Microsoft's Visual C++ redistributable.",
        )
    built = f"CUDA {torch.version.cuda}" if torch.version.cuda else "ROCm" if torch.version.hip else "CPU"
    built = "Apple GPU and CPU" if sys.platform == "darwin" else built
    return Check("torch", "ok", f"{torch.__version__}, built for {built}; {torch.get_num_threads()} threads")


def check_torchvision() -> Check:
    """See whether torchvision's compiled operators fit the installed torch."""
    if importlib.util.find_spec("torchvision") is None:
        return Check("torchvision", "fail", "It is not installed.", "Run: pip install torchvision")
    from napari_segnet._torch import prepare_torchvision

    version = version_of("torchvision")
    if prepare_torchvision():
        return Check(
            "torchvision",
            "warn",
            f"{version} was built for another torch: its operators (torchvision::nms ...) can't load.",
            "napari-segnet works around it. Where another package needs them, install torch and torchvision "
            "together from one index, as pytorch.org, Get Started, says.",
        )
    return Check("torchvision", "ok", f"{version}, fits torch")


def check_networks() -> Check:
    """Import the library of networks."""
    from napari_segnet._torch import import_smp
    from napari_segnet.errors import SegNetError

    try:
        smp = import_smp()
    except SegNetError as error:
        return Check("networks", "fail", error.problem, error.remedy)
    return Check("networks", "ok", f"segmentation_models_pytorch {smp.__version__}")


def check_gpu() -> Check:
    """Look for a GPU, and see whether torch sees it."""
    import torch

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        sees_cuda = torch.cuda.is_available()
    if sees_cuda:
        return _describe_cuda()
    if torch.backends.mps.is_available():
        return Check("GPU", "ok", "Apple GPU (MPS)")
    if sys.platform == "darwin":
        return _describe_mac()
    cuda = torch.version.cuda
    return judge_unseen_gpu(_nvidia_driver(), cuda, " ".join(str(warning.message) for warning in said))


def judge_unseen_gpu(driver: str | None, cuda: str | None, said: str = "") -> Check:
    """Say why torch sees no NVIDIA GPU.

    Parameters
    ----------
    driver : str or None
        What nvidia-smi answers: name and driver version, or its complaint. None: it is not installed.
    cuda : str or None
        The CUDA version that torch was built for; None: built for the CPU.
    said : str
        What torch warned of when it was asked.
    """
    if driver is None:
        return Check(
            "GPU",
            "warn",
            "None is seen: learning and predicting run on the CPU.",
            "That works. If this machine has an NVIDIA GPU, install its driver.",
        )
    if "fail" in driver.lower() or "couldn't" in driver.lower():
        return Check(
            "GPU",
            "fail",
            f"The NVIDIA driver does not answer: {driver}",
            "Restart the machine; if that doesn't help, install the driver anew.",
        )
    if cuda is None:
        return Check(
            "GPU",
            "warn",
            f"{driver} is there, but the installed torch was built for the CPU.",
            "Install torch for CUDA: see pytorch.org, Get Started, and choose CUDA.",
        )
    if "too old" in said:
        return Check(
            "GPU",
            "fail",
            f"{driver}: the driver is too old for CUDA {cuda}, which torch was built for.",
            "Update the NVIDIA driver, or install a torch that was built for an older CUDA.",
        )
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None:
        return Check(
            "GPU",
            "warn",
            f"{driver} is there, but CUDA_VISIBLE_DEVICES={hidden!r} hides it.",
            "Unset CUDA_VISIBLE_DEVICES.",
        )
    return Check(
        "GPU",
        "fail",
        f"{driver} is there, but torch can't use it. {first_line(said)}".strip(),
        f"Update the NVIDIA driver to one that knows CUDA {cuda}; restart after an update.",
    )


def _describe_cuda() -> Check:
    import torch

    devices = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    found = "; ".join(f"{d.name}, {d.total_memory / 2**30:.0f} GB" for d in devices)
    # Binary code of a major version runs on its later minor versions only.
    majors = {arch.split("_")[1][:-1] for arch in torch.cuda.get_arch_list() if arch.count("_") == 1}
    foreign = [d.name for d in devices if majors and str(d.major) not in majors]
    if foreign and torch.version.hip is None:
        return Check(
            "GPU",
            "fail",
            f"{found}: this torch holds no code for {', '.join(foreign)}.",
            "Install another build of torch (pytorch.org, Get Started), or use --device cpu.",
        )
    return Check("GPU", "ok", found)


def _describe_mac() -> Check:
    if platform.machine() == "x86_64":
        return Check(
            "GPU",
            "warn",
            "No Apple GPU is seen by this Intel build of Python.",
            "On an Apple silicon Mac, install the arm64 build of Python; on an Intel Mac the CPU is used.",
        )
    return Check("GPU", "warn", "The Apple GPU is not usable.", "Update macOS to 14 or newer, and torch to the newest.")


def _nvidia_driver() -> str | None:
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    question = [program, "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(question, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"nvidia-smi failed: {error}"
    text = (answer.stdout or answer.stderr).strip()
    return first_line(text) if answer.returncode == 0 and text else f"nvidia-smi failed: {first_line(text)}"


def check_bfloat16() -> Check:
    """See whether half precision pays on the device that ``auto`` stands for."""
    from napari_segnet.devices import autocast_dtype, device_name, pick_device

    device = pick_device("auto")
    if autocast_dtype(device) is None:
        return Check("bfloat16", "ok", f"Not on {device_name(device)}: all is computed in float32.")
    return Check("bfloat16", "ok", f"Used on {device_name(device)}.")
