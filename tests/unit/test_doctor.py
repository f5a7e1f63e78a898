"""What `napari-segnet doctor` says of common troubles, each with its remedy."""

import dataclasses
import http.server
import sys
import threading

import pytest

from napari_segnet import doctor
from napari_segnet.doctor import compute, machine, viewer


def test_every_check_is_answered_once_and_troubles_have_remedies(monkeypatch, tmp_path):
    monkeypatch.setenv("NAPARI_SEGNET_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    found = doctor.checks()
    names = [check.name for check in found]
    assert names == [
        *("Python", "torch", "torchvision", "networks", "GPU", "bfloat16", "Qt", "PySide6", "OpenGL"),
        *("napari", "plugin", "memory", "disk", "runs folder", "model hub"),
    ]
    assert all(check.remedy for check in found if check.status != "ok")
    by_name = {check.name: check for check in found}
    assert by_name["torch"].status == by_name["networks"].status == "ok"
    assert by_name["torchvision"].status in ("ok", "warn")


def test_a_check_that_breaks_is_a_finding_and_the_others_go_on(monkeypatch):
    def broken():
        raise KeyError("no such thing")

    monkeypatch.setattr(machine, "check_python", broken)
    monkeypatch.setattr(machine, "check_hub", broken)
    for check in (viewer.check_opengl, compute.check_networks, compute.check_torch):
        monkeypatch.setattr(sys.modules[check.__module__], check.__name__, lambda: doctor.Check("x", "ok", "y"))
    found = doctor.checks()
    assert (found[0].name, found[0].status) == ("Python", "fail")
    assert "KeyError" in found[0].found
    assert found[-1].status == "fail"
    assert len(found) == 15


def test_a_finding_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        doctor.Check("disk", "ok", "").status = "fail"


GPUS = [
    # nvidia-smi says, torch's CUDA, torch warns, status, in what was found, in the remedy
    (None, "12.8", "", "warn", "CPU", "driver"),
    (None, None, "", "warn", "CPU", "driver"),
    ("RTX A4000, 570.1", None, "", "warn", "built for the CPU", "pytorch.org"),
    ("RTX A4000, 470.1", "13.0", "The driver is too old (found 11040)", "fail", "too old for", "Update"),
    ("nvidia-smi failed: couldn't communicate with the driver", "13.0", "", "fail", "not answer", "Restart"),
    ("RTX A4000, 570.1", "12.8", "CUDA unknown error", "fail", "unknown error", "Update"),
]  # fmt: skip


@pytest.mark.parametrize(("driver", "cuda", "said", "status", "found", "remedy"), GPUS)
def test_it_says_why_no_gpu_is_used(monkeypatch, driver, cuda, said, status, found, remedy):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    check = compute.judge_unseen_gpu(driver, cuda, said)
    assert check.status == status
    assert found in check.found
    assert remedy in check.remedy


def test_a_gpu_hidden_by_an_environment_variable(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    check = compute.judge_unseen_gpu("RTX A4000, 570.1", "12.8")
    assert (check.status, check.remedy) == ("warn", "Unset CUDA_VISIBLE_DEVICES.")


def test_a_silent_nvidia_smi_counts_as_a_broken_driver(monkeypatch, tmp_path):
    program = tmp_path / "nvidia-smi"
    program.write_text('#!/bin/sh\necho "NVIDIA-SMI has failed because it couldn\'t communicate" >&2\nexit 9\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    driver = compute._nvidia_driver()
    assert compute.judge_unseen_gpu(driver, "12.8").status == "fail"
    assert "couldn't communicate" in driver


QT = [
    ([], "fail", "pyside6"),
    (["PySide6"], "ok", ""),
    (["PySide6", "PyQt6"], "warn", "pip uninstall PyQt6"),
]


@pytest.mark.parametrize(("installed", "status", "remedy"), QT)
def test_one_qt_binding_is_right(installed, status, remedy):
    check = viewer.check_qt(installed)
    assert check.status == status
    assert remedy in check.remedy


@pytest.mark.parametrize(
    ("version", "python", "status"),
    [
        ("6.12.0", (3, 11), "fail"),
        ("6.12.0", (3, 12), "ok"),
        ("6.12.1", (3, 11), "ok"),
        ("6.7.1", (3, 12), "fail"),
        ("6.8.3", (3, 11), "ok"),
        ("6.11.3", (3, 11), "ok"),
    ],
)
def test_versions_of_pyside_that_crash_are_named(version, python, status):
    assert viewer.check_pyside(version, python).status == status


def test_the_offscreen_platform_has_no_opengl(monkeypatch):
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    check = viewer.check_opengl()
    assert check.status == "fail"
    assert "QT_QPA_PLATFORM" in check.remedy


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems always have a display")
def test_without_a_display_it_names_the_virtual_one(monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    check = viewer.check_opengl()
    assert check.status == "warn"
    assert "xvfb-run" in check.remedy


OPENGL = [
    (0, "platform xcb\nversion 4.6\nrenderer NVIDIA RTX A4000\n", "", "ok", "4.6 on xcb, NVIDIA RTX A4000"),
    (0, "platform xcb\nversion 4.5\nrenderer llvmpipe (LLVM 15)\n", "", "warn", "software"),
    (-6, "", 'qt.qpa.plugin: Could not load the Qt platform plugin "xcb"\nAborted\n', "fail", "xcb"),
    (1, "", "AssertionError: no OpenGL context could be made", "fail", "no OpenGL context"),
    (-11, "", "", "fail", "exit code -11"),
]


@pytest.mark.parametrize(("code", "output", "complaint", "status", "found"), OPENGL)
def test_answers_of_the_opengl_probe(code, output, complaint, status, found):
    check = viewer.judge_opengl(code, output, complaint)
    assert check.status == status
    assert found in check.found
    assert bool(check.remedy) == (status != "ok")


@pytest.mark.viewer
def test_the_opengl_probe_works_on_this_display(monkeypatch):
    check = viewer.check_opengl()
    assert check.status in ("ok", "warn"), check
    assert check.found[0].isdigit()  # a version: "4.5 on xcb ..."


@pytest.mark.parametrize(("version", "status"), [("0.8.9", "fail"), ("0.9.0", "ok"), ("0.10.1", "ok"), ("1.0", "ok")])
def test_napari_must_be_new_enough(version, status):
    assert viewer.check_napari(version).status == status


def test_python_3_10_is_too_old():
    assert machine.check_python((3, 10)).status == "fail"
    assert machine.check_python((3, 13)).status == "ok"


def test_little_memory_and_little_disk(monkeypatch, tmp_path):
    monkeypatch.setenv("NAPARI_SEGNET_HOME", str(tmp_path / "not" / "made" / "yet"))
    gigabyte = 2**30
    assert machine.check_memory(gigabyte).status == "warn"
    assert machine.check_memory(8 * gigabyte).status == "ok"
    assert [machine.check_disk(n).status for n in (10 * gigabyte, gigabyte, gigabyte // 10)] == [
        "ok",
        "warn",
        "fail",
    ]
    assert machine.check_disk().found.endswith(f"({tmp_path / 'not' / 'made' / 'yet'})")


def test_a_runs_folder_that_cannot_be_made(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("NAPARI_SEGNET_HOME", str(tmp_path / "file"))
    check = machine.check_runs_folder()
    assert check.status == "fail"
    assert "NAPARI_SEGNET_HOME" in check.remedy
    monkeypatch.setenv("NAPARI_SEGNET_HOME", str(tmp_path / "new"))
    assert machine.check_runs_folder().status == "ok"
    assert list((tmp_path / "new").iterdir()) == []


@pytest.fixture
def hub(monkeypatch):
    """A hub on this machine; set its `status` to choose its answer."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(self.server.status)
            self.end_headers()

        def log_message(self, *_):
            pass

    for name in ("HF_HUB_OFFLINE", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}/")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(("answer", "status"), [(200, "ok"), (404, "ok"), (403, "warn"), (503, "warn")])
def test_a_hub_that_answers(hub, answer, status):
    hub.status = answer
    assert machine.check_hub().status == status


def test_a_hub_that_cannot_be_reached(monkeypatch):
    for name in ("HF_HUB_OFFLINE", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    check = machine.check_hub(timeout=2)
    assert check.status == "warn"
    assert "--weights none" in check.remedy


def test_an_offline_hub_is_said_without_trying(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    check = machine.check_hub()
    assert check.status == "warn"
    assert "HF_HUB_OFFLINE" in check.found
