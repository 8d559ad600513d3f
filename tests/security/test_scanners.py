"""The templates under the six packs of cdk-nag, checkov and cfn-lint: nothing is found that is not meant so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from tests.security import cfn_lint, checkov, findings
from tests.security.acknowledged import ACKNOWLEDGED, Acknowledgement
from tests.security.deployed import Deployed
from tests.security.findings import Finding

MOST = 35


@pytest.fixture(scope="module")
def found(deployed: Deployed) -> tuple[Finding, ...]:
    return (*findings.read(deployed), *checkov.read(deployed), *cfn_lint.read(deployed))


@pytest.fixture(scope="module")
def covered(deployed: Deployed, found: tuple[Finding, ...]) -> Mapping[Finding, Sequence[Acknowledgement]]:
    """Every finding with the acknowledgements whose proof holds for it."""
    return {finding: [it for it in ACKNOWLEDGED if it.covers(deployed, finding)] for finding in found}


def test_every_finding_is_meant_so_and_its_reason_holds_for_that_resource(
    covered: Mapping[Finding, Sequence[Acknowledgement]],
) -> None:
    assert len(covered) > 500
    open_ones = sorted(str(finding) for finding, by in covered.items() if not by)
    assert not open_ones, "mend the template, or say in acknowledged.py why it is meant so, with a proof"


def test_no_finding_is_acknowledged_twice(covered: Mapping[Finding, Sequence[Acknowledgement]]) -> None:
    assert [str(finding) for finding, by in covered.items() if len(by) > 1] == []


def test_every_acknowledgement_is_needed_and_names_nothing_that_is_not_found(
    covered: Mapping[Finding, Sequence[Acknowledgement]],
) -> None:
    for acknowledgement in ACKNOWLEDGED:
        of_it = [finding for finding, by in covered.items() if acknowledgement in by]
        assert {finding.rule for finding in of_it} == set(acknowledgement.rules), acknowledgement.reason
        assert {finding.detail for finding in of_it} == set(acknowledgement.details), acknowledgement.reason


def test_there_are_few_acknowledgements_and_each_has_a_reason() -> None:
    assert len(ACKNOWLEDGED) <= MOST
    assert all(len(it.reason) > 20 for it in ACKNOWLEDGED)
