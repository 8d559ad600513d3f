"""CloudFormation's instance profiles, which `Ref` names by their name as on AWS; ministack answers their ARN."""

from __future__ import annotations

from typing import Any

from ministack.services import iam
from ministack.services.cloudformation import provisioners

from embedded.corrections.expected import original

Properties = dict[str, Any]
Made = tuple[str, dict[str, Any]]

_TYPE = "AWS::IAM::InstanceProfile"


def install() -> None:
    create = original(provisioners, "_iam_ip_create", 'return profile["Arn"], {"Arn": profile["Arn"]}')
    update = original(provisioners, "_iam_ip_update", 'return physical_id, {"Arn": physical_id}')
    delete = original(provisioners, "_iam_ip_delete", 'if ip.get("Arn") == physical_id:')

    def create_named(logical_id: str, properties: Properties, stack_name: str) -> Made:
        return _named(create(logical_id, properties, stack_name))

    def update_named(
        name: str, old: Properties, new: Properties, stack_name: str, logical_id: str | None = None
    ) -> Made:
        return _named(update(_arn(name), old, new, stack_name, logical_id))

    def delete_named(name: str, properties: Properties) -> None:
        delete(_arn(name), properties)

    handlers = provisioners._RESOURCE_HANDLERS[_TYPE]
    handlers |= {"create": create_named, "update": update_named, "delete": delete_named}


def _named(made: Made) -> Made:
    arn, attributes = made
    return arn.rpartition("/")[2], attributes


def _arn(name: str) -> str:
    """The ARN of the profile; of one that is gone, its name, which is nobody's ARN."""
    profile = iam._instance_profiles.get(name)
    return str(profile["Arn"]) if profile else name
