"""Whether the SSM agent of an instance reaches SSM: the profile, the endpoints and the security groups between."""

from __future__ import annotations

import ipaddress
from typing import Any

from embedded.instances import profiles
from embedded.instances.profiles import Profile

# Since version 3.3.40 the agent needs `ec2messages` no more where `ssmmessages` is offered.
_SERVICES = ("ssm", "ssmmessages")
_REGISTERING = "ssm:UpdateInstanceInformation"
_HTTPS = 443


def obstacle(instance: Any, profile: Profile | None) -> str | None:
    """What keeps the agent from registering and what to do about it; None if nothing does."""
    if profile is None:
        return "it has no instance profile; launch it with one"
    return profiles.why_not_allowed(profile, _REGISTERING, instance.region_name) or _network_obstacle(instance)


def _network_obstacle(instance: Any) -> str | None:
    backend, vpc_id = instance.ec2_backend, instance.vpc_id
    if vpc_id is None or vpc_id == backend.default_vpc.id:
        return None  # AWS creates a default VPC with an internet gateway; moto leaves the gateway out
    if any(gateway.vpc is not None and gateway.vpc.id == vpc_id for gateway in backend.internet_gateways.values()):
        return None
    for service in _SERVICES:
        name = f"com.amazonaws.{instance.region_name}.{service}"
        doors = [
            door
            for door in list(backend.vpc_end_points.values())
            if (door.vpc_id, door.service_name, door.state) == (vpc_id, name, "available")
        ]
        if not doors:
            return f"its VPC {vpc_id} has no interface endpoint for {name}; make one"
        named = [door for door in doors if door.private_dns_enabled is not False]
        if not named:
            return f"the endpoint for {name} has no private DNS, so the agent does not find it; enable it"
        if not any(_goes_to(door, instance) for door in named):
            return f"its security groups do not let it go to the endpoint for {name} on port 443; allow it"
        if not any(_is_let_in(door, instance) for door in named):
            return f"the security groups of the endpoint for {name} do not let it in on port 443; allow it"
    return None


def _goes_to(door: Any, instance: Any) -> bool:
    group_ids = {group.id for group in _groups_of(door)}
    inside = ipaddress.ip_network(instance.ec2_backend.get_vpc(door.vpc_id).cidr_block)
    return any(
        _opens(rule) and (_group(rule) in group_ids or _overlaps(rule, inside))
        for group in instance.security_groups
        for rule in group.egress_rules
    )


def _is_let_in(door: Any, instance: Any) -> bool:
    group_ids = {group.id for group in instance.security_groups}
    address = ipaddress.ip_network(instance.private_ip)
    return any(
        _opens(rule) and (_group(rule) in group_ids or _overlaps(rule, address))
        for group in _groups_of(door)
        for rule in group.ingress_rules
    )


def _groups_of(door: Any) -> list[Any]:
    backend = door.ec2_backend
    if not door.security_group_ids:
        return [backend.get_default_security_group(door.vpc_id)]
    return [group for group in map(backend.get_security_group_from_id, door.security_group_ids) if group is not None]


def _opens(rule: Any) -> bool:
    return rule.ip_protocol == "-1" or (rule.ip_protocol == "tcp" and rule.from_port <= _HTTPS <= rule.to_port)


def _group(rule: Any) -> str | None:
    return rule.source_group.get("GroupId")


def _overlaps(rule: Any, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    cidr = rule.cidr_ipv4
    return cidr is not None and ipaddress.ip_network(cidr, strict=False).overlaps(network)
