"""One round of setting up a restored database like the original: what stands where, and the next change asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from functions.aws.faults import translated
from functions.aws.rds_described import tags_of, written
from functions.aws.recoveries.calls_rds import group
from functions.aws.recoveries.settings_rds import Choice, Described, Wanted, is_default_group, region_of
from functions.core.errors import Broken, HoldfastError, Refused, ResourceBusy, ResourceGone, TryAgain
from functions.core.recoveries import Setting

if TYPE_CHECKING:
    from mypy_boto3_rds import RDSClient

ASKS_TAG = "holdfast:recovery-asks"
"""On a restored database: how often a change was asked for. The rounds remember nothing else."""
RESTARTED_TAG = "holdfast:recovery-restarted"
"""On a restored instance: it was restarted for its parameter group, and is not restarted again."""
MOST_ASKS = 12
"""After so many requests a setting that RDS accepts and never shows is told, and no longer waited for."""

_READY = frozenset({"available", "storage-optimization", "storage-initialization"})
_GROUPS = ("parameter_group", "cluster_parameter_group", "option_group")
_STORAGE = ("storage_type", "iops", "throughput_mibps")
_READABLE = frozenset({"active", "rotating", "impaired"})
"""States of a managed secret in which it can be read; an impaired one only cannot be rotated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a round is about: an instance or a cluster as RDS describes it now, and the calls that change it.

    `add_role` and `restart` are None where there is no such thing; `apply_status` is what RDS says of the parameter
    groups, which take effect only with a restart.
    """

    id: str
    arn: str
    word: str
    described: Described
    choices: Sequence[Choice]
    modify: Callable[..., object]
    add_role: Callable[[Mapping[str, str]], object] | None = None
    restart: Callable[[], object] | None = None
    apply_status: frozenset[str] = frozenset()
    prefix: str = ""


class Round:
    """One look at a target, and at most one kind of change asked for."""

    def __init__(self, rds: RDSClient, region: str, target: Target, wanted: Wanted) -> None:
        self._rds = rds
        self._region = region
        self._target = target
        self._wanted = wanted
        self._tags = tags_of(target.described)
        self._has_asked = False

    def settings(self, *, others: Sequence[Setting] = ()) -> tuple[Setting, ...]:
        """Every setting and where it stands. `others` have to be settled before protection is set, too.

        Errors: ResourceGone, AwsBusy.
        """
        found = [*self._tagged(), *self._chosen(), *self._roles(), *self._secret(), *self._impossible()]
        found += self._restarted(found)
        found += self._protected([*others, *found])
        return tuple(found)

    # what is asked for

    def _tagged(self) -> list[Setting]:
        tags: Mapping[str, str] = self._wanted.get("tags") or {}
        missing = {key: value for key, value in tags.items() if self._tags.get(key) != value}
        if not tags or not missing:
            return [self._met("tags")] if tags else []
        problem = self._asked("rds:AddTagsToResource", lambda: self._add_tags(missing))
        return [self._failed("tags", problem) if problem else self._under_way("tags", "asked for")]

    def _chosen(self) -> list[Setting]:
        found: list[Setting] = []
        differing: list[Choice] = []
        for choice in self._target.choices:
            if not choice.applies(self._wanted):
                continue
            verdict = self._judged(choice)
            if verdict is None:
                differing.append(choice)
            else:
                found.append(verdict)
        return found + self._changed(differing)

    def _judged(self, choice: Choice) -> Setting | None:
        """Where one setting stands; None when a change has to be asked for."""
        wanted, described = self._wanted[choice.ours], self._target.described
        if choice.is_met(choice.shown(described), wanted):
            return self._met(choice.ours)
        if choice.ours in _GROUPS and self._is_absent(choice.ours, wanted):
            return self._failed(choice.ours, f"there is no {wanted} in {self._region}; make one and set it")
        if not choice.changing and choice.request is None:
            shown = choice.shown(described)
            return self._failed(choice.ours, f"it is {shown}, and only a new restore can make it {wanted}")
        if choice.is_under_way(described):
            return self._under_way(choice.ours, "RDS is changing it")
        return None

    def _is_absent(self, setting: str, name: object) -> bool:
        return not is_default_group(name) and group(self._rds, setting, str(name)) is None

    def _changed(self, choices: Sequence[Choice]) -> list[Setting]:
        if not choices:
            return []
        if not self._may_ask:
            return [self._under_way(choice.ours, self._why_not_now) for choice in choices]
        if self._is_spent():
            return [self._never_shown(choice.ours) for choice in choices]
        problem = self._modified(choices)
        if not problem:
            return [self._under_way(choice.ours, "asked for") for choice in choices]
        parts = _separable(choices)
        if len(parts) == 1:
            return [self._failed(choice.ours, problem) for choice in choices]
        return self._changed_apart(parts)

    def _changed_apart(self, parts: Sequence[Sequence[Choice]]) -> list[Setting]:
        """One refused setting spoils a request for several: each alone, until RDS is busy with the first accepted."""
        found: list[Setting] = []
        for part in parts:
            problem = "" if self._has_asked else self._modified(part)
            found += [
                self._failed(choice.ours, problem) if problem else self._under_way(choice.ours, "asked for")
                for choice in part
            ]
        return found

    def _modified(self, choices: Sequence[Choice]) -> str:
        request: dict[str, Any] = {}
        for choice in choices:
            request |= choice.changed(self._wanted, self._region)
        problem = self._asked("rds:Modify", lambda: self._target.modify(**request))
        self._has_asked = not problem
        return problem

    def _roles(self) -> list[Setting]:
        if self._target.add_role is None:
            return []
        shown = {
            (role["RoleArn"], role.get("FeatureName") or ""): role.get("Status")
            for role in self._target.described.get("AssociatedRoles", ())
        }
        return [self._role(role, shown) for role in self._wanted.get("roles") or ()]

    def _role(self, role: Mapping[str, str], shown: Mapping[tuple[str, str], str | None]) -> Setting:
        what = f"role {role['arn'].rpartition('/')[2]}"
        add = self._target.add_role
        key = (role["arn"], role.get("feature") or "")
        if key in shown or add is None:
            status = shown.get(key)
            if status in ("ACTIVE", None):
                return self._met(what)
            if status == "PENDING":
                return self._under_way(what, "RDS is adding it")
            return self._failed(what, f"RDS says {status}: look whether the role exists and trusts rds.amazonaws.com")
        if not self._may_ask:
            return self._under_way(what, self._why_not_now)
        if self._is_spent():
            return self._never_shown(what)
        problem = self._asked("rds:AddRole", lambda: add(role))
        return self._failed(what, problem) if problem else self._under_way(what, "asked for")

    def _secret(self) -> list[Setting]:
        if not self._wanted.get("master_secret_arn"):
            return []
        what = "managed master secret"
        secret = self._target.described.get("MasterUserSecret") or {}
        if secret.get("SecretStatus") in _READABLE:
            return [self._met(what)]
        pending = self._target.described.get("PendingModifiedValues") or {}
        if secret or pending.get("MasterUserPassword"):
            return [self._under_way(what, "RDS is making it")]
        if not self._may_ask:
            return [self._under_way(what, self._why_not_now)]
        if self._is_spent():
            return [self._never_shown(what)]
        key = self._wanted.get("master_secret_key_id")
        own_key = {"MasterUserSecretKmsKeyId": key} if region_of(key) == self._region else {}
        problem = self._asked("rds:Modify", lambda: self._target.modify(ManageMasterUserPassword=True, **own_key))
        self._has_asked = not problem
        return [self._failed(what, problem) if problem else self._under_way(what, "asked for")]

    def _impossible(self) -> list[Setting]:
        return [
            self._failed(
                f"domain {domain}",
                "joining needs the secrets of somebody who may: join it with ModifyDBInstance or ModifyDBCluster",
            )
            for domain in self._wanted.get("domains") or ()
        ]

    def _restarted(self, before: Sequence[Setting]) -> list[Setting]:
        """A parameter group takes effect with a restart; nobody works on the thing yet, so it is done here, once."""
        what, restart, statuses = "restart for the parameter group", self._target.restart, self._target.apply_status
        if "failed-to-apply" in statuses:
            return [self._failed(what, "RDS could not apply the group: its parameters do not fit; look at its events")]
        if "applying" in statuses:
            return [self._under_way(what, "RDS is applying the group")]
        if restart is None or "pending-reboot" not in statuses:
            return []
        if not self._may_ask or any(setting.is_applied is None for setting in before):
            return [self._under_way(what, "after the other settings")]
        if RESTARTED_TAG in self._tags:
            spent = self._is_spent()
            return [self._never_shown(what) if spent else self._under_way(what, "RDS does not show its effect yet")]
        problem = self._asked("rds:RebootDBInstance", lambda: self._restart_once(restart))
        self._has_asked = not problem
        return [self._failed(what, problem) if problem else self._under_way(what, "asked for")]

    def _restart_once(self, restart: Callable[[], object]) -> None:
        # First the note, then the restart: a restart that nobody remembers would be done again and again.
        self._add_tags({RESTARTED_TAG: "1"})
        restart()

    def _protected(self, before: Sequence[Setting]) -> list[Setting]:
        if not self._wanted.get("is_deletion_protected"):
            return []
        what = "is_deletion_protected"
        if self._target.described.get("DeletionProtection"):
            return [self._met(what)]
        if any(setting.is_applied is None for setting in before):
            return [self._under_way(what, "it comes last")]
        if not self._may_ask:
            return [self._under_way(what, self._why_not_now)]
        if self._is_spent():
            return [self._never_shown(what)]
        problem = self._asked("rds:Modify", lambda: self._target.modify(DeletionProtection=True))
        return [self._failed(what, problem) if problem else self._under_way(what, "asked for")]

    # how it is asked

    @property
    def _may_ask(self) -> bool:
        return self._target.word in _READY and not self._has_asked

    @property
    def _why_not_now(self) -> str:
        return "its turn comes next" if self._has_asked else f"RDS says {self._target.word}"

    def _is_spent(self) -> bool:
        """Whether enough was asked; if not, one more request is noted."""
        told = self._tags.get(ASKS_TAG, "0")
        asks = int(told) if told.isdigit() else 0
        if asks >= MOST_ASKS:
            return True
        self._tags[ASKS_TAG] = str(asks + 1)
        with translated("rds:AddTagsToResource", resource=self._target.id):
            self._add_tags({ASKS_TAG: str(asks + 1)})
        return False

    def _add_tags(self, tags: Mapping[str, str]) -> None:
        self._rds.add_tags_to_resource(ResourceName=self._target.arn, Tags=written(tags))

    def _asked(self, operation: str, call: Callable[[], object]) -> str:
        """Why RDS refused; empty when it accepted, or cannot now and is asked again in the next round."""
        try:
            with translated(operation, resource=self._target.id):
                call()
        except ResourceBusy:
            return ""
        except (TryAgain, ResourceGone):
            raise
        except (Refused, Broken) as refused:
            return _in_words(refused)
        return ""

    # how it is told

    def _met(self, what: str) -> Setting:
        return Setting(what=self._target.prefix + what, is_applied=True)

    def _under_way(self, what: str, detail: str) -> Setting:
        return Setting(what=self._target.prefix + what, is_applied=None, detail=detail)

    def _failed(self, what: str, problem: str) -> Setting:
        return Setting(what=self._target.prefix + what, is_applied=False, detail=problem)

    def _never_shown(self, what: str) -> Setting:
        return self._failed(what, f"asked for {MOST_ASKS} times, and RDS does not show it: set it by hand")


def _separable(choices: Sequence[Choice]) -> list[list[Choice]]:
    """Each by itself, but the settings of the storage together: RDS judges them together."""
    storage = [choice for choice in choices if choice.ours in _STORAGE]
    alone = [[choice] for choice in choices if choice.ours not in _STORAGE]
    return ([storage] if storage else []) + alone


def _in_words(refused: HoldfastError) -> str:
    """What RDS said, and the next step. A code that nobody listed is a setting that does not fit here."""
    step = "set it by hand, or recover again with another value" if isinstance(refused, Broken) else refused.hint
    return f"{refused.what}; {step}"
