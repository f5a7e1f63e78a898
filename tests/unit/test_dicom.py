"""DICOM as pydicom writes it: planes, films, series in folders; what makes up no volume is refused with a sentence."""

import sys

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    MPEG4HP41,
    CTImageStorage,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    JPEGLosslessSV1,
    VLWholeSlideMicroscopyImageStorage,
    generate_uid,
)

from napari_segnet.errors import DataError
from napari_segnet.io.dicom import list_series, read_dicom_folder
from napari_segnet.io.images import open_image, open_labels
from napari_segnet.io.pairing import list_images, pair_files

rng = np.random.default_rng(0)
STORED = rng.integers(0, 4096, (6, 20, 30)).astype(np.uint16)
AXIAL, CORONAL = [1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, -1]


def dataset(array, *, kind=CTImageStorage, **elements):
    """Return a data set of one plane, or of several frames."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = kind
    made.SOPInstanceUID = generate_uid()
    made.Modality = "CT"
    made.Rows, made.Columns = array.shape[-2:]
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    bits = array.dtype.itemsize * 8
    made.BitsAllocated, made.BitsStored, made.HighBit = bits, bits, bits - 1
    made.PixelRepresentation = int(array.dtype.kind == "i")
    if array.ndim > 2:
        made.NumberOfFrames = len(array)
    made.PixelData = array.tobytes()
    for name, value in elements.items():
        setattr(made, name, value)
    return made


def save(made, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    made.save_as(path, enforce_file_format=True)
    return path


def write_series(folder, stored=STORED, *, step=2.5, series="1.2.3", names=None, **elements):
    """Write the planes of an axial series in a folder; their names are in no order."""
    names = names or [f"IM{(7 * n) % 100:04d}.dcm" for n in range(len(stored))]
    for n, (plane, name) in enumerate(zip(stored, names, strict=True)):
        own = {
            "SeriesInstanceUID": series,
            "InstanceNumber": n + 1,
            "ImageOrientationPatient": AXIAL,
            "ImagePositionPatient": [-100, 50, 30 + step * n],
            "PixelSpacing": [0.7, 0.5],
        }
        save(dataset(plane, **own | elements), folder / name)
    return folder


# ---------------------------------------------------------------- series


def test_a_folder_of_planes_is_a_volume_in_the_order_of_positions(tmp_path):
    image = open_image(write_series(tmp_path / "case"))
    assert image.axes == "ZYX"
    np.testing.assert_array_equal(image.array, STORED)
    assert image.pixel_size == pytest.approx((2.5, 0.7, 0.5))
    assert image.units == "millimeter"


def test_positions_count_more_than_numbers_and_names(tmp_path):
    folder = write_series(tmp_path / "case", step=-3.0, names=[f"{n}" for n in range(6)])
    image = open_image(folder)
    np.testing.assert_array_equal(image.array, STORED[::-1])
    assert image.pixel_size[0] == pytest.approx(3)


def test_planes_of_any_direction_are_sorted_along_their_normal(tmp_path):
    for n, plane in enumerate(STORED):
        place = [0, -4.0 * n, 7]  # the normal of coronal planes, seen from the front, is +Y
        made = dataset(plane, SeriesInstanceUID="1.2", ImageOrientationPatient=CORONAL, ImagePositionPatient=place)
        save(made, tmp_path / "c" / f"{n}.dcm")
    image = open_image(tmp_path / "c")
    np.testing.assert_array_equal(image.array, STORED[::-1])
    assert image.pixel_size is None  # nothing says how large pixels are in the plane


def test_hounsfield_units_from_slope_and_intercept(tmp_path):
    folder = write_series(tmp_path / "case", RescaleSlope=1, RescaleIntercept=-1024)
    array = open_image(folder).array
    assert array.dtype == np.int16
    np.testing.assert_array_equal(array, STORED.astype(int) - 1024)


def test_slopes_that_are_fractions_may_differ_between_planes(tmp_path):
    for n, plane in enumerate(STORED):
        own = {"RescaleSlope": f"{0.5 + n}", "RescaleIntercept": 0, "ImagePositionPatient": [0, 0, n]}
        made = dataset(plane, SeriesInstanceUID="1.2", ImageOrientationPatient=AXIAL, **own)
        save(made, tmp_path / "pet" / f"{n}.dcm")
    array = open_image(tmp_path / "pet").array
    assert array.dtype == np.float32
    np.testing.assert_allclose(array, STORED * (0.5 + np.arange(6))[:, None, None])


def test_several_images_at_each_place_are_times(tmp_path):
    later = STORED[::-1].copy()
    write_series(tmp_path / "case", names=[f"a{n}.dcm" for n in range(6)])
    for n, plane in enumerate(later):
        place = [-100, 50, 30 + 2.5 * n]
        own = {"InstanceNumber": 100 + n, "ImageOrientationPatient": AXIAL, "ImagePositionPatient": place}
        save(dataset(plane, SeriesInstanceUID="1.2.3", **own), tmp_path / "case" / f"b{n}.dcm")
    image = open_image(tmp_path / "case")
    assert image.axes == "TZYX"
    np.testing.assert_array_equal(image.array, np.stack([STORED, later]))


def test_without_positions_the_numbers_of_the_images_count(tmp_path):
    for n, plane in enumerate(STORED):
        made = dataset(plane, SeriesInstanceUID="1.2", InstanceNumber=n, SpacingBetweenSlices=4, PixelSpacing=[1, 2])
        save(made, tmp_path / "c" / f"x{-n}.dcm")
    image = open_image(tmp_path / "c")
    np.testing.assert_array_equal(image.array, STORED)
    assert image.pixel_size == (4, 1, 2)


def test_files_without_an_ending_and_other_files_beside_them(tmp_path):
    folder = write_series(tmp_path / "case", names=[f"1.2.840.{n}" for n in range(6)])
    (folder / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    (folder / "notes.txt").write_text("from the scanner")
    assert list_images(folder) == [folder]
    np.testing.assert_array_equal(open_image(folder).array, STORED)


# ---------------------------------------------------------------- single files


def test_one_plane_and_its_pixel_size(tmp_path):
    image = open_image(save(dataset(STORED[0], PixelSpacing=[0.7, 0.5]), tmp_path / "a.dcm"))
    assert (image.axes, image.pixel_size, image.units) == ("YX", (0.7, 0.5), "millimeter")
    np.testing.assert_array_equal(image.array, STORED[0])


def test_a_file_of_several_frames_sorted_by_their_places(tmp_path):
    made = dataset(STORED, kind=EnhancedMRImageStorage)
    shared, measures, turned = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, turned.ImageOrientationPatient = [0.7, 0.5], AXIAL
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [turned]
    made.SharedFunctionalGroupsSequence = [shared]
    made.PerFrameFunctionalGroupsSequence = []
    for n in range(6):
        frame, place, values = Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient = [0, 0, -1.5 * n]
        values.RescaleSlope, values.RescaleIntercept = n + 1, 10
        frame.PlanePositionSequence, frame.PixelValueTransformationSequence = [place], [values]
        made.PerFrameFunctionalGroupsSequence.append(frame)
    image = open_image(save(made, tmp_path / "a.dcm"))
    assert image.axes == "ZYX"
    np.testing.assert_array_equal(image.array, (STORED * np.arange(1, 7)[:, None, None].astype(int) + 10)[::-1])
    assert image.pixel_size == pytest.approx((1.5, 0.7, 0.5))


def test_frames_that_follow_each_other_in_time(tmp_path):
    made = dataset(STORED, FrameTime=40, FrameIncrementPointer=0x00181063)
    assert open_image(save(made, tmp_path / "a.dcm")).axes == "TYX"


def test_radiographs_whose_white_is_low_are_turned_round(tmp_path):
    made = dataset(STORED[0], PhotometricInterpretation="MONOCHROME1", BitsStored=12, HighBit=11)
    np.testing.assert_array_equal(open_image(save(made, tmp_path / "a.dcm")).array, 4095 - STORED[0])


def test_colours(tmp_path):
    rgb = rng.integers(0, 256, (20, 30, 3), np.uint8)
    made = dataset(rgb[..., 0], SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0)
    made.PixelData = rgb.tobytes()
    image = open_image(save(made, tmp_path / "a.dcm"))
    assert image.axes == "YXC"
    np.testing.assert_array_equal(image.array, rgb)


@pytest.mark.parametrize("dtype", [np.uint16, np.int16])
def test_lossless_jpeg_without_pydicoms_decoders(tmp_path, dtype):
    stored = (STORED[0].astype(int) - (2000 if dtype is np.int16 else 0)).astype(dtype)
    made = dataset(stored)
    made.PixelData = encapsulate([imagecodecs.ljpeg_encode(stored.view(np.uint16), bitspersample=16)])
    made["PixelData"].is_undefined_length = True
    made.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    np.testing.assert_array_equal(open_image(save(made, tmp_path / "a.dcm")).array, stored)


def test_files_that_other_programs_wrote():
    plain = open_image(get_testdata_file("MR_small.dcm", download=False))
    assert plain.pixel_size == (0.3125, 0.3125)
    for name in ("MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm"):
        packed = open_image(get_testdata_file(name, download=False))
        np.testing.assert_array_equal(packed.array, plain.array)
    tomography = get_testdata_file("CT_small.dcm", download=False)
    expected = pydicom.dcmread(tomography).pixel_array.astype(int) - 1024
    np.testing.assert_array_equal(open_image(tomography).array, expected)


# ---------------------------------------------------------------- folders and pairs


def test_a_folder_of_such_folders_is_many_images_that_find_their_labels(tmp_path):
    for name in ("case10", "case2", "case.3"):
        write_series(tmp_path / "images" / name)
        write_series(tmp_path / "labels" / f"{name}_mask", (STORED > 2000).astype(np.uint8))
    (tmp_path / "images" / "empty").mkdir()
    pairing = pair_files(tmp_path / "images", tmp_path / "labels")
    names = [(a.name, b.name) for a, b in pairing.pairs]
    assert names == [("case2", "case2_mask"), ("case10", "case10_mask"), ("case.3", "case.3_mask")]
    assert (pairing.unpaired_images, pairing.unpaired_labels) == ((), ())
    labels = open_labels(pairing.pairs[0][1])
    np.testing.assert_array_equal(labels.array, STORED > 2000)


def test_one_folder_and_one_file_are_a_pair_whatever_their_names(tmp_path):
    folder = write_series(tmp_path / "scan")
    np.save(tmp_path / "truth.npy", (STORED > 9).astype(np.uint8))
    assert pair_files(folder, tmp_path / "truth.npy").pairs == ((folder, tmp_path / "truth.npy"),)


def test_radiographs_in_one_folder_are_images_of_their_own(tmp_path):
    for n in range(3):
        save(dataset(STORED[n], SeriesInstanceUID=f"1.{n + 1}"), tmp_path / f"{n}.dcm")
    assert [p.name for p in list_images(tmp_path)] == ["0.dcm", "1.dcm", "2.dcm"]


def test_a_single_file_beside_its_mask(tmp_path):
    save(dataset(STORED[0]), tmp_path / "a.dcm")
    np.save(tmp_path / "a_mask.npy", (STORED[0] > 9).astype(np.uint8))
    (pair,) = pair_files(tmp_path, tmp_path).pairs
    assert [p.name for p in pair] == ["a.dcm", "a_mask.npy"]


def test_several_series_are_named_and_one_of_them_can_be_chosen(tmp_path):
    write_series(tmp_path, series="1.1", SeriesNumber=2, SeriesDescription="lung")
    names = [f"z{n}.dcm" for n in range(6)]
    write_series(tmp_path, STORED + 1, series="1.2", SeriesNumber=3, SeriesDescription="bone", names=names)
    sentence = r"holds 2 series \(2 lung: 6 files; 3 bone: 6 files\)\. Put the files of each into a folder"
    for act in (list_images, open_image):
        with pytest.raises(DataError, match=sentence):
            act(tmp_path)
    assert [(s.uid, len(s.files)) for s in list_series(tmp_path)] == [("1.1", 6), ("1.2", 6)]
    np.testing.assert_array_equal(read_dicom_folder(tmp_path, "1.2").array, STORED + 1)
    with pytest.raises(DataError, match=r"holds no DICOM image of the series 9\.9"):
        read_dicom_folder(tmp_path, "9.9")


# ---------------------------------------------------------------- what can't be opened


def test_a_missing_plane_is_noticed(tmp_path):
    folder = write_series(tmp_path / "case", names=[f"{n}.dcm" for n in range(6)])
    (folder / "3.dcm").unlink()
    with pytest.raises(DataError, match=r"lacks planes: neighbours are 2\.5 mm apart, but 2\.dcm and 4\.dcm 5 mm"):
        open_image(folder)


def test_planes_of_another_direction_size_or_place(tmp_path):
    folder = write_series(tmp_path / "case", names=[f"{n}.dcm" for n in range(6)])
    overview = {"SeriesInstanceUID": "1.2.3", "ImagePositionPatient": [0, 0, 0], "ImageOrientationPatient": CORONAL}
    save(dataset(STORED[0], **overview), folder / "x.dcm")
    with pytest.raises(DataError, match=r"mixes planes of different directions, such as 0\.dcm and x\.dcm"):
        open_image(folder)
    save(dataset(STORED[0, :10], SeriesInstanceUID="1.2.3"), folder / "x.dcm")
    with pytest.raises(DataError, match=r"is 20 x 30 pixels, x\.dcm 10 x 30: they are no planes of one volume"):
        open_image(folder)
    place = {"ImagePositionPatient": [-100, 50, 30], "ImageOrientationPatient": AXIAL}
    save(dataset(STORED[0], SeriesInstanceUID="1.2.3", **place), folder / "x.dcm")
    with pytest.raises(DataError, match="2 planes lie at one place and 1 at another"):
        open_image(folder)


def test_without_pydicom_the_extra_is_named(tmp_path, monkeypatch):
    folder = write_series(tmp_path / "case")
    monkeypatch.setitem(sys.modules, "pydicom", None)
    for path in (folder, folder / "IM0000.dcm"):
        with pytest.raises(DataError, match=r'needs pydicom\. Run: pip install "napari-segnet\[dicom\]"'):
            open_image(path)


def test_a_compression_without_a_decoder_is_named(tmp_path):
    made = dataset(STORED[0])
    made.PixelData = encapsulate([b"\0" * 50])
    made["PixelData"].is_undefined_length = True
    made.file_meta.TransferSyntaxUID = MPEG4HP41
    with pytest.raises(DataError, match=r"is compressed as MPEG-4 [^,]*, which can't be decoded here\. Run: pip"):
        open_image(save(made, tmp_path / "a.dcm"))


def test_slides_reports_and_segmentations_are_no_planes(tmp_path):
    made = dataset(STORED, kind=VLWholeSlideMicroscopyImageStorage)
    with pytest.raises(DataError, match="is a slide in tiles"):
        open_image(save(made, tmp_path / "slide.dcm"))
    with pytest.raises(DataError, match="is a DICOM segmentation"):
        open_image(get_testdata_file("liver_1frame.dcm", download=False))
    with pytest.raises(DataError, match="holds no image"):
        open_image(get_testdata_file("test-SR.dcm", download=False))


@pytest.mark.parametrize("keep", [0.9, 0.5, 0.2, 0.05])
def test_a_cut_file_never_opens_in_part(tmp_path, keep):
    path = save(dataset(STORED[0], PixelSpacing=[1, 1]), tmp_path / "a.dcm")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    with pytest.raises(DataError, match=r"a\.dcm"):
        open_image(path)


def test_a_text_in_disguise_and_an_empty_file(tmp_path):
    (tmp_path / "a.dcm").write_text("no image\n" * 100)
    with pytest.raises(DataError, match=r"a\.dcm"):
        open_image(tmp_path / "a.dcm")
    (tmp_path / "a.dcm").write_bytes(b"")
    with pytest.raises(DataError, match=r"a\.dcm is empty"):
        open_image(tmp_path / "a.dcm")
