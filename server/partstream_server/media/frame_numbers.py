"""Gaps in the frame numbers of H.264: reference frames that were coded and never came.

Times alone cannot tell a lost packet from a frame that was never there, as in a screen recording. The coded
number of each reference frame is one more than that of the one before; where it is not, packets are missing.

Source: ITU-T H.264 (08/2021), 7.3.2.1.1 (sequence parameter set), 7.3.3 (slice header), 7.4.3 (frame_num).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_SLICE, _IDR_SLICE, _PARAMETERS = 1, 5, 7
_WITH_CHROMA: Final = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})
"""Profiles whose parameters tell of chroma and of scaling lists."""
_SLICE_HEAD: Final = 32
"""Bytes of a slice in which its frame number ends."""
_LONGEST_CODE: Final = 32


@dataclass(frozen=True, slots=True)
class _Numbering:
    """How frames are numbered."""

    bits: int
    separate_planes: bool
    may_have_gaps: bool


class FrameNumbers:
    """Follows the frame numbers of one H.264 stream in decoding order."""

    def __init__(self, extradata: bytes | None) -> None:
        """Begin a stream.

        Args:
            extradata: Its configuration: avcC, or NAL units behind start codes; None where there is none.
        """
        self._length_size = 0
        self._numbering: _Numbering | None = None
        self._last: int | None = None
        data = extradata or b""
        if data[:1] == b"\x01" and len(data) > 8:
            self._length_size = (data[4] & 3) + 1
            length = int.from_bytes(data[6:8])
            self._learn(data[8 : 8 + length])
        else:
            for unit in _behind_start_codes(data):
                self._learn(unit)

    def num_missing(self, packet: bytes) -> int:
        """Reference frames that are missing before the picture of a packet; 0 where that cannot be told."""
        units = (
            _behind_lengths(packet, self._length_size) if self._length_size else _behind_start_codes(packet)
        )
        for unit in units:
            kind = unit[0] & 31
            if kind == _PARAMETERS:
                self._learn(unit)
            elif kind in (_SLICE, _IDR_SLICE):
                try:
                    return self._missing_before(unit, is_reference=bool(unit[0] & 0x60))
                except (EOFError, ValueError):
                    return 0
        return 0

    def _learn(self, unit: bytes) -> None:
        if unit and unit[0] & 31 == _PARAMETERS:
            try:
                self._numbering = _numbering(_Bits(_without_emulation(unit[1:])))
            except (EOFError, ValueError):
                self._numbering = None

    def _missing_before(self, unit: bytes, *, is_reference: bool) -> int:
        numbering = self._numbering
        if numbering is None or numbering.may_have_gaps:
            return 0
        bits = _Bits(_without_emulation(unit[1 : 1 + _SLICE_HEAD]))
        if bits.unsigned() != 0:  # not the first slice: the one before it was lost, which decoding tells
            return 0
        bits.unsigned()
        bits.unsigned()
        if numbering.separate_planes:
            bits.take(2)
        number, modulus = bits.take(numbering.bits), 1 << numbering.bits
        if unit[0] & 31 == _IDR_SLICE or self._last is None:
            self._last = number if is_reference else (number - 1) % modulus
            return 0
        missing = (number - self._last - 1) % modulus if number != self._last else 0
        self._last = number if is_reference else (number - 1) % modulus
        return missing


class _Bits:
    """Reads bits from the most significant on.

    Raises:
        EOFError: There are no more.
        ValueError: A code is too long.
    """

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data), 8 * len(data)

    def take(self, count: int) -> int:
        if count > self._left:
            raise EOFError
        self._left -= count
        return (self._value >> self._left) & ((1 << count) - 1)

    def unsigned(self) -> int:
        """An Exp-Golomb code (9.1)."""
        zeros = 0
        while not self.take(1):
            zeros += 1
            if zeros > _LONGEST_CODE:
                raise ValueError("the code is too long")
        return (1 << zeros) - 1 + self.take(zeros)

    def signed(self) -> int:
        """A signed one (9.1.1)."""
        code = self.unsigned()
        return (code + 1) // 2 if code % 2 else -(code // 2)


def _numbering(bits: _Bits) -> _Numbering:
    """What the parameters of a sequence say of frame numbers."""
    profile = bits.take(8)
    bits.take(16)
    bits.unsigned()
    separate_planes = False
    if profile in _WITH_CHROMA:
        chroma = bits.unsigned()
        separate_planes = chroma == 3 and bool(bits.take(1))
        bits.unsigned()
        bits.unsigned()
        bits.take(1)
        if bits.take(1):
            for number in range(12 if chroma == 3 else 8):
                if bits.take(1):
                    _skip_scaling_list(bits, 16 if number < 6 else 64)
    num_bits = bits.unsigned() + 4
    order = bits.unsigned()
    if order == 0:
        bits.unsigned()
    elif order == 1:
        bits.take(1)
        bits.signed()
        bits.signed()
        for _ in range(min(bits.unsigned(), 255)):
            bits.signed()
    bits.unsigned()
    return _Numbering(num_bits, separate_planes, may_have_gaps=bool(bits.take(1)))


def _skip_scaling_list(bits: _Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.signed()) % 256
        last = following or last


def _without_emulation(data: bytes) -> bytes:
    """The data without the bytes that keep it from looking like a start code (7.4.1)."""
    return data.replace(b"\x00\x00\x03", b"\x00\x00")


def _behind_lengths(data: bytes, size: int) -> Iterator[bytes]:
    at = 0
    while at + size < len(data):
        length = int.from_bytes(data[at : at + size])
        at += size
        if not 0 < length <= len(data) - at:
            return
        yield data[at : at + length]
        at += length


def _behind_start_codes(data: bytes) -> Iterator[bytes]:
    at = data.find(b"\x00\x00\x01")
    while at >= 0:
        end = data.find(b"\x00\x00\x01", at + 3)
        if unit := data[at + 3 : end if end >= 0 else len(data)]:
            yield unit
        at = end
