from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.core.resources import Kind, ResourceKey
from tests.builders import ACCOUNT, a_key


@given(st.sampled_from(Kind), st.from_regex(r"[a-z][a-zA-Z0-9-]{0,62}", fullmatch=True))
def test_a_written_key_is_read_as_the_same_key(kind: Kind, id: str) -> None:
    key = a_key(kind, id)
    assert ResourceKey.parse(str(key), account=ACCOUNT) == key


@pytest.mark.parametrize(
    "written",
    [
        "",
        "volume",
        "volume/eu-west-1",
        "volume//vol-1",
        "volume/eu-west-1/",
        "table/eu-west-1/t",
        "Volume/eu-west-1/v",
        "/a/b",
    ],
)
def test_what_is_no_key_is_a_value_error(written: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        ResourceKey.parse(written, account=ACCOUNT)
