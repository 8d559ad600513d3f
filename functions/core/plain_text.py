"""Text from outside, made harmless: on a screen, in a mail and in a log it shows what it is and does nothing else."""

from __future__ import annotations

LONGEST_LINE = 400


def printable(text: str) -> str:
    """The text with everything escaped that a terminal would obey or a reader could not see: control characters,
    changes of direction, half characters. Line feeds stay."""
    if text.isprintable():
        return text
    return "".join(letter if letter == "\n" or letter.isprintable() else _escaped(letter) for letter in text)


def one_line(text: str, *, longest: int = LONGEST_LINE) -> str:
    """The text as `printable`, without line feeds, and cut after `longest` characters."""
    line = "".join(letter if letter.isprintable() else _escaped(letter) for letter in text[: longest + 1])
    return line if len(line) <= longest else f"{line[: longest - 3]}..."


def _escaped(letter: str) -> str:
    return ascii(letter)[1:-1]
