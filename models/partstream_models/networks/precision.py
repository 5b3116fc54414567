"""Arithmetic of training and of teachers: bfloat16 where the processor has it, float32 elsewhere."""

import torch


def half_precision(device: str | torch.device, *, enabled: bool = True) -> torch.autocast:
    """Autocast to bfloat16; it does nothing on a CPU without bfloat16, where it would take ten times as long.

    Args:
        device: Where the tensors are.
        enabled: Whether half precision is wanted at all.
    """
    kind = torch.device(device).type
    return torch.autocast(kind, torch.bfloat16, enabled=enabled and (kind != "cpu" or _cpu_has_bf16()))


def _cpu_has_bf16() -> bool:
    """Whether oneDNN computes convolutions in bfloat16 here (AVX-512 or newer)."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
