"""Figures of one GPU: limits of the device, every graph of three networks, and live streams that share it.

`python -m partstream_export.gpu_check` wants torch, NumPy, SciPy and safetensors and nothing else of what
this distribution depends on, so that a bare machine with a GPU can run it from a checkout; it uses ONNX
Runtime where that is installed. Networks have random weights: a figure of time does not depend on them.
"""
