"""The ledger: one object that holds the rooms of our memory."""

from __future__ import annotations

from functions.ledger.approvals import Approvals
from functions.ledger.block_memories import BlockMemories
from functions.ledger.findings import Findings
from functions.ledger.holds import Holds
from functions.ledger.permits import Permits
from functions.ledger.resources import Resources
from functions.ledger.since import Since
from functions.ledger.starts import Starts
from functions.ledger.stories import Stories
from functions.ledger.surplus import SurplusSnapshots
from functions.ledger.table import Table
from functions.ledger.works import Copies, Points


class Ledger:
    """Everything Holdfast remembers, in one table. Making one reads nothing and calls nothing."""

    def __init__(self, *, table: str, region: str) -> None:
        bond = Table(name=table, region=region)
        self.holds = Holds(bond)
        self.points = Points(bond, self.holds)
        self.copies = Copies(bond)
        self.resources = Resources(bond)
        self.permits = Permits(bond)
        self.stories = Stories(bond)
        self.approvals = Approvals(bond)
        self.starts = Starts(bond)
        self.block_memories = BlockMemories(bond)
        self.since = Since(bond)
        self.findings = Findings(bond)
        self.surplus = SurplusSnapshots(bond)
