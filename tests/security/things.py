"""What is in an account, to be touched or not: ours, of a rehearsal, of a recovery, and what people work with.

ARNs hold `{region}`: a thing is where the role works that reaches for it, unless it says `away`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tests.security.deployed import ACCOUNT, AWAY


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """Something with an ARN and tags; `says` is how a sentence calls it."""

    says: str
    arn: str
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    keys: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def away(self) -> Thing:
        """The same in the Region of the copies."""
        return replace(self, says=f"{self.says} in {AWAY}", arn=self.arn.replace("{region}", AWAY))


OURS = {"holdfast:managed": "1", "holdfast:policy": "daily", "holdfast:slot": "2026-11-20T01:30:00Z"}
KEPT = {**OURS, "holdfast:state": "kept"}
MARKED = {**OURS, "holdfast:state": "expired"}
REHEARSED = {"holdfast:rehearsal": "r-1", "holdfast:expires-at": "2026-11-21T00:00:00Z"}
PROOF = {**REHEARSED, "holdfast:proof-of": "vol-0rehearsed"}
RECOVERED = {"holdfast:recovery": "rc-1"}


def _ec2(kind: str, id: str, says: str, tags: Mapping[str, str] | None = None) -> Thing:
    owner = "" if kind in ("snapshot", "image") else ACCOUNT
    return Thing(says=says, arn=f"arn:aws:ec2:{{region}}:{owner}:{kind}/{id}", tags=tags or {})


def _rds(kind: str, id: str, says: str, tags: Mapping[str, str] | None = None) -> Thing:
    return Thing(says=says, arn=f"arn:aws:rds:{{region}}:{ACCOUNT}:{kind}:{id}", tags=tags or {})


POINT = _ec2("snapshot", "snap-0kept", "a recovery point", KEPT)
FRESH_POINT = _ec2("snapshot", "snap-0fresh", "a new recovery point", OURS)
PROOF_LIKE_POINT = _ec2("snapshot", "snap-0odd", "a recovery point with the tags of a proof", {**OURS, **PROOF})
MARKED_POINT = _ec2("snapshot", "snap-0marked", "a marked recovery point", MARKED)
A_PROOF = _ec2("snapshot", "snap-0proof", "a proof", PROOF)
FOREIGN_SNAPSHOT = _ec2("snapshot", "snap-0foreign", "somebody else's snapshot")
FORGED_MARK = _ec2("snapshot", "snap-0forged", "a foreign snapshot marked expired", {"holdfast:state": "expired"})

VOLUME = _ec2("volume", "vol-0inuse", "a volume in use", {"Name": "orders"})
REHEARSED_VOLUME = _ec2("volume", "vol-0rehearsed", "a rehearsed volume", REHEARSED)
RECOVERED_VOLUME = _ec2("volume", "vol-0recovered", "a recovered volume", RECOVERED)
INSTANCE = _ec2("instance", "i-0inuse", "an instance in use", {"Name": "orders"})
CHECKER = Thing(
    says="the machine of a deep check",
    arn=f"arn:aws:ec2:{{region}}:{ACCOUNT}:instance/i-0checker",
    tags=REHEARSED,
    keys={"ssm:resourceTag/holdfast:rehearsal": "r-1"},
)
THEIR_SUBNET = _ec2("subnet", "subnet-0inuse", "a subnet of the user's")

DB_POINT = _rds("snapshot", "holdfast-0kept", "a database's point", KEPT)
MARKED_DB_POINT = _rds("snapshot", "holdfast-0marked", "a database's marked point", MARKED)
FOREIGN_DB_SNAPSHOT = _rds("snapshot", "before-the-upgrade", "somebody's database snapshot")
AUTOMATED_DB_SNAPSHOT = _rds("snapshot", "rds:orders-2026-11-20", "RDS's own snapshot")
CLUSTER_POINT = _rds("cluster-snapshot", "holdfast-0kept", "a cluster's point", KEPT)
MARKED_CLUSTER_POINT = _rds("cluster-snapshot", "holdfast-0marked", "a cluster's marked point", MARKED)

DATABASE = _rds("db", "orders", "a database in use", {"team": "shop"})
CLUSTER = _rds("cluster", "ledger", "a cluster in use", {"team": "shop"})
PROTECTED_DATABASE = _rds("db", "payments", "a protected database", {"holdfast:policy": "hourly"})
PROTECTED_CLUSTER = _rds("cluster", "payments", "a protected cluster", {"holdfast:policy": "hourly"})
PARAMETERS = _rds("pg", "tuned", "a parameter group of the user's")
REHEARSED_DATABASE = _rds("db", "holdfast-rt-0", "a rehearsed database", REHEARSED)
REHEARSED_CLUSTER = _rds("cluster", "holdfast-rt-0", "a rehearsed cluster", REHEARSED)
RECOVERED_DATABASE = _rds("db", "orders-recovered", "a recovered database", RECOVERED)
RECOVERED_CLUSTER = _rds("cluster", "ledger-recovered", "a recovered cluster", RECOVERED)
NAMED_LIKE_A_REHEARSAL = _rds("db", "holdfast-rt-mine", "a database that is only named like a rehearsal's")


def _key(id: str, says: str, alias: str | None = None) -> Thing:
    keys = {"kms:ResourceAliases": alias} if alias else {}
    return Thing(says=says, arn=f"arn:aws:kms:{{region}}:{ACCOUNT}:key/{id}", keys=keys)


OUR_KEY = _key("0ours", "our key", "alias/holdfast")
THEIR_KEY = _key("0theirs", "a key of the user's", "alias/orders")


def _of(service: str, rest: str, says: str, tags: Mapping[str, str] | None = None) -> Thing:
    return Thing(says=says, arn=f"arn:aws:{service}:{{region}}:{ACCOUNT}:{rest}", tags=tags or {})


LEDGER = _of("dynamodb", "table/holdfast-ledger", "the ledger")
THEIR_TABLE = _of("dynamodb", "table/customers", "a table of the user's")
STREAM = _of("dynamodb", "table/holdfast-ledger/stream/2026-01-01T00:00:00.000", "the ledger's stream")
SNAPSHOT_ORDERS = _of("sqs", "holdfast-snapshot-orders", "the orders for snapshots")
COPY_ORDERS = _of("sqs", "holdfast-copy-orders", "the orders for copies")
AWS_NOTICES = _of("sqs", "holdfast-aws-notices", "AWS's notices")
DEAD_LETTERS = _of("sqs", "holdfast-missed-events", "the dead letters")
DEAD_RECOVERY_LETTERS = _of("sqs", "holdfast-missed-recovery-events", "the dead letters")
THEIR_QUEUE = _of("sqs", "invoices", "a queue of the user's")
TOPIC = _of("sns", "holdfast-notices", "the topic")
THEIR_TOPIC = _of("sns", "invoices", "a topic of the user's")
BUS = _of("events", "event-bus/holdfast", "our bus")
DEFAULT_BUS = _of("events", "event-bus/default", "the default bus")
RECOVER = _of("states", "stateMachine:holdfast-recover", "a recovery")
REHEARSE = _of("states", "stateMachine:holdfast-rehearse", "a rehearsal")
SWAP = _of("states", "stateMachine:holdfast-swap-names", "a swap of names")
THEIR_MACHINE = _of("states", "stateMachine:billing", "a workflow of the user's")
RUNNING_RECOVERY = _of("states", "execution:holdfast-recover:1", "a running recovery")
DELETER = _of("lambda", "function:holdfast-delete-expired", "the deleter")
TRACKER = _of("lambda", "function:holdfast-track-points", "the tracker")
PLANNER_OF_RECOVERIES = _of("lambda", "function:holdfast-plan-recovery", "the planner of recoveries")
SWAPPER = _of("lambda", "function:holdfast-swap-names", "the one who swaps names")
THEIR_FUNCTION = _of("lambda", "function:billing", "a function of the user's")
LOGS_OF_DELETER = _of("logs", "log-group:/aws/lambda/holdfast-delete-expired:log-stream:1", "the deleter's log")
LOGS_OF_TRACKER = _of("logs", "log-group:/aws/lambda/holdfast-track-points:log-stream:1", "the tracker's log")
SECRET_OF_REHEARSED = _of(
    "secretsmanager",
    "secret:rds!db-1",
    "the password of a rehearsed database",
    {"aws:rds:primaryDBInstanceArn": f"arn:aws:rds:{AWAY}:{ACCOUNT}:db:holdfast-rt-0"},
)
SECRET_IN_USE = _of(
    "secretsmanager",
    "secret:rds!db-2",
    "the password of a database in use",
    {"aws:rds:primaryDBInstanceArn": f"arn:aws:rds:{AWAY}:{ACCOUNT}:db:orders"},
)
THEIR_SECRET = _of("secretsmanager", "secret:stripe", "a secret of the user's")
QUOTA = _of("servicequotas", "ebs/L-7A658B76", "a quota of EBS")
THEIR_QUOTA = _of("servicequotas", "ec2/L-1216C47A", "a quota of EC2")
THEIR_ROLE = Thing(says="a role of the user's", arn=f"arn:aws:iam::{ACCOUNT}:role/Administrator")
VAULT = _of("backup", "backup-vault:Default", "a vault of AWS Backup")
BACKUP_POINT = _of("backup", "recovery-point:1", "a point of AWS Backup")
BIN_RULE = _of("rbin", "rule/1", "a rule of the Recycle Bin")
BUCKET = Thing(says="a bucket of the user's", arn="arn:aws:s3:::invoices/object")
EVERYTHING = Thing(says="the account", arn="*")
