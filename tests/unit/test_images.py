"""Files as people have them: every kind opens with the right pixels, or is refused with a sentence."""

import struct
import zlib

import nibabel
import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from napari_segnet.errors import DataError
from napari_segnet.io.images import open_image, open_labels

rng = np.random.default_rng(0)
GREY = rng.integers(0, 256, (40, 60), np.uint8)
RGB = rng.integers(0, 256, (40, 60, 3), np.uint8)
STACK = rng.integers(0, 60000, (10, 40, 60), np.uint16)
LABELS = np.repeat(np.repeat(rng.integers(0, 4, (5, 6), np.uint8), 8, 0), 10, 1)


def same(image, expected, axes):
    assert image.axes == axes
    np.testing.assert_array_equal(np.asarray(image.array[...]), expected)


# ---------------------------------------------------------------- pictures


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.gif", "a.tif"])
def test_grey_pictures(tmp_path, name):
    Image.fromarray(GREY).save(tmp_path / name)
    same(open_image(tmp_path / name), GREY, "YX")


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif"])
def test_colour_pictures(tmp_path, name):
    Image.fromarray(RGB).save(tmp_path / name)
    same(open_image(tmp_path / name), RGB, "YXC")


def test_transparency_is_left_out(tmp_path):
    alpha = np.full((40, 60, 1), 200, np.uint8)
    Image.fromarray(np.concatenate([RGB, alpha], 2)).save(tmp_path / "rgba.png")
    Image.fromarray(np.concatenate([GREY[..., None], alpha], 2), "LA").save(tmp_path / "la.png")
    tifffile.imwrite(tmp_path / "rgba.tif", np.concatenate([RGB, alpha], 2), photometric="rgb")
    same(open_image(tmp_path / "rgba.png"), RGB, "YXC")
    same(open_image(tmp_path / "rgba.tif"), RGB, "YXC")
    same(open_image(tmp_path / "la.png"), GREY, "YX")


def test_sixteen_bits_are_kept(tmp_path):
    Image.fromarray(STACK[0]).save(tmp_path / "a.png")
    image = open_image(tmp_path / "a.png")
    same(image, STACK[0], "YX")
    assert image.array.dtype == np.uint16


def test_black_and_white_and_palettes(tmp_path):
    mask = GREY > 128
    Image.fromarray(mask).save(tmp_path / "bw.png")
    same(open_image(tmp_path / "bw.png"), mask, "YX")
    same(open_labels(tmp_path / "bw.png"), mask.astype(np.uint8), "YX")
    palette = Image.fromarray(LABELS, "P")
    palette.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
    palette.save(tmp_path / "p.png")
    same(open_labels(tmp_path / "p.png"), LABELS, "YX")
    colours = open_image(tmp_path / "p.png")
    assert colours.axes == "YXC"
    np.testing.assert_array_equal(colours.array[LABELS == 2], [[0, 255, 0]] * np.sum(LABELS == 2))


def test_frames_of_an_animation_are_times(tmp_path):
    frames = [Image.fromarray(np.roll(GREY, n, 1)) for n in range(3)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    same(open_image(tmp_path / "a.gif"), np.stack([np.asarray(f) for f in frames]), "TYX")


def test_the_content_decides_not_the_extension(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.tif")
    same(open_image(tmp_path / "a.tif"), GREY, "YX")


# ---------------------------------------------------------------- TIFF


def test_a_plain_stack_is_a_memory_map(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", STACK)
    image = open_image(tmp_path / "a.tif")
    same(image, STACK, "ZYX")
    assert isinstance(image.array, np.memmap) or isinstance(image.array.base, np.memmap)


@pytest.mark.parametrize("metadata", [{"axes": "ZYX"}, None])
def test_a_compressed_stack_of_pages(tmp_path, metadata):
    tifffile.imwrite(tmp_path / "a.tif", STACK, compression="zlib", metadata=metadata)
    same(open_image(tmp_path / "a.tif"), STACK, "ZYX")


def test_a_large_compressed_stack_is_decoded_when_sliced(tmp_path, monkeypatch):
    monkeypatch.setattr("napari_segnet.io.tiff._EAGER_BYTES", 1000)
    tifffile.imwrite(tmp_path / "a.tif", STACK, compression="zlib", tile=(16, 16), metadata={"axes": "ZYX"})
    image = open_image(tmp_path / "a.tif")
    assert not isinstance(image.array, np.ndarray)
    np.testing.assert_array_equal(image.stack()[3][:, 5:20, ::2], STACK[3:4, 5:20, ::2])


def test_the_full_size_of_a_pyramid(tmp_path, monkeypatch):
    monkeypatch.setattr("napari_segnet.io.tiff._EAGER_BYTES", 1000)
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as writer:
        writer.write(RGB, subifds=1, tile=(16, 16), compression="zlib", photometric="rgb")
        writer.write(RGB[::2, ::2], subfiletype=1, tile=(16, 16), compression="zlib", photometric="rgb")
    same(open_image(tmp_path / "a.ome.tif"), RGB, "YXC")


def test_an_imagej_hyperstack(tmp_path):
    array = rng.integers(0, 9, (2, 5, 3, 40, 60), np.uint8)
    tifffile.imwrite(
        tmp_path / "a.tif",
        array,
        imagej=True,
        resolution=(4.0, 2.0),
        metadata={"axes": "TZCYX", "unit": "um", "spacing": 1.5},
    )
    image = open_image(tmp_path / "a.tif")
    same(image, array, "TZCYX")
    assert image.pixel_size == pytest.approx((1.5, 0.5, 0.25))
    assert image.units == "micrometer"


def test_ome_tiff_axes_and_pixel_size(tmp_path):
    array = rng.integers(0, 9, (3, 5, 40, 60), np.uint16)
    tifffile.imwrite(
        tmp_path / "a.ome.tif",
        array,
        metadata={
            "axes": "CZYX",
            "PhysicalSizeX": 90.0,
            "PhysicalSizeXUnit": "nm",
            "PhysicalSizeY": 91.0,
            "PhysicalSizeYUnit": "nm",
            "PhysicalSizeZ": 300.0,
            "PhysicalSizeZUnit": "nm",
        },
    )
    image = open_image(tmp_path / "a.ome.tif")
    same(image, array, "CZYX")
    assert (image.pixel_size, image.units) == ((300.0, 91.0, 90.0), "nanometer")


def test_dots_per_inch_are_no_pixel_size(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", GREY, resolution=(72, 72), resolutionunit="INCH")
    assert open_image(tmp_path / "a.tif").pixel_size is None


def test_few_pages_without_a_word_are_channels_unless_said(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", STACK[:3])
    assert open_image(tmp_path / "a.tif").axes == "CYX"
    assert open_image(tmp_path / "a.tif", "zyx").axes == "ZYX"
    with pytest.raises(DataError, match=r"'YX' don't fit .*a\.tif: its shape is \(3, 40, 60\)"):
        open_image(tmp_path / "a.tif", "YX")


# What other programs write as TIFF: three samples that are called grey, separate planes, transparency.


@pytest.mark.parametrize(
    ("array", "options", "axes"),
    [
        (RGB, {"photometric": "minisblack", "planarconfig": "contig"}, "YXC"),
        (RGB.transpose(2, 0, 1), {"photometric": "rgb", "planarconfig": "separate"}, "CYX"),
        (RGB.transpose(2, 0, 1), {"photometric": "minisblack", "planarconfig": "separate"}, "CYX"),
        (np.stack([RGB] * 5), {"photometric": "minisblack", "planarconfig": "contig"}, "ZYXC"),
        (RGB.astype(np.uint16) * 200, {"photometric": "rgb", "compression": "zlib"}, "YXC"),
        (np.concatenate([RGB, RGB, RGB[..., :1]], 2), {"photometric": "minisblack", "planarconfig": "contig"}, "YXC"),
    ],
)
def test_samples_of_a_tiff_are_channels_whatever_they_are_called(tmp_path, array, options, axes):
    tifffile.imwrite(tmp_path / "a.tif", np.ascontiguousarray(array), **options)
    same(open_image(tmp_path / "a.tif"), array, axes)


CLEAR = rng.integers(0, 256, (40, 60, 1), np.uint8)


@pytest.mark.parametrize(
    ("array", "alpha", "options"),
    [
        (GREY[..., None], CLEAR, {"photometric": "minisblack", "extrasamples": [2]}),
        (RGB, CLEAR, {"photometric": "minisblack", "extrasamples": [0, 0, 2]}),
        (RGB, CLEAR, {"photometric": "rgb", "extrasamples": [1]}),
        (RGB, CLEAR, {"photometric": "minisblack", "extrasamples": [0, 0, 2], "planarconfig": "separate"}),
        (RGB, CLEAR * 0 + 255, {"photometric": "rgb", "extrasamples": [2], "planarconfig": "separate"}),
    ],
)
def test_transparency_of_a_tiff_is_left_out(tmp_path, array, alpha, options):
    samples = np.concatenate([array, alpha], 2)
    separate = options.get("planarconfig") == "separate"
    options = {"planarconfig": "contig"} | options
    written = np.ascontiguousarray(samples.transpose(2, 0, 1)) if separate else samples
    tifffile.imwrite(tmp_path / "a.tif", written, **options)
    image = open_image(tmp_path / "a.tif")
    expected = array[..., 0] if array.shape[2] == 1 else array
    same(image, expected.transpose(2, 0, 1) if separate else expected, "CYX" if separate else "YXC"[: expected.ndim])


def test_four_planes_that_pass_for_colours_are_all_kept(tmp_path):
    planes = np.ascontiguousarray(np.concatenate([RGB, CLEAR], 2).transpose(2, 0, 1))
    tifffile.imwrite(tmp_path / "a.tif", planes, photometric="rgb", planarconfig="separate")
    same(open_image(tmp_path / "a.tif"), planes, "CYX")


def test_masks_in_black_and_white_that_are_called_colours_or_faxes(tmp_path):
    mask = LABELS > 1
    three = np.stack([mask.astype(np.uint8) * 255] * 3, 2)
    tifffile.imwrite(tmp_path / "a.tif", three, photometric="minisblack", planarconfig="contig")
    same(open_labels(tmp_path / "a.tif"), three[..., 0], "YX")
    tifffile.imwrite(tmp_path / "fax.tif", ~mask, photometric="miniswhite")
    same(open_labels(tmp_path / "fax.tif"), mask.astype(np.uint8), "YX")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "fax.tif")), mask)  # Pillow sees the same
    tifffile.imwrite(tmp_path / "imagej.tif", mask.astype(np.uint8) * 255, photometric="miniswhite")
    same(open_labels(tmp_path / "imagej.tif"), mask.astype(np.uint8) * 255, "YX")


# ---------------------------------------------------------------- others


def test_numpy_files(tmp_path):
    np.save(tmp_path / "a.npy", STACK[None])
    same(open_image(tmp_path / "a.npy"), STACK, "ZYX")
    same(open_image(tmp_path / "a.npy", "TZYX"), STACK[None], "TZYX")
    same(open_image(tmp_path / "a.npy", "CYX"), STACK, "CYX")


def test_pickles_are_not_opened(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(DataError, match="can't be read"):
        open_image(tmp_path / "a.npy")


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_nifti(tmp_path, name):
    volume = nibabel.Nifti1Image(STACK.T.astype(np.int16), np.diag([0.5, 0.6, 2, 1]))
    volume.header.set_xyzt_units("mm")
    nibabel.save(volume, tmp_path / name)
    image = open_image(tmp_path / name)
    same(image, STACK.astype(np.int16), "ZYX")
    assert image.pixel_size == pytest.approx((2, 0.6, 0.5))
    assert image.units == "millimeter"


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr(tmp_path, version):
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2 if version == "0.4" else 3)
    axes = [{"name": a, "type": "space", "unit": "micrometer"} for a in "zyx"]
    axes = [{"name": "t", "type": "time"}, {"name": "c", "type": "channel"}, *axes]
    scale = [{"type": "scale", "scale": [1, 1, 2, 0.5, 0.5]}]
    datasets = [{"path": "0", "coordinateTransformations": scale}]
    multiscales = {"multiscales": [{"version": version, "axes": axes, "datasets": datasets}]}
    group.attrs.update(multiscales if version == "0.4" else {"ome": multiscales | {"version": version}})
    group.create_array("0", data=STACK[None, None], chunks=(1, 1, 1, 16, 16))
    image = open_image(tmp_path / "a.zarr")
    same(image, STACK, "ZYX")
    assert not isinstance(image.array, np.ndarray)
    assert (image.pixel_size, image.units) == ((2.0, 0.5, 0.5), "micrometer")
    same(open_image(tmp_path / "a.zarr", "TCZYX"), STACK[None, None], "TCZYX")


def test_a_plain_zarr_array_and_a_folder_that_is_none(tmp_path):
    zarr.create_array(tmp_path / "a.zarr", data=GREY)
    same(open_image(tmp_path / "a.zarr"), GREY, "YX")
    zarr.open_group(tmp_path / "b.zarr", mode="w")
    with pytest.raises(DataError, match="holds no OME-Zarr image"):
        open_image(tmp_path / "b.zarr")
    with pytest.raises(DataError, match="is a folder, not an image"):
        open_image(tmp_path)


# ---------------------------------------------------------------- labels


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, np.float32, ">u2"])
def test_labels_become_unsigned_integers(tmp_path, dtype):
    tifffile.imwrite(tmp_path / "a.tif", LABELS.astype(dtype))
    labels = open_labels(tmp_path / "a.tif")
    same(labels, LABELS, "YX")
    assert labels.array.dtype.kind == "u"
    assert labels.array.dtype.isnative


def test_masks_of_0_and_255_keep_their_values(tmp_path):
    Image.fromarray(np.uint8(LABELS > 1) * 255).save(tmp_path / "a.png")
    assert set(np.unique(open_labels(tmp_path / "a.png").array)) == {0, 255}


def test_equal_channels_become_one(tmp_path):
    Image.fromarray(np.stack([LABELS] * 3 + [np.full_like(LABELS, 255)], 2)).save(tmp_path / "a.png")
    same(open_labels(tmp_path / "a.png"), LABELS, "YX")


def test_a_colour_mask_is_refused(tmp_path):
    Image.fromarray(np.stack([LABELS, LABELS * 0, LABELS], 2)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png is a colour image \(3 channels, 4 colours\), not labels"):
        open_labels(tmp_path / "a.png")


def test_fractions_negative_numbers_and_nan_are_refused(tmp_path):
    for values, sentence in (
        (LABELS / 2, r"such as 0\.5|such as 1\.5"),
        (LABELS - 1.0, "lowest value is -1"),
    ):
        np.save(tmp_path / "a.npy", values)
        with pytest.raises(DataError, match=sentence):
            open_labels(tmp_path / "a.npy")
    np.save(tmp_path / "a.npy", np.where(LABELS == 1, np.nan, LABELS))
    with pytest.raises(DataError, match="such as nan"):
        open_labels(tmp_path / "a.npy")


def test_a_jpeg_of_labels_is_refused_if_its_values_are_blurred(tmp_path):
    Image.fromarray(LABELS * 80).save(tmp_path / "a.jpg", quality=60)
    with pytest.raises(DataError, match=r"a\.jpg is a JPEG with \d+ different values"):
        open_labels(tmp_path / "a.jpg")
    Image.fromarray(np.zeros((16, 16), np.uint8)).save(tmp_path / "b.jpg")
    same(open_labels(tmp_path / "b.jpg"), np.zeros((16, 16)), "YX")


def test_three_sections_of_labels_are_no_channels(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.stack([LABELS, LABELS * 2, LABELS]))
    assert open_labels(tmp_path / "a.tif").axes == "ZYX"


# ---------------------------------------------------------------- what can't be opened


@pytest.mark.parametrize("keep", [0.95, 0.5, 0.05])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "zlib"},
        {"compression": "zlib", "metadata": None},
        {"imagej": True},
        {"tile": (16, 16)},
    ],
)
@pytest.mark.parametrize("array", [STACK, GREY])
def test_a_cut_tiff_never_opens_in_part(tmp_path, keep, options, array):
    tifffile.imwrite(tmp_path / "whole.tif", array, **options)
    data = (tmp_path / "whole.tif").read_bytes()
    (tmp_path / "cut.tif").write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(DataError, match=r"cut\.tif"):
        open_image(tmp_path / "cut.tif")


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp", "a.gif", "a.npy", "a.nii", "a.nii.gz"])
def test_other_cut_files(tmp_path, name):
    if name == "a.npy":
        np.save(tmp_path / name, STACK)
    elif ".nii" in name:
        nibabel.save(nibabel.Nifti1Image(STACK.T, np.eye(4)), tmp_path / name)
    else:
        Image.fromarray(GREY).save(tmp_path / name)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=rf"{name}.*(damaged|cut short)"):
        open_image(tmp_path / name)


@pytest.mark.parametrize("name", ["a.tif", "a.png", "a.jpg", "a.npy", "a.nii", "a.nii.gz"])
def test_a_text_in_disguise_and_an_empty_file(tmp_path, name):
    (tmp_path / name).write_text("II*\0 this is no image at all" if name == "a.tif" else "no image\n" * 100)
    with pytest.raises(DataError, match=rf"{name} can't be read"):
        open_image(tmp_path / name)
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(DataError, match=rf"{name} is empty"):
        open_labels(tmp_path / name)


def test_a_broken_chunk_is_named_when_it_is_read(tmp_path):
    array = zarr.create_array(tmp_path / "a.zarr", data=STACK, chunks=(1, 40, 60))
    assert array.shape == STACK.shape
    next(p for p in (tmp_path / "a.zarr" / "c" / "7").rglob("*") if p.is_file()).write_bytes(b"rubbish")
    planes = open_image(tmp_path / "a.zarr").stack()
    np.testing.assert_array_equal(planes[6][0], STACK[6])
    with pytest.raises(DataError, match=r"A part of .*a\.zarr can't be read"):
        planes[7][0]


def test_missing_files_and_unknown_formats(tmp_path):
    with pytest.raises(DataError, match=r"There is no file .*a\.tif"):
        open_image(tmp_path / "a.tif")
    (tmp_path / "a.docx").write_bytes(b"x")
    with pytest.raises(DataError, match="is of no format that can be read"):
        open_image(tmp_path / "a.docx")


def test_complex_numbers_are_no_image(tmp_path):
    np.save(tmp_path / "a.npy", GREY.astype(complex))
    with pytest.raises(DataError, match="complex128"):
        open_image(tmp_path / "a.npy")


def test_a_missing_codec_is_named(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "a.tif", GREY, compression="zlib")

    def refuse(*_args, **_options):
        raise ValueError("<COMPRESSION.LZW: 5> requires the 'imagecodecs' package")

    monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", refuse)
    with pytest.raises(DataError, match="pip install imagecodecs"):
        open_image(tmp_path / "a.tif")


def test_a_picture_of_absurd_size_is_refused_before_it_is_decoded(tmp_path):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 200_000, 200_000, 8, 0, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"\0" * 100)), chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    with pytest.raises(DataError, match=r"a\.png"):
        open_image(tmp_path / "a.png")
