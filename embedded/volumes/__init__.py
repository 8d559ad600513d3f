"""EC2 volumes, snapshots, copies and the EBS direct APIs, with real bytes and AWS's own limits and refusals.

`image_path` says where the bytes of a volume are, `install` puts the services into a ministack application, and
`control` answers `/_embedded/limits`.
"""

import os
from pathlib import Path
from types import ModuleType
from typing import Any

from embedded.volumes.blockstore import image_path

__all__ = ["control", "image_path", "install"]


def install(app: ModuleType) -> None:
    """`app` answers `ec2` and `ebs` from here; images and blocks are under the directory that EMBEDDED_DATA names."""
    # ministack and moto are imported here: whoever only wants to know where an image is needs neither.
    from embedded.volumes.services import handlers

    app.SERVICE_HANDLERS.update(handlers(Path(os.environ["EMBEDDED_DATA"]), is_guarded=app.AUTH))


def control(method: str, wanted: dict[str, Any]) -> dict[str, Any]:
    """The limits in force: GET shows them, POST changes the named ones, DELETE puts AWS's published ones back.

    POST takes what GET shows: `{"copies_in_progress": 2, "CreateSnapshot": {"burst": 1, "per_second": 0.1}}`.
    """
    from embedded.volumes.limits import in_force

    if method == "POST":
        in_force.change(wanted)
    elif method == "DELETE":
        in_force.reset()
    elif method != "GET":
        raise ValueError(f"/_embedded/limits answers GET, POST and DELETE, not {method}")
    return in_force.describe()
