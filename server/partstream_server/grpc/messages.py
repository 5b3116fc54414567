"""Conversion between protobuf messages and the service's values: `read_*` parse, `write_*` build messages."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from pydantic import ValidationError

from partstream.v1 import results_pb2, service_pb2
from partstream_core.assembly_config import AssemblyKind
from partstream_core.errors import MediaError, OptionError
from partstream_core.results import FrameResult, Mask, ModelInfo, PersonResult, Polygons, VideoInfo
from partstream_core.rle import Rle
from partstream_core.schedule import FlowSource, ScheduleMode
from partstream_server.engine import Engine
from partstream_server.media.frame import Image
from partstream_server.pipeline.encoding import MaskForm
from partstream_server.pipeline.parse_options import MAX_INTERVAL, ParseOptions, model_info
from partstream_server.streams import (
    Answer,
    Failed,
    GoingAway,
    InputFrame,
    Opened,
    Policy,
    Skipped,
    SkipReason,
    StreamConfig,
)

_FORMS: Final = {
    service_pb2.MASK_FORM_UNSPECIFIED: MaskForm.RLE,
    service_pb2.MASK_FORM_RLE: MaskForm.RLE,
    service_pb2.MASK_FORM_POLYGONS: MaskForm.POLYGONS,
    service_pb2.MASK_FORM_NONE: MaskForm.NONE,
}
_POLICIES: Final = {
    service_pb2.POLICY_UNSPECIFIED: Policy.LATEST,
    service_pb2.POLICY_LATEST: Policy.LATEST,
    service_pb2.POLICY_BLOCK: Policy.BLOCK,
}
_ASSEMBLIES: Final[dict[int, AssemblyKind | None]] = {
    service_pb2.ASSEMBLY_UNSPECIFIED: None,
    service_pb2.ASSEMBLY_GREEDY: AssemblyKind.GREEDY,
    service_pb2.ASSEMBLY_CRF: AssemblyKind.CRF,
}
_FLOWS: Final[dict[int, FlowSource | None]] = {
    service_pb2.FLOW_SOURCE_UNSPECIFIED: None,
    service_pb2.FLOW_SOURCE_NETWORK: FlowSource.NETWORK,
    service_pb2.FLOW_SOURCE_DIS: FlowSource.DIS,
    service_pb2.FLOW_SOURCE_CODEC: FlowSource.CODEC,
    service_pb2.FLOW_SOURCE_NONE: FlowSource.NONE,
}
_SCHEDULES: Final = {
    service_pb2.SCHEDULE_UNSPECIFIED: None,
    service_pb2.SCHEDULE_EVERY_FRAME: ScheduleMode.EVERY_FRAME,
    service_pb2.SCHEDULE_CAUSAL: ScheduleMode.CAUSAL,
    service_pb2.SCHEDULE_PAPER: ScheduleMode.PAPER,
    service_pb2.SCHEDULE_ADAPTIVE: ScheduleMode.ADAPTIVE,
}
_POLICY_NUMBERS: Final = {
    Policy.LATEST: service_pb2.POLICY_LATEST,
    Policy.BLOCK: service_pb2.POLICY_BLOCK,
}
_REASON_NUMBERS: Final = {
    SkipReason.REPLACED: service_pb2.SKIP_REASON_REPLACED,
    SkipReason.TOO_OLD: service_pb2.SKIP_REASON_TOO_OLD,
    SkipReason.NOT_WANTED: service_pb2.SKIP_REASON_NOT_WANTED,
    SkipReason.GOING_AWAY: service_pb2.SKIP_REASON_GOING_AWAY,
}


class RawSizeError(MediaError):
    """A raw image does not have 3 * width * height bytes."""


def read_stream_config(message: service_pb2.StreamConfig) -> StreamConfig:
    """Options of a live stream.

    Raises:
        OptionError: An enum number is unknown, or a value is out of range.
    """
    if message.policy not in _POLICIES:
        raise OptionError(f"there is no policy {message.policy}")
    return StreamConfig(
        bundle=message.bundle,
        score_threshold=_score(message),
        every=message.every or 1,
        masks=_mask_form(message.masks),
        schedule=_schedule(message),
        interval=_interval(message),
        flow=_flow(message),
        joints=_joints(message),
        encodes=message.encodes if message.HasField("encodes") else None,
        assembly=_assembly(message),
        policy=_POLICIES[message.policy],
        max_age_ms=message.max_age_ms,
        credits=message.credits,
        resume_token=message.resume_token,
    )


def read_parse_options(message: service_pb2.ParseVideoConfig) -> ParseOptions:
    """Options of parsing a file.

    Raises:
        OptionError: An enum number is unknown, or a value is out of range.
    """
    score = _score(message)
    if score is not None and not 0 <= score <= 1:
        raise OptionError(f"score_threshold must be between 0 and 1, got {score}")
    try:
        return ParseOptions(
            score_threshold=score,
            every=message.every or 1,
            max_frames=message.max_frames or None,
            masks=_mask_form(message.masks),
            schedule=_schedule(message),
            interval=_interval(message),
            flow=_flow(message),
            joints=_joints(message),
            encodes=message.encodes if message.HasField("encodes") else None,
            assembly=_assembly(message),
            start_s=message.start_s,
            end_s=message.end_s or None,
            fps=message.fps or None,
            parts=",".join(message.parts),
            people=",".join(map(str, message.people)),
            stream=message.stream if message.HasField("stream") else None,
            deinterlace=message.deinterlace if message.HasField("deinterlace") else True,
        )
    except ValidationError as error:
        first = error.errors()[0]
        name = f"{first['loc'][0]}: " if first["loc"] else ""
        raise OptionError(f"{name}{first['msg']}") from None


def _joints(message: service_pb2.StreamConfig | service_pb2.ParseVideoConfig) -> bool:
    return message.joints if message.HasField("joints") else True


def _schedule(message: service_pb2.StreamConfig | service_pb2.ParseVideoConfig) -> ScheduleMode | None:
    if message.schedule not in _SCHEDULES:
        raise OptionError(f"there is no schedule {message.schedule}")
    return _SCHEDULES[message.schedule]


def _flow(message: service_pb2.StreamConfig | service_pb2.ParseVideoConfig) -> FlowSource | None:
    if message.flow not in _FLOWS:
        raise OptionError(f"there is no source of flow {message.flow}")
    return _FLOWS[message.flow]


def _assembly(message: service_pb2.StreamConfig | service_pb2.ParseVideoConfig) -> AssemblyKind | None:
    if message.assembly not in _ASSEMBLIES:
        raise OptionError(f"there is no assembly {message.assembly}")
    return _ASSEMBLIES[message.assembly]


def _interval(message: service_pb2.StreamConfig | service_pb2.ParseVideoConfig) -> int | None:
    if message.interval > MAX_INTERVAL:
        raise OptionError(f"interval must be at most {MAX_INTERVAL}, got {message.interval}")
    return message.interval or None


def _score(message: service_pb2.StreamConfig | service_pb2.ParseVideoConfig) -> float | None:
    """The score threshold, rounded to 6 digits: the field has single precision, 0.3 arrives as 0.30000001."""
    if not message.HasField("score_threshold"):
        return None
    value = message.score_threshold
    return round(value, 6) if math.isfinite(value) else value


def _mask_form(number: service_pb2.MaskForm) -> MaskForm:
    if number not in _FORMS:
        raise OptionError(f"there is no mask form {number}")
    return _FORMS[number]


def read_frame(message: service_pb2.StreamFrame) -> InputFrame:
    """An input frame; its `image` is a `RawSizeError` if a raw image has the wrong number of bytes."""
    raw = message.WhichOneof("image") == "raw"
    image = _pixels(message.raw) if raw else message.encoded
    return InputFrame(message.index, message.time_s, image, float(message.age_ms))


def _pixels(raw: service_pb2.RawImage) -> Image | RawSizeError:
    wanted = 3 * raw.width * raw.height
    if len(raw.rgb) != wanted or not wanted:
        return RawSizeError(f"raw {raw.width}x{raw.height} has {wanted} bytes, got {len(raw.rgb)}")
    return np.frombuffer(raw.rgb, np.uint8).reshape(raw.height, raw.width, 3)


def write_opened(opened: Opened, *, max_message_bytes: int) -> service_pb2.StreamParseResponse:
    """The first message of a stream."""
    return service_pb2.StreamParseResponse(
        opened=service_pb2.StreamOpened(
            stream_id=opened.stream_id,
            model=write_model_info(opened.model),
            precision=opened.precision,
            credits=opened.credits,
            policy=_POLICY_NUMBERS[opened.policy],
            resumed=opened.resumed,
            max_message_bytes=max_message_bytes,
            token_lifetime_s=opened.token_lifetime_s,
        )
    )


def write_item(item: Answer | GoingAway) -> service_pb2.StreamParseResponse:
    """The message of a frame's answer, or of the notice that the server shuts down."""
    if isinstance(item, GoingAway):
        return service_pb2.StreamParseResponse(
            going_away=service_pb2.GoingAway(
                reason=item.reason, resume_token=item.resume_token, grace_ms=round(item.grace_ms)
            )
        )
    return service_pb2.StreamParseResponse(answer=_write_answer(item))


def _write_answer(item: Answer) -> service_pb2.FrameAnswer:
    latency = item.latency
    answer = service_pb2.FrameAnswer(
        index=item.index,
        latency=service_pb2.Latency(
            total_ms=latency.total_ms,
            queue_ms=latency.queue_ms,
            decode_ms=latency.decode_ms,
            infer_ms=latency.infer_ms,
            network_ms=latency.network_ms,
            assemble_ms=latency.assemble_ms,
            track_ms=latency.track_ms,
            encode_ms=latency.encode_ms,
        ),
        resume_token=item.resume_token,
    )
    match item.outcome:
        case Failed(code, text):
            answer.failure.code, answer.failure.message = code, text
        case Skipped(reason):
            answer.skipped.reason = _REASON_NUMBERS[reason]
        case result:
            answer.result.CopyFrom(write_result(result))
    return answer


def write_result(result: FrameResult) -> results_pb2.FrameResult:
    """The message of one frame's result: its people, their parts and masks."""
    return results_pb2.FrameResult(
        index=result.index,
        time_s=result.time_s,
        key_frame=result.key_frame,
        people=[_write_person(person) for person in result.people],
    )


def _write_person(person: PersonResult) -> results_pb2.Person:
    x1, y1, x2, y2 = person.box
    parts = [
        results_pb2.Part(part=part.part, score=part.score, area=part.area, mask=_write_mask(part.mask))
        for part in person.parts
    ]
    return results_pb2.Person(
        identity=person.identity,
        score=person.score,
        box=results_pb2.Box(x1=x1, y1=y1, x2=x2, y2=y2),
        mask=_write_mask(person.mask),
        parts=parts,
        joints=[
            results_pb2.Joint(joint=joint.joint, x=joint.x, y=joint.y, score=joint.score)
            for joint in person.joints
        ],
    )


def _write_mask(mask: Mask) -> results_pb2.Mask | None:
    match mask:
        case None:
            return None
        case Rle(height, width, counts):
            return results_pb2.Mask(rle=results_pb2.Rle(height=height, width=width, counts=counts))
        case Polygons((height, width), rings):
            outlines = [results_pb2.Ring(coordinates=ring) for ring in rings]
            return results_pb2.Mask(polygons=results_pb2.Polygons(height=height, width=width, rings=outlines))


def write_video_info(video: VideoInfo) -> results_pb2.VideoInfo:
    """The message that describes a video."""
    return results_pb2.VideoInfo(
        width=video.width,
        height=video.height,
        num_frames=video.num_frames,
        frame_rate=video.frame_rate,
        duration_s=video.duration_s,
        num_damaged=video.num_damaged,
    )


def write_model_info(model: ModelInfo) -> results_pb2.ModelInfo:
    """The message that names a bundle and its provider."""
    return results_pb2.ModelInfo(
        bundle=model.bundle, version=model.version, provider=model.provider, parts=model.parts
    )


def write_model(engine: Engine) -> service_pb2.Model:
    """The message that describes a bundle for clients: provider, precision, licence, capabilities."""
    manifest = engine.bundle.manifest
    return service_pb2.Model(
        model=write_model_info(model_info(engine)),
        precision=engine.precision,
        licence=manifest.licence,
        training_data=manifest.training_data,
        embedding=manifest.capabilities.embedding or 0,
        joints=manifest.capabilities.joints,
    )
