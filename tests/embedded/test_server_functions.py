"""Lambda functions: how they fail, what they may do, what they cost, and what feeds them."""

import io
import json
import zipfile
from itertools import chain

import botocore.exceptions
import pytest


def _invoke(aws, deployed, payload=None):
    answer = aws.client("lambda").invoke(FunctionName=deployed.name, Payload=json.dumps(payload or {}))
    return answer.get("FunctionError"), json.load(answer["Payload"])


def test_an_exception_carries_its_class_name_and_leaves_the_process_warm(aws, function):
    deployed = function(
        """
        import os
        class DiskIsFull(Exception): pass
        def handler(event, context):
            note(os.getpid())
            raise DiskIsFull("no room")
        """
    )
    for _ in range(2):
        error, body = _invoke(aws, deployed)
        assert (error, body["errorType"], body["errorMessage"]) == ("Unhandled", "DiskIsFull", "no room")
    first, second = deployed.journal()
    assert first == second


def test_a_function_that_cannot_be_imported_says_so(aws, function):
    error, body = _invoke(aws, function("import a_package_nobody_has"))
    assert (error, body["errorType"]) == ("Unhandled", "Runtime.ImportModuleError")
    assert "a_package_nobody_has" in body["errorMessage"]


def test_what_a_function_prints_is_in_its_log_group(aws, function):
    deployed = function("def handler(event, context): print('counted', 3, 'blocks')")
    _invoke(aws, deployed)
    events = aws.client("logs").filter_log_events(logGroupName=f"/aws/lambda/{deployed.name}")["events"]
    messages = [event["message"] for event in events]
    assert "counted 3 blocks" in messages
    assert not any("embedded" in message for message in messages)


def test_a_layer_is_unpacked_once_for_all_processes(aws, function, unique):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("python/in_the_layer.py", "from pathlib import Path\nPLACE = str(Path(__file__).parent)\n")
    version = aws.client("lambda").publish_layer_version(
        LayerName=unique("layer"), Content={"ZipFile": buffer.getvalue()}
    )
    source = "import in_the_layer\ndef handler(event, context): return in_the_layer.PLACE"
    places = {_invoke(aws, function(source, Layers=[version["LayerVersionArn"]]))[1] for _ in range(2)}
    assert len(places) == 1


def test_a_role_without_permission_is_denied(aws, function):
    source = """
    import boto3
    def handler(event, context):
        return len(boto3.client("ec2").describe_volumes()["Volumes"])
    """
    error, body = _invoke(aws, function(source))
    assert (error, body["errorType"]) == ("Unhandled", "ClientError")
    assert "UnauthorizedOperation" in body["errorMessage"]
    assert _invoke(aws, function(source, allow=("ec2:DescribeVolumes",)))[0] is None


def test_an_asynchronous_failure_counts_as_an_error_and_is_tried_again_after_minutes(aws, function):
    deployed = function("def handler(event, context):\n    note('tried')\n    raise ValueError('always')")
    before = aws.now()
    aws.client("lambda").invoke(FunctionName=deployed.name, InvocationType="Event", Payload=b"{}")
    deployed.wait_for(1)

    aws.advance(61)
    deployed.wait_for(2)
    aws.advance(121)
    deployed.wait_for(3)

    errors = aws.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/Lambda",
        MetricName="Errors",
        Dimensions=[{"Name": "FunctionName", "Value": deployed.name}],
        StartTime=before.replace(second=0, microsecond=0),
        EndTime=aws.now(),
        Period=3600,
        Statistics=["Sum"],
    )["Datapoints"]
    assert sum(point["Sum"] for point in errors) == 3


def test_what_eventbridge_could_not_deliver_ends_in_the_dead_letter_queue(aws, function, unique, until):
    sqs, events, name = aws.client("sqs"), aws.client("events"), unique("dead")
    queue = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    deployed = function("def handler(event, context): raise ValueError('always')", DeadLetterConfig={"TargetArn": arn})
    aws.client("lambda").put_function_event_invoke_config(FunctionName=deployed.name, MaximumRetryAttempts=0)
    events.put_rule(Name=name, EventPattern=json.dumps({"source": [name]}))
    events.put_targets(Rule=name, Targets=[{"Id": "1", "Arn": deployed.arn}])

    events.put_events(Entries=[{"Source": name, "DetailType": "x", "Detail": "{}"}])

    (message,) = until(lambda: sqs.receive_message(QueueUrl=queue).get("Messages"), what="the dead letter")
    assert name in message["Body"]


def test_reserved_concurrency_throttles(aws, function):
    deployed = function("def handler(event, context): return 1")
    aws.client("lambda").put_function_concurrency(FunctionName=deployed.name, ReservedConcurrentExecutions=0)
    with pytest.raises(botocore.exceptions.ClientError, match="TooManyRequestsException"):
        _invoke(aws, deployed)


# ---------------------------------------------------------------------------- what feeds them


def test_a_partial_batch_response_brings_back_only_what_failed(aws, function, unique, until):
    sqs, name = aws.client("sqs"), unique("orders")
    queue = sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "60"})["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    deployed = function(
        """
        def handler(event, context):
            note([record["body"] for record in event["Records"]])
            failed = [record["messageId"] for record in event["Records"] if record["body"] == "bad"]
            return {"batchItemFailures": [{"itemIdentifier": identifier} for identifier in failed]}
        """
    )
    sqs.send_message_batch(
        QueueUrl=queue, Entries=[{"Id": body, "MessageBody": body} for body in ("good", "bad", "fine")]
    )
    mapping = aws.client("lambda").create_event_source_mapping(
        EventSourceArn=arn,
        FunctionName=deployed.name,
        BatchSize=10,
        MaximumBatchingWindowInSeconds=1,
        FunctionResponseTypes=["ReportBatchItemFailures"],
    )

    assert sorted(deployed.wait_for(1)[0]) == ["bad", "fine", "good"]
    aws.advance(61)  # the visibility time-out passes on the embedded clock
    until(lambda: deployed.journal()[1:], what="the failed message to come back")
    assert deployed.journal()[1] == ["bad"]
    aws.client("lambda").delete_event_source_mapping(UUID=mapping["UUID"])


@pytest.fixture
def table(aws, unique):
    name = unique("ledger")
    created = aws.client("dynamodb").create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )["TableDescription"]
    yield created
    aws.client("dynamodb").delete_table(TableName=name)


@pytest.fixture
def streaming(aws, table):
    made = []

    def stream_to(deployed, **settings):
        mapping = aws.client("lambda").create_event_source_mapping(
            EventSourceArn=table["LatestStreamArn"],
            FunctionName=deployed.name,
            StartingPosition="TRIM_HORIZON",
            **settings,
        )
        made.append(mapping["UUID"])

    yield stream_to
    for identifier in made:
        aws.client("lambda").delete_event_source_mapping(UUID=identifier)


def _put(aws, table, identifier, kind):
    item = {"id": {"S": identifier}, "kind": {"S": kind}}
    aws.client("dynamodb").put_item(TableName=table["TableName"], Item=item)


NOTE_KEYS = """
def handler(event, context):
    note([record["dynamodb"]["Keys"]["id"]["S"] for record in event["Records"]])
"""


def test_a_stream_brings_only_what_its_filter_lets_through(aws, function, table, streaming):
    deployed = function(NOTE_KEYS)
    pattern = {"eventName": ["INSERT"], "dynamodb": {"NewImage": {"kind": {"S": ["run"]}}}}
    for identifier, kind in (("a", "point"), ("b", "run"), ("c", "fact"), ("d", "run")):
        _put(aws, table, identifier, kind)
    streaming(deployed, FilterCriteria={"Filters": [{"Pattern": json.dumps(pattern)}]})
    deployed.wait_for(1)
    assert list(chain(*deployed.journal())) == ["b", "d"]


def test_a_record_a_stream_cannot_get_past_is_cut_out_and_set_aside(aws, function, table, streaming, unique, until):
    sqs = aws.client("sqs")
    queue = sqs.create_queue(QueueName=unique("set-aside"))["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    deployed = function(
        """
        def handler(event, context):
            keys = [record["dynamodb"]["Keys"]["id"]["S"] for record in event["Records"]]
            if "poison" in keys:
                raise ValueError("cannot")
            note(keys)
        """
    )
    for identifier in ("a", "poison", "c"):
        _put(aws, table, identifier, "run")
    streaming(
        deployed,
        MaximumRetryAttempts=1,
        BisectBatchOnFunctionError=True,
        DestinationConfig={"OnFailure": {"Destination": arn}},
    )
    (message,) = until(lambda: sqs.receive_message(QueueUrl=queue).get("Messages"), what="the set-aside record")
    assert json.loads(message["Body"])["requestContext"]["condition"] == "RetryAttemptsExhausted"
    until(lambda: "c" in chain(*deployed.journal()), what="the record behind the poison")


def test_an_expired_item_is_gone_and_its_removal_is_dynamodbs_own(aws, function, table, streaming, until):
    dynamodb, name = aws.client("dynamodb"), table["TableName"]
    dynamodb.update_time_to_live(
        TableName=name, TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires_at"}
    )
    deployed = function("def handler(event, context): note([r.get('userIdentity', {}) for r in event['Records']])")
    expires_at = int(aws.now().timestamp()) + 3600
    dynamodb.put_item(TableName=name, Item={"id": {"S": "old"}, "expires_at": {"N": str(expires_at)}})
    streaming(deployed, FilterCriteria={"Filters": [{"Pattern": '{"eventName": ["REMOVE"]}'}]})
    assert dynamodb.get_item(TableName=name, Key={"id": {"S": "old"}}).get("Item")

    aws.advance(3601)

    ((identity,),) = deployed.wait_for(1)
    assert identity["principalId"] == "dynamodb.amazonaws.com"
    assert dynamodb.get_item(TableName=name, Key={"id": {"S": "old"}}).get("Item") is None


def test_queues_topics_tables_and_secrets_work_under_a_customer_key(aws, function, unique, until):
    name, sqs, sns = unique("keyed"), aws.client("sqs"), aws.client("sns")
    key = aws.client("kms").create_key()["KeyMetadata"]["Arn"]
    queue = sqs.create_queue(QueueName=name, Attributes={"KmsMasterKeyId": key})["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    topic = sns.create_topic(Name=name, Attributes={"KmsMasterKeyId": key})["TopicArn"]
    may_send = {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": arn}
    may_send |= {"Principal": {"Service": "sns.amazonaws.com"}, "Condition": {"ArnEquals": {"aws:SourceArn": topic}}}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [may_send]})
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy})
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})
    secret = aws.client("secretsmanager").create_secret(Name=name, SecretString="open", KmsKeyId=key)["ARN"]
    aws.client("dynamodb").create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        SSESpecification={"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": key},
    )
    deployed = function(
        """
        import boto3
        def handler(event, context):
            boto3.client("sns").publish(TopicArn=event["topic"], Message="published")
            boto3.client("dynamodb").put_item(TableName=event["table"], Item={"id": {"S": "kept"}})
            return boto3.client("secretsmanager").get_secret_value(SecretId=event["secret"])["SecretString"]
        """,
        allow=("sns:Publish", "dynamodb:PutItem", "secretsmanager:GetSecretValue"),
    )

    assert _invoke(aws, deployed, {"topic": topic, "table": name, "secret": secret}) == (None, "open")
    (message,) = until(lambda: sqs.receive_message(QueueUrl=queue).get("Messages"), what="the published message")
    assert message["Body"] == "published"
    assert aws.client("dynamodb").get_item(TableName=name, Key={"id": {"S": "kept"}})["Item"]
