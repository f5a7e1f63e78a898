"""Prediction on a cluster: here a scheduler and a worker in this process, reached by their address."""

import numpy as np
import pytest
import tifffile
from distributed import LocalCluster

from conftest import discs
from napari_segnet import events
from napari_segnet.errors import ConfigError, SegNetError
from napari_segnet.executor import execute
from napari_segnet.predict.cluster import predict_on_cluster
from napari_segnet.predict.files import predict_files


@pytest.fixture(scope="module")
def address():
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None, protocol="tcp",
                      host="127.0.0.1") as cluster:  # fmt: skip
        yield cluster.scheduler_address


def test_a_cluster_answers_as_one_machine_does(address, make_run, tmp_path):
    run = make_run()
    list(execute(run))
    (tmp_path / "in").mkdir()
    for number in range(3):
        tifffile.imwrite(tmp_path / "in" / f"{number}.tif", discs(number)[0])
    told = list(predict_on_cluster(address, run.path, [tmp_path / "in"], tmp_path / "there", probabilities=True))
    list(predict_files(run.path, [tmp_path / "in"], tmp_path / "here", probabilities=True))
    assert told[-1] == events.Finished("completed")
    assert sum(isinstance(e, events.Predicted) for e in told) == 3
    for file in sorted((tmp_path / "here").iterdir()):
        assert np.array_equal(tifffile.imread(file), tifffile.imread(tmp_path / "there" / file.name))


def test_a_worker_s_trouble_arrives_as_a_sentence(address, make_run, tmp_path):
    run = make_run()
    list(execute(run))
    tifffile.imwrite(tmp_path / "rgb.tif", np.zeros((40, 40, 3), np.uint8), photometric="rgb")
    with pytest.raises(SegNetError, match=r"rgb\.tif.*3 channels"):
        list(predict_on_cluster(address, run.path, [tmp_path / "rgb.tif"], tmp_path / "out"))
    # Among others it is left out.
    tifffile.imwrite(tmp_path / "grey.tif", discs(0)[0])
    both = [tmp_path / "rgb.tif", tmp_path / "grey.tif"]
    with pytest.raises(SegNetError, match=r"1 of 2 images can't be predicted, the others are done.*rgb\.tif"):
        list(predict_on_cluster(address, run.path, both, tmp_path / "out"))
    assert (tmp_path / "out" / "grey.tif").exists()


def test_a_cluster_that_is_not_there_is_a_sentence(make_run, tmp_path, monkeypatch):
    run = make_run()
    list(execute(run))
    tifffile.imwrite(tmp_path / "a.tif", discs(0)[0])
    monkeypatch.setattr("napari_segnet.predict.cluster._CONNECT_SECONDS", 0.5)
    with pytest.raises(ConfigError, match="can't be reached"):
        list(predict_on_cluster("tcp://127.0.0.1:1", run.path, [tmp_path / "a.tif"], tmp_path / "out"))
