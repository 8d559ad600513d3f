"""Volumes recovered for people to use, on an embedded AWS and on moto."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from embedded.volumes import in_process
from embedded.volumes.in_process import Account
from functions.aws.clients import Clients
from functions.aws.inventory import Inventory
from functions.aws.recoveries.ebs import VolumeRecoveries
from functions.core.errors import AwsBusy, BadMessage, ResourceGone, SnapshotGone, Unsafe
from functions.core.recoveries import RECOVERY_TAG, Found, PlanLine, RecoveryOrder, Source
from functions.core.resources import Kind, ResourceKey
from functions.core.restores import Restored, RestoreState
from tests.aws.moto_world import MotoWorld, refusal
from tests.aws.recoveries.account import ACCOUNT, HOME, RECOVERY_ID, details, keep_moto_as_it_is, standing

AWAY = "us-west-2"
OURS = {"Key": RECOVERY_TAG, "Value": RECOVERY_ID}


class Kms:
    """Answers DescribeKey with a state."""

    def __init__(self) -> None:
        self.state = "Enabled"
        self.error = ""

    def describe_key(self, **_: Any) -> Mapping[str, Any]:
        if self.error:
            raise refusal(self.error, "DescribeKey")
        return {"KeyMetadata": {"KeyState": self.state}}


class Quotas:
    """Answers GetServiceQuota with a number of TiB."""

    def __init__(self) -> None:
        self.tib = 50.0
        self.error = ""

    def get_service_quota(self, **_: Any) -> Mapping[str, Any]:
        if self.error:
            raise refusal(self.error, "GetServiceQuota", status=403)
        return {"Quota": {"Value": self.tib}}


class AnsweredClients(Clients):
    """Clients of an embedded account, of a key and of a quota."""

    def __init__(self, account: Account) -> None:
        super().__init__()
        self.account, self.kms, self.quotas = account, Kms(), Quotas()

    def retrying(self, service: str, region: str) -> Any:
        return {"kms": self.kms, "service-quotas": self.quotas}.get(service) or self.account.ec2(region)

    def once(self, service: str, region: str) -> Any:
        return self.retrying(service, region)


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    keep_moto_as_it_is(monkeypatch)
    with in_process.account(tmp_path) as fresh:
        yield fresh


@pytest.fixture
def clients(account: Account) -> AnsweredClients:
    return AnsweredClients(account)


@pytest.fixture
def volumes(clients: AnsweredClients) -> VolumeRecoveries:
    return VolumeRecoveries(Kind.VOLUME, HOME, clients)


def configuration(clients: Clients, kind: Kind, id: str) -> dict[str, Any]:
    key = ResourceKey(account=ACCOUNT, region=HOME, kind=kind, id=id)
    return dict(Inventory(region=HOME, account=ACCOUNT, clients=clients).configuration(key))


def order(
    snapshots: Mapping[str, str], wanted: Mapping[str, Any], *, kind: Kind = Kind.VOLUME, region: str = HOME
) -> RecoveryOrder:
    """`snapshots` by the id of their volume."""
    return RecoveryOrder(
        recovery_id=RECOVERY_ID,
        kind=kind,
        region=region,
        source=Source.HOME,
        snapshot_ids=tuple(snapshots.values()),
        source_ids=tuple(snapshots),
        content_at=datetime(2026, 10, 1, 9, tzinfo=UTC),
        names=("",) * len(snapshots),
        wanted=wanted,
    )


def make_one(account: Account, **more: Any) -> dict[str, str]:
    volume = account.make_volume(**more)
    account.write(volume, 0, b"what it held")
    return {volume: account.take_snapshot(volume)}


def make_set(account: Account) -> tuple[str, dict[str, str]]:
    """An instance with a disk of 1 GiB and a faster one, and their snapshots."""
    disks = [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 1}}]
    ec2 = account.ec2()
    started = ec2.run_instances(ImageId="ami-12c6146b", MinCount=1, MaxCount=1, BlockDeviceMappings=disks)
    instance = started["Instances"][0]
    zone = instance["Placement"]["AvailabilityZone"]
    fast = account.make_volume(AvailabilityZone=zone, VolumeType="gp3", Iops=4000, Throughput=250)
    ec2.attach_volume(VolumeId=fast, InstanceId=instance["InstanceId"], Device="/dev/sdf")
    attached = [{"Name": "attachment.instance-id", "Values": [instance["InstanceId"]]}]
    ids = [volume["VolumeId"] for volume in ec2.describe_volumes(Filters=attached)["Volumes"]]
    return instance["InstanceId"], {id: account.take_snapshot(id) for id in ids}


def described(account: Account, id: str, region: str = HOME) -> Mapping[str, Any]:
    return account.ec2(region).describe_volumes(VolumeIds=[id])["Volumes"][0]


def worst(lines: tuple[PlanLine, ...]) -> dict[str, Found]:
    return {line.what: line.found for line in lines if line.found is not Found.FINE}


def test_a_volume_is_recovered_as_it_was(account: Account, clients: AnsweredClients, volumes: VolumeRecoveries) -> None:
    settings: dict[str, Any] = {"VolumeType": "gp3", "Iops": 4000, "Throughput": 250, "AvailabilityZone": f"{HOME}b"}
    tags = [{"Key": "team", "Value": "shop"}, {"Key": "holdfast:policy", "Value": "gold"}]
    taken = make_one(account, **settings, TagSpecifications=[{"ResourceType": "volume", "Tags": tags}])
    wanted = configuration(clients, Kind.VOLUME, next(iter(taken)))
    (begun,) = volumes.begin(order(taken, wanted))
    assert begun.state is RestoreState.CREATING
    account.advance(60)
    assert volumes.look(begun).state is RestoreState.AVAILABLE
    found = volumes.configure(order(taken, wanted), begun)
    assert set(standing(found).values()) == {True}, details(found)
    assert configuration(clients, Kind.VOLUME, begun.id) == wanted
    assert account.image(begun.id).read_bytes()[:12] == b"what it held"


def test_a_volume_says_which_recovery_it_belongs_to(account: Account, volumes: VolumeRecoveries) -> None:
    (begun,) = volumes.begin(order(make_one(account), {}))
    assert OURS in described(account, begun.id)["Tags"]


def test_a_volume_begun_twice_is_one(account: Account, volumes: VolumeRecoveries) -> None:
    wanted = order(make_one(account), {})
    assert volumes.begin(wanted) == volumes.begin(wanted)


def test_every_volume_of_an_instance_is_made_as_it_was_and_in_its_zone(
    account: Account, clients: AnsweredClients
) -> None:
    instance, taken = make_set(account)
    wanted = configuration(clients, Kind.INSTANCE, instance)
    begun = VolumeRecoveries(Kind.INSTANCE, HOME, clients).begin(order(taken, wanted, kind=Kind.INSTANCE))
    for original, restored in zip(taken, begun, strict=True):
        before, after = described(account, original), described(account, restored.id)
        for name in ("VolumeType", "Iops", "Throughput", "Size", "AvailabilityZone"):
            assert after.get(name) == before.get(name), name


def test_the_hand_over_says_where_each_volume_was_attached(account: Account, clients: AnsweredClients) -> None:
    instance, taken = make_set(account)
    wanted = order(taken, configuration(clients, Kind.INSTANCE, instance), kind=Kind.INSTANCE)
    recoveries = VolumeRecoveries(Kind.INSTANCE, HOME, clients)
    begun = recoveries.begin(wanted)
    account.advance(60)
    told = [details(recoveries.configure(wanted, one)) for one in begun]
    devices = {what: detail for found in told for what, detail in found.items() if what.startswith("attachment")}
    assert set(devices) == {"attachment /dev/xvda", "attachment /dev/sdf"}
    assert "aws ec2 attach-volume" in devices["attachment /dev/sdf"]


def test_in_another_region_the_whole_set_is_in_one_zone_that_has_room(
    account: Account, clients: AnsweredClients
) -> None:
    instance, taken = make_set(account)
    wanted = configuration(clients, Kind.INSTANCE, instance)
    copies = {volume: account.copy_snapshot(snapshot, AWAY) for volume, snapshot in taken.items()}

    def refuse_the_first_zone(params: Mapping[str, Any], **_: Any) -> None:
        if params.get("AvailabilityZone") == f"{AWAY}a":
            raise refusal("InsufficientVolumeCapacity", "CreateVolume", status=500)

    account.ec2(AWAY).meta.events.register("before-parameter-build.ec2.CreateVolume", refuse_the_first_zone)
    recoveries = VolumeRecoveries(Kind.INSTANCE, AWAY, clients)
    begun = recoveries.begin(order(copies, wanted, kind=Kind.INSTANCE, region=AWAY))
    assert [described(account, one.id, AWAY)["AvailabilityZone"] for one in begun] == [f"{AWAY}b"] * 2


def test_a_wanted_zone_without_room_is_waited_for(account: Account, volumes: VolumeRecoveries) -> None:
    def refuse(**_: Any) -> None:
        raise refusal("InsufficientVolumeCapacity", "CreateVolume", status=500)

    taken = make_one(account)
    account.ec2().meta.events.register("before-parameter-build.ec2.CreateVolume", refuse)
    with pytest.raises(AwsBusy, match="us-east-1b") as busy:
        volumes.begin(order(taken, {"availability_zone": f"{HOME}b"}))
    assert "us-east-1a" not in busy.value.what


@pytest.mark.parametrize(
    "wanted",
    [{"volume_type": "gp3", "initialization_mibps": 5000}, {"volume_type": "io1"}],
    ids=["too fast", "io1 without its IOPS"],
)
def test_a_setting_that_ec2_refuses_is_named(
    account: Account, volumes: VolumeRecoveries, wanted: dict[str, Any]
) -> None:
    with pytest.raises(BadMessage, match=r"InvalidParameterValue|MissingParameter"):
        volumes.begin(order(make_one(account), wanted))


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"volume_type": "gp2", "iops": 100}, {"VolumeType": "gp2"}),
        ({"volume_type": "io2", "iops": 200, "throughput_mibps": 125}, {"VolumeType": "io2", "Iops": 200}),
        ({"size_gib": 2}, {"VolumeType": "gp3", "Size": 2}),
        ({"size_gib": 0}, {"Size": 1}),
        ({"initialization_mibps": 200}, {"VolumeInitializationRate": 200}),
    ],
    ids=["gp2 shows its IOPS", "io2", "grown since", "recorded before it grew", "loaded at a rate"],
)
def test_a_type_is_given_what_it_takes(
    account: Account, volumes: VolumeRecoveries, wanted: dict[str, Any], expected: dict[str, Any]
) -> None:
    (begun,) = volumes.begin(order(make_one(account), wanted))
    assert expected.items() <= described(account, begun.id).items()


def test_a_key_of_another_region_is_left_out(account: Account, volumes: VolumeRecoveries) -> None:
    taken = make_one(account, Encrypted=True)
    wanted = {"kms_key_id": "arn:aws:kms:eu-west-1:1:key/k"}
    (begun,) = volumes.begin(order(taken, wanted))
    account.advance(60)
    assert described(account, begun.id)["Encrypted"]
    assert standing(volumes.configure(order(taken, wanted), begun))["kms_key_id"] is True


def test_a_snapshot_that_is_gone_says_so(volumes: VolumeRecoveries) -> None:
    with pytest.raises(SnapshotGone):
        volumes.begin(order({"vol-1": "snap-0123456789abcdef0"}, {}))


def test_tags_that_somebody_took_off_are_given_again(account: Account, volumes: VolumeRecoveries) -> None:
    wanted = order(make_one(account), {"tags": {"team": "shop"}})
    (begun,) = volumes.begin(wanted)
    account.ec2().delete_tags(Resources=[begun.id], Tags=[{"Key": "team"}])
    assert [standing(volumes.configure(wanted, begun))["tags"] for _ in range(2)] == [None, True]


def test_nothing_is_tagged_or_removed_that_is_not_of_this_recovery(account: Account, volumes: VolumeRecoveries) -> None:
    taken = make_one(account)
    (id, snapshot), wanted = next(iter(taken.items())), order(taken, {"tags": {"team": "shop"}})
    original = Restored(id=id, snapshot_id=snapshot, kind=Kind.VOLUME, region=HOME, state=RestoreState.AVAILABLE)
    with pytest.raises(Unsafe):
        volumes.configure(wanted, original)
    with pytest.raises(Unsafe):
        volumes.remove(original, RECOVERY_ID)
    assert "Tags" not in described(account, id) or not described(account, id)["Tags"]


def test_removing_ends_in_gone_and_spares_what_is_attached(account: Account, volumes: VolumeRecoveries) -> None:
    wanted = order(make_one(account), {"availability_zone": f"{HOME}a"})
    (begun,) = volumes.begin(wanted)
    account.advance(60)
    ec2 = account.ec2()
    started = ec2.run_instances(
        ImageId="ami-12c6146b", MinCount=1, MaxCount=1, Placement={"AvailabilityZone": f"{HOME}a"}
    )
    attached = {"VolumeId": begun.id, "InstanceId": started["Instances"][0]["InstanceId"], "Device": "/dev/sdf"}
    ec2.attach_volume(**attached)
    with pytest.raises(Unsafe, match="attached"):
        volumes.remove(begun, RECOVERY_ID)
    ec2.detach_volume(**attached)
    assert [volumes.remove(begun, RECOVERY_ID) for _ in range(2)] == [RestoreState.CREATING, RestoreState.GONE]
    assert volumes.look(begun).state is RestoreState.GONE
    with pytest.raises(ResourceGone):
        volumes.configure(wanted, begun)


# Plans


def test_a_plan_in_whose_way_nothing_stands_says_what_was_looked_at(
    account: Account, clients: AnsweredClients, volumes: VolumeRecoveries
) -> None:
    taken = make_one(account, VolumeType="gp3", Encrypted=True)
    lines = volumes.plan(order(taken, configuration(clients, Kind.VOLUME, next(iter(taken)))))
    assert worst(lines) == {}
    assert [line.what for line in lines] == ["snapshot", "key", "zone", "quota of gp3"]
    assert lines[-1].detail == "1 GiB of 51200 GiB used, 1 GiB more needed"


def test_a_plan_makes_nothing(account: Account, volumes: VolumeRecoveries) -> None:
    volumes.plan(order(make_one(account), {}))
    assert len(account.ec2().describe_volumes()["Volumes"]) == 1


def test_what_stands_in_the_way_of_a_volume_is_found(
    account: Account, clients: AnsweredClients, volumes: VolumeRecoveries
) -> None:
    taken = make_one(account, Encrypted=True)
    clients.kms.state, clients.quotas.tib = "PendingDeletion", 0.0
    lines = volumes.plan(order({**taken, "vol-x": "snap-0123456789abcdef0"}, {"availability_zone": "eu-west-1a"}))
    assert worst(lines) == {
        "snapshot": Found.OBSTACLE,
        "key": Found.OBSTACLE,
        "zone": Found.WARNING,
        "quota of gp3": Found.OBSTACLE,
    }
    assert all(line.next_step for line in lines if line.found is not Found.FINE)


def test_an_archived_or_unfinished_snapshot_is_an_obstacle(account: Account, volumes: VolumeRecoveries) -> None:
    volume = account.make_volume()
    pending = account.ec2().create_snapshot(VolumeId=volume)["SnapshotId"]
    assert worst(volumes.plan(order({volume: pending}, {})))["snapshot"] is Found.OBSTACLE
    account.advance(3600)

    def archive(parsed: dict[str, Any], **_: Any) -> None:
        parsed["Snapshots"][0]["StorageTier"] = "archive"

    account.ec2().meta.events.register("after-call.ec2.DescribeSnapshots", archive)
    assert worst(volumes.plan(order({volume: pending}, {})))["snapshot"] is Found.OBSTACLE


def test_what_we_may_not_look_at_is_a_warning(
    account: Account, clients: AnsweredClients, volumes: VolumeRecoveries
) -> None:
    taken = make_one(account, Encrypted=True)
    clients.kms.error = clients.quotas.error = "AccessDeniedException"
    lines = volumes.plan(order(taken, {"availability_zone": f"{HOME}a"}))
    assert worst(lines) == {"key": Found.WARNING, "quota of gp3": Found.WARNING}


@pytest.mark.parametrize("error", ["ThrottlingException", "400", "InternalFailure"])
def test_a_quota_that_cannot_be_read_stops_nobody(
    account: Account, clients: AnsweredClients, volumes: VolumeRecoveries, error: str
) -> None:
    clients.quotas.error = error
    lines = volumes.plan(order(make_one(account), {"availability_zone": f"{HOME}a"}))
    assert worst(lines) == {"quota of gp3": Found.WARNING}


def test_a_volume_that_nobody_wants_in_a_certain_zone_is_made_where_there_is_room(
    account: Account, volumes: VolumeRecoveries
) -> None:
    lines = volumes.plan(order(make_one(account), {}))
    (zone,) = [line for line in lines if line.what == "zone"]
    assert zone.found is Found.FINE
    assert zone.detail.endswith("that has room is taken")


@pytest.mark.parametrize("kind", [Kind.DATABASE, Kind.CLUSTER])
def test_databases_are_not_recovered_as_volumes(kind: Kind, clients: AnsweredClients) -> None:
    with pytest.raises(ValueError, match="volumes are recovered"):
        VolumeRecoveries(kind, HOME, clients)


# On moto, which is kinder and knows other corners


def test_the_whole_way_on_moto(moto: None) -> None:
    world = MotoWorld(Kind.VOLUME)
    id = world.make_resource().id
    taken = {id: world.ec2.create_snapshot(VolumeId=id)["SnapshotId"]}
    wanted = order(taken, configuration(world.clients, Kind.VOLUME, id))
    volumes = VolumeRecoveries(Kind.VOLUME, HOME, world.clients)
    assert worst(volumes.plan(wanted)) == {"quota of gp2": Found.WARNING}  # of which moto knows none
    (begun,) = volumes.begin(wanted)
    assert volumes.look(begun).state is RestoreState.AVAILABLE
    assert False not in standing(volumes.configure(wanted, begun)).values()
    volumes.remove(begun, RECOVERY_ID)
    with pytest.raises(ClientError, match="does not exist"):
        world.ec2.describe_volumes(VolumeIds=[begun.id])
