"""DAVIS 2016 and 2017: every frame of a clip has a palette PNG, each value an object, 255 void.

    ImageSets/2017/train.txt                 a clip a line
    ImageSets/480p/train.txt                 2016: a line a frame, the paths of its image and its map
    JPEGImages/480p/bear/00000.jpg
    Annotations/480p/bear/00000.png

2016 asks for the foreground alone: whatever is not 0 is one object. Objects are people and other things; the
data set does not say which.

Source: Perazzi et al., CVPR 2016; Pont-Tuset et al., 2017.
"""

from functools import partial
from pathlib import Path

import numpy as np

from partstream_models.data.readers.files import (
    first_file,
    images_in,
    need_folder,
    read_image,
    read_lines,
    read_map,
)
from partstream_models.data.readers.record import Frame, Recording, rows_of


def open_davis(folder: Path, split: str) -> tuple[Recording, ...]:
    """The clips of a split of DAVIS 2017, with an identity for each object.

    Raises:
        ValueError: A folder or the list is missing, or a frame has no map.
    """
    return _open(folder, read_lines(folder / "ImageSets" / "2017" / f"{split}.txt"), together=False)


def open_davis_2016(folder: Path, split: str) -> tuple[Recording, ...]:
    """The clips of a split of DAVIS 2016, with the foreground as one object.

    Raises:
        ValueError: A folder or the list is missing, or a frame has no map.
    """
    listed = first_file(
        [folder / "ImageSets" / year / f"{split}.txt" for year in ("480p", "2016")],
        f"DAVIS 2016 lists its split {split} there",
    )
    # a clip's name, or a line a frame with the paths of its image and its map
    names = [line.split()[0] for line in read_lines(listed)]
    clips = [name if "/" not in name else Path(name).parent.name for name in names]
    return _open(folder, list(dict.fromkeys(clips)), together=True)


def _open(folder: Path, clips: list[str], *, together: bool) -> tuple[Recording, ...]:
    images = need_folder(folder / "JPEGImages" / "480p", "DAVIS keeps frames there")
    labels = need_folder(folder / "Annotations" / "480p", "DAVIS keeps maps there")
    found = []
    for clip in clips:
        frames = tuple(images_in(need_folder(images / clip, "a clip of the list")))
        maps = tuple(labels / clip / f"{frame.stem}.png" for frame in frames)
        missing = [path for path in maps if not path.is_file()]
        if missing:
            raise ValueError(f"no map {missing[0]}: DAVIS has one for every frame")
        found.append(
            Recording(clip, len(frames), tuple(range(len(frames))), partial(_frame, frames, maps, together))
        )
    return tuple(found)


def _frame(frames: tuple[Path, ...], maps: tuple[Path, ...], together: bool, number: int) -> Frame:
    image_HWC = read_image(frames[number])
    owners_HW = read_map(maps[number], image_HWC)
    # 2016 stores its foreground as 255, which is void elsewhere
    instances_HW, identities = rows_of((owners_HW > 0).astype(np.int64) if together else owners_HW)
    return Frame(image_HWC, None, instances_HW, identities)
