"""CIHP, VIP and LIP in their published layouts, drawn small."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from partstream_core.labels import VOID
from partstream_models.data.readers.formats import DataFormat, Known, open_data
from partstream_models.data.readers.record import Frame, rows_of
from tests.models.reader_trees import (
    HAIR,
    HEIGHT,
    PANTS,
    WIDTH,
    draw_cihp,
    draw_lip,
    draw_vip,
    picture,
    save,
)


def check_two_people(frame: Frame) -> None:
    assert frame.parts_HW is not None
    assert frame.instances_HW is not None
    assert frame.identities_N.tolist() == [1, 3]
    assert set(np.unique(frame.instances_HW).tolist()) == {0, 1, 2, VOID}
    assert np.unique(frame.parts_HW[frame.instances_HW == 2]).tolist() == [PANTS]
    assert np.count_nonzero(frame.instances_HW == 1) == 18 * 8
    nobody = (slice(22, 24), slice(14, 18))
    assert (frame.parts_HW[nobody] == VOID).all()
    assert (frame.instances_HW[nobody] == VOID).all()
    assert frame.instances_HW[0, 0] == VOID


def test_cihp_has_parts_of_people(tmp_path: Path) -> None:
    first, second = open_data(draw_cihp(tmp_path), DataFormat.CIHP, "train")
    assert (first.name, first.num_frames, first.labelled) == ("0000006", 1, (0,))
    assert not np.array_equal(first.frame(0).image_HWC, second.frame(0).image_HWC)
    check_two_people(first.frame(0))


@pytest.mark.parametrize("annotations", ["Annotations", "."])
def test_vip_has_a_labelled_frame_among_those_around_it(tmp_path: Path, annotations: str) -> None:
    (recording,) = open_data(draw_vip(tmp_path, annotations=annotations), DataFormat.VIP, "train")
    assert (recording.num_frames, recording.labelled) == (4, (2,))
    check_two_people(recording.frame(2))
    for number in (0, 1, 3):
        frame = recording.frame(number)
        assert frame.instances_HW is None
        assert frame.image_HWC.shape == (HEIGHT, WIDTH, 3)
    before = np.asarray(Image.open(tmp_path / "adjacent_frames" / recording.name / "000000000025.jpg"))
    assert np.array_equal(recording.frame(1).image_HWC, before)
    with pytest.raises(ValueError, match=r"has frames 0\.\.3, not 4"):
        recording.frame(4)


def test_vip_without_frames_around_is_photos(tmp_path: Path) -> None:
    draw_vip(tmp_path, annotations="Annotations")
    for path in (tmp_path / "adjacent_frames").rglob("*.jpg"):
        path.unlink()
    with pytest.raises(ValueError, match=r"no images in .*adjacent_frames"):
        open_data(tmp_path, DataFormat.VIP, "train")
    (tmp_path / "adjacent_frames" / "videos1" / "000000000026").rmdir()
    (recording,) = open_data(tmp_path, DataFormat.VIP, "train")
    assert (recording.num_frames, recording.labelled) == (1, (0,))


@pytest.mark.parametrize("nested", [False, True])
def test_lip_has_one_person_whose_jumpsuit_is_void(tmp_path: Path, nested: bool) -> None:
    (recording,) = open_data(draw_lip(tmp_path, nested=nested), DataFormat.LIP, "train")
    frame = recording.frame(0)
    assert frame.parts_HW is not None
    assert frame.instances_HW is not None
    assert np.unique(frame.parts_HW).tolist() == [0, HAIR, VOID]
    assert np.count_nonzero(frame.instances_HW == 1) == 16 * 16
    assert (frame.parts_HW[12:20, 4:20] == VOID).all()
    assert frame.identities_N.tolist() == [1]


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    for data_format in (DataFormat.CIHP, DataFormat.VIP, DataFormat.LIP):
        with pytest.raises(ValueError, match=str(tmp_path)):
            open_data(tmp_path, data_format, "train")
        with pytest.raises(ValueError, match=r"no folder .*nowhere"):
            open_data(tmp_path / "nowhere", data_format, "train")
    draw_cihp(tmp_path)
    with pytest.raises(ValueError, match="not for 'test'"):
        open_data(tmp_path, DataFormat.CIHP, "test")
    with pytest.raises(ValueError, match="Validation"):
        open_data(tmp_path, DataFormat.CIHP, "val")
    (tmp_path / "Training" / "train_id.txt").write_text("\n")
    with pytest.raises(ValueError, match=r"train_id\.txt is empty"):
        open_data(tmp_path, DataFormat.CIHP, "train")


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (recording, _) = open_data(draw_cihp(tmp_path), DataFormat.CIHP, "train")
    inside = tmp_path / "Training"
    labels = inside / "Category_ids" / "0000006.png"
    kept = labels.read_bytes()
    save(labels, np.full((HEIGHT, WIDTH), 20, np.uint8))
    with pytest.raises(ValueError, match=r"Category_ids/0000006\.png holds unknown values: 20"):
        recording.frame(0)
    save(labels, np.zeros((HEIGHT, WIDTH - 1), np.uint8))
    with pytest.raises(ValueError, match=r"0000006\.png is \(24, 31\), but its image is \(24, 32\)"):
        recording.frame(0)
    labels.unlink()
    with pytest.raises(ValueError, match=r"cannot read the label map .*0000006\.png"):
        recording.frame(0)
    labels.write_bytes(kept)
    image = inside / "Images" / "0000006.jpg"
    image.write_bytes(image.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"cannot read the image .*0000006\.jpg"):
        recording.frame(0)
    image.unlink()
    with pytest.raises(ValueError, match=r"cannot read the image .*0000006\.jpg"):
        recording.frame(0)


def test_a_data_set_that_lacks_what_is_needed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cihp has no flow; data sets with that are flying-chairs"):
        open_data(draw_cihp(tmp_path), DataFormat.CIHP, "train", needs=frozenset({Known.FLOW}))


def test_rows_follow_identities_and_void_stays() -> None:
    owners = np.array([[0, 7, 7], [255, 2, 300]])
    instances, identities = rows_of(owners)
    assert identities.tolist() == [2, 7, 300]
    assert instances.tolist() == [[0, 2, 2], [VOID, 1, 3]]
    crowded, kept = rows_of(np.arange(1000).reshape(10, 100))
    assert len(kept) == 254
    assert crowded.max() == VOID
    assert np.count_nonzero((crowded > 0) & (crowded != VOID)) == 254


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"parts_HW": np.zeros((3, 3), np.uint8)}, "part map is"),
        ({"instances_HW": np.zeros((3, 3), np.uint8)}, "instance map is"),
        ({"flow_HW2": np.zeros((3, 3, 2), np.float32)}, "flow is"),
        ({"instances_HW": np.ones((HEIGHT, WIDTH), np.uint8)}, "row 1 of the instance map has no identity"),
        ({"image_HWC": np.zeros((4, 4), np.uint8)}, "must be"),
    ],
)
def test_a_frame_that_contradicts_itself_is_refused(changed: dict[str, NDArray[np.uint8]], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Frame(**({"image_HWC": picture(0)} | changed))  # type: ignore[arg-type]
