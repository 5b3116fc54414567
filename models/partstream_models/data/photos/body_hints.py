"""Body hints for the CCP photos: where two pretrained networks see which part of a body.

BodyPix (MobileNetV1 .75, stride 16, 24 part heat maps) tells left from right and skin from skin; DeepLabV3
(MobileNetV2, VOC) finds people who are not labelled. `partstream_evaluation.ccp` turns hints and clothes
labels into part maps. Weights: google-coral/test_data, Apache-2.0.

Shape suffixes: B batch, C channels, H height, W width, h and w the hint grid.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from partstream_evaluation.ccp import HINT_STRIDE, HINTS
from partstream_models.networks.dequantised import Convolution, load_convolutions, run

PARTS_OF_HINT = (
    (0, 1), (2, 3, 6, 7, 10), (4, 5, 8, 9, 11), (12, 13), (14, 15, 18, 19), (16, 17, 20, 21), (22,), (23,),
)  # fmt: skip
"""BodyPix's part numbers in each of the first eight `HINTS`."""

_VOC_PERSON = 15


class BodyPix:
    """Part and person scores at stride 16 of one picture."""

    def __init__(self, path: Path) -> None:
        convolutions = load_convolutions(path)
        self._trunk = convolutions[:27]
        self._parts = _by_name(convolutions, "float_part_heatmaps1")
        self._segments = _by_name(convolutions, "float_segments1")

    def __call__(self, image_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Part shares [B, 24, h, w], which add up to one, and person score [B, 1, h, w].

        The image is RGB in [-1, 1]. The part heat maps saturate as sigmoids (left and right both near one); a
        softmax over parts says which of them it is.
        """
        x = image_BCHW
        for convolution in self._trunk:
            x = run(convolution, x)
        return run(self._parts, x).softmax(dim=1), run(self._segments, x).sigmoid()


class PersonSegmenter:
    """DeepLabV3 MobileNetV2 (VOC): the person class at stride 16 of one picture."""

    def __init__(self, path: Path) -> None:
        self._convolutions = load_convolutions(path)

    def __call__(self, image_BCHW: Tensor) -> Tensor:
        """Person probability [B, 1, h, w]; the image is RGB in [-1, 1]."""
        blocks = self._convolutions
        x = run_mobilenet_v2(blocks[:51], image_BCHW)
        local = run(blocks[51], x)
        pooled = run(blocks[52], x.mean(dim=(2, 3), keepdim=True)).expand_as(local)
        logits = run(blocks[54], run(blocks[53], torch.cat([pooled, local], dim=1)))
        return logits.softmax(dim=1)[:, _VOC_PERSON : _VOC_PERSON + 1]


def run_mobilenet_v2(convolutions: list[Convolution], image_BCHW: Tensor) -> Tensor:
    """The last feature of a MobileNetV2; the convolutions are in graph order: stem, inverted residuals."""
    x = run(convolutions[0], image_BCHW)
    x = run(convolutions[2], run(convolutions[1], x))
    for start in range(3, len(convolutions), 3):
        y = x
        for convolution in convolutions[start : start + 3]:
            y = run(convolution, y)
        x = x + y if x.shape == y.shape else y
    return x


def _by_name(convolutions: list[Convolution], name: str) -> Convolution:
    found = [convolution for convolution in convolutions if convolution.name == name]
    if len(found) != 1:
        raise ValueError(f"expected one convolution named {name!r}, found {len(found)}")
    return found[0]


class HintMaker:
    """Makes hint grids, uint8 [C, h, w], from photos."""

    def __init__(self, weights_dir: Path) -> None:
        self._bodypix = BodyPix(weights_dir / "bodypix_mobilenet_v1_075_512_512_16_quant_decoder.dequant.pt")
        self._segmenter = PersonSegmenter(weights_dir / "deeplabv3_mnv2_pascal_quant.dequant.pt")

    @torch.inference_mode()
    def __call__(self, photo_HWC: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Hints of an RGB photo; four bits a value, which is what the label split needs and packs well."""
        image = torch.from_numpy(photo_HWC).permute(2, 0, 1)[None].float() / 127.5 - 1
        height, width = photo_HWC.shape[:2]
        image = F.pad(image, (0, -width % HINT_STRIDE + 1, 0, -height % HINT_STRIDE + 1), mode="replicate")
        parts, body = self._bodypix(image)
        person = self._segmenter(image)
        grouped = torch.stack([parts[0, list(group)].sum(dim=0) for group in PARTS_OF_HINT])
        hints = torch.cat([grouped, body[0], person[0]])
        assert hints.shape[0] == len(HINTS)
        quantised: npt.NDArray[Any] = (hints * 15).round().to(torch.uint8).numpy() * 17
        return quantised.astype(np.uint8)
