"""What recoveries of databases and of clusters ask RDS alike: to describe, to make, to refuse, to remove."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from functions.aws.faults import code_of, translated
from functions.aws.rds_described import instance, tags_of
from functions.aws.recoveries.settings_rds import Wanted, is_default_group
from functions.core.errors import AwsBusy, BadMessage, Unsafe
from functions.core.recoveries import RECOVERY_TAG, RecoveryOrder, Source
from functions.core.restores import Restored, RestoreState

if TYPE_CHECKING:
    from mypy_boto3_rds import RDSClient

    from functions.core.resources import Kind

MOST_TAGS = 50
"""RDS takes no more on one resource."""
KEPT_FOR_US = 8
"""Tags that must still fit beside the original's."""

_PLAIN = frozenset({"available", "creating", "backing-up", "modifying", "rebooting"})
"""Words that say nothing a person must know."""

_CHOICES: Mapping[str, str] = {
    "AuthorizationNotFound": "security_groups",
    "CertificateNotFound": "ca_certificate",
    "DBClusterParameterGroupNotFound": "cluster_parameter_group",
    "DBParameterGroupNotFound": "parameter_group",
    "DBSecurityGroupNotFound": "security_groups",
    "DBSubnetGroupDoesNotCoverEnoughAZs": "subnet_group",
    "DBSubnetGroupNotFoundFault": "subnet_group",
    "InvalidSubnet": "subnet_group",
    "InvalidVPCNetworkStateFault": "subnet_group",
    "NetworkTypeNotSupported": "network_type",
    "OptionGroupNotFoundFault": "option_group",
    "ProvisionedIopsNotAvailableInAZFault": "storage_type",
    "StorageTypeNotSupported": "storage_type",
    "InvalidParameterCombination": "",
    "InvalidParameterValue": "",
    "DomainNotFoundFault": "",
}
"""Codes that say a setting does not fit here, and which one; empty where only RDS's own words tell."""

_UNRESTORABLE = frozenset({"InvalidRestoreFault", "PointInTimeRestoreNotEnabled", "DBInstanceAutomatedBackupNotFound"})


def group(rds: RDSClient, setting: str, name: str) -> Mapping[str, Any] | None:
    """The parameter or option group of this name in this Region; None where there is none.

    `setting` is parameter_group, cluster_parameter_group or option_group.
    """
    ask, parameter, listed, absent = {
        "parameter_group": (
            rds.describe_db_parameter_groups,
            "DBParameterGroupName",
            "DBParameterGroups",
            ("DBParameterGroupNotFound",),
        ),
        "cluster_parameter_group": (
            rds.describe_db_cluster_parameter_groups,
            "DBClusterParameterGroupName",
            "DBClusterParameterGroups",
            ("DBParameterGroupNotFound", "DBClusterParameterGroupNotFound"),
        ),
        "option_group": (
            rds.describe_option_groups,
            "OptionGroupName",
            "OptionGroupsList",
            ("OptionGroupNotFoundFault",),
        ),
    }[setting]
    with translated(f"rds:Describe{listed.removesuffix('List')}", resource=name):
        try:
            answer: Any = ask(**{parameter: name})
        except ClientError as refused:
            if code_of(refused) not in absent:
                raise
            return None
    return next(iter(answer[listed]), None)


def absent_groups(rds: RDSClient, wanted: Wanted, settings: tuple[str, ...]) -> frozenset[str]:
    """Which of these settings name a group that this Region does not have: what is restored gets RDS's own group."""
    return frozenset(
        setting
        for setting in settings
        if not is_default_group(wanted.get(setting)) and group(rds, setting, str(wanted[setting])) is None
    )


@contextmanager
def explained(operation: str, *, resource: str) -> Iterator[None]:
    """What RDS says against a setting of the restored thing comes out as BadMessage, with the setting's name; all
    else as `translated` has it."""
    with translated(operation, resource=resource):
        try:
            yield
        except ClientError as refused:
            code, message = code_of(refused), refused.response.get("Error", {}).get("Message", "")
            if code in _UNRESTORABLE:
                raise BadMessage(
                    f"{operation} of {resource}: {code}: {message}",
                    hint="this instant cannot be restored any more, or not yet; recover from a recovery point instead",
                ) from refused
            if code not in _CHOICES:
                raise
            setting = _CHOICES[code] or "the setting that RDS names"
            raise BadMessage(
                f"{operation} of {resource}: {code}: {message}",
                hint=f"recover again with another value for {setting}",
            ) from refused


def first_tags(order: RecoveryOrder) -> dict[str, str]:
    """The tags of the creating call: the recovery's own, and as many of the original's as fit beside ours."""
    originals: Mapping[str, str] = order.wanted.get("tags") or {}  # type: ignore[assignment]  # a mapping, as saved
    room = MOST_TAGS - KEPT_FOR_US
    return {RECOVERY_TAG: order.recovery_id, **dict(list(originals.items())[:room])}


def sources(order: RecoveryOrder) -> tuple[str, ...]:
    """What each name is made of: the snapshots, or the database itself when its log is what restores it."""
    return order.source_ids[:1] if order.source is Source.POINT_IN_TIME else order.snapshot_ids


def creating(order: RecoveryOrder, identifier: str, source: str, kind: Kind) -> Restored:
    """What was just begun."""
    snapshot_id = "" if order.source is Source.POINT_IN_TIME else source
    return Restored(id=identifier, snapshot_id=snapshot_id, kind=kind, region=order.region, state=RestoreState.CREATING)


def adopt(identifier: str, described: Mapping[str, Any] | None, recovery_id: str) -> None:
    """Nothing happens when this recovery made the thing before.

    Errors: Unsafe when somebody else did; AwsBusy when it was there a moment ago and is not any more.
    """
    if described is None:
        raise AwsBusy(
            f"the name {identifier} is still being given up by RDS",
            hint="nothing to do; the recovery asks again",
        )
    refuse_unless_of(identifier, described, recovery_id)


def refuse_unless_of(identifier: str, described: Mapping[str, Any], recovery_id: str) -> None:
    """Errors: Unsafe when the thing does not carry this recovery's tag."""
    if tags_of(described).get(RECOVERY_TAG) != recovery_id:
        raise Unsafe(
            f"{identifier} was not made by the recovery {recovery_id}: it does not carry its tag {RECOVERY_TAG}",
            hint="nothing that is in use is touched; recover under another name, or look who made it",
        )


def told(described: Mapping[str, Any], word: str) -> str:
    """What a person should know of the status: an unusual word, or how much of the storage has arrived."""
    said = "" if word in _PLAIN else f"RDS says {word}"
    operation = described.get("StorageOperationStatus")
    if not operation:
        return said
    percent = described.get("StorageOperationPercentProgress")
    done = f" ({percent} % done)" if percent is not None else ""
    slow = f"its storage is {str(operation).lower()}{done}: the first reads are slow until then"
    return f"{said}; {slow}" if said else slow


def instance_removed(rds: RDSClient, identifier: str, recovery_id: str, **options: Any) -> RestoreState:
    """GONE when there is no such instance, CREATING while RDS removes it or cannot begin to yet.

    Errors: Unsafe when it is not this recovery's, is protected against deletion or feeds a replica.
    """
    described = instance(rds, identifier)
    if described is None:
        return RestoreState.GONE
    refuse_unless_of(identifier, described, recovery_id)
    refuse_if_used(identifier, described)
    if described["DBInstanceStatus"] != "deleting":
        with translated("rds:DeleteDBInstance", resource=identifier):
            try:
                rds.delete_db_instance(DBInstanceIdentifier=identifier, SkipFinalSnapshot=True, **options)
            except ClientError as refused:
                if code_of(refused) == "DBInstanceNotFound":
                    return RestoreState.GONE
                if code_of(refused) != "InvalidDBInstanceState":
                    raise
    return RestoreState.CREATING


def refuse_if_used(identifier: str, described: Mapping[str, Any]) -> None:
    """Errors: Unsafe when somebody protected the thing against deletion, or replicates from it."""
    if described.get("DeletionProtection"):
        raise Unsafe(
            f"{identifier} is protected against deletion",
            hint="somebody means to keep it; switch the protection off if it should go",
        )
    replicas = described.get("ReadReplicaDBInstanceIdentifiers") or described.get("ReadReplicaIdentifiers")
    if replicas:
        raise Unsafe(
            f"{identifier} feeds the replicas {', '.join(replicas)}",
            hint="somebody uses it; delete the replicas first if it should go",
        )
