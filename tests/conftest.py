"""Shared by all tests: threads that wait politely, and a home of runs that is not the user's."""

import pytest

from napari_segnet._process import prepare_process

prepare_process()


@pytest.fixture(autouse=True)
def home_of_runs(tmp_path_factory, monkeypatch):
    """Keep the runs of tests out of the user's folder; returns the folder that stands in for it."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("NAPARI_SEGNET_HOME", str(folder))
    return folder
