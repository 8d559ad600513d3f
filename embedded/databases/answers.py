"""The answers of RDS: one request at a time, in pages, and with what moto does not answer itself."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any, cast

from moto.core.common_types import TYPE_RESPONSE
from moto.core.responses import ActionResult
from moto.rds.exceptions import InvalidParameterValue
from moto.rds.responses import RDSResponse

from embedded.databases.region import RegionDatabases
from embedded.databases.turns import turn

_SMALLEST_PAGE, _LARGEST_PAGE = 20, 100


class DatabasesResponse(RDSResponse):
    """moto's RDS answers where they are right, and ours where they are not."""

    @property
    def backend(self) -> RegionDatabases:
        return cast("RegionDatabases", super().backend)

    def call_action(self) -> TYPE_RESPONSE:
        with turn:
            return super().call_action()

    def describe_db_instances(self) -> ActionResult:
        found = self.backend.describe_db_instances(self._parameter("DBInstanceIdentifier"), self._wanted_filters())
        return self._page("DBInstances", found)

    def describe_db_snapshots(self) -> ActionResult:
        filters = self._wanted_filters()
        if resource_id := self._parameter("DbiResourceId"):
            filters["dbi-resource-id"] = [resource_id]
        found = self.backend.describe_db_snapshots(
            self._parameter("DBInstanceIdentifier"),
            self._parameter("DBSnapshotIdentifier"),
            self._parameter("SnapshotType"),
            filters,
        )
        return self._page("DBSnapshots", found)

    def describe_db_clusters(self) -> ActionResult:
        found = self.backend.describe_db_clusters(self._parameter("DBClusterIdentifier"), self._wanted_filters())
        return self._page("DBClusters", found)

    def describe_db_cluster_snapshots(self) -> ActionResult:
        found = self.backend.describe_db_cluster_snapshots(
            self._parameter("DBClusterIdentifier"),
            self._parameter("DBClusterSnapshotIdentifier"),
            self._parameter("SnapshotType"),
            self._wanted_filters(),
        )
        return self._page("DBClusterSnapshots", found)

    def delete_db_cluster(self) -> ActionResult:
        cluster = self.backend.delete_db_cluster(
            self._parameter("DBClusterIdentifier"),
            self._parameter("FinalDBSnapshotIdentifier"),
            bool(self._parameter("SkipFinalSnapshot")),
        )
        return ActionResult({"DBCluster": cluster})

    def describe_orderable_db_instance_options(self) -> ActionResult:
        found = self.backend.orderable_options(
            self._parameter("Engine"), self._parameter("EngineVersion"), self._parameter("DBInstanceClass")
        )
        size = int(self._parameter("MaxRecords") or _LARGEST_PAGE)
        first = int(_name_in(self._parameter("Marker")) or 0)
        marker = {"Marker": _marker_of(str(first + size))} if first + size < len(found) else {}
        return ActionResult({"OrderableDBInstanceOptions": found[first : first + size]} | marker)

    def describe_account_attributes(self) -> ActionResult:
        return ActionResult({"AccountQuotas": self.backend.account_quotas()})

    def _parameter(self, name: str) -> Any:
        return self.params.get(name)

    def _wanted_filters(self) -> dict[str, list[str]]:
        return {wanted["Name"]: list(wanted["Values"]) for wanted in self._parameter("Filters") or []}

    def _page(self, key: str, found: Sequence[Any]) -> ActionResult:
        """One page in the order of names. The marker is a name, so that a deletion between pages skips nothing."""
        size = int(self._parameter("MaxRecords") or _LARGEST_PAGE)
        if not _SMALLEST_PAGE <= size <= _LARGEST_PAGE:
            raise InvalidParameterValue(
                f"Invalid value {size} for MaxRecords. Must be between {_SMALLEST_PAGE} and {_LARGEST_PAGE}"
            )
        after = _name_in(self._parameter("Marker"))
        rest = sorted((one for one in found if one.resource_id > after), key=lambda one: one.resource_id)
        page = rest[:size]
        marker = {"Marker": _marker_of(page[-1].resource_id)} if len(rest) > size else {}
        return ActionResult({key: page} | marker)


def _marker_of(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode()


def _name_in(marker: str | None) -> str:
    try:
        return base64.urlsafe_b64decode(marker or "").decode()
    except (binascii.Error, UnicodeDecodeError):
        raise InvalidParameterValue(f"Invalid value {marker} for Marker.") from None
