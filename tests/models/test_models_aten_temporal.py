"""Flow, propagation and temporal encoders against NumPy and against shifted images."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from partstream_models.networks.conv_gru import ConvGRU, ConvGRUCell, MeanEncoder
from partstream_models.networks.conv_lstm import ConvLSTM, ConvLSTMCell, LSTMState
from partstream_models.networks.flow_field import FlowField, ScaleMap, endpoint_loss, propagate
from partstream_models.networks.flownet_s import FLOW_UNIT, LOSS_WEIGHTS, FlowNetS
from partstream_models.networks.light_flow import LightFlow

Array = NDArray[np.float64]


def convolve(x_CHW: Array, weight_OIKK: Array) -> Array:
    """A 3x3 convolution with zeros outside, by loops over the kernel."""
    channels, height, width = x_CHW.shape
    padded = np.zeros((channels, height + 2, width + 2))
    padded[:, 1:-1, 1:-1] = x_CHW
    out = np.zeros((len(weight_OIKK), height, width))
    for row in range(3):
        for column in range(3):
            window = padded[:, row : row + height, column : column + width]
            out += np.einsum("oi,ihw->ohw", weight_OIKK[:, :, row, column], window)
    return out


def sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def test_a_step_of_the_gru_is_equation_five() -> None:
    torch.manual_seed(0)
    cell = ConvGRUCell(in_channels=3, state_channels=4).double()
    x, h = torch.randn(1, 3, 5, 6).double(), torch.randn(1, 4, 5, 6).double()
    w = {name: tensor.detach().numpy() for name, tensor in cell.named_parameters()}
    w_xz, w_xr, w_xh = np.split(w["from_input.weight"], 3)
    b_z, b_r, b_h = (part[:, None, None] for part in np.split(w["from_input.bias"], 3))
    w_hz, w_hr = np.split(w["gates_from_state.weight"], 2)
    w_hh = w["candidate_from_state.weight"]
    x_np, h_np = x[0].numpy(), h[0].numpy()
    z = sigmoid(convolve(x_np, w_xz) + convolve(h_np, w_hz) + b_z)
    r = sigmoid(convolve(x_np, w_xr) + convolve(h_np, w_hr) + b_r)
    candidate = np.tanh(convolve(x_np, w_xh) + convolve(r * h_np, w_hh) + b_h)
    expected = (1 - z) * h_np + z * candidate
    assert np.allclose(cell(x, h).detach().numpy()[0], expected, atol=1e-12)


def test_a_step_of_the_lstm_agrees_with_numpy() -> None:
    torch.manual_seed(0)
    cell = ConvLSTMCell(in_channels=3, state_channels=2).double()
    x, h, c = (torch.randn(1, n, 5, 6).double() for n in (3, 2, 2))
    weight, bias = cell.gates.weight.detach().numpy(), cell.gates.bias
    assert bias is not None
    stacked = np.concatenate([x[0].numpy(), h[0].numpy()])
    gates = convolve(stacked, weight) + bias.detach().numpy()[:, None, None]
    taken, kept, shown, candidate = np.split(gates, 4)
    cell_np = sigmoid(kept) * c[0].numpy() + sigmoid(taken) * np.tanh(candidate)
    out = cell(x, LSTMState(h, c))
    assert np.allclose(out.cell.detach().numpy()[0], cell_np, atol=1e-12)
    assert np.allclose(out.hidden.detach().numpy()[0], sigmoid(shown) * np.tanh(cell_np), atol=1e-12)


@pytest.mark.parametrize(
    "encoder", [ConvGRU(channels=4), ConvGRU(channels=4, separable=True), ConvLSTM(channels=4)]
)
def test_encoders_keep_the_size_and_mind_the_order(encoder: nn.Module) -> None:
    torch.manual_seed(1)
    old, new = torch.randn(2, 4, 5, 7), torch.randn(2, 4, 5, 7)
    with torch.no_grad():
        encoded: Tensor = encoder([old, new])
        assert encoded.shape == old.shape
        assert not torch.allclose(encoded, encoder([new, old]), atol=1e-4)


def test_the_gru_starts_at_the_mean_and_takes_the_oldest_first() -> None:
    encoder = ConvGRU(channels=4)
    a, b, c = (torch.randn(1, 4, 3, 3) for _ in range(3))
    with torch.no_grad():
        state = (a + b + c) / 3
        for feature in (a, b, c):
            state = encoder.cell(feature, state)
        assert torch.allclose(encoder([a, b, c]), state, atol=1e-6)
        assert torch.allclose(MeanEncoder()([a, b, c]), (a + b + c) / 3, atol=1e-6)


@pytest.mark.parametrize("encoder", [ConvGRU(channels=4), ConvLSTM(channels=4), MeanEncoder()])
def test_no_frames_cannot_be_encoded(encoder: nn.Module) -> None:
    with pytest.raises(ValueError, match="no feature"):
        encoder([])


@pytest.mark.parametrize("separable", [False, True])
def test_before_training_the_gru_gives_mostly_the_current_feature_bounded(separable: bool) -> None:
    torch.manual_seed(0)
    features = [torch.rand(1, 16, 8, 8) for _ in range(3)]
    with torch.no_grad():
        encoded = ConvGRU(channels=16, separable=separable)(features)
    assert _likeness(encoded, features[-1]) > 0.8
    assert _likeness(encoded, features[0]) < 0.5
    assert (encoded - features[-1].tanh()).abs().mean() < 0.1


def test_before_training_the_lstm_follows_the_current_feature() -> None:
    torch.manual_seed(0)
    features = [torch.rand(1, 16, 8, 8) for _ in range(3)]
    with torch.no_grad():
        encoded = ConvLSTM(channels=16)(features)
    assert _likeness(encoded, features[-1]) > 0.7
    assert _likeness(encoded, features[0]) < 0.5


def _likeness(one: Tensor, other: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1])


def test_even_kernels_are_refused() -> None:
    with pytest.raises(ValueError, match="odd"):
        ConvGRUCell(in_channels=2, state_channels=2, kernel_size=4)
    with pytest.raises(ValueError, match="odd"):
        ConvLSTMCell(in_channels=2, state_channels=2, kernel_size=2)


def knows_the_shift(shift_px: float) -> FlowNetS:
    """A FlowNet-S that says the same flow everywhere, in its own unit."""
    network = FlowNetS(scale_channels=3, width=1 / 16).eval()
    last = network.predict[-1]
    assert isinstance(last, nn.Conv2d)
    assert last.bias is not None
    nn.init.zeros_(last.weight)
    last.bias.data = torch.tensor([shift_px / FLOW_UNIT, 0.0])
    return network


@pytest.mark.parametrize("cells", [1, 2, 3])
def test_an_image_shifted_by_k_strides_moves_the_feature_by_k(cells: int) -> None:
    reference = torch.rand(1, 3, 64, 64)
    current = torch.roll(reference, -4 * cells, dims=3)  # current(x) = reference(x + 4k)
    with torch.no_grad():
        moved = propagate(F.avg_pool2d(reference, 4), knows_the_shift(4.0 * cells)(current, reference))
    inside = (..., slice(None), slice(0, 16 - cells))
    assert torch.allclose(moved[inside], F.avg_pool2d(current, 4)[inside], atol=1e-5)


def test_the_scale_map_is_one_at_first_and_its_bias_stays() -> None:
    scale = ScaleMap(5, 3)
    assert torch.equal(scale(torch.randn(1, 5, 4, 4)), torch.ones(1, 3, 4, 4))
    assert [name for name, _ in scale.named_parameters()] == ["weight"]
    scale(torch.randn(1, 5, 4, 4)).sum().backward()
    assert scale.weight.grad is not None
    assert scale.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("size", [(64, 64), (36, 68), (128, 64)])
def test_flow_has_the_feature_map_s_size(size: tuple[int, int]) -> None:
    a, b = torch.rand(2, 2, 3, *size)
    with torch.no_grad():
        field = FlowNetS(scale_channels=8, width=1 / 16)(a, b)
        assert field.flow_B2HW.shape == (2, 2, size[0] // 4, size[1] // 4)
        assert field.scale_BCHW is not None
        assert field.scale_BCHW.shape == (2, 8, size[0] // 4, size[1] // 4)
        assert field.pyramid[0].shape[-1] == size[1] // 4
        assert len(field.pyramid) == len(LOSS_WEIGHTS)


def test_light_flow_speaks_of_the_stride_eight_map() -> None:
    a, b = torch.rand(2, 1, 3, 64, 96)
    field = LightFlow()(a, b)
    assert field.flow_B2HW.shape == (1, 2, 8, 12)
    assert field.scale_BCHW is not None
    assert torch.equal(field.scale_BCHW, torch.ones(1, 96, 8, 12))


def test_the_right_flow_costs_nothing_and_hidden_pixels_do_not_count() -> None:
    truth = torch.tensor([40.0, -20.0]).reshape(1, 2, 1, 1).expand(1, 2, 16, 16).clone()
    visible = torch.ones(1, 16, 16, dtype=torch.bool)
    truth[..., :8], visible[..., :8] = 999.0, False
    right = torch.tensor([2.0, -1.0]).reshape(1, 2, 1, 1)
    field = FlowField(torch.zeros(1), None, (right.expand(1, 2, 4, 4), right.expand(1, 2, 2, 2)))
    assert endpoint_loss(field, truth, visible, unit=20.0, weights=(1.0, 1.0)) < 1e-5
    off = FlowField(torch.zeros(1), None, (right.expand(1, 2, 4, 4) + 3.0, right.expand(1, 2, 2, 2)))
    loss = endpoint_loss(off, truth, visible, unit=20.0, weights=(0.5, 1.0))
    assert loss == pytest.approx(0.5 * 3 * 2**0.5, rel=1e-5)
    with pytest.raises(ValueError, match="weights"):
        endpoint_loss(field, truth, visible, unit=20.0, weights=(1.0,))


def test_half_precision_features_move_by_whole_pixels() -> None:
    feature = torch.rand(1, 2, 2, 300).bfloat16()
    flow = torch.zeros(1, 2, 2, 300).bfloat16()
    flow[:, 0] = 3.0
    moved = propagate(feature, FlowField(flow, None, ()))
    assert moved.dtype == torch.bfloat16
    assert torch.allclose(moved[..., :297].float(), feature[..., 3:].float(), atol=4e-3)
