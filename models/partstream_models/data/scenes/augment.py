"""Changes of colour, light, sharpness and compression, and seamless pasting.

Shape suffixes: H height, W width, C colour channels (RGB).
"""

from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt

from partstream_models.data.scenes.scene import Scene

UInt8Array = npt.NDArray[np.uint8]


def jitter_colour(image_HWC: UInt8Array, rng: np.random.Generator, *, strength: float = 1.0) -> UInt8Array:
    """The image with another brightness, contrast, gamma, colour balance and saturation."""
    gain = np.exp(rng.normal(0, 0.18 * strength)) * np.exp(rng.normal(0, 0.06 * strength, 3))
    offset = rng.normal(0, 14 * strength)
    gamma = np.exp(rng.normal(0, 0.18 * strength))
    levels = np.arange(256, dtype=np.float64) / 255
    table = np.clip(levels[:, None] ** gamma * gain * 255 + offset, 0, 255).astype(np.uint8)
    changed = cv2.LUT(image_HWC, table.reshape(256, 1, 3)).astype(np.uint8)
    if rng.random() < 0.4 * strength:
        grey = cv2.cvtColor(cv2.cvtColor(changed, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        share = float(rng.uniform(0, 0.8)) if rng.random() < 0.8 else 1.0
        changed = cv2.addWeighted(changed, 1 - share, grey, share, 0).astype(np.uint8)
    return changed


def blend_soft(
    below_HWC: UInt8Array, above_HWC: UInt8Array, mask_HW: npt.NDArray[np.bool_], rng: np.random.Generator
) -> UInt8Array:
    """`above` over `below` where the mask is set; the edge is softened at random to hide the seam."""
    rows, columns = np.flatnonzero(mask_HW.any(axis=1)), np.flatnonzero(mask_HW.any(axis=0))
    if len(rows) == 0:
        return below_HWC
    area = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    hard = mask_HW[area].astype(np.float32)
    alpha = cv2.GaussianBlur(hard, (0, 0), float(rng.uniform(0.4, 1.3)))[..., None]
    mixed = below_HWC.copy()
    mixed[area] = (below_HWC[area] * (1 - alpha) + above_HWC[area] * alpha).astype(np.uint8)
    return mixed


def random_texture(rng: np.random.Generator, height: int, width: int) -> UInt8Array:
    """A picture without people: smooth noise at a random scale, with stripes or blocks."""
    cells = int(rng.integers(2, 40))
    grid = rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
    mode = cv2.INTER_NEAREST if rng.random() < 0.3 else cv2.INTER_CUBIC
    image = cv2.resize(grid, (width, height), interpolation=mode).astype(np.uint8)
    for _ in range(int(rng.integers(0, 12))):
        colour = tuple(int(value) for value in rng.integers(0, 256, 3))
        corner = (int(rng.integers(width)), int(rng.integers(height)))
        other = (int(rng.integers(width)), int(rng.integers(height)))
        if rng.random() < 0.5:
            cv2.rectangle(image, corner, other, colour, -1)
        else:
            cv2.line(image, corner, other, colour, int(rng.integers(1, 12)))
    return image


def degrade(scene: Scene, rng: np.random.Generator) -> Scene:
    """The scene as a poor camera would have seen it: blurred, small, noisy or compressed now and then."""
    image = scene.image_HWC
    height, width = image.shape[:2]
    if rng.random() < 0.25:
        image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.4, 1.6))).astype(np.uint8)
    if rng.random() < 0.15:
        image = _motion_blur(image, rng)
    if rng.random() < 0.15:
        share = float(rng.uniform(0.35, 0.8))
        small = cv2.resize(image, (max(int(width * share), 8), max(int(height * share), 8)))
        image = cv2.resize(small, (width, height)).astype(np.uint8)
    if rng.random() < 0.25:
        noise = rng.normal(0, float(rng.uniform(2, 12)), (height, width, 1)).astype(np.float32)
        image = np.clip(image.astype(np.float32) + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.35:
        quality = int(rng.integers(25, 90))
        _, packed = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
        image = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)
    return replace(scene, image_HWC=image)


def _motion_blur(image_HWC: UInt8Array, rng: np.random.Generator) -> UInt8Array:
    size = int(rng.integers(3, 10))
    kernel = np.zeros((size, size), np.float32)
    angle = float(rng.uniform(0, np.pi))
    middle = (size - 1) / 2
    reach = np.array([np.cos(angle), np.sin(angle)]) * middle
    start = (round(middle - reach[0]), round(middle - reach[1]))
    end = (round(middle + reach[0]), round(middle + reach[1]))
    cv2.line(kernel, start, end, 1.0, 1)
    return cv2.filter2D(image_HWC, -1, kernel / kernel.sum()).astype(np.uint8)
