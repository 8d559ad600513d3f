"""The machine of a deep check: launched once and locked in, given its volumes, and gone before they go."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from functions.aws.clients import Clients
from functions.aws.deep_checks.checkers import DEVICES, IMAGE, TYPES, Checkers, DeepCheckNetwork
from functions.core.errors import AwsBusy, NotAllowed, QuotaReached, Refused, Unsafe
from functions.core.resources import Kind
from functions.core.restores import RestoreOrder

REGION, ZONE = "eu-central-1", "eu-central-1a"
WITHIN = timedelta(minutes=45)


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clients]:
    monkeypatch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
    with mock_aws():
        yield Clients(boto3.Session(region_name=REGION))


@pytest.fixture
def ec2(clients: Clients) -> Any:
    return clients.retrying("ec2", REGION)


@pytest.fixture
def launches(ec2: Any) -> list[dict[str, Any]]:
    """What EC2 was asked to launch. moto resolves no public parameters and knows no profile, so it is not told."""
    asked: list[dict[str, Any]] = []
    source = ec2.run_instances(ImageId="ami-12345678", MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
    image_id = ec2.create_image(InstanceId=source, Name="made for this test")["ImageId"]
    ec2.terminate_instances(InstanceIds=[source])

    def simplify(params: dict[str, Any], **_: object) -> dict[str, Any]:
        asked.append(dict(params))
        kept = {name: value for name, value in params.items() if name not in ("IamInstanceProfile", "SecurityGroupIds")}
        return {**kept, "ImageId": image_id, "BlockDeviceMappings": []}

    ec2.meta.events.register("provide-client-params.ec2.RunInstances", simplify)
    return asked


@pytest.fixture
def checkers(clients: Clients, ec2: Any) -> Checkers:
    zone = {"Name": "availability-zone", "Values": [ZONE]}
    subnet_id = ec2.describe_subnets(Filters=[zone])["Subnets"][0]["SubnetId"]
    network = DeepCheckNetwork(zone=ZONE, subnet_id=subnet_id, security_group_id="sg-1", profile="holdfast-deep-check")
    return Checkers(REGION, clients, network)


def an_order(rehearsal_id: str = "rehearsal-1") -> RestoreOrder:
    return RestoreOrder(
        rehearsal_id=rehearsal_id,
        kind=Kind.VOLUME,
        region=REGION,
        snapshot_ids=("snap-1",),
        expires_at=datetime(2026, 11, 21, 6, tzinfo=UTC),
    )


def refusing(client: Any, operation: str, code: str, *types: str) -> list[str]:
    """EC2 refuses the operation, for these types of instance or for all; the types that were asked for."""
    asked: list[str] = []

    def refuse(params: dict[str, Any], **_: object) -> None:
        asked.append(params.get("InstanceType", ""))
        if not types or params["InstanceType"] in types:
            raise ClientError({"Error": {"Code": code, "Message": "no"}}, operation)

    client.meta.events.register_first(f"provide-client-params.ec2.{operation}", refuse)
    return asked


def state_of(ec2: Any, id: str) -> str:
    return ec2.describe_instances(InstanceIds=[id])["Reservations"][0]["Instances"][0]["State"]["Name"]


def some_volumes(ec2: Any, number: int = 1) -> list[str]:
    return [ec2.create_volume(AvailabilityZone=ZONE, Size=1)["VolumeId"] for _ in range(number)]


def test_a_machine_is_small_locked_in_and_says_whose_it_is(
    checkers: Checkers, ec2: Any, launches: list[dict[str, Any]]
) -> None:
    id = checkers.launch(an_order(), within=WITHIN)
    (asked,) = launches
    assert asked["ImageId"] == f"resolve:ssm:{IMAGE}"
    assert (asked["InstanceType"], asked["MinCount"], asked["MaxCount"]) == ("t4g.small", 1, 1)
    assert (asked["SubnetId"], asked["SecurityGroupIds"]) == (checkers.network.subnet_id, ["sg-1"])
    assert asked["IamInstanceProfile"] == {"Name": "holdfast-deep-check"}
    assert asked["MetadataOptions"]["HttpTokens"] == "required"
    assert asked["MetadataOptions"]["HttpPutResponseHopLimit"] == 1
    (disk,) = asked["BlockDeviceMappings"]
    assert disk["Ebs"]["Encrypted"] is True
    assert disk["Ebs"]["KmsKeyId"] == "alias/holdfast"
    assert disk["Ebs"]["DeleteOnTermination"] is True
    assert {one["ResourceType"] for one in asked["TagSpecifications"]} == {"instance", "volume", "network-interface"}
    for specification in asked["TagSpecifications"]:
        tags = {tag["Key"]: tag["Value"] for tag in specification["Tags"]}
        assert tags.pop("Name").startswith("holdfast-rt-")
        assert tags == {"holdfast:rehearsal": "rehearsal-1", "holdfast:expires-at": "2026-11-21T06:00:00Z"}
    assert checkers.look(id).is_running


def test_a_machine_powers_itself_off_and_goes_whoever_else_lives(
    checkers: Checkers, launches: list[dict[str, Any]]
) -> None:
    checkers.launch(an_order(), within=WITHIN)
    (asked,) = launches
    assert asked["InstanceInitiatedShutdownBehavior"] == "terminate"
    assert asked["UserData"] == "#!/bin/bash\nshutdown --poweroff +55\n"


def test_launched_twice_is_launched_once(checkers: Checkers, launches: list[dict[str, Any]]) -> None:
    assert checkers.launch(an_order(), within=WITHIN) == checkers.launch(an_order(), within=WITHIN)
    assert len(launches) == 1


def test_the_client_token_is_stable_and_another_for_each_rehearsal_and_type(
    checkers: Checkers, ec2: Any, launches: list[dict[str, Any]]
) -> None:
    for rehearsal_id in ("rehearsal-1", "rehearsal-1", "rehearsal-2"):
        id = checkers.launch(an_order(rehearsal_id), within=WITHIN)
        ec2.terminate_instances(InstanceIds=[id])
    first, again, other = (asked["ClientToken"] for asked in launches)
    assert first == again != other
    assert len(first) <= 64


@pytest.mark.parametrize("code", ["InsufficientInstanceCapacity", "Unsupported"])
def test_a_type_that_is_not_to_be_had_is_followed_by_the_next(
    checkers: Checkers, ec2: Any, launches: list[dict[str, Any]], code: str
) -> None:
    asked = refusing(ec2, "RunInstances", code, "t4g.small")
    assert checkers.launch(an_order(), within=WITHIN)
    assert asked == ["t4g.small", "t4g.medium"]
    assert launches[-1]["InstanceType"] == "t4g.medium"


def test_no_machine_of_any_type_is_tried_again_later(checkers: Checkers, ec2: Any) -> None:
    asked = refusing(ec2, "RunInstances", "InsufficientInstanceCapacity")
    with pytest.raises(AwsBusy, match=r"EC2 has none of .* in eu-central-1a"):
        checkers.launch(an_order(), within=WITHIN)
    assert asked == list(TYPES)


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("VcpuLimitExceeded", QuotaReached),
        ("InsufficientFreeAddressesInSubnet", AwsBusy),
        ("UnauthorizedOperation", NotAllowed),
    ],
)
def test_a_refusal_that_no_other_type_would_change_is_told(
    checkers: Checkers, ec2: Any, code: str, problem: type[Exception]
) -> None:
    asked = refusing(ec2, "RunInstances", code)
    with pytest.raises(problem, match=code):
        checkers.launch(an_order(), within=WITHIN)
    assert len(asked) == 1


def test_machines_of_other_rehearsals_are_seen_while_they_live(
    checkers: Checkers, ec2: Any, launches: list[dict[str, Any]]
) -> None:
    id = checkers.launch(an_order(), within=WITHIN)
    assert checkers.others("rehearsal-1") == ()
    assert checkers.others("rehearsal-2") == (id,)
    ec2.terminate_instances(InstanceIds=[id])
    assert checkers.others("rehearsal-2") == ()


def test_a_machine_that_ended_says_how(checkers: Checkers, ec2: Any, launches: list[dict[str, Any]]) -> None:
    id = checkers.launch(an_order(), within=WITHIN)
    ec2.terminate_instances(InstanceIds=[id])
    seen = checkers.look(id)
    assert not seen.is_running
    assert seen.ended.startswith("terminated: ")


def test_a_machine_that_ec2_does_not_show_yet_is_neither_running_nor_ended(checkers: Checkers) -> None:
    seen = checkers.look("i-0123456789abcdef0")
    assert (seen.is_running, seen.ended) == (False, "")


def test_volumes_are_attached_under_names_of_their_own_and_only_once(
    checkers: Checkers, ec2: Any, launches: list[dict[str, Any]]
) -> None:
    id, volumes = checkers.launch(an_order(), within=WITHIN), some_volumes(ec2, 3)
    assert not checkers.attach(id, volumes)
    assert checkers.attach(id, volumes)
    described = ec2.describe_volumes(VolumeIds=volumes)["Volumes"]
    devices = {volume["VolumeId"]: volume["Attachments"][0]["Device"] for volume in described}
    assert [devices[volume] for volume in volumes] == ["/dev/sdf", "/dev/sdg", "/dev/sdh"]


def test_a_volume_that_somebody_attached_elsewhere_is_left_there(
    checkers: Checkers, ec2: Any, launches: list[dict[str, Any]]
) -> None:
    (volume,) = some_volumes(ec2)
    other = checkers.launch(an_order("rehearsal-2"), within=WITHIN)
    checkers.attach(other, [volume])
    id = checkers.launch(an_order(), within=WITHIN)
    with pytest.raises(Unsafe, match=f"{volume} is attached to {other}"):
        checkers.attach(id, [volume])


def test_more_volumes_than_a_machine_takes_are_refused(checkers: Checkers) -> None:
    with pytest.raises(Refused, match="22 volumes are more than the 21"):
        checkers.attach("i-1", [f"vol-{number}" for number in range(len(DEVICES) + 1)])


def test_nothing_is_left_once_the_machine_has_ended_and_its_volumes_are_free(
    checkers: Checkers, ec2: Any, launches: list[dict[str, Any]]
) -> None:
    id, volumes = checkers.launch(an_order(), within=WITHIN), some_volumes(ec2)
    checkers.attach(id, volumes)
    assert not checkers.remove_all_of("rehearsal-1")
    assert state_of(ec2, id) == "terminated"
    assert checkers.remove_all_of("rehearsal-1")
    assert ec2.describe_volumes(VolumeIds=volumes)["Volumes"][0]["State"] == "available"


def test_a_volume_that_is_still_attached_to_an_ended_machine_is_waited_for(
    checkers: Checkers, ec2: Any, launches: list[dict[str, Any]]
) -> None:
    id = checkers.launch(an_order(), within=WITHIN)
    ec2.terminate_instances(InstanceIds=[id])

    def still(parsed: dict[str, Any], **_: object) -> None:
        parsed["Volumes"] = [{"VolumeId": "vol-1", "Attachments": [{"InstanceId": id, "State": "detaching"}]}]

    ec2.meta.events.register("after-call.ec2.DescribeVolumes", still)
    assert not checkers.remove_all_of("rehearsal-1")


def test_machines_of_others_stay(checkers: Checkers, ec2: Any, launches: list[dict[str, Any]]) -> None:
    id = checkers.launch(an_order("rehearsal-2"), within=WITHIN)
    assert checkers.remove_all_of("rehearsal-1")
    assert state_of(ec2, id) == "running"


@pytest.mark.parametrize(
    "tags", [{}, {"Name": "holdfast-rt-0123456789ab"}, {"holdfast:rehearsal": "r-1", "Name": "production"}]
)
def test_a_machine_without_both_name_and_tag_is_never_ended(
    checkers: Checkers, ec2: Any, launches: list[dict[str, Any]], tags: dict[str, str]
) -> None:
    id = ec2.run_instances(ImageId="ami-12345678", MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
    if tags:
        ec2.create_tags(Resources=[id], Tags=[{"Key": key, "Value": value} for key, value in tags.items()])
    with pytest.raises(Unsafe):
        checkers.remove(id)
    assert state_of(ec2, id) == "running"


def test_what_a_rehearsal_left_behind_is_listed_with_its_expiry(
    checkers: Checkers, ec2: Any, launches: list[dict[str, Any]]
) -> None:
    ec2.run_instances(ImageId="ami-12345678", MinCount=1, MaxCount=1)
    id = checkers.launch(an_order(), within=WITHIN)
    (leftover,) = checkers.leftovers()
    assert (leftover.id, leftover.rehearsal_id, leftover.is_checker) == (id, "rehearsal-1", True)
    assert leftover.expires_at == an_order().expires_at
    checkers.remove(id)
    assert list(checkers.leftovers()) == []
