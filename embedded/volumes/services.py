"""The two services, put together on one plane."""

from pathlib import Path

from embedded import moto_service
from embedded.moto_service import Handler
from embedded.volumes import ebs_direct, resources
from embedded.volumes.blockstore import BlockStore
from embedded.volumes.copies import Copies
from embedded.volumes.ec2_api import Ec2Api, Operations
from embedded.volumes.plane import Plane
from embedded.volumes.volumes import Volumes


def handlers(data_directory: Path, *, is_guarded: bool) -> dict[str, Handler]:
    """Handlers of `ec2` and `ebs` that keep their bytes under `data_directory`.

    `is_guarded` says whether callers of `ebs` need permissions; for `ec2` ministack has looked at them before.
    """
    store = BlockStore(data_directory)
    resources.install(store)
    plane = Plane(store)
    Ec2Api.operations = Operations(plane, Copies(plane), Volumes(plane))
    return {"ec2": moto_service.handler(Ec2Api, "ec2"), "ebs": ebs_direct.handler(plane, is_guarded=is_guarded)}
