"""The same strings through every place where text comes in: tags, settings, requests, inputs of a person.

Each is taken as it is where free text belongs, and refused everywhere else with an error that says the next step.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from functions.contracts import recovery_requests, settings
from functions.core import labels
from functions.core.coverage import Standing, cover
from functions.core.errors import BadMessage
from functions.core.resources import ResourceKey
from functions.handlers import (
    answer_approval,
    choose_recovery,
    choose_rehearsal,
    hold_point,
    swap_names,
)
from tests.builders import (
    ACCOUNT,
    AWAY,
    a_point,
    a_resource,
    a_snapshot,
    a_snapshot_order,
    some_settings,
)
from tests.contracts.test_settings import COMPLETE
from tests.handlers.recoveries import RECOVERY_ID
from tests.handlers.world import World
from tests.hostile import oracles
from tests.hostile.trials import SOME, of_refusal, refused, unharmed
from tests.ledger.dynamodb import forget_everything, items


@pytest.mark.parametrize(
    "tag",
    [labels.MANAGED, labels.SLOT, labels.SLOT_AT, labels.WHY, labels.RESOURCE, labels.POLICY,
     labels.POLICY_VERSION, labels.COPY_TO, labels.ATTEMPT],
)  # fmt: skip
def test_a_tag_on_a_snapshot_that_is_not_as_we_write_it_makes_it_nobodys(tag: str) -> None:
    """Such a snapshot is neither adopted nor deleted; a policy may have any name that a policy can have."""
    tags = labels.for_snapshot(a_snapshot_order())
    may_be = {labels.POLICY: "[a-z][a-z0-9-]{0,30}", labels.COPY_TO: "-", labels.ATTEMPT: "[1-9][0-9]?"}

    def check(text: str) -> str:
        snapshot = a_snapshot(tags=tags | {tag: text})
        harm, label = refused(lambda: labels.read(snapshot, account=ACCOUNT))
        if label is None:
            return "" if harm == "refused" else harm
        return oracles.as_value(label.policy if tag == labels.POLICY else text, text, allowed=may_be.get(tag, "(?!)"))

    unharmed(check)


def test_a_tag_on_a_resource_chooses_a_policy_only_by_its_exact_name() -> None:
    def check(text: str) -> str:
        [coverage] = cover([a_resource(policy=text)], some_settings())
        if (coverage.standing, coverage.policy) != (Standing.GAP, None):
            return f"it is {coverage.standing}"
        return oracles.in_error(coverage.reason[:500], "-") if len(text) <= 256 else ""

    unharmed(check)


def test_the_reason_a_person_gives_for_leaving_something_out_is_one_visible_line() -> None:
    def check(text: str) -> str:
        tagged = a_resource(tags={"holdfast:policy": "none", "holdfast:reason": text})
        [coverage] = cover([tagged], some_settings())
        assert coverage.standing is Standing.EXCLUDED
        return oracles.in_error(coverage.reason, "-")

    unharmed(check)


def test_a_key_of_a_resource_is_of_the_letters_that_aws_gives_or_is_none() -> None:
    def check(text: str) -> str:
        for written in (text, f"volume/{text}/vol-1", f"volume/eu-central-1/{text}", f"{text}/eu-central-1/vol-1"):
            try:
                key = ResourceKey.parse(written, account=ACCOUNT)
            except ValueError as problem:
                if harm := oracles.in_error(str(problem), "-"):
                    return harm
                continue
            if harm := oracles.as_value(key, written, allowed="[a-z]+/[a-z0-9-]{1,30}/[A-Za-z0-9-]{1,255}"):
                return harm
        return ""

    unharmed(check)


PLACES = (
    "home", "copies.0", "account", "default_policy", "removal", "policies.gold.rpo", "policies.gold.starts",
    "policies.gold.avoid.0", "policies.gold.copy_to.0", "policies.gold.rehearse_every", "policies.gold.lock.mode",
    "policies.gold.archive_after", "policies.gold.checks.0.database", "policies.gold.checks.0.statement",
    "policies.gold.files.0.path", "policies.gold.files.0.sha256", "policies.gold.keep.daily",
    "recover.automatic.0.alarm", "recover.automatic.0.resource", "recover.automatic.0.region",
    "recover.automatic.0.approval_within",
)  # fmt: skip

RULE = {"alarm": "orders-down", "resource": "database/eu-central-1/orders", "region": "eu-west-1"}
BLOCK: dict[str, Any] = deepcopy(COMPLETE) | {"recover": {"automatic": [RULE | {"approval_within": "30m"}]}}
BLOCK["policies"]["gold"]["files"] = [{"path": "/srv/canary", "sha256": "0" * 64}]


@pytest.mark.parametrize("place", PLACES)
def test_a_setting_is_refused_by_its_place_or_taken_as_it_is_and_changes_no_other(place: str) -> None:
    """F92."""
    *way, last = place.split(".")

    def block(value: object) -> Any:
        document = deepcopy(BLOCK)
        spot: Any = document
        for step in way:
            spot = spot[int(step) if step.isdigit() else step]
        spot[int(last) if last.isdigit() else last] = value
        return document

    free_text = {
        "policies.gold.checks.0.database": r"[^\x00-\x1f]{1,64}",
        "policies.gold.checks.0.statement": r"(?is)\s*(select|with)\s.*",
        "policies.gold.files.0.path": r"/.*[^/]",
        "recover.automatic.0.alarm": r"(?s).{1,255}",
    }

    def check(text: str) -> str:
        harm, taken = refused(lambda: settings.read(block(text)), most_lines=12)
        if taken is None:
            if harm != "refused":
                return harm
            with pytest.raises(BadMessage) as problem:
                settings.read(block(text))
            named = place.split(".")[0] if place != "policies.gold.files.0.path" else "files"
            return "" if named in problem.value.what else f"the place is not named: {problem.value.what[:200]}"
        return oracles.as_value(text, text, allowed=free_text.get(place, "(?!)"))

    unharmed(check)


@pytest.mark.parametrize("where", ["policies.@", "@", "recover.into.@", "recover.into.eu-west-1.database.@"])
def test_a_name_in_the_settings_that_is_none_is_refused_in_one_line(where: str) -> None:
    def check(text: str) -> str:
        document = deepcopy(BLOCK)
        spot: Any = document
        *way, _ = where.split(".")
        for step in way:
            spot = spot.setdefault(step, {})
        spot[text] = deepcopy(COMPLETE["policies"]["bronze"]) if where == "policies.@" else {}
        allowed = "[a-z][a-z0-9-]{0,30}" if where == "policies.@" else "(?!)"
        return of_refusal(lambda: settings.read(document), text, allowed=allowed, most_lines=4)

    unharmed(check)


@pytest.mark.parametrize(
    "where", ["resource", "region", "name", "then", "approval_within", "point", "point.before", "point.slot", "@"]
)
def test_a_request_to_recover_is_refused_with_every_mistake_in_it(where: str) -> None:
    def check(text: str) -> str:
        given: dict[str, Any] = {"resource": "database/eu-central-1/orders"}
        if "." in where:
            given["point"] = {where.partition(".")[2]: text}
        else:
            given |= {text if where == "@" else where: text}
        allowed = "[a-z](-?[a-z0-9])*" if where == "name" else "(?!)"
        return of_refusal(
            lambda: recovery_requests.read(given, account=ACCOUNT, region=AWAY), text, allowed=allowed, most_lines=6
        )

    unharmed(check)


def test_a_request_names_settings_that_its_kind_has_and_nothing_else() -> None:
    def check(text: str) -> str:
        given = {"resource": "database/eu-central-1/orders", "target": {text: text}}
        return of_refusal(lambda: recovery_requests.read(given, account=ACCOUNT, region=AWAY), text, most_lines=3)

    unharmed(check)


def test_who_asks_is_one_visible_line_in_the_notice() -> None:
    def check(text: str) -> str:
        given = {"resource": "volume/eu-central-1/vol-1", "asked_by": text}
        harm, request = refused(lambda: recovery_requests.read(given, account=ACCOUNT, region=AWAY), most_lines=3)
        if request is None:
            return "" if harm == "refused" and len(text) > 200 else harm or "it was refused"
        return oracles.in_error(request.asked_by, "-")

    unharmed(check)


@pytest.mark.parametrize(
    "verb",
    [hold_point, answer_approval, swap_names, choose_recovery, choose_rehearsal],
    ids=lambda module: module.__name__.rpartition(".")[2],
)
def test_what_a_person_writes_into_an_input_is_refused_or_changes_nothing(world: World, verb: Any) -> None:
    """Through the frame, as Lambda calls it: every name that the verb reads, with every string."""
    work = vars(verb)[verb.__name__.rpartition(".")[2]]
    before = items()

    def check(text: str) -> str:
        named = {"resource": "volume/eu-central-1/vol-1", "slot": "2026-11-20T02:00:00Z", "do": "hold", "by": "Ines",
                 "because": "ours", "recovery": RECOVERY_ID, "answer": "approve", "snapshot": "snap-1"}  # fmt: skip
        for name in named:
            inner = named | {name: text}
            if verb is choose_recovery:
                inner = {key: inner[key] for key in ("resource", "snapshot") if key == name}
            event = {"execution": "e", "input": inner} | inner
            harm, _ = refused(lambda event=event: work(event, world.tools, world.now), most_lines=6)
            if harm not in ("", "refused"):
                return f"{name}: {harm}"
        return ""

    unharmed(check, SOME)
    assert items() == before
    assert (world.topic.notices, world.bus.events) == ([], [])
    assert {request.verb for request in world.aws.requests} <= {"look", "find"}


def test_what_a_person_gives_as_a_reason_is_kept_as_one_visible_line(world: World) -> None:
    slot = a_point().slot
    world.ledger.points.adopt(a_point())

    def check(text: str) -> str:
        event = {"resource": str(slot.resource), "slot": "2026-11-20T12:00:00Z", "do": "hold", "by": text,
                 "because": text}  # fmt: skip
        harm, held = refused(lambda: hold_point.hold_point(event, world.tools, world.now))
        if held is None:
            return "" if harm == "refused" and not text.strip() else harm or "it was refused"
        [kept] = [item for item in items() if item["sk"]["S"].startswith("hold#")]
        said = oracles.in_error(kept["because"]["S"], "-")
        forget_everything()
        world.ledger.points.adopt(a_point())
        return said

    unharmed(check, SOME)
