"""The certificate authorities of RDS that ride with the code, and how they came to be there."""

from __future__ import annotations

import hashlib
import io
import re
import ssl
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509

from functions.aws.databases import certificates as rds_certificates
from functions.aws.databases.certificates import AUTHORITIES, ca_bundle, good_until
from infra import rds_certificates as taken
from infra.errors import CannotSynthesise

LOOKED_AT = datetime(2026, 11, 21, tzinfo=UTC)
CERTIFICATES = x509.load_pem_x509_certificates(AUTHORITIES.read_bytes())
README = (AUTHORITIES.parent / "README.md").read_text()


def regions() -> set[str]:
    return {taken.name_of(one).split()[2] for one in CERTIFICATES}


def test_every_certificate_is_an_authority_of_amazon_rds_that_signs_itself() -> None:
    assert len(CERTIFICATES) == 81
    for one in CERTIFICATES:
        assert one.subject == one.issuer
        assert one.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        assert re.fullmatch(r"Amazon RDS [a-z]{2}(-[a-z]+)+-\d Root CA (RSA2048|RSA4096|ECC384) G1", taken.name_of(one))
        one.verify_directly_issued_by(one)


def test_every_region_has_the_authorities_of_all_three_kinds() -> None:
    kinds = {(name.split()[2], name.split()[5]) for name in map(taken.name_of, CERTIFICATES)}
    assert kinds == {(region, kind) for region in regions() for kind in ("RSA2048", "RSA4096", "ECC384")}


def test_none_is_over_and_the_first_ends_in_2061() -> None:
    assert all(one.not_valid_before_utc < LOOKED_AT < one.not_valid_after_utc for one in CERTIFICATES)
    assert good_until() == min(one.not_valid_after_utc for one in CERTIFICATES)
    assert good_until().year == 2061


def test_openssl_takes_every_one_of_them() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(AUTHORITIES)
    assert context.cert_store_stats()["x509_ca"] == len(CERTIFICATES)


def test_the_readme_says_what_lies_beside_it() -> None:
    assert hashlib.sha256(AUTHORITIES.read_bytes()).hexdigest() in README
    assert taken.SHA256 in README
    assert set(re.findall(r"`([a-z]{2}(?:-[a-z]+)+-\d)`", README)) >= regions()


def test_the_bundle_is_that_of_rds_unless_another_aws_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(rds_certificates.OVERRIDE, raising=False)
    assert ca_bundle() == AUTHORITIES
    monkeypatch.setenv(rds_certificates.OVERRIDE, "/somewhere/else.pem")
    assert ca_bundle() == Path("/somewhere/else.pem")


def package(folder: Path, certificates: list[x509.Certificate]) -> Path:
    """An archive as npm packs it, with these certificates in it."""
    texts = (one.public_bytes(taken.Encoding.PEM).decode().splitlines() for one in certificates)
    literals = (" +\n        ".join(f"'{line}\\n'" for line in lines) for lines in texts)
    source = ("exports.defaults = [\n    " + ",\n    ".join(literals) + "];\n").encode()
    archive = folder / "package.tgz"
    with tarfile.open(archive, "w:gz") as members:
        member = tarfile.TarInfo(taken.MEMBER)
        member.size = len(source)
        members.addfile(member, io.BytesIO(source))
    return archive


def test_what_is_taken_out_of_the_package_is_what_lies_here(tmp_path: Path) -> None:
    archive = package(tmp_path, CERTIFICATES[::-1])
    found = taken.authorities(archive, hashlib.sha256(archive.read_bytes()).hexdigest())
    assert taken.bundle(found) == AUTHORITIES.read_text()


def test_a_package_that_nobody_looked_at_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotSynthesise, match="SHA-256"):
        taken.authorities(package(tmp_path, CERTIFICATES[:1]))
