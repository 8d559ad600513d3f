"""What is wrong with what left a sink after a hostile string went in; an empty answer means no harm was done.

Every oracle knows what the sink would have said of a harmless string, and accepts the hostile one only whole, escaped,
cut off where the sink says so, or not at all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

LONGEST_LOG_LINE = 200_000
"""CloudWatch takes 256 KiB in one event; Lambda cuts what is longer in two, and half a line is no JSON."""

LONGEST_SHOWN = 20_000
_STYLE = re.compile(r"\x1b\[[0-9;]*m")


def in_log(written: str, text: str, *, said_in: Sequence[str], level: str, message: str) -> str:
    """One line of JSON in visible ASCII, of this level and message, that says the text where it belongs."""
    lines = [line for line in re.split(r"[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]", written) if line]
    if len(lines) != 1:
        return f"{len(lines)} lines instead of one"
    [line] = lines
    if not (line.isascii() and line.isprintable()):
        return "characters that are not visible ASCII"
    if len(line) > LONGEST_LOG_LINE:
        return f"{len(line)} characters"
    try:
        read: Any = json.loads(line)
    except (ValueError, RecursionError) as problem:
        return f"no JSON: {problem}"
    if (read.get("level"), read.get("message")) != (level, message):
        return f"another level or message: {read.get('level')} {read.get('message')}"
    value: Any = read
    for step in said_in:
        value = value.get(step, "") if isinstance(value, Mapping) else ""
    return "" if _says(value, text) else f"it says {str(value)[:80]!r}"


def in_json(written: str, text: str, *, harmless: str, placeholder: str) -> str:
    """The same document as with a harmless string in the place of the text, in ASCII."""
    if not written.isascii():
        return "characters beyond ASCII, which a reader may see otherwise"
    try:
        read = json.loads(written)
    except (ValueError, RecursionError) as problem:
        return f"no JSON: {problem}"
    return "" if read == _with(json.loads(harmless), placeholder, text) else "another document"


def in_mail(subject: str, body: str, *, harmless_body: str) -> str:
    """One subject line of visible ASCII, and a body of visible characters with no line more than a harmless one."""
    if not (subject.isascii() and subject.isprintable() and 1 <= len(subject) <= 100):
        return f"the subject {subject[:120]!r}"
    if hidden := _hidden(body):
        return f"the body holds {hidden}"
    if body.count("\n") > harmless_body.count("\n") + body.count("[cut here"):
        return "the body has lines that nobody wrote"
    return "" if len(body.encode()) <= 256 * 1024 else "the body is longer than SNS takes"


def on_screen(written: str, text: str) -> str:
    """Nothing but visible characters, line feeds and the screen's own colours, and the text can be read there."""
    plain = _STYLE.sub("", written)
    if hidden := _hidden(plain):
        return f"the terminal gets {hidden}"
    shown = "".join(plain.split())
    wanted = ["".join(_escaped(line).split()) for line in text.split("\n")]
    return "" if all(line in shown for line in wanted) else "the text is not shown as it is"


def in_error(what: str, hint: str, *, most_lines: int = 1) -> str:
    """Visible characters in as many lines as it has things to say, not too many, and a next step."""
    if hidden := _hidden(what + hint):
        return f"the error holds {hidden}"
    if len(what) > LONGEST_SHOWN:
        return f"the error has {len(what)} characters"
    if what.count("\n") >= most_lines:
        return f"the error has {what.count(chr(10)) + 1} lines"
    return "" if hint else "no next step"


def in_request(sent: Mapping[str, Any], text: str, *, harmless: Mapping[str, Any], placeholder: str) -> str:
    """The same parameters as with a harmless string in the place of the text."""
    if set(sent) != set(harmless):
        return f"other parameters: {sorted(set(sent) ^ set(harmless))[:3]}"
    return "" if sent == _with(harmless, placeholder, text) else "other values"


def in_rows(rows: Mapping[Any, Any], text: str, *, harmless: Mapping[Any, Any], placeholder: str) -> str:
    """The same items under the same keys, each attribute as with a harmless string, or with the text cut off."""
    if set(rows) != set(harmless):
        return f"other items: {sorted(map(str, set(rows) ^ set(harmless)))[:2]}"
    for key, item in rows.items():
        if set(item) != set(harmless[key]):
            return f"other attributes: {sorted(set(item) ^ set(harmless[key]))}"
        for name, value in item.items():
            if not _is_same(value, harmless[key][name], text, placeholder):
                return f"another {name}: {str(value)[:80]!r}"
    return ""


def in_name(written: str, text: str, mark: str) -> str:
    """One quoted identifier of SQL, which is the text."""
    inner = written[1:-1]
    if not (written.startswith(mark) and written.endswith(mark) and len(written) >= 2):
        return "it is not quoted"
    if inner.replace(mark * 2, "").count(mark):
        return "the quotes end inside of it"
    return "" if inner.replace(mark * 2, mark) == text else "it names something else"


def in_literal(written: str, text: str) -> str:
    """One literal of MySQL, as numbers, which is the text."""
    found = re.fullmatch(r"_utf8mb4 X'((?:[0-9a-f]{2})*)'", written)
    if found is None:
        return "it is not one literal"
    return "" if bytes.fromhex(found[1]).decode() == text else "it says something else"


def as_evidence(written: str, *, most: int = 1_000) -> str:
    """Visible ASCII on one line, and short: what a restored server says goes into states, tables and mails."""
    if not (written.isascii() and written.isprintable()):
        return "characters that are not visible ASCII"
    return "" if len(written) <= most else f"{len(written)} characters"


def as_value(value: object, text: str, *, allowed: str) -> str:
    """Taken only when it is of the form that is allowed, and then as it is."""
    if not re.fullmatch(allowed, text, re.ASCII):
        return f"{text[:80]!r} was taken"
    return "" if str(value) == text else f"it was taken as {str(value)[:80]!r}"


def _says(value: object, text: str) -> bool:
    if not isinstance(value, str):
        return False
    whole = (text, _escaped(text))
    cut = re.match(r"(.*)\.\.\. \(\d+ characters\)", value, re.DOTALL)
    return value in whole or (cut is not None and any(one.startswith(cut[1]) for one in whole))


def _hidden(text: str) -> str:
    found = sorted({letter for letter in text if letter != "\n" and not letter.isprintable()})
    return ", ".join(f"U+{ord(letter):04X}" for letter in found[:5])


def _escaped(text: str) -> str:
    return "".join(letter if letter == "\n" or letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def _with(document: Any, placeholder: str, text: str) -> Any:
    if isinstance(document, str):
        return document.replace(placeholder, text)
    if isinstance(document, Mapping):
        return {name.replace(placeholder, text): _with(value, placeholder, text) for name, value in document.items()}
    if isinstance(document, list):
        return [_with(value, placeholder, text) for value in document]
    return document


def _is_same(value: Any, harmless: Any, text: str, placeholder: str) -> bool:
    """As with the harmless string, or cut; JSON inside of an attribute is compared as what it says."""
    if value == _with(harmless, placeholder, text):
        return True
    if list(value) != list(harmless):
        return False
    [(kind, said)], [(_, expected)] = value.items(), harmless.items()
    if kind == "L":
        return len(said) == len(expected) and all(
            _is_same(one, other, text, placeholder) for one, other in zip(said, expected, strict=True)
        )
    if kind != "S":
        return False
    try:
        return json.loads(said) == _with(json.loads(expected), placeholder, text)
    except (ValueError, RecursionError):
        whole = expected.replace(placeholder, text)
        clean = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in whole)
        return any(len(said) >= 200 and one.startswith(said.removesuffix("...")) for one in (whole, clean)) or (
            said == clean
        )
