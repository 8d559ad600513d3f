"""What the night protects: volumes with real file systems, an instance, a database that is written to, a cluster."""

from __future__ import annotations

import os
import secrets
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embedded import disks
from embedded.aws import EmbeddedAws
from embedded.databases.connecting import connection
from embedded.databases.waiting import instance_in_state
from embedded.volumes import image_path

HOME, AWAY = "eu-central-1", "eu-west-1"
PROTECTED = [{"Key": "holdfast:policy", "Value": "nightly"}]
EXCLUDED = [
    {"Key": "holdfast:policy", "Value": "none"},
    {"Key": "holdfast:reason", "Value": "scratch space, rebuilt every morning"},
]
DATABASE_USER, DATABASE_NAME = "clerk", "shop"


@dataclass(frozen=True)
class Thing:
    """A resource of the scenario. `expects` is where it should stand: protected, excluded or GAP."""

    kind: str
    id: str
    what: str
    expects: str = "protected"

    @property
    def key(self) -> str:
        """As the ledger writes it."""
        return f"{self.kind}/{HOME}/{self.id}"


@dataclass
class Scenario:
    """Everything that was furnished, and the load on the database."""

    things: list[Thing] = field(default_factory=list)
    load: Load | None = None


class Load:
    """A clerk who takes orders all night. Every commit is remembered with the embedded time it was made at."""

    def __init__(self, aws: EmbeddedAws, endpoint: dict[str, Any], password: str) -> None:
        self._aws, self._endpoint, self._password = aws, endpoint, password
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="clerk", daemon=True)
        self.committed: list[tuple[float, int]] = []
        self.problem: Exception | None = None

    def start(self) -> None:
        """Orders are being taken."""
        with self._connected() as shop:
            shop.run("create table orders (id bigserial primary key, item text, placed_at timestamptz not null)")
        self._thread.start()

    def stop(self) -> None:
        """No more orders are taken."""
        self._stop.set()
        self._thread.join(10)

    def committed_before(self, epoch_seconds: float) -> int:
        """How many orders were committed before an instant of the embedded clock."""
        return sum(1 for at, _ in self.committed if at < epoch_seconds)

    def _run(self) -> None:
        try:
            with self._connected() as shop:
                while not self._stop.is_set():
                    placed_at = self._aws.now()
                    rows: Any = shop.run(
                        "insert into orders (item, placed_at) values (:item, :at) returning id",
                        item=secrets.token_hex(200),
                        at=placed_at,
                    )
                    self.committed.append((self._aws.now().timestamp(), int(rows[0][0])))
                    time.sleep(0.05)
        except Exception as problem:  # noqa: BLE001 - shown to the person at the end of the night, whatever it is
            self.problem = problem

    def _connected(self):
        return connection(self._endpoint, DATABASE_USER, self._password, database=DATABASE_NAME)


def furnish(aws: EmbeddedAws, data_directory: Path) -> Scenario:
    """The account holds what the night protects, and some things that it must not."""
    scenario = Scenario()
    ec2 = aws.client("ec2", HOME)
    for name, what in (
        ("ext4", "ext4"),
        ("xfs", "xfs"),
        ("btrfs", "btrfs"),
        ("ntfs", "NTFS"),
        ("gpt", "GPT: ext4 and FAT"),
    ):
        id = _volume(ec2, PROTECTED)
        disks.lay(name, image_path(data_directory, id))
        scenario.things.append(Thing("volume", id, what))
    raw = _volume(ec2, PROTECTED)
    _fill(image_path(data_directory, raw), mib=48)
    scenario.things.append(Thing("volume", raw, "48 MiB of random bytes"))
    scratch = _volume(ec2, EXCLUDED)
    scenario.things.append(Thing("volume", scratch, "scratch", expects="excluded"))
    forgotten = _volume(ec2, [])
    scenario.things.append(Thing("volume", forgotten, "nobody tagged it", expects="GAP"))
    instance = _instance(ec2, data_directory)
    scenario.things.append(Thing("instance", instance, "two volumes, one set"))
    scenario.things.append(_database(aws, scenario))
    scenario.things.append(_cluster(aws))
    return scenario


def _volume(ec2: Any, tags: list[dict[str, str]], *, size_gib: int = 1) -> str:
    wanted: dict[str, Any] = {"AvailabilityZone": f"{HOME}a", "Size": size_gib, "VolumeType": "gp3"}
    if tags:
        wanted["TagSpecifications"] = [{"ResourceType": "volume", "Tags": tags}]
    return ec2.create_volume(**wanted)["VolumeId"]


def _fill(image: Path, *, mib: int) -> None:
    with image.open("r+b") as volume:
        volume.seek(64 * 2**20)
        for _ in range(mib):
            volume.write(os.urandom(2**20))


def _instance(ec2: Any, data_directory: Path) -> str:
    image = ec2.register_image(
        Name="holdfast-try",
        RootDeviceName="/dev/xvda",
        BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 1, "VolumeType": "gp3"}}],
    )["ImageId"]
    instance = ec2.run_instances(
        ImageId=image,
        MinCount=1,
        MaxCount=1,
        InstanceType="t4g.micro",
        BlockDeviceMappings=[
            {"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 1, "VolumeType": "gp3"}},
            {"DeviceName": "/dev/xvdb", "Ebs": {"VolumeSize": 1, "VolumeType": "gp3"}},
        ],
        TagSpecifications=[{"ResourceType": "instance", "Tags": PROTECTED}],
    )["Instances"][0]["InstanceId"]
    described = ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]
    for mapping, disk in zip(described["BlockDeviceMappings"], ("ext4", "xfs"), strict=True):
        disks.lay(disk, image_path(data_directory, mapping["Ebs"]["VolumeId"]))
    return instance


def _database(aws: EmbeddedAws, scenario: Scenario) -> Thing:
    rds = aws.client("rds", HOME)
    password = secrets.token_urlsafe(18)
    rds.create_db_instance(
        DBInstanceIdentifier="shop",
        Engine="postgres",
        DBInstanceClass="db.t4g.micro",
        AllocatedStorage=20,
        StorageType="gp3",
        MasterUsername=DATABASE_USER,
        MasterUserPassword=password,
        DBName=DATABASE_NAME,
        Tags=PROTECTED,
    )
    described = instance_in_state(rds, "shop", timeout_seconds=60)
    scenario.load = Load(aws, described["Endpoint"], password)
    return Thing("database", "shop", f"PostgreSQL {described['EngineVersion']}, written to all night")


def _cluster(aws: EmbeddedAws) -> Thing:
    rds = aws.client("rds", HOME)
    rds.create_db_cluster(
        DBClusterIdentifier="ledgers",
        Engine="aurora-postgresql",
        MasterUsername="clerk",
        MasterUserPassword=secrets.token_urlsafe(18),
        Tags=PROTECTED,
    )
    rds.create_db_instance(
        DBInstanceIdentifier="ledgers-1",
        Engine="aurora-postgresql",
        DBInstanceClass="db.r6g.large",
        DBClusterIdentifier="ledgers",
    )
    return Thing("cluster", "ledgers", "Aurora PostgreSQL (metadata only)")
