"""FlyingChairs: pairs of images and the flow from the first to the second.

    data/00001_img1.ppm, data/00001_img2.ppm, data/00001_flow.flo
    FlyingChairs_train_val.txt               a line a pair: 1 train, 2 val

A recording is a pair: frame 0 has the flow to frame 1.

Source: FlowNet (Dosovitskiy et al., ICCV 2015).
"""

from functools import partial
from pathlib import Path

from partstream_models.data.readers.files import first_file, need_folder, read_flow, read_image, read_lines
from partstream_models.data.readers.record import Frame, Recording

_LIST = "FlyingChairs_train_val.txt"
_SPLITS = {"train": "1", "val": "2"}


def open_flying_chairs(folder: Path, split: str) -> tuple[Recording, ...]:
    """The pairs of a split, `train` or `val`.

    Raises:
        ValueError: A folder or the list is missing, the list says something else, or there is no such split.
    """
    if split not in _SPLITS:
        raise ValueError(f"FlyingChairs has train and val, not {split!r}")
    data = need_folder(folder / "data", "FlyingChairs keeps its pairs there")
    listed = first_file(
        [folder / _LIST, data / _LIST], "FlyingChairs says there which pairs are train and val"
    )
    marks = read_lines(listed)
    wrong = sorted(set(marks) - set(_SPLITS.values()))
    if wrong:
        raise ValueError(f"{listed} must hold 1 or 2 in each line, got {wrong[0]!r}")
    numbers = [number for number, mark in enumerate(marks, start=1) if mark == _SPLITS[split]]
    return tuple(
        Recording(f"{number:05d}", 2, (0,), partial(_frame, data, f"{number:05d}")) for number in numbers
    )


def _frame(data: Path, name: str, number: int) -> Frame:
    image_HWC = read_image(data / f"{name}_img{number + 1}.ppm")
    if number == 1:
        return Frame(image_HWC)
    path = data / f"{name}_flow.flo"
    flow_HW2 = read_flow(path)
    if flow_HW2.shape[:2] != image_HWC.shape[:2]:
        raise ValueError(f"{path} is {flow_HW2.shape[:2]}, but its image is {image_HWC.shape[:2]}")
    return Frame(image_HWC, flow_HW2=flow_HW2)
