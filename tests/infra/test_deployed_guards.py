"""What is deployed so that nobody shares, unlocks or deletes points, and what only where the settings ask for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from cfnlint.api import ManualArgs, lint
from conftest import Assembly, listed, written
from test_deployed_permissions import NEVER, SPECS
from test_deployed_stacks import IGNORED

from functions.aws import health
from functions.contracts import logged_calls, published
from functions.core import labels
from functions.core.findings import Concern
from infra import functions

HOME, AWAY = "eu-central-1", "eu-west-1"
CHANGES_SHARING = {
    "ec2:ModifySnapshotAttribute",
    "ec2:ResetSnapshotAttribute",
    "rds:ModifyDBClusterSnapshotAttribute",
    "rds:ModifyDBSnapshotAttribute",
}


@pytest.fixture(scope="session")
def guarded(synthesise: Callable[..., Assembly]) -> Assembly:
    """Everything asked for that the settings offer: locks, shares taken back, the bin, no public sharing."""
    lock = {"mode": "compliance", "for": "7d", "cool_off": "24h"}
    return synthesise(
        policies={
            "daily": {"rpo": "24h", "keep": {"daily": 14}, "copy_to": [AWAY], "lock": lock},
            "weekly": {"rpo": "7d", "keep": {"weekly": 8}, "lock": lock | {"mode": "governance", "for": "30d"}},
        },
        guard={
            "shared_with": ["210987654321"],
            "enforce": True,
            "recycle_bin": {"keep": "14d", "every_snapshot": True, "unlock_delay": "7d"},
            "block_public_access": {HOME: "block-all-sharing", AWAY: "block-new-sharing"},
        },
    )


@pytest.fixture(scope="session")
def binned(synthesise: Callable[..., Assembly]) -> Assembly:
    """Only our own snapshots go through the bin."""
    return synthesise(guard={"recycle_bin": {"keep": "3d"}}, removal="destroy")


def test_who_reads_our_snapshots_is_watched_every_five_minutes_and_their_keys_daily(assembly: Assembly) -> None:
    assert _when(assembly, "holdfast-watch-sharing") == "rate(5 minutes)"
    assert _when(assembly, "holdfast-check-keys") == "cron(10 6 * * ? *)"


def test_a_call_that_shares_or_takes_a_key_away_wakes_its_reader_at_home(assembly: Assembly) -> None:
    for name, source, function, calls in (
        ("holdfast-sharing-changed", ["aws.ec2", "aws.rds"], "holdfast-watch-sharing", list(logged_calls.SHARING)),
        ("holdfast-key-taken-away", ["aws.kms"], "holdfast-check-keys", list(logged_calls.KEY_CHANGES)),
    ):
        rule = assembly.rule(name, region=HOME)
        assert rule.properties["EventPattern"]["source"] == source
        assert rule.properties["EventPattern"]["detail-type"] == [logged_calls.DETAIL_TYPE]
        assert rule.properties["EventPattern"]["detail"] == {"eventName": calls}
        (target,) = rule.properties["Targets"]
        assert target["Arn"]["Fn::GetAtt"][0] == assembly.function(function, region=HOME).id


def test_the_same_calls_in_a_copy_region_are_sent_home(assembly: Assembly) -> None:
    for name in ("holdfast-sharing-changed", "holdfast-key-taken-away"):
        (target,) = assembly.rule(name, region=AWAY).properties["Targets"]
        assert written(target["Arn"]).endswith(f":events:{HOME}:${{AWS.AccountId}}:event-bus/default")


def test_an_exposure_that_stands_and_a_watch_that_stopped_are_one_alarm(assembly: Assembly) -> None:
    (alarm,) = (a for a in assembly.resources("AWS::CloudWatch::Alarm") if a.properties["MetricName"] == "Exposed")
    assert (alarm.region, alarm.properties["Namespace"]) == (HOME, health.NAMESPACE)
    assert (alarm.properties["Threshold"], alarm.properties["TreatMissingData"]) == (0, "breaching")


def test_without_a_word_about_it_nothing_of_the_account_is_changed_and_nobody_could(assembly: Assembly) -> None:
    assert not list(assembly.resources("AWS::Rbin::Rule", "AWS::EC2::SnapshotBlockPublicAccess"))
    assert assembly.statements_with(CHANGES_SHARING | {"ec2:LockSnapshot"}) == {}
    deployed = {name for name, _ in assembly.functions()}
    assert not deployed & {spec.name for spec in functions.AT_HOME_BY_CHOICE}


def test_whoever_looks_can_change_nothing_at_aws(guarded: Assembly) -> None:
    for name in ("holdfast-watch-sharing", "holdfast-check-keys"):
        granted = {a for s in guarded.statements_of(guarded.function(name, region=HOME)) for a in listed(s["Action"])}
        at_aws = {action for action in granted if action.startswith(("ec2:", "rds:", "kms:"))}
        assert at_aws
        assert all(":Describe" in a for a in at_aws - {"kms:Decrypt", "kms:GenerateDataKey*"}), name


def test_only_one_role_takes_shares_back_from_what_is_ours_and_ebs_lets_it_give_none(guarded: Assembly) -> None:
    holders = guarded.statements_with(CHANGES_SHARING)
    assert set(holders) == {"holdfast-withdraw-shares"}
    actions: set[str] = set()
    for statement in holders["holdfast-withdraw-shares"]:
        actions |= set(listed(statement["Action"]))
        assert statement["Condition"] == {"StringEquals": {"aws:ResourceTag/holdfast:managed": "1"}}
    assert actions == CHANGES_SHARING - {"ec2:ModifySnapshotAttribute"}


def test_taking_back_happens_when_a_share_is_found_and_again_by_the_clock(guarded: Assembly) -> None:
    assert _when(guarded, "holdfast-withdraw-shares") == "rate(5 minutes)"
    rule = guarded.rule("holdfast-shares-found", region=HOME).properties
    assert rule["EventPattern"] == {
        "source": ["holdfast"],
        "detail-type": [published.FINDING_BEGUN],
        "detail": {"concern": [Concern.SHARE]},
    }
    assert rule["EventBusName"] != "default"


def test_only_one_role_locks_what_is_ours_no_longer_than_the_longest_policy(guarded: Assembly) -> None:
    lockers = guarded.statements_with({"ec2:LockSnapshot"})
    assert set(lockers) == {"holdfast-lock-points"}
    for statement in lockers["holdfast-lock-points"]:
        assert listed(statement["Action"]) == ["ec2:LockSnapshot"]
        assert statement["Condition"] == {
            "StringEquals": {"aws:ResourceTag/holdfast:managed": "1"},
            "NumericLessThanEquals": {"ec2:SnapshotLockDuration": "30"},
            "NumericLessThanEqualsIfExists": {"ec2:SnapshotCoolOffPeriod": "72"},
        }
    assert _when(guarded, "holdfast-lock-points") == "rate(15 minutes)"


def test_nobody_unlocks_unblocks_or_empties_the_bin_even_with_everything_asked_for(guarded: Assembly) -> None:
    forbidden = NEVER - CHANGES_SHARING | {
        "ec2:RestoreSnapshotFromRecycleBin",
        "ec2:EnableSnapshotBlockPublicAccess",
        "rbin:DeleteRule",
        "rbin:UnlockRule",
        "rbin:UpdateRule",
    }
    assert guarded.statements_with(forbidden) == {}


def test_a_functions_role_may_do_what_it_declares_also_where_it_is_a_choice(guarded: Assembly) -> None:
    for spec in functions.AT_HOME_BY_CHOICE:
        assert spec.name not in SPECS
        declared = {action for permission in spec.permissions for action in permission.actions}
        function = guarded.function(spec.name, region=HOME)
        granted = {action for s in guarded.statements_of(function) for action in listed(s["Action"])}
        assert declared <= granted
        at_aws = {action for action in granted - declared if action.startswith(("ec2:", "rds:"))}
        assert not at_aws, spec.name


def test_the_bin_keeps_every_snapshot_and_is_locked_where_the_settings_say_so(guarded: Assembly) -> None:
    rules = list(guarded.resources("AWS::Rbin::Rule"))
    assert {rule.region for rule in rules} == {HOME, AWAY}
    for rule in rules:
        assert rule.properties["ResourceType"] == "EBS_SNAPSHOT"
        assert rule.properties["RetentionPeriod"] == {"RetentionPeriodUnit": "DAYS", "RetentionPeriodValue": 14}
        assert rule.properties["LockConfiguration"] == {"UnlockDelayUnit": "DAYS", "UnlockDelayValue": 7}
        assert "ResourceTags" not in rule.properties, "AWS locks no rule that goes by tags"
        assert rule.body["DeletionPolicy"] == "Retain"


def test_the_bin_keeps_only_ours_where_the_settings_do_not_say_every_snapshot(binned: Assembly) -> None:
    for rule in binned.resources("AWS::Rbin::Rule"):
        assert rule.properties["ResourceTags"] == [{"ResourceTagKey": labels.MANAGED, "ResourceTagValue": "1"}]
        assert "LockConfiguration" not in rule.properties
        assert rule.body["DeletionPolicy"] == "Delete"


def test_public_sharing_is_blocked_region_by_region_and_stays_so_without_us(guarded: Assembly) -> None:
    settings = list(guarded.resources("AWS::EC2::SnapshotBlockPublicAccess"))
    assert {(it.region, it.properties["State"]) for it in settings} == {
        (HOME, "block-all-sharing"),
        (AWAY, "block-new-sharing"),
    }
    assert all(it.body["DeletionPolicy"] == "Retain" for it in settings)


def test_points_that_stay_unlocked_are_an_alarm_only_where_some_are_to_be_locked(
    guarded: Assembly, assembly: Assembly
) -> None:
    def alarms(deployed: Assembly) -> list[str]:
        return [
            a.region for a in deployed.resources("AWS::CloudWatch::Alarm") if a.properties["MetricName"] == "Unlocked"
        ]

    assert (alarms(guarded), alarms(assembly)) == ([HOME], [])


def test_synth_says_that_databases_have_no_locks(guarded: Assembly) -> None:
    artifacts = json.loads((guarded.folder / "manifest.json").read_text())["artifacts"]
    assert "RDS has none" in json.dumps(_metadata(guarded, artifacts["HoldfastBackup"]))


def test_cfn_lint_finds_nothing_in_what_is_a_choice(guarded: Assembly) -> None:
    for stack, template in guarded.templates.items():
        if stack.startswith(("HoldfastVault", "HoldfastBackup", "HoldfastWatch")):
            arguments = ManualArgs(regions=[guarded.regions[stack]], ignore_checks=sorted(IGNORED))
            assert [f"{m.rule.id} {m.message}" for m in lint(json.dumps(template), config=arguments)] == []


def _when(assembly: Assembly, name: str) -> str:
    (schedule,) = (s for s in assembly.resources("AWS::Scheduler::Schedule") if s.properties["Name"] == name)
    return schedule.properties["ScheduleExpression"]


def _metadata(assembly: Assembly, artifact: Any) -> Any:
    if "metadata" in artifact:
        return artifact["metadata"]
    return json.loads((assembly.folder / artifact["additionalMetadataFile"]).read_text())
