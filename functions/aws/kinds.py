"""Which adapter speaks for which kind: a new kind is one file in this room and one line here."""

from __future__ import annotations

from collections.abc import Mapping

from functions.aws import ebs_volumes, ec2_instances, rds_clusters, rds_databases
from functions.aws.clients import Clients
from functions.aws.ebs_volumes import VolumeSnapshots
from functions.aws.ec2_instances import InstanceSnapshots
from functions.aws.permissions import KEY_ALIAS, Permission
from functions.aws.rds_clusters import ClusterSnapshots
from functions.aws.rds_databases import DatabaseSnapshots
from functions.core.resources import Kind
from functions.core.snapshots import Snapshots

Adapter = type[VolumeSnapshots] | type[InstanceSnapshots] | type[DatabaseSnapshots] | type[ClusterSnapshots]

KINDS: Mapping[Kind, Adapter] = {
    Kind.VOLUME: VolumeSnapshots,
    Kind.INSTANCE: InstanceSnapshots,
    Kind.DATABASE: DatabaseSnapshots,
    Kind.CLUSTER: ClusterSnapshots,
}

PERMISSIONS: Mapping[Kind, Mapping[str, tuple[Permission, ...]]] = {
    Kind.VOLUME: ebs_volumes.PERMISSIONS,
    Kind.INSTANCE: ec2_instances.PERMISSIONS,
    Kind.DATABASE: rds_databases.PERMISSIONS,
    Kind.CLUSTER: rds_clusters.PERMISSIONS,
}
"""By kind, then by the port's verb."""


def snapshots(kind: Kind, region: str, *, account: str, clients: Clients, key: str = KEY_ALIAS) -> Snapshots:
    """The snapshots of one kind in one Region; `key` encrypts the copies that arrive there."""
    return KINDS[kind](region=region, account=account, clients=clients, key=key)
