"""PoseNet: PersonLab's pose branch over MobileNetV1 .75, from the public dequantised weights.

Shape suffixes: B batch, C channels, J joints (17, COCO order), E edges of the tree (16), N people, H and W
the picture, h and w the maps at stride 16; a last 2 is (y, x) in pixels of the picture unless it says
otherwise.

Source: Papandreou et al., PersonLab, ECCV 2018, sections 3.1.1-3.1.3; google-coral's weights. A joint's
place is its cell plus its short offset; a person grows from its best joint along the tree's mid-range
displacements, each place refined by the short offset where it lands. Two joints of one kind nearer than
`nms_radius` are one.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn
from torch.nn import functional as F

from partstream_core.joints import NUM_JOINTS
from partstream_models.networks.dequantised import Convolution, load_convolutions, run

Float32Array = npt.NDArray[np.float32]

STRIDE: Final = 16
NUM_TRUNK: Final = 27
"""The stem and 13 pairs of depthwise and pointwise convolutions: 14 layers, counted in pairs."""
TREE: Final = (
    (0, 1), (1, 3), (0, 2), (2, 4), (0, 5), (5, 7), (7, 9), (5, 11), (11, 13), (13, 15),
    (0, 6), (6, 8), (8, 10), (6, 12), (12, 14), (14, 16),
)  # fmt: skip
"""Parent and child of each edge, in the order of the displacement maps."""


@dataclass(frozen=True, slots=True, eq=False)
class PoseMaps:
    """Output of the heads; the y of all joints or edges come before the x of all."""

    heat_BJhw: Tensor
    """Logits."""
    offsets_B2Jhw: Tensor
    forward_B2Ehw: Tensor
    backward_B2Ehw: Tensor


class PoseNet(nn.Module):
    """Trunk and four heads; all weights can learn.

    Args:
        convolutions: Of the checkpoint, in graph order.

    Raises:
        ValueError: They are not PoseNet's.
    """

    def __init__(self, convolutions: list[Convolution]) -> None:
        super().__init__()
        outputs = [len(each.weight) for each in convolutions[NUM_TRUNK:]]
        if outputs != [32, 32, NUM_JOINTS, 2 * NUM_JOINTS]:
            raise ValueError(f"not PoseNet's heads: they have {outputs} channels")
        self._layers = convolutions
        self.weights = nn.ParameterList([nn.Parameter(each.weight.clone()) for each in convolutions])
        self.biases = nn.ParameterList([nn.Parameter(each.bias.clone()) for each in convolutions])

    @classmethod
    def from_file(cls, path: Path) -> "PoseNet":
        """The network with public weights.

        Raises:
            ValueError: The file is missing or is not PoseNet's.
        """
        return cls(load_convolutions(path))

    def features(self, image_BCHW: Tensor) -> Tensor:
        """The trunk's last feature, [B, 384, h, w], of an RGB image in [-1, 1]."""
        x = image_BCHW
        for number in range(NUM_TRUNK):
            x = self._run(number, x)
        return x

    def forward(self, image_BCHW: Tensor) -> PoseMaps:
        """Maps of an RGB image in [-1, 1]; sides of 16 k + 1 keep cells on pixels."""
        return self.heads(self.features(image_BCHW))

    def heads(self, feature_BChw: Tensor) -> PoseMaps:
        """Maps of the trunk's feature."""
        backward, forward, heat, offsets = (
            self._run(number, feature_BChw) for number in range(NUM_TRUNK, NUM_TRUNK + 4)
        )
        return PoseMaps(heat, offsets, forward, backward)

    def _run(self, number: int, x_BCHW: Tensor) -> Tensor:
        layer = self._layers[number]
        return run(
            Convolution(
                layer.name,
                self.weights[number],
                self.biases[number],
                layer.stride,
                layer.dilation,
                layer.depthwise,
                layer.activation,
            ),
            x_BCHW,
        )


def decode_people(
    maps: PoseMaps,
    *,
    most: int = 10,
    least_peak: float = 0.4,
    least_person: float = 0.2,
    nms_radius: float = 20.0,
) -> Float32Array:
    """People of one picture (B is 1), best first, [N, J, 3]: x, y in pixels, and score.

    Args:
        maps: Of the heads.
        most: Most people.
        least_peak: Score of a joint that a person may grow from.
        least_person: Least mean score of a person's joints.
        nms_radius: Pixels within which a joint is another person's.
    """
    heat = maps.heat_BJhw[0].sigmoid()
    peaks = (heat == F.max_pool2d(heat[None], 3, 1, 1)[0]) & (heat >= least_peak)
    seeds = sorted(((float(heat[j, y, x]), j, y, x) for j, y, x in peaks.nonzero().tolist()), reverse=True)
    decoder = _Tree(heat.detach().numpy(), maps)
    found: list[Float32Array] = []
    for _, joint, y, x in seeds:
        if len(found) == most:
            break
        place = decoder.refined(joint, np.array([y, x], np.float32) * STRIDE)
        if any(np.linalg.norm(each[joint, 1::-1] - place) <= nms_radius for each in found):
            continue
        person = decoder.grow(joint, place)
        if person[:, 2].mean() >= least_person:
            found.append(person)
    return np.array(found, np.float32).reshape(-1, NUM_JOINTS, 3)


class _Tree:
    """Grows a person from one joint."""

    def __init__(self, heat_Jhw: Float32Array, maps: PoseMaps) -> None:
        self._heat = heat_Jhw
        size = heat_Jhw.shape[1:]
        self._offsets = maps.offsets_B2Jhw[0].detach().numpy().reshape(2, NUM_JOINTS, *size)
        self._forward = maps.forward_B2Ehw[0].detach().numpy().reshape(2, len(TREE), *size)
        self._backward = maps.backward_B2Ehw[0].detach().numpy().reshape(2, len(TREE), *size)

    def _cell(self, place_2: Float32Array) -> tuple[int, int]:
        y, x = (
            int(np.clip(round(float(value) / STRIDE), 0, side - 1))
            for value, side in zip(place_2, self._heat.shape[1:], strict=True)
        )
        return y, x

    def refined(self, joint: int, place_2: Float32Array) -> Float32Array:
        """The place (y, x) after the short offset of its cell."""
        y, x = self._cell(place_2)
        return np.asarray(np.array([y, x]) * STRIDE + self._offsets[:, joint, y, x], np.float32)

    def grow(self, seed: int, place_2: Float32Array) -> Float32Array:
        """All joints of the person, [J, 3]."""
        places = {seed: place_2}
        for number in reversed(range(len(TREE))):
            parent, child = TREE[number]
            if child in places and parent not in places:
                places[parent] = self._step(places[child], self._backward[:, number], parent)
        for number, (parent, child) in enumerate(TREE):
            if parent in places and child not in places:
                places[child] = self._step(places[parent], self._forward[:, number], child)
        rows = [
            (places[joint][1], places[joint][0], self._heat[(joint, *self._cell(places[joint]))])
            for joint in range(NUM_JOINTS)
        ]
        return np.array(rows, np.float32)

    def _step(self, place_2: Float32Array, displacement_2hw: Float32Array, joint: int) -> Float32Array:
        y, x = self._cell(place_2)
        there = place_2 + displacement_2hw[:, y, x]
        for _ in range(2):
            there = self.refined(joint, there)
        return np.asarray(there, np.float32)
