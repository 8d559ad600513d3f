"""What AWS asks IAM about one call: one question for each resource, and one more for tags set on creation.

After the service authorization reference. A call is allowed when every question is answered with yes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tests.security.deployed import ACCOUNT, Role
from tests.security.evaluator import Decision, Request, Values, decide
from tests.security.things import Thing

STRANGER = "999988887777"


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """A call, in the words of a sentence, with the questions it raises."""

    says: str
    asks: tuple[Request, ...]

    def decided(self, role: Role) -> Decision:
        """The first refusal, or the last yes, for the role in its own Region."""
        for question in self.asks:
            decision = decide(role.statements, _in_region(question, role.region))
            if not decision.allowed:
                return decision
        return decision


def _in_region(question: Request, region: str) -> Request:
    def filled(value: Values) -> Values:
        if isinstance(value, str):
            return value.replace("{region}", region)
        return tuple(part.replace("{region}", region) for part in value)

    return Request(
        action=question.action,
        resource=question.resource.replace("{region}", region),
        keys={name: filled(value) for name, value in question.keys.items()},
    )


def _ask(action: str, thing: Thing, **keys: Values) -> Request:
    held = {f"aws:ResourceTag/{key}": value for key, value in thing.tags.items()}
    written = {name.replace("__", ":"): value for name, value in keys.items()}
    return Request(
        action=action, resource=thing.arn, keys={"aws:SecureTransport": "true", **held, **thing.keys, **written}
    )


def _tagging(tags: Mapping[str, str]) -> dict[str, Values]:
    if not tags:
        return {}
    return {"aws:TagKeys": tuple(tags), **{f"aws:RequestTag/{key}": value for key, value in tags.items()}}


def act(says: str, action: str, thing: Thing, **keys: Values) -> Act:
    """A call that raises one question; in the names of keys, `__` stands for a colon."""
    return Act(says=f"{says} {thing.says}".strip(), asks=(_ask(action, thing, **keys),))


def _new(kind: str, made_by: str, tags: Mapping[str, str]) -> tuple[Request, ...]:
    """EC2 makes something: whether it may, and whether it may carry these tags."""
    owner = "" if kind == "snapshot" else ACCOUNT
    arn = f"arn:aws:ec2:{{region}}:{owner}:{kind}/*"
    making = Request(action=f"ec2:{made_by}", resource=arn, keys=_tagging(tags))
    if not tags:
        return (making,)
    return (
        making,
        Request(action="ec2:CreateTags", resource=arn, keys={**_tagging(tags), "ec2:CreateAction": made_by}),
    )


# ---------------------------------------------------------------------------- EBS


def take_snapshot(volume: Thing, tags: Mapping[str, str], says: str = "with our tags") -> Act:
    return Act(
        says=f"take a snapshot of {volume.says} {says}",
        asks=(_ask("ec2:CreateSnapshot", volume), *_new("snapshot", "CreateSnapshot", tags)),
    )


def take_set(instance: Thing, volume: Thing, tags: Mapping[str, str], says: str = "with our tags") -> Act:
    return Act(
        says=f"take a set of snapshots of {instance.says} {says}",
        asks=(
            _ask("ec2:CreateSnapshots", instance),
            _ask("ec2:CreateSnapshots", volume),
            *_new("snapshot", "CreateSnapshots", tags),
        ),
    )


def copy_snapshot(source: Thing, tags: Mapping[str, str], region: str, says: str = "with our tags") -> Act:
    """To `region`, from wherever the source is."""
    made = tuple(
        Request(action=it.action, resource=it.resource.replace("{region}", region), keys=it.keys)
        for it in _new("snapshot", "CopySnapshot", tags)
    )
    return Act(says=f"copy {source.says} to {region} {says}", asks=(_ask("ec2:CopySnapshot", source), *made))


def delete_snapshot(snapshot: Thing) -> Act:
    return act("delete", "ec2:DeleteSnapshot", snapshot)


def tag(thing: Thing, tags: Mapping[str, str], says: str) -> Act:
    """Tags on something that is there already."""
    action = "rds:AddTagsToResource" if ":rds:" in thing.arn else "ec2:CreateTags"
    asked = _ask(action, thing)
    return Act(
        says=f"{says} {thing.says}",
        asks=(Request(action=action, resource=thing.arn, keys={**asked.keys, **_tagging(tags)}),),
    )


def mark(snapshot: Thing) -> Act:
    return tag(snapshot, {"holdfast:state": "expired"}, "mark")


def untag(thing: Thing) -> Act:
    action = "rds:RemoveTagsFromResource" if ":rds:" in thing.arn else "ec2:DeleteTags"
    return act("take the tags from", action, thing, aws__TagKeys=("holdfast:managed",))


def lock(snapshot: Thing, cool_off_hours: int | None = None, days: int = 7) -> Act:
    keys: dict[str, Values] = {} if cool_off_hours is None else {"ec2__SnapshotCoolOffPeriod": str(cool_off_hours)}
    until = "" if cool_off_hours is None else f" with {cool_off_hours} hours to think again for"
    return act(
        f"lock for {days} days{until}", "ec2:LockSnapshot", snapshot, ec2__SnapshotLockDuration=str(days), **keys
    )


def unlock(snapshot: Thing) -> Act:
    return act("unlock", "ec2:UnlockSnapshot", snapshot)


def share(snapshot: Thing) -> Act:
    if ":rds:" in snapshot.arn:
        return act("share with another account", _attribute_action(snapshot), snapshot)
    return act(
        "share with another account",
        "ec2:ModifySnapshotAttribute",
        snapshot,
        ec2__Attribute="createVolumePermission",
        **{"ec2__Add/userId": STRANGER},
    )


def publish(snapshot: Thing) -> Act:
    return act("make public", "ec2:ModifySnapshotAttribute", snapshot, **{"ec2__Add/group": "all"})


def _attribute_action(snapshot: Thing) -> str:
    is_cluster = ":cluster-snapshot:" in snapshot.arn
    return f"rds:ModifyDB{'Cluster' if is_cluster else ''}SnapshotAttribute"


def read_blocks(snapshot: Thing) -> Act:
    return act("read the blocks of", "ebs:GetSnapshotBlock", snapshot)


def write_blocks(snapshot: Thing) -> Act:
    return act("write blocks into", "ebs:PutSnapshotBlock", snapshot)


def restore_volume(snapshot: Thing, tags: Mapping[str, str], says: str) -> Act:
    return Act(
        says=f"restore {snapshot.says} {says}",
        asks=(_ask("ec2:CreateVolume", snapshot), *_new("volume", "CreateVolume", tags)),
    )


def delete_volume(volume: Thing) -> Act:
    return act("delete", "ec2:DeleteVolume", volume)


# ---------------------------------------------------------------------------- RDS

ISOLATED = "holdfast-rehearsal"
PRODUCTION = "default"
"""Subnet groups: the one without a way out, and one in which the user's own databases live."""


def snapshot_database(source: Thing, name: str, tags: Mapping[str, str], says: str = "with our tags") -> Act:
    kind, action = _snapshots_of(source)
    made = _rds(kind, name)
    return Act(
        says=f"take a snapshot {name} of {source.says} {says}",
        asks=(
            _ask(f"rds:Create{action}", source),
            _ask(f"rds:Create{action}", made, **_underscored(_tagging(tags))),
            *([_ask("rds:AddTagsToResource", made, **_underscored(_tagging(tags)))] if tags else []),
        ),
    )


def copy_db_snapshot(
    source: Thing, name: str, tags: Mapping[str, str], region: str, says: str = "with our tags"
) -> Act:
    kind = "cluster-snapshot" if ":cluster-snapshot:" in source.arn else "snapshot"
    action = "rds:CopyDBClusterSnapshot" if kind == "cluster-snapshot" else "rds:CopyDBSnapshot"
    made = Thing(says="", arn=f"arn:aws:rds:{region}:{ACCOUNT}:{kind}:{name}")
    asked = _underscored(_tagging(tags))
    return Act(
        says=f"copy {source.says} to {region} as {name} {says}",
        asks=(_ask(action, source), _ask(action, made, **asked), _ask("rds:AddTagsToResource", made, **asked)),
    )


def delete_db_snapshot(snapshot: Thing) -> Act:
    is_cluster = ":cluster-snapshot:" in snapshot.arn
    return act("delete", f"rds:DeleteDB{'Cluster' if is_cluster else ''}Snapshot", snapshot)


def restore_database(
    snapshot: Thing, name: str, tags: Mapping[str, str], says: str, *, public: bool = False, into: str = PRODUCTION
) -> Act:
    """A new database or cluster of that name, from a snapshot, into a subnet group, in default groups."""
    is_cluster = ":cluster-snapshot:" in snapshot.arn
    action = "rds:RestoreDBClusterFromSnapshot" if is_cluster else "rds:RestoreDBInstanceFromDBSnapshot"
    made = _rds("cluster" if is_cluster else "db", name)
    groups = [_rds("subgrp", into), _rds("cluster-pg" if is_cluster else "pg", "default"), _rds("og", "default")]
    asked = {**_underscored(_tagging(tags)), "rds__PubliclyAccessible": str(public).lower()}
    return Act(
        says=f"restore {snapshot.says} as {name} {says}",
        asks=(
            _ask(action, made, **asked),
            _ask(action, snapshot),
            *(_ask(action, group) for group in groups),
            *([_ask("rds:AddTagsToResource", made, **_underscored(_tagging(tags)))] if tags else []),
        ),
    )


def add_member(cluster: Thing, name: str, tags: Mapping[str, str], says: str) -> Act:
    made = _rds("db", name)
    asked = _underscored(_tagging(tags))
    return Act(
        says=f"add the member {name} to {cluster.says} {says}",
        asks=(
            _ask("rds:CreateDBInstance", made, **asked),
            _ask("rds:CreateDBInstance", cluster),
            _ask("rds:AddTagsToResource", made, **asked),
        ),
    )


def change_database(database: Thing) -> Act:
    return act("change", f"rds:ModifyDB{_kind(database)}", database)


def rename_database(database: Thing) -> Act:
    """To RDS a new name is a change like any other."""
    return act("rename", f"rds:ModifyDB{_kind(database)}", database)


def delete_database(database: Thing) -> Act:
    return act("delete", f"rds:DeleteDB{_kind(database)}", database)


def _rds(kind: str, name: str) -> Thing:
    return Thing(says="", arn=f"arn:aws:rds:{{region}}:{ACCOUNT}:{kind}:{name}")


def _kind(database: Thing) -> str:
    return "Cluster" if ":cluster:" in database.arn else "Instance"


def _snapshots_of(database: Thing) -> tuple[str, str]:
    if ":cluster:" in database.arn:
        return "cluster-snapshot", "DBClusterSnapshot"
    return "snapshot", "DBSnapshot"


def _underscored(keys: Mapping[str, Values]) -> dict[str, Values]:
    return {name.replace(":", "__"): value for name, value in keys.items()}


# ---------------------------------------------------------------------------- keys


def use_key(action: str, key: Thing, service: str, region: str = "{region}") -> Act:
    """As EC2 or RDS uses a key in the caller's name."""
    via = f"{service}.{region}.amazonaws.com"
    return act(f"{action.lower()} through {service} with", f"kms:{action}", key, kms__ViaService=via)


def use_key_directly(action: str, key: Thing) -> Act:
    return act(f"{action.lower()} directly with", f"kms:{action}", key)


def grant_key(key: Thing, service: str, *, to_the_service: bool) -> Act:
    whom = f"to {service} itself" if to_the_service else "to whomever"
    return act(
        f"grant {whom} the use of",
        "kms:CreateGrant",
        key,
        kms__ViaService=f"{service}.{{region}}.amazonaws.com",
        kms__GrantIsForAWSResource=str(to_the_service).lower(),
    )
