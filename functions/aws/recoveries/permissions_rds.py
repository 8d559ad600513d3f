"""What recoveries of databases and clusters need of IAM, verb by verb.

Whatever is created has to say which recovery it belongs to, and whatever is changed or deleted has to have said it.
"""

from __future__ import annotations

from collections.abc import Mapping

from functions.aws.permissions import Permission, grant_through
from functions.core.recoveries import RECOVERY_TAG

_OF_A_RECOVERY = {"Null": {f"aws:ResourceTag/{RECOVERY_TAG}": "false"}}
_FOR_A_RECOVERY = {"Null": {f"aws:RequestTag/{RECOVERY_TAG}": "false"}}
_INSTANCES = ("arn:{partition}:rds:{region}:{account}:db:*",)
_CLUSTERS = ("arn:{partition}:rds:{region}:{account}:cluster:*",)
_DATABASES = _INSTANCES + _CLUSTERS
_PARAMETER_AND_OPTION_GROUPS = (
    "arn:{partition}:rds:{region}:{account}:pg:*",
    "arn:{partition}:rds:{region}:{account}:cluster-pg:*",
    "arn:{partition}:rds:{region}:{account}:og:*",
)
_GROUPS = ("arn:{partition}:rds:{region}:{account}:subgrp:*", *_PARAMETER_AND_OPTION_GROUPS)
_GROUPS_OF_A_MEMBER = tuple(group for group in _GROUPS if ":cluster-pg:" not in group)
_SNAPSHOTS = (
    "arn:{partition}:rds:{region}:{account}:snapshot:holdfast-*",
    "arn:{partition}:rds:{region}:{account}:cluster-snapshot:holdfast-*",
)
_KEYS = ("arn:{partition}:kms:{region}:{account}:key/*",)
_ROLES = ("arn:{partition}:iam::{account}:role/*",)
_RESTORES = (
    "rds:RestoreDBInstanceFromDBSnapshot",
    "rds:RestoreDBInstanceToPointInTime",
    "rds:RestoreDBClusterFromSnapshot",
    "rds:RestoreDBClusterToPointInTime",
)

_LOOK = Permission(
    actions=("rds:DescribeDBInstances", "rds:DescribeDBClusters"),
    resources=_DATABASES,
    why="looks at what is recovered, whose names a person may choose, and at what has the wanted name",
)
_LOOK_AT_GROUPS = Permission(
    actions=("rds:DescribeDBParameterGroups", "rds:DescribeDBClusterParameterGroups", "rds:DescribeOptionGroups"),
    resources=_PARAMETER_AND_OPTION_GROUPS,
    why="a group that this Region does not have is left out, and told",
)
_LOOK_AT_SNAPSHOTS = Permission(
    actions=("rds:DescribeDBClusterSnapshots",),
    resources=("arn:{partition}:rds:{region}:{account}:cluster-snapshot:holdfast-*",),
    why="a cluster is restored with the engine and version that its snapshot names",
)
_TAGGED_AT_CREATION = Permission(
    actions=("rds:AddTagsToResource",),
    resources=_DATABASES,
    conditions={"Null": {**_FOR_A_RECOVERY["Null"], "aws:ResourceTag/holdfast:policy": "true"}},
    why="not called: tags ride in the creating call. RDS cannot tell that from tagging what exists, whose names people "
    "chose; what a policy protects by its tag is left out at least",
)
_MEMBERS = (
    Permission(
        actions=("rds:CreateDBInstance",),
        resources=_INSTANCES,
        conditions=_FOR_A_RECOVERY,
        why="a restored cluster gets its members back; each says which recovery it belongs to",
    ),
    Permission(
        actions=("rds:CreateDBInstance",),
        resources=_CLUSTERS,
        conditions=_OF_A_RECOVERY,
        why="members are added to restored clusters and to no others",
    ),
    Permission(
        actions=("rds:CreateDBInstance",),
        resources=_GROUPS_OF_A_MEMBER,
        why="the groups a new member is created with are resources of the same call",
    ),
    _TAGGED_AT_CREATION,
)
_KEYS_BEHIND = (
    grant_through("rds", why="not called: RDS makes a grant on the snapshot's key as the caller, for itself only"),
    Permission(
        actions=("kms:Decrypt", "kms:DescribeKey"),
        resources=_KEYS,
        conditions={"StringLike": {"kms:ViaService": "rds.{region}.amazonaws.com"}},
        why="not called: RDS opens the snapshot's key as the caller",
    ),
)

PERMISSIONS: Mapping[str, tuple[Permission, ...]] = {
    "plan": (
        _LOOK,
        _LOOK_AT_GROUPS,
        Permission(
            actions=("rds:DescribeDBSnapshots", "rds:DescribeDBClusterSnapshots"),
            resources=_SNAPSHOTS,
            why="whether what is to be restored exists and is available",
        ),
        Permission(
            actions=("rds:DescribeDBSubnetGroups",),
            resources=("arn:{partition}:rds:{region}:{account}:subgrp:*",),
            why="whether the network that is wanted exists here",
        ),
        Permission(
            actions=("rds:DescribeOrderableDBInstanceOptions", "rds:DescribeAccountAttributes"),
            resources=("*",),
            why="what can be ordered and the quotas of the account are no resources",
        ),
        Permission(
            actions=("ec2:DescribeSubnets", "ec2:DescribeSecurityGroups"),
            resources=("*",),
            why="Describe calls of EC2 have no resource type",
        ),
        Permission(
            actions=("kms:DescribeKey",),
            resources=_KEYS,
            why="whether the snapshot's key is enabled; looking opens nothing",
        ),
    ),
    "begin": (
        _LOOK,
        _LOOK_AT_GROUPS,
        _LOOK_AT_SNAPSHOTS,
        Permission(
            actions=_RESTORES,
            resources=_DATABASES,
            conditions=_FOR_A_RECOVERY,
            why="the new database says which recovery it belongs to; a database's own log is a source by its name",
        ),
        Permission(
            actions=_RESTORES,
            resources=_SNAPSHOTS + _GROUPS,
            why="the snapshot and the groups a database is restored with are resources of the same call",
        ),
        _TAGGED_AT_CREATION,
        *_KEYS_BEHIND,
    ),
    "look": (_LOOK, *_MEMBERS),
    "configure": (
        _LOOK,
        _LOOK_AT_GROUPS,
        *_MEMBERS,
        Permission(
            actions=(
                "rds:ModifyDBInstance",
                "rds:ModifyDBCluster",
                "rds:AddRoleToDBInstance",
                "rds:AddRoleToDBCluster",
                "rds:RebootDBInstance",
                "rds:AddTagsToResource",
            ),
            resources=_DATABASES,
            conditions=_OF_A_RECOVERY,
            why="sets up what a recovery made, and nothing that was there before",
        ),
        Permission(
            actions=("rds:ModifyDBInstance", "rds:ModifyDBCluster"),
            resources=_PARAMETER_AND_OPTION_GROUPS,
            why="the groups a database is changed to are resources of the same call",
        ),
        Permission(
            actions=("iam:PassRole",),
            resources=_ROLES,
            conditions={"StringEquals": {"iam:PassedToService": ("rds.amazonaws.com", "monitoring.rds.amazonaws.com")}},
            why="not called: RDS is given the roles that the original had. They are the user's own, of any name, so "
            "what is limited is whom they are given to",
        ),
        Permission(
            actions=("secretsmanager:CreateSecret", "secretsmanager:TagResource"),
            resources=("arn:{partition}:secretsmanager:{region}:{account}:secret:rds!*",),
            why="not called: RDS makes the managed secret with the caller's rights",
        ),
        Permission(
            actions=("kms:DescribeKey",),
            resources=_KEYS,
            why="not called: RDS looks at the key of the secret and of Performance Insights with the caller's rights",
        ),
        Permission(
            actions=("kms:CreateGrant", "kms:Decrypt", "kms:GenerateDataKey"),
            resources=_KEYS,
            conditions={
                "StringLike": {
                    "kms:ViaService": ("rds.{region}.amazonaws.com", "secretsmanager.{region}.amazonaws.com")
                }
            },
            why="not called: the secret is written under the key that the original's had, where it is the user's own",
        ),
    ),
    "remove": (
        _LOOK,
        Permission(
            actions=("rds:DeleteDBInstance", "rds:DeleteDBCluster"),
            resources=_DATABASES,
            conditions=_OF_A_RECOVERY,
            why="removes what a recovery made; nothing else carries its tag",
        ),
    ),
}
"""By verb of the port."""

NEWEST_PERMISSIONS = (_LOOK,)
"""Of `newest_restorable`, in the Region where the databases are at home."""
