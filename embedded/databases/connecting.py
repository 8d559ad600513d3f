"""How a test or the try-out talks to an embedded database."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pg8000.native import Connection


@contextlib.contextmanager
def connection(
    endpoint: Mapping[str, Any], user: str, password: str, *, database: str = "postgres", authority: Path | None = None
) -> Iterator[Connection]:
    """A connection to the `Endpoint` of a DescribeDBInstances answer, closed afterwards.

    With `authority`, the path of the embedded RDS's root certificate, the server must prove who it is.
    """
    context = ssl.create_default_context(cafile=authority)
    if authority is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    connected = Connection(
        user,
        host=endpoint["Address"],
        port=endpoint["Port"],
        database=database,
        password=password,
        ssl_context=context,
        timeout=10,
    )
    try:
        yield connected
    finally:
        connected.close()
