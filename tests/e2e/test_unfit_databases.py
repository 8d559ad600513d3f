"""A PostgreSQL on RDS that is written to all the time: what is wrong with a point is found by restoring it, and named.

Five nights of one shop. The first point is whole; of the next four each has another fault that no state and no size
of a snapshot shows.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from embedded.databases.connecting import connection
from embedded.tryout.scenario import DATABASE_NAME, DATABASE_USER, Load
from tests.e2e.deployment import AWAY, HOME, Deployment, Thing
from tests.e2e.rehearsals import Rehearsals, Rehearsed

CUSTOMERS = 400
FILL = "insert into customers select id, repeat('x', 200) from generate_series(1, 400) as id"


@dataclass
class Shop:
    """The database, what is sold in it, and its rehearsed points by what is wrong with them."""

    deployment: Deployment
    thing: Thing
    endpoint: dict[str, Any]
    password: str
    load: Load
    slots: dict[str, str] = field(default_factory=dict)
    rehearsed: dict[str, Rehearsed] = field(default_factory=dict)

    def run(self, *statements: str) -> list[list[Any]]:
        """What the last of the statements returned."""
        rows: list[list[Any]] = []
        with connection(self.endpoint, DATABASE_USER, self.password, database=DATABASE_NAME) as connected:
            for statement in statements:
                rows = connected.run(statement) or []
        return rows

    def point(self, name: str) -> str:
        """The next night has passed; the copy of its point has this id."""
        self.deployment.next_night()
        self.deployment.plan()
        told = self.deployment.until_copied(self.thing)
        self.slots[name] = told.point["slot_at"]
        return told.copies[0]["snapshot_id"]

    def damage(self, snapshot: str, **what: object) -> None:
        """The copy of that id, and nothing else, has lost something."""
        self.deployment.aws.control_databases({"damage": {"region": AWAY, "snapshot": snapshot, **what}})

    def rehearse(self, *names: str) -> None:
        """These points were rehearsed."""
        self.rehearsed |= Rehearsals(self.deployment).run({name: (self.thing, self.slots[name]) for name in names})


@pytest.fixture(scope="module")
def shop(deployment: Deployment) -> Iterator[Shop]:
    """Every night and every rehearsal of the story has passed."""
    shop = _opened(deployment)
    try:
        _five_nights(shop)
        yield shop
    finally:
        shop.load.stop()
        deployment.aws.client("rds", HOME).delete_db_instance(DBInstanceIdentifier="shop", SkipFinalSnapshot=True)


def _opened(deployment: Deployment) -> Shop:
    rds = deployment.aws.client("rds", HOME)
    password = secrets.token_urlsafe(18)
    rds.create_db_instance(
        DBInstanceIdentifier="shop",
        Engine="postgres",
        DBInstanceClass="db.t4g.micro",
        AllocatedStorage=20,
        MasterUsername=DATABASE_USER,
        MasterUserPassword=password,
        DBName=DATABASE_NAME,
        Tags=[{"Key": "holdfast:policy", "Value": "orders"}],
    )
    endpoint = deployment.until_database("shop")["Endpoint"]
    shop = Shop(
        deployment, Thing("database", "shop", "a shop"), endpoint, password, Load(deployment.aws, endpoint, password)
    )
    shop.load.start()
    shop.run("create table customers (id int primary key, name text not null)", FILL)
    return shop


def _five_nights(shop: Shop) -> None:
    # Vacuumed and on storage: what the log holds of a page would mend it.
    shop.run("vacuum customers", "checkpoint")
    ((file,),) = shop.run("select pg_relation_filepath('customers')")
    shop.point("whole")
    shop.rehearse("whole")
    shop.damage(shop.point("page"), what="page", file=file)
    shop.damage(shop.point("wal"), what="wal")
    shop.run("truncate customers")
    shop.point("emptied")
    shop.run(FILL)
    shop.load.stop()
    shop.point("stale")
    assert shop.load.problem is None
    shop.rehearse("page", "wal", "emptied", "stale")


def test_a_whole_point_of_a_busy_database_is_fit(shop: Shop) -> None:
    whole = shop.rehearsed["whole"]
    assert (whole.status, whole.fitness) == ("SUCCEEDED", "fit"), whole
    assert whole.story["row_counts"]["shop.public.customers"] == CUSTOMERS
    assert whole.story["row_counts"]["shop.public.orders"] > 0


def test_a_page_that_changed_on_storage_makes_the_point_unfit(shop: Shop) -> None:
    page = shop.rehearsed["page"]
    assert (page.error, page.fitness) == ("RehearsalFailed", "unfit")
    assert "every table can be read" in page.broken
    assert "XX001: 'invalid page in block 0 of relation" in page.reason
    assert "invalid page in block 0" in page.cause


def test_a_segment_of_the_log_that_is_lost_makes_the_point_unfit(shop: Shop) -> None:
    """RDS makes no database of it, and says so by the state of the instance."""
    wal = shop.rehearsed["wal"]
    assert (wal.error, wal.fitness) == ("RehearsalFailed", "unfit")
    assert wal.broken == ["AWS makes a working database of it"]
    assert "ended as restore-error" in wal.reason
    assert wal.reason in wal.cause


def test_a_table_that_was_emptied_makes_the_point_unfit(shop: Shop) -> None:
    emptied = shop.rehearsed["emptied"]
    assert (emptied.error, emptied.fitness) == ("RehearsalFailed", "unfit")
    assert emptied.broken == ["the tables hold as many rows as is usual"]
    assert f"shop.public.customers is empty; it had {CUSTOMERS}" in emptied.reason


def test_a_copy_of_what_nobody_wrote_to_any_more_makes_the_point_unfit(shop: Shop) -> None:
    stale = shop.rehearsed["stale"]
    assert (stale.error, stale.fitness) == ("RehearsalFailed", "unfit")
    (broken,) = stale.broken
    assert broken.startswith("check on shop: 'select max(placed_at) from orders'")
    assert "before the snapshot's instant" in stale.reason
    assert "60 min were promised" in stale.reason


def test_every_unfit_point_is_held_and_says_why(shop: Shop) -> None:
    unfit = {shop.slots[name]: shop.rehearsed[name].reason for name in ("page", "wal", "emptied", "stale")}
    held = Rehearsals(shop.deployment).held(shop.thing)
    assert held == {slot: f"its rehearsal in {AWAY} found it unfit: {reason}" for slot, reason in unfit.items()}


def test_a_recovery_of_the_latest_good_point_passes_over_every_unfit_one(shop: Shop) -> None:
    chosen = Rehearsals(shop.deployment).recovery(shop.thing)
    assert chosen["slot"]["at"] == shop.slots["whole"]
    passed = {one["slot_at"]: one["reason"] for one in chosen["passed_over"]}
    assert passed.keys() == {shop.slots[name] for name in ("page", "wal", "emptied", "stale")}
    assert all("held" in reason for reason in passed.values()), passed


def test_nothing_of_what_was_restored_is_left(shop: Shop) -> None:
    rehearsals = Rehearsals(shop.deployment)
    shop.deployment.until("everything restored is gone", lambda: not rehearsals.leftovers())
    assert all(one.story["restored"] for one in shop.rehearsed.values()), "each of them restored something"
