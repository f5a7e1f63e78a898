"""What layers mean as arrays: axes, places in the world, snapshots."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import tifffile
import zarr
from napari.layers import Image, Labels

from napari_segnet import _layers
from napari_segnet.errors import DataError, SegNetError
from napari_segnet.io.write import npy_steps


def write(steps: Any) -> int:
    return sum(steps)


@pytest.mark.parametrize(
    ("shape", "options", "labels", "axes"),
    [
        ((64, 80), {}, None, "YX"),
        ((64, 80, 3), {"rgb": True}, None, "YXC"),
        ((5, 64, 80, 4), {"rgb": True}, None, "ZYXC"),
        ((3, 64, 80), {}, (64, 80), "CYX"),
        ((3, 64, 80), {}, None, "CYX"),
        ((3, 64, 80), {"scale": (2, 1, 1)}, (3, 64, 80), "ZYX"),
        ((40, 64, 80), {}, (40, 64, 80), "ZYX"),
        ((6, 2, 64, 80), {}, (6, 64, 80), "ZCYX"),
        ((2, 6, 64, 80), {}, (6, 64, 80), "CZYX"),
        ((3, 64, 80), {"axis_labels": ("z", "y", "x")}, None, "ZYX"),
        ((20, 64, 80), {"axis_labels": ("channel", "y", "x")}, None, "CYX"),
        ((5, 6, 2, 64, 80), {}, (5, 6, 64, 80), "TZCYX"),
    ],
)
def test_axes(shape: tuple[int, ...], options: dict[str, Any], labels: tuple[int, ...] | None, axes: str) -> None:
    image = Image(np.zeros(shape, np.uint8), **options)
    paint = Labels(np.zeros(labels, np.uint8)) if labels is not None else None
    assert _layers.axes_of(image, paint) == axes
    assert _layers.axes_choices(image, paint)[0] == axes


def test_a_transform_without_its_channel() -> None:
    affine = np.eye(4)
    affine[1:3, 1:3] = [[0, -1], [1, 0]]
    affine[:3, 3] = (9, 8, 7)
    image = Image(
        np.zeros((3, 10, 12)),
        scale=(1, 0.5, 0.25),
        translate=(0, 4, 5),
        shear=(0, 0, 0.3),
        affine=affine,
        units=("pixel", "nm", "nm"),
        axis_labels=("c", "y", "x"),
    )
    layer = Image(np.zeros((10, 12)), **_layers.transform_of(image, "CYX"))
    for y, x in ((0, 0), (9, 11), (3, 7)):
        assert np.allclose(layer.data_to_world((y, x)), image.data_to_world((1, y, x))[1:])
    assert layer.axis_labels == ("y", "x")
    assert [str(unit) for unit in layer.units] == ["nanometer", "nanometer"]
    assert _layers.pixel_size_of(image, "CYX") == ((0.5, 0.25), "nanometer")
    assert _layers.pixel_size_of(Image(np.zeros((4, 4)), scale=(2, 2)), "YX") == (None, None)


@pytest.mark.parametrize("kind", ["numpy", "dask", "zarr", "big-endian", "rgba", "bool", "not contiguous"])
def test_a_snapshot_holds_the_pixels(kind: str, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 60000, (7, 300, 400), np.uint16)
    wanted: Any = pixels
    array: Any = pixels
    if kind == "dask":
        array = da.from_array(pixels, chunks=(1, 128, 128))
    elif kind == "zarr":
        array = zarr.create_array(tmp_path / "a.zarr", shape=pixels.shape, dtype=pixels.dtype)
        array[:] = pixels
    elif kind == "big-endian":
        array = pixels.astype(">u2")
    elif kind == "rgba":
        array = pixels.astype(np.uint8)[:4].transpose(1, 2, 0)
        wanted = array[..., :3]
    elif kind == "bool":
        array, wanted = pixels > 30000, (pixels > 30000).astype(np.uint8)
    elif kind == "not contiguous":
        array = wanted = pixels[:, ::2, ::-1]
    layer = Image(array, rgb=kind == "rgba")
    write(_layers.write_image(tmp_path, "a", [layer]))
    found = np.load(tmp_path / "a.npy")
    assert found.dtype.isnative
    assert np.array_equal(found, wanted)
    assert not list(tmp_path.glob(".*"))


def test_a_snapshot_is_written_in_small_steps(tmp_path: Path) -> None:
    sizes = list(npy_steps(tmp_path / "a.npy", np.zeros((4000, 4000), np.float32)))
    assert sum(sizes) == 64_000_000
    assert max(sizes) <= 8_100_000


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(np.ndarray):
        def tobytes(self, *args: Any) -> bytes:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(_layers.np, "ascontiguousarray", lambda block, dtype: np.asarray(block, dtype).view(Full))
    with pytest.raises(SegNetError, match="No space left on device"):
        write(npy_steps(tmp_path / "a.npy", np.zeros((10, 10))))
    assert not list(tmp_path.iterdir())


def test_a_lazy_file_is_named_not_copied(tmp_path: Path) -> None:
    pixels = np.arange(12 * 30 * 40, dtype=np.uint16).reshape(12, 30, 40)
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, pixels, metadata={"axes": "ZYX"})
    lazy = da.from_array(pixels, chunks=(1, 30, 40))
    image = Image(lazy, name="stack")
    image._source = image.source.model_copy(update={"path": str(path)})
    assert _layers.file_of(image, "ZYX") == path.resolve()
    labels = Labels(np.ones(pixels.shape, np.uint8))
    (tmp_path / "run" / "data").mkdir(parents=True)
    write(_layers.write_pair(tmp_path / "run", "stack", [image], labels, "ZYX"))
    assert [p.name for p in (tmp_path / "run" / "data").iterdir()] == ["stack_labels.npy"]
    assert _layers.record_of("stack", [image], "ZYX").images == (str(path.resolve()),)
    # A layer that shows something else than its file is copied.
    other = Image(lazy[:, ::2], name="half")
    other._source = image.source
    assert _layers.file_of(other, "ZYX") is None


def test_labels_of_every_channel_count() -> None:
    image = Image(np.zeros((3, 20, 30)))
    paint = np.zeros((3, 20, 30), np.uint8)
    paint[0, :5], paint[2, 10:] = 1, 2
    labels = Labels(paint)
    _layers.check_pair([image], labels, "CYX")
    assert np.array_equal(_layers.labels_array(labels, "CYX"), paint.max(axis=0))
    with pytest.raises(DataError, match="The labels .* are 2 x 20 x 30"):
        _layers.check_pair([image], Labels(paint[:2]), "CYX")


def test_file_names() -> None:
    assert _layers.file_name("cells (GFP) [1]") == "cells_GFP_1"
    assert _layers.file_name("../../etc/passwd") == "etc_passwd"
    assert _layers.file_name("a", ["a", "a_2"]) == "a_3"
    assert _layers.file_name("...") == "image"
