"""The EBS direct APIs: the blocks of completed snapshots, read without a volume."""

import asyncio
import base64
import binascii
import hashlib
import hmac
import json
import re
import secrets
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import pairwise
from typing import Any

from ministack.core.responses import get_region

from embedded import clock
from embedded.moto_service import Handler, Headers, Response
from embedded.volumes import kms, permissions
from embedded.volumes.blockstore import BLOCK_BYTES, changed_indexes
from embedded.volumes.plane import Plane
from embedded.volumes.resources import COMPLETED, EbsSnapshot, SourceSnapshot

BLOCK_TOKEN_SECONDS = 7 * 86_400
PAGE_TOKEN_SECONDS = 60 * 60
SMALLEST_PAGE = 100
LARGEST_PAGE = 10_000

_LONGEST_HOLE_IN_A_PAGE = 128
_PATH = re.compile(r"/snapshots/(?P<snapshot>[^/]+)/(?P<what>blocks|changedblocks)(?:/(?P<index>\d+))?")


class Refusal(Exception):
    """An error answer."""

    def __init__(self, code: str, reason: str, message: str, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(message)
        self.code, self.reason, self.status = code, reason, status


@dataclass(frozen=True)
class _Signer:
    """Tokens that say nothing to their bearer, hold for one purpose, and run out."""

    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32))

    def sign(self, purpose: str, lasts_seconds: float, content: bytes = b"") -> str:
        body = struct.pack(">d", clock.now() + lasts_seconds) + content
        return base64.b64encode(self._seal(purpose, body) + body).decode()

    def open(self, purpose: str, token: str) -> bytes | None:
        """What was signed for this purpose; None if it was not, or has run out."""
        try:
            raw = base64.b64decode(token, validate=True)
        except (binascii.Error, ValueError):
            return None
        seal, body = raw[:16], raw[16:]
        if len(body) < 8 or not hmac.compare_digest(seal, self._seal(purpose, body)):
            return None
        (expires_at,) = struct.unpack(">d", body[:8])
        return body[8:] if clock.now() < expires_at else None

    def _seal(self, purpose: str, body: bytes) -> bytes:
        return hmac.digest(self.secret, purpose.encode() + b"\0" + body, "sha256")[:16]


@dataclass
class EbsDirect:
    """Answers ListSnapshotBlocks, ListChangedBlocks and GetSnapshotBlock."""

    plane: Plane
    is_guarded: bool
    """Whether callers need permissions."""
    _signer: _Signer = field(default_factory=_Signer)

    def answer(self, method: str, path: str, headers: Headers, query: Mapping[str, str]) -> Response:
        found = _PATH.fullmatch(path)
        if method != "GET" or found is None:
            raise Refusal("ValidationException", "INVALID_PARAMETER_VALUE", f"{method} {path} is not answered here.")
        snapshot_id, index = found["snapshot"], found["index"]
        if found["what"] == "changedblocks":
            first_id = query.get("firstSnapshotId", "")
            self._admit("ListChangedBlocks", headers, query, first_id, snapshot_id)
            return _json(self._list_changed(first_id, snapshot_id, query))
        if index is None:
            self._admit("ListSnapshotBlocks", headers, query, snapshot_id)
            return _json(self._list(snapshot_id, query))
        self._admit("GetSnapshotBlock", headers, query, snapshot_id)
        return self._get(snapshot_id, int(index), query.get("blockToken", ""))

    def _list(self, snapshot_id: str, query: Mapping[str, str]) -> dict[str, Any]:
        snapshot = self._completed(snapshot_id)
        shown, token = self._page(f"blocks {snapshot_id}", sorted(snapshot.blocks), query)
        blocks = [{"BlockIndex": index, "BlockToken": self._block_token(snapshot_id, index)} for index in shown]
        return {"Blocks": blocks, "NextToken": token} | _tail(snapshot)

    def _list_changed(self, first_id: str, second_id: str, query: Mapping[str, str]) -> dict[str, Any]:
        if not first_id:
            raise Refusal("ValidationException", "INVALID_SNAPSHOT_ID", "FirstSnapshotId must be given.")
        first, second = self._completed(first_id), self._completed(second_id)
        if first.lineage != second.lineage:
            raise Refusal(
                "ValidationException",
                "UNRELATED_SNAPSHOTS",
                f"The snapshots {first_id} and {second_id} are not of the same volume lineage.",
            )
        changed = sorted(changed_indexes(first.blocks, second.blocks))
        shown, token = self._page(f"changed {first_id} {second_id}", changed, query)
        return {"ChangedBlocks": [self._changed(first, second, i) for i in shown], "NextToken": token} | _tail(second)

    def _changed(self, first: EbsSnapshot, second: EbsSnapshot, index: int) -> dict[str, Any]:
        both = {"FirstBlockToken": first, "SecondBlockToken": second}
        tokens = {name: self._block_token(of.id, index) for name, of in both.items() if index in of.blocks}
        return {"BlockIndex": index} | tokens

    def _get(self, snapshot_id: str, index: int, token: str) -> Response:
        snapshot = self._completed(snapshot_id)
        digest = snapshot.blocks.get(index)
        if digest is None or self._signer.open(f"block {snapshot_id} {index}", token) is None:
            raise Refusal("ValidationException", "INVALID_BLOCK_TOKEN", "The block token is not valid for this block.")
        unusable = kms.why_unusable(snapshot.kms_key_id, snapshot.region) if snapshot.kms_key_id else None
        if unusable:
            raise Refusal("ValidationException", "INVALID_CUSTOMER_KEY", unusable)
        content = self.plane.store.read(digest)
        headers = {
            "Content-Type": "application/octet-stream",
            "x-amz-Data-Length": str(BLOCK_BYTES),
            # Of the bytes that leave, not the name they were stored under: a damaged store must not vouch for itself.
            "x-amz-Checksum": base64.b64encode(hashlib.sha256(content).digest()).decode(),
            "x-amz-Checksum-Algorithm": "SHA256",
        }
        return HTTPStatus.OK, headers, content

    def _completed(self, snapshot_id: str) -> EbsSnapshot:
        snapshot = self.plane.snapshot(SourceSnapshot(get_region(), snapshot_id))
        if snapshot is None:
            message = f"The snapshot '{snapshot_id}' does not exist."
            raise Refusal("ResourceNotFoundException", "SNAPSHOT_NOT_FOUND", message, HTTPStatus.NOT_FOUND)
        if snapshot.status != COMPLETED:
            message = f"The snapshot '{snapshot_id}' is not in the completed state."
            raise Refusal("ValidationException", "INVALID_SNAPSHOT_ID", message)
        return snapshot

    def _page(self, listing: str, indexes: Sequence[int], query: Mapping[str, str]) -> tuple[Sequence[int], str | None]:
        """One page of the listing. It ends at a long hole, and the hole has an empty page of its own: AWS looks at a
        part of the volume at a time, so a reader must go on until there is no token."""
        size = min(LARGEST_PAGE, max(SMALLEST_PAGE, int(query.get("maxResults") or LARGEST_PAGE)))
        start = self._start(listing, query)
        ahead = [index for index in indexes if index >= start]
        if not ahead:
            return [], None
        if "pageToken" in query and ahead[0] - start > _LONGEST_HOLE_IN_A_PAGE:
            return [], self._page_token(listing, ahead[0])
        shown = ahead[:size]
        for position, (index, following) in enumerate(pairwise(shown), start=1):
            if following - index > _LONGEST_HOLE_IN_A_PAGE:
                shown = shown[:position]
                break
        if len(shown) == len(ahead):
            return shown, None
        return shown, self._page_token(listing, shown[-1] + 1)

    def _start(self, listing: str, query: Mapping[str, str]) -> int:
        if "pageToken" not in query:
            return int(query.get("startingBlockIndex") or 0)
        content = self._signer.open(listing, query["pageToken"])
        if content is None:
            message = "The page token is not valid for this request, or older than 60 minutes; list from the start."
            raise Refusal("ValidationException", "INVALID_PAGE_TOKEN", message)
        return int(content)

    def _page_token(self, listing: str, start: int) -> str:
        return self._signer.sign(listing, PAGE_TOKEN_SECONDS, str(start).encode())

    def _block_token(self, snapshot_id: str, index: int) -> str:
        return self._signer.sign(f"block {snapshot_id} {index}", BLOCK_TOKEN_SECONDS)

    def _admit(self, action: str, headers: Headers, query: Mapping[str, str], *snapshot_ids: str) -> None:
        region = get_region()
        if self.is_guarded and not permissions.is_allowed(headers, query, action, region, snapshot_ids):
            message = f"The caller is not allowed to use ebs:{action} on {' and '.join(snapshot_ids)}."
            raise Refusal("AccessDeniedException", "UNAUTHORIZED_ACCOUNT", message, HTTPStatus.FORBIDDEN)
        if not self.plane.limits.admit(action, region):
            raise Refusal("RequestThrottledException", "ACCOUNT_THROTTLED", f"Too many {action} requests.")


def handler(plane: Plane, *, is_guarded: bool) -> Handler:
    """The handler of the service `ebs`, off the event loop."""
    direct = EbsDirect(plane, is_guarded)

    def answer(method: str, path: str, headers: Headers, query: Mapping[str, Any]) -> Response:
        single = {name: value[0] if isinstance(value, list) else value for name, value in query.items()}
        try:
            return direct.answer(method, path, headers, single)
        except Refusal as refusal:
            body = {"Message": str(refusal), "Reason": refusal.reason}
            return _json(body, refusal.status, {"x-amzn-ErrorType": refusal.code})

    async def handle(method: str, path: str, headers: Headers, _body: bytes, query: dict[str, Any]) -> Response:
        return await asyncio.to_thread(answer, method, path, headers, query)

    return handle


def _tail(snapshot: EbsSnapshot) -> dict[str, Any]:
    expires_at = clock.now() + BLOCK_TOKEN_SECONDS
    return {"BlockSize": BLOCK_BYTES, "VolumeSize": snapshot.volume_size, "ExpiryTime": expires_at}


def _json(body: Mapping[str, Any], status: int = HTTPStatus.OK, headers: Mapping[str, str] | None = None) -> Response:
    given = {name: value for name, value in body.items() if value is not None}
    return int(status), {"Content-Type": "application/json", **(headers or {})}, json.dumps(given).encode()
