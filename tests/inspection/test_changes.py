"""Mass encryption in a change: what is noticed, what is left alone, and what is left open."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import islice

import numpy as np
import pytest

from functions.core.evidence import Fitness, judge
from functions.inspection.change import places
from functions.inspection.change.judgement import EncryptionFinding, Shares, Tally, chance_of, decide, judge_change
from functions.inspection.change.places import UnchangedFiles
from functions.inspection.devices import BLOCK_BYTES, BudgetSpent, Device, SnapshotDevice, partition
from functions.inspection.file_systems import Extent, File
from functions.inspection.findings import Findings

KIB = 1024
POINT = datetime(2026, 5, 1, tzinfo=UTC)
QUIET = Shares()


class MemoryBlocks:
    """The blocks of a disk that is a string of bytes behind an empty first part."""

    def __init__(self, content: bytearray, begin: int, size_bytes: int) -> None:
        self._content, self._begin = content, begin
        self.size_bytes = size_bytes
        self.read_indexes: set[int] = set()

    def written(self) -> range:
        return range(self._begin // BLOCK_BYTES, (self._begin + len(self._content) - 1) // BLOCK_BYTES + 1)

    def read(self, indexes: Sequence[int]) -> Mapping[int, bytes | None]:
        self.read_indexes.update(indexes)
        return {index: self._block(index) for index in indexes}

    def _block(self, index: int) -> bytes:
        start = index * BLOCK_BYTES - self._begin
        lead = bytes(min(BLOCK_BYTES, max(0, -start)))
        inside = self._content[max(0, start) : max(0, start + BLOCK_BYTES)]
        return (lead + bytes(inside)).ljust(BLOCK_BYTES, b"\0")


class Disk:
    """A file system in memory: files one behind the other, from `begin` of the disk on."""

    kind = "memory"
    needs_replay = False

    def __init__(
        self, *, begin: int = BLOCK_BYTES, budget_blocks: int = 4_000, size_bytes: int = 64 * 1024 * KIB
    ) -> None:
        self._content = bytearray()
        self._files: list[File] = []
        self.findings = Findings()
        self.blocks = MemoryBlocks(self._content, begin, size_bytes)
        self.disk = SnapshotDevice(self.blocks, budget_blocks=budget_blocks)
        self.device: Device = partition(self.disk, begin, self.blocks.size_bytes - begin)
        self.files_before_budget_is_spent: int | None = None
        self._settled_blocks = 0

    def settle(self) -> None:
        """What was added until now did not change since the earlier point."""
        self._content += bytes(-len(self._content) % BLOCK_BYTES)
        self._settled_blocks = len(self._content) // BLOCK_BYTES

    def changed(self) -> range:
        return self.blocks.written()[self._settled_blocks :]

    def add(
        self,
        path: str,
        content: bytes,
        *,
        hole_bytes: int = 0,
        why_not: str = "",
        modified_at: datetime | None = POINT + timedelta(hours=3),
    ) -> None:
        """A file of this content stands behind the last one; it begins with a hole when asked for."""
        at = len(self._content)
        self._content += content.ljust(-(-len(content) // 4096) * 4096, b"\0")
        self._files.append(
            File(
                path=path,
                id=len(self._files),
                size_bytes=hole_bytes + len(content),
                modified_at=modified_at,
                extents=(Extent(hole_bytes, at, len(content)),) if content else (),
                why_not=why_not,
            )
        )

    def link(self, path: str) -> None:
        """The last file has another name as well."""
        self._files.append(replace(self._files[-1], path=path))

    def inject(self, file: File) -> None:
        """The file stands in a directory, wherever its extents may point."""
        self._files.append(file)

    def verify(self) -> None:
        """Nothing to do."""

    def files(self) -> Iterator[File]:
        yield from islice(self._files, self.files_before_budget_is_spent)
        if self.files_before_budget_is_spent is not None:
            raise BudgetSpent("no more")

    def find(self, path: str) -> File | None:
        return next((file for file in self._files if file.path == path), None)

    def read(self, file: File, offset: int = 0, length: int | None = None) -> bytes:
        raise NotImplementedError("the change is read from blocks")


def encrypted(length: int, seed: int) -> bytes:
    return np.random.default_rng(seed).bytes(length)


@cache
def _words() -> bytes:
    words = [b"invoice", b"quarter", b"customer", b"because", b"of", b"the", b"a", b"2026", b"payment", b"is", b"due\n"]
    return b" ".join(words[word] for word in np.random.default_rng(7).integers(len(words), size=300_000))


@cache
def _deflated() -> bytes:
    return zlib.compress(np.random.default_rng(8).integers(0, 24, 2_400_000, np.uint8).tobytes(), 1)[2:]


def text(length: int, seed: int) -> bytes:
    return _words()[seed * 4_999 :][:length]


def packed(length: int, seed: int) -> bytes:
    return gzip.compress(b"", mtime=0)[:10] + _deflated()[seed * 4_999 :][: length - 10]


def office(disk: Disk, *, count: int = 60) -> None:
    """Ordinary files of an office."""
    for number in range(count):
        disk.add(f"/srv/{number}.txt", text(9_000, number))
        disk.add(f"/srv/{number}.csv.gz", packed(30_000, number))


def judged(disk: Disk, *, usual: Shares | None = QUIET, budget_blocks: int = 256, seed: int = 1) -> EncryptionFinding:
    return judge_change(
        [disk],
        disk.disk,
        disk.changed(),
        seed=seed,
        changed_since=POINT,
        usual=usual,
        budget_blocks=budget_blocks,
    )


def test_an_ordinary_change_is_no_suspicion():
    disk = Disk()
    office(disk)
    assert judged(disk).assertion().held is True


def test_files_encrypted_under_their_own_names_are_a_suspicion():
    disk = Disk()
    office(disk)
    for number in range(10):
        disk.add(f"/srv/lost/{number}.docx", encrypted(20_000, number))
    found = judged(disk)
    assert found.suspicion is True
    assert found.contradicted_files == 10
    assert "docx" in found.reason


@pytest.mark.parametrize("ending", [".locked", ".xyz", ".id-7F3A.[one@example.org].lost"])
def test_an_added_ending_hides_nothing(ending: str):
    disk = Disk()
    office(disk)
    for number in range(10):
        disk.add(f"/srv/lost/{number}.docx{ending}", encrypted(20_000, number))
    assert judged(disk).contradicted_files == 10


def test_files_whose_first_4_kib_alone_are_encrypted_are_a_suspicion_under_any_name():
    disk = Disk()
    office(disk)
    for number in range(10):
        disk.add(f"/srv/lost/{number:08X}.xyz", encrypted(4096, number) + text(30_000, number))
    assert judged(disk).contradicted_files == 10


def test_encryption_in_stripes_is_a_suspicion_under_any_name():
    disk = Disk()
    office(disk)
    for number in range(5):
        stripe = encrypted(64 * KIB, number)
        disk.add(f"/srv/lost/{number:08X}.xyz", stripe + text(960 * KIB, number) + stripe + text(300 * KIB, number))
    assert judged(disk).contradicted_files == 5


def test_stripes_behind_an_untouched_beginning_of_a_text_are_seen():
    disk = Disk()
    for number in range(6):
        page = text(128 * KIB, number) + encrypted(128 * KIB, number) + text(128 * KIB, number)
        disk.add(f"/srv/{number}.log", page + encrypted(128 * KIB, number) + text(128 * KIB, number))
    assert judged(disk).suspicion is True


def test_archives_and_images_are_explained_by_their_headers():
    disk = Disk()
    for number in range(12):
        disk.add(f"/backup/{number}.tar.gz", packed(900 * KIB, number))
        disk.add(f"/photos/{number}.jpg", b"\xff\xd8\xff\xe0" + encrypted(300 * KIB, number))
    found = judged(disk)
    assert found.suspicion is False
    assert found.explained_files == 24
    assert found.random_pieces == found.explained_pieces > 0


def test_archives_without_their_headers_are_a_suspicion():
    disk = Disk()
    for number in range(12):
        disk.add(f"/backup/{number}.tar.gz", packed(300 * KIB, number))
    for number in range(4):
        disk.add(f"/backup/lost-{number}.tar.gz", encrypted(300 * KIB, number))
    assert judged(disk).suspicion is True


def test_one_large_file_that_was_encrypted_is_enough():
    disk = Disk()
    office(disk)
    disk.add("/srv/machine.vmdk", encrypted(8 * 1024 * KIB, 1))
    found = judged(disk)
    assert found.suspicion is True
    assert found.unexplained_bytes > 6 * 1024 * KIB


def test_one_large_file_of_which_only_the_first_4_kib_were_encrypted_is_enough():
    disk = Disk()
    office(disk)
    disk.add("/backup/all.tar.gz", encrypted(4096, 1) + packed(2 * 1024 * KIB, 1))
    found = judged(disk)
    assert found.suspicion is True
    assert found.contradicted_files == 1


@pytest.mark.parametrize("seed", range(10))
def test_the_beginning_of_a_large_file_is_looked_at_however_many_small_ones_there_are(seed: int):
    disk = Disk()
    for number in range(800):
        disk.add(f"/srv/{number}.txt", text(20_000, number))
    disk.add("/srv/machine.vmdk", encrypted(4096, 1) + text(12 * 1024 * KIB, 1))
    assert judged(disk, budget_blocks=20, seed=seed).contradicted_files == 1


def test_a_large_file_of_random_bytes_is_a_suspicion_under_a_name_that_promises_nothing():
    disk = Disk()
    office(disk)
    disk.add("/srv/0000002A.xyz", encrypted(4 * 1024 * KIB, 1))
    assert judged(disk, usual=QUIET).suspicion is True
    assert judged(disk, usual=None).suspicion is None


def test_one_small_file_that_was_encrypted_is_not_mass_encryption():
    disk = Disk()
    office(disk)
    disk.add("/srv/one.docx", encrypted(20_000, 1))
    found = judged(disk)
    assert found.suspicion is False
    assert found.contradicted_files == 1


def test_a_script_with_an_archive_behind_it_is_explained():
    disk = Disk()
    for number in range(6):
        disk.add(f"/srv/install-{number}", text(9_000, number) + encrypted(200 * KIB, number))
    assert judged(disk).suspicion is False


def many_secrets(disk: Disk) -> None:
    office(disk)
    for number in range(40):
        disk.add(f"/vault/{number:064x}", encrypted(60_000, number))


def test_many_files_of_random_bytes_are_a_suspicion_where_there_usually_are_none():
    disk = Disk()
    many_secrets(disk)
    found = judged(disk, usual=QUIET)
    assert found.suspicion is True
    assert "usual are at most 0.0%" in found.reason


def test_many_files_of_random_bytes_stay_open_while_nothing_is_known_of_the_volume():
    disk = Disk()
    many_secrets(disk)
    found = judged(disk, usual=None)
    assert found.suspicion is None
    assert judge([found.assertion()]).fitness is Fitness.UNDECIDED


def test_many_files_of_random_bytes_are_usual_for_a_volume_that_has_them_every_night():
    before, today = Disk(), Disk()
    many_secrets(before)
    many_secrets(today)
    usual = Shares.highest([judged(before, usual=None).shares])
    assert judged(today, usual=usual).suspicion is False


def repository(disk: Disk, numbers: range) -> None:
    """Encrypted backups, spread over folders as programs do it that keep very many."""
    for number in numbers:
        disk.add(f"/backup/data/{number % 7:02x}/{number * 7_919:012x}", encrypted(60_000, number))


def test_random_files_beside_unchanged_ones_that_look_the_same_are_custom():
    disk = Disk()
    repository(disk, range(40))
    disk.settle()
    office(disk)
    repository(disk, range(40, 80))
    found = judged(disk, usual=None)
    assert found.suspicion is False
    assert found.unexplained_files == 0
    assert found.shares.unexplained_bytes == 0.0


def test_what_is_customary_is_remembered_for_nights_that_leave_no_unchanged_file_beside_it():
    before, today = Disk(), Disk()
    repository(before, range(40))
    before.settle()
    for disk in (before, today):
        office(disk)
        repository(disk, range(40, 60))
    habit = judged(before, usual=QUIET).shares
    assert judged(today, usual=QUIET).suspicion is True
    assert judged(today, usual=replace(habit, unexplained_bytes=0.5)).suspicion is False


def test_the_custom_of_one_ending_excuses_no_other():
    disk = Disk()
    repository(disk, range(40))
    disk.settle()
    office(disk)
    for number in range(40):
        disk.add(f"/backup/data/{number % 7:02x}/{number:08X}.xyz", encrypted(60_000, number))
    assert judged(disk).suspicion is True


def test_the_custom_of_one_place_excuses_no_other():
    disk = Disk()
    repository(disk, range(40))
    disk.settle()
    office(disk)
    for number in range(40):
        disk.add(f"/home/mail/{number % 7:02x}/{number:012x}", encrypted(60_000, number))
    assert judged(disk).suspicion is True


def test_a_victim_of_an_earlier_night_makes_no_custom():
    disk = Disk()
    for number in range(5):
        disk.add(f"/srv/a/{number}.docx", encrypted(30_000, 1) if number == 3 else packed(30_000, number))
    disk.settle()
    for number in range(5, 10):
        disk.add(f"/srv/a/{number}.docx", encrypted(30_000, number))
    assert judged(disk).contradicted_files == 5


def test_the_unchanged_blocks_that_show_a_custom_count_against_the_budget():
    disk = Disk()
    for place in range(30):
        for number in range(4):
            disk.add(f"/place/{place}/{number}/key", encrypted(200 * KIB, number))
    disk.settle()
    for place in range(30):
        disk.add(f"/place/{place}/9/key", encrypted(60_000, place))
    found = judged(disk, budget_blocks=16)
    assert found.sampled_blocks == len(disk.blocks.read_indexes) <= 16
    assert disk.blocks.read_indexes - set(disk.changed())


def test_of_very_many_unchanged_files_an_even_part_is_remembered(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(places, "MOST_UNCHANGED", 100)
    files = UnchangedFiles()
    for number in range(10_000):
        files.add(f"/srv/{number:05}.txt", number * 4096, 4096)
    assert 50 <= len(files.paths) == len(files.starts) == len(files.lengths) <= 101
    nearest = [files.paths[number] for number in files.beside("/srv/05000.txt", 4)]
    assert len(nearest) == 4
    assert all("/srv/04200.txt" < path < "/srv/05800.txt" for path in nearest)


def test_no_earlier_point_is_no_habit():
    assert Shares.highest([]) is None


def test_files_encrypted_on_purpose_count_as_unexplained():
    disk = Disk()
    office(disk)
    for number in range(30):
        disk.add(f"/vault/{number}.age", b"age-encryption.org/v1\n" + encrypted(60_000, number))
    found = judged(disk, usual=None)
    assert found.unexplained_files == 30
    assert found.contradicted_files == 0


def test_no_change_is_no_suspicion():
    disk = Disk()
    assert judge_change([disk], disk.disk, [], seed=1).assertion().held is True


def test_a_change_outside_of_all_files_is_no_suspicion():
    disk = Disk()
    office(disk)
    assert judge_change([disk], disk.disk, [100, 101], seed=1).suspicion is False


def test_without_a_file_system_nothing_is_decided_and_nothing_read():
    disk = Disk()
    office(disk)
    found = judge_change([], disk.disk, disk.blocks.written(), seed=1)
    assert found.assertion().held is None
    assert disk.blocks.read_indexes == set()


def test_files_that_the_file_system_encrypts_itself_are_not_decided():
    disk = Disk()
    for number in range(20):
        disk.add(f"/home/{number}.txt", encrypted(20_000, number), why_not="encrypted by the file system")
    found = judged(disk)
    assert found.suspicion is None
    assert "by the file system itself" in found.reason


def test_a_walk_that_ends_early_does_not_clear_the_change():
    disk = Disk()
    office(disk)
    disk.files_before_budget_is_spent = 20
    assert judged(disk).suspicion is None


def test_a_walk_that_ends_early_can_still_find_the_attack():
    disk = Disk()
    for number in range(30):
        disk.add(f"/srv/{number}.docx", encrypted(20_000, number))
    disk.files_before_budget_is_spent = 20
    assert judged(disk).suspicion is True


def test_a_file_is_not_called_large_because_the_walk_ended_before_the_others():
    disk = Disk(size_bytes=1024 * 1024 * KIB)
    office(disk)
    disk.add("/srv/machine.vmdk", encrypted(2 * 1024 * KIB, 1))
    disk.files_before_budget_is_spent = 121
    found = judged(disk)
    assert found.contradicted_files == 1
    assert found.suspicion is None


def test_extents_of_absurd_sums_do_not_overflow():
    disk = Disk(size_bytes=2**55)
    office(disk)
    whole = Extent(0, 0, disk.blocks.size_bytes - BLOCK_BYTES)
    for number in range(3):
        disk.inject(
            File(path=f"/{number}", id=900 + number, size_bytes=2**62, modified_at=POINT, extents=(whole,) * 1_000)
        )
    assert judged(disk).suspicion is False


def test_a_device_without_budget_decides_nothing():
    disk = Disk(budget_blocks=0)
    office(disk)
    assert judged(disk).suspicion is None


def test_what_was_found_suspicious_leads_to_what_has_its_traits():
    """Crowded blocks of ordinary files in the same folder must not come first."""
    disk = Disk(size_bytes=192 * 1024 * KIB)
    for number in np.random.default_rng(4).permutation(200).tolist():
        if number % 10:
            for part in range(8):
                disk.add(f"/srv/{number}-{part}.txt", text(64 * KIB, part))
        else:
            disk.add(f"/srv/{number:08X}.xyz", encrypted(512 * KIB, number))
    assert judged(disk, budget_blocks=60, seed=2).unexplained_files >= 10


def test_no_more_blocks_are_read_than_the_budget_says():
    disk = Disk()
    for number in range(40):
        disk.add(f"/srv/{number}.tar.gz", packed(400 * KIB, number))
    found = judged(disk, budget_blocks=16)
    assert 12 < found.sampled_blocks == len(disk.blocks.read_indexes) <= 16


def test_the_same_seed_draws_the_same_sample():
    disks = Disk(), Disk()
    for disk in disks:
        office(disk, count=200)
    one, other = (judged(disk, budget_blocks=8, seed=5) for disk in disks)
    assert one == other
    assert disks[0].blocks.read_indexes == disks[1].blocks.read_indexes


def test_another_seed_draws_another_sample():
    disks = Disk(), Disk()
    for seed, disk in enumerate(disks):
        office(disk, count=200)
        judged(disk, budget_blocks=8, seed=seed)
    assert disks[0].blocks.read_indexes != disks[1].blocks.read_indexes


def test_a_partition_that_is_not_aligned_is_read_at_the_right_places():
    disk = Disk(begin=63 * 512)
    office(disk)
    for number in range(10):
        disk.add(f"/srv/lost/{number}.docx", encrypted(20_000, number))
    found = judged(disk)
    assert found.contradicted_files == 10
    assert found.unexplained_files == 0


def test_a_file_with_several_names_counts_once():
    disk = Disk()
    office(disk)
    disk.add("/srv/a.docx", encrypted(20_000, 1))
    for number in range(9):
        disk.link(f"/srv/link-{number}.docx")
    assert judged(disk).suspicion is False


def test_a_file_that_begins_with_a_hole_is_not_judged_by_what_follows():
    disk = Disk()
    office(disk)
    for number in range(10):
        disk.add(f"/srv/{number}.docx", encrypted(20_000, number), hole_bytes=8192)
    assert judged(disk).contradicted_files == 0


def test_files_without_a_time_are_looked_at_as_well():
    disk = Disk()
    office(disk)
    for number in range(10):
        disk.add(f"/srv/lost/{number}.docx", encrypted(20_000, number), modified_at=None)
    assert judged(disk).suspicion is True


def test_a_hostile_name_is_escaped_in_the_reason():
    disk = Disk()
    for number in range(10):
        disk.add(f"/srv/\n<b>\udcff{number}.docx", encrypted(20_000, number))
    found = judged(disk)
    assert found.suspicion is True
    assert "\\n<b>\\udcff" in found.reason
    assert found.reason.isascii()
    assert "\n" not in found.reason


def test_extents_outside_of_the_device_are_ignored():
    disk = Disk()
    office(disk)
    disk.add("/srv/far.docx", encrypted(20_000, 1))
    far = replace(disk.find("/srv/far.docx") or File(path="", id=0, size_bytes=0, modified_at=None), path="/x.docx")
    for extent in (Extent(0, 2**62, 20_000), Extent(0, -4096, 20_000), Extent(-5, 0, 1), Extent(2**70, 0, 20_000)):
        disk.inject(replace(far, extents=(extent,), size_bytes=2**71))
    assert judged(disk).suspicion is False


def test_a_place_claimed_by_very_many_files_is_read_in_bounded_time():
    disk = Disk()
    disk.add("/srv/one.docx", packed(20_000, 1))
    for number in range(20_000):
        disk.link(f"/srv/{number}.docx")
    assert judged(disk).judged_files <= 4_001


@pytest.mark.parametrize(
    ("found", "among", "ordinary", "chance"),
    [(0, 10, 0.1, 1.0), (1, 1, 0.25, 0.25), (2, 2, 0.5, 0.25), (1, 2, 0.5, 0.75), (3, 3, 1.0, 1.0), (1, 0, 0.5, 0.0)],
)
def test_the_chance_of_so_many_is_that_of_the_binomial_distribution(
    found: int, among: int, ordinary: float, chance: float
):
    assert chance_of(found, among, ordinary) == pytest.approx(chance)


def test_two_contradicted_files_are_too_few_when_every_file_was_judged():
    assert decide(Tally(files=500, contradicted_files=2, unexplained_files=2), QUIET)[0] is False


def test_two_contradicted_files_are_enough_when_only_half_of_the_files_were_judged():
    few = Tally(files=500, contradicted_files=2, unexplained_files=2, judged_share=0.5)
    assert decide(few, QUIET)[0] is True


def test_one_contradicted_file_is_too_few_however_little_was_judged():
    few = Tally(files=5, contradicted_files=1, unexplained_files=1, judged_share=0.01)
    assert decide(few, QUIET)[0] is False


def test_one_large_contradicted_file_is_enough_among_few_large_ones_and_an_accident_among_very_many():
    one = Tally(files=500, contradicted_files=1, unexplained_files=1, contradicted_large=1, large=50)
    assert decide(one, QUIET)[0] is True
    assert decide(replace(one, large=200), QUIET)[0] is False


def test_unexplained_bytes_are_held_to_what_is_usual_for_the_volume():
    tally = Tally(files=500, unexplained_files=1, unexplained_bytes=0.02)
    assert decide(tally, QUIET)[0] is True
    assert decide(tally, Shares(unexplained_bytes=0.015))[0] is False
    assert decide(tally, None)[0] is None
    assert decide(replace(tally, unexplained_bytes=0.004), QUIET)[0] is False


def test_a_volume_that_usually_contradicts_itself_is_held_to_its_habit():
    tally = Tally(files=500, contradicted_files=20, starts=500, unexplained_starts=20, unexplained_files=20)
    habit = Shares(unexplained_files=0.04, unexplained_touched=0.04, contradicted_files=0.04)
    assert decide(tally, QUIET)[0] is True
    assert decide(tally, habit)[0] is False


def test_one_contradicted_file_of_a_quiet_night_makes_no_habit():
    assert Tally(starts=2, contradicted_starts=1).shares.contradicted_files <= 0.005


def test_shares_that_an_older_version_wrote_excuse_less_and_break_nothing() -> None:
    written = {"unexplained_files": 0.25, "contradicted_content": 0.5}
    assert Shares.remembered(written) == Shares(unexplained_files=0.25)
    assert Shares.remembered({}) == Shares()
