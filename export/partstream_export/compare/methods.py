"""Public networks that give masks of people: BlazePose on MoveNet's boxes, and DeepLabV3 trained on VOC.

All run in OpenVINO on one thread, at the precision that it chooses.

Shape suffixes: H height, W width, C RGB; N people.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn

from partstream_core.privacy import keep_runtimes_silent
from partstream_models.data.photos.body_hints import PersonSegmenter
from partstream_models.networks.movenet import JointMaps, MoveNet
from partstream_models.networks.movenet_decode import MoveNetPeople, decode_people
from partstream_models.teachers.blazepose import BlazePose, PosedPerson, crop_of

keep_runtimes_silent()
try:
    import openvino
except ImportError:  # an optional extra
    openvino = None

UInt8Array = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]
Float32Array = npt.NDArray[np.float32]

LONGER_SIDE: Final = 512
"""Of the pictures that MoveNet and DeepLab read, as the bundles do."""
MOVENET: Final = "movenet_multipose.npz"
DEEPLAB: Final = "deeplabv3_mnv2_pascal_quant.dequant.pt"
BLAZEPOSE: Final = "teachers/pose_landmark_{}.tflite"
_MAX_PEOPLE: Final = 20
_LEAST_PERSON: Final = 0.15
"""Score of MoveNet (center times mean of the joints) from which a person is cropped."""
_LEAST_PRESENCE: Final = 0.5
_MASK: Final = 0.5


class TeacherPerson(NamedTuple):
    """A person of a picture."""

    score: float
    """MoveNet's, 0..1."""
    box_4: Float32Array
    """x1, y1, x2, y2 in pixels of the picture, by MoveNet."""
    posed: PosedPerson
    """BlazePose's mask and landmarks."""


class PeopleMasks(Protocol):
    """Gives the masks of the people in a picture."""

    name: str

    def __call__(self, image_HWC: UInt8Array) -> list[BoolArray]:
        """A mask for each person, bool [H, W]."""
        ...


def compiled(network: nn.Module, example_BCHW: Tensor) -> Any:
    """A torch network as OpenVINO runs it, for pictures of any size that gives convolutions the same padding.

    Tracing makes constants of what depends on sizes. Both networks pad by the parity of their sides at each
    stride, which is the same for all sides that are multiples of 32, and for all that are one more.

    Raises:
        ValueError: OpenVINO is not installed.
    """
    if openvino is None:
        raise ValueError("the comparison needs OpenVINO: pip install openvino")
    shape = [1, 3, -1, -1]
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Converting a tensor to a Python")
        # OpenVINO's converter traces with torch.jit, which torch has deprecated
        warnings.simplefilter("ignore", DeprecationWarning)
        model = openvino.convert_model(network.eval(), example_input=example_BCHW, input=[shape])
    return openvino.Core().compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": 1})


class MoveNetBlazePose:
    """A box and joints of each person by MoveNet, then BlazePose on a turned crop of each.

    Args:
        weights_dir: Holds the public networks.
        variant: full or heavy.
    """

    def __init__(self, weights_dir: Path, variant: str) -> None:
        self.name = f"BlazePose {variant} on MoveNet's boxes"
        network = MoveNet()
        network.load_pretrained(weights_dir / MOVENET)
        self._movenet = compiled(_Flat(network), torch.zeros(1, 3, 288, LONGER_SIDE))
        self._blazepose = BlazePose(weights_dir / BLAZEPOSE.format(variant))

    def __call__(self, image_HWC: UInt8Array) -> list[BoolArray]:
        """A mask for each person who is found by both networks."""
        return [person.posed.mask_HW > _MASK for person in self.people(image_HWC)]

    def people(self, image_HWC: UInt8Array) -> list[TeacherPerson]:
        """The people who are found by both networks, best first."""
        people = self._find(image_HWC)
        found = []
        for score, box_4, joints_J3 in zip(people.scores_N, people.boxes_N4, people.joints_NJ3, strict=True):
            if score < _LEAST_PERSON:
                continue
            posed = self._blazepose(image_HWC, crop_of(box_4, joints_J3))
            if posed.presence >= _LEAST_PRESENCE:
                found.append(TeacherPerson(float(score), box_4, posed))
        return found

    def _find(self, image_HWC: UInt8Array) -> MoveNetPeople:
        """People in pixels of the picture."""
        height, width = image_HWC.shape[:2]
        small = _resized(image_HWC, *(_multiple(side, max(height, width)) for side in (width, height)))
        outputs = self._movenet({0: _tensor(small)})
        maps = [torch.from_numpy(np.array(outputs[number])) for number in range(6)]
        people = decode_people(JointMaps(*maps[:4]), maps[4], maps[5], max_people=_MAX_PEOPLE)
        scale_2 = np.array([width / small.shape[1], height / small.shape[0]], np.float32)
        joints_NJ3 = people.joints_NJ3.copy()
        joints_NJ3[..., :2] *= scale_2
        return MoveNetPeople(
            people.scores_N, people.centers_N, people.boxes_N4 * np.tile(scale_2, 2), joints_NJ3
        )


class DeepLabPeople:
    """The person class of DeepLabV3 on MobileNetV2, trained on PASCAL VOC: one mask for everybody."""

    name = "DeepLabV3 MobileNetV2 (VOC)"

    def __init__(self, weights_dir: Path) -> None:
        network = _Callable(PersonSegmenter(weights_dir / DEEPLAB))
        self._network = compiled(network, torch.zeros(1, 3, 289, LONGER_SIDE + 1))

    def __call__(self, image_HWC: UInt8Array) -> list[BoolArray]:
        """One mask of all people; none where nobody is."""
        height, width = image_HWC.shape[:2]
        # its cells lie on pixels 0, 16, 32 ...: sides of 32 n + 1 put the last one on the last pixel
        scale = LONGER_SIDE / max(height, width)
        small = _resized(image_HWC, *(32 * max(1, round(side * scale / 32)) + 1 for side in (width, height)))
        outputs = self._network({0: _tensor(small)})
        probability_11hw = torch.from_numpy(np.array(outputs[0]))
        full = nn.functional.interpolate(
            probability_11hw, (height, width), mode="bilinear", align_corners=True
        )
        mask_HW = np.asarray(full[0, 0].numpy() > _MASK)
        return [mask_HW] if mask_HW.any() else []


class _Flat(nn.Module):
    """MoveNet with its maps as a plain tuple."""

    def __init__(self, network: MoveNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, image_BCHW: Tensor) -> tuple[Tensor, ...]:
        maps, scale, offset = self.network(image_BCHW)
        return (*maps, scale, offset)


class _Callable(nn.Module):
    """A function of a picture as a module."""

    def __init__(self, function: PersonSegmenter) -> None:
        super().__init__()
        self._function = function

    def forward(self, image_BCHW: Tensor) -> Tensor:
        return self._function(image_BCHW)


def _multiple(side: int, longer: int) -> int:
    return max(32, round(side * LONGER_SIDE / longer / 32) * 32)


def _resized(image_HWC: UInt8Array, width: int, height: int) -> UInt8Array:
    return np.asarray(Image.fromarray(image_HWC).resize((width, height), Image.Resampling.BILINEAR))


def _tensor(image_HWC: UInt8Array) -> Float32Array:
    """RGB in [-1, 1], [1, 3, H, W]."""
    return np.ascontiguousarray(image_HWC.transpose(2, 0, 1)[None].astype(np.float32) / 127.5 - 1)


def public_methods(weights_dir: Path) -> Sequence[PeopleMasks]:
    """All of them.

    Raises:
        ValueError: OpenVINO or a file is missing or damaged.
    """
    return (
        MoveNetBlazePose(weights_dir, "full"),
        MoveNetBlazePose(weights_dir, "heavy"),
        DeepLabPeople(weights_dir),
    )
