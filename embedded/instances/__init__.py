"""EC2 instances that start, take volumes, are managed by SSM and really run the scripts that Run Command sends them.

`install` puts them into a ministack application, over the volumes that `embedded.volumes` has put there.
"""

from types import ModuleType

__all__ = ["install"]


def install(app: ModuleType) -> None:
    """`app` answers EC2's requests about instances and attachments, and SSM's about commands, from here."""
    # moto is imported here: whoever only wants the names of this package needs none of it.
    from embedded import moto_service
    from embedded.instances import images
    from embedded.instances.commands import Commands
    from embedded.instances.ec2_api import InstancesApi
    from embedded.instances.instances import Instances
    from embedded.instances.ssm_api import SsmApi

    images.install()
    instances = Instances()
    commands = Commands(instances)
    instances.when_ended = commands.end_on
    InstancesApi.instances = instances
    app.SERVICE_HANDLERS["ec2"] = moto_service.handler(InstancesApi, "ec2")
    app.SERVICE_HANDLERS["ssm"] = SsmApi(commands, instances, app.SERVICE_HANDLERS["ssm"]).handle
