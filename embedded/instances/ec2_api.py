"""The EC2 requests about instances, their images and their attachments; volumes and the rest stay what they are."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, ClassVar

from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError

from embedded.instances import attachments, images, profiles
from embedded.instances.instances import Instances
from embedded.instances.profiles import Profile
from embedded.volumes import kms
from embedded.volumes.ec2_api import Ec2Api

_ROOT_GIB = 8


class InstancesApi(Ec2Api):
    """EC2 with instances that live. One object per request; `instances` is set once, on installation."""

    instances: ClassVar[Instances]

    def run_instances(self) -> ActionResult:
        self.error_on_dryrun()
        token = self._get_param("ClientToken")
        wanted = {name: deepcopy(value) for name, value in self.params.items() if name != "ClientToken"}
        with self.instances.lock:
            before = self.instances.launched_before(self.region, token, wanted)
            if before is not None:
                return ActionResult(before)
            images.know_public_images(self.ec2_backend)
            profile = self._profile()
            # moto would look for the profile in an IAM of its own, and does not know what an image's name resolves to.
            self.params.pop("IamInstanceProfile", None)
            self._settle_image()
            self._check_network()
            answer = super().run_instances()
            for instance in answer.result.instances:  # type: ignore[union-attr]
                for interface in instance.nics.values():
                    interface.add_tags(self._tags_for("network-interface"))
            self.instances.begin(answer.result, token, wanted, profile)  # type: ignore[arg-type]
            return answer

    def terminate_instances(self) -> ActionResult:
        self.error_on_dryrun()
        ids = self._get_param("InstanceIds", [])
        if not ids:
            raise EC2ClientError("MissingParameter", "The request must contain the parameter InstanceId")
        ended = [
            {
                "InstanceId": instance.id,
                "PreviousState": self.instances.terminate(instance),
                "CurrentState": instance.instance_state,
            }
            for instance in self.ec2_backend.get_multi_instances_by_id(ids)
        ]
        return ActionResult({"TerminatingInstances": ended})

    def stop_instances(self) -> ActionResult:
        answer = super().stop_instances()
        for instance_id in self._get_param("InstanceIds", []):
            self.instances.when_ended(instance_id)
        return answer

    def describe_images(self) -> ActionResult:
        images.know_public_images(self.ec2_backend)
        return super().describe_images()

    # -- attachments

    def attach_volume(self) -> ActionResult:
        self.error_on_dryrun()
        volume_id, instance_id = self._get_param("VolumeId"), self._get_param("InstanceId")
        with self.operations.plane.lock:
            volume = self.ec2_backend.get_volume(volume_id)
            if volume.attachment is None and volume.phase != "available":
                raise EC2ClientError("IncorrectState", f"{volume_id} is not 'available'.")
            attached = attachments.attach(self.ec2_backend, volume_id, instance_id, self._get_param("Device"))
        return ActionResult(_attachment(attached))

    def detach_volume(self) -> ActionResult:
        self.error_on_dryrun()
        with self.operations.plane.lock:
            detached = attachments.detach(
                self.ec2_backend,
                self._get_param("VolumeId"),
                self._get_param("InstanceId"),
                self._get_param("Device"),
            )
        return ActionResult(_attachment(detached))

    # -- inside

    def _profile(self) -> Profile | None:
        name, arn = self._get_param("IamInstanceProfile.Name"), self._get_param("IamInstanceProfile.Arn")
        if not name and not arn:
            return None
        found = profiles.find(name, arn)
        if found is None:
            kind = "name" if name else "arn"
            raise EC2ClientError(
                "InvalidParameterValue",
                f"Value ({name or arn}) for parameter iamInstanceProfile.{kind} is invalid. "
                f"Invalid IAM Instance Profile {kind}",
            )
        return found

    def _settle_image(self) -> None:
        """The request names an image by its id; if it is one that we know, the type fits it and it has its root."""
        self.params["ImageId"] = images.resolved(self._get_param("ImageId") or "")
        # Images nobody registered are taken as they were before there were any: tests name them freely.
        image = self.ec2_backend.amis.get(self.params["ImageId"])
        if not isinstance(image, images.PublicImage):
            return
        images.check_architecture(image, self._get_param("InstanceType") or "m1.small")
        root = {"VolumeSize": _ROOT_GIB, "VolumeType": "gp3", "DeleteOnTermination": True}
        asked = {mapping["DeviceName"]: mapping for mapping in self._get_param("BlockDeviceMappings", [])}
        of_root = asked.setdefault(image.root_device_name, {"DeviceName": image.root_device_name})
        of_root["Ebs"] = root | of_root.get("Ebs", {})
        self.params["BlockDeviceMappings"] = [self._with_key(mapping) for mapping in asked.values()]

    def _with_key(self, mapping: dict[str, Any]) -> dict[str, Any]:
        """The mapping with the key's ARN where the request names the key by an alias."""
        disk = mapping.get("Ebs", {})
        if disk.get("KmsKeyId"):
            mapping["Ebs"] = disk | {"KmsKeyId": kms.key_arn(disk["KmsKeyId"], self.region)}
        return mapping

    def _check_network(self) -> None:
        subnet_id = self._get_param("SubnetId")
        if not subnet_id:
            return
        vpc_id = self.ec2_backend.get_subnet(subnet_id).vpc_id
        for group_id in self._get_param("SecurityGroupIds", []):
            group = self.ec2_backend.get_security_group_from_id(group_id)
            if group is not None and group.vpc_id != vpc_id:
                raise EC2ClientError(
                    "InvalidParameter",
                    f"Security group {group_id} and subnet {subnet_id} belong to different networks.",
                )


def _attachment(attachment: Any) -> dict[str, Any]:
    return {
        "VolumeId": attachment.volume.id,
        "InstanceId": attachment.instance.id,
        "Device": attachment.device,
        "State": attachment.status,
        "AttachTime": attachment.attach_time,
        "DeleteOnTermination": False,
    }
