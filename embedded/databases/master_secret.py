"""The master user's password when RDS manages it: a secret in the Region's Secrets Manager."""

from __future__ import annotations

import json
import secrets
import string
import uuid

from ministack.core.responses import request_scope
from ministack.services import secretsmanager

from embedded import ACCOUNT

CREATING, ACTIVE, ROTATING = "creating", "active", "rotating"

_ALPHABET = string.ascii_letters + string.digits + "!#$%&*+-.:;<=>?_|~"
_LENGTH = 28


class MasterSecret:
    """A managed secret, with the attribute names of RDS's MasterUserSecret."""

    def __init__(self, region: str, username: str, resource_arn: str, kms_key_id: str | None) -> None:
        self._region = region
        self._username = username
        self.kms_key_id = kms_key_id
        self.secret_status = CREATING
        self._password = _new_password()
        kind = "cluster" if ":cluster:" in resource_arn else "db"
        with request_scope(ACCOUNT, region):
            arn = secretsmanager.create_secret_in_process(
                f"rds!{kind}-{uuid.uuid4()}",
                self._content(),
                f"Secret associated with primary RDS DB resource: {resource_arn}",
            )
        if arn is None:
            raise RuntimeError(f"Secrets Manager in {region} already has the secret that was just named at random")
        self.secret_arn: str = arn
        what = "Cluster" if kind == "cluster" else "Instance"
        with request_scope(ACCOUNT, region):
            _tag(arn, {"aws:secretsmanager:owningService": "rds", f"aws:rds:primaryDB{what}Arn": resource_arn})

    @property
    def password(self) -> str:
        return self._password

    def activate(self) -> None:
        """The database accepts the password in the secret."""
        self.secret_status = ACTIVE

    def rotate(self) -> None:
        """The secret holds a new password, which the database does not know yet."""
        self.secret_status = ROTATING
        self._password = _new_password()
        with request_scope(ACCOUNT, self._region):
            if not secretsmanager.put_secret_value_in_process(self.secret_arn, self._content()):
                raise RuntimeError(f"{self.secret_arn} is gone; RDS cannot rotate a secret somebody deleted")

    def delete(self) -> None:
        """The secret is gone, without a recovery window, as RDS deletes it."""
        with request_scope(ACCOUNT, self._region):
            secretsmanager.delete_secret_in_process(self.secret_arn)

    def _content(self) -> str:
        return json.dumps({"username": self._username, "password": self._password})


def _new_password() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))


def _tag(arn: str, tags: dict[str, str]) -> None:
    """The secret carries what RDS writes on its secrets; roles are told apart by it."""
    _, secret = secretsmanager._resolve(arn, use_arn_scope=True)
    if secret is None:
        raise RuntimeError(f"ministack 1.5.33 does not find the secret it just made, {arn}")
    secret["Tags"] = [{"Key": key, "Value": value} for key, value in tags.items()]
