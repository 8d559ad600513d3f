"""A copy that AWS accepts and fails in silence is begun again, and told when it stays failed."""

from __future__ import annotations

from tests.e2e.deployment import AWAY, Deployment


def test_a_copy_under_an_unusable_key_is_tried_again_and_then_told(deployment: Deployment) -> None:
    """F51, F57: the call answers 200; only looking finds the error."""
    kms = deployment.aws.client("kms", AWAY)
    key = kms.describe_key(KeyId="alias/holdfast")["KeyMetadata"]["KeyId"]
    thing = deployment.protect_a_volume()
    kms.disable_key(KeyId=key)
    try:
        deployment.plan()
        for attempt in (1, 2, 3):
            deployment.until(f"attempt {attempt} failed", lambda a=attempt: _failed(deployment, thing) == a)
            deployment.aws.advance(60)
            deployment.invoke("sweep")
        deployment.until("the run has a verdict", lambda: deployment.told(thing).verdict)
    finally:
        kms.enable_key(KeyId=key)
    verdict = deployment.told(thing).verdict
    assert verdict["word"] == "unusual"
    assert "Given key ID is not accessible" in verdict["reasons"][0]["text"]


def _failed(deployment: Deployment, thing) -> int:
    """How many attempts of the copy ended FAILED by now."""
    copies = deployment.told(thing).copies
    return int(copies[0]["attempt"]) if copies and copies[0]["status"] == "FAILED" else 0
