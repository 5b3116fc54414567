from partstream.v1 import results_pb2 as _results_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FlowSource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FLOW_SOURCE_UNSPECIFIED: _ClassVar[FlowSource]
    FLOW_SOURCE_NETWORK: _ClassVar[FlowSource]
    FLOW_SOURCE_DIS: _ClassVar[FlowSource]
    FLOW_SOURCE_CODEC: _ClassVar[FlowSource]
    FLOW_SOURCE_NONE: _ClassVar[FlowSource]

class Schedule(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SCHEDULE_UNSPECIFIED: _ClassVar[Schedule]
    SCHEDULE_EVERY_FRAME: _ClassVar[Schedule]
    SCHEDULE_CAUSAL: _ClassVar[Schedule]
    SCHEDULE_PAPER: _ClassVar[Schedule]
    SCHEDULE_ADAPTIVE: _ClassVar[Schedule]

class Assembly(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ASSEMBLY_UNSPECIFIED: _ClassVar[Assembly]
    ASSEMBLY_GREEDY: _ClassVar[Assembly]
    ASSEMBLY_CRF: _ClassVar[Assembly]

class MaskForm(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MASK_FORM_UNSPECIFIED: _ClassVar[MaskForm]
    MASK_FORM_RLE: _ClassVar[MaskForm]
    MASK_FORM_POLYGONS: _ClassVar[MaskForm]
    MASK_FORM_NONE: _ClassVar[MaskForm]

class Policy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    POLICY_UNSPECIFIED: _ClassVar[Policy]
    POLICY_LATEST: _ClassVar[Policy]
    POLICY_BLOCK: _ClassVar[Policy]

class SkipReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SKIP_REASON_UNSPECIFIED: _ClassVar[SkipReason]
    SKIP_REASON_REPLACED: _ClassVar[SkipReason]
    SKIP_REASON_TOO_OLD: _ClassVar[SkipReason]
    SKIP_REASON_NOT_WANTED: _ClassVar[SkipReason]
    SKIP_REASON_GOING_AWAY: _ClassVar[SkipReason]

class SourceState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SOURCE_STATE_UNSPECIFIED: _ClassVar[SourceState]
    SOURCE_STATE_ENDED: _ClassVar[SourceState]
    SOURCE_STATE_FAILED: _ClassVar[SourceState]
    SOURCE_STATE_STOPPED: _ClassVar[SourceState]
FLOW_SOURCE_UNSPECIFIED: FlowSource
FLOW_SOURCE_NETWORK: FlowSource
FLOW_SOURCE_DIS: FlowSource
FLOW_SOURCE_CODEC: FlowSource
FLOW_SOURCE_NONE: FlowSource
SCHEDULE_UNSPECIFIED: Schedule
SCHEDULE_EVERY_FRAME: Schedule
SCHEDULE_CAUSAL: Schedule
SCHEDULE_PAPER: Schedule
SCHEDULE_ADAPTIVE: Schedule
ASSEMBLY_UNSPECIFIED: Assembly
ASSEMBLY_GREEDY: Assembly
ASSEMBLY_CRF: Assembly
MASK_FORM_UNSPECIFIED: MaskForm
MASK_FORM_RLE: MaskForm
MASK_FORM_POLYGONS: MaskForm
MASK_FORM_NONE: MaskForm
POLICY_UNSPECIFIED: Policy
POLICY_LATEST: Policy
POLICY_BLOCK: Policy
SKIP_REASON_UNSPECIFIED: SkipReason
SKIP_REASON_REPLACED: SkipReason
SKIP_REASON_TOO_OLD: SkipReason
SKIP_REASON_NOT_WANTED: SkipReason
SKIP_REASON_GOING_AWAY: SkipReason
SOURCE_STATE_UNSPECIFIED: SourceState
SOURCE_STATE_ENDED: SourceState
SOURCE_STATE_FAILED: SourceState
SOURCE_STATE_STOPPED: SourceState

class StreamParseRequest(_message.Message):
    __slots__ = ("config", "frame")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    config: StreamConfig
    frame: StreamFrame
    def __init__(self, config: _Optional[_Union[StreamConfig, _Mapping]] = ..., frame: _Optional[_Union[StreamFrame, _Mapping]] = ...) -> None: ...

class StreamConfig(_message.Message):
    __slots__ = ("bundle", "score_threshold", "every", "masks", "policy", "max_age_ms", "credits", "resume_token", "schedule", "interval", "flow", "joints", "encodes", "assembly")
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    SCORE_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    EVERY_FIELD_NUMBER: _ClassVar[int]
    MASKS_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    MAX_AGE_MS_FIELD_NUMBER: _ClassVar[int]
    CREDITS_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    FLOW_FIELD_NUMBER: _ClassVar[int]
    JOINTS_FIELD_NUMBER: _ClassVar[int]
    ENCODES_FIELD_NUMBER: _ClassVar[int]
    ASSEMBLY_FIELD_NUMBER: _ClassVar[int]
    bundle: str
    score_threshold: float
    every: int
    masks: MaskForm
    policy: Policy
    max_age_ms: int
    credits: int
    resume_token: bytes
    schedule: Schedule
    interval: int
    flow: FlowSource
    joints: bool
    encodes: bool
    assembly: Assembly
    def __init__(self, bundle: _Optional[str] = ..., score_threshold: _Optional[float] = ..., every: _Optional[int] = ..., masks: _Optional[_Union[MaskForm, str]] = ..., policy: _Optional[_Union[Policy, str]] = ..., max_age_ms: _Optional[int] = ..., credits: _Optional[int] = ..., resume_token: _Optional[bytes] = ..., schedule: _Optional[_Union[Schedule, str]] = ..., interval: _Optional[int] = ..., flow: _Optional[_Union[FlowSource, str]] = ..., joints: _Optional[bool] = ..., encodes: _Optional[bool] = ..., assembly: _Optional[_Union[Assembly, str]] = ...) -> None: ...

class StreamFrame(_message.Message):
    __slots__ = ("index", "time_s", "encoded", "raw", "age_ms")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    TIME_S_FIELD_NUMBER: _ClassVar[int]
    ENCODED_FIELD_NUMBER: _ClassVar[int]
    RAW_FIELD_NUMBER: _ClassVar[int]
    AGE_MS_FIELD_NUMBER: _ClassVar[int]
    index: int
    time_s: float
    encoded: bytes
    raw: RawImage
    age_ms: int
    def __init__(self, index: _Optional[int] = ..., time_s: _Optional[float] = ..., encoded: _Optional[bytes] = ..., raw: _Optional[_Union[RawImage, _Mapping]] = ..., age_ms: _Optional[int] = ...) -> None: ...

class RawImage(_message.Message):
    __slots__ = ("width", "height", "rgb")
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    RGB_FIELD_NUMBER: _ClassVar[int]
    width: int
    height: int
    rgb: bytes
    def __init__(self, width: _Optional[int] = ..., height: _Optional[int] = ..., rgb: _Optional[bytes] = ...) -> None: ...

class StreamParseResponse(_message.Message):
    __slots__ = ("opened", "answer", "going_away")
    OPENED_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    GOING_AWAY_FIELD_NUMBER: _ClassVar[int]
    opened: StreamOpened
    answer: FrameAnswer
    going_away: GoingAway
    def __init__(self, opened: _Optional[_Union[StreamOpened, _Mapping]] = ..., answer: _Optional[_Union[FrameAnswer, _Mapping]] = ..., going_away: _Optional[_Union[GoingAway, _Mapping]] = ...) -> None: ...

class StreamOpened(_message.Message):
    __slots__ = ("stream_id", "model", "precision", "credits", "policy", "resumed", "max_message_bytes", "token_lifetime_s")
    STREAM_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    CREDITS_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    RESUMED_FIELD_NUMBER: _ClassVar[int]
    MAX_MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    TOKEN_LIFETIME_S_FIELD_NUMBER: _ClassVar[int]
    stream_id: str
    model: _results_pb2.ModelInfo
    precision: str
    credits: int
    policy: Policy
    resumed: bool
    max_message_bytes: int
    token_lifetime_s: float
    def __init__(self, stream_id: _Optional[str] = ..., model: _Optional[_Union[_results_pb2.ModelInfo, _Mapping]] = ..., precision: _Optional[str] = ..., credits: _Optional[int] = ..., policy: _Optional[_Union[Policy, str]] = ..., resumed: _Optional[bool] = ..., max_message_bytes: _Optional[int] = ..., token_lifetime_s: _Optional[float] = ...) -> None: ...

class FrameAnswer(_message.Message):
    __slots__ = ("index", "result", "failure", "skipped", "latency", "resume_token")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    LATENCY_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    index: int
    result: _results_pb2.FrameResult
    failure: FrameFailure
    skipped: FrameSkipped
    latency: Latency
    resume_token: bytes
    def __init__(self, index: _Optional[int] = ..., result: _Optional[_Union[_results_pb2.FrameResult, _Mapping]] = ..., failure: _Optional[_Union[FrameFailure, _Mapping]] = ..., skipped: _Optional[_Union[FrameSkipped, _Mapping]] = ..., latency: _Optional[_Union[Latency, _Mapping]] = ..., resume_token: _Optional[bytes] = ...) -> None: ...

class FrameFailure(_message.Message):
    __slots__ = ("code", "message")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    code: str
    message: str
    def __init__(self, code: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class FrameSkipped(_message.Message):
    __slots__ = ("reason",)
    REASON_FIELD_NUMBER: _ClassVar[int]
    reason: SkipReason
    def __init__(self, reason: _Optional[_Union[SkipReason, str]] = ...) -> None: ...

class Latency(_message.Message):
    __slots__ = ("total_ms", "queue_ms", "decode_ms", "infer_ms", "network_ms", "assemble_ms", "track_ms", "encode_ms")
    TOTAL_MS_FIELD_NUMBER: _ClassVar[int]
    QUEUE_MS_FIELD_NUMBER: _ClassVar[int]
    DECODE_MS_FIELD_NUMBER: _ClassVar[int]
    INFER_MS_FIELD_NUMBER: _ClassVar[int]
    NETWORK_MS_FIELD_NUMBER: _ClassVar[int]
    ASSEMBLE_MS_FIELD_NUMBER: _ClassVar[int]
    TRACK_MS_FIELD_NUMBER: _ClassVar[int]
    ENCODE_MS_FIELD_NUMBER: _ClassVar[int]
    total_ms: float
    queue_ms: float
    decode_ms: float
    infer_ms: float
    network_ms: float
    assemble_ms: float
    track_ms: float
    encode_ms: float
    def __init__(self, total_ms: _Optional[float] = ..., queue_ms: _Optional[float] = ..., decode_ms: _Optional[float] = ..., infer_ms: _Optional[float] = ..., network_ms: _Optional[float] = ..., assemble_ms: _Optional[float] = ..., track_ms: _Optional[float] = ..., encode_ms: _Optional[float] = ...) -> None: ...

class GoingAway(_message.Message):
    __slots__ = ("reason", "resume_token", "grace_ms")
    REASON_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    GRACE_MS_FIELD_NUMBER: _ClassVar[int]
    reason: str
    resume_token: bytes
    grace_ms: int
    def __init__(self, reason: _Optional[str] = ..., resume_token: _Optional[bytes] = ..., grace_ms: _Optional[int] = ...) -> None: ...

class ParseVideoRequest(_message.Message):
    __slots__ = ("config", "chunk")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    config: ParseVideoConfig
    chunk: bytes
    def __init__(self, config: _Optional[_Union[ParseVideoConfig, _Mapping]] = ..., chunk: _Optional[bytes] = ...) -> None: ...

class ParseVideoConfig(_message.Message):
    __slots__ = ("bundle", "score_threshold", "every", "max_frames", "masks", "schedule", "interval", "flow", "joints", "encodes", "start_s", "end_s", "fps", "parts", "people", "stream", "deinterlace", "assembly")
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    SCORE_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    EVERY_FIELD_NUMBER: _ClassVar[int]
    MAX_FRAMES_FIELD_NUMBER: _ClassVar[int]
    MASKS_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    FLOW_FIELD_NUMBER: _ClassVar[int]
    JOINTS_FIELD_NUMBER: _ClassVar[int]
    ENCODES_FIELD_NUMBER: _ClassVar[int]
    START_S_FIELD_NUMBER: _ClassVar[int]
    END_S_FIELD_NUMBER: _ClassVar[int]
    FPS_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    PEOPLE_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    DEINTERLACE_FIELD_NUMBER: _ClassVar[int]
    ASSEMBLY_FIELD_NUMBER: _ClassVar[int]
    bundle: str
    score_threshold: float
    every: int
    max_frames: int
    masks: MaskForm
    schedule: Schedule
    interval: int
    flow: FlowSource
    joints: bool
    encodes: bool
    start_s: float
    end_s: float
    fps: float
    parts: _containers.RepeatedScalarFieldContainer[str]
    people: _containers.RepeatedScalarFieldContainer[int]
    stream: int
    deinterlace: bool
    assembly: Assembly
    def __init__(self, bundle: _Optional[str] = ..., score_threshold: _Optional[float] = ..., every: _Optional[int] = ..., max_frames: _Optional[int] = ..., masks: _Optional[_Union[MaskForm, str]] = ..., schedule: _Optional[_Union[Schedule, str]] = ..., interval: _Optional[int] = ..., flow: _Optional[_Union[FlowSource, str]] = ..., joints: _Optional[bool] = ..., encodes: _Optional[bool] = ..., start_s: _Optional[float] = ..., end_s: _Optional[float] = ..., fps: _Optional[float] = ..., parts: _Optional[_Iterable[str]] = ..., people: _Optional[_Iterable[int]] = ..., stream: _Optional[int] = ..., deinterlace: _Optional[bool] = ..., assembly: _Optional[_Union[Assembly, str]] = ...) -> None: ...

class ParseVideoResponse(_message.Message):
    __slots__ = ("started", "result", "finished")
    STARTED_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    started: ParseVideoStarted
    result: _results_pb2.FrameResult
    finished: ParseVideoFinished
    def __init__(self, started: _Optional[_Union[ParseVideoStarted, _Mapping]] = ..., result: _Optional[_Union[_results_pb2.FrameResult, _Mapping]] = ..., finished: _Optional[_Union[ParseVideoFinished, _Mapping]] = ...) -> None: ...

class ParseVideoStarted(_message.Message):
    __slots__ = ("video", "model")
    VIDEO_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    video: _results_pb2.VideoInfo
    model: _results_pb2.ModelInfo
    def __init__(self, video: _Optional[_Union[_results_pb2.VideoInfo, _Mapping]] = ..., model: _Optional[_Union[_results_pb2.ModelInfo, _Mapping]] = ...) -> None: ...

class ParseVideoFinished(_message.Message):
    __slots__ = ("video",)
    VIDEO_FIELD_NUMBER: _ClassVar[int]
    video: _results_pb2.VideoInfo
    def __init__(self, video: _Optional[_Union[_results_pb2.VideoInfo, _Mapping]] = ...) -> None: ...

class SubscribeSourceRequest(_message.Message):
    __slots__ = ("source_id",)
    SOURCE_ID_FIELD_NUMBER: _ClassVar[int]
    source_id: str
    def __init__(self, source_id: _Optional[str] = ...) -> None: ...

class SubscribeSourceResponse(_message.Message):
    __slots__ = ("opened", "answer", "going_away", "ended", "num_missed", "width", "height", "time_s")
    OPENED_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    GOING_AWAY_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    NUM_MISSED_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    TIME_S_FIELD_NUMBER: _ClassVar[int]
    opened: StreamOpened
    answer: FrameAnswer
    going_away: GoingAway
    ended: SourceEnded
    num_missed: int
    width: int
    height: int
    time_s: float
    def __init__(self, opened: _Optional[_Union[StreamOpened, _Mapping]] = ..., answer: _Optional[_Union[FrameAnswer, _Mapping]] = ..., going_away: _Optional[_Union[GoingAway, _Mapping]] = ..., ended: _Optional[_Union[SourceEnded, _Mapping]] = ..., num_missed: _Optional[int] = ..., width: _Optional[int] = ..., height: _Optional[int] = ..., time_s: _Optional[float] = ...) -> None: ...

class SourceEnded(_message.Message):
    __slots__ = ("state", "problem", "num_frames")
    STATE_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    NUM_FRAMES_FIELD_NUMBER: _ClassVar[int]
    state: SourceState
    problem: str
    num_frames: int
    def __init__(self, state: _Optional[_Union[SourceState, str]] = ..., problem: _Optional[str] = ..., num_frames: _Optional[int] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("model", "precision", "licence", "training_data", "embedding", "joints")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    LICENCE_FIELD_NUMBER: _ClassVar[int]
    TRAINING_DATA_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    JOINTS_FIELD_NUMBER: _ClassVar[int]
    model: _results_pb2.ModelInfo
    precision: str
    licence: str
    training_data: _containers.RepeatedScalarFieldContainer[str]
    embedding: int
    joints: int
    def __init__(self, model: _Optional[_Union[_results_pb2.ModelInfo, _Mapping]] = ..., precision: _Optional[str] = ..., licence: _Optional[str] = ..., training_data: _Optional[_Iterable[str]] = ..., embedding: _Optional[int] = ..., joints: _Optional[int] = ...) -> None: ...
