"""Roles may do in the embedded AWS what AWS would let them do, and no more."""

import json

import pytest

from embedded.corrections.authorization import questions

REGION = "eu-central-1"
SNAPSHOT = f"arn:aws:ec2:{REGION}::snapshot/"


def _asked(service, operation, path="/", **parameters):
    found = questions(service, f"{service}:{operation}", REGION, path, parameters)
    return [(question.action, question.arn) for question in found]


def test_creating_a_snapshot_asks_about_volume_snapshot_and_tags():
    tags = {"TagSpecification.1.ResourceType": "snapshot", "TagSpecification.1.Tag.1.Key": "owner"}
    tags["TagSpecification.1.Tag.1.Value"] = "us"
    volume, snapshot, tagging = questions("ec2", "ec2:CreateSnapshot", REGION, "/", {"VolumeId": "vol-1", **tags})
    assert volume.arn == f"arn:aws:ec2:{REGION}:123456789012:volume/vol-1"
    assert snapshot.arn == SNAPSHOT + "*"
    assert snapshot.keys == {"aws:TagKeys": ["owner"], "aws:RequestTag/owner": "us"}
    assert (tagging.action, tagging.keys["ec2:CreateAction"]) == ("ec2:CreateTags", "CreateSnapshot")


def test_a_copy_asks_about_its_source_in_its_region_and_about_the_new_one():
    asked = _asked("ec2", "CopySnapshot", SourceRegion="us-east-1", SourceSnapshotId="snap-1")
    assert asked == [
        ("ec2:CopySnapshot", "arn:aws:ec2:us-east-1::snapshot/snap-1"),
        ("ec2:CopySnapshot", SNAPSHOT + "*"),
    ]


def test_a_lock_is_asked_about_with_its_days_and_its_cooling_off():
    wanted = {"SnapshotId": "snap-1", "LockDuration": "7", "CoolOffPeriod": "24"}
    (lock,) = questions("ec2", "ec2:LockSnapshot", REGION, "/", wanted)
    assert lock.arn == SNAPSHOT + "snap-1"
    assert lock.keys == {"ec2:SnapshotLockDuration": "7", "ec2:SnapshotCoolOffPeriod": "24"}


def test_who_may_use_a_database_snapshot_is_asked_about_by_its_name():
    asked = _asked("rds", "DescribeDBClusterSnapshotAttributes", DBClusterSnapshotIdentifier="holdfast-1")
    assert [arn.rpartition(":rds:")[2] for _, arn in asked] == [f"{REGION}:123456789012:cluster-snapshot:holdfast-1"]


def test_each_tagged_resource_is_asked_about():
    asked = _asked("ec2", "CreateTags", **{"ResourceId.1": "snap-1", "ResourceId.2": "vol-2"})
    assert [arn.rpartition(":")[2] for _, arn in asked] == ["snapshot/snap-1", "volume/vol-2"]


def test_blocks_are_asked_about_by_their_snapshots():
    assert _asked("ebs", "GetSnapshotBlock", "/snapshots/snap-1/blocks/7") == [
        ("ebs:GetSnapshotBlock", SNAPSHOT + "snap-1")
    ]
    both = _asked("ebs", "ListChangedBlocks", "/snapshots/snap-2/changedblocks", firstSnapshotId="snap-1")
    assert [arn for _, arn in both] == [SNAPSHOT + "snap-2", SNAPSHOT + "snap-1"]


def test_a_database_copy_asks_about_both_snapshots_and_the_tags():
    source = "arn:aws:rds:us-east-1:123456789012:snapshot:one"
    asked = _asked(
        "rds",
        "CopyDBSnapshot",
        SourceDBSnapshotIdentifier=source,
        TargetDBSnapshotIdentifier="two",
        **{"Tags.Tag.1.Key": "owner"},
    )
    target = f"arn:aws:rds:{REGION}:123456789012:snapshot:two"
    assert asked == [("rds:CopyDBSnapshot", target), ("rds:CopyDBSnapshot", source), ("rds:AddTagsToResource", target)]


MANAGED = {"StringEquals": {"aws:RequestTag/managed": "1"}}
STATEMENTS = [
    {"Effect": "Allow", "Action": "ec2:CreateSnapshot", "Resource": "arn:aws:ec2:*:*:volume/*"},
    {
        "Effect": "Allow",
        "Action": "ec2:CreateSnapshot",
        "Resource": "arn:aws:ec2:*::snapshot/${*}",
        "Condition": MANAGED,
    },
    {
        "Effect": "Allow",
        "Action": "ec2:CreateTags",
        "Resource": "arn:aws:ec2:*::snapshot/*",
        "Condition": {"StringEquals": {"ec2:CreateAction": "CreateSnapshot"}},
    },
    {
        "Effect": "Allow",
        "Action": ["ec2:DeleteSnapshot", "ebs:ListSnapshotBlocks"],
        "Resource": "arn:aws:ec2:*::snapshot/*",
        "Condition": {"StringEquals": {"aws:ResourceTag/managed": "1"}},
    },
]
DO = """
import boto3
CLIENTS = {"ec2": boto3.client("ec2"), "ebs": boto3.client("ebs")}
def handler(event, context):
    try:
        answer = getattr(CLIENTS[event["service"]], event["call"])(**event["arguments"])
    except Exception as refused:
        return refused.response["Error"]["Code"]
    return answer.get("SnapshotId", "done")
"""


@pytest.fixture
def ask(aws, function):
    deployed = function(DO, statements=STATEMENTS)

    def invoke(service, call, **arguments):
        payload = json.dumps({"service": service, "call": call, "arguments": arguments})
        return json.load(aws.client("lambda").invoke(FunctionName=deployed.name, Payload=payload)["Payload"])

    return invoke


def test_conditions_on_tags_decide_what_a_role_may_create_tag_read_and_delete(aws, ask):
    ec2 = aws.client("ec2")
    volume = ec2.create_volume(AvailabilityZone="us-east-1a", Size=1)["VolumeId"]
    tags = lambda value: [{"ResourceType": "snapshot", "Tags": [{"Key": "managed", "Value": value}]}]  # noqa: E731

    assert ask("ec2", "create_snapshot", VolumeId=volume) == "UnauthorizedOperation"
    assert ask("ec2", "create_snapshot", VolumeId=volume, TagSpecifications=tags("0")) == "UnauthorizedOperation"
    ours = ask("ec2", "create_snapshot", VolumeId=volume, TagSpecifications=tags("1"))
    assert ours.startswith("snap-")
    aws.advance(20)  # AWS takes one snapshot of a volume every 15 seconds
    theirs = ec2.create_snapshot(VolumeId=volume)["SnapshotId"]

    retag = {"Resources": [theirs], "Tags": [{"Key": "managed", "Value": "1"}]}
    assert ask("ec2", "create_tags", **retag) == "UnauthorizedOperation", "only while creating"
    aws.advance(60)  # both snapshots are complete
    assert ask("ebs", "list_snapshot_blocks", SnapshotId=ours) == "done"
    assert ask("ebs", "list_snapshot_blocks", SnapshotId=theirs) == "AccessDeniedException"
    assert ask("ec2", "delete_snapshot", SnapshotId=theirs) == "UnauthorizedOperation"
    assert ask("ec2", "delete_snapshot", SnapshotId=ours) == "done"


def test_a_queue_that_denies_plain_http_and_a_namespace_condition_let_the_right_caller_through(aws, function, unique):
    sqs, name = aws.client("sqs"), unique("strict")
    queue = sqs.create_queue(QueueName=name)["QueueUrl"]
    insecure = {"Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": f"arn:aws:sqs:*:*:{name}"}
    insecure |= {"Condition": {"Bool": {"aws:SecureTransport": "false"}}}
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": json.dumps({"Statement": [insecure]})})
    own = {"StringEquals": {"cloudwatch:namespace": "Ours"}}
    deployed = function(
        """
        import boto3
        def handler(event, context):
            boto3.client("sqs").send_message_batch(QueueUrl=event["queue"], Entries=[{"Id": "1", "MessageBody": "x"}])
            put, seen = boto3.client("cloudwatch").put_metric_data, []
            for namespace in ("Ours", "Theirs"):
                try:
                    put(Namespace=namespace, MetricData=[{"MetricName": "n", "Value": 1}])
                    seen.append(namespace)
                except Exception:
                    pass
            return seen
        """,
        statements=[
            {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "*"},
            {"Effect": "Allow", "Action": "cloudwatch:PutMetricData", "Resource": "*", "Condition": own},
        ],
    )
    answer = aws.client("lambda").invoke(FunctionName=deployed.name, Payload=json.dumps({"queue": queue}))
    assert json.load(answer["Payload"]) == ["Ours"]
