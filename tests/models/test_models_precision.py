"""Training computes in bfloat16 only where that is faster."""

import pytest
import torch

from partstream_models.networks.precision import half_precision


@pytest.mark.parametrize("has_bf16", [True, False])
def test_a_cpu_without_bfloat16_computes_in_float32(monkeypatch: pytest.MonkeyPatch, has_bf16: bool) -> None:
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: has_bf16)
    with half_precision("cpu"):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype is (torch.bfloat16 if has_bf16 else torch.float32)


def test_half_precision_is_off_where_it_is_not_wanted() -> None:
    with half_precision("cpu", enabled=False):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype is torch.float32
