"""The papers' networks in their published widths, with random weights, as bundles.

Set FULL_SIZE=1 to run it: it takes minutes and 4.4 GB of memory. The same code runs in every test, narrower.
"""

import os
from pathlib import Path

import pytest
import torch

from partstream_core.manifest import load_manifest
from partstream_export.aten import SCHEDULE, aten_thresholds, trace_aten, write_aten
from partstream_export.hvisnet import HVISNET_THRESHOLDS, trace_hvisnet, write_hvisnet
from partstream_export.live_parity import Case
from partstream_export.papers import PaperBundle
from partstream_models.networks.aten import ATEN
from partstream_models.networks.hvisnet import HVISNet
from partstream_models.training.aten_recipes import ATEN_RECIPES
from partstream_models.training.hvis_recipes import HVIS_RECIPES

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3000),
    pytest.mark.skipif(os.environ.get("FULL_SIZE") != "1", reason="set FULL_SIZE=1 to export in full width"),
]
CASES = (Case(2, 64, 96, 3),)


def test_aten_of_vip_is_exported_in_full(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = ATEN(ATEN_RECIPES["aten-r50"]().network).eval()
    bundle = PaperBundle(
        name="aten-r50",
        training_data=("nothing: random weights",),
        longer_side=512,
        thresholds=aten_thresholds(network),
        schedule=SCHEDULE,
    )
    out = tmp_path / "bundle"
    differences = write_aten(out, network, trace_aten(network), bundle, cases=CASES)
    assert max(one.value for one in differences) < 1e-3
    manifest = load_manifest(out)
    assert manifest.channels.feature == 256
    assert manifest.top_k == 300
    in_float32 = 4 * sum(weight.numel() for weight in network.parameters())
    assert sum(file.stat().st_size for file in out.glob("*.onnx")) == pytest.approx(in_float32, rel=0.01)


def test_hvisnet_is_exported_in_full(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = HVISNet(HVIS_RECIPES["hvisnet"]().network).eval()
    bundle = PaperBundle(
        name="hvisnet",
        training_data=("nothing: random weights",),
        longer_side=512,
        thresholds=HVISNET_THRESHOLDS,
    )
    out = tmp_path / "bundle"
    differences = write_hvisnet(out, network, trace_hvisnet(network), bundle, cases=CASES)
    assert max(one.value for one in differences) < 1e-3
    manifest = load_manifest(out)
    assert (manifest.channels.feature, manifest.channels.mask_features) == (5376, 4)
    assert manifest.channels.mask_parameters == 784
    assert manifest.capabilities.embedding == 256
