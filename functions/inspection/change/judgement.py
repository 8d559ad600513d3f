"""Whether what changed since the earlier point is mass encryption, judged on a sample of the changed blocks.

Entropy alone does not tell encryption from compression. What does: a file begins with something that its format
prescribes, and an encrypted one does not. So the beginnings of changed files are looked at first. Random bytes
without a known header are suspicious where the name of the file promises another beginning, or where the same file
goes on as text, code or tables; without either they are suspicious only when this volume does not usually have them.
Neither is held against files beside which unchanged ones look the same: that is the custom of the place.

What this cannot see: encryption that keeps the headers and touches only what is compressed anyway, that writes a known
header of its own, or that encodes its result as text; files that were encrypted before, as in a repository of backups,
and are encrypted once more under their own names; and files that the file system itself compresses or encrypts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from math import exp, lgamma, log, log1p

import numpy as np

from functions.core.evidence import Assertion
from functions.inspection.change.files import ChangedFiles, map_changes
from functions.inspection.change.sample import SUSPICIOUS, ChangeSample, take_sample
from functions.inspection.change.seen_files import Standing
from functions.inspection.devices import BLOCK_BYTES, SnapshotDevice
from functions.inspection.file_systems import FileSystem

BUDGET_BLOCKS = 256
"""The sample of one point: 128 MiB, less than a tenth of a cent."""

CONTRADICTED_BY_ACCIDENT = 1e-5
"""Of the ordinary files of a volume that never had any, at most so many look random where their name or their other
parts say that they should not. None of the 354,000 files of a well-filled Linux machine does, which makes so many or
more improbable (3 %)."""

UNEXPLAINED_BY_ACCIDENT = 0.003
"""The same for files that begin with random bytes and promise nothing: keys, caches, unknown formats. On that machine
8 files do, and none of its 1,600 larger than 1 MiB; but a change is not a whole machine, and what is unknown comes in
folders."""

GROWTH = 1.5
"""So many times its usual share of unexplained content is still usual for a volume that has such content."""

FEWEST_FILES = 3
"""Fewer files in the whole change are an accident or a secret, unless they are large."""

LARGE_SHARE = 0.005
LARGE_BYTES = 1024 * 1024
"""A file is large when it has this share of the bytes of all files of the volume, and so many at least: no volume has
more than 200 large files."""

CERTAIN_OF_CONTRADICTED = 1e-3
CERTAIN_OF_UNEXPLAINED = 1e-6
"""How unlikely what was found must be among ordinary changes. The second is held to more, because it knows less."""

FEWEST_FILES_OF_A_HABIT = 200
"""A quiet night in which the only changed file was contradicted must not make that the habit of the volume."""

NAMED_FILES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """How much of a change looks encrypted without a known reason: of the files that begin in sampled blocks, of
    those of them that were touched since the earlier point, of the content. They differ: a repository of encrypted
    backups may be half of a night's bytes and one in a hundred of its files. `unexplained_bytes`: of the bytes of all
    files of the volume, changed or not, what the files that were found to do so hold.

    "Unexplained" includes what is contradicted, and, but for `unexplained_bytes`, what is customary: another night may
    leave no unchanged file beside it.
    """

    unexplained_files: float = 0.0
    unexplained_touched: float = 0.0
    unexplained_content: float = 0.0
    unexplained_bytes: float = 0.0
    contradicted_files: float = 0.0

    @classmethod
    def remembered(cls, written: Mapping[str, float]) -> Shares:
        """The shares as the ledger keeps them. What an older version wrote lacks some and has others: a share that is
        not there is none, so that less is excused and never more."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: share for name, share in written.items() if name in known})

    @classmethod
    def highest(cls, shares: Iterable[Shares]) -> Shares | None:
        """What is usual for a volume, from its points of late that were found usual; None without any."""
        known = list(shares)
        if not known:
            return None
        return cls(
            unexplained_files=max(one.unexplained_files for one in known),
            unexplained_touched=max(one.unexplained_touched for one in known),
            unexplained_content=max(one.unexplained_content for one in known),
            unexplained_bytes=max(one.unexplained_bytes for one in known),
            contradicted_files=max(one.contradicted_files for one in known),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EncryptionFinding:
    """What the sample says. `suspicion` is None when it could not be decided; `reason` says what was seen.

    Counts of files and pieces are those of the sample. `unexplained_bytes` is the estimate for the whole change.
    `shares` are to be remembered when the point is found usual. `examples` are paths, escaped.
    """

    suspicion: bool | None
    reason: str
    changed_blocks: int
    sampled_blocks: int = 0
    judged_files: int = 0
    explained_files: int = 0
    unexplained_files: int = 0
    contradicted_files: int = 0
    random_pieces: int = 0
    explained_pieces: int = 0
    unexplained_bytes: int = 0
    shares: Shares = field(default_factory=Shares)
    examples: tuple[str, ...] = ()

    def assertion(self) -> Assertion:
        """The finding as one thing that was checked."""
        held = None if self.suspicion is None else not self.suspicion
        return Assertion(what="the change is not mass encryption", held=held, detail=self.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """The sample in numbers. "Unexplained" includes what is contradicted, and not what is customary.

    `files`: all that were judged. `starts`: files that begin in blocks drawn by lot, `touched` those of them that were
    changed since the earlier point. `blocks`: drawn by size; they count as such when at least half of their judged
    pieces do. `large`: judged files that are large. `unexplained_bytes`: what the unexplained files hold of the bytes
    of all files of the volume. `judged_share`: of all files that begin in the change, so many were judged.
    """

    files: int = 0
    unexplained_files: int = 0
    contradicted_files: int = 0
    starts: int = 0
    unexplained_starts: int = 0
    customary_starts: int = 0
    contradicted_starts: int = 0
    touched: int = 0
    unexplained_touched: int = 0
    customary_touched: int = 0
    blocks: int = 0
    unexplained_blocks: int = 0
    customary_blocks: int = 0
    large: int = 0
    contradicted_large: int = 0
    unexplained_bytes: float = 0.0
    judged_share: float = 1.0

    @property
    def shares(self) -> Shares:
        """Of what was drawn by lot."""
        return Shares(
            unexplained_files=_share(self.unexplained_starts + self.customary_starts, self.starts),
            unexplained_touched=_share(self.unexplained_touched + self.customary_touched, self.touched),
            unexplained_content=_share(self.unexplained_blocks + self.customary_blocks, self.blocks),
            unexplained_bytes=self.unexplained_bytes,
            contradicted_files=_share(self.contradicted_starts, max(self.starts, FEWEST_FILES_OF_A_HABIT)),
        )


def judge_change(
    file_systems: Sequence[FileSystem],
    device: SnapshotDevice,
    changed_blocks: Iterable[int],
    *,
    seed: int,
    changed_since: datetime | None = None,
    budget_blocks: int = BUDGET_BLOCKS,
    usual: Shares | None = None,
) -> EncryptionFinding:
    """The finding on a change: at most `budget_blocks` blocks were read, of those that ListChangedBlocks named and,
    where these look suspicious, of unchanged ones with files beside theirs.

    `file_systems`: those of the snapshot that verification found readable; their directories are walked once more.
    `changed_since`: when the earlier point was taken; files changed after it are likelier to be drawn. `usual`: what
    earlier changes of this volume were like, None while that is not known. The same seed draws the same sample.
    """
    changed = np.unique(np.fromiter(changed_blocks, np.int64))
    if not len(changed):
        return EncryptionFinding(suspicion=False, reason="nothing changed", changed_blocks=0)
    if not file_systems:
        return EncryptionFinding(suspicion=None, reason=_NO_FILE_SYSTEM, changed_blocks=len(changed))
    files = map_changes(file_systems, changed)
    since = changed_since.timestamp() if changed_since else None
    sample = take_sample(files, device, changed, budget_blocks=budget_blocks, seed=seed, changed_since=since)
    return conclude(sample, files, len(changed), usual)


_NO_FILE_SYSTEM = "no file system could be read, and random bytes alone do not tell encryption from compression"


def conclude(sample: ChangeSample, files: ChangedFiles, changed_blocks: int, usual: Shares | None) -> EncryptionFinding:
    """The finding that follows from a sample; pure."""
    standings = {file: sample.standing(file) for file in sample.seen}
    tally = _tally(sample, standings, files)
    kinds = Counter(standings.values())
    suspicion, reason = decide(tally, usual)
    examples = _examples(sample, standings)
    if suspicion:
        reason = f"{reason}: {', '.join(examples)}"
    elif (hindrance := _hindrance(files, tally.files)) and suspicion is False:
        suspicion, reason = None, f"{hindrance}; {reason}"
    random, explained, unexplained_share = _of_content(sample, standings)
    return EncryptionFinding(
        suspicion=suspicion,
        reason=reason,
        changed_blocks=changed_blocks,
        sampled_blocks=sample.sampled_blocks,
        judged_files=tally.files,
        explained_files=kinds[Standing.EXPLAINED] + kinds[Standing.CUSTOMARY],
        unexplained_files=tally.unexplained_files - tally.contradicted_files,
        contradicted_files=tally.contradicted_files,
        random_pieces=random,
        explained_pieces=explained,
        unexplained_bytes=int(unexplained_share * changed_blocks * BLOCK_BYTES),
        shares=tally.shares,
        examples=examples,
    )


def decide(tally: Tally, usual: Shares | None) -> tuple[bool | None, str]:
    """Whether that many suspicious files and blocks are more than accident and habit explain, and why."""
    known = usual or Shares()
    contradicted = (
        f"{tally.contradicted_files:,} of {tally.files:,} files and {tally.contradicted_large:,} of {tally.large:,} "
        f"large ones look encrypted where the name or other parts of the file say that they should not be"
    )
    if _are_contradicted(tally, known):
        return True, contradicted
    unexplained = (
        f"{tally.unexplained_starts:,} of {tally.starts:,} files, {tally.unexplained_touched:,} of the "
        f"{tally.touched:,} touched ones, {tally.unexplained_blocks:,} of {tally.blocks:,} sampled blocks and "
        f"{tally.unexplained_bytes:.1%} of all bytes look encrypted without a reason that is known"
    )
    if not _are_unexplained(tally, known):
        return False, unexplained
    if usual is None:
        return None, f"{unexplained}, and whether that is usual for this volume is not known yet"
    habit = (usual.unexplained_files, usual.unexplained_touched, usual.unexplained_content, usual.unexplained_bytes)
    return True, f"{unexplained}; usual are at most {', '.join(f'{share:.1%}' for share in habit)}"


def _are_contradicted(tally: Tally, usual: Shares) -> bool:
    ordinary = max(CONTRADICTED_BY_ACCIDENT, GROWTH * usual.contradicted_files)
    # One alone is never many: when little was judged, too little is known to multiply it.
    are_many = tally.contradicted_files >= max(2, FEWEST_FILES * tally.judged_share)
    # Among few large files a single accident is as improbable as several are among all.
    return (are_many and chance_of(tally.contradicted_files, tally.files, ordinary) < CERTAIN_OF_CONTRADICTED) or (
        chance_of(tally.contradicted_large, tally.large, ordinary) < CERTAIN_OF_CONTRADICTED
    )


def _are_unexplained(tally: Tally, usual: Shares) -> bool:
    if tally.unexplained_bytes > max(LARGE_SHARE, GROWTH * usual.unexplained_bytes):
        return True
    looked_at = (
        (tally.unexplained_starts, tally.starts, usual.unexplained_files),
        (tally.unexplained_touched, tally.touched, usual.unexplained_touched),
        (tally.unexplained_blocks, tally.blocks, usual.unexplained_content),
    )
    return tally.unexplained_files >= FEWEST_FILES and any(
        chance_of(found, among, UNEXPLAINED_BY_ACCIDENT + GROWTH * habit) < CERTAIN_OF_UNEXPLAINED
        for found, among, habit in looked_at
    )


def chance_of(found: int, among: int, ordinary: float) -> float:
    """The chance to find so many or more among so many, when each is one with the ordinary probability."""
    if found <= 0 or ordinary >= 1.0:
        return 1.0
    whole, yes, no = lgamma(among + 1), log(ordinary), log1p(-ordinary)
    terms = (
        whole - lgamma(k + 1) - lgamma(among - k + 1) + k * yes + (among - k) * no for k in range(found, among + 1)
    )
    return min(1.0, sum(map(exp, terms)))


def _tally(sample: ChangeSample, standings: Mapping[int, Standing], files: ChangedFiles) -> Tally:
    starts = Counter(standings[file] for file in sample.starts)
    touched = Counter(standings[file] for file in sample.touched)
    kinds = Counter(standings.values())
    least = max(LARGE_BYTES, LARGE_SHARE * files.all_held_bytes)
    large = {
        file: standing
        for file, standing in standings.items()
        if standing is not Standing.UNJUDGED and files.held_bytes[file] >= least
    }
    unexplained_bytes = sum(
        int(files.held_bytes[file]) for file, standing in standings.items() if standing in SUSPICIOUS
    )
    return Tally(
        files=_judged(kinds),
        unexplained_files=_unexplained(kinds),
        contradicted_files=kinds[Standing.CONTRADICTED],
        starts=_judged(starts),
        unexplained_starts=_unexplained(starts),
        customary_starts=starts[Standing.CUSTOMARY],
        contradicted_starts=starts[Standing.CONTRADICTED],
        touched=_judged(touched),
        unexplained_touched=_unexplained(touched),
        customary_touched=touched[Standing.CUSTOMARY],
        blocks=len(sample.content),
        unexplained_blocks=_blocks_mostly(sample, standings, SUSPICIOUS),
        customary_blocks=_blocks_mostly(sample, standings, {Standing.CUSTOMARY}),
        large=len(large),
        contradicted_large=sum(standing is Standing.CONTRADICTED for standing in large.values()),
        unexplained_bytes=unexplained_bytes / max(files.all_held_bytes, LARGE_BYTES / LARGE_SHARE),
        judged_share=min(1.0, _share(_judged(kinds), sample.begun_files)),
    )


def _judged(standings: Counter[Standing]) -> int:
    return standings.total() - standings[Standing.UNJUDGED]


def _unexplained(standings: Counter[Standing]) -> int:
    return standings[Standing.UNEXPLAINED] + standings[Standing.CONTRADICTED]


def _blocks_mostly(sample: ChangeSample, standings: Mapping[int, Standing], wanted: Container[Standing]) -> int:
    return sum(
        2 * sum(count for file, count in random.items() if standings[file] in wanted) >= pieces > 0
        for pieces, random in sample.content
    )


def _of_content(sample: ChangeSample, standings: Mapping[int, Standing]) -> tuple[int, int, float]:
    """Random pieces, the explained ones among them, and the share of all judged pieces that nothing explains."""
    of_standing = Counter[Standing]()
    for _, random in sample.content:
        for file, count in random.items():
            of_standing[standings[file]] += count
    unexplained = _unexplained(of_standing)
    judged = sum(pieces for pieces, _ in sample.content)
    explained = of_standing[Standing.EXPLAINED] + of_standing[Standing.CUSTOMARY]
    return of_standing.total(), explained, _share(unexplained, judged)


def _examples(sample: ChangeSample, standings: Mapping[int, Standing]) -> tuple[str, ...]:
    ranked = [
        file
        for wanted in (Standing.CONTRADICTED, Standing.UNEXPLAINED)
        for file, standing in standings.items()
        if standing is wanted
    ]
    return tuple(ascii(sample.paths[file]) for file in ranked[:NAMED_FILES])


def _hindrance(files: ChangedFiles, judged: int) -> str:
    """Why the finding cannot be trusted to have missed nothing; empty when it can."""
    if not files.is_whole:
        return "not every changed file could be found"
    if judged:
        return ""
    if files.unreadable:
        return f"all {files.unreadable:,} changed files are compressed or encrypted by the file system itself"
    return "no changed file could be judged" if files.paths else ""


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
