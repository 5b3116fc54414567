"""Constant-velocity Kalman filter over a person's box, as pure functions.

The state is (x, y, aspect, height) of the box and the four velocities per frame (`config.FRAME_S`): x and y
are the box's centre, aspect is width / height. Noise is proportional to the height, since far people move
fewer pixels.

Unlike the filter of DeepSORT the process noise is that of white noise in continuous time, so one prediction
over three frames equals three over one, and a stream that skips frames is filtered as well as one that does
not.

Shape suffixes: 4 measured and 8 filtered quantities; functions take any leading dimensions (...).
Source: Wojke et al., ICIP 2017 (weights 1/20 and 1/160); HVISNet, section III-C.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

_POSITION_WEIGHTS: Final = np.full(4, 1 / 20)
_VELOCITY_WEIGHTS: Final = np.full(4, 1 / 160)
_ASPECT_STD: Final = 1e-2
_ASPECT_VELOCITY_STD: Final = 1e-5
_ASPECT_MEASURED_STD: Final = 1e-1
_MIN_HEIGHT: Final = 1.0
_EYES: Final = {size: np.eye(size) for size in (4, 8)}
_MIN_ASPECT: Final = 1e-2


@dataclass(frozen=True, slots=True)
class KalmanState:
    """Mean [..., 8] and covariance [..., 8, 8] of boxes and their velocities."""

    mean: FloatArray
    covariance: FloatArray


def measurement_of(box_xyxy: npt.ArrayLike) -> FloatArray:
    """(x, y, aspect, height) of boxes, [..., 4]."""
    box = np.asarray(box_xyxy, np.float64)
    size = np.maximum(box[..., 2:] - box[..., :2], _MIN_ASPECT)
    centre = (box[..., :2] + box[..., 2:]) / 2
    height = np.maximum(size[..., 1:], _MIN_HEIGHT)
    return np.concatenate([centre, size[..., :1] / height, height], axis=-1)


def box_of(state: KalmanState) -> FloatArray:
    """The boxes that the states stand for, xyxy [..., 4]."""
    x, y, aspect, height = np.moveaxis(state.mean[..., :4], -1, 0)
    half_width = aspect * height / 2
    return np.stack([x - half_width, y - height / 2, x + half_width, y + height / 2], axis=-1)


def initiate(measured_4: FloatArray) -> KalmanState:
    """The state of a box just seen for the first time: at rest, its velocity quite unknown."""
    height = measured_4[..., 3]
    position, velocity = _noise(height)
    std = np.concatenate([2 * position, 10 * velocity], axis=-1)
    mean = np.concatenate([measured_4, np.zeros_like(measured_4)], axis=-1)
    return KalmanState(mean, _diagonal(std**2))


def predict(state: KalmanState, period: float) -> KalmanState:
    """The state `period` frames later.

    Raises:
        ValueError: The period is negative.
    """
    if not period >= 0:
        raise ValueError(f"period must not be negative, got {period}")
    move = _EYES[8].copy()
    move[:4, 4:] = period * _EYES[4]
    mean = state.mean @ move.T
    mean[..., 2] = np.maximum(mean[..., 2], _MIN_ASPECT)
    mean[..., 3] = np.maximum(mean[..., 3], _MIN_HEIGHT)
    position, velocity = (std**2 for std in _noise(state.mean[..., 3]))
    spread = _diagonal(
        np.concatenate([period * position + period**3 / 3 * velocity, period * velocity], axis=-1)
    )
    cross = _diagonal(period**2 / 2 * velocity)
    spread[..., :4, 4:] = cross
    spread[..., 4:, :4] = cross
    return KalmanState(mean, move @ state.covariance @ move.T + spread)


def update(state: KalmanState, measured_4: FloatArray) -> KalmanState:
    """The state once the box has been seen at `measured_4`."""
    innovation = _innovation_covariance(state)
    gain = np.linalg.solve(innovation, state.covariance[..., :4, :]).swapaxes(-1, -2)
    difference = measured_4 - state.mean[..., :4]
    mean = state.mean + (gain @ difference[..., None])[..., 0]
    covariance = state.covariance - gain @ innovation @ gain.swapaxes(-1, -2)
    return KalmanState(mean, (covariance + covariance.swapaxes(-1, -2)) / 2)


def gating_distance(state: KalmanState, measured_D4: FloatArray) -> FloatArray:
    """Squared Mahalanobis distance from each of the states to each measured box, [..., D]."""
    difference = measured_D4 - state.mean[..., None, :4]
    weighted = np.linalg.solve(_innovation_covariance(state), difference.swapaxes(-1, -2)).swapaxes(-1, -2)
    return np.asarray((difference * weighted).sum(axis=-1))


def _noise(height: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Standard deviations of position and velocity after one frame, each [..., 4]."""
    height = np.maximum(height, _MIN_HEIGHT)[..., None]
    position, velocity = height * _POSITION_WEIGHTS, height * _VELOCITY_WEIGHTS
    position[..., 2] = _ASPECT_STD
    velocity[..., 2] = _ASPECT_VELOCITY_STD
    return position, velocity


def _innovation_covariance(state: KalmanState) -> FloatArray:
    """Covariance of what will be measured, [..., 4, 4]."""
    std = _noise(state.mean[..., 3])[0]
    std[..., 2] = _ASPECT_MEASURED_STD
    return np.asarray(state.covariance[..., :4, :4] + _diagonal(std**2))


def _diagonal(values: FloatArray) -> FloatArray:
    return values[..., None] * _EYES[values.shape[-1]]
