"""Reading snapshots block by block, against answers of EBS direct on the wire: botocore parses and repeats for real."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from botocore.awsrequest import AWSRequest, AWSResponse
from hypothesis import given
from hypothesis import strategies as st

from functions.aws.blocks import BLOCK_BYTES, ZEROS, SnapshotBlocks, compare, judged, side_by_side, spread
from functions.aws.clients import Clients
from functions.core.errors import AwsBusy, SnapshotGone, WorkFailed
from functions.core.evidence import Fitness, judge

REGION = "eu-west-1"
EMPTY = bytes(BLOCK_BYTES)


def block(letter: str) -> bytes:
    return letter.encode() * BLOCK_BYTES


class Raw(io.BytesIO):
    def stream(self, *_: object, **__: object) -> list[bytes]:
        return [self.read()]


@dataclass
class Ebs:
    """EBS direct for these snapshots, with pages of `page_blocks` blocks and an empty page in front."""

    snapshots: dict[str, dict[int, bytes]]
    page_blocks: int = 2
    rotten: Counter[int] = field(default_factory=Counter[int])
    cut: Counter[int] = field(default_factory=Counter[int])
    throttled: Counter[str] = field(default_factory=Counter[str])
    reads: list[tuple[str, int]] = field(default_factory=list)
    guard: threading.Lock = field(default_factory=threading.Lock)

    def clients(self) -> Clients:
        session = boto3.Session("testing", "testing", region_name=REGION)
        emitter: Any = session.events
        emitter.register("before-send.ebs", self.answer)
        return Clients(session)

    def of(self, snapshot_id: str) -> SnapshotBlocks:
        return SnapshotBlocks(REGION, snapshot_id, self.clients())

    def answer(self, request: AWSRequest, **__: object) -> AWSResponse:
        url = str(request.url)
        where = urlsplit(url)
        snapshot_id, *rest = where.path.split("/")[2:]
        query = parse_qs(where.query)
        with self.guard:
            if self.throttled[where.path] > 0:
                self.throttled[where.path] -= 1
                return self._refused(url, 400, "RequestThrottledException")
            if snapshot_id not in self.snapshots:
                return self._refused(url, 404, "ResourceNotFoundException")
            if len(rest) == 2:
                return self._block(url, snapshot_id, int(rest[1]), query["blockToken"][0])
            if rest == ["changedblocks"]:
                return self._changed(url, query["firstSnapshotId"][0], snapshot_id)
            start = int(query.get("startingBlockIndex", ["0"])[0])
            page = int(query.get("pageToken", ["0" if start else "-1"])[0])
            return self._page(url, snapshot_id, page, start)

    def _changed(self, url: str, earlier_id: str, snapshot_id: str) -> AWSResponse:
        if earlier_id not in self.snapshots:
            body = {"Message": "unrelated", "Reason": "UNRELATED_SNAPSHOTS"}
            return self._sent(url, 400, json.dumps(body).encode(), {"x-amzn-errortype": "ValidationException"})
        before, after = self.snapshots[earlier_id], self.snapshots[snapshot_id]
        differing = [index for index in sorted(before.keys() | after.keys()) if before.get(index) != after.get(index)]
        content = {"ChangedBlocks": [{"BlockIndex": index} for index in differing], "BlockSize": BLOCK_BYTES}
        return self._sent(url, 200, json.dumps(content).encode(), {})

    def _page(self, url: str, snapshot_id: str, page: int, start: int) -> AWSResponse:
        indexes = [index for index in sorted(self.snapshots[snapshot_id]) if index >= start]
        first = max(page, 0) * self.page_blocks
        shown = [] if page < 0 else indexes[first : first + self.page_blocks]
        content: dict[str, object] = {
            "Blocks": [{"BlockIndex": index, "BlockToken": f"{snapshot_id}-{index}"} for index in shown],
            "BlockSize": BLOCK_BYTES,
            "VolumeSize": 2,
        }
        if page < 0 or first + self.page_blocks < len(indexes):
            content["NextToken"] = str(page + 1)
        return self._sent(url, 200, json.dumps(content).encode(), {})

    def _block(self, url: str, snapshot_id: str, index: int, token: str) -> AWSResponse:
        assert token == f"{snapshot_id}-{index}"
        self.reads.append((snapshot_id, index))
        data = self.snapshots[snapshot_id][index]
        headers = {
            "x-amz-Data-Length": str(len(data)),
            "x-amz-Checksum": base64.b64encode(hashlib.sha256(data).digest()).decode(),
            "x-amz-Checksum-Algorithm": "SHA256",
            "content-length": str(len(data)),
        }
        if self.rotten[index] > 0:
            self.rotten[index] -= 1
            data = b"?" + data[1:]
        if self.cut[index] > 0:
            self.cut[index] -= 1
            data = data[:1000]
        return self._sent(url, 200, data, headers)

    def _refused(self, url: str, status: int, code: str) -> AWSResponse:
        return self._sent(url, status, json.dumps({"Message": "no"}).encode(), {"x-amzn-errortype": code})

    def _sent(self, url: str, status: int, body: bytes, headers: dict[str, str]) -> AWSResponse:
        return AWSResponse(url, status, headers, Raw(body))  # pyright: ignore[reportArgumentType]


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)


def test_every_page_is_read_and_an_empty_one_is_not_the_end():
    ebs = Ebs({"snap-1": dict.fromkeys((0, 3, 7, 8, 2000), EMPTY)})
    assert [index for index, _ in ebs.of("snap-1").indexes()] == [0, 3, 7, 8, 2000]


def test_a_checksum_is_computed_from_the_bytes():
    ebs = Ebs({"snap-1": {4: block("a")}})
    expected = base64.b64encode(hashlib.sha256(block("a")).digest()).decode()
    assert ebs.of("snap-1").checksum(4, "snap-1-4") == expected


def test_a_block_that_arrives_damaged_or_cut_is_read_again():
    ebs = Ebs({"snap-1": {4: block("a"), 5: block("b")}}, rotten=Counter({4: 2}), cut=Counter({5: 1}))
    assert ebs.of("snap-1").digest(10) == Ebs({"snap-1": {4: block("a"), 5: block("b")}}).of("snap-1").digest(10)
    assert Counter(ebs.reads) == {("snap-1", 4): 3, ("snap-1", 5): 2}


@pytest.mark.parametrize("is_cut", [False, True])
def test_a_block_that_never_arrives_whole_is_an_error_and_not_a_checksum(is_cut: bool):
    always = Counter({4: 99})
    ebs = Ebs({"snap-1": {4: block("a")}})
    ebs.cut, ebs.rotten = (always, ebs.rotten) if is_cut else (ebs.cut, always)
    with pytest.raises(WorkFailed, match=r"block 4 of snap-1 in eu-west-1 could not be read in 3 attempts"):
        ebs.of("snap-1").digest(10)


def test_throttling_is_waited_out():
    ebs = Ebs(
        {"snap-1": {4: block("a")}},
        throttled=Counter({"/snapshots/snap-1/blocks": 2, "/snapshots/snap-1/blocks/4": 2}),
    )
    assert list(ebs.of("snap-1").digest(10)) == [4]


def test_throttling_without_end_is_asked_again_later():
    ebs = Ebs({"snap-1": {4: block("a")}}, throttled=Counter({"/snapshots/snap-1/blocks": 99}))
    with pytest.raises(AwsBusy):
        list(ebs.of("snap-1").indexes())


def test_a_snapshot_that_is_gone_says_so():
    with pytest.raises(SnapshotGone, match="snap-9"):
        list(Ebs({}).of("snap-9").indexes())


def test_a_digest_stays_within_its_budget_and_is_spread_evenly():
    ebs = Ebs({"snap-1": dict.fromkeys(range(101), EMPTY)}, page_blocks=50)
    assert sorted(ebs.of("snap-1").digest(5)) == [0, 25, 50, 75, 100]
    assert len(ebs.reads) == 5


def test_a_volume_restored_from_its_snapshot_is_fit():
    content = {0: block("a"), 5: block("b"), 9: EMPTY}
    ebs = Ebs({"source": content, "restored": dict(content)})
    evidence = judge(compare(ebs.of("source"), ebs.of("restored"), budget_blocks=100).assertions)
    assert evidence.fitness is Fitness.FIT
    assert [a.detail for a in evidence.assertions] == [
        "3 blocks in both, 0 only in the source, 0 only in the restored",
        "compared 3 of 3 blocks (1,572,864 bytes)",
    ]


def test_one_differing_block_is_unfit_and_named():
    ebs = Ebs({"source": {0: block("a"), 5: block("b")}, "restored": {0: block("a"), 5: block("c")}})
    _, content = compare(ebs.of("source"), ebs.of("restored"), budget_blocks=100).assertions
    assert content.held is False
    assert "1 of the compared blocks differ: block 5;" in content.detail


def test_a_lost_block_is_unfit_unless_it_held_zeros():
    ebs = Ebs({"source": {0: block("a"), 5: EMPTY, 6: block("b")}, "restored": {0: block("a"), 7: EMPTY}})
    same, content = compare(ebs.of("source"), ebs.of("restored"), budget_blocks=100).assertions
    assert same.held is False
    assert same.detail.endswith("2 only in the source, 1 only in the restored; not empty: block 6")
    assert content.held is True

    del ebs.snapshots["source"][6]
    same, _ = compare(ebs.of("source"), ebs.of("restored"), budget_blocks=100).assertions
    assert same.held is True
    assert "which hold zeros" in same.detail


def test_a_sample_is_called_a_sample():
    content = dict.fromkeys(range(20), EMPTY)
    ebs = Ebs({"source": content, "restored": content}, page_blocks=50)
    _, assertion = compare(ebs.of("source"), ebs.of("restored"), budget_blocks=8).assertions
    assert assertion.held is True
    assert assertion.detail == "compared 8 of 20 blocks, a sample (4,194,304 bytes)"
    assert Counter(id for id, _ in ebs.reads) == {"source": 8, "restored": 8}


def test_many_blocks_in_one_snapshot_only_leave_the_question_open_when_the_budget_ends():
    ebs = Ebs({"source": dict.fromkeys(range(40), EMPTY), "restored": {0: EMPTY}}, page_blocks=50)
    same, content = compare(ebs.of("source"), ebs.of("restored"), budget_blocks=8).assertions
    assert same.held is None
    assert "2 of those 39 were read" in same.detail
    assert content.held is True
    assert len(ebs.reads) == 4


@pytest.mark.parametrize(("budget", "indexes"), [(0, [1, 2, 3]), (100, [])])
def test_nothing_compared_proves_nothing(budget: int, indexes: list[int]):
    ebs = Ebs({"source": dict.fromkeys(indexes, EMPTY), "restored": dict.fromkeys(indexes, EMPTY)})
    _, content = compare(ebs.of("source"), ebs.of("restored"), budget_blocks=budget).assertions
    assert content.held is None


def test_many_differing_blocks_are_counted_and_the_first_are_named():
    indexes = range(1000)
    layout = side_by_side(indexes, indexes)
    _, content = judged(layout, source=dict.fromkeys(indexes, "a"), restored=dict.fromkeys(indexes, "b"))
    assert "1,000 of the compared blocks differ: block 0, 1, 2, 3, 4 and more" in content.detail


@given(st.sets(st.integers(0, 300)), st.sets(st.integers(0, 300)))
def test_a_layout_holds_every_block_once(source: set[int], restored: set[int]):
    layout = side_by_side(source, sorted(restored))
    assert list(layout.shared) == sorted(source & restored)
    assert list(layout.only_source) == sorted(source - restored)
    assert list(layout.only_restored) == sorted(restored - source)


@given(st.integers(0, 500), st.integers(0, 500))
def test_a_spread_is_ascending_without_repeats_and_within_its_budget(count: int, at_most: int):
    chosen = list(spread(range(count), at_most))
    assert len(chosen) == min(count, at_most)
    assert chosen == sorted(set(chosen))
    if chosen and at_most > 1:
        assert (chosen[0], chosen[-1]) == (0, count - 1)


@given(st.dictionaries(st.integers(0, 50), st.sampled_from([ZEROS, "x", "y"])), st.integers(0, 50))
def test_any_single_change_of_content_is_seen_when_everything_is_read(content: dict[int, str], where: int):
    changed = content | {where: "changed"}
    layout = side_by_side(content, changed)
    assert any(a.held is False for a in judged(layout, source=content, restored=changed))


def test_any_blocks_can_be_read_in_any_order_and_what_holds_no_data_is_none():
    ebs = Ebs({"snap-1": {4: block("a"), 9: block("b"), 1500: block("c")}})
    snapshot = ebs.of("snap-1")
    assert snapshot.size_bytes == 2 * 2**30
    assert snapshot.read([1500, 4, 5]) == {1500: block("c"), 4: block("a"), 5: None}
    assert snapshot.read([9, 4000]) == {9: block("b"), 4000: None}
    assert [index for index, _ in snapshot.indexes()] == [4, 9, 1500]


def test_tokens_that_were_listed_are_not_listed_again():
    snapshot = Ebs({"snap-1": dict.fromkeys(range(40), EMPTY)}, page_blocks=2_000).of("snap-1")
    snapshot.read(range(40))
    listed = snapshot.listed_pages
    snapshot.read([39, 0, 20, 999])
    assert snapshot.listed_pages == listed


def test_what_changed_since_an_earlier_snapshot_is_listed_and_strangers_have_no_answer():
    ebs = Ebs({"snap-1": {4: block("a"), 5: block("b")}, "snap-2": {4: block("a"), 5: block("c"), 6: EMPTY}})
    changed = ebs.of("snap-2").changed_since("snap-1")
    assert changed is not None
    assert list(changed) == [5, 6]
    assert ebs.of("snap-2").changed_since("snap-0") is None
