"""What AWS answers when it does not do what was asked, in our words.

One table, from AWS's error codes to the classes of `core.errors`. Codes decide, never text; the one exception is
`SnapshotQuotaExceeded` of RDS, see `_by_message`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
    ProxyConnectionError,
    TokenRetrievalError,
)
from botocore.parsers import ResponseParserError

from functions.core.errors import (
    AwsBusy,
    BadMessage,
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
    Unsafe,
)

Problem = type[HoldfastError]
LONGEST_QUOTE = 400
"""Characters of AWS's own message that are quoted; an encoded authorization failure runs to several thousand."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a code means for us, and what a person does next."""

    problem: Problem
    hint: str


def _all(problem: Problem, codes: str, hint: str) -> dict[str, Meaning]:
    return {code: Meaning(problem, hint) for code in codes.split()}


THROTTLED = _all(
    AwsBusy,
    """
    BandwidthLimitExceeded EC2ThrottledException LimitExceededException PriorRequestNotComplete
    ProvisionedThroughputExceededException RequestLimitExceeded RequestThrottled RequestThrottledException SlowDown
    ThrottledException Throttling ThrottlingException TooManyRequestsException TransactionInProgressException
    """,
    "Nothing was done; Holdfast asks again. If this lasts, look in CloudTrail for who uses up the request rate.",
)
"""Refused before any effect, even when it comes as HTTP 503."""

FAILED_INSIDE = frozenset(
    {
        "InternalError",
        "InternalFailure",
        "InternalServerError",
        "InternalServerException",
        "InternalServiceError",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "Unavailable",
    }
)
"""AWS failed on the way: for a request that must not be repeated, nobody knows whether it had its effect."""

MEANINGS: Mapping[str, Meaning] = {
    **THROTTLED,
    **_all(
        AwsBusy,
        "KMSThrottling Throttled",
        "Nothing was done; Holdfast asks again. SNS throttles with these words, which botocore does not repeat for.",
    ),
    **_all(
        AwsBusy,
        "InsufficientDBClusterCapacityFault InsufficientDBInstanceCapacity InsufficientInstanceCapacity "
        "InsufficientStorageClusterCapacity InsufficientVolumeCapacity",
        "AWS has no capacity there now; Holdfast asks again. If this lasts, choose another Availability Zone or class.",
    ),
    **_all(
        AwsBusy,
        "InsufficientFreeAddressesInSubnet",
        "The subnet has no free address; Holdfast asks again. If this lasts, look what else was put into its network.",
    ),
    **_all(
        AwsBusy,
        "ssm:InvalidInstanceId",
        "The agent of the machine is not registered now; Holdfast asks again. If this lasts, look at the machine's "
        "instance profile, and at the endpoints and security groups between it and Systems Manager.",
    ),
    **_all(
        TooManyInFlight,
        "ConcurrentSnapshotLimitExceeded PendingSnapshotLimitExceeded ResourceLimitExceeded "
        "SnapshotCreationPerVolumeRateExceeded",
        "The order waits for its turn. If points become late, ask AWS Support to raise the limit in this Region.",
    ),
    **_all(
        ResourceBusy,
        "IncorrectInstanceState IncorrectState InvalidDBClusterSnapshotStateFault InvalidDBClusterStateFault "
        "InvalidDBInstanceState InvalidDBSnapshotState VolumeInUse",
        "Holdfast asks again. If it stays so, look at the resource's status in the console: "
        "stopped or failed databases take no snapshots.",
    ),
    **_all(
        ResourceGone,
        "DBClusterNotFoundFault DBInstanceNotFound InvalidInstanceID.NotFound InvalidVolume.NotFound "
        "ResourceNotFoundException",
        "It was deleted, or renamed. Its recovery points stay; nothing needs to be done unless it should exist.",
    ),
    **_all(
        SnapshotGone,
        "DBClusterSnapshotNotFoundFault DBSnapshotNotFound InvalidSnapshot.NotFound ebs:ResourceNotFoundException",
        "Somebody outside of Holdfast deleted the snapshot; CloudTrail says who. Choose another recovery point.",
    ),
    **_all(
        KeyUnusable,
        "KMSAccessDeniedException KMSAccessDeniedFault KMSDisabledException KMSInvalidStateException "
        "KMSKeyNotAccessibleFault KMSNotFoundException KMS.DisabledException KMS.KMSInvalidStateException "
        "KMS.NotFoundException",
        "Open the key in the KMS console of this Region: it must be enabled, not pending deletion, and its policy must "
        "let the role use it.",
    ),
    **_all(
        NotAllowed,
        "AccessDenied AccessDeniedException AuthFailure Blocked OptInRequired PendingVerification "
        "UnauthorizedOperation",
        "Deploy the current version, which grants what its functions use; then look for a service control policy, a "
        "permissions boundary or a missing tag that denies the action.",
    ),
    **_all(
        NotAllowed,
        "ExpiredToken ExpiredTokenException IncompleteSignature InvalidClientTokenId MissingAuthenticationToken "
        "RequestExpired SignatureDoesNotMatch UnrecognizedClientException",
        "Sign in again, and check this machine's clock: AWS does not accept these credentials now.",
    ),
    **_all(
        QuotaReached,
        "AttachmentLimitExceeded DBClusterQuotaExceededFault InstanceLimitExceeded InstanceQuotaExceeded "
        "MaxIOPSLimitExceeded ServiceQuotaExceededException SharedSnapshotQuotaExceeded SnapshotLimitExceeded "
        "StorageQuotaExceeded VcpuLimitExceeded VolumeLimitExceeded",
        "Raise the quota in Service Quotas for this Region, or delete what is not needed there.",
    ),
    **_all(
        Unsafe,
        "InvalidSnapshot.InUse",
        "An AMI is registered on this snapshot. Deregister the AMI if it is not needed; Holdfast never does.",
    ),
    **_all(
        Unsafe,
        "SnapshotLocked",
        "The snapshot is locked until a date that the EBS console shows; it is deleted after that.",
    ),
    **_all(
        BadMessage,
        "InvalidInstanceID.Malformed InvalidSnapshotID.Malformed InvalidVolumeID.Malformed",
        "The id is not one that AWS could have given. Check the message, or the tag, that names it.",
    ),
}
"""By code, or by service and code where services use one code for different things."""

COPIES_IN_PROGRESS = Meaning(TooManyInFlight, MEANINGS["ResourceLimitExceeded"].hint)
MANUAL_SNAPSHOTS = Meaning(
    QuotaReached,
    "Raise the quota of manual snapshots (RDS, Service Quotas) in this Region, or delete manual snapshots that "
    "nobody needs. Every copy counts as one.",
)

NEVER_SENT = (ConnectTimeoutError, EndpointConnectionError, ProxyConnectionError)
"""No connection, so no request."""

NO_CREDENTIALS = (CredentialRetrievalError, NoCredentialsError, PartialCredentialsError, TokenRetrievalError)

LOST_ON_THE_WAY = (HTTPClientError, ResponseParserError)
"""The connection broke, timed out or answered in fragments after the request may have left."""


@contextmanager
def translated(operation: str, *, resource: str = "", once: bool = False) -> Iterator[None]:
    """Whatever botocore raises inside comes out as one of our errors; `operation` is like `ec2:CreateSnapshot`.

    `once` is for a request that must not be repeated: a lost reply is then OutcomeUnknown, because the effect may
    exist. Otherwise it is AwsBusy, because asking again is safe.
    """
    what = f"{operation} of {resource}" if resource else operation
    lost = _lost(once)
    try:
        yield
    except ClientError as answer:
        code, message = code_of(answer), _in_one_line(answer.response.get("Error", {}).get("Message"))
        meaning = _meaning(operation, code, message, _status(answer), lost)
        raise meaning.problem(f"{what}: {code}: {message}", hint=meaning.hint) from answer
    except NEVER_SENT as broken:
        raise AwsBusy(
            f"{what}: {_in_one_line(str(broken))}",
            hint="No connection, so nothing was done; Holdfast asks again. If this lasts, check the route to the "
            "endpoint: the subnet, its VPC endpoints, the Region's health page.",
        ) from broken
    except NO_CREDENTIALS as missing:
        raise NotAllowed(
            f"{what}: {_in_one_line(str(missing))}", hint="Sign in: there are no usable AWS credentials here."
        ) from missing
    except LOST_ON_THE_WAY as broken:
        raise lost.problem(f"{what}: {_in_one_line(str(broken))}", hint=lost.hint) from broken
    except BotoCoreError as mistake:
        raise Broken(
            f"{what}: {type(mistake).__name__}: {_in_one_line(str(mistake))}",
            hint="The request was not one that botocore sends. Please report this line as a defect.",
        ) from mistake


def code_of(answer: ClientError) -> str:
    """AWS's code for the error; empty when the answer had none."""
    return answer.response.get("Error", {}).get("Code", "")


def _meaning(operation: str, code: str, message: str, status: int, lost: Meaning) -> Meaning:
    if code == "SnapshotQuotaExceeded":
        return _by_message(message)
    service = operation.partition(":")[0]
    known = MEANINGS.get(f"{service}:{code}") or MEANINGS.get(code)
    if known is not None:
        return known
    if code in FAILED_INSIDE or status >= 500:
        return lost
    return Meaning(
        Broken, f"Holdfast does not know the code {code or '(none)'}. Please report this line; nothing was lost by it."
    )


def _by_message(message: str) -> Meaning:
    """RDS has one code for two conditions, and only the words differ: "Cannot copy more than 20 snapshots across
    regions" passes by itself, "Cannot create more than 100 manual snapshots" does not."""
    return COPIES_IN_PROGRESS if re.search(r"\bcop(y|ies)\b", message, re.IGNORECASE) else MANUAL_SNAPSHOTS


def _lost(once: bool) -> Meaning:
    if once:
        return Meaning(
            OutcomeUnknown, "The reply was lost. Holdfast looks for what the request made before it asks again."
        )
    return Meaning(AwsBusy, "AWS had an error of its own; Holdfast asks again. If this lasts, see the AWS health page.")


def _status(answer: ClientError) -> int:
    return answer.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)


def _in_one_line(text: str | None) -> str:
    """The text without line breaks, not too long; botocore answers None where AWS sent an empty message."""
    line = " ".join((text or "").split())
    return line if len(line) <= LONGEST_QUOTE else f"{line[:LONGEST_QUOTE]}..."
