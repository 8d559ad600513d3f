"""The second night knows what changed since the first."""

from __future__ import annotations

from embedded.volumes import image_path
from embedded.volumes.blockstore import BLOCK_BYTES
from tests.e2e.deployment import Deployment


def test_the_second_run_tells_the_bytes_of_the_blocks_that_changed(deployment: Deployment) -> None:
    thing = deployment.protect_a_volume()
    image = image_path(deployment.aws.data_directory, thing.id)
    with image.open("r+b") as volume:
        volume.write(b"first night" * 100_000)
    deployment.next_night()
    deployment.plan()
    first = deployment.until_copied(thing)
    assert first.run["changed_bytes"] is None, "there was nothing to compare with"
    with image.open("r+b") as volume:
        for block in (0, 40, 900):
            volume.seek(block * BLOCK_BYTES)
            volume.write(b"second night")
    deployment.next_night()
    deployment.plan()
    second = deployment.until_copied(thing)
    assert second.run["changed_bytes"] == 3 * BLOCK_BYTES
    assert second.run["full_size_bytes"] == first.run["full_size_bytes"] + 2 * BLOCK_BYTES
