"""An oracle that never finds anything proves nothing: for each class of strings, a sink that is broken on purpose."""

from __future__ import annotations

import fnmatch
import io
import json
import unicodedata
from collections.abc import Callable
from datetime import timedelta
from urllib.parse import parse_qs

import pytest
from rich.console import Console

from tests.hostile import oracles
from tests.hostile.corpus import CLASSES


def log_by_hand(text: str) -> str:
    return oracles.in_log(
        f'{{"level":"INFO","message":"verb","decision":{{"name":"{text}"}}}}\n',
        text,
        said_in=("decision", "name"),
        level="INFO",
        message="verb",
    )


def log_uncut(text: str) -> str:
    line = json.dumps({"level": "INFO", "message": "verb", "name": text})
    return oracles.in_log(line, text, said_in=("name",), level="INFO", message="verb")


def event_by_hand(text: str) -> str:
    return oracles.in_json(f'{{"resource":"{text}"}}', text, harmless='{"resource":"X"}', placeholder="X")


def event_for_a_page(text: str) -> str:
    """Escaped for HTML where nothing reads HTML: the reader gets another name than the resource has."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace("'", "&#39;").replace('"', "&quot;")
    return oracles.in_json(json.dumps({"r": escaped}), text, harmless='{"r":"X"}', placeholder="X")


def event_for_a_table(text: str) -> str:
    """Stripped of what begins a formula: another name again."""
    return oracles.in_json(json.dumps({"r": text.lstrip("=+-@\t\r")}), text, harmless='{"r":"X"}', placeholder="X")


def name_by_hand(text: str) -> str:
    return oracles.in_name(f"`{text}`", text, "`")


def literal_by_hand(text: str) -> str:
    return oracles.in_literal("'" + text.replace("'", "''") + "'", text)


def policy_by_pattern(text: str) -> str:
    taken = any(fnmatch.fnmatch(name, text) for name in ("snap-1", "volume/eu-central-1/vol-1", "snapshot/x"))
    return oracles.as_value(text, text, allowed="[a-z][a-z0-9-]*") if taken else ""


def screen_with_markup(text: str) -> str:
    console = Console(file=io.StringIO(), force_terminal=True, width=10_000)
    try:
        console.print(text, highlight=False)
    except Exception as problem:  # noqa: BLE001 - whatever the markup does, the night's table is not shown
        return f"no screen: {type(problem).__name__}"
    assert isinstance(console.file, io.StringIO)
    return oracles.on_screen(console.file.getvalue(), text)


def screen_as_it_comes(text: str) -> str:
    return oracles.on_screen(text, text)


def key_by_splitting(text: str) -> str:
    return oracles.as_value(text, text, allowed=r"[A-Za-z0-9-]+") if "/" in text or "\\" in text else ""


def number_by_unicode(text: str) -> str:
    digits = unicodedata.normalize("NFKC", text).rstrip("h")
    if not digits.isdigit():
        return ""
    return oracles.as_value(timedelta(hours=int(digits) % 1000), text, allowed=r"[0-9]{1,5}h")


def mail_as_it_comes(text: str) -> str:
    return oracles.in_mail("Unusual backup", f"The backup of {text} is unusual.", harmless_body="The backup of X.")


def subject_as_it_comes(text: str) -> str:
    return oracles.in_mail(f"Unusual backup of {text}", "Look.", harmless_body="Look.")


def error_as_it_comes(text: str) -> str:
    return oracles.in_error(f"there is no policy named {text}", "Add it.")


def request_by_hand(text: str) -> str:
    def sent(value: str) -> dict[str, list[str]]:
        return parse_qs(f"Action=CreateTags&Tag.1.Value={value}&Version=1", keep_blank_values=True)

    return oracles.in_request(sent(text), text, harmless=sent("X"), placeholder="X")


def row_under_its_own_name(text: str) -> str:
    return oracles.in_rows({("pk", text): {"a": {"S": "1"}}}, text, harmless={("pk", "sk"): {"a": {"S": "1"}}},
                           placeholder="X")  # fmt: skip


def row_of_half_a_sentence(text: str) -> str:
    rows = {"k": {"reason": {"S": text[1:] or "?"}}}
    return oracles.in_rows(rows, text, harmless={"k": {"reason": {"S": "X"}}}, placeholder="X")


def evidence_as_it_comes(text: str) -> str:
    return oracles.as_evidence(text)


BROKEN: dict[str, tuple[Callable[[str], str], ...]] = {
    "log": (log_by_hand,),
    "json": (event_by_hand,),
    "html": (event_for_a_page,),
    "csv": (event_for_a_table,),
    "sql": (name_by_hand, literal_by_hand),
    "arn": (policy_by_pattern, request_by_hand),
    "template": (screen_with_markup,),
    "path": (key_by_splitting,),
    "look-alike": (number_by_unicode, evidence_as_it_comes),
    "bidirectional": (mail_as_it_comes,),
    "invisible": (screen_as_it_comes, error_as_it_comes),
    "control": (error_as_it_comes, mail_as_it_comes, screen_as_it_comes),
    "terminal": (screen_as_it_comes,),
    "line break": (subject_as_it_comes, error_as_it_comes),
    "nul": (mail_as_it_comes, row_of_half_a_sentence),
    "huge": (log_uncut, evidence_as_it_comes),
    "dynamodb": (row_under_its_own_name, row_of_half_a_sentence),
}


def test_every_class_has_a_broken_sink() -> None:
    assert set(BROKEN) == {one.name for one in CLASSES}


@pytest.mark.parametrize(
    ("name", "sink"),
    [(name, sink) for name, sinks in BROKEN.items() for sink in sinks],
    ids=lambda one: getattr(one, "__name__", one),
)
def test_the_oracle_sees_what_a_broken_sink_lets_through(name: str, sink: Callable[[str], str]) -> None:
    [of_it] = [one for one in CLASSES if one.name == name]
    assert [text for text in of_it.strings if sink(text)], f"no string of {name} harms this sink"


@pytest.mark.parametrize(
    "sink",
    [
        log_by_hand,
        event_by_hand,
        subject_as_it_comes,
        mail_as_it_comes,
        error_as_it_comes,
        screen_with_markup,
        name_by_hand,
        request_by_hand,
        evidence_as_it_comes,
        log_uncut,
        row_of_half_a_sentence,
        policy_by_pattern,
        key_by_splitting,
        number_by_unicode,
    ],
)
def test_no_oracle_finds_harm_in_a_harmless_string(sink: Callable[[str], str]) -> None:  # fmt: skip
    if sink is row_of_half_a_sentence:
        rows = {"k": {"reason": {"S": "orders"}}}
        assert oracles.in_rows(rows, "orders", harmless={"k": {"reason": {"S": "X"}}}, placeholder="X") == ""
    else:
        assert sink("orders-data") == ""
