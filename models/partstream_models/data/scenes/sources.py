"""Sources of the pictures of training scenes."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from partstream_models.data.people3d.cache import RenderedPeople as RenderedPeopleCache
from partstream_models.data.photos.cache import PhotoCache
from partstream_models.data.scenes.labelled import LabelledPeople, LabelledPicture
from partstream_models.data.scenes.pictures import PictureCache, PictureSource

UInt8Array = npt.NDArray[np.uint8]
_THING_SIDE = 480


class RenderedPerson(Protocol):
    """A rendered person without surroundings."""

    @property
    def image_HWC(self) -> UInt8Array:
        """RGB."""

    @property
    def alpha_HW(self) -> UInt8Array:
        """Opacity, 0..255."""

    @property
    def parts_HW(self) -> UInt8Array:
        """Parts 0..19, 0 outside."""

    @property
    def body(self) -> int:
        """The same number is the same person in the same clothes."""


class RenderedPeople(Protocol):
    """Rendered people by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int, /) -> RenderedPerson: ...


class LabelledPictures(Protocol):
    """Pictures that teachers labelled, by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int, /) -> LabelledPicture: ...


@dataclass(frozen=True, slots=True)
class SceneSources:
    """Everything that scenes are composed from; all of it can be sent to loading processes."""

    photos: PhotoCache
    """Street photos with part labels."""
    backdrops: PictureCache | None = None
    """Sharp pictures without people."""
    things: PictureCache | None = None
    """Cut-out things with opacity."""
    rendered: RenderedPeople | None = None
    """Rendered people; parts are exact."""
    labelled: LabelledPictures | None = None
    """Pictures that teachers labelled; parts are not known."""

    bodies: tuple[tuple[int, ...], ...] = ()
    """Numbers of the pictures of each rendered body."""

    @property
    def num_identities(self) -> int:
        """Identities are numbered: photos first, then rendered bodies."""
        return len(self.photos) + len(self.bodies)


def group_bodies(bodies: Iterable[int]) -> tuple[tuple[int, ...], ...]:
    """Numbers of the pictures of each body, bodies in the order of their first picture.

    Args:
        bodies: The body that each picture shows.
    """
    groups: dict[int, list[int]] = {}
    for number, body in enumerate(bodies):
        groups.setdefault(body, []).append(number)
    return tuple(tuple(group) for group in groups.values())


@dataclass(frozen=True, slots=True)
class SceneFolders:
    """Folders that scenes are made from."""

    cache: Path
    """Folder of the shrunk photos; what is made from the others goes beside it."""
    backdrops: Path | None = None
    """With `photos`, `views` and `things`."""
    empty_clips: Path | None = None
    """Clips without anybody."""
    labelled: Path | None = None
    """Cache of pictures that teachers labelled (`data.scenes.labelled`)."""
    rendered: Path | None = None
    """Cache of rendered people (`data.people3d`)."""

    def read(self, photos: PhotoCache) -> SceneSources | None:
        """The sources; None without backdrops.

        Raises:
            ValueError: A folder is missing or holds no picture.
        """
        if self.backdrops is None:
            return None
        labelled = None if self.labelled is None else LabelledPeople(self.labelled)
        rendered = None if self.rendered is None else RenderedPeopleCache(self.rendered)
        bodies = () if rendered is None else group_bodies(rendered.bodies().tolist())
        backdrops = backdrop_cache(self._beside("backdrops"), self.backdrops, self.empty_clips)
        things = thing_cache(self._beside("things"), self.backdrops)
        return SceneSources(photos, backdrops, things, rendered=rendered, labelled=labelled, bodies=bodies)

    def _beside(self, name: str) -> Path:
        return self.cache.with_name(f"{self.cache.name}-{name}")


def backdrop_cache(cache_dir: Path, backdrops: Path, empty_clips: Path | None) -> PictureCache:
    """Backdrops of the folders `photos` and `views`, and frames of clips without anybody.

    Raises:
        ValueError: A folder is missing or holds no picture.
    """
    sources = [PictureSource(folder=backdrops / name) for name in ("photos", "views")]
    if empty_clips is not None:
        sources.append(PictureSource(folder=empty_clips))
    return PictureCache(cache_dir, sources)


def thing_cache(cache_dir: Path, backdrops: Path) -> PictureCache:
    """Cut-out things of the folder `things`.

    Raises:
        ValueError: The folder is missing or holds no picture with opacity.
    """
    return PictureCache(
        cache_dir, [PictureSource(folder=backdrops / "things", longer_side=_THING_SIDE, opacity=True)]
    )
