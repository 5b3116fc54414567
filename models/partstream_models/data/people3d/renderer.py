"""Renders a posed person: colours, labels and depth, through OpenGL on EGL (Mesa's llvmpipe suffices).

Everything is drawn at twice the size and averaged, so that edges are soft and alpha is coverage.

Shape suffixes: H height, W width, C channels, T triangles, N corners, V vertices.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from partstream_models.data.people3d.optional import optional
from partstream_models.data.people3d.scene import (
    MAX_SIDE,
    SAMPLES,
    Camera,
    Float32Array,
    Light,
    Picture,
    Piece,
    UInt8Array,
    Vertices,
)
from partstream_models.data.people3d.shaders import (
    DEPTH_FRAGMENT,
    DEPTH_VERTEX,
    FRAGMENT,
    SHADOW_FRAGMENT,
    SHADOW_VERTEX,
    VERTEX,
)

_SHADOW_SIDE: Final = 512


class Renderer:
    """Draws people.

    Args:
        pictures: Gives the pixels of a texture by name, RGBA with row 0 on top.

    Raises:
        ValueError: moderngl, EGL or Mesa is missing.
    """

    def __init__(self, pictures: Callable[[str], UInt8Array]) -> None:
        moderngl = optional("moderngl")
        try:
            context: Any = moderngl.create_context(standalone=True, backend="egl")
        except Exception as error:  # glcontext raises bare exceptions for a missing library
            raise ValueError(
                f"no OpenGL context through EGL ({error}): apt-get install libegl1 libgl1-mesa-dri"
            ) from error
        self._gl = context
        self._pictures = pictures
        self._textures: dict[str, Any] = {}
        self._color: Any = context.program(vertex_shader=VERTEX, fragment_shader=FRAGMENT)
        self._depth: Any = context.program(vertex_shader=DEPTH_VERTEX, fragment_shader=DEPTH_FRAGMENT)
        self._shadow: Any = context.program(vertex_shader=SHADOW_VERTEX, fragment_shader=SHADOW_FRAGMENT)
        side = MAX_SIDE * SAMPLES
        self._depth_texture = context.depth_texture((side, side))
        self._targets = (context.texture((side, side), 4), context.texture((side, side), 1))
        self._frame: Any = context.framebuffer(self._targets, self._depth_texture)
        self._shadow_texture = context.depth_texture((_SHADOW_SIDE, _SHADOW_SIDE))
        self._shadow_texture.compare_func = ""
        self._shadow_texture.repeat_x = self._shadow_texture.repeat_y = False
        self._shadow_frame: Any = context.framebuffer(depth_attachment=self._shadow_texture)
        self._blank = self._upload(np.full((4, 4, 4), 255, np.uint8))
        self._noise = self._upload(noise_slopes())

    def _upload(self, pixels_HWC: UInt8Array) -> Any:
        height, width = pixels_HWC.shape[:2]
        texture = self._gl.texture((width, height), 4, np.ascontiguousarray(pixels_HWC[::-1]).tobytes())
        texture.build_mipmaps()
        texture.filter = (self._gl.LINEAR_MIPMAP_NEAREST, self._gl.LINEAR)
        return texture

    def _texture(self, name: str) -> Any:
        if not name:
            return self._blank
        if name not in self._textures:
            self._textures[name] = self._upload(self._pictures(name))
        return self._textures[name]

    def forget(self, keep: int = 120) -> None:
        """Release the oldest textures above a number."""
        while len(self._textures) > keep:
            self._textures.pop(next(iter(self._textures))).release()

    def draw(
        self,
        pieces: Sequence[Piece],
        posed: Vertices,
        rest: Vertices,
        camera: Camera,
        light: Light,
        eye_axis: tuple[float, float, float] = (0.0, -1.0, 0.0),
    ) -> Picture:
        """The person as the camera sees it."""
        shadow_matrix = light_matrix(posed.positions_V3, np.array(light.key_to))
        buffers = [self._buffers(piece, posed, rest) for piece in pieces]
        self._draw_shadow(pieces, buffers, shadow_matrix)
        self._draw_depth(pieces, buffers, camera)
        self._set_light(camera, light, shadow_matrix, eye_axis)
        self._draw_color(pieces, buffers)
        for pair in buffers:
            pair.vertices.release()
            pair.index.release()
        return self._read(camera)

    def _buffers(self, piece: Piece, posed: Vertices, rest: Vertices) -> "_Buffers":
        index = piece.vertex_N
        table = np.concatenate(
            [
                posed.positions_V3[index], posed.normals_V3[index], piece.uv_N2, rest.positions_V3[index],
                rest.normals_V3[index], piece.label_N[:, None], piece.cut_N[:, None],
            ],
            axis=1,
        )  # fmt: skip
        vertices = self._gl.buffer(np.ascontiguousarray(table, np.float32).tobytes())
        return _Buffers(vertices, self._gl.buffer(piece.triangles_T3.astype("i4").tobytes()))

    def _render(self, program: Any, buffers: "_Buffers", layout: str, names: Sequence[str]) -> None:
        array = self._gl.vertex_array(program, [(buffers.vertices, layout, *names)], buffers.index)
        array.render()
        array.release()

    def _draw_shadow(
        self, pieces: Sequence[Piece], buffers: Sequence["_Buffers"], matrix: npt.NDArray[np.float64]
    ) -> None:
        self._shadow_frame.use()
        self._shadow_frame.clear(depth=1.0)
        self._gl.enable(self._gl.DEPTH_TEST)
        self._shadow["u_light"].write(_packed(matrix))
        self._draw_plain(self._shadow, pieces, buffers)

    def _draw_depth(self, pieces: Sequence[Piece], buffers: Sequence["_Buffers"], camera: Camera) -> None:
        self._frame.use()
        self._frame.viewport = (0, 0, camera.width * SAMPLES, camera.height * SAMPLES)
        self._frame.clear(0.0, 0.0, 0.0, 0.0, depth=1.0)
        self._depth["u_camera"].write(_packed(camera.matrix))
        self._depth["u_eye"].value = tuple(float(value) for value in camera.eye)
        self._frame.color_mask = ((False,) * 4, (False,) * 4)
        self._draw_plain(self._depth, pieces, buffers)
        self._frame.color_mask = ((True,) * 4, (True,) * 4)

    def _draw_plain(self, program: Any, pieces: Sequence[Piece], buffers: Sequence["_Buffers"]) -> None:
        self._gl.depth_func = "<"
        program["u_texture"].value = 0
        for piece, own in zip(pieces, buffers, strict=True):
            program["u_kind"].value = piece.material.kind
            if "u_lift" in program:
                program["u_lift"].value = piece.material.lift
            self._texture(piece.material.texture).use(0)
            self._render(program, own, "3f 12x 2f 28x 1f", ("in_position", "in_uv", "in_cut"))

    def _set_light(
        self,
        camera: Camera,
        light: Light,
        shadow_matrix: npt.NDArray[np.float64],
        eye_axis: tuple[float, float, float],
    ) -> None:
        program = self._color
        program["u_camera"].write(_packed(camera.matrix))
        program["u_light"].write(_packed(shadow_matrix))
        program["u_eye"].value = tuple(float(value) for value in camera.eye)
        program["u_eye_axis"].value = eye_axis
        for name in ("key_to", "key", "fill_to", "fill", "sky", "ground", "side_to", "side", "exposure"):
            program[f"u_{name}"].value = getattr(light, name)
        program["u_shadow_strength"].value = light.shadow
        for unit, name in enumerate(("u_texture", "u_shadow", "u_noise")):
            program[name].value = unit
        self._shadow_texture.use(1)
        self._noise.use(2)

    def _draw_color(self, pieces: Sequence[Piece], buffers: Sequence["_Buffers"]) -> None:
        self._gl.depth_func = "<="
        names = ("in_position", "in_normal", "in_uv", "in_rest", "in_rest_normal", "in_label")
        for piece, own in zip(pieces, buffers, strict=True):
            material = piece.material
            self._texture(material.texture).use(0)
            for name in ("kind", "tint", "scale", "gloss", "folds", "lift"):
                self._color[f"u_{name}"].value = getattr(material, name)
            self._render(self._color, own, "3f 3f 2f 3f 3f 1f 4x", names)
        self._gl.depth_func = "<"

    def _read(self, camera: Camera) -> Picture:
        width, height = camera.width * SAMPLES, camera.height * SAMPLES
        box = (0, 0, width, height)
        color = np.frombuffer(self._frame.read(box, 4, attachment=0, alignment=1), np.uint8)
        label = np.frombuffer(self._frame.read(box, 1, attachment=1, alignment=1), np.uint8)
        depth = np.frombuffer(self._frame.read(box, 1, attachment=-1, alignment=1, dtype="f4"), np.float32)
        color_HWC = color.reshape(height, width, 4)[::-1]
        return average(color_HWC, label.reshape(height, width)[::-1], depth.reshape(height, width)[::-1])


@dataclass(frozen=True, slots=True)
class _Buffers:
    """A piece on the GPU's side."""

    vertices: Any
    index: Any


def _packed(matrix: npt.NDArray[np.float64]) -> bytes:
    return bytes(matrix.T.astype("f4").tobytes())


def average(color_HWC: UInt8Array, label_HW: UInt8Array, depth_HW: Float32Array) -> Picture:
    """The picture at single size: colours of covered samples, their share, and their commonest label."""
    height, width = label_HW.shape
    cells = color_HWC.reshape(height // 2, 2, width // 2, 2, 4).astype(np.uint16)
    total = cells[:, 0, :, 0] + cells[:, 0, :, 1] + cells[:, 1, :, 0] + cells[:, 1, :, 1]
    covered = total[..., 3] // 255
    image = (total[..., :3] // np.maximum(covered, 1)[..., None]).astype(np.uint8)
    quads = [label_HW[row::2, column::2] for row in (0, 1) for column in (0, 1)]
    best, votes = quads[0], np.zeros(quads[0].shape, np.uint8)
    for candidate in quads:
        count = sum((candidate == other).astype(np.uint8) for other in quads) * (candidate > 0)
        best = np.where(count > votes, candidate, best)
        votes = np.maximum(votes, count).astype(np.uint8)
    alpha = (total[..., 3] // 4).astype(np.uint8)
    return Picture(image, alpha, np.where(covered > 0, best, 0).astype(np.uint8), depth_HW)


def light_matrix(positions_V3: Float32Array, towards: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The orthographic projection along the light that holds all positions, [4, 4]."""
    z = towards / np.linalg.norm(towards)
    x = np.cross([0.0, 0.0, 1.0] if abs(z[2]) < 0.9 else [1.0, 0.0, 0.0], z)
    x /= np.linalg.norm(x)
    rotation = np.stack([x, np.cross(z, x), -z])
    seen = positions_V3 @ rotation.T
    low, high = seen.min(axis=0) - 0.03, seen.max(axis=0) + 0.03
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * (2 / (high - low))[:, None]
    matrix[:3, 3] = -(high + low) / (high - low)
    return matrix


def noise_slopes(side: int = 256, cells: int = 16) -> UInt8Array:
    """Smooth noise that repeats, RGBA: its slopes along x and y about 128, itself, and 255."""
    rng = np.random.default_rng(5)
    spectrum = np.fft.fft2(rng.normal(size=(side, side)))
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side))) * side
    smooth = np.real(np.fft.ifft2(spectrum * np.exp(-((frequency / cells) ** 2)) * (frequency > 0)))
    slopes = [np.roll(smooth, -1, axis) - np.roll(smooth, 1, axis) for axis in (1, 0)]
    planes = [128 + 42 * plane / plane.std() for plane in (*slopes, smooth)]
    planes.append(np.full_like(smooth, 255))
    return np.asarray(np.clip(np.stack(planes, axis=2), 0, 255), np.uint8)
