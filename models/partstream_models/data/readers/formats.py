"""The data sets that can be read, by the names that commands use."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from partstream_models.data.readers.coco import open_coco
from partstream_models.data.readers.davis import open_davis, open_davis_2016
from partstream_models.data.readers.files import need_folder
from partstream_models.data.readers.flying_chairs import open_flying_chairs
from partstream_models.data.readers.lip import open_lip
from partstream_models.data.readers.ochuman import open_ochuman
from partstream_models.data.readers.parts_and_people import open_cihp, open_vip
from partstream_models.data.readers.record import Recording
from partstream_models.data.readers.youtube_vis import open_youtube_vis


class DataFormat(StrEnum):
    """A published layout."""

    VIP = "vip"
    CIHP = "cihp"
    LIP = "lip"
    DAVIS = "davis"
    """DAVIS 2017."""
    DAVIS_2016 = "davis-2016"
    COCO = "coco"
    OCHUMAN = "ochuman"
    YOUTUBE_VIS = "youtube-vis"
    HVIS = "hvis"
    FLYING_CHAIRS = "flying-chairs"


class Known(StrEnum):
    """What a data set may tell of its frames."""

    PARTS = "parts"
    INSTANCES = "instances"
    IDENTITIES = "identities"
    """Instances that stay the same over a recording's frames."""
    FLOW = "flow"


@dataclass(frozen=True, slots=True)
class Format:
    """How a data set is opened, and what it knows."""

    open: Callable[[Path, str], tuple[Recording, ...]]
    """Recordings of a split of a folder."""
    known: frozenset[Known]


_PEOPLE = frozenset({Known.INSTANCES})
_TRACKS = frozenset({Known.INSTANCES, Known.IDENTITIES})
_PARTS = frozenset({Known.INSTANCES, Known.PARTS})
FORMATS: Mapping[DataFormat, Format] = {
    DataFormat.VIP: Format(open_vip, _PARTS),
    DataFormat.CIHP: Format(open_cihp, _PARTS),
    DataFormat.LIP: Format(open_lip, _PARTS),
    DataFormat.DAVIS: Format(open_davis, _TRACKS),
    DataFormat.DAVIS_2016: Format(open_davis_2016, _PEOPLE),
    DataFormat.COCO: Format(open_coco, _PEOPLE),
    DataFormat.OCHUMAN: Format(open_ochuman, _PEOPLE),
    DataFormat.YOUTUBE_VIS: Format(open_youtube_vis, _TRACKS),
    DataFormat.HVIS: Format(open_youtube_vis, _TRACKS),
    DataFormat.FLYING_CHAIRS: Format(open_flying_chairs, frozenset({Known.FLOW})),
}


def open_data(
    folder: Path, data_format: DataFormat, split: str, *, needs: frozenset[Known] = frozenset()
) -> tuple[Recording, ...]:
    """The recordings of a split, at least one.

    Args:
        folder: Where the data set was unpacked.
        data_format: Which data set it is.
        split: Mostly `train` or `val`.
        needs: What must be known of its frames.

    Raises:
        ValueError: The data set does not know it; or a folder or file is missing, which is named.
    """
    lacking = needs - FORMATS[data_format].known
    if lacking:
        fitting = [name for name, each in FORMATS.items() if needs <= each.known]
        raise ValueError(
            f"{data_format} has no {', '.join(sorted(lacking))}; data sets with that are {', '.join(fitting)}"
        )
    need_folder(folder, f"{data_format} was to be read from it")
    recordings = FORMATS[data_format].open(folder, split)
    if not recordings:
        raise ValueError(f"{folder} has no frames with people in its split {split}")
    return recordings
