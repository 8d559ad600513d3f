"""Follow deep check: how far the machine is, the next step on it, and in the end what it saw."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from functions.aws.deep_checks.checkers import Checker
from functions.core.deep_checks import Awaited, DeepCheck, FileSystemSeen, Report, assertions_of
from functions.core.errors import BadMessage, Refused, RestoreFailed, TryAgain
from functions.core.rehearsals import Rehearsal
from functions.handlers import deep_checking, frame
from functions.handlers.tools import Tools

SHORTEST_SCRIPT = timedelta(minutes=2)
"""With less time left a script would end before it can say anything."""


def follow_deep_check(rehearsal: Rehearsal, tools: Tools, now: datetime) -> Rehearsal:
    """The rehearsal a step further, or with what the machine saw in its evidence, or undecided with the reason.

    What AWS cannot say now is asked again at the next look, until the time of the deep check is up.
    """
    check = rehearsal.deep_check
    if check is None or check.until is None:
        raise BadMessage("no deep check was begun", hint="The workflow starts one before it follows it.")
    try:
        return _followed(rehearsal, check, tools, now)
    except TryAgain as waits:
        check = replace(check, problem=waits.what)
    except (Refused, RestoreFailed) as problem:
        return deep_checking.broken_off(rehearsal, check, problem, now)
    if deep_checking.is_late(check, now):
        return deep_checking.given_up(rehearsal, check, now)
    return replace(rehearsal, deep_check=check)


def _followed(rehearsal: Rehearsal, check: DeepCheck, tools: Tools, now: datetime) -> Rehearsal:
    if check.script_id:
        ended = tools.scripts.ending(check.checker_id, check.script_id)
        if ended is not None and ended.problem:
            raise RestoreFailed(ended.problem, hint="Look at the command in Systems Manager, and rehearse again.")
        if ended is not None:
            report = _of_the_originals(ended.report, rehearsal)
            return deep_checking.over(rehearsal, check, assertions_of(report, check.commands), now)
    checker = tools.checkers.look(check.checker_id)
    if checker.ended:
        raise RestoreFailed(
            f"its machine {checker.id} ended before it had said anything: {checker.ended}",
            hint="Look at the instance's state reason in EC2; rehearse again if nothing is wrong there.",
        )
    if deep_checking.is_late(check, now):
        return deep_checking.given_up(rehearsal, check, now)
    return replace(rehearsal, deep_check=_a_step_on(rehearsal, check, checker, tools, now))


def _of_the_originals(report: Report, rehearsal: Rehearsal) -> Report:
    """The report with the volumes that people know: those that the machine had are about to be gone."""
    originals = dict(zip(rehearsal.snapshot_ids, rehearsal.source_snapshot_ids, strict=True))
    names = {one.id: rehearsal.source_ids.get(originals.get(one.snapshot_id, ""), one.id) for one in rehearsal.restored}

    def renamed(seen: FileSystemSeen) -> FileSystemSeen:
        volume, space, place = seen.where.partition(" ")
        return replace(seen, where=f"{names.get(volume, volume)}{space}{place}")

    return replace(report, file_systems=tuple(map(renamed, report.file_systems)))


def _a_step_on(rehearsal: Rehearsal, check: DeepCheck, checker: Checker, tools: Tools, now: datetime) -> DeepCheck:
    volume_ids = [one.id for one in rehearsal.restored]
    check = replace(check, problem="")
    if check.script_id:
        return check
    if not checker.is_running:
        return replace(check, awaited=Awaited.START)
    if not tools.checkers.attach(check.checker_id, volume_ids):
        return replace(check, awaited=Awaited.ATTACHMENT)
    if not tools.scripts.is_online(check.checker_id):
        return replace(check, awaited=Awaited.AGENT)
    left = (check.until or now) - now
    if left < SHORTEST_SCRIPT:
        return replace(check, awaited=Awaited.SCRIPT, problem=f"only {left} were left when it could have begun")
    seconds = int(left.total_seconds())
    script_id = tools.scripts.send(check.checker_id, volume_ids, check.commands, seconds=seconds)
    return replace(check, awaited=Awaited.SCRIPT, script_id=script_id)


handler = frame.task(Rehearsal)(follow_deep_check)
