from __future__ import annotations

import json
from copy import deepcopy
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.contracts.settings import Configuration, read
from functions.core.errors import BadMessage
from functions.core.expected_files import ExpectedFile, ExpectedHeartbeat, ExpectedManifest, HeartbeatBy
from functions.core.policies import (
    AutomaticRecovery,
    DatabaseCheck,
    ExtraPoints,
    Guard,
    Lock,
    LockMode,
    LockOn,
    Policy,
    Tiers,
    Window,
)
from functions.core.resources import ResourceKey

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ROOT = Path(__file__).parents[2]

COMPLETE: dict[str, Any] = {
    "home": "eu-central-1",
    "copies": ["eu-west-1", "us-gov-west-1"],
    "account": "123456789012",
    "notify": ["ops@example.com"],
    "default_policy": "bronze",
    "rehearsals_per_day": 6,
    "rehearse_databases": False,
    "removal": "destroy",
    "policies": {
        "gold": {
            "rpo": "1h",
            "keep": {"hourly": 24, "daily": 7, "weekly": 4, "monthly": 12, "yearly": 2},
            "copy_to": ["eu-west-1", "us-gov-west-1"],
            "starts": "00:30",
            "avoid": ["23:30-00:15"],
            "rehearse_every": "1d",
            "lock": {"mode": "governance", "for": "14d", "beyond_retention": True},
            "archive_after": "90d",
            "extra": {"written_gib": 10.5, "per_day": 3},
            "checks": [
                {"database": "shop", "statement": "select count(*) from orders", "at_least": 1000},
                {"database": "shop", "statement": "select max(at) from orders", "newest_within_minutes": 10},
            ],
        },
        "bronze": {"rpo": "7d", "keep": {"weekly": 4}},
    },
}


def changed(path: str, value: Any) -> dict[str, Any]:
    """The complete document with one thing changed; `...` removes it."""
    document = deepcopy(COMPLETE)
    *way, last = path.split(".")
    place: Any = document
    for step in way:
        place = place[int(step) if step.isdigit() else step]
    if value is ...:
        del place[last]
    else:
        place[int(last) if last.isdigit() else last] = value
    return document


def refusal(document: Any) -> str:
    with pytest.raises(BadMessage) as refused:
        read(document)
    assert "README" in refused.value.hint
    return refused.value.what


def test_a_complete_block_says_everything() -> None:
    configuration = read(COMPLETE)
    assert configuration.settings.home_region == "eu-central-1"
    assert configuration.settings.regions == ("eu-central-1", "eu-west-1", "us-gov-west-1")
    assert configuration.settings.default_policy == "bronze"
    gold = configuration.settings.policies["gold"]
    assert gold == Policy(
        name="gold",
        version=gold.version,
        rpo=HOUR,
        keep=Tiers(hourly=24, daily=7, weekly=4, monthly=12, yearly=2),
        copy_to=("eu-west-1", "us-gov-west-1"),
        starts=timedelta(minutes=30),
        avoid=(Window(starts=timedelta(hours=23, minutes=30), ends=timedelta(minutes=15)),),
        rehearse_every=DAY,
        lock=Lock(mode=LockMode.GOVERNANCE, days=14, beyond_retention=True),
        archive_after=90 * DAY,
        extra=ExtraPoints(written_gib=10.5, per_day=3),
        checks=(
            DatabaseCheck(database="shop", statement="select count(*) from orders", at_least=1000),
            DatabaseCheck(database="shop", statement="select max(at) from orders", newest_within_minutes=10),
        ),
    )
    assert (configuration.rehearsals_per_day, configuration.rehearse_databases) == (6, False)
    assert (configuration.removal, configuration.notify, configuration.account) == (
        "destroy",
        ["ops@example.com"],
        "123456789012",
    )


RECOVER: dict[str, Any] = {
    "into": {"eu-west-1": {"database": {"subnet_group": "recovered", "security_groups": ["sg-1"]}, "volume": {}}},
    "automatic": [
        {
            "alarm": "orders does not answer",
            "resource": "database/eu-central-1/orders",
            "region": "eu-west-1",
            "approval_within": "2h",
        },
        {"alarm": "disk", "resource": "volume/eu-central-1/vol-0123456789abcdef0", "region": "eu-central-1"},
    ],
    "automatic_per_day": 3,
}
FILES: list[dict[str, Any]] = [
    {"path": "/srv/canary", "sha256": "0" * 64},
    {"manifest": "/srv/manifest.json", "sha256": "f" * 64},
    {"heartbeat": "/srv/heartbeat", "newest_within": "30m"},
    {"heartbeat": "/srv/log", "newest_within": "1d", "by": "modified"},
]


def test_a_block_says_into_what_is_recovered_and_which_alarms_may_start_it() -> None:
    settings = read(changed("recover", RECOVER)).settings
    assert settings.recover_into == RECOVER["into"]
    assert settings.automatic == (
        AutomaticRecovery(
            alarm="orders does not answer",
            resource="database/eu-central-1/orders",
            region="eu-west-1",
            approval_within=2 * HOUR,
        ),
        AutomaticRecovery(alarm="disk", resource="volume/eu-central-1/vol-0123456789abcdef0", region="eu-central-1"),
    )
    assert settings.automatic_per_day == 3


def test_the_resource_of_every_automatic_recovery_can_be_recovered() -> None:
    """What the settings take, the recovery must be able to read at three in the morning."""
    for rule in read(changed("recover", RECOVER)).settings.automatic:
        assert str(ResourceKey.parse(rule.resource, account="123456789012")) == rule.resource


def test_a_policy_says_what_its_files_must_hold_and_how_long_a_suspicion_lasts() -> None:
    document = changed("policies.gold.files", FILES)
    document["policies"]["gold"]["release_after"] = "14d"
    gold = read(document).settings.policies["gold"]
    assert gold.release_after == 14 * DAY
    assert gold.files == (
        ExpectedFile(path="/srv/canary", sha256="0" * 64),
        ExpectedManifest(path="/srv/manifest.json", sha256="f" * 64),
        ExpectedHeartbeat(path="/srv/heartbeat", newest_within=timedelta(minutes=30)),
        ExpectedHeartbeat(path="/srv/log", newest_within=DAY, by=HeartbeatBy.MODIFIED),
    )


@pytest.mark.parametrize(
    ("recover", "said"),
    [
        ({"into": {"eu-south-1": {}}}, "recover: eu-south-1 is neither"),
        ({"into": {"eu-west-1": {"bucket": {}}}}, "recover.into.eu-west-1.bucket"),
        ({"into": {"eu-west-1": {"volume": {"port": 1}}}}, "recover.into.eu-west-1.volume.port: a volume has no"),
        ({"automatic": [RECOVER["automatic"][0] | {"region": "eu-south-1"}]}, "recover: eu-south-1 is neither"),
        ({"automatic": [RECOVER["automatic"][0] | {"resource": "orders"}]}, "recover.automatic.0.resource"),
        ({"automatic": [RECOVER["automatic"][0] | {"resource": "bucket/eu-central-1/x"}]}, "recover.automatic.0.reso"),
        ({"automatic": [RECOVER["automatic"][0] | {"alarm": ""}]}, "recover.automatic.0.alarm"),
        ({"automatic": [RECOVER["automatic"][0] | {"alarm": "a" * 256}]}, "recover.automatic.0.alarm"),
        ({"automatic": [RECOVER["automatic"][0] | {"approval_within": "soon"}]}, "recover.automatic.0.approval_within"),
        ({"automatic": [{"alarm": "disk"}]}, "recover.automatic.0.resource"),
        ({"automatic_per_day": 0}, "recover.automatic_per_day"),
        ({"automatic_per_day": 25}, "recover.automatic_per_day"),
        ({"overwrite": True}, "recover.overwrite"),
    ],
)
def test_a_mistake_about_recoveries_is_refused_with_its_path(recover: Any, said: str) -> None:
    lines = refusal(changed("recover", recover)).splitlines()[1:]
    assert any(line.strip().startswith(said) for line in lines), lines


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ({"path": "canary", "sha256": "0" * 64}, "policies.gold.files.1: 'canary' is no path"),
        ({"path": "/canary", "sha256": "0" * 63}, "policies.gold.files.1"),
        ({"path": "/canary"}, "policies.gold.files.1"),
        ({"manifest": "/m/", "sha256": "0" * 64}, "policies.gold.files.1: '/m/' is no path"),
        ({"heartbeat": "/h"}, "policies.gold.files.1"),
        ({"heartbeat": "/h", "newest_within": "0m"}, "policies.gold.files.1"),
        ({"heartbeat": "/h", "newest_within": "1h", "by": "hand"}, "policies.gold.files.1"),
        ({"path": "/c", "sha256": "0" * 64, "manifest": "/m"}, "policies.gold.files.1"),
        ("/canary", "policies.gold.files.1"),
    ],
)
def test_a_mistake_about_a_file_is_refused_with_its_place(file: Any, said: str) -> None:
    lines = refusal(changed("policies.gold.files", [FILES[0], file])).splitlines()[1:]
    assert any(line.strip().startswith(said) for line in lines), lines


def test_a_policy_expects_at_most_a_hundred_files() -> None:
    """A manifest names many."""
    assert len(read(changed("policies.gold.files", [FILES[0]] * 100)).settings.policies["gold"].files) == 100
    assert "policies.gold.files" in refusal(changed("policies.gold.files", [FILES[0]] * 101))


def test_without_a_word_about_recoveries_nothing_starts_by_itself() -> None:
    settings = read(COMPLETE).settings
    assert (settings.automatic, settings.recover_into, settings.automatic_per_day) == ((), {}, 1)
    assert settings.policies["gold"].files == ()
    assert settings.policies["gold"].release_after is None


def test_what_is_left_out_is_the_safe_thing() -> None:
    configuration = read({"home": "eu-central-1", "policies": {"bronze": {"rpo": "24h", "keep": {"daily": 1}}}})
    assert configuration.removal == "retain"
    assert configuration.settings.copy_regions == ()
    assert configuration.settings.default_policy is None
    bronze = configuration.settings.policies["bronze"]
    assert (bronze.lock, bronze.extra, bronze.archive_after, bronze.avoid, bronze.starts) == (
        None,
        None,
        None,
        (),
        None,
    )


def test_the_block_in_cdk_json_can_be_read() -> None:
    document = json.loads((ROOT / "cdk.json").read_text())["context"]["holdfast"]
    assert isinstance(read(document), Configuration)
    assert set(read(document).settings.policies) == set(document["policies"])


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("home", ..., "home"),
        ("home", "Frankfurt", "home"),
        ("home", "eu-central-1\n", "home"),
        ("copies.1", "eu-west-1; rm -rf", "copies.1"),
        ("copies.0", "eu-central-1", "copies"),
        ("account", "12345", "account"),
        ("account", 123456789012, "account"),
        ("notify", "ops@example.com", "notify"),
        ("default_policy", "silver", "default_policy"),
        ("default_policy", "none", "default_policy"),
        ("policies", ..., "policies"),
        ("policies", [], "policies"),
        ("policies.Gold!", {"rpo": "1d", "keep": {"daily": 1}}, "policies.Gold!"),
        ("policies.none", {"rpo": "1d", "keep": {"daily": 1}}, "policies.none"),
        ("policies.gold.rpo", ..., "policies.gold.rpo"),
        ("policies.gold.rpo", "1 hour", "policies.gold.rpo"),
        ("policies.gold.rpo", "14m", "policies.gold.rpo"),
        ("policies.gold.rpo", "32d", "policies.gold.rpo"),
        ("policies.gold.rpo", 3600, "policies.gold.rpo"),
        ("policies.gold.rpo", None, "policies.gold.rpo"),
        ("policies.gold.keep", ..., "policies.gold.keep"),
        ("policies.gold.keep", {}, "policies.gold.keep"),
        ("policies.gold.keep.daily", -1, "policies.gold.keep"),
        ("policies.gold.keep.daily", "many", "policies.gold.keep.daily"),
        ("policies.gold.keep.daily", True, "policies.gold.keep.daily"),
        ("policies.gold.copy_to.0", "eu-south-1", "policies.gold.copy_to"),
        ("policies.gold.copy_to", "eu-west-1", "policies.gold.copy_to"),
        ("policies.gold.starts", "24:00", "policies.gold.starts"),
        ("policies.gold.starts", "1:30", "policies.gold.starts"),
        ("policies.gold.starts", 130, "policies.gold.starts"),
        ("policies.gold.avoid.0", "08:00", "policies.gold.avoid.0"),
        ("policies.gold.avoid.0", "08:00-08:00", "policies.gold.avoid.0"),
        ("policies.gold.avoid.0", "08:00-25:00", "policies.gold.avoid.0"),
        ("policies.gold.avoid.0", "08:00-12:00", "policies.gold.avoid"),
        ("policies.gold.rehearse_every", "weekly", "policies.gold.rehearse_every"),
        ("policies.gold.rehearse_every", 7, "policies.gold.rehearse_every"),
        ("policies.gold.lock.mode", "iron", "policies.gold.lock.mode"),
        ("policies.gold.lock.for", "0d", "policies.gold.lock.for"),
        ("policies.gold.lock.for", "36h", "policies.gold.lock"),
        ("policies.gold.lock.for", "36501d", "policies.gold.lock"),
        ("policies.gold.lock.cool_off", "90m", "policies.gold.lock"),
        ("policies.gold.lock.cool_off", "73h", "policies.gold.lock"),
        ("policies.gold.lock.on", "everything", "policies.gold.lock.on"),
        ("policies.gold.lock.beyond_retention", False, "policies.gold.lock"),
        ("policies.gold.archive_after", "27d", "policies.gold.archive_after"),
        ("policies.gold.archive_after", 90 * 86400, "policies.gold.archive_after"),
        ("policies.gold.extra.written_gib", 0, "policies.gold.extra"),
        ("policies.gold.extra.written_gib", "nan", "policies.gold.extra"),
        ("policies.gold.extra.per_day", 25, "policies.gold.extra"),
        ("policies.gold.checks.0.statement", "drop table orders", "policies.gold.checks"),
        ("policies.gold.checks.1.statement", "drop table orders", "policies.gold.checks.1: the statement"),
        ("policies.gold.checks.1.statement", "select 1 into outfile 'a'", "policies.gold.checks.1: 'into' writes"),
        ("policies.gold.checks.0.database", "", "policies.gold.checks.0: a database has a name"),
        ("policies.gold.checks.1.newest_within_minutes", -1, "policies.gold.checks.1: newest_within_minutes"),
        ("policies.gold.checks", [{"database": "a", "statement": "select 1"}] * 101, "policies.gold.checks"),
        ("policies.gold.checks.0.at_least", ..., "policies.gold.checks"),
        ("policies.gold.checks.1.database", ..., "policies.gold.checks.1.database"),
        ("rehearsals_per_day", -1, "rehearsals_per_day"),
        ("rehearsals_per_day", 97, "rehearsals_per_day"),
        ("removal", "delete", "removal"),
        ("colour", "red", "colour"),
        ("policies.gold.rp0", "1h", "policies.gold.rp0"),
        ("policies.gold.keep.dayly", 7, "policies.gold.keep.dayly"),
        ("policies.gold.lock.hours", 7, "policies.gold.lock.hours"),
        ("policies.gold.extra.per_hour", 7, "policies.gold.extra.per_hour"),
        ("policies.gold.checks.0.timeout", 7, "policies.gold.checks.0.timeout"),
    ],
)
def test_a_mistake_is_refused_and_the_message_names_its_path(path: str, value: Any, said: str) -> None:
    lines = refusal(changed(path, value)).splitlines()[1:]
    assert any(line.strip().startswith(said) for line in lines), lines


@pytest.mark.parametrize(
    "written",
    ["", "0h", "-1h", "1.5h", "1w", "1H", "h", "P1D", "1h30m", " 1h", "1h ", "1e3m", "99999999999999d", "\u0661h"],
)
def test_what_is_no_duration_is_refused_with_an_example(written: str) -> None:
    what = refusal(changed("policies.bronze.rpo", written))
    assert "policies.bronze.rpo" in what
    assert "24h" in what


def test_one_reading_of_the_message_names_every_mistake_of_form() -> None:
    document = changed("policies.gold.rpo", "soon")
    document["home"], document["colour"] = "Frankfurt", "red"
    assert len(refusal(document).splitlines()) == 4


def test_one_reading_of_the_message_names_every_promise_that_cannot_be_kept() -> None:
    document = changed("policies.gold.lock.for", "36501d")
    document["policies"]["bronze"]["rpo"] = "32d"
    what = refusal(document)
    assert "policies.gold.lock" in what
    assert "policies.bronze.rpo" in what


def test_one_reading_of_the_message_names_every_region_that_is_missing() -> None:
    document = changed("policies.gold.copy_to.0", "eu-south-1")
    document["policies"]["bronze"]["copy_to"] = ["eu-south-2"]
    document["default_policy"] = "silver"
    what = refusal(document)
    assert all(word in what for word in ("policies.gold.copy_to", "policies.bronze.copy_to", "default_policy"))


@pytest.mark.parametrize("document", [None, [], "gold", 7, {}])
def test_what_is_no_block_at_all_is_refused(document: Any) -> None:
    assert "holdfast" in refusal(document)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
paths = st.sampled_from(
    [
        *COMPLETE,
        *(f"policies.gold.{key}" for key in COMPLETE["policies"]["gold"]),
        "policies.gold.keep.daily",
        "policies.gold.avoid.0",
        "policies.gold.checks.0.statement",
        "policies.gold.lock.for",
        "policies.gold.extra.written_gib",
    ]
)


@given(paths, json_values)
def test_whatever_is_written_somewhere_it_is_read_or_refused_by_name(path: str, value: Any) -> None:
    try:
        configuration = read(changed(path, value))
    except BadMessage as problem:
        refused = problem.what
    else:
        assert configuration.settings.regions[0] == configuration.home
        return
    assert path.split(".")[0] in refused or "default_policy" in refused or "copies" in refused


def version(document: dict[str, Any]) -> str:
    return read(document).settings.policies["gold"].version


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("policies.gold.rpo", "2h"),
        ("policies.gold.keep.daily", 8),
        ("policies.gold.keep.yearly", ...),
        ("policies.gold.copy_to", ["eu-west-1"]),
        ("policies.gold.starts", "00:31"),
        ("policies.gold.starts", ...),
        ("policies.gold.avoid", ["23:30-00:14"]),
        ("policies.gold.avoid", []),
        ("policies.gold.lock.for", "15d"),
        ("policies.gold.lock.cool_off", "none"),
        ("policies.gold.lock.on", "copies"),
        ("policies.gold.lock.mode", "compliance"),
        ("policies.gold.lock", ...),
        ("policies.gold.archive_after", "91d"),
    ],
)
def test_a_changed_promise_has_another_version(path: str, value: Any) -> None:
    assert version(changed(path, value)) != version(COMPLETE)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("policies.gold.checks", []),
        ("policies.gold.checks.0.at_least", 5),
        ("policies.gold.rehearse_every", "3d"),
        ("policies.gold.release_after", "14d"),
        ("policies.gold.files", FILES),
        ("policies.gold.rpo", "60m"),
        ("policies.gold.archive_after", "2160h"),
        ("policies.gold.copy_to", ["eu-west-1", "us-gov-west-1", "eu-west-1"]),
        ("policies.bronze.rpo", "6d"),
        ("notify", []),
        ("default_policy", ...),
    ],
)
def test_the_same_promise_has_the_same_version_however_it_is_written_and_checked(path: str, value: Any) -> None:
    assert version(changed(path, value)) == version(COMPLETE)


def test_a_version_is_eight_hex_digits_and_the_same_in_every_process() -> None:
    assert (
        read(COMPLETE).settings.policies["gold"].version
        == read(json.loads(json.dumps(COMPLETE))).settings.policies["gold"].version
    )
    assert set(version(COMPLETE)) <= set("0123456789abcdef")
    assert len(version(COMPLETE)) == 8


def test_a_region_named_twice_is_one_region() -> None:
    document = changed("copies", ["eu-west-1", "us-gov-west-1", "eu-west-1"])
    assert read(document).settings.copy_regions == ("eu-west-1", "us-gov-west-1")


GUARD: dict[str, Any] = {
    "shared_with": ["210987654321"],
    "enforce": True,
    "keys": ["arn:aws:kms:eu-west-1:210987654321:key/0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9"],
    "recycle_bin": {"keep": "14d", "every_snapshot": True, "unlock_delay": "7d"},
    "block_public_access": {"eu-central-1": "block-all-sharing", "eu-west-1": "block-new-sharing"},
}


def test_a_block_says_who_may_use_snapshots_and_what_the_account_does_about_the_others() -> None:
    configuration = read(COMPLETE | {"guard": GUARD})
    assert configuration.settings.guard == Guard(
        shared_with=frozenset(GUARD["shared_with"]), enforce=True, keys=frozenset(GUARD["keys"])
    )
    rule = configuration.guard.recycle_bin
    assert rule is not None
    assert (rule.keep, rule.every_snapshot, rule.unlock_delay) == (14 * DAY, True, 7 * DAY)
    assert configuration.guard.block_public_access == GUARD["block_public_access"]


def test_without_a_word_about_it_nobody_is_allowed_and_nothing_of_the_account_is_changed() -> None:
    configuration = read(COMPLETE)
    assert configuration.settings.guard == Guard()
    assert (configuration.guard.recycle_bin, configuration.guard.block_public_access) == (None, {})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"shared_with": ["all"]}, "guard.shared_with.0"),
        ({"shared_with": [210987654321]}, "guard.shared_with.0"),
        ({"enforce": "yes"}, "guard.enforce"),
        ({"keys": ["alias/theirs"]}, "guard.keys.0"),
        ({"recycle_bin": {"keep": "12h"}}, "guard.recycle_bin.keep"),
        ({"recycle_bin": {"keep": "36h"}}, "guard.recycle_bin.keep: give whole days"),
        ({"recycle_bin": {"keep": "366d"}}, "guard.recycle_bin.keep"),
        ({"recycle_bin": GUARD["recycle_bin"] | {"unlock_delay": "6d"}}, "guard.recycle_bin.unlock_delay"),
        ({"recycle_bin": GUARD["recycle_bin"] | {"every_snapshot": False}}, "AWS locks no rule that goes by tags"),
        ({"block_public_access": {"us-east-1": "block-all-sharing"}}, "guard.block_public_access.us-east-1"),
        ({"block_public_access": {"eu-west-1": "unblocked"}}, "guard.block_public_access.eu-west-1"),
    ],
)
def test_a_guard_that_aws_does_not_know_is_refused_with_its_place(changes: dict[str, Any], said: str) -> None:
    assert said in refusal(COMPLETE | {"guard": GUARD | changes})


def test_a_lock_without_cooling_off_says_none() -> None:
    lock = {"mode": "compliance", "for": "1d", "cool_off": "none", "on": "copies"}
    assert read(changed("policies.gold.lock", lock)).settings.policies["gold"].lock == Lock(
        mode=LockMode.COMPLIANCE, days=1, cool_off_hours=0, on=LockOn.COPIES
    )
