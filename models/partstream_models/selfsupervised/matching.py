"""The visibility scores that minimise the distance between two graphs (Graph Distance Minimization Unit).

Shape suffixes: J joints of one graph, K of the other.

Source: "A Self-Supervised Framework for Human Instance Segmentation", Eq. 4. Two things are missing there,
and we fill them in:
- the least value of Eq. 4 over all scores in 0..1 is 0, at v = 0. The text wants a score to be high where
  both joints are visible, so v is a matching: rows and columns sum to at most 1, and as many joints are
  matched as are visible in the graph that has fewer;
- no method is given. Eq. 3 is quadratic in v; we use Frank-Wolfe (linear assignment on the gradient, exact
  line search) from three starts, and round to a matching: equal joints, left and right exchanged, and what
  appearance alone would match. The best of results and starts is taken, equal joints where that is a tie.

Both distances of Eq. 4 have scores of their own, so each is minimised alone.
"""

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from partstream_core.joints import FLIPPED
from partstream_models.selfsupervised.graphs import (
    ALPHA,
    HumanGraph,
    appearance_costs,
    graph_distance,
    structure_costs,
)

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

_ITERATIONS = 20
_TIE = 1e-9


def equal_joints(visible_J: BoolArray, other_K: BoolArray) -> FloatArray:
    """Matching of each joint with itself where both see it, and of the joints left over in their order."""
    v_JK = np.diag((visible_J & other_K).astype(np.float64))
    left = np.flatnonzero(visible_J & ~other_K)
    right = np.flatnonzero(other_K & ~visible_J)
    count = min(len(left), len(right))
    v_JK[left[:count], right[:count]] = 1
    return v_JK


def minimise_distance(
    graph: HumanGraph, other: HumanGraph, *, least_score: float, alpha: float = ALPHA
) -> FloatArray:
    """The matching v of Eq. 4, [J, K], entries 0 or 1, between the visible joints of two graphs.

    Args:
        graph: The person in one frame.
        other: The person in the frame before or after.
        least_score: Joints below it are not visible.
        alpha: Weight of the structure.
    """
    visible, seen = graph.joints_J3[:, 2] >= least_score, other.joints_J3[:, 2] >= least_score
    equal = equal_joints(visible, seen)
    if not equal.any():
        return equal
    starts = [equal, _assign(appearance_costs(graph, other), visible, seen)]
    if len(visible) == len(FLIPPED):
        starts.append(_assign(-np.eye(len(FLIPPED))[list(FLIPPED)] - _TIE * equal, visible, seen))
    best, least = equal, graph_distance(graph, other, equal, alpha=alpha)
    for start in starts:
        descended = _descend(graph, other, start, least_score=least_score, alpha=alpha)
        for v_JK in (start, _assign(-descended - _TIE * equal, visible, seen)):
            distance = graph_distance(graph, other, v_JK, alpha=alpha)
            if distance < least - _TIE:
                best, least = v_JK, distance
    return best


def _descend(
    graph: HumanGraph, other: HumanGraph, start_JK: FloatArray, *, least_score: float, alpha: float
) -> FloatArray:
    """Scores after Frank-Wolfe steps, each of which lowers Eq. 1; entries are in 0..1."""
    visible, seen = graph.joints_J3[:, 2] >= least_score, other.joints_J3[:, 2] >= least_score
    first, second = graph.connections_JJ, other.connections_JJ
    appearance = (1 - alpha) * appearance_costs(graph, other)
    v_JK = start_JK
    for _ in range(_ITERATIONS):
        gradient = appearance + 2 * alpha * structure_costs(first, second, v_JK)
        step = _assign(gradient, visible, seen) - v_JK
        slope = float((gradient * step).sum())
        if slope >= -_TIE:
            break
        bend = alpha * float((step * structure_costs(first, second, step)).sum())
        v_JK = v_JK + (1.0 if bend <= 0 else min(-slope / (2 * bend), 1.0)) * step
    return v_JK


def visibility_scores(graph: HumanGraph, other: HumanGraph, v_JK: FloatArray) -> FloatArray:
    """How visible each joint of a graph is, 0..1, [J]: by its own score, its partner's and their likeness.

    The likeness is exp(-d / mean d) over the matched pairs, so it needs no scale of its own.
    """
    costs = appearance_costs(graph, other)
    matched = v_JK > 0.5
    scale = max(float(costs[matched].mean()) if matched.any() else 1.0, _TIE)
    scores = np.sqrt(np.clip(graph.joints_J3[:, None, 2], 0, 1) * np.clip(other.joints_J3[None, :, 2], 0, 1))
    best: FloatArray = (v_JK * scores * np.exp(-costs / scale)).max(axis=1)
    return best


def _assign(costs_JK: FloatArray, visible_J: BoolArray, seen_K: BoolArray) -> FloatArray:
    """The matching of visible joints at the least cost."""
    rows, columns = np.flatnonzero(visible_J), np.flatnonzero(seen_K)
    chosen = linear_sum_assignment(costs_JK[np.ix_(rows, columns)])
    v_JK = np.zeros_like(costs_JK)
    v_JK[rows[chosen[0]], columns[chosen[1]]] = 1
    return v_JK
