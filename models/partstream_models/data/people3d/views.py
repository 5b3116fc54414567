"""Cameras and lights.

Shape suffixes: V vertices, J joints, 3 and 2 coordinates.
"""

from typing import Final

import cv2
import numpy as np

from partstream_models.data.people3d.meshes import Float32Array
from partstream_models.data.people3d.pose import FloatArray, about, unit
from partstream_models.data.people3d.scene import SAMPLES, Camera, Light, UInt8Array

_MARGIN: Final = 3
"""Pixels around the person."""
_JOINT_DEPTH: Final = np.array([0.05] * 5 + [0.13] * 2 + [0.08] * 4 + [0.17] * 2 + [0.10] * 4)
"""How far below the surface a joint may lie and still be seen, metres, in COCO order."""


def draw_camera(
    rng: np.random.Generator, positions_V3: Float32Array, side: int, framed_V3: Float32Array | None = None
) -> Camera:
    """A camera at any height and distance around the person; the longer side of the picture is `side`.

    Args:
        rng: Source of chance.
        positions_V3: The person.
        side: Pixels.
        framed_V3: What the picture shows of the person (a close-up); all by default.
    """
    low, high = positions_V3.min(axis=0), positions_V3.max(axis=0)
    middle = ((low + high) / 2).astype(np.float64)
    extent = float(np.linalg.norm(high - low))
    azimuth = np.deg2rad(rng.uniform(-180, 180) if rng.random() < 0.6 else rng.normal(0, 40))
    elevation = np.deg2rad(rng.uniform(-35, 80) if rng.random() < 0.22 else rng.normal(6, 13))
    distance = extent * float(np.exp(rng.uniform(np.log(0.95), np.log(5))))
    away = np.array(
        [np.sin(azimuth) * np.cos(elevation), -np.cos(azimuth) * np.cos(elevation), np.sin(elevation)]
    )
    roll = float(np.deg2rad(rng.normal(0, 5)))
    if framed_V3 is None:
        return aim(middle + away * distance, middle, roll, positions_V3, side)
    target = framed_V3.mean(axis=0).astype(np.float64)
    distance = max(1.1 * extent * float(rng.uniform(0.55, 1.6)), 0.75 * extent)
    return aim(target + away * distance, target, roll, positions_V3, side, framed_V3)


def aim(
    eye: FloatArray,
    target: FloatArray,
    roll: float,
    positions_V3: Float32Array,
    side: int,
    framed_V3: Float32Array | None = None,
) -> Camera:
    """The camera at `eye` whose picture just holds all positions, or those that are framed."""
    back = unit(eye - target)
    right = unit(np.cross([0.0, 0.0, 1.0] if abs(back[2]) < 0.98 else [0.0, 1.0, 0.0], back))
    right = about(back, roll) @ right
    rotation = np.stack([right, np.cross(back, right), back])
    seen = (positions_V3 - eye) @ rotation.T
    depth = np.maximum(-seen[:, 2], 0.05)
    shown = seen if framed_V3 is None else (framed_V3 - eye) @ rotation.T
    plane = shown[:, :2] / np.maximum(-shown[:, 2:], 0.05)
    low, high = plane.min(axis=0), plane.max(axis=0)
    scale = (side - 2 * _MARGIN) / float((high - low).max())
    margin = _MARGIN if framed_V3 is None else 0
    width, height = (max(int(np.ceil(value)) + 2 * margin, 16) for value in (high - low) * scale)
    near, far = max(float(depth.min()) * 0.8, 0.04), float(depth.max()) * 1.1
    centre = (low + high) / 2
    matrix = np.zeros((4, 4))
    matrix[0, :3] = 2 * scale / width * (rotation[0] + centre[0] * rotation[2])
    matrix[1, :3] = 2 * scale / height * (rotation[1] + centre[1] * rotation[2])
    matrix[2, :3] = -(far + near) / (far - near) * rotation[2]
    matrix[3, :3] = -rotation[2]
    matrix[:, 3] = -matrix[:, :3] @ eye
    matrix[2, 3] -= 2 * far * near / (far - near)
    return Camera(eye, matrix, width, height, near, far, scale)


def project(camera: Camera, points_J3: Float32Array, depth_HW: Float32Array) -> Float32Array:
    """Joints in the picture: x, y, and 1 where nothing hides them, [J, 3].

    Args:
        depth_HW: Depth of clip space at double size.
    """
    clip = np.concatenate([points_J3, np.ones((len(points_J3), 1))], axis=1) @ camera.matrix.T
    device = clip[:, :3] / clip[:, 3:]
    x = (device[:, 0] + 1) / 2 * camera.width
    y = (1 - device[:, 1]) / 2 * camera.height
    column = (x * SAMPLES).astype(int)
    row = (y * SAMPLES).astype(int)
    inside = (x >= 0) & (y >= 0) & (x < camera.width) & (y < camera.height)
    seen = depth_HW[np.clip(row, 0, len(depth_HW) - 1), np.clip(column, 0, depth_HW.shape[1] - 1)]
    surface = metres(camera, 2.0 * seen - 1.0)
    visible = inside & (seen < 1) & (surface > clip[:, 3] - _JOINT_DEPTH)
    return np.stack([x, y, visible], axis=1).astype(np.float32)


def metres(camera: Camera, depth: FloatArray) -> FloatArray:
    """Distance along the view of a depth in -1..1."""
    near, far = camera.near, camera.far
    return np.asarray(2 * near * far / ((far + near) - depth * (far - near)))


def _direction(azimuth: float, elevation: float) -> tuple[float, float, float]:
    a, e = np.deg2rad(azimuth), np.deg2rad(elevation)
    return float(np.sin(a) * np.cos(e)), float(-np.cos(a) * np.cos(e)), float(np.sin(e))


def draw_light(rng: np.random.Generator, camera: Camera, target: FloatArray) -> Light:
    """Sun, overcast, a room, light from behind, or a flash."""
    kind = rng.choice(["sun", "overcast", "room", "behind", "flash"], p=[0.3, 0.25, 0.25, 0.1, 0.1])
    warm = float(rng.normal(0, 0.1))
    key_color = np.array([1 + warm, 1.0, 1 - warm])
    sky_color = np.array([1 - 0.5 * abs(warm), 1.0, 1 + 0.5 * abs(warm)]) * (1 + rng.normal(0, 0.03, 3))
    ground_color = np.clip(np.array([1.0, 0.95, 0.85]) * (1 + rng.normal(0, 0.1, 3)), 0.3, 1.5)
    view = camera.eye - target
    front = float(np.degrees(np.arctan2(view[0], -view[1])))
    azimuth, elevation = front + float(rng.uniform(-110, 110)), float(rng.uniform(15, 70))
    key, ambient, shadow = 1.6, 0.32, 0.95
    if kind == "overcast":
        key, ambient, shadow, elevation = 0.35, 0.85, 0.7, float(rng.uniform(50, 88))
    elif kind == "room":
        key, ambient, shadow = float(rng.uniform(0.6, 1.1)), float(rng.uniform(0.3, 0.6)), 0.7
        elevation = float(rng.uniform(25, 80))
    elif kind == "behind":
        azimuth, ambient = front + 180 + float(rng.uniform(-50, 50)), 0.5
    elif kind == "flash":
        azimuth, elevation = (
            front + float(rng.normal(0, 6)),
            float(np.degrees(np.arcsin(view[2] / np.linalg.norm(view)))) + 4,
        )
        key, ambient = 1.3, 0.2
    fill = float(rng.uniform(0, 0.45)) * np.clip(1 + rng.normal(0, 0.18, 3), 0.3, 2)
    side = float(rng.uniform(0, 0.25)) * np.clip(1 + rng.normal(0, 0.25, 3), 0.2, 2)
    exposure = float(np.exp(rng.normal(0.12, 0.24)))
    return Light(
        key_to=_direction(azimuth, float(np.clip(elevation, -80, 88))),
        key=_rgb(key * key_color),
        fill_to=_direction(azimuth + float(rng.uniform(90, 270)), float(rng.uniform(-10, 50))),
        fill=_rgb(fill),
        sky=_rgb(ambient * sky_color),
        ground=_rgb(ambient * float(rng.uniform(0.2, 0.6)) * ground_color),
        side_to=_direction(float(rng.uniform(-180, 180)), float(rng.uniform(-20, 40))),
        side=_rgb(side),
        exposure=exposure,
        shadow=shadow,
    )


def _rgb(color: FloatArray) -> tuple[float, float, float]:
    return float(color[0]), float(color[1]), float(color[2])


def occlusion(camera: Camera, depth_HW: Float32Array, alpha_HW: UInt8Array) -> Float32Array:
    """How much of the light from around reaches each pixel, 0..1, from the depth about it.

    What lies below its surroundings is darker: armpits, folds, the floor side of a crouching body. The reach
    is a few centimetres and a few decimetres on the body.
    """
    inside = (alpha_HW > 127).astype(np.float32)
    distance = metres(camera, 2.0 * depth_HW[::SAMPLES, ::SAMPLES].astype(np.float64) - 1.0).astype(
        np.float32
    )
    distance = np.where(inside > 0, distance, 0)
    away = float(np.median(distance[inside > 0])) if inside.any() else 1.0
    pixels_a_metre = camera.matrix_scale / max(away, 0.1)
    light = np.ones_like(inside)
    for reach, strength in ((0.05, 0.55), (0.16, 0.75)):
        size = max(3, int(reach * pixels_a_metre) * 2 + 1)
        total = cv2.blur(distance, (size, size))
        share = cv2.blur(inside, (size, size))
        below = np.clip((distance - total / np.maximum(share, 1e-3)) / reach, 0, 1)
        light *= 1 - strength * below * np.clip(share * 1.3, 0, 1)
    return np.where(inside > 0, light, 1).astype(np.float32)
