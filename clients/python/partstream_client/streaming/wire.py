"""The client's records as messages of `partstream.v1`, and back."""

from dataclasses import fields

from partstream.v1 import results_pb2, service_pb2
from partstream_client.errors import AnswerError
from partstream_client.frames import Frame
from partstream_client.streaming.answers import (
    Answer,
    Failed,
    Latency,
    LiveFrame,
    ServerLatency,
    Skipped,
    SourceAnswer,
    SourceFrame,
)
from partstream_client.streaming.images import Payload
from partstream_client.streaming.ledger import Entry, Policy
from partstream_client.streaming.options import (
    AssemblyName,
    FlowName,
    Masks,
    ScheduleName,
    StreamOptions,
    check_interval,
)
from partstream_core.results import (
    FrameResult,
    JointResult,
    Mask,
    ModelInfo,
    PartResult,
    PersonResult,
    Polygons,
)
from partstream_core.rle import Rle

_POLICIES = {Policy.LATEST: service_pb2.POLICY_LATEST, Policy.BLOCK: service_pb2.POLICY_BLOCK}
_MASKS: dict[Masks, service_pb2.MaskForm] = {
    "rle": service_pb2.MASK_FORM_RLE,
    "polygons": service_pb2.MASK_FORM_POLYGONS,
    "none": service_pb2.MASK_FORM_NONE,
}
_FLOWS: dict[FlowName | None, service_pb2.FlowSource] = {
    None: service_pb2.FLOW_SOURCE_UNSPECIFIED,
    "network": service_pb2.FLOW_SOURCE_NETWORK,
    "dis": service_pb2.FLOW_SOURCE_DIS,
    "codec": service_pb2.FLOW_SOURCE_CODEC,
    "none": service_pb2.FLOW_SOURCE_NONE,
}
_ASSEMBLIES: dict[AssemblyName | None, service_pb2.Assembly] = {
    None: service_pb2.ASSEMBLY_UNSPECIFIED,
    "greedy": service_pb2.ASSEMBLY_GREEDY,
    "crf": service_pb2.ASSEMBLY_CRF,
}
_SCHEDULES: dict[ScheduleName | None, service_pb2.Schedule] = {
    None: service_pb2.SCHEDULE_UNSPECIFIED,
    "every-frame": service_pb2.SCHEDULE_EVERY_FRAME,
    "causal": service_pb2.SCHEDULE_CAUSAL,
    "paper": service_pb2.SCHEDULE_PAPER,
    "adaptive": service_pb2.SCHEDULE_ADAPTIVE,
}


def config_message(options: StreamOptions, token: bytes) -> service_pb2.StreamParseRequest:
    """The first message of a stream."""
    config = service_pb2.StreamConfig(
        bundle=options.bundle,
        score_threshold=options.score_threshold,
        every=options.every,
        masks=_MASKS[options.masks],
        joints=options.joints,
        encodes=options.encodes,
        assembly=_ASSEMBLIES[options.assembly],
        policy=_POLICIES[Policy(options.policy)],
        max_age_ms=round(options.max_age_ms or 0),
        credits=options.max_in_flight or 0,
        resume_token=token,
        schedule=_SCHEDULES[options.schedule],
        flow=_FLOWS[options.flow],
        interval=options.interval or 0,
    )
    return service_pb2.StreamParseRequest(config=config)


def frame_message(entry: Entry, payload: Payload, now_s: float) -> service_pb2.StreamParseRequest:
    """The message of one frame, which is as old as the time since it was taken."""
    frame = service_pb2.StreamFrame(
        index=entry.index, time_s=entry.time_s, age_ms=max(0, round((now_s - entry.taken_at) * 1000))
    )
    if payload.raw_size is None:
        frame.encoded = payload.data
    else:
        height, width = payload.raw_size
        frame.raw.CopyFrom(service_pb2.RawImage(width=width, height=height, rgb=payload.data))
    return service_pb2.StreamParseRequest(frame=frame)


def video_config_message(  # noqa: PLR0913 - the options of a request
    *,
    score_threshold: float | None = None,
    every: int = 0,
    max_frames: int = 0,
    masks: Masks = "rle",
    joints: bool = True,
    encodes: bool | None = None,
    schedule: ScheduleName | None = None,
    interval: int | None = None,
    flow: FlowName | None = None,
    assembly: AssemblyName | None = None,
    start_s: float = 0.0,
    end_s: float = 0.0,
    fps: float = 0.0,
    parts: str = "",
    people: str = "",
    stream: int | None = None,
    deinterlace: bool = True,
) -> service_pb2.ParseVideoRequest:
    """The first message of an upload.

    Raises:
        ValueError: An option has a value that it cannot have.
    """
    if every < 0 or max_frames < 0:
        raise ValueError(f"every and max_frames must not be negative, got {every} and {max_frames}")
    if masks not in _MASKS:
        raise ValueError(f"masks must be one of {', '.join(_MASKS)}, got {masks!r}")
    if schedule not in _SCHEDULES:
        raise ValueError(f"schedule must be one of {', '.join(map(str, _SCHEDULES))}, got {schedule!r}")
    if flow not in _FLOWS:
        raise ValueError(f"flow must be one of {', '.join(map(str, _FLOWS))}, got {flow!r}")
    if assembly not in _ASSEMBLIES:
        raise ValueError(f"assembly must be one of {', '.join(map(str, _ASSEMBLIES))}, got {assembly!r}")
    check_interval(interval)
    config = service_pb2.ParseVideoConfig(
        score_threshold=score_threshold,
        every=every,
        max_frames=max_frames,
        masks=_MASKS[masks],
        joints=joints,
        encodes=encodes,
        schedule=_SCHEDULES[schedule],
        flow=_FLOWS[flow],
        assembly=_ASSEMBLIES[assembly],
        interval=interval or 0,
        start_s=start_s,
        end_s=end_s,
        fps=fps,
        parts=[name.strip() for name in parts.split(",") if name.strip()],
        people=[int(number) for number in people.split(",") if number.strip()],
        stream=stream,
        deinterlace=deinterlace,
    )
    return service_pb2.ParseVideoRequest(config=config)


def answer_of(message: service_pb2.FrameAnswer, entry: Entry, *, now_s: float, epoch: int) -> Answer:
    """Answer for a frame from its message.

    Raises:
        AnswerError: The message is empty.
    """
    match message.WhichOneof("outcome"):
        case "result":
            spent = Latency(round_trip_ms=(now_s - entry.sent_at) * 1000, **_times(message.latency))
            return LiveFrame(
                frame_result(message.result), entry.size, image=entry.image, latency=spent, epoch=epoch
            )
        case _:
            return _no_result(message, entry.index, entry.time_s)


def source_answer_of(message: service_pb2.SubscribeSourceResponse) -> SourceAnswer:
    """Answer for a frame of a pulled source from its message.

    Raises:
        AnswerError: The message is empty.
    """
    answer = message.answer
    if not answer.HasField("result"):
        return _no_result(answer, answer.index, message.time_s)
    return SourceFrame(
        frame_result(answer.result),
        (message.height, message.width) if message.height and message.width else None,
        latency=ServerLatency(**_times(answer.latency)),
        num_missed=message.num_missed,
    )


def _no_result(message: service_pb2.FrameAnswer, index: int, time_s: float) -> Failed | Skipped:
    match message.WhichOneof("outcome"):
        case "failure":
            failure = message.failure
            return Failed(index=index, time_s=time_s, code=failure.code, detail=failure.message)
        case "skipped":
            return Skipped(index=index, time_s=time_s, reason=skip_reason(message.skipped.reason))
        case _:
            raise AnswerError(f"the answer of frame {message.index} is empty")


def skip_reason(reason: service_pb2.SkipReason) -> str:
    """A reason by its name, such as ``too_old``; one that is newer than this client by its number."""
    try:
        return service_pb2.SkipReason.Name(reason).removeprefix("SKIP_REASON_").lower()
    except ValueError:
        return f"reason_{reason}"


def frame_result(message: results_pb2.FrameResult) -> FrameResult:
    """Result of a frame from its message."""
    return FrameResult(
        index=message.index,
        time_s=message.time_s,
        key_frame=message.key_frame,
        people=tuple(_person(person) for person in message.people),
    )


def frame_of(message: results_pb2.FrameResult, size: tuple[int, int] | None) -> Frame:
    """The same with masks on demand."""
    return Frame(frame_result(message), size)


def model_info(message: results_pb2.ModelInfo) -> ModelInfo:
    """The bundle and its engine."""
    return ModelInfo(message.bundle, message.version, message.provider, tuple(message.parts))


def _person(message: results_pb2.Person) -> PersonResult:
    box = message.box
    return PersonResult(
        identity=message.identity,
        score=message.score,
        box=(box.x1, box.y1, box.x2, box.y2),
        mask=_mask(message.mask),
        parts=tuple(PartResult(part.part, part.score, part.area, _mask(part.mask)) for part in message.parts),
        joints=tuple(JointResult(each.joint, each.x, each.y, each.score) for each in message.joints),
    )


def _mask(message: results_pb2.Mask) -> Mask:
    match message.WhichOneof("form"):
        case "rle":
            return Rle(message.rle.height, message.rle.width, message.rle.counts)
        case "polygons":
            rings = tuple(tuple(ring.coordinates) for ring in message.polygons.rings)
            return Polygons((message.polygons.height, message.polygons.width), rings)
        case _:
            return None


def _times(message: service_pb2.Latency) -> dict[str, float]:
    """The server's times by the names of `ServerLatency`."""
    return {each.name: getattr(message, each.name) for each in fields(ServerLatency)}
