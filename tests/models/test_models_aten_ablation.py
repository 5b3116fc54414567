"""The ablation table: every row is trained, parsed, timed and held against the equations."""

import itertools
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from partstream_models.commands.ablation import main, measure, milliseconds_a_frame, table, with_other_lengths
from partstream_models.data.clips.draw import Clip, draw_clip
from partstream_models.data.clips.shake import Shake
from partstream_models.data.clips.views import ViewConfig
from partstream_models.data.photos.cache import PhotoCache
from partstream_models.data.readers.benchmark import open_benchmark
from partstream_models.data.readers.record import Frame, Recording
from partstream_models.networks.aten import ATEN, ATEN_REDUCED, Encoder
from partstream_models.networks.clip_features import (
    AdaptiveTemporalEncoding,
    DeepFeatureFlow,
    FlowGuidedAggregation,
    PerFrame,
)
from partstream_models.training.ablation import AblationConfig, Aggregating, Trained, train_variants, variants
from partstream_models.training.aten_scores import person_iou, recordings_confusion
from partstream_models.training.aten_task import as_input

TINY = AblationConfig(
    num_seeds=2, length=3, base_steps=1, steps=1, flow_steps=1, size=(64, 64), shake=Shake(share=1)
)


def recording(photos: PhotoCache) -> Recording:
    """A composed clip as a recording."""
    config = replace(TINY.clip, num_frames=5, empty_share=0.0)
    clip = draw_clip(photos, seed=3, number=0, height=64, width=64, config=config)
    return Recording("clip", 5, tuple(range(5)), partial(frame_of, clip))


def frame_of(clip: Clip, number: int) -> Frame:
    rows = np.arange(1, int(clip.instances_THW.max()) + 1)
    return Frame(clip.images_THWC[number], clip.parts_THW[number], clip.instances_THW[number], rows)


def test_every_row_is_parsed_by_its_own_method() -> None:
    methods = {}
    for variant in variants(AblationConfig()):
        with torch.device("meta"):
            methods[variant.name] = variant.method(variant.build(AblationConfig()))
    assert isinstance(methods["per frame"], PerFrame)
    assert isinstance(methods["DFF"], DeepFeatureFlow)
    assert isinstance(methods["FGFA"], FlowGuidedAggregation)
    rest = [method for name, method in methods.items() if name.startswith("ATEN")]
    assert rest == [AdaptiveTemporalEncoding(length=4, encoding_range=2)] * 4
    by_name = {variant.name: variant for variant in variants(AblationConfig())}
    assert not by_name["ATEN without alignment"].aligned
    assert by_name["ATEN with convLSTM"].encoder is Encoder.LSTM
    assert by_name["ATEN without GRU"].encoder is Encoder.MEAN


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tiny networks are kept."""
    return tmp_path_factory.mktemp("ablation")


@pytest.fixture(scope="module")
def trained(photos: PhotoCache, folder: Path) -> list[Trained]:
    """Every variant after one step."""
    return train_variants(TINY, photos, folder)


def test_the_table_has_every_row(trained: list[Trained], photos: PhotoCache) -> None:
    rows = measure(trained, [recording(photos)], TINY)
    assert [row.name for row in rows] == [variant.name for variant in variants(TINY)]
    assert rows[0].ratio == 1
    for row in rows:
        assert len(row.ious) == len(row.shaken_ious) == (1 if row.name == "per frame" else 2)
        assert all(0 <= iou.even <= iou.best <= 1 for iou in (*row.ious, *row.shaken_ious))
        assert row.milliseconds > 0
        assert (row.equation_8 is not None) == row.name.startswith("ATEN")
    assert any(row.ious != row.shaken_ious for row in rows)
    text = table(rows)
    assert text.count("\n") == 1 + len(rows)
    assert "| ATEN without GRU |" in text


def test_variants_share_all_but_what_their_piece_adds(trained: list[Trained]) -> None:
    base = trained[0].networks[0].state_dict()
    for network in itertools.chain.from_iterable(one.networks for one in trained[1:]):
        for name, tensor in network.state_dict().items():
            if not name.startswith(("encoder.", "flow.scale.")):
                assert torch.equal(tensor, base[name]), name


def test_what_a_piece_adds_learns(trained: list[Trained]) -> None:
    for one in trained[1:]:
        for seed, network in enumerate(one.networks, start=TINY.seed):
            torch.manual_seed(seed)
            started = one.variant.build(TINY).encoder.state_dict()
            started["scale"] = trained[0].networks[0].flow.get_parameter("scale.weight")
            learned = {**network.encoder.state_dict(), "scale": network.flow.get_parameter("scale.weight")}
            assert any(not torch.equal(tensor, started[name]) for name, tensor in learned.items())


def test_finished_networks_are_taken_from_the_folder(
    trained: list[Trained], photos: PhotoCache, folder: Path
) -> None:
    written = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.safetensors")}
    again = train_variants(TINY, photos, folder)
    assert {path.name: path.stat().st_mtime_ns for path in folder.glob("*.safetensors")} == written
    for one, other in zip(trained, again, strict=True):
        for network, same in zip(one.networks, other.networks, strict=True):
            for name, tensor in network.state_dict().items():
                assert torch.equal(tensor, same.state_dict()[name]), name


def test_networks_that_were_trained_otherwise_are_not_taken(
    trained: list[Trained], photos: PhotoCache, folder: Path
) -> None:
    assert trained
    written = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.safetensors")}
    for other in (replace(TINY, steps=2), replace(TINY, base_steps=2), replace(TINY, flow_steps=2)):
        with pytest.raises(ValueError, match="was trained otherwise"):
            train_variants(other, photos, folder)
    assert {path.name: path.stat().st_mtime_ns for path in folder.glob("*.safetensors")} == written


def test_people_s_iou_is_that_of_every_pixel_counted(photos: PhotoCache) -> None:
    torch.manual_seed(3)
    variant = {variant.name: variant for variant in variants(TINY)}["DFF"]
    network, clip, view = variant.build(TINY), recording(photos), ViewConfig(longer_side=64, mirror=False)
    method = variant.method(network)
    counts = recordings_confusion(network, [clip], view, method)
    people = [frame.instances_HW for frame in map(clip.frame, range(5)) if frame.instances_HW is not None]
    probabilities: dict[int, Tensor] = {}
    with torch.no_grad():
        images = torch.cat([as_input(clip.frame(number).image_HWC) for number in range(5)])
        for frame, feature in method.features(network, images):
            logits = F.interpolate(network.part_logits(feature), (64, 64), mode="bilinear")
            probabilities[frame] = logits.softmax(dim=1)[0, 1]
    found = person_iou(network, [clip], view, method)
    assert found.even == pytest.approx(counts[1, 1] / (counts[1].sum() + counts[0, 1]), abs=2e-3)
    truth = np.stack(people) > 0
    probability = torch.stack([probabilities[frame] for frame in range(5)]).numpy()
    by_threshold = [
        (truth & (probability >= at / 200)).sum() / (truth | (probability >= at / 200)).sum()
        for at in range(200)
    ]
    assert found.best == pytest.approx(max(by_threshold), abs=1e-6)
    assert found.threshold == pytest.approx(np.argmax(by_threshold) / 200)
    parts = ATEN(ATEN_REDUCED)
    with pytest.raises(ValueError, match="no one class"):
        person_iou(parts, [clip], view, PerFrame())


def test_aten_is_held_against_itself_in_shorter_and_longer_segments() -> None:
    by_name = {variant.name: variant for variant in variants(AblationConfig())}
    with torch.device("meta"):
        network = ATEN(AblationConfig().network)
    shown = [each for one in by_name.values() for each in with_other_lengths(Trained(one, (network,)))]
    assert [each.variant.name for each in shown] == [*by_name, "ATEN, l = 3", "ATEN, l = 5"]
    lengths = {each.variant.name: each.variant.method(network) for each in shown[-3:]}
    assert lengths == {
        "ATEN": AdaptiveTemporalEncoding(length=4, encoding_range=2),
        "ATEN, l = 3": AdaptiveTemporalEncoding(length=3, encoding_range=2),
        "ATEN, l = 5": AdaptiveTemporalEncoding(length=5, encoding_range=2),
    }
    assert all(each.networks == (network,) for each in shown)


def test_equations_are_of_the_row_s_own_length(photos: PhotoCache) -> None:
    variant = {variant.name: variant for variant in variants(TINY)}["ATEN"]
    shown = with_other_lengths(Trained(variant, (variant.build(TINY),)))
    rows = {row.name: row for row in measure(shown, [recording(photos)], TINY)}
    third, quarter, fifth = (rows[name].equation_9 for name in ("ATEN", "ATEN, l = 4", "ATEN, l = 5"))
    assert third is not None
    assert quarter is not None
    assert fifth is not None
    assert third > quarter > fifth


def test_aggregation_stands_in_for_the_encoder() -> None:
    features = [torch.randn(1, 8, 4, 4) for _ in range(3)]
    encoder = Aggregating(channels=8)
    with torch.no_grad():
        assert torch.equal(encoder(features), encoder.aggregation(features[-1], features))


def test_a_method_that_runs_the_backbone_twice_takes_its_calls() -> None:
    calls = []
    network = ATEN(TINY.network)
    network.backbone.register_forward_hook(lambda *_: calls.append(1))
    assert milliseconds_a_frame(network, PerFrame(), TINY.size, num_frames=2, repeats=3) > 0
    assert len(calls) == 6


def test_budgets_that_cannot_be_are_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        main(["--data", str(tmp_path), "--steps", "0"])
    assert "steps and seeds must be at least 1" in capsys.readouterr().err


@pytest.mark.data
@pytest.mark.long
def test_the_benchmark_is_read_as_recordings(data_dir: Path, tmp_path: Path) -> None:
    (clip,) = open_benchmark(data_dir / "ccp", tmp_path, select=lambda clip: clip.number == 0, num_frames=2)
    assert (clip.num_frames, clip.labelled) == (2, (0, 1))
    frame = clip.frame(1)
    assert frame.parts_HW is not None
    assert frame.instances_HW is not None
    assert ((frame.parts_HW > 0) == (frame.instances_HW > 0)).all()
    assert 1 <= len(frame.identities_N) <= clip.num_people
    with pytest.raises(ValueError, match="no clip of the benchmark"):
        open_benchmark(data_dir / "ccp", tmp_path, select=lambda _: False)
