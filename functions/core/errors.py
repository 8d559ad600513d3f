"""Everything that may go wrong, named once.

HoldfastError
├─ TryAgain             the caller asks again later; nobody is woken
│   ├─ AwsBusy              throttled, or a 5xx
│   ├─ TooManyInFlight      a limit on operations in progress: back-pressure, never a failed backup
│   ├─ ResourceBusy         the database is in a state in which AWS takes no snapshot
│   ├─ OutcomeUnknown       the reply was lost: the effect may exist, so look before doing it again
│   └─ ClaimedElsewhere     somebody else holds a young claim and may be creating at this moment
├─ Refused              a person changes something; the hint says what
│   ├─ BadMessage           a message, tag or setting does not match its contract
│   ├─ NoRecoveryPoint      nothing usable satisfies the request
│   ├─ SnapshotGone         it was there when we planned
│   ├─ ResourceGone         the volume, instance, database or cluster does not exist any more
│   ├─ KeyUnusable          the KMS key is disabled, absent or not granted where it is needed
│   ├─ NotAllowed           access denied
│   ├─ QuotaReached         raise the quota or delete something
│   ├─ RecoveryStopped      a recovery waits for somebody to mend the cause and redrive it
│   └─ Unsafe               would touch what is not ours, or the last usable point
├─ WorkFailed           AWS accepted and failed later; the run says so
│   └─ RestoreFailed
└─ Broken               our mistake, or an answer of AWS that we do not know

The class name is the contract with Step Functions (`ErrorEquals` knows no inheritance) and with the run row.
"""

from __future__ import annotations

from functions.core.plain_text import printable

LONGEST_WHAT = 16_000
"""Characters. Step Functions cuts a cause off at 32 KiB, and nobody reads half as much."""


class HoldfastError(Exception):
    """Says what happened in one lower-case line, and in `hint` what a person does next.

    What was quoted from outside is printable in both: an error ends on screens, in mails and in consoles.
    """

    def __init__(self, what: str, *, hint: str) -> None:
        self.what = printable(what[:LONGEST_WHAT])
        self.hint = printable(hint)
        super().__init__(self.what)

    def __str__(self) -> str:
        return f"{self.what}\nHint: {self.hint}"


class TryAgain(HoldfastError):
    """Asking again later is right and enough; `after_seconds` is how much later."""

    after_seconds = 30


class AwsBusy(TryAgain):
    """AWS throttled the request or had an error of its own; nothing was done."""


class TooManyInFlight(TryAgain):
    """A limit on what may be in progress was reached; the order waits, nothing failed."""


class ResourceBusy(TryAgain):
    """The resource is in a state in which AWS takes no snapshot now."""

    after_seconds = 300


class OutcomeUnknown(TryAgain):
    """The request may or may not have had its effect; only looking tells, once the claim is old enough to take over."""

    after_seconds = 690


class ClaimedElsewhere(TryAgain):
    """Somebody else claimed the work a moment ago; its claim can be taken over when it is old."""

    after_seconds = 690


class Refused(HoldfastError):
    """Repeating changes nothing until a person changes something."""


class BadMessage(Refused):
    """A message, tag or setting does not match its contract."""


class NoRecoveryPoint(Refused):
    """Nothing usable satisfies the request."""


class SnapshotGone(Refused):
    """The snapshot does not exist any more."""


class ResourceGone(Refused):
    """The resource does not exist any more."""


class KeyUnusable(Refused):
    """The KMS key cannot be used where it is needed."""


class NotAllowed(Refused):
    """AWS refused for lack of permission."""


class QuotaReached(Refused):
    """A quota of the account is used up."""


class RecoveryStopped(Refused):
    """The recovery goes on where it stopped when its execution is redriven."""


class Unsafe(Refused):
    """Would touch what is not ours, or what must be kept."""


class WorkFailed(HoldfastError):
    """AWS accepted the work and failed it later."""


class RestoreFailed(WorkFailed):
    """A restored volume or database ended in a failed state."""


class Broken(HoldfastError):
    """Our mistake, or an answer of AWS that we do not know."""
