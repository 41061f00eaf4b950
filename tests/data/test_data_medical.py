"""NIfTI and DICOM against what was written: values, order, geometry; results are files like them."""

import json
import sys

import nibabel
import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.fileset import FileSet
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

from unveil.checks.magnitude import magnitude_line
from unveil.cli.outputs import keep_inputs
from unveil.data import open_images
from unveil.data.like import as_type, result_files, write_like
from unveil.data.made import Made
from unveil.data.pixel_size import pixel_size
from unveil.errors import UnveilError, UnveilWarning

RNG = np.random.default_rng(0)
AFFINE = np.array([[-2, 0.1, 0, 90], [0, 2.5, 0.2, -126], [0, 0, 3, -72], [0, 0, 0, 1.0]])


def written(folder, source, change, dtype=np.float32, made=None):
    """What is written for `change` of the values in the files, with the command line's rule for integers: the paths."""
    paths = []
    for target in result_files(source, True):
        origin = source.origin(target.images[0])
        low, high = origin.value_range
        images = [change(low + (high - low) * source.read(i).double().numpy()) for i in target.images]
        if np.dtype(dtype).kind in "iu" and origin.scale is not None:
            images = [(x - origin.scale[1]) / origin.scale[0] for x in images]
        images = [as_type(x, np.dtype(dtype))[0] for x in images]
        path = folder / (target.stem + target.suffix)
        path.parent.mkdir(exist_ok=True)
        keep_inputs(source.files(), [path])
        write_like(path, target, [x.shape for x in images], iter(images), np.dtype(dtype), made)
        paths.append(path)
    return paths


def nifti(path, v, scale=(None, None), kind=nibabel.Nifti1Image):
    image = kind(v, AFFINE)
    image.header.set_xyzt_units("mm", "sec")
    image.header["descrip"] = b"a scan"
    image.header.set_qform(AFFINE, code=1)
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"by the scanner"))
    image.header.set_slope_inter(*scale)
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize("name", ["brain.nii", "brain.nii.gz"])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_nifti_slices_and_header(tmp_path, name, kind):
    v = RNG.integers(-300, 3000, (7, 5, 4, 2)).astype(np.int16)
    source = open_images(nifti(tmp_path / name, v, kind=kind), value_range=(0, 1))
    assert (len(source), source.shape(0), source.name(5)) == (8, (1, 5, 7), "brain_0005")
    np.testing.assert_array_equal(source.read(5)[0], v[:, :, 2, 1].T)  # column i, row j; N is (k, t)
    assert pixel_size(tmp_path / name) == (pytest.approx(2.0), "mm")
    (path,) = written(tmp_path / "out", source, lambda x: x / 2)
    again = path.read_bytes()
    assert written(tmp_path / "out", source, lambda x: x / 2)[0].read_bytes() == again
    old, new = nibabel.load(tmp_path / name), nibabel.load(path)
    assert (path.name, type(new)) == (name, kind)
    np.testing.assert_allclose(new.get_fdata(), v / 2)
    np.testing.assert_array_equal(new.affine, old.affine)
    for key in ("pixdim", "qform_code", "sform_code", "xyzt_units", "descrip", "quatern_b", "srow_y"):
        np.testing.assert_array_equal(new.header[key], old.header[key], key)
    assert new.header.extensions[0].get_content() == old.header.extensions[0].get_content()
    (path,) = written(tmp_path / "out", source, lambda x: x, np.int16)
    assert nibabel.load(path).get_data_dtype() == np.int16
    np.testing.assert_array_equal(nibabel.load(path).get_fdata(), v)


def test_nifti_slope_and_intercept(tmp_path):
    stored = RNG.integers(0, 4000, (7, 5, 4)).astype(np.int16)
    v = 0.25 * stored - 100.0
    source = open_images(nifti(tmp_path / "x.nii", stored, (0.25, -100)))
    np.testing.assert_allclose(source.read(3)[0], v[:, :, 3].T)
    for dtype, atol in ((np.float32, 1e-4), (np.int16, 0.13)):
        (path,) = written(tmp_path / "out", source, lambda x: 0.9 * x, dtype)
        assert nibabel.load(path).get_data_dtype() == dtype
        np.testing.assert_allclose(nibabel.load(path).get_fdata(), 0.9 * v, atol=atol)
    assert nibabel.load(path).dataobj.slope == 0.25


def test_what_bids_says_of_magnitudes(tmp_path):
    source = open_images(nifti(tmp_path / "x.nii.gz", np.ones((7, 5, 4), np.float32)))
    assert magnitude_line(source) is None
    for kind, told in (("M", True), ("P", False)):
        said = {"MagneticFieldStrength": 3, "ImageType": ["ORIGINAL", "PRIMARY", kind, "ND"]}
        (tmp_path / "x.json").write_text(json.dumps(said))
        assert (magnitude_line(open_images(tmp_path / "x.nii.gz")) is not None) == told


def dicom(path, v, k=0, slope=1.0, intercept=-1024.0, modality="CT", **more):
    """One slice, or frames, as a scanner writes them; v: stored numbers."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MRImageStorage if modality == "MR" else CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[str(path)])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    file.StudyInstanceUID, file.SeriesInstanceUID = "1.2.3", "1.2.3.4"
    file.PatientName, file.PatientID, file.Modality = "Doe^Jane", "7", modality
    file.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    file.ImageOrientationPatient, file.ImagePositionPatient = [0, 1, 0, 0, 0, -1], [10.0 - 2 * k, 5, 6]
    file.PixelSpacing, file.SliceThickness, file.WindowCenter, file.WindowWidth = [0.7, 0.5], 2.0, 40, 400
    file.RescaleSlope, file.RescaleIntercept, file.RescaleType = slope, intercept, "HU"
    file.PhotometricInterpretation, file.SamplesPerPixel = "MONOCHROME2", 1
    file.Rows, file.Columns = v.shape[-2:]
    file.BitsAllocated, file.BitsStored, file.HighBit = 16, 12, 11
    file.PixelRepresentation = int(v.dtype.kind == "i")
    file.PixelPaddingValue = 0
    file.add_new((0x0009, 0x0010), "LO", "VENDOR")
    file.add_new((0x0009, 0x1001), "LO", "private")
    for name, value in more.items():
        setattr(file, name, value)
    file.PixelData = v.tobytes()
    file.save_as(path, enforce_file_format=True)
    return path


def counts(n=4, shape=(6, 8)):
    return RNG.integers(0, 4095, (n, *shape)).astype(np.uint16)


def test_a_series_in_the_order_of_its_slices(tmp_path):
    v = counts()
    for k, name in enumerate(["IM7", "1.2.840.5", "1.2.840.9", "b.dcm"]):
        dicom(tmp_path / name, v[k], k)
    dicom(tmp_path / "another", v[0], 9, SeriesInstanceUID="1.2.3.9")
    (tmp_path / "notes").write_text("no image")
    source = open_images(tmp_path)
    assert len(source) == 5
    for k in range(4):  # their normal is -x: from the patient's left on, whatever they are called
        np.testing.assert_array_equal(source.read(k)[0], v[k] - 1024.0)
    assert len({source.name(i) for i in range(5)}) == 5
    assert pixel_size(source.file(0)) == (0.5, "mm")


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_a_derived_image(tmp_path, photometric):
    v = counts(1)[0]
    path = dicom(tmp_path / "IM7", v, PhotometricInterpretation=photometric)
    source, made = open_images(path), Made("sample", "mean", "abc")
    np.testing.assert_array_equal(source.read(0)[0], v - 1024.0)
    (out,) = written(tmp_path / "out", source, lambda x: x + 0.3, made=made)
    assert out.name == "IM7.dcm"
    old, new = pydicom.dcmread(path), pydicom.dcmread(out)
    step = float(new.RescaleSlope)
    assert step <= 1 / 16
    assert (new.RescaleIntercept, new.RescaleType) == (-1024, "HU")
    np.testing.assert_allclose(step * new.pixel_array - 1024.0, v - 1023.7, atol=step / 2 + 1e-9)
    kept = ("PatientName", "PatientID", "StudyInstanceUID", "ImagePositionPatient", "ImageOrientationPatient",
            "PixelSpacing", "SliceThickness", "WindowCenter", "PhotometricInterpretation", (9, 0x1001))  # fmt: skip
    for name in kept:
        assert new[name].value == old[name].value, name
    assert list(new.ImageType) == ["DERIVED", "PRIMARY", "AXIAL"]
    assert "PixelPaddingValue" not in new
    assert new.SOPInstanceUID == new.file_meta.MediaStorageSOPInstanceUID
    assert new.SOPInstanceUID != old.SOPInstanceUID
    assert new.SeriesInstanceUID != old.SeriesInstanceUID
    assert new.SourceImageSequence[0].ReferencedSOPInstanceUID == old.SOPInstanceUID
    assert "sample mean" in new.SeriesDescription
    first = out.read_bytes()
    assert written(tmp_path / "out", source, lambda x: x + 0.3, made=made)[0].read_bytes() == first
    other = pydicom.dcmread(written(tmp_path / "out", source, lambda x: x + 0.3, made=Made("sample", "mean", "x"))[0])
    assert other.SeriesInstanceUID != new.SeriesInstanceUID
    assert other.SOPInstanceUID != new.SOPInstanceUID


def test_each_result_of_an_image_has_identifiers_of_its_own(tmp_path):
    source = open_images(dicom(tmp_path / "IM7", counts(1)[0]))

    def identifiers(layer, more):
        (out,) = written(tmp_path / "out", source, lambda x: x + more, made=Made("sample", layer, "abc"))
        new = pydicom.dcmread(out)
        return new.SeriesInstanceUID, new.SOPInstanceUID

    series, instance = identifiers("mean", 1.0)
    for one, other in zip((series, instance), identifiers("deviation", 1.0)):
        assert one != other, "of the same numbers, which are something else"
    assert identifiers("mean", 2.0)[0] == series
    assert identifiers("mean", 2.0)[1] != instance, "two instances of one call that differ in their numbers"


def test_values_of_the_input_type_keep_its_steps(tmp_path):
    v = RNG.integers(-2000, 2000, (6, 8)).astype(np.int16)
    source = open_images(dicom(tmp_path / "a.dcm", v, slope=0.5, intercept=3.0))
    (out,) = written(tmp_path / "out", source, lambda x: x, source.dtype(0))
    new = pydicom.dcmread(out)
    assert (new.RescaleSlope, new.RescaleIntercept, new.PixelRepresentation) == (0.5, 3, 1)
    np.testing.assert_array_equal(new.pixel_array, v)


def test_slices_of_one_series_share_the_new_one(tmp_path):
    v = counts(3)
    for k in range(3):
        dicom(tmp_path / f"{k}.dcm", v[k], k)
    outs = [pydicom.dcmread(p) for p in written(tmp_path / "out", open_images(tmp_path), lambda x: x)]
    assert len({o.SeriesInstanceUID for o in outs}) == 1
    assert len({o.SOPInstanceUID for o in outs}) == 3


@pytest.mark.parametrize("slopes", [(2.0, 2.0, 2.0), (1.0, 2.0, 4.0)])
def test_frames_of_an_enhanced_image(tmp_path, slopes):
    v = counts(3)
    frames = []
    for slope in slopes:
        transformation, kind, frame = Dataset(), Dataset(), Dataset()
        transformation.RescaleSlope, transformation.RescaleIntercept, transformation.RescaleType = slope, 10, "US"
        kind.FrameType = ["ORIGINAL", "PRIMARY", "M", "NONE"]
        frame.PixelValueTransformationSequence, frame.MRImageFrameTypeSequence = [transformation], [kind]
        frames.append(frame)
    path = dicom(tmp_path / "e.dcm", v, modality="MR", NumberOfFrames=3, PerFrameFunctionalGroupsSequence=frames,
                 RescaleSlope=None)  # fmt: skip
    source = open_images(path)
    truth = np.array(slopes)[:, None, None] * v + 10.0
    for k in range(3):
        np.testing.assert_allclose(source.read(k)[0], truth[k])
    (out,) = written(tmp_path / "out", source, lambda x: x + 1)
    after, new = open_images(out), pydicom.dcmread(out)
    assert new.PerFrameFunctionalGroupsSequence[2].MRImageFrameTypeSequence[0].FrameType[0] == "DERIVED"
    for k in range(3):
        np.testing.assert_allclose(after.read(k)[0], truth[k] + 1, atol=0.13)


def test_the_other_byte_order(tmp_path):
    path = get_testdata_file("MR_small_bigendian.dcm", download=False)
    source = open_images(path)
    (out,) = written(tmp_path, source, lambda x: x)
    new = pydicom.dcmread(out)
    np.testing.assert_allclose(open_images(out).read(0), source.read(0))
    assert (new.PatientName, new.Rows) == ("CompressedSamples^MR1", 64)


def test_a_dicomdir_lists_the_files(tmp_path):
    v = counts(3)
    files = FileSet()
    for k in range(3):
        files.add(dicom(tmp_path / f"x{k}", v[k], 2 - k, InstanceNumber=k, SeriesNumber=1, StudyID="1",
                        StudyDate="20200101", StudyTime="1200"))  # fmt: skip
    files.write(tmp_path / "medium")
    for path in (tmp_path / "medium", tmp_path / "medium" / "DICOMDIR"):
        source = open_images(path)
        np.testing.assert_array_equal(np.stack([source.read(i)[0] for i in range(3)]), v[::-1] - 1024.0)
    next(path for path in (tmp_path / "medium").rglob("*") if path.is_file() and path.name != "DICOMDIR").unlink()
    with pytest.raises(UnveilError, match="is not there"):
        open_images(tmp_path / "medium")


def test_magnitudes_are_told(tmp_path):
    v = counts(1)[0]
    line = magnitude_line(open_images(dicom(tmp_path / "m.dcm", v, modality="MR")))
    assert line is not None
    assert "Rician" in line
    assert "\n" not in line
    assert magnitude_line(open_images(dicom(tmp_path / "c.dcm", v))) is None
    phase = dicom(tmp_path / "p.dcm", v, modality="MR", ImageType=["ORIGINAL", "PRIMARY", "P"])
    assert magnitude_line(open_images(phase)) is None


def test_what_is_left_out_and_refused(tmp_path, monkeypatch):
    v = counts(2)
    dicom(tmp_path / "a.dcm", v[0])
    dicom(tmp_path / "sr.dcm", v[1], modality="SR")
    with pytest.warns(UnveilWarning, match="no measured images"):
        assert len(open_images(tmp_path)) == 1
    dicom(tmp_path / "a.tif", v[0])
    with pytest.raises(UnveilError, match=r"DICOM file by its content: name it \.dcm"):
        open_images(tmp_path / "a.tif")
    lut = Dataset()
    lut.LUTDescriptor = [256, 0, 16]
    with pytest.raises(UnveilError, match="ModalityLUTSequence"):
        open_images(dicom(tmp_path / "l.dcm", v[0], ModalityLUTSequence=[lut]))
    whole = nifti(tmp_path / "b.nii", np.zeros((7, 5, 4), np.float32)).read_bytes()
    (tmp_path / "b.nii").write_bytes(whole[:500])
    with pytest.raises(UnveilError, match="cut"):
        open_images(tmp_path / "b.nii")
    (tmp_path / "b.nii.gz").write_bytes(b"\x1f\x8bnonsense")
    with pytest.raises(UnveilError, match="cannot be read"):
        open_images(tmp_path / "b.nii.gz")
    for package, name in (("nibabel", "b.nii"), ("pydicom", "a.dcm")):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(UnveilError, match=rf"needs the {package} package: pip install 'unveil\[mri\]'"):
            open_images(tmp_path / name)
