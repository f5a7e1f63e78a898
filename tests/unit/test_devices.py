import subprocess
import sys

import pytest
import torch

from napari_segnet import _torch, devices
from napari_segnet.errors import ConfigError

WITHOUT_CUDA = not torch.cuda.is_available()


def test_auto_takes_the_best_device_that_is_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(devices, "_has_mps", lambda: True)
    assert devices.pick_device("auto").type == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert devices.pick_device("auto").type == "mps"
    monkeypatch.setattr(devices, "_has_mps", lambda: False)
    assert devices.pick_device("auto").type == "cpu"


@pytest.mark.parametrize("name", ["gpu", "cpu:1", "cuda:x", "cuda:-1", "mps:0", ""])
def test_an_unknown_device_is_refused_with_the_valid_names(name):
    with pytest.raises(ConfigError, match="auto, cpu, cuda"):
        devices.pick_device(name)


@pytest.mark.skipif(not WITHOUT_CUDA, reason="there is a GPU")
def test_asking_for_cuda_without_a_gpu_says_what_to_do():
    with pytest.raises(ConfigError, match="--device auto"):
        devices.pick_device("cuda")


def test_a_gpu_number_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert devices.pick_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(ConfigError, match="torch sees 2"):
        devices.pick_device("cuda:2")


def test_bfloat16_is_chosen_only_where_the_hardware_has_it(monkeypatch):
    cpu = torch.device("cpu")
    for has, expected in ((True, torch.bfloat16), (False, None)):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda has=has: has, raising=False)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False, raising=False)
        assert devices.autocast_dtype(cpu, "auto") is expected
        assert devices.autocast_dtype(cpu, "float32") is None
        assert devices.autocast_dtype(cpu, "bfloat16") is torch.bfloat16
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    assert devices.autocast_dtype(torch.device("cuda"), "auto") is None
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    assert devices.autocast_dtype(torch.device("cuda"), "auto") is torch.bfloat16


def test_a_real_failed_allocation_counts_as_out_of_memory():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**58, dtype=torch.uint8)
    assert devices.is_out_of_memory(caught.value)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 18.00 GB)"), True),
        (RuntimeError("Invalid buffer size: 37.25 GiB"), True),
        (RuntimeError("CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("std::bad_alloc"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_errors_of_memory_are_told_from_others(error, expected):
    assert devices.is_out_of_memory(error) is expected


def test_free_memory_respects_the_limit_of_a_container(tmp_path, monkeypatch):
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("700\n")
    (tmp_path / "memory.stat").write_text("anon 500\ninactive_file 150\n")
    assert devices._group_memory(tmp_path) == 450
    (tmp_path / "memory.max").write_text("max\n")
    assert devices._group_memory(tmp_path) > 2**60
    monkeypatch.setattr(devices, "_group_memory", lambda: 123)
    assert devices.free_memory(torch.device("cpu")) == 123


def test_memory_is_kept_for_reuse_inside_and_returned_after():
    class Recorder:
        def __init__(self):
            self.calls = []

        def mallopt(self, name, value):
            self.calls.append((name, value))

        def malloc_trim(self, pad):
            self.calls.append("trim")

    recorder = Recorder()
    cpu = torch.device("cpu")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(devices, "_glibc", lambda: recorder)
        with devices.reused_memory(cpu):
            assert recorder.calls == [(-4, 0), (-1, 2**31 - 1)]
            # Inside it a second one changes nothing, neither at its start nor at its end.
            with devices.reused_memory(cpu):
                pass
            assert len(recorder.calls) == 2
        assert recorder.calls[2:] == [(-4, 65536), (-1, 2**26), "trim"]
        with devices.reused_memory(torch.device("cuda")):
            assert len(recorder.calls) == 5


def test_networks_import_although_the_operators_of_torchvision_cannot_load():
    script = (
        "import torch\n"
        "def fail(path): raise OSError('libcudart.so: cannot open shared object file')\n"
        "torch.ops.load_library = fail\n"
        "from napari_segnet import _torch\n"
        "smp = _torch.import_smp()\n"
        "assert _torch.prepare_torchvision()\n"
        "net = smp.Unet('resnet18', encoder_weights=None, in_channels=1, classes=2).eval()\n"
        "print(tuple(net(torch.zeros(1, 1, 64, 64)).shape))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "(1, 2, 64, 64)", done.stderr


def test_a_torchvision_that_works_is_left_alone(monkeypatch):
    monkeypatch.setattr(_torch, "_declared", [])
    monkeypatch.setattr(_torch, "_operators_load", lambda: True)
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    assert _torch.prepare_torchvision() is False
    assert _torch._declared == []
