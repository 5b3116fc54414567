"""BlazePose: 33 landmarks and a mask of one person, from a square crop with the person upright.

Run by OpenVINO from the public TFLite file.

Shape suffixes: H height, W width, C colour channels (RGB), J landmarks (33), S side of the crop (256).

Source: Bazarevsky et al., BlazePose, 2020; Google MediaPipe (Apache-2.0).
"""

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from partstream_core.privacy import keep_runtimes_silent

keep_runtimes_silent()
try:
    import openvino
except ImportError:  # teachers are optional
    openvino = None

UInt8Array = npt.NDArray[np.uint8]
Float32Array = npt.NDArray[np.float32]

SIDE = 256
_REACH = ((1.25, 0.0), (1.6, 0.15), (2.0, 0.3))
"""Side of the crop against the longer side of the person's box, and how far down its middle moves, where
legs, hips but no legs, and no hips are in the picture: the network expects a whole body's hips in the middle.
Chosen on street photos cut at 30 to 100 % of the body: at 45 %, IoU was .79 with 1.25 and .95 with 1.6."""
NUM_LANDMARKS = 33
MIRRORED_LANDMARKS = (
    0, 4, 5, 6, 1, 2, 3, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15, 18, 17, 20, 19, 22, 21, 24, 23, 26, 25, 28, 27,
    30, 29, 32, 31,
)  # fmt: skip
"""Landmark that takes the place of each when a picture is mirrored."""
LANDMARK_OF_JOINT = (0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28)
"""Landmark of each of the 17 COCO joints."""
_SHOULDERS, _HIPS, _FACE, _LEGS = [5, 6], [11, 12], [0, 1, 2], [13, 14, 15, 16]
_LEAST_SCORE = 0.2


@dataclass(frozen=True, slots=True)
class PosedPerson:
    """BlazePose's joints of one crop, in the picture's coordinates."""

    presence: float
    """Probability that there is a person, 0..1."""
    mask_HW: Float32Array
    """Probability of each pixel of the picture, 0..1; 0 outside of the crop."""
    landmarks_J3: Float32Array
    """x and y in pixels of the picture, and visibility 0..1."""

    @property
    def joints_J3(self) -> Float32Array:
        """The 17 COCO joints: x, y and visibility."""
        return self.landmarks_J3[list(LANDMARK_OF_JOINT)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Crop:
    """A turned square of a picture."""

    x: float
    y: float
    """Its middle."""
    side: float
    """In pixels of the picture."""
    angle: float
    """Radians by which up in the crop is turned clockwise from up in the picture."""
    known_up: bool = True
    """Whether the angle comes from joints."""

    def to_crop(self) -> npt.NDArray[np.float64]:
        """Affine map of the picture's pixels to the crop's, [2, 3], pixel centers at whole numbers."""
        scale, cosine, sine = SIDE / self.side, np.cos(self.angle), np.sin(self.angle)
        turn = scale * np.array([[cosine, sine], [-sine, cosine]])
        middle = (SIDE - 1) / 2 - turn @ [self.x, self.y]
        return np.concatenate([turn, middle[:, None]], axis=1)


def crop_of(box_4: npt.NDArray[np.float32], joints_J3: npt.NDArray[np.float32] | None) -> Crop:
    """The crop around a box, turned so that the person is upright.

    Up is from the hips to the shoulders, or from the shoulders to the face where the hips are not seen. Crops
    of people without legs or hips are larger and reach below the box.

    Args:
        box_4: x1, y1, x2, y2.
        joints_J3: 17 COCO joints; not turned where they are missing or too few are seen.
    """
    x1, y1, x2, y2 = (float(value) for value in box_4)
    hips = legs = False
    up = None
    if joints_J3 is not None:
        hips = bool(joints_J3[_HIPS, 2].min() > _LEAST_SCORE)
        legs = hips and bool(joints_J3[_LEGS, 2].max() > _LEAST_SCORE)
    if joints_J3 is not None and joints_J3[_SHOULDERS, 2].min() > _LEAST_SCORE:
        shoulders = joints_J3[_SHOULDERS, :2].mean(axis=0)
        if hips:
            up = shoulders - joints_J3[_HIPS, :2].mean(axis=0)
        elif joints_J3[_FACE, 2].max() > _LEAST_SCORE:
            up = joints_J3[_FACE[int(joints_J3[_FACE, 2].argmax())], :2] - shoulders
    angle = 0.0 if up is None else float(np.arctan2(up[0], -up[1]))
    longer = max(x2 - x1, y2 - y1)
    scale, shift = _REACH[2 - hips - legs]
    shift *= longer
    return Crop(
        x=(x1 + x2) / 2 - shift * float(np.sin(angle)),
        y=(y1 + y2) / 2 + shift * float(np.cos(angle)),
        side=max(scale * longer, 8.0),
        angle=angle,
        known_up=up is not None,
    )


def quarter_turns(crop: Crop) -> tuple[Crop, ...]:
    """The crop at its angle and turned by 90, 180 and 270 degrees, all around one middle."""
    return tuple(replace(crop, angle=crop.angle + quarter * np.pi / 2) for quarter in range(4))


class BlazePose:
    """The network on one thread.

    Args:
        path: `pose_landmark_heavy.tflite` or `pose_landmark_full.tflite`.

    Raises:
        ValueError: OpenVINO is not installed, or the file is missing, damaged or another network.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise ValueError(f"no teacher at {path}")
        if openvino is None:
            raise ValueError("teachers need OpenVINO: pip install openvino")
        try:
            core = openvino.Core()
            model = core.compile_model(core.read_model(path), "CPU", {"INFERENCE_NUM_THREADS": 1})
        except RuntimeError as error:
            raise ValueError(f"{path} cannot be read: {error}") from error
        sizes = [tuple(output.shape) for output in model.outputs]
        if tuple(model.input(0).shape) != (1, SIDE, SIDE, 3) or (1, SIDE, SIDE, 1) not in sizes:
            raise ValueError(f"{path} is not BlazePose's landmark network")
        self._request = model.create_infer_request()
        self._mask = sizes.index((1, SIDE, SIDE, 1))
        self._landmarks = sizes.index((1, 195))
        self._presence = sizes.index((1, 1))

    def __call__(self, image_HWC: UInt8Array, crop: Crop) -> PosedPerson:
        """Mask and landmarks of the person in a crop of an RGB picture."""
        height, width = image_HWC.shape[:2]
        matrix = crop.to_crop()
        shrink = crop.side / SIDE
        if shrink > 2:  # bilinear sampling would skip pixels
            image_HWC = np.asarray(cv2.blur(image_HWC, (int(shrink), int(shrink))), np.uint8)
        cut = cv2.warpAffine(image_HWC, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR)
        self._request.infer({0: cut[None].astype(np.float32) / 255})
        outputs = [tensor.data for tensor in self._request.output_tensors]
        mask = _sigmoid(outputs[self._mask][0, :, :, 0])
        drawn = cv2.warpAffine(mask, matrix, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        rows = outputs[self._landmarks].reshape(-1, 5)[:NUM_LANDMARKS]
        back = np.linalg.inv(np.concatenate([matrix, [[0, 0, 1]]]))[:2]
        places = np.concatenate([rows[:, :2], np.ones((NUM_LANDMARKS, 1))], axis=1) @ back.T
        landmarks = np.concatenate([places, _sigmoid(rows[:, 3:4])], axis=1).astype(np.float32)
        presence = float(np.clip(outputs[self._presence].item(), 0, 1))
        return PosedPerson(presence, drawn.astype(np.float32), landmarks)

    def both_ways(self, image_HWC: UInt8Array, crop: Crop) -> PosedPerson:
        """Mean of the answers to a crop and to its mirror image."""
        width = image_HWC.shape[1]
        mirrored = np.ascontiguousarray(image_HWC[:, ::-1])
        one = self(image_HWC, crop)
        other = self(mirrored, replace(crop, x=width - 1 - crop.x, angle=-crop.angle))
        landmarks = other.landmarks_J3[list(MIRRORED_LANDMARKS)]
        landmarks[:, 0] = width - 1 - landmarks[:, 0]
        return PosedPerson(
            (one.presence + other.presence) / 2,
            np.asarray((one.mask_HW + other.mask_HW[:, ::-1]) / 2, np.float32),
            np.asarray((one.landmarks_J3 + landmarks) / 2, np.float32),
        )


def _sigmoid(values: Float32Array) -> Float32Array:
    return np.asarray(1 / (1 + np.exp(-np.clip(values, -30, 30))), np.float32)
