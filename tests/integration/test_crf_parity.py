"""The mean field of the server against the published one of the network, on the same unaries."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from partstream_core.assembly_config import CrfSettings, Unary
from partstream_models.networks.instance_crf import CrfConfig, InstanceCrf
from partstream_server.pipeline.crf_assembly import decide
from partstream_server.pipeline.mean_field import mean_field
from partstream_server.pipeline.values import Inference

HEIGHT, WIDTH = 14, 18


def network(settings: CrfSettings) -> InstanceCrf:
    """The network with a server's settings."""
    return InstanceCrf(
        CrfConfig(
            theta_alpha=settings.theta_alpha,
            theta_beta=settings.theta_beta,
            theta_gamma=settings.theta_gamma,
            bilateral=settings.bilateral,
            spatial=settings.spatial,
            box=settings.evidence,
            global_=settings.anywhere,
            num_iterations=settings.num_iterations,
            radius=settings.radius,
        )
    )


def picture(rng: np.random.Generator) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return rng.integers(0, 50, (HEIGHT, WIDTH, 3)).astype(np.uint8)


@given(
    seed=st.integers(0, 1000),
    num_people=st.integers(0, 5),
    radius=st.integers(1, 8),
    published=st.booleans(),
)
@settings(max_examples=20, deadline=None)
def test_both_mean_fields_agree(seed: int, num_people: int, radius: int, published: bool) -> None:
    rng = np.random.default_rng(seed)
    bilateral, spatial = (8.0, 2.0) if published else (0.4, 0.1)
    config = CrfSettings(bilateral=bilateral, spatial=spatial, radius=radius, num_iterations=5, band=None)
    unary = rng.normal(0, 2, (1 + 3 * num_people, HEIGHT, WIDTH)).astype(np.float32)
    colours = picture(rng)
    with torch.no_grad():
        image = torch.from_numpy(colours).permute(2, 0, 1)
        theirs = network(config).mean_field(torch.from_numpy(unary), image).exp().numpy()
    np.testing.assert_allclose(mean_field(unary, colours, config), theirs, atol=1e-4)


@pytest.mark.parametrize("num_people", [1, 4])
def test_boxes_with_labels_of_person_and_part_are_the_published_network(num_people: int) -> None:
    rng = np.random.default_rng(num_people)
    config = CrfSettings(
        unary=Unary.BOXES, joint=True, anywhere=0.7, bilateral=0.3, spatial=0.1, theta_beta=20.0, band=None
    )
    logits = rng.normal(0, 2, (5, HEIGHT, WIDTH)).astype(np.float32)
    parts = np.exp(logits) / np.exp(logits).sum(axis=0)
    corners = rng.uniform(0, 0.5, (num_people, 2)) * (WIDTH, HEIGHT)
    boxes = np.hstack([corners, corners + np.array([WIDTH / 2, HEIGHT / 2])]).astype(np.float32)
    scores = np.sort(rng.uniform(0.5, 1, num_people)).astype(np.float32)[::-1].copy()
    colours = picture(rng)
    masks = np.zeros((num_people, HEIGHT, WIDTH), np.float32)
    masks[np.arange(num_people), np.arange(num_people)] = 1  # apart, so that nobody is a double
    decision = decide(
        Inference(boxes, scores, None, masks, parts),
        colours,
        width=WIDTH,
        height=HEIGHT,
        mask_threshold=0.5,
        settings=config,
    )
    with torch.no_grad():
        log_q = network(config)(
            torch.from_numpy(parts),
            torch.from_numpy(boxes),
            torch.from_numpy(scores),
            torch.from_numpy(colours).permute(2, 0, 1),
        )
    by_person = log_q.exp()[1:].reshape(num_people, 4, HEIGHT, WIDTH)
    owner = torch.cat([log_q.exp()[:1], by_person.sum(dim=1)]).argmax(dim=0).numpy()
    masks_Nhw = decision.evidence.masks_Nhw
    found = np.where(masks_Nhw.max(axis=0) > 0.5, 1 + masks_Nhw.argmax(axis=0), 0)
    np.testing.assert_array_equal(found, owner)
    part = 1 + by_person.sum(dim=0).argmax(dim=0).numpy()
    np.testing.assert_array_equal(1 + decision.evidence.part_probabilities_Phw[1:].argmax(axis=0), part)
