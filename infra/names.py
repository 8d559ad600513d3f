"""The names on which the stacks agree.

A stack in one Region finds what a stack in another Region made by these names and by nothing else: references across
Regions would bring custom resources with Lambda functions of their own, and would tie the recovery stacks to a home
Region that may be gone when they are needed.
"""

from __future__ import annotations

from functions.aws.permissions import DEEP_CHECK_NETWORK as DEEP_CHECK_NETWORK
from functions.aws.permissions import KEY_ALIAS as KEY_ALIAS
from functions.aws.permissions import NETWORK_TAG as NETWORK_TAG

LEDGER = "holdfast-ledger"
OPEN_INDEX = "open"
LISTED_INDEX = "listed"

BUS = "holdfast"
TOPIC = "holdfast-notices"

SNAPSHOT_ORDERS = "holdfast-snapshot-orders"
COPY_ORDERS = "holdfast-copy-orders"
AWS_NOTICES = "holdfast-aws-notices"
MISSED_EVENTS = "holdfast-missed-events"
MISSED_RECOVERY_EVENTS = "holdfast-missed-recovery-events"
UNSENT_NOTICES = "holdfast-unsent-notices"

REHEARSE = "holdfast-rehearse"
RECOVER = "holdfast-recover"
RECOVER_SET = "holdfast-recover-set"
ANSWER = "holdfast-answer"
HOLD = "holdfast-hold"
SWAP = "holdfast-swap-names"
SUBNET_GROUP = "holdfast-rehearsal"
DEEP_CHECK = "holdfast-deep-check"
SCHEDULES = "holdfast"
RECOVERY_SCHEDULES = "holdfast-recovery"

METRICS = "Holdfast"
PLANS_MADE = "PlansMade"
OVERDUE = "Overdue"
LOST = "Lost"
EXPOSED = "Exposed"
UNLOCKED = "Unlocked"


def dead(queue: str) -> str:
    """The queue in which messages end that the queue of that name could not hand on."""
    return f"{queue}-dead"


DEAD_LETTERS_AT_HOME = (dead(SNAPSHOT_ORDERS), dead(COPY_ORDERS), dead(AWS_NOTICES), MISSED_EVENTS)
DEAD_LETTERS_AT_RECOVERY = (MISSED_RECOVERY_EVENTS,)
