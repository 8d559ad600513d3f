"""The logical volumes of an LVM2 physical volume, each as a device of its own.

The metadata is text in a small language. No library that reads it could be kept: dissect.volume is AGPL, libvslvm is
LGPL and calls itself experimental, and osbuild's reader (Apache-2.0) is part of an image builder. So the tokenizer
here is ours, and it is small: sections, strings, numbers and lists.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

from functions.inspection.devices import Device, OutOfRange, Piece, Slice
from functions.inspection.findings import Findings

SECTOR_BYTES = 512

_LABEL_MAGIC = b"LABELONE"
_LABEL_TYPE = b"LVM2 001"
_AREA_MAGIC = b" LVM2 x[5A%r0N*>"
_FIRST_AREA_AT = 4096
"""Where pvcreate puts the first metadata area: the only hint that is left when the label is gone."""
_AREA_IGNORED = 1
_MOST_TEXT_BYTES = 16 * 1024 * 1024
_MOST_DEPTH = 16
_MOST_AREAS = 8

Value: TypeAlias = "str | int | list[Value] | dict[str, Value]"
Section: TypeAlias = "dict[str, Value]"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogicalVolume:
    """A logical volume that lies on this physical volume from end to end.

    Names have only the characters that LVM allows; a question mark stands for any other.
    """

    group: str
    name: str
    device: Slice


class _Unsound(Exception):
    """This structure cannot be believed; the arguments are the code, what was seen, and where."""


def logical_volumes(device: Device, findings: Findings) -> tuple[LogicalVolume, ...] | None:
    """The volumes that can be read from this disk alone; None when it is no physical volume.

    What needs other disks or another layout than linear (thin, cache, RAID, stripes) is in the findings as unknown,
    by name. Errors: BudgetSpent.
    """
    try:
        label = _find_label(device, findings)
        if label is None:
            return None
        group_name, group = _group(device, findings, label)
        return _volumes(device, findings, label, group_name, group) if group else ()
    except _Unsound as unsound:
        code, seen, at = unsound.args
        findings.damage(code, seen, at=at)
    except OutOfRange as outside:
        findings.damage("lvm.truncated", str(outside))
    return ()


# --- label and metadata areas ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Label:
    """What the label says. `id` is empty when the label is damaged and only a metadata area was found."""

    id: str
    areas: tuple[tuple[int, int], ...]


def _checksum(data: bytes) -> int:
    """LVM's CRC-32: that of zlib without the inversions, from a start value of its own."""
    all_ones = 0xFFFFFFFF
    return zlib.crc32(data, 0xF597A6CF ^ all_ones) ^ all_ones


def _find_label(device: Device, findings: Findings) -> _Label | None:
    if device.size_bytes < _FIRST_AREA_AT + SECTOR_BYTES:
        return None
    head = device.read(0, _FIRST_AREA_AT + SECTOR_BYTES)
    for number in range(4):
        sector = head[number * SECTOR_BYTES : (number + 1) * SECTOR_BYTES]
        if sector.startswith(_LABEL_MAGIC):
            findings.read("lvm-label", number * SECTOR_BYTES, SECTOR_BYTES)
            label = _parsed_label(sector, number)
            if isinstance(label, _Label):
                return label
            findings.damage("lvm.label", label, at=number * SECTOR_BYTES)
            return _Label("", ((_FIRST_AREA_AT, device.size_bytes - _FIRST_AREA_AT),))
    if head[_FIRST_AREA_AT + 4 : _FIRST_AREA_AT + 20] != _AREA_MAGIC:
        return None
    findings.damage("lvm.label", "a metadata area without a label in front of it", at=SECTOR_BYTES)
    return _Label("", ((_FIRST_AREA_AT, device.size_bytes - _FIRST_AREA_AT),))


def _parsed_label(sector: bytes, number: int) -> _Label | str:
    """The label, or what is wrong with it."""
    own_number, checksum, at = struct.unpack_from("<QII", sector, 8)
    if _checksum(sector[20:]) != checksum:
        return "the checksum does not match"
    if own_number != number or sector[24:32] != _LABEL_TYPE or not 32 <= at <= SECTOR_BYTES - 56:
        return f"a label of sector {own_number:,}, kind {sector[24:32]!r}, header at {at:,}"
    places = struct.iter_unpack("<QQ", sector[at + 40 : at + 40 + (SECTOR_BYTES - at - 40) // 16 * 16])
    for _ in _until_zero(places):
        pass  # where the data lies is told again, in extents, by the metadata
    return _Label(sector[at : at + 32].decode("ascii", "replace"), tuple(_until_zero(places))[:_MOST_AREAS])


def _until_zero(places: Iterator[tuple[int, ...]]) -> Iterator[tuple[int, int]]:
    for offset, length in places:
        if not offset:
            return
        yield offset, length


def _group(device: Device, findings: Findings, label: _Label) -> tuple[str, Section]:
    """The newest metadata that an area of this disk holds; an empty section without any."""
    if not label.areas:
        findings.unknown("lvm.metadata.elsewhere", "this physical volume keeps no metadata of its own")
    kept: list[tuple[int, str, Section]] = []
    for offset, length in label.areas:
        try:
            text = _text(device, findings, offset, length)
            kept += [_parsed_group(text, offset)] if text is not None else []
        except _Unsound as unsound:
            code, seen, at = unsound.args
            findings.damage(code, seen, at=at)
        except OutOfRange as outside:
            findings.damage("lvm.metadata.range", str(outside), at=offset)
    if not kept:
        return "", {}
    sequence, name, group = max(kept, key=lambda one: one[0])
    if any(other != sequence for other, _, _ in kept):
        findings.note("lvm.metadata.older", "an area holds an older version: a change was under way")
    return name, group


def _text(device: Device, findings: Findings, at: int, length: int) -> bytes | None:
    """The text that is in force in the area at this place; None when the area is not in use."""
    header = device.read(at, SECTOR_BYTES)
    findings.read("lvm-metadata", at, SECTOR_BYTES)
    if struct.unpack_from("<I", header)[0] != _checksum(header[4:]):
        raise _Unsound("lvm.metadata.header", "the checksum of the area's header does not match", at)
    version, start, size = struct.unpack_from("<IQQ", header, 20)
    if header[4:20] != _AREA_MAGIC or version != 1 or start != at or not SECTOR_BYTES < size <= length:
        raise _Unsound("lvm.metadata.header", f"version {version}, {size:,} bytes at {start:,}", at)
    text_at, text_length, checksum, flags = struct.unpack_from("<QQII", header, 40)
    if not text_at or flags & _AREA_IGNORED:
        return None
    if not SECTOR_BYTES <= text_at < size or not 0 < text_length <= min(size - SECTOR_BYTES, _MOST_TEXT_BYTES):
        raise _Unsound("lvm.metadata.header", f"{text_length:,} bytes of text at {text_at:,}", at)
    # The area is a ring behind its header: a text that does not fit before its end goes on at its beginning.
    first = min(text_length, size - text_at)
    pieces = [(at + text_at, first)]
    if first < text_length:
        pieces.append((at + SECTOR_BYTES, text_length - first))
    for piece in pieces:
        findings.read("lvm-metadata", *piece)
    text = b"".join(device.read(*piece) for piece in pieces)
    if _checksum(text) != checksum:
        raise _Unsound("lvm.metadata.text", "the checksum of the metadata does not match", at + text_at)
    return text


def _parsed_group(text: bytes, at: int) -> tuple[int, str, Section]:
    content = _parse(text.rstrip(b"\0").decode("utf-8", "replace"), at)
    for name, section in content.items():
        if isinstance(section, dict) and "physical_volumes" in section:
            return _number(section, "seqno"), name, section
    raise _Unsound("lvm.metadata.text", "no volume group in the metadata", at)


# --- the volumes -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Here:
    """This physical volume as its group sees it. Bytes, but for `extents`."""

    key: str
    begins_at: int
    extents: int
    extent_bytes: int


@dataclass(frozen=True, slots=True)
class _Segment:
    """A stretch of a volume on this disk, in extents: where in the volume, where on the disk, how many."""

    start: int
    on_disk: int
    count: int


class _NotHere(Exception):
    """The volume cannot be put together from this disk; the argument says why."""


def _volumes(
    device: Device, findings: Findings, label: _Label, group_name: str, group: Section
) -> tuple[LogicalVolume, ...]:
    here = _find_here(device, findings, label, group)
    found: list[LogicalVolume] = []
    claimed: list[tuple[int, int, str]] = []
    volumes = _section(group, "logical_volumes") if "logical_volumes" in group else {}
    for name, volume in volumes.items():
        if not isinstance(volume, dict) or "VISIBLE" not in _list(volume, "status"):
            continue
        where = f"{_plain(group_name)}/{_plain(name)}"
        try:
            segments = _segments(volume, here)
        except _NotHere as why:
            findings.unknown("lvm.volume.layout", f"{where}: {why}")
            continue
        except _Unsound as unsound:
            findings.damage("lvm.volume", f"{where}: {unsound.args[1]}")
            continue
        claimed += [(one.on_disk, one.on_disk + one.count, where) for one in segments]
        found.append(LogicalVolume(group=_plain(group_name), name=_plain(name), device=_slice(device, here, segments)))
    for (_, end, one), (start, _, other) in pairwise(sorted(claimed)):
        if start < end:
            findings.damage("lvm.volume.overlap", f"{one} and {other} lie on the same extents")
    return tuple(found)


def _find_here(device: Device, findings: Findings, label: _Label, group: Section) -> _Here:
    """The entry of this disk in its group: the one with the label's identity, or the only one there is."""
    disks = _section(group, "physical_volumes")
    mine = [key for key, disk in disks.items() if isinstance(disk, dict) and _bare_id(disk) == label.id]
    if not label.id and len(disks) == 1:
        mine = list(disks)
    if not mine:
        raise _Unsound("lvm.metadata.identity", "the group does not know this physical volume", None)
    disk = _section(disks, mine[0])
    extent_bytes = _number(group, "extent_size") * SECTOR_BYTES
    here = _Here(mine[0], _number(disk, "pe_start") * SECTOR_BYTES, _number(disk, "pe_count"), extent_bytes)
    if extent_bytes <= 0 or here.begins_at < 0 or here.extents < 0:
        raise _Unsound("lvm.metadata.text", f"extents of {extent_bytes:,} bytes", None)
    ends_at = here.begins_at + here.extents * extent_bytes
    if ends_at > device.size_bytes:
        findings.damage("lvm.truncated", f"the extents end at {ends_at:,}, the device at {device.size_bytes:,}")
    return here


def _segments(volume: Section, here: _Here) -> list[_Segment]:
    """The segments in order. Errors: _NotHere; _Unsound when they leave a gap or leave the disk."""
    segments: list[_Segment] = []
    for key, segment in volume.items():
        if not re.fullmatch(r"segment\d{1,6}", key) or not isinstance(segment, dict):
            continue
        kind = segment.get("type")
        if kind != "striped":
            raise _NotHere(f"a volume of kind {str(kind)[:40]!r} is not read")
        stripes = _list(segment, "stripes")
        if _number(segment, "stripe_count") != 1 or len(stripes) != 2:
            raise _NotHere("it is striped over several places")
        disk, on_disk = stripes
        if disk != here.key or not isinstance(on_disk, int):
            raise _NotHere(f"part of it lies on another disk ({str(disk)[:40]!r})")
        segments.append(_Segment(_number(segment, "start_extent"), on_disk, _number(segment, "extent_count")))
    segments.sort(key=lambda one: one.start)
    expected = 0
    for one in segments:
        if one.start != expected or one.count <= 0 or one.on_disk < 0 or one.on_disk + one.count > here.extents:
            raise _Unsound(
                "lvm.volume", f"{one.count:,} extents from {one.on_disk:,} do not fit at {one.start:,}", None
            )
        expected += one.count
    if not segments or len(segments) != _number(volume, "segment_count"):
        raise _Unsound("lvm.volume", f"{len(segments)} segments", None)
    return segments


def _slice(device: Device, here: _Here, segments: Sequence[_Segment]) -> Slice:
    size = here.extent_bytes
    return Slice(
        device,
        [Piece(one.start * size, here.begins_at + one.on_disk * size, one.count * size) for one in segments],
    )


# --- the language of the metadata ------------------------------------------------------------------------------------

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}=,]|[^\s\[\]{}=,#"]+|#[^\n]*|\s+|.', re.DOTALL)


def _parse(text: str, at: int) -> Section:
    tokens = _tokens(text)
    try:
        return _parse_section(tokens, depth=0)
    except (StopIteration, ValueError) as broken:
        raise _Unsound("lvm.metadata.text", f"the metadata cannot be read: {broken}"[:100], at) from broken


def _tokens(text: str) -> Iterator[str]:
    for match in _TOKEN.finditer(text):
        token = match.group()
        if not token.isspace() and not token.startswith("#"):
            yield token


def _parse_section(tokens: Iterator[str], *, depth: int) -> Section:
    """Everything up to the brace that closes the section, or to the end of the outermost one."""
    if depth > _MOST_DEPTH:
        raise ValueError("too deep")
    content: Section = {}
    for key in tokens:
        if key == "}" and depth:
            return content
        sign = next(tokens)
        if sign == "{":
            content[key] = _parse_section(tokens, depth=depth + 1)
        elif sign == "=":
            content[key] = _parse_value(next(tokens), tokens)
        else:
            raise ValueError("neither a section nor a value")
    if depth:
        raise ValueError("a section without an end")
    return content


def _parse_value(word: str, tokens: Iterator[str]) -> Value:
    if word != "[":
        return _parse_scalar(word)
    values: list[Value] = []
    while (one := next(tokens)) != "]":
        if one != ",":
            values.append(_parse_scalar(one))
    return values


def _parse_scalar(word: str) -> Value:
    if word[0] == '"' and len(word) > 1:
        return re.sub(r"\\(.)", r"\1", word[1:-1], flags=re.DOTALL)
    if re.fullmatch(r"-?[0-9]{1,19}", word):
        return int(word)
    if word in '[]{}=,"':
        raise ValueError("a sign where a value should be")
    return word


def _section(of: Section, key: str) -> Section:
    value = of.get(key)
    if not isinstance(value, dict):
        raise _Unsound("lvm.metadata.text", f"no section {key}", None)
    return value


def _list(of: Section, key: str) -> list[Value]:
    value = of.get(key)
    return value if isinstance(value, list) else []


def _number(of: Section, key: str) -> int:
    value = of.get(key)
    if not isinstance(value, int):
        raise _Unsound("lvm.metadata.text", f"no number {key}", None)
    return value


def _bare_id(disk: Mapping[str, Value]) -> str:
    return str(disk.get("id", "")).replace("-", "")


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9+_.-]", "?", name[:128])
