"""The certificate authorities of Amazon RDS: whoever answers a rehearsal must show a certificate from one of them."""

from __future__ import annotations

import os
import ssl
from datetime import UTC, datetime
from pathlib import Path

AUTHORITIES = Path(__file__).parent / "authorities.pem"
"""Every Region's roots in one file; README.md beside it says where they come from."""

OVERRIDE = "HOLDFAST_CA_BUNDLE"
"""The environment variable that names another bundle: an AWS that is not Amazon's has authorities of its own, and a
Region may be younger than ours. Nothing that infra/ deploys sets it."""


def ca_bundle() -> Path:
    """The file with the authorities that a restored database must prove its name to."""
    return Path(os.environ.get(OVERRIDE) or AUTHORITIES)


def good_until(bundle: Path = AUTHORITIES) -> datetime:
    """When the first of the authorities ends.

    Errors: OSError when the bundle is missing, ssl.SSLError when it holds no certificate.
    """
    context = ssl.create_default_context(cafile=bundle)
    ends = [ssl.cert_time_to_seconds(str(one["notAfter"])) for one in context.get_ca_certs()]
    return datetime.fromtimestamp(min(ends), UTC)
