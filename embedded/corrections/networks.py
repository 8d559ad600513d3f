"""CloudFormation's networks, made where the other EC2 and RDS calls find them.

ministack provisions `AWS::EC2::*` and `AWS::RDS::DBSubnetGroup` into its own EC2 and RDS, which nothing else
here asks. These provisioners call the API of this very server instead, whoever answers it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from ministack.core.responses import get_region
from ministack.services.cloudformation import provisioners, stacks

from embedded import root
from embedded.corrections.expected import expect, original

Properties = dict[str, Any]
# The physical id of what was made, and what Fn::GetAtt answers of it.
Made = tuple[str, dict[str, Any]]
Create = Callable[[Properties, str], Made]
Delete = Callable[[str, Properties], object]


def install() -> None:
    original(provisioners, "_provision_resource", 'return handler["create"](logical_id, props, stack_name)')
    handlers = provisioners._RESOURCE_HANDLERS
    expect("AWS::EC2::VPC" in handlers, "CloudFormation provisioners for AWS::EC2::VPC")
    for resource_type, (create, delete) in _PROVISIONERS.items():
        handlers[resource_type] = _handler(create, delete)
    runs_on_worker_thread = original(stacks, "_runs_on_worker_thread")
    # On the loop that serves requests these provisioners would wait for themselves.
    stacks._runs_on_worker_thread = lambda resource_type: (
        resource_type in _PROVISIONERS or runs_on_worker_thread(resource_type)
    )


def _handler(create: Create, delete: Delete) -> dict[str, Any]:
    # With no "update", a change of anything but tags makes the resource anew and then deletes the old one.
    return {
        "create": lambda logical_id, properties, stack_name: create(properties, f"{stack_name}-{logical_id}"),
        "delete": delete,
    }


def _api(service: str) -> Any:
    return root.client(service, get_region(), f"http://127.0.0.1:{os.environ['GATEWAY_PORT']}")


def _tagged(kind: str, properties: Properties) -> dict[str, Any]:
    tags = properties.get("Tags") or []
    return {"TagSpecifications": [{"ResourceType": kind, "Tags": tags}]} if tags else {}


def _picked(properties: Properties, *names: str) -> Properties:
    return {name: properties[name] for name in names if name in properties}


# ---------------------------------------------------------------------------- one function per resource type


def _vpc(properties: Properties, _name: str) -> Made:
    ec2 = _api("ec2")
    wanted = _picked(properties, "CidrBlock", "InstanceTenancy")
    vpc = ec2.create_vpc(**wanted, **_tagged("vpc", properties))["Vpc"]
    for attribute in ("EnableDnsSupport", "EnableDnsHostnames"):
        if attribute in properties:
            ec2.modify_vpc_attribute(VpcId=vpc["VpcId"], **{attribute: {"Value": _true(properties[attribute])}})
    groups = ec2.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [vpc["VpcId"]]}])["SecurityGroups"]
    attributes = {"VpcId": vpc["VpcId"], "CidrBlock": vpc["CidrBlock"]}
    return vpc["VpcId"], {**attributes, "DefaultSecurityGroup": groups[0]["GroupId"] if groups else ""}


def _subnet(properties: Properties, _name: str) -> Made:
    wanted = _picked(properties, "VpcId", "CidrBlock", "AvailabilityZone")
    subnet = _api("ec2").create_subnet(**wanted, **_tagged("subnet", properties))["Subnet"]
    return subnet["SubnetId"], _picked(subnet, "SubnetId", "VpcId", "CidrBlock", "AvailabilityZone")


def _route_table(properties: Properties, _name: str) -> Made:
    made = _api("ec2").create_route_table(VpcId=properties["VpcId"], **_tagged("route-table", properties))
    identifier = made["RouteTable"]["RouteTableId"]
    return identifier, {"RouteTableId": identifier}


def _route_table_association(properties: Properties, _name: str) -> Made:
    made = _api("ec2").associate_route_table(**_picked(properties, "RouteTableId", "SubnetId"))
    return made["AssociationId"], {"Id": made["AssociationId"]}


def _security_group(properties: Properties, name: str) -> Made:
    ec2 = _api("ec2")
    group = ec2.create_security_group(
        GroupName=properties.get("GroupName", name),
        Description=properties["GroupDescription"],
        **_picked(properties, "VpcId"),
        **_tagged("security-group", properties),
    )["GroupId"]
    for rule in properties.get("SecurityGroupIngress") or []:
        ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[_permission(rule)])
    if properties.get("SecurityGroupEgress"):
        # A group is born open to the outside; a template that names any egress means only that.
        born = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["IpPermissionsEgress"]
        ec2.revoke_security_group_egress(GroupId=group, IpPermissions=born)
        permissions = [_permission(rule) for rule in properties["SecurityGroupEgress"]]
        ec2.authorize_security_group_egress(GroupId=group, IpPermissions=permissions)
    return group, {"GroupId": group, "Id": group, "VpcId": properties.get("VpcId", "")}


def _ingress(properties: Properties, _name: str) -> Made:
    made = _api("ec2").authorize_security_group_ingress(
        GroupId=properties["GroupId"], IpPermissions=[_permission(properties)]
    )
    return _rule_of(made)


def _egress(properties: Properties, _name: str) -> Made:
    made = _api("ec2").authorize_security_group_egress(
        GroupId=properties["GroupId"], IpPermissions=[_permission(properties)]
    )
    return _rule_of(made)


def _rule_of(made: dict[str, Any]) -> Made:
    identifier = made["SecurityGroupRules"][0]["SecurityGroupRuleId"]
    return identifier, {"Id": identifier}


def _permission(rule: Properties) -> dict[str, Any]:
    """A template's rule as the API takes it."""
    permission: dict[str, Any] = {"IpProtocol": str(rule["IpProtocol"])}
    permission |= {port: int(rule[port]) for port in ("FromPort", "ToPort") if port in rule}
    said = _picked(rule, "Description")
    if "CidrIp" in rule:
        permission["IpRanges"] = [{"CidrIp": rule["CidrIp"], **said}]
    if "CidrIpv6" in rule:
        permission["Ipv6Ranges"] = [{"CidrIpv6": rule["CidrIpv6"], **said}]
    for other in ("SourceSecurityGroupId", "DestinationSecurityGroupId"):
        if other in rule:
            permission["UserIdGroupPairs"] = [{"GroupId": rule[other], **said}]
    return permission


def _vpc_endpoint(properties: Properties, _name: str) -> Made:
    wanted = _picked(
        properties, "VpcId", "ServiceName", "VpcEndpointType", "SubnetIds", "SecurityGroupIds", "RouteTableIds"
    )
    if "PrivateDnsEnabled" in properties:
        wanted["PrivateDnsEnabled"] = _true(properties["PrivateDnsEnabled"])
    if "PolicyDocument" in properties:
        wanted["PolicyDocument"] = json.dumps(properties["PolicyDocument"])
    made = _api("ec2").create_vpc_endpoint(**wanted, **_tagged("vpc-endpoint", properties))["VpcEndpoint"]
    return made["VpcEndpointId"], {"Id": made["VpcEndpointId"], "DnsEntries": [], "NetworkInterfaceIds": []}


def _subnet_group(properties: Properties, name: str) -> Made:
    made = _api("rds").create_db_subnet_group(
        DBSubnetGroupName=str(properties.get("DBSubnetGroupName", name)).lower(),
        DBSubnetGroupDescription=properties["DBSubnetGroupDescription"],
        SubnetIds=properties["SubnetIds"],
        Tags=properties.get("Tags") or [],
    )["DBSubnetGroup"]
    return made["DBSubnetGroupName"], {}


def _true(value: Any) -> bool:
    return str(value).lower() == "true"


_PROVISIONERS: dict[str, tuple[Create, Delete]] = {
    "AWS::EC2::VPC": (_vpc, lambda identifier, _: _api("ec2").delete_vpc(VpcId=identifier)),
    "AWS::EC2::Subnet": (_subnet, lambda identifier, _: _api("ec2").delete_subnet(SubnetId=identifier)),
    "AWS::EC2::RouteTable": (
        _route_table,
        lambda identifier, _: _api("ec2").delete_route_table(RouteTableId=identifier),
    ),
    "AWS::EC2::SubnetRouteTableAssociation": (
        _route_table_association,
        lambda identifier, _: _api("ec2").disassociate_route_table(AssociationId=identifier),
    ),
    "AWS::EC2::SecurityGroup": (
        _security_group,
        lambda identifier, _: _api("ec2").delete_security_group(GroupId=identifier),
    ),
    "AWS::EC2::SecurityGroupIngress": (
        _ingress,
        lambda _, rule: _api("ec2").revoke_security_group_ingress(
            GroupId=rule["GroupId"], IpPermissions=[_permission(rule)]
        ),
    ),
    "AWS::EC2::SecurityGroupEgress": (
        _egress,
        lambda _, rule: _api("ec2").revoke_security_group_egress(
            GroupId=rule["GroupId"], IpPermissions=[_permission(rule)]
        ),
    ),
    "AWS::EC2::VPCEndpoint": (
        _vpc_endpoint,
        lambda identifier, _: _api("ec2").delete_vpc_endpoints(VpcEndpointIds=[identifier]),
    ),
    "AWS::RDS::DBSubnetGroup": (
        _subnet_group,
        lambda identifier, _: _api("rds").delete_db_subnet_group(DBSubnetGroupName=identifier),
    ),
}
