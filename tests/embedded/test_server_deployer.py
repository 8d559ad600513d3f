"""A cloud assembly becomes stacks, in order and in several Regions, and a stack that fails says why."""

import importlib.metadata
import json
import zipfile
from pathlib import Path

import pytest

from embedded.deployer import DeploymentFailed, deploy, stacks
from embedded.host_layers import HostLayers

BUCKET = "cdk-hnb659fds-assets-${AWS::AccountId}-"


@pytest.fixture
def assembly(tmp_path, unique):
    """Writes an assembly of stacks: name -> (region, what it depends on, resources, {asset key: folder})."""
    prefix = unique("assembly")

    def write(**described) -> Path:
        folder = tmp_path / "cdk.out"
        folder.mkdir(exist_ok=True)
        artifacts = {}
        for name, (region, after, resources, assets) in described.items():
            template = folder / f"{name}.template.json"
            template.write_text(json.dumps({"Resources": resources}))
            files = {f"{name}-template": _file(template.name, "file", region, f"{prefix}-{name}.json")}
            for key, source in assets.items():
                files[key] = _file(source, "zip", region, key)
            (folder / f"{name}.assets.json").write_text(json.dumps({"files": files}))
            artifacts[name] = {
                "type": "aws:cloudformation:stack",
                "environment": f"aws://unknown-account/{region}",
                "dependencies": after,
                "properties": {
                    "templateFile": template.name,
                    "stackName": f"{prefix}-{name}",
                    "stackTemplateAssetObjectUrl": f"s3://{BUCKET}{region}/{prefix}-{name}.json",
                },
            }
        (folder / "manifest.json").write_text(json.dumps({"artifacts": artifacts}))
        return folder

    write.prefix = prefix
    return write


def _file(path, packaging, region, key):
    destination = {"bucketName": BUCKET + region, "objectKey": key, "region": region}
    return {"source": {"path": path, "packaging": packaging}, "destinations": {"here": destination}}


def _queue(name):
    return {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": name}}


def test_stacks_go_to_their_regions_and_a_second_time_changes_nothing(aws, assembly, tmp_path):
    name = assembly.prefix
    written = assembly(
        second=("us-west-2", ["first"], {"Queue": _queue(f"{name}-west")}, {}),
        first=("us-east-1", [], {"Queue": _queue(f"{name}-east")}, {}),
    )
    assert [stack.identifier for stack in stacks(written)] == ["first", "second"]
    said: list[str] = []

    aws.deploy(written)
    deploy(written, aws.endpoint, cache=tmp_path / "cache", say=said.append)

    assert aws.client("sqs", "us-east-1").get_queue_url(QueueName=f"{name}-east")
    assert aws.client("sqs", "us-west-2").get_queue_url(QueueName=f"{name}-west")
    assert ["unchanged" in line for line in said] == [True, True]


def test_a_stack_is_updated(aws, assembly):
    name = assembly.prefix
    aws.deploy(assembly(only=("us-east-1", [], {"One": _queue(f"{name}-1")}, {})))
    aws.deploy(assembly(only=("us-east-1", [], {"One": _queue(f"{name}-1"), "Two": _queue(f"{name}-2")}, {})))
    assert aws.client("sqs").get_queue_url(QueueName=f"{name}-2")


def test_a_failed_stack_names_the_resource_and_the_reason(aws, assembly):
    properties = {"VpcId": "vpc-00000000000000000", "CidrBlock": "10.9.0.0/24"}
    broken = {"Homeless": {"Type": "AWS::EC2::Subnet", "Properties": properties}}
    with pytest.raises(DeploymentFailed) as failed:
        aws.deploy(assembly(only=("us-east-1", [], broken, {})))
    assert "Homeless (AWS::EC2::Subnet)" in str(failed.value)
    assert "vpc-00000000000000000" in str(failed.value)


def test_a_network_is_where_ec2_and_rds_look_for_it(aws, assembly):
    vpc, group = {"Ref": "Vpc"}, {"Fn::GetAtt": ["Group", "GroupId"]}
    subnets = {
        f"Subnet{zone}": {
            "Type": "AWS::EC2::Subnet",
            "Properties": {
                "VpcId": vpc,
                "CidrBlock": f"10.9.{zone}.0/24",
                "AvailabilityZone": f"us-east-1{'ab'[zone]}",
            },
        }
        for zone in (0, 1)
    }
    resources = {
        "Vpc": {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": "10.9.0.0/16", "EnableDnsHostnames": True}},
        **subnets,
        "Group": {"Type": "AWS::EC2::SecurityGroup", "Properties": {"GroupDescription": "databases", "VpcId": vpc}},
        "Rule": {
            "Type": "AWS::EC2::SecurityGroupIngress",
            "Properties": {
                "GroupId": group,
                "IpProtocol": "tcp",
                "FromPort": 5432,
                "ToPort": 5432,
                "CidrIp": "10.0.0.0/8",
            },
        },
        "Subnets": {
            "Type": "AWS::RDS::DBSubnetGroup",
            "Properties": {
                "DBSubnetGroupName": assembly.prefix,
                "DBSubnetGroupDescription": "two zones",
                "SubnetIds": [{"Ref": "Subnet0"}, {"Ref": "Subnet1"}],
            },
        },
    }
    aws.deploy(assembly(network=("us-east-1", [], resources, {})))

    (found,) = aws.client("rds").describe_db_subnet_groups(DBSubnetGroupName=assembly.prefix)["DBSubnetGroups"]
    (vpc,) = aws.client("ec2").describe_vpcs(VpcIds=[found["VpcId"]])["Vpcs"]
    groups = aws.client("ec2").describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [vpc["VpcId"]]}])
    (group,) = [group for group in groups["SecurityGroups"] if group["Description"] == "databases"]
    assert (vpc["CidrBlock"], len(found["Subnets"])) == ("10.9.0.0/16", 2)
    assert group["IpPermissions"][0]["FromPort"] == 5432


def test_a_global_table_is_one_table_in_two_regions(aws, assembly):
    name = assembly.prefix
    key = {"AttributeName": "id"}
    properties = {
        "TableName": name,
        "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": [{**key, "KeyType": "HASH"}],
        "AttributeDefinitions": [{**key, "AttributeType": "S"}],
        "StreamSpecification": {"StreamViewType": "NEW_AND_OLD_IMAGES"},
        "TimeToLiveSpecification": {"AttributeName": "expires_at", "Enabled": True},
        "Replicas": [
            {"Region": region, "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True}}
            for region in ("us-east-1", "us-west-2")
        ],
    }
    table = {"Table": {"Type": "AWS::DynamoDB::GlobalTable", "Properties": properties}}
    aws.deploy(assembly(ledger=("us-east-1", [], table, {})))

    east, west = aws.client("dynamodb", "us-east-1"), aws.client("dynamodb", "us-west-2")
    for writer, reader, identifier in ((east, west, "from-the-east"), (west, east, "from-the-west")):
        writer.put_item(TableName=name, Item={"id": {"S": identifier}})
        assert reader.get_item(TableName=name, Key={"id": {"S": identifier}})["Item"]
    assert west.describe_time_to_live(TableName=name)["TimeToLiveDescription"]["AttributeName"] == "expires_at"
    recovery = east.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
    assert recovery["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"


def test_a_layer_for_lambda_is_rebuilt_for_this_machine_and_remembered(tmp_path):
    version = importlib.metadata.version("jmespath")
    packages = tmp_path / "asset" / "python"
    distribution = packages / f"jmespath-{version}.dist-info"
    distribution.mkdir(parents=True)
    (distribution / "RECORD").write_text("jmespath/__init__.py,,\n")
    (packages / "jmespath").mkdir()
    (packages / "jmespath" / "__init__.py").write_text("raise ImportError('made for another machine')")
    (packages / "our_own.py").write_text("KEPT = True")
    layers = HostLayers(tmp_path / "cache")

    built = layers.zip_of(tmp_path / "asset")
    first = built.stat().st_mtime_ns

    with zipfile.ZipFile(built) as archive:
        assert b"another machine" not in archive.read("python/jmespath/__init__.py")
        assert archive.read("python/our_own.py") == b"KEPT = True"
        assert any(name.endswith(".pyc") for name in archive.namelist()), "compiled once, not at every cold start"
    assert layers.zip_of(tmp_path / "asset").stat().st_mtime_ns == first
