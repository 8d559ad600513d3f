"""File formats that are known by their beginning: what explains random-looking bytes, and what a name promises."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class Holds(StrEnum):
    """What a format may hold behind its header."""

    PACKED = "packed"
    """Compressed or coded content: its random look is explained by the header."""
    ENCRYPTED = "encrypted"
    """Encrypted content on purpose (gpg, age, LUKS). The header says so, and only the owner knows whether it should."""


@dataclass(frozen=True, slots=True)
class Format:
    """A format and the bytes that must stand at `at`."""

    name: str
    mark: bytes
    at: int = 0
    holds: Holds = Holds.PACKED


def _packed(name: str, *marks: bytes, at: int = 0) -> tuple[Format, ...]:
    return tuple(Format(name, mark, at) for mark in marks)


def _encrypted(name: str, *marks: bytes, at: int = 0) -> tuple[Format, ...]:
    return tuple(Format(name, mark, at, Holds.ENCRYPTED) for mark in marks)


_ARCHIVES = (
    *_packed("gzip", b"\x1f\x8b\x08"),
    *_packed("xz", b"\xfd7zXZ\0"),
    *_packed("zstd", b"\x28\xb5\x2f\xfd", *(bytes([0x50 + n]) + b"\x2a\x4d\x18" for n in range(16))),
    *_packed("bzip2", *(b"BZh%d" % n for n in range(1, 10))),
    *_packed("lz4", b"\x04\x22\x4d\x18"),
    *_packed("lzma", b"\x5d\0\0"),
    *_packed("lzip", b"LZIP"),
    *_packed("lzop", b"\x89LZO\0"),
    *_packed("zlib", b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda"),
    *_packed("compress", b"\x1f\x9d"),
    *_packed("zip", b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08", b"JM\1\0PK"),
    *_packed("7z", b"7z\xbc\xaf\x27\x1c"),
    *_packed("rar", b"Rar!\x1a\x07"),
    *_packed("tar", b"ustar", at=257),
    *_packed("cpio", b"070701", b"070702", b"070707", b"\xc7\x71", b"\x71\xc7"),
    *_packed("ar", b"!<arch>\n", b"!<thin>\n"),
    *_packed("rpm", b"\xed\xab\xee\xdb"),
    *_packed("cabinet", b"MSCF"),
    *_packed("xar", b"xar!"),
    *_packed("squashfs", b"hsqs", b"sqsh"),
    *_packed("snappy", b"\xff\x06\0\0sNaPpY"),
    *_packed("git pack", b"PACK\0\0\0"),
    *_packed("git index", b"\xfftOc", b"DIRC"),
)

_IMAGES = (
    *_packed("png", b"\x89PNG\r\n\x1a\n"),
    *_packed("jpeg", b"\xff\xd8\xff"),
    *_packed("jpeg 2000", b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"),
    *_packed("jpeg xl", b"\0\0\0\x0cJXL ", b"\xff\x0a"),
    *_packed("gif", b"GIF87a", b"GIF89a"),
    *_packed("webp, wav or avi", b"RIFF"),
    *_packed("tiff or raw photo", b"II*\0", b"MM\0*", b"IIU\0", b"IIRO", b"FUJIFILMCCD-RAW"),
    *_packed("icon", b"\0\0\1\0", b"\0\0\2\0"),
    *_packed("photoshop", b"8BPS"),
)

_SOUND_AND_FILM = (
    *_packed("mp4, mov or heic", b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", at=4),
    *_packed("matroska", b"\x1a\x45\xdf\xa3"),
    *_packed("mpeg", b"\0\0\1\xba", b"\0\0\1\xb3", b"\0\0\0\1\x67", b"\0\0\0\1\x40"),
    *_packed("flash video", b"FLV\1", b"CWS", b"ZWS"),
    *_packed("asf", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),
    *_packed("ogg", b"OggS"),
    *_packed("flac", b"fLaC"),
    *_packed("mp3", b"ID3", b"\xff\xfb", b"\xff\xfa", b"\xff\xf3", b"\xff\xf2"),
    *_packed("aac", b"\xff\xf1", b"\xff\xf9"),
    *_packed("midi or aiff", b"MThd", b"FORM"),
)

_DOCUMENTS_AND_DATA = (
    *_packed("pdf", b"%PDF-"),
    *_packed("postscript", b"%!PS", b"\xc5\xd0\xd3\xc6"),
    *_packed("ole document", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
    *_packed("woff", b"wOF2", b"wOFF"),
    *_packed("font", b"OTTO", b"ttcf", b"\0\1\0\0\0"),
    *_packed("parquet", b"PAR1"),
    *_packed("orc", b"ORC"),
    *_packed("avro", b"Obj\1"),
    *_packed("arrow", b"ARROW1"),
    *_packed("hdf5", b"\x89HDF\r\n\x1a\n"),
    *_packed("numpy", b"\x93NUMPY"),
    *_packed("sqlite", b"SQLite format 3\0", b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83"),
    *_packed("lucene", b"\x3f\xd7\x6c\x17"),
    *_packed("systemd journal", b"LPKSHHRH"),
    *_packed("influxdb", b"\x16\xd1\x16\xd1"),
    *_packed("prometheus", b"\x85\xbd\x40\xdd", b"\xba\xaa\xd7\x00"),
    *_packed("mariadb backup", b"XBSTCK"),
    *_packed("postgresql dump", b"PGDMP"),
    *_packed("mysql log", b"\xfebin"),
    *_packed("duplicacy chunk", b"duplicacy\0"),
    *_packed("virtual disk", b"QFI\xfb", b"KDMV", b"vhdxfile", b"conectix", b"<<< Oracle VM"),
)

_PROGRAMS = (
    *_packed("elf", b"\x7fELF"),
    *_packed("windows program", b"MZ"),
    *_packed("mach-o", b"\xfe\xed\xfa", b"\xcf\xfa\xed\xfe", b"\xce\xfa\xed\xfe"),
    *_packed("java class", b"\xca\xfe\xba\xbe"),
    *_packed("webassembly", b"\0asm"),
    *_packed("script", b"#!"),
)

_SECRETS = (
    *_encrypted("luks", b"LUKS\xba\xbe", b"SKUL\xba\xbe"),
    *_encrypted("age", b"age-encryption.org/"),
    *_encrypted("openssl", b"Salted__"),
    *_encrypted("borg", b"BORG_SEG"),
    *_encrypted("git-crypt", b"\0GITCRYPT\0"),
    *_encrypted("keepass", b"\x03\xd9\xa2\x9a"),
    *_encrypted("aes crypt", b"AES\1", b"AES\2"),
    *_encrypted("ansible vault", b"$ANSIBLE_VAULT"),
    *_encrypted(
        "gpg",
        b"\x85\x01",
        b"\x85\x02",
        b"\x99\x01",
        b"\x99\x02",
        b"\x84\x5e",
        b"\x84\x8c",
        b"\x8c\x0d",
        b"\xc1\xc0\x4c",
        b"\xc3\x0d",
    ),
)

FORMATS = (*_ARCHIVES, *_IMAGES, *_SOUND_AND_FILM, *_DOCUMENTS_AND_DATA, *_PROGRAMS, *_SECRETS)


_PLAIN = (
    "txt text md rst log csv tsv json jsonl ndjson xml html htm xhtml css js mjs ts tsx jsx py rb pl php java c h cc "
    "cpp hpp cs go rs swift kt scala sh bash ps1 bat cmd sql yml yaml toml ini conf cfg properties env tex bib eml "
    "mbox vcf ics svg rtf po srt map tf ipynb r m mat pem pub"
)
_CODED = (
    "jpg jpeg jpe png gif webp tif tiff bmp heic heif ico psd cr2 nef arw dng raf orf "
    "pdf doc docx docm xls xlsx xlsm ppt pptx odt ods odp odg epub msg one vsd vsdx pst "
    "zip jar war ear apk gz tgz xz txz bz2 tbz2 zst lz4 7z rar tar deb rpm cab whl cpio "
    "mp3 mp4 m4a m4v mov mkv webm avi wav flac ogg oga ogv opus wma wmv aac mpg mpeg flv "
    "exe dll msi so o a ko pyc class wasm ttf otf woff woff2 "
    "parquet orc avro arrow npy npz h5 hdf5 "
    "vmdk vhdx qcow2 vdi mdf ldf ibd frm myd myi wt dbf dwg dxf indd ai eps blend ai fla accdb mdb"
)
PROMISING = frozenset(f"{_PLAIN} {_CODED}".split())
"""Endings of names whose files begin with something that can be recognised, never with random bytes."""

_WRAPPED = "gpg pgp asc age enc aes br brotli p7m p7e p7s kdbx tc hc vault crypt crypt12 crypt14 crypt15"
WRAPPING = frozenset(_WRAPPED.split())
"""Endings that tools add when they encrypt or compress without a header; what stands before them promises nothing."""

_DEEPEST = 6

_PLACES = (
    ("postgresql", r"(?:base/\d+|global)/\d+(?:_fsm|_vm|_init)?(?:\.\d+)?|pg_wal/[0-9A-F]{24}"),
    ("zlib", r"objects/[0-9a-f]{2}/[0-9a-f]{38}"),
)
_PROMISING_PLACES = tuple((kind, re.compile(rf".*/(?:{place})(?:\.[^/]*)?", re.DOTALL)) for kind, place in _PLACES)
"""Where a program keeps files without endings that begin in a known way: PostgreSQL its pages, git its objects."""


def promised_by(path: str) -> str | None:
    """The ending of a name that promises a recognisable beginning, looked for from the end: "docx" of "a.docx.locked".

    None when there is none, or when the last ending says that the file was wrapped. Lower case, without the dot;
    or what programs keep at this place.
    """
    endings = path.rpartition("/")[2].lower().split(".")[1:]
    if endings and endings[-1] in WRAPPING:
        return None
    for kind, place in _PROMISING_PLACES:
        if place.fullmatch(path):
            return kind
    return next((ending for ending in reversed(endings[-_DEEPEST:]) if ending in PROMISING), None)


_CONTROLS = bytes(set(range(0x20)) - set(b"\t\n\f\r\x1b"))


def is_text(head: bytes) -> bool:
    """Whether a file begins like text: UTF-8, and nearly no control characters."""
    try:
        # A head may end in the middle of a character, so its last three bytes are given up.
        head[:-3].decode()
    except UnicodeDecodeError:
        return False
    controls = len(head) - len(head.translate(None, _CONTROLS))
    return controls * 100 < len(head)


_BY_FIRST_BYTE = {first: tuple(f for f in FORMATS if not f.at and f.mark[0] == first) for first in range(256)}
_INSIDE = tuple(f for f in FORMATS if f.at)


def known_by(head: bytes) -> Format | None:
    """The format whose mark a file begins with. One random beginning in 2,000 looks like one by luck."""
    candidates = (*_BY_FIRST_BYTE[head[0]], *_INSIDE) if head else ()
    return next((known for known in candidates if head.startswith(known.mark, known.at)), None)
