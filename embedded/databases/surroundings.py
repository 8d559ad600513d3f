"""What an instance or cluster needs of its Region's EC2: subnets, security groups, a way to the internet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moto.ec2.models import ec2_backends
from moto.rds.exceptions import (
    InvalidParameterCombination,
    InvalidParameterValue,
    OptionGroupNotFoundFaultError,
    RDSClientError,
)
from moto.rds.models import DBSubnetGroup

from embedded import ACCOUNT
from embedded.databases.resources import SubnetGroup

if TYPE_CHECKING:
    from moto.rds.models import RDSBackend


def subnet_group(backend: RDSBackend, name: str | None) -> DBSubnetGroup:
    """The named group, or the default group of the default VPC that RDS makes when it first needs it."""
    if name is None and "default" not in backend.subnet_groups:
        ec2 = ec2_backends[ACCOUNT][backend.region_name]
        subnets = [subnet for subnet in ec2.describe_subnets() if subnet.vpc_id == ec2.default_vpc.id]
        backend.subnet_groups["default"] = SubnetGroup(backend, "default", "default", subnets, [])
    return backend.describe_db_subnet_groups(name or "default")[0]


def security_groups(region: str, vpc_id: str, wanted: list[str] | None) -> list[str]:
    """The wanted groups, all of which exist; without a wish the VPC's default group."""
    ec2 = ec2_backends[ACCOUNT][region]
    for group_id in wanted or []:
        group = ec2.get_security_group_from_id(group_id)
        if group is None:
            raise InvalidParameterValue(f"Invalid security group , groupId= {group_id}, groupName=.")
        if group.vpc_id != vpc_id:
            raise InvalidParameterCombination(
                "The DB instance and EC2 security group are in different VPCs. "
                f"The DB instance is in {vpc_id} and the EC2 security group is in {group.vpc_id}"
            )
    if wanted:
        return list(wanted)
    default = ec2.get_default_security_group(vpc_id)
    if default is None:
        raise InvalidParameterValue(f"The VPC {vpc_id} has no default security group; name the groups to use.")
    return [default.id]


def require_option_group(backend: RDSBackend, name: str | None) -> None:
    """The option group exists here, or is one that RDS makes itself; OptionGroupNotFoundFault if not."""
    if name and not name.startswith("default:") and name not in backend.option_groups:
        raise OptionGroupNotFoundFaultError(name)


def require_cluster_parameter_group(backend: RDSBackend, name: str | None) -> None:
    """The cluster parameter group exists here, or is RDS's own; DBClusterParameterGroupNotFound if not."""
    if name and not name.startswith("default.") and name not in backend.db_cluster_parameter_groups:
        raise RDSClientError("DBClusterParameterGroupNotFound", f"DBClusterParameterGroup not found: {name}")


def is_public_by_default(region: str, group: DBSubnetGroup) -> bool:
    """Whether RDS gives an instance a public address when nobody says: yes, if its VPC leads to the internet."""
    ec2 = ec2_backends[ACCOUNT][region]
    if group.vpc_id == ec2.default_vpc.id:
        # AWS creates a default VPC with an internet gateway; moto leaves the gateway out.
        return True
    vpcs = [gateway.vpc for gateway in ec2.internet_gateways.values()]
    return any(vpc is not None and vpc.id == group.vpc_id for vpc in vpcs)
