"""Amazon's public images: their SSM parameters, and what EC2 knows about them."""

from __future__ import annotations

from typing import Any

from ministack.services import ssm
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.amis import Ami
from moto.ec2.models.instance_types import INSTANCE_TYPES

from embedded.corrections.expected import expect

_FOLDER = "/aws/service/ami-amazon-linux-latest/"
_RESOLVE = "resolve:ssm:"
_AMAZON = "137112412989"
_ROOT_GIB = 8
# Image ids by name of the parameter. Real ones differ from Region to Region, and with every release.
_PUBLIC = {
    "al2023-ami-kernel-default-arm64": "ami-0a2023000000a0001",
    "al2023-ami-kernel-default-x86_64": "ami-0c2023a1b2c3d4e5f",
    "al2023-ami-minimal-kernel-default-arm64": "ami-0a2023000000a0002",
    "al2023-ami-minimal-kernel-default-x86_64": "ami-0a2023000000a0003",
}


class PublicImage(Ami):
    """An image of Amazon's with one root volume."""

    @property
    def block_device_mappings(self) -> list[dict[str, Any]]:
        root = {
            "SnapshotId": self.ebs_snapshot.id,
            "VolumeSize": _ROOT_GIB,
            "VolumeType": "gp3",
            "DeleteOnTermination": True,
            "Encrypted": False,
        }
        return [{"DeviceName": self.root_device_name, "Ebs": root}]


def install() -> None:
    """SSM's public parameters name the images of this module."""
    expect(isinstance(ssm._PUBLIC_AMI_PARAMETERS, dict), "ssm._PUBLIC_AMI_PARAMETERS to be a table")
    ssm._PUBLIC_AMI_PARAMETERS.update({_FOLDER + name: image_id for name, image_id in _PUBLIC.items()})


def parameter_of(image_id: str) -> str | None:
    """The SSM parameter that stands where an image id is expected, or None where an image is named itself."""
    return image_id.removeprefix(_RESOLVE) if image_id.startswith(_RESOLVE) else None


def image_id_in(parameter: str) -> str | None:
    """What the SSM parameter of the Region at hand holds; None if there is none."""
    found, _ = ssm._select_parameter(parameter)
    return str(found["Value"]) if found else None


def resolved(image_id: str) -> str:
    """The image id itself, or the one in the SSM parameter it names; InvalidParameterValue if there is none."""
    parameter = parameter_of(image_id)
    if parameter is None:
        return image_id
    found = image_id_in(parameter)
    if found is None:
        raise EC2ClientError("InvalidParameterValue", f"The SSM parameter '{parameter}' of the image does not exist.")
    return found


def is_public(image_id: str) -> bool:
    """Whether the image is one of Amazon's that are known here."""
    return image_id in _PUBLIC.values()


def know_public_images(backend: Any) -> None:
    """The Region of `backend` has Amazon's images; they are made when somebody first asks, for a start costs time."""
    for name, image_id in _PUBLIC.items():
        if image_id not in backend.amis:
            backend.amis[image_id] = PublicImage(
                backend,
                image_id,
                name=name,
                description="Amazon Linux 2023",
                owner_id=_AMAZON,
                owner_alias="amazon",
                public=True,
                virtualization_type="hvm",
                architecture=name.rpartition("-")[2],
                hypervisor="xen",
                root_device_type="ebs",
                root_device_name="/dev/xvda",
                region_name=f"{backend.region_name}a",
            )


def check_architecture(image: Ami, instance_type: str) -> None:
    """The type can run the image; EC2's refusal if not."""
    known = INSTANCE_TYPES.get(instance_type)
    if known is None:
        raise EC2ClientError("InvalidParameterValue", f"Invalid value '{instance_type}' for InstanceType.")
    offered = known["ProcessorInfo"]["SupportedArchitectures"]
    if image.architecture not in offered:
        raise EC2ClientError(
            "InvalidParameterValue",
            f"The architecture '{','.join(offered)}' of the specified instance type does not match the architecture "
            f"'{image.architecture}' of the specified AMI. Specify an instance type and an AMI that have matching "
            "architectures, and try again.",
        )
