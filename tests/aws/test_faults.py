"""Every error of AWS that a function may meet, in our words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import (
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ParamValidationError,
    ReadTimeoutError,
)
from botocore.parsers import ResponseParserError
from botocore.retries.standard import ThrottledRetryableChecker

from functions.aws.faults import FAILED_INSIDE, MEANINGS, THROTTLED, translated
from functions.core.errors import (
    AwsBusy,
    Broken,
    HoldfastError,
    KeyUnusable,
    NotAllowed,
    OutcomeUnknown,
    QuotaReached,
    ResourceBusy,
    ResourceGone,
    SnapshotGone,
    TooManyInFlight,
    TryAgain,
    Unsafe,
)
from tests.aws.moto_world import refusal


def raised(problem: Exception, *, operation: str = "ec2:CreateSnapshot", once: bool = False) -> HoldfastError:
    with pytest.raises(HoldfastError) as caught, translated(operation, resource="vol-1", once=once):
        raise problem
    return caught.value


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("RequestLimitExceeded", AwsBusy),
        ("Throttling", AwsBusy),
        ("EC2ThrottledException", AwsBusy),
        ("InsufficientVolumeCapacity", AwsBusy),
        ("ResourceLimitExceeded", TooManyInFlight),
        ("PendingSnapshotLimitExceeded", TooManyInFlight),
        ("ConcurrentSnapshotLimitExceeded", TooManyInFlight),
        ("SnapshotCreationPerVolumeRateExceeded", TooManyInFlight),
        ("InvalidDBInstanceState", ResourceBusy),
        ("InvalidDBClusterStateFault", ResourceBusy),
        ("InvalidVolume.NotFound", ResourceGone),
        ("InvalidInstanceID.NotFound", ResourceGone),
        ("DBInstanceNotFound", ResourceGone),
        ("DBClusterNotFoundFault", ResourceGone),
        ("InvalidSnapshot.NotFound", SnapshotGone),
        ("DBSnapshotNotFound", SnapshotGone),
        ("DBClusterSnapshotNotFoundFault", SnapshotGone),
        ("KMSKeyNotAccessibleFault", KeyUnusable),
        ("UnauthorizedOperation", NotAllowed),
        ("AccessDenied", NotAllowed),
        ("ExpiredToken", NotAllowed),
        ("SnapshotLimitExceeded", QuotaReached),
        ("InvalidSnapshot.InUse", Unsafe),
        ("SnapshotLocked", Unsafe),
        ("NeverHeardOfIt", Broken),
    ],
)
@pytest.mark.parametrize("once", [False, True])
def test_a_code_means_the_same_however_often_the_request_is_sent(
    code: str, expected: type[HoldfastError], once: bool
) -> None:
    """F01, F02, F07 to F09, F50."""
    assert type(raised(refusal(code, "CreateSnapshot"), once=once)) is expected


def test_an_error_names_the_operation_the_resource_and_the_code() -> None:
    error = raised(refusal("NeverHeardOfIt", "CreateSnapshot", message="what\nis this"))
    assert error.what == "ec2:CreateSnapshot of vol-1: NeverHeardOfIt: what is this"
    assert "NeverHeardOfIt" in error.hint


def test_an_error_without_a_message_is_still_an_error() -> None:
    nothing: Any = None
    assert type(raised(refusal("InvalidSnapshot.NotFound", "CopySnapshot", message=nothing))) is SnapshotGone


def test_a_long_message_is_cut() -> None:
    assert len(raised(refusal("UnauthorizedOperation", "CreateSnapshot", message="x" * 5000)).what) < 600


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Cannot create more than 100 manual snapshots", QuotaReached),
        ("Cannot copy more than 20 snapshots across regions", TooManyInFlight),
        ("Too many snapshot copies in progress", TooManyInFlight),
        ("", QuotaReached),
    ],
)
def test_the_two_quotas_of_rds_are_told_apart_by_their_words(message: str, expected: type[HoldfastError]) -> None:
    """F10, F11."""
    assert type(raised(refusal("SnapshotQuotaExceeded", "CopyDBSnapshot", message=message), once=True)) is expected


@pytest.mark.parametrize("code", sorted(FAILED_INSIDE))
def test_a_failure_inside_aws_is_an_unknown_outcome_only_for_what_is_sent_once(code: str) -> None:
    assert type(raised(refusal(code, "CreateSnapshot", status=500), once=True)) is OutcomeUnknown
    assert type(raised(refusal(code, "DescribeSnapshots", status=500), once=False)) is AwsBusy


def test_a_5xx_with_a_code_nobody_knows_is_an_unknown_outcome() -> None:
    assert type(raised(refusal("NeverHeardOfIt", "CreateSnapshot", status=502), once=True)) is OutcomeUnknown


@pytest.mark.parametrize("code", sorted(THROTTLED))
def test_throttling_is_a_refusal_before_any_effect_even_as_a_503(code: str) -> None:
    assert type(raised(refusal(code, "CreateSnapshot", status=503), once=True)) is AwsBusy


BEFORE_SENDING: list[Callable[[], Exception]] = [
    lambda: ConnectTimeoutError(endpoint_url="https://ec2"),
    lambda: EndpointConnectionError(endpoint_url="https://ec2"),
]
AFTER_SENDING: list[Callable[[], Exception]] = [
    lambda: ReadTimeoutError(endpoint_url="https://ec2"),
    lambda: ConnectionClosedError(endpoint_url="https://ec2"),
    lambda: ResponseParserError("half an answer"),
]


@pytest.mark.parametrize("problem", BEFORE_SENDING)
def test_a_connection_that_never_was_has_no_effect(problem: Callable[[], Exception]) -> None:
    assert type(raised(problem(), once=True)) is AwsBusy


@pytest.mark.parametrize("problem", AFTER_SENDING)
def test_a_connection_lost_after_sending_may_have_had_its_effect(problem: Callable[[], Exception]) -> None:
    assert type(raised(problem(), once=True)) is OutcomeUnknown
    assert type(raised(problem(), once=False)) is AwsBusy


def test_no_credentials_are_a_persons_business() -> None:
    assert type(raised(NoCredentialsError(), once=True)) is NotAllowed


def test_a_request_that_cannot_be_built_is_our_mistake() -> None:
    assert type(raised(ParamValidationError(report="VolumeId is missing"), once=True)) is Broken


def test_our_own_errors_pass_through_unchanged() -> None:
    ours = Unsafe("not ours", hint="Leave it.")
    assert raised(ours) is ours


def test_a_code_may_mean_something_else_in_another_service() -> None:
    gone = refusal("ResourceNotFoundException", "ListChangedBlocks")
    assert type(raised(gone, operation="ebs:ListChangedBlocks")) is SnapshotGone
    assert type(raised(gone, operation="secretsmanager:GetSecretValue")) is ResourceGone


def test_every_code_botocore_takes_for_throttling_is_one_for_us() -> None:
    checker: Any = ThrottledRetryableChecker  # the stubs do not know what it holds
    assert set(checker._THROTTLED_ERROR_CODES) == set(THROTTLED)
    assert all(issubclass(meaning.problem, TryAgain) for meaning in THROTTLED.values())


@pytest.mark.parametrize(
    ("service", "operation"),
    [
        ("rds", "CreateDBSnapshot"),
        ("rds", "CopyDBSnapshot"),
        ("rds", "DeleteDBSnapshot"),
        ("rds", "CreateDBClusterSnapshot"),
        ("rds", "CopyDBClusterSnapshot"),
        ("rds", "DeleteDBClusterSnapshot"),
        ("ebs", "ListChangedBlocks"),
    ],
)
def test_every_error_the_model_names_for_an_operation_has_a_meaning(service: str, operation: str) -> None:
    handled_by_the_adapter = {
        "DBSnapshotAlreadyExists",
        "DBClusterSnapshotAlreadyExistsFault",
        "ValidationException",  # its reason decides
        "CustomAvailabilityZoneNotFound",  # of RDS on premises, which we never ask for
        "SnapshotQuotaExceeded",  # its words decide
    }
    model = botocore.session.Session().get_service_model(service).operation_model(operation)
    codes = {shape.metadata.get("error", {}).get("code", shape.name) for shape in model.error_shapes}
    unknown = codes - set(MEANINGS) - FAILED_INSIDE - handled_by_the_adapter
    assert codes
    assert unknown == set()


def test_every_meaning_tells_a_person_the_next_step() -> None:
    for code, meaning in MEANINGS.items():
        assert meaning.hint.endswith((".", ":")), code
        assert len(meaning.hint) > 30, code
