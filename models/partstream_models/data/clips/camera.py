"""How a clip's camera sees: one blur, noise, light and compression for all its frames.

Shape suffixes: H height, W width, C colour channels (RGB).
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

UInt8Array = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """What a camera makes of a clip; a field at its default changes nothing."""

    gain: float = 1.0
    gain_drift: float = 0.0
    """Added to the gain over the clip, as by automatic exposure."""
    gamma: float = 1.0
    colour: tuple[float, float, float] = (1.0, 1.0, 1.0)
    grey: float = 0.0
    blur: float = 0.0
    """Standard deviation in pixels."""
    smear: tuple[float, float] = (0.0, 0.0)
    """Way of the camera while the shutter is open, x and y in pixels."""
    scale: float = 1.0
    """Resolution that is left."""
    noise: float = 0.0
    quality: int | None = None
    """JPEG quality of what was recorded."""


def draw_look(rng: np.random.Generator) -> Look:
    """A camera: a good one every fourth time, else dark, soft, noisy or poor in some of these ways."""
    if rng.random() < 0.25:
        return Look()
    balance = np.exp(rng.normal(0, 0.05, 3))
    way = rng.normal(0, 3.0, 2) if rng.random() < 0.12 else np.zeros(2)
    return Look(
        gain=float(np.exp(rng.normal(-0.08, 0.25))),
        gain_drift=float(rng.normal(0, 0.08)),
        gamma=float(np.exp(rng.normal(0, 0.18))),
        colour=(float(balance[0]), float(balance[1]), float(balance[2])),
        grey=float(rng.choice([0.0, 0.5, 1.0], p=[0.8, 0.13, 0.07])),
        blur=float(rng.uniform(0.3, 1.6)) if rng.random() < 0.25 else 0.0,
        smear=(float(way[0]), float(way[1])),
        scale=float(rng.uniform(0.35, 0.8)) if rng.random() < 0.15 else 1.0,
        noise=float(rng.uniform(1, 12)) if rng.random() < 0.35 else 0.0,
        quality=int(rng.integers(25, 92)) if rng.random() < 0.4 else None,
    )


def film(image_HWC: UInt8Array, look: Look, progress: float, rng: np.random.Generator) -> UInt8Array:
    """A frame as the camera records it.

    Args:
        image_HWC: The frame.
        look: The camera.
        progress: Place in the clip, 0 to 1.
        rng: For noise, which differs from frame to frame.
    """
    image = _tone(image_HWC, look, progress)
    if look.blur:
        image = cv2.GaussianBlur(image, (0, 0), look.blur).astype(np.uint8)
    if look.smear != (0.0, 0.0):
        image = smear(image, look.smear)
    height, width = image.shape[:2]
    if look.scale < 1:
        small = (max(round(width * look.scale), 8), max(round(height * look.scale), 8))
        shrunk = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
        image = cv2.resize(shrunk, (width, height)).astype(np.uint8)
    if look.noise:
        grain = rng.standard_normal((height, width, 1), np.float32) * look.noise
        image = np.clip(image + grain, 0, 255).astype(np.uint8)
    if look.quality is not None:
        _, packed = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, look.quality])
        image = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)
    return image


def _tone(image_HWC: UInt8Array, look: Look, progress: float) -> UInt8Array:
    levels = np.arange(256) / 255
    gain = max(look.gain + look.gain_drift * progress, 0.1) * np.array(look.colour)
    table = np.clip(levels[:, None] ** look.gamma * gain * 255, 0, 255).astype(np.uint8)
    image = cv2.LUT(image_HWC, table.reshape(256, 1, 3))
    if look.grey:
        plain = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        image = cv2.addWeighted(image, 1 - look.grey, plain, look.grey, 0)
    return np.asarray(image, np.uint8)


def smear(image_HWC: UInt8Array, way: tuple[float, float]) -> UInt8Array:
    """The frame of a camera that goes this way, x and y in pixels, while the shutter is open."""
    reach = int(np.ceil(max(abs(way[0]), abs(way[1])) / 2)) + 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    ends = [(round(reach + sign * way[0] / 2), round(reach + sign * way[1] / 2)) for sign in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 1.0, 1)
    return cv2.filter2D(image_HWC, -1, kernel / kernel.sum()).astype(np.uint8)
