"""Tries whether mass encryption in a night's change is noticed, and whether ordinary nights are left alone.

Volumes are models (see `volumes`): nothing of what is tried here ever touched a disk. A night of ordinary churn
(log rotation, upgrades, archives, images, documents, database pages, mail, caches, encrypted secrets) is put on a
volume of 2 GiB; an attack comes on top of it. "1 %" means: the attacked files hold 1 % of the bytes in use, however
few of their bytes are overwritten. What is circular: contents and churn are our own guess, and the attacker writes
perfectly random bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from itertools import chain, cycle
from math import sqrt

import numpy as np

from benchmarks.trials.volumes import MIB, RESERVED_BYTES, Stored, Volume
from functions.inspection.change.judgement import BUDGET_BLOCKS, FEWEST_FILES, EncryptionFinding, Shares, judge_change

KIB = 1024
VOLUME_BYTES = 2048 * MIB
LAST_POINT = datetime(2026, 3, 10, 2, 0, tzinfo=UTC)
BASES = 4
"""Different volumes of each profile; every trial goes on from one of them."""

HISTORY_SEED = 10_000_000
HISTORY_NIGHTS = 8
"""Nights from which the usual shares of a profile are learnt."""


@dataclass(frozen=True, slots=True)
class Sort:
    """A sort of files: where they lie, what is in them, how large they usually are."""

    folder: str
    ending: str
    kind: str
    typical_bytes: int
    spread: float = 1.0
    folders: int = 20


LIBRARIES = Sort("/usr/lib", ".so", "code", 60 * KIB)
MODULES = Sort("/usr/lib/python3", ".py", "text", 7 * KIB, folders=60)
MANUALS = Sort("/usr/share/doc", ".gz", "gzip", 3 * KIB, folders=60)
LOGS = Sort("/var/log", ".log", "text", 900 * KIB, folders=3)
OLD_LOGS = Sort("/var/log/old", ".gz", "gzip", 200 * KIB, folders=3)
SCRIPTS = Sort("/srv/www", ".js", "text", 9 * KIB)
SQUEEZED = Sort("/srv/www", ".js.br", "brotli", 6 * KIB)
PICTURES = Sort("/srv/www/images", ".png", "png", 40 * KIB)
PHOTOS = Sort("/srv/photos", ".jpg", "jpeg", 900 * KIB, 0.6)
FILMS = Sort("/srv/films", ".mp4", "film", 9 * MIB, 0.7)
LETTERS = Sort("/srv/office", ".docx", "zip", 45 * KIB, folders=40)
SHEETS = Sort("/srv/office", ".xlsx", "zip", 30 * KIB, folders=40)
PAPERS = Sort("/srv/office", ".pdf", "pdf", 180 * KIB, folders=40)
NOTES = Sort("/srv/office", ".txt", "text", 5 * KIB, folders=40)
TABLES = Sort("/srv/office", ".csv", "text", 60 * KIB, folders=40)
MAIL = Sort("/var/vmail", "", "text", 6 * KIB, folders=60)
ATTACHED = Sort("/var/vmail", "", "base64", 160 * KIB, folders=60)
RELATIONS = Sort("/var/lib/postgresql/15/main/base", "", "pages", 400 * KIB, 1.6, 2)
EMBEDDED = Sort("/var/lib/app", ".sqlite", "pages", 6 * MIB, 0.8, 3)
OBJECTS = Sort("/srv/git/objects", "", "git object", 3 * KIB, folders=200)
PACKS = Sort("/srv/git/pack", ".pack", "git pack", 6 * MIB, folders=3)
TARBALLS = Sort("/backup", ".tar.gz", "gzip", 12 * MIB, 0.6, 3)
DUMPS = Sort("/backup", ".sql.zst", "zstd", 5 * MIB, 0.6, 3)
COLD = Sort("/backup", ".tar.xz", "xz", 9 * MIB, 0.6, 3)
LAYERS = Sort("/var/lib/registry/blobs", "", "gzip", 3 * MIB, folders=30)
CACHED = Sort("/var/cache/pages", "", "brotli", 9 * KIB, folders=30)
TOKENS = Sort("/var/lib/app/secrets", ".bin", "secret", 2 * KIB, folders=2)
VAULT = Sort("/srv/restic/data", "", "secret", 5 * MIB, 0.5, 50)

SYSTEM = {LIBRARIES: 400, MODULES: 900, MANUALS: 250, LOGS: 15, OLD_LOGS: 60, TOKENS: 4}

PROFILES: Mapping[str, Mapping[Sort, int]] = {
    "server": SYSTEM
    | {SCRIPTS: 900, SQUEEZED: 80, PICTURES: 500, RELATIONS: 200, EMBEDDED: 12, OBJECTS: 1200, PACKS: 10, LAYERS: 80},
    "office": SYSTEM | {LETTERS: 2600, SHEETS: 1800, PAPERS: 1400, NOTES: 900, TABLES: 700, PICTURES: 800, PHOTOS: 200},
    "archives": SYSTEM | {TARBALLS: 34, DUMPS: 60, COLD: 20},
    "photos": SYSTEM | {PHOTOS: 800, FILMS: 18, PICTURES: 500},
    "mail": SYSTEM | {MAIL: 9000, ATTACHED: 2600},
    "database": SYSTEM | {RELATIONS: 330, EMBEDDED: 20, DUMPS: 20},
    "vault": SYSTEM | {VAULT: 90, LETTERS: 1500, PAPERS: 900, NOTES: 600},
}
"""How many files of each sort a volume holds."""


def _file(sort: Sort, draw: np.random.Generator, modified_at: datetime) -> Stored:
    size_bytes = int(min(max(sort.typical_bytes * draw.lognormal(0, sort.spread), 200), 60 * MIB))
    number = int(draw.integers(1 << 48))
    # A user's folder is written together, so its files lie together: names sort by folder first.
    name = str(number % 100_000) if sort.kind == "pages" and not sort.ending else f"{number:012x}{sort.ending}"
    folder = int(draw.integers(sort.folders))
    path = f"{sort.folder}/{folder:03d}/{name}"
    if sort is OBJECTS:
        path = f"{sort.folder}/{folder:02x}/{number:038x}"
    return Stored(path, size_bytes, sort.kind, number, modified_at)


@cache
def _base(profile: str, variant: int) -> Volume:
    draw = np.random.default_rng([variant, *profile.encode()])
    volume = Volume.empty(VOLUME_BYTES, draw)
    files = [
        _file(sort, draw, LAST_POINT - timedelta(days=float(draw.uniform(1, 900))))
        for sort, count in PROFILES[profile].items()
        for _ in range(int(count * draw.uniform(0.8, 1.1)))
    ]
    for file in sorted(files, key=lambda file: file.path):
        volume.add(file)
    volume.changed.clear()
    return volume


class Night:
    """What a night does to a volume."""

    def __init__(self, volume: Volume, profile: str, draw: np.random.Generator) -> None:
        self.volume, self.draw = volume, draw
        self._sorts = PROFILES[profile]
        self._of: dict[tuple[str, str], list[Stored]] = {}
        for file in volume.stored.values():
            top = file.path.rsplit("/", 2)[0]
            self._of.setdefault((top, file.kind), []).append(file)

    def pass_by(self) -> None:
        """The volume has had an ordinary night of more or less churn; some nights much more."""
        busy = float(self.draw.lognormal(0, 0.8))
        self._write_metadata()
        self._rotate_logs()
        if self.draw.random() < 0.2:
            self._upgrade()
        for sort, count in self._sorts.items():
            if sort in (LIBRARIES, MODULES, MANUALS, LOGS, OLD_LOGS):
                continue
            if sort.kind == "pages":
                self._write_pages(sort, busy)
            else:
                # About one file in twenty is new each night, and a few less go.
                self._add(sort, int(self.draw.poisson(min(count / 3, busy * count / 20))))
                self._remove(sort, int(self.draw.poisson(min(count / 4, busy * count / 30))))
        self._append_to_some(busy)
        self._add(CACHED, int(self.draw.poisson(0.4)))

    def time(self) -> datetime:
        """Some moment of this night."""
        return LAST_POINT + timedelta(hours=float(self.draw.uniform(0.1, 23.9)))

    def of(self, sort: Sort) -> list[Stored]:
        """The files of this sort that the volume had when the night began."""
        return self._of.get((sort.folder, sort.kind), [])

    def _write_metadata(self) -> None:
        for at in self.draw.integers(0, RESERVED_BYTES, 12):
            self.volume.touch(int(at), 4096)

    def _rotate_logs(self) -> None:
        for log in self.of(LOGS):
            if self.draw.random() < 0.3:
                self._add(OLD_LOGS, 1)
                self.volume.remove(log.path)
                self.volume.add(replace(log, size_bytes=max(600, log.size_bytes // 20), modified_at=self.time()))

    def _upgrade(self) -> None:
        for sort, most in ((LIBRARIES, 60), (MODULES, 250), (MANUALS, 60)):
            have = self.of(sort)
            for place in self.draw.permutation(len(have))[: int(self.draw.integers(most))]:
                self.volume.add(replace(have[place], seed=int(self.draw.integers(1 << 48)), modified_at=self.time()))

    def _write_pages(self, sort: Sort, busy: float) -> None:
        for file in self.of(sort):
            pages = int(self.draw.poisson(busy * min(40, file.size_bytes / (256 * KIB))))
            for page in self.draw.integers(0, max(1, file.size_bytes // 8192), pages):
                self.volume.touch_file(file, int(page) * 8192, 8192)
            if pages:
                self.volume.stored[file.path] = replace(file, modified_at=self.time())

    def _append_to_some(self, busy: float) -> None:
        have = [file for file in self.volume.stored.values() if file.kind == "text"]
        for place in self.draw.permutation(len(have))[: int(self.draw.poisson(20 * busy))]:
            self.volume.touch_file(have[place], max(0, have[place].size_bytes - 4096), 4096)
            self.volume.stored[have[place].path] = replace(have[place], modified_at=self.time())

    def _add(self, sort: Sort, count: int) -> None:
        for _ in range(count):
            self.volume.add(_file(sort, self.draw, self.time()))

    def _remove(self, sort: Sort, count: int) -> None:
        have = self.of(sort)
        for place in self.draw.permutation(len(have))[:count]:
            self.volume.remove(have[place].path)


def _whole(size_bytes: int) -> tuple[tuple[int, int], ...]:
    return ((0, size_bytes),)


def _stripes(size_bytes: int) -> tuple[tuple[int, int], ...]:
    return tuple((at, 64 * KIB) for at in range(0, size_bytes, MIB))


def _head(size_bytes: int) -> tuple[tuple[int, int], ...]:  # noqa: ARG001 - the others need it
    return ((0, 4 * KIB),)


MODES: Mapping[str, Callable[[int], tuple[tuple[int, int], ...]]] = {
    "whole files": _whole,
    "64 KiB in every MiB": _stripes,
    "only the first 4 KiB": _head,
}


def attack(night: Night, mode: str, share: float) -> Sequence[Stored]:
    """Files that hold this share of the used bytes are encrypted; which ones, as they were.

    Whether folder by folder or anywhere, in place or as new files, with which names and times, is drawn anew.
    """
    draw, volume = night.draw, night.volume
    keeps_times, writes_new = draw.random() < 0.3, draw.random() < 0.5
    name = str(draw.choice(["kept", "longer", "replaced"], p=[0.3, 0.5, 0.2])) if writes_new else "kept"
    begun, lasts = LAST_POINT + timedelta(hours=float(draw.uniform(1, 22))), float(draw.uniform(60, 7_200))
    victims = list(_victims(volume, share * volume.used_bytes, draw, by_folder=bool(draw.random() < 0.5)))
    for number, (file, reach) in enumerate(victims):
        encrypted = tuple((at, min(length, reach - at)) for at, length in MODES[mode](reach))
        when = (
            file.modified_at
            if keeps_times and not writes_new
            else begun + timedelta(seconds=lasts * number / len(victims))
        )
        changed = replace(file, encrypted=encrypted, modified_at=when, path=_renamed(file.path, name, number))
        if writes_new:
            volume.add(changed)
            volume.remove(file.path) if changed.path != file.path else None
        else:
            volume.stored[file.path] = changed
            for at, length in encrypted:
                volume.touch_file(file, at, length)
    return [file for file, _ in victims]


def _victims(
    volume: Volume, wanted: float, draw: np.random.Generator, *, by_folder: bool
) -> Iterator[tuple[Stored, int]]:
    """Files of users with how far each is attacked: the last one only in part when the snapshot is taken."""
    files = [file for file in volume.stored.values() if not file.path.startswith("/usr")]
    order = sorted(files, key=lambda file: file.path) if by_folder else [files[n] for n in draw.permutation(len(files))]
    begin = int(draw.integers(len(order))) if by_folder else 0
    for file in order[begin:] + order[:begin]:
        if wanted <= 0:
            return
        yield file, int(min(file.size_bytes, max(4 * KIB, wanted)))
        wanted -= file.size_bytes


def _renamed(path: str, name: str, number: int) -> str:
    if name == "longer":
        return f"{path}.locked"
    return f"{path.rpartition('/')[0]}/{number:08X}.xyz" if name == "replaced" else path


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One night and what was said of it; `mode` and `attacked` are empty when nobody attacked."""

    profile: str
    mode: str
    attacked: Sequence[Stored]
    finding: EncryptionFinding

    @property
    def hit_only_secrets(self) -> bool:
        """Whether all that was encrypted had been encrypted before."""
        return all(file.kind == "secret" for file in self.attacked)


@lru_cache(maxsize=4)
def _ordinary_night(profile: str, seed: int) -> Volume:
    draw = np.random.default_rng([seed, *profile.encode()])
    volume = _base(profile, seed % BASES).copied(draw)
    Night(volume, profile, draw).pass_by()
    return volume


def trial(profile: str, seed: int, *, usual: Shares | None, mode: str = "", share: float = 0.0) -> Trial:
    """An ordinary night on a volume of this profile, with an attack on top when a mode is given."""
    draw = np.random.default_rng([seed, 1, *mode.encode()])
    volume = _ordinary_night(profile, seed).copied(draw)
    victims = attack(Night(volume, profile, draw), mode, share) if mode else ()
    file_system = volume.file_system()
    finding = judge_change(
        [file_system], file_system.disk, volume.changed, seed=seed, changed_since=LAST_POINT, usual=usual
    )
    return Trial(profile=profile, mode=mode, attacked=victims, finding=finding)


@cache
def usual_of(profile: str) -> Shares | None:
    """What the volumes of a profile look like on quiet nights, as it would be remembered."""
    nights = [trial(profile, HISTORY_SEED + night, usual=None) for night in range(HISTORY_NIGHTS)]
    return Shares.highest(night.finding.shares for night in nights)


def attacked(*, share: float, trials: int, seed: int) -> Mapping[str, Sequence[Trial]]:
    """So many attacks of each mode on files that hold this share of the used bytes, the profiles taking turns."""
    found: dict[str, list[Trial]] = {mode: [] for mode in MODES}
    for night, profile in zip(range(seed, seed + trials), cycle(PROFILES)):
        for mode, trials_of_mode in found.items():
            trials_of_mode.append(trial(profile, night, usual=usual_of(profile), mode=mode, share=share))
    return found


def quiet(*, nights: int, seed: int) -> Sequence[Trial]:
    """So many ordinary nights, the profiles taking turns."""
    turns = zip(range(seed, seed + nights), cycle(PROFILES))
    return [trial(profile, night, usual=usual_of(profile)) for night, profile in turns]


def noticed_percent(trials: Iterable[Trial]) -> float:
    """How many of the trials ended in a suspicion."""
    said = [trial.finding.suspicion is True for trial in trials]
    return 100 * sum(said) / len(said) if said else 0.0


def interval_percent(percent: float, trials: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share that was measured in so many trials."""
    if not trials:
        return 0.0, 100.0
    share, spread = percent / 100, 1.96**2 / trials
    middle, half = share + spread / 2, sqrt(share * (1 - share) * spread + spread**2 / 4)
    return max(0.0, 100 * (middle - half) / (1 + spread)), min(100.0, 100 * (middle + half) / (1 + spread))


def measure(*, trials: int, seed: int) -> list[dict[str, object]]:
    """The bars: `trials` attacks of each mode on 1 % of the bytes, and 10 ordinary nights for each of them.

    Attacks on one or two large files are counted apart and held to no bar, because some of these hit nothing but what
    was encrypted before, which shows in no sample. Units: about a quarter of a second of computing for each night and
    each attack.
    """
    nights = quiet(nights=10 * trials, seed=seed)
    attacks = attacked(share=0.01, trials=trials, seed=seed)
    most = max(one.finding.sampled_blocks for one in chain(nights, *attacks.values()))
    alarms = noticed_percent(nights)
    return [
        *(_noticed(mode, of_mode) for mode, of_mode in attacks.items()),
        _bar("ordinary nights called mass encryption", alarms, 0.1, alarms <= 0.1, _of(alarms, nights, "nights")),
        _bar("blocks sampled at most", most, BUDGET_BLOCKS, most <= BUDGET_BLOCKS, "blocks of 512 KiB"),
    ]


def _noticed(mode: str, trials: Sequence[Trial]) -> dict[str, object]:
    mass = [one for one in trials if len(one.attacked) >= FEWEST_FILES]
    few = [one for one in trials if len(one.attacked) < FEWEST_FILES]
    secrets = sum(one.hit_only_secrets for one in few)
    value = noticed_percent(mass)
    return _bar(
        f"mass encryption of files that hold 1 % of the bytes, {mode}: noticed",
        value,
        99.0,
        value >= 99.0,
        f"{_of(value, mass, 'attacks')}; on one or two files {noticed_percent(few):.0f} % of {len(few)}, "
        f"of which {secrets} hit only what was encrypted before",
    )


def _of(percent: float, trials: Sequence[Trial], what: str) -> str:
    low, high = interval_percent(percent, len(trials))
    return f"% of {len(trials)} {what} (95 % interval {low:.2f} to {high:.2f})"


def _bar(name: str, value: float, bar: float, holds: bool, unit: str) -> dict[str, object]:
    return {"name": name, "value": round(value, 2), "bar": bar, "holds": holds, "unit": unit}
