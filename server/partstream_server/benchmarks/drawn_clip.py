"""A clip of drawn figures that walk: something to time, and to test with, where there is no footage."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from partstream_server.media.video_spec import VideoSpec
from partstream_server.media.video_writer import VideoWriter

Image = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]

_SKIN: Colour = (224, 172, 135)
_HAIR: Colour = (62, 40, 28)
_SHOE: Colour = (35, 32, 34)
_RATE = 25.0
_FOLDS, _GRAIN = 30.0, 10.0
"""Grey levels of light and shade."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One person of simple shapes; lengths are in shares of the figure's height."""

    height_px: float
    speed_px: float
    """Pixels a frame to the right."""
    start_px: float
    feet_px: float
    shirt: Colour
    trousers: Colour

    def draw(self, image: Image, frame: int) -> None:
        """Draw the figure as it stands in a frame."""
        unit = self.height_px
        x = (self.start_px + self.speed_px * frame) % (image.shape[1] + unit) - unit / 2
        swing = 0.12 * math.sin(frame * 0.35 + self.start_px)
        hip, shoulder = (x, self.feet_px - 0.47 * unit), (x, self.feet_px - 0.80 * unit)
        for side in (-1, 1):
            foot = (x + side * swing * unit + side * 0.03 * unit, self.feet_px)
            self._limb(image, (hip[0] + side * 0.05 * unit, hip[1]), foot, 0.11, self.trousers)
            self._limb(image, foot, (foot[0] + 0.05 * unit, foot[1]), 0.07, _SHOE)
            hand = (x + side * 0.16 * unit - side * swing * unit, self.feet_px - 0.45 * unit)
            start = (shoulder[0] + side * 0.11 * unit, shoulder[1] + 0.02 * unit)
            self._limb(image, start, hand, 0.07, self.shirt)
            cv2.circle(image, _point(hand), round(0.035 * unit), _SKIN, cv2.FILLED, cv2.LINE_AA)
        self._limb(image, hip, (shoulder[0], shoulder[1] + 0.03 * unit), 0.24, self.shirt)
        self._limb(image, shoulder, (x, shoulder[1] - 0.05 * unit), 0.07, _SKIN)
        head = (x, self.feet_px - 0.91 * unit)
        size = (round(0.065 * unit), round(0.085 * unit))
        cv2.ellipse(
            image, _point((x, head[1] - 0.025 * unit)), size, 0, 0, 360, _HAIR, cv2.FILLED, cv2.LINE_AA
        )
        face = (round(0.05 * unit), round(0.07 * unit))
        cv2.ellipse(image, _point(head), face, 0, 0, 360, _SKIN, cv2.FILLED, cv2.LINE_AA)

    def _limb(
        self, image: Image, start: tuple[float, float], end: tuple[float, float], width: float, colour: Colour
    ) -> None:
        thickness = max(1, round(width * self.height_px))
        cv2.line(image, _point(start), _point(end), colour, thickness, cv2.LINE_AA)


def _point(place: tuple[float, float]) -> tuple[int, int]:
    return round(place[0]), round(place[1])


def walkers(width: int, height: int) -> tuple[Figure, ...]:
    """Five figures of different sizes, colours and speeds, the nearest last."""
    shirts: tuple[Colour, ...] = (
        (176, 58, 46),
        (40, 90, 160),
        (230, 200, 80),
        (240, 240, 235),
        (70, 120, 70),
    )
    trousers: tuple[Colour, ...] = ((45, 52, 75), (120, 110, 95), (30, 30, 32), (60, 75, 110), (95, 70, 60))
    return tuple(
        Figure(
            height_px=height * (0.62 + 0.05 * number),
            speed_px=width * (0.0012 + 0.0002 * number),
            start_px=width * (0.1 + 0.2 * number) + height * (0.31 + 0.025 * number),
            feet_px=height * (0.84 + 0.03 * number),
            shirt=shirts[number],
            trousers=trousers[number],
        )
        for number in range(5)
    )


def scene(width: int, height: int, frame: int) -> Image:
    """One frame: a street of flat planes with figures that walk on it."""
    image = np.empty((height, width, 3), np.uint8)
    horizon = round(0.55 * height)
    image[:horizon] = np.linspace((150, 175, 205), (205, 210, 212), horizon, dtype=np.uint8)[:, None]
    image[horizon:] = np.linspace((140, 136, 130), (98, 96, 94), height - horizon, dtype=np.uint8)[:, None]
    for number in range(6):
        left = round(width * (0.17 * number - 0.02))
        top = round(height * (0.18 + 0.07 * (number % 3)))
        cv2.rectangle(image, (left, top), (left + round(0.13 * width), horizon), (128, 116, 108), cv2.FILLED)
    image = _textured(image, 0)
    for figure in walkers(width, height):
        flat = image.copy()
        figure.draw(flat, frame)
        changed_HW = (flat != image).any(axis=2)
        left, top, across, down = cv2.boundingRect(changed_HW.view(np.uint8))
        area = slice(top, top + down), slice(left, left + across)
        textured = _textured(flat, round(figure.speed_px * frame), area)
        image[area] = np.where(changed_HW[area][..., None], textured, image[area])
    return image


def _textured(image: Image, shift_px: int, area: tuple[slice, slice] | None = None) -> Image:
    """An area with light and shade like cloth's, moved to the right: networks see nobody in flat paint."""
    area = area or (slice(None), slice(None))
    shade_HW1 = np.roll(_shade(image.shape[0], image.shape[1]), shift_px, axis=1)
    return np.asarray(np.clip(image[area] + shade_HW1[area], 0, 255), np.uint8)


@lru_cache(maxsize=4)
def _shade(height: int, width: int) -> npt.NDArray[np.float32]:
    """Folds and grain in grey levels, [H, W, 1]."""
    rng = np.random.default_rng(0)
    total = np.zeros((height, width), np.float32)
    for levels, share in ((_FOLDS, 0.011), (_GRAIN, 0.0028)):
        noise = cv2.GaussianBlur(rng.normal(size=(height, width)), (0, 0), share * height)
        total += (levels * noise / noise.std()).astype(np.float32)
    return total[..., None]


def write_figures(path: Path, *, width: int = 1280, height: int = 720, num_frames: int = 100) -> None:
    """Write the clip as H.264 at 25 frames a second."""
    with VideoWriter(path, VideoSpec(width=width, height=height, frame_rate=_RATE)) as writer:
        for frame in range(num_frames):
            writer.write(scene(width, height, frame), time_s=frame / _RATE, duration_s=1 / _RATE)
