"""Shared by all tests: threads that wait politely, one viewer at a time, and a home of runs that is not the user's."""

import os

import pytest

from napari_segnet._process import prepare_process

if "PYTEST_XDIST_WORKER" in os.environ:
    # Tests run side by side: each takes one core, and so do the processes that it starts.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
prepare_process()


def pytest_collection_modifyitems(items):
    """Run everything that opens a viewer one after another, in one process: two would take each other's focus."""
    for item in items:
        if "widgets" in item.path.parts or "viewer" in item.path.name:
            item.add_marker(pytest.mark.xdist_group("viewer"))


@pytest.fixture(autouse=True)
def home_of_runs(tmp_path_factory, monkeypatch):
    """Keep the runs of tests out of the user's folder; returns the folder that stands in for it."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("NAPARI_SEGNET_HOME", str(folder))
    return folder


@pytest.fixture(scope="module")
def one_thread():
    """Let torch compute with one thread."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
