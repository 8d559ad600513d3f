"""Start deep check: the machine is launched that will have the restored volumes, one at a time in a Region."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from functions.core.deep_checks import Awaited, DeepCheck, Stage
from functions.core.errors import AwsBusy, BadMessage, Refused
from functions.core.rehearsals import Rehearsal
from functions.handlers import deep_checking, frame
from functions.handlers.start_restore import order_of
from functions.handlers.tools import Tools


def start_deep_check(rehearsal: Rehearsal, tools: Tools, now: datetime) -> Rehearsal:
    """The rehearsal with its machine, waiting for one, or undecided because none could be had.

    That another deep check is going on is seen by looking, so two that begin in the same seconds may both go on.
    """
    if rehearsal.deep_check is None:
        raise BadMessage("no deep check is due", hint="The workflow asks only for rehearsals that have one.")
    check = replace(rehearsal.deep_check, asked_at=rehearsal.deep_check.asked_at or now)
    if deep_checking.is_late(check, now):
        return deep_checking.given_up(rehearsal, check, now)
    try:
        check = _launched(check, rehearsal, tools)
    except AwsBusy as busy:
        check = replace(check, awaited=Awaited.CAPACITY, problem=busy.what)
    except Refused as refused:
        return deep_checking.broken_off(rehearsal, check, refused, now)
    return replace(rehearsal, deep_check=check)


def _launched(check: DeepCheck, rehearsal: Rehearsal, tools: Tools) -> DeepCheck:
    others = tools.checkers.others(rehearsal.id)
    if others:
        return replace(check, awaited=Awaited.TURN, problem=f"{', '.join(others)} is there")
    # Nothing of the order depends on the time: EC2 refuses a client token that comes back with other parameters.
    checker_id = tools.checkers.launch(order_of(rehearsal), within=check.within)
    return replace(check, checker_id=checker_id, stage=Stage.UNDER_WAY, awaited=Awaited.START, problem="")


handler = frame.task(Rehearsal)(start_deep_check)
