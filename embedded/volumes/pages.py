"""Filters and pages of the Describe answers, the way EC2 means them."""

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from moto.ec2.exceptions import EC2ClientError, FilterNotImplementedError
from moto.ec2.utils import format_timestamp

LARGEST_PAGE = 1000
SMALLEST_PAGE = 5

Key = Callable[[Any], tuple[str, ...]]


def matches(resource: Any, filters: Mapping[str, Sequence[str]]) -> bool:
    """Whether the resource has, for every filter, one of the wanted values; `*` and `?` are wildcards."""
    return all(_has_one_of(_values(resource, name), wanted) for name, wanted in filters.items())


def page(resources: Sequence[Any], key: Key, token: str | None, size: int | None) -> tuple[list[Any], str | None]:
    """One page and the token of the next. A page with a successor is always shorter than asked for.

    EC2 reserves the right to return less than MaxResults, so a reader that takes a short page for the last one has to
    fail here. The token names the last resource shown, so deletions between two pages lose nothing.
    """
    ordered = sorted(resources, key=key)
    if token:
        after = _read_token(token)
        ordered = [resource for resource in ordered if key(resource) > after]
    if size is None or len(ordered) <= _shown(size):
        return ordered, None
    shown = ordered[: _shown(size)]
    return shown, _write_token(key(shown[-1]))


def check_page_size(size: int | None, ids: Sequence[str], ids_parameter: str) -> None:
    """The page size is one EC2 takes; its refusal, if not."""
    if size is None:
        return
    if ids:
        raise EC2ClientError(
            "InvalidParameterCombination",
            f"The parameter {ids_parameter} cannot be used with the parameter maxResults",
        )
    if size < SMALLEST_PAGE:
        raise EC2ClientError(
            "InvalidParameterValue",
            f"Value ( {size} ) for parameter maxResults is invalid. Expecting a value greater than {SMALLEST_PAGE}.",
        )


def _shown(size: int) -> int:
    size = min(size, LARGEST_PAGE)
    return size - max(1, size // 8)


def _values(resource: Any, name: str) -> list[str]:
    if name.startswith("tag:"):
        return [tag["value"] for tag in resource.get_tags() if tag["key"] == name.removeprefix("tag:")]
    try:
        value = resource.get_filter_value(name)
    except FilterNotImplementedError as error:
        raise EC2ClientError("InvalidParameterValue", f"The filter '{name}' is invalid") from error
    if value is None:
        return []
    if isinstance(value, datetime):
        return [format_timestamp(value)]
    if isinstance(value, bool):
        return [str(value).lower()]
    return [str(one) for one in value] if isinstance(value, list | set | tuple) else [str(value)]


def _has_one_of(values: Sequence[str], wanted: Sequence[str]) -> bool:
    patterns = [_pattern(one) for one in wanted]
    return any(pattern.fullmatch(value) for pattern in patterns for value in values)


def _pattern(wanted: str) -> re.Pattern[str]:
    wildcards = {"*": ".*", "?": "."}
    # A backslash takes the meaning from a wildcard.
    parts = re.findall(r"\\.|.", wanted, re.DOTALL)
    return re.compile("".join(wildcards.get(part) or re.escape(part[-1]) for part in parts), re.DOTALL)


def _write_token(last: tuple[str, ...]) -> str:
    return base64.urlsafe_b64encode(json.dumps(last).encode()).decode()


def _read_token(token: str) -> tuple[str, ...]:
    try:
        return tuple(json.loads(base64.urlsafe_b64decode(token)))
    except (binascii.Error, ValueError, TypeError) as error:
        raise EC2ClientError(
            "InvalidParameterValue", f"Unable to parse pagination token {token!r}; take it from the last answer."
        ) from error
