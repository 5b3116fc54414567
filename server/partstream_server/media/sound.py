"""The sound of a source beside the video that is drawn of it: copied where it can be, else encoded anew."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, Final, cast

import av
import av.error
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet


@dataclass(frozen=True, slots=True)
class SoundForm:
    """What sound a container holds."""

    copied: frozenset[str]
    """Codecs that are taken over as they are."""
    encoder: str
    """What others become."""
    samples: str
    """How the encoder takes them."""
    frame: int | None
    """How many it takes at a time; None: any number."""


AAC: Final = SoundForm(frozenset({"aac", "mp3", "ac3", "eac3", "opus", "alac", "flac"}), "aac", "fltp", None)
"""Of MP4."""
MOV_SOUND: Final = SoundForm(frozenset({"aac", "mp3", "ac3", "eac3", "alac"}), "aac", "fltp", None)
"""Of MOV, which holds neither Opus nor FLAC."""
OPUS: Final = SoundForm(frozenset({"opus", "vorbis"}), "libopus", "flt", 960)
"""Of WebM."""
_RATE: Final = 48_000
_ONLY_THIS_FILE: Final = {"protocol_whitelist": "pipe"}
_BROKEN: Final = (av.error.FFmpegError, OSError, ValueError)


class Sound:
    """Copies a source's sound into a file as its video is written; what cannot be read of it is left out."""

    def __init__(self, source: Path, target: OutputContainer, form: SoundForm = AAC) -> None:
        """Open the source and add a stream to the target; there is none where the source has no sound.

        Args:
            source: A video.
            target: Whose header is not written yet.
            form: What the target holds.
        """
        self._file: BinaryIO | None = None
        self._container: InputContainer | None = None
        self._packets: Iterator[Packet[AudioStream]] = iter(())
        self._waiting: Packet[AudioStream] | None = None
        self._target, self._form = target, form
        self._resampler: AudioResampler | None = None
        """Where the sound is not copied."""
        try:
            self._file = source.open("rb")
            self._container = av.open(self._file, "r", container_options=dict(_ONLY_THIS_FILE))
            stream = cast(AudioStream | None, self._container.streams.best("audio"))
            if stream is not None:
                self._add(stream)
        except _BROKEN:
            self.close()

    def _add(self, stream: AudioStream) -> None:
        assert self._container is not None, "it is open"
        copied = stream.codec.canonical_name in self._form.copied
        if copied:
            self._stream = self._target.add_stream_from_template(stream)
        else:
            self._stream = cast(AudioStream, self._target.add_stream(self._form.encoder, rate=_RATE))
            self._stream.layout = "stereo"
            self._resampler = AudioResampler(self._form.samples, "stereo", _RATE, frame_size=self._form.frame)
        self._packets = self._container.demux(stream)
        self._advance()

    def write_until(self, end_s: float, *, start_s: float) -> None:
        """Write what is heard before a time of the source.

        Args:
            end_s: On the source's clock.
            start_s: Of the first frame, on the same clock: where the target begins.
        """
        try:
            while self._waiting is not None and _time_s(self._waiting) < end_s:
                if _time_s(self._waiting) >= start_s:
                    self._write(self._waiting, start_s)
                self._advance()
        except _BROKEN:
            self._waiting = None

    def end(self, end_s: float, *, start_s: float | None) -> None:
        """Write what is heard before the end of the video, and release the source.

        Args:
            end_s: On the source's clock.
            start_s: Of the first frame, on the same clock; None where no frame was written.
        """
        if start_s is not None:
            self.write_until(end_s, start_s=start_s)
            self._finish(start_s)
        self.close()

    def _finish(self, start_s: float) -> None:
        """Write what the encoder still holds, if there is one."""
        if self._container is None or self._resampler is None:
            return
        try:
            for frame in self._resampler.resample(None):
                self._encode(frame, start_s)
            self._mux_all(self._stream.encode(None))
        except _BROKEN:
            return

    def _write(self, packet: Packet[AudioStream], start_s: float) -> None:
        if self._resampler is None:
            shift = round(start_s / packet.time_base)
            packet.pts = None if packet.pts is None else packet.pts - shift
            packet.dts = None if packet.dts is None else packet.dts - shift
            packet.stream = self._stream
            self._target.mux(packet)
            return
        for frame in packet.decode():
            for resampled in self._resampler.resample(frame):
                self._encode(resampled, start_s)

    def _encode(self, frame: AudioFrame, start_s: float) -> None:
        if frame.pts is not None:
            time_s = float(frame.pts * (frame.time_base or 0)) - start_s
            frame.time_base = Fraction(1, _RATE)
            frame.pts = round(time_s * _RATE)
        self._mux_all(self._stream.encode(frame))

    def _mux_all(self, packets: list[Packet[AudioStream]]) -> None:
        for packet in packets:
            self._target.mux(packet)

    def _advance(self) -> None:
        """Hold the next packet that has a time."""
        self._waiting = next((packet for packet in self._packets if packet.pts is not None), None)

    def close(self) -> None:
        """Release the source."""
        self._waiting, self._packets = None, iter(())
        if self._container is not None:
            self._container.close()
            self._container = None
        if self._file is not None:
            self._file.close()
            self._file = None


def _time_s(packet: Packet[AudioStream]) -> float:
    return float((packet.pts or 0) * packet.time_base)
