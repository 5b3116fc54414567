"""ATEN and the methods it is compared with: who runs what on which frame."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import pytest
import torch
from torch import Tensor, nn

from partstream_models.networks.aten import ATEN, ATEN_DAVIS, ATEN_REDUCED, ATEN_VIP, ATENConfig, Encoder
from partstream_models.networks.clip_features import (
    AdaptiveTemporalEncoding,
    DeepFeatureFlow,
    FlowGuidedAggregation,
    PerFrame,
    VideoMethod,
    parse_clip,
)
from partstream_models.networks.complexity import num_parameters
from partstream_models.networks.conv_gru import MeanEncoder
from partstream_models.networks.fgfa import FeatureAggregation
from partstream_models.networks.parsing_rcnn import ParsingRCNNConfig

SEMANTIC = replace(ATEN_REDUCED, instances=False)


@dataclass
class Calls:
    """Values of the frames that the backbone and the flow network saw."""

    backbone: list[int] = field(default_factory=list)
    flow: list[tuple[int, int]] = field(default_factory=list)


def clip(num_frames: int, side: int = 32) -> Tensor:
    """Frames whose first pixel tells their number."""
    images = torch.rand(num_frames, 3, side, side)
    images[:, 0, 0, 0] = torch.arange(num_frames)
    return images


@contextmanager
def counted(network: ATEN) -> Iterator[Calls]:
    calls = Calls()

    def number(image: Tensor) -> int:
        return int(image[0, 0, 0, 0])

    hooks = [
        network.backbone.register_forward_hook(lambda _, given, __: calls.backbone.append(number(given[0]))),
        network.flow.register_forward_hook(
            lambda _, given, __: calls.flow.append((number(given[0]), number(given[1])))
        ),
    ]
    yield calls
    for hook in hooks:
        hook.remove()


def frames_and_calls(method: VideoMethod, num_frames: int) -> tuple[list[int], Calls]:
    network = ATEN(SEMANTIC).eval()
    with counted(network) as calls, torch.no_grad():
        frames = [frame for frame, _ in method.features(network, clip(num_frames))]
    return frames, calls


def test_ten_frames_in_threes_run_the_backbone_on_four_and_the_flow_on_fourteen_pairs() -> None:
    frames, calls = frames_and_calls(AdaptiveTemporalEncoding(length=3, encoding_range=2), 10)
    assert sorted(frames) == list(range(10))
    assert calls.backbone == [4, 7, 1, 9]
    encoding = [(1, 4), (1, 7), (4, 1), (4, 7), (7, 1), (7, 4), (9, 4), (9, 7)]
    propagation = [(0, 1), (2, 1), (3, 4), (5, 4), (6, 7), (8, 7)]
    assert sorted(calls.flow) == sorted(encoding + propagation)


@pytest.mark.parametrize(("length", "encoding_range"), [(1, 0), (2, 3), (4, 1)])
def test_the_backbone_runs_once_on_key_frames_and_never_on_others(length: int, encoding_range: int) -> None:
    frames, calls = frames_and_calls(
        AdaptiveTemporalEncoding(length=length, encoding_range=encoding_range), 9
    )
    assert sorted(frames) == list(range(9))
    keys = sorted(first + (min(first + length, 9) - first) // 2 for first in range(0, 9, length))
    assert sorted(calls.backbone) == keys


def test_baselines_run_what_they_are_known_for() -> None:
    frames, calls = frames_and_calls(PerFrame(), 4)
    assert (frames, calls.backbone, calls.flow) == ([0, 1, 2, 3], [0, 1, 2, 3], [])
    frames, calls = frames_and_calls(DeepFeatureFlow(length=3), 5)
    assert (frames, calls.backbone, calls.flow) == ([0, 1, 2, 3, 4], [0, 3], [(1, 0), (2, 0), (4, 3)])
    aggregation = FeatureAggregation(channels=SEMANTIC.backbone.channels)
    frames, calls = frames_and_calls(FlowGuidedAggregation(aggregation=aggregation, reach=1), 3)
    assert (frames, calls.backbone) == ([0, 1, 2], [0, 1, 2])
    assert calls.flow == [(0, 1), (1, 0), (1, 2), (2, 1)]


def test_without_motion_and_encoder_every_method_gives_the_frame_s_own_feature() -> None:
    network = ATEN(replace(SEMANTIC, encoder=Encoder.MEAN)).eval()
    last = network.flow.predict[-1]
    for parameter in last.parameters():
        nn.init.zeros_(parameter)
    images = torch.rand(1, 3, 32, 32).expand(7, 3, 32, 32)
    aggregation = FeatureAggregation(channels=SEMANTIC.backbone.channels)
    methods: list[VideoMethod] = [
        AdaptiveTemporalEncoding(),
        DeepFeatureFlow(),
        FlowGuidedAggregation(aggregation=aggregation, reach=2),
    ]
    with torch.no_grad():
        own = network.backbone(images[:1])
        for method in methods:
            for _, feature in method.features(network, images):
                assert torch.allclose(feature, own, atol=1e-4)


def test_aggregation_weights_sum_to_one_and_favour_what_is_alike() -> None:
    torch.manual_seed(0)
    aggregation = FeatureAggregation(channels=8)
    own, other = torch.randn(1, 8, 4, 4), torch.randn(1, 8, 4, 4)
    with torch.no_grad():
        assert torch.allclose(aggregation(own, [own, own]), own, atol=1e-6)
        mixed = aggregation(own, [own, other])
    assert (mixed - own).norm() < (mixed - other).norm()


def test_a_clip_is_parsed_in_time_order_at_the_image_s_size() -> None:
    network = ATEN(
        replace(ATEN_REDUCED, heads=replace(ATEN_REDUCED.heads, min_score=0.0, max_people=3))
    ).train()
    parsed = parse_clip(network, torch.rand(4, 3, 64, 48), AdaptiveTemporalEncoding())
    assert len(parsed) == 4
    assert network.training
    for frame in parsed:
        assert frame.part_map_HW.shape == (64, 48)
        assert frame.assembly is not None
        assert frame.assembly.owner_HW.shape == (64, 48)
        assert len(frame.assembly.kept) <= 3


def test_the_davis_variant_has_two_classes_and_no_people() -> None:
    config = replace(SEMANTIC, heads=replace(ATEN_REDUCED.heads, num_classes=2))
    (frame,) = parse_clip(ATEN(config), torch.rand(1, 3, 32, 32), PerFrame())
    assert frame.assembly is None
    assert frame.part_map_HW.max() <= 1
    assert ATEN_DAVIS.heads.num_classes == 2
    assert not ATEN_DAVIS.instances


@pytest.mark.parametrize("encoder", list(Encoder))
def test_training_reaches_every_part_through_encoding_and_propagation(encoder: Encoder) -> None:
    network = ATEN(replace(SEMANTIC, encoder=encoder, aligned=True)).train()
    images = torch.rand(3, 1, 3, 32, 32) * 2 - 1
    features = [network.backbone(image) for image in images[:2]]
    encoded = network.encode(images[1], features[1], [(images[0], features[0])])
    logits = network.part_logits(network.propagate(images[2], images[1], encoded))
    torch.autograd.backward(logits.square().sum())
    without = [n for n, p in network.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []
    assert isinstance(network.encoder, MeanEncoder) == (encoder is Encoder.MEAN)


def test_without_alignment_neighbours_are_not_warped() -> None:
    network = ATEN(replace(SEMANTIC, aligned=False)).eval()
    with counted(network) as calls, torch.no_grad():
        list(AdaptiveTemporalEncoding(length=3).features(network, clip(3)))
    assert calls.flow == [(0, 1), (2, 1)]


def test_the_published_forms_have_their_parts_sizes() -> None:
    with torch.device("meta"):
        vip, davis = ATEN(ATEN_VIP), ATEN(ATEN_DAVIS)
    assert num_parameters(vip.backbone) == 40_335_472
    assert num_parameters(davis.backbone) == 59_327_600
    assert num_parameters(vip.flow) == num_parameters(davis.flow) == 38_726_178
    assert num_parameters(vip.encoder) == 3_539_712


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="256 channels"):
        ATENConfig(heads=ParsingRCNNConfig(channels=8))
    with pytest.raises(ValueError, match="multiples of 4"):
        parse_clip(ATEN(SEMANTIC), torch.rand(2, 3, 30, 32), PerFrame())
    with pytest.raises(ValueError, match="length"):
        DeepFeatureFlow(length=0)
