"""Measures what the inspection of snapshots catches and what it lets pass: damage on purpose, images that are whole.

python benchmarks/verification.py [--only CLASS] [--quick] [--json]; needs root. See README.md in this folder.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import cast

if not __package__:  # run as a file: then Python looks beside the file, and not where the rooms are
    sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.trials import clean, damage, encryption, lost_blocks, price
from benchmarks.trials.bench import FILES_QUICK, IS_DAMAGED, IS_WHOLE, Bar, Bench, FalseAlarm, Miss, say
from benchmarks.trials.damage import Injection
from benchmarks.trials.images import KINDS, large_image
from benchmarks.trials.judging import Answer, Question, judges
from benchmarks.trials.machine import CommandFailed, scratch_folder, why_unfit

TRIALS, TRIALS_QUICK = 200, 12
CLEAN_IMAGES, CLEAN_IMAGES_QUICK = 500, 30
FILES_OF_A_VARIANT = 400
ENCRYPTION_TRIALS, ENCRYPTION_TRIALS_QUICK = 300, 14
LARGE_BYTES = 10 << 30
FILES_OF_A_LARGE_IMAGE = 4_000
MOST_BLOCKS = 100
HAVE_A_BAR_OF_BLOCKS = ("ext4", "xfs", "btrfs")
"""What NTFS takes is only told: ntfs-3g spreads its tables over the whole disk."""


def _injected(bench: Bench, injections: Iterable[Injection]) -> Iterator[Bar]:
    for injection in injections:
        if bench.lines and not any(part in injection.name for part in bench.lines):
            continue
        questions = list(injection.questions(bench.trials, bench.seed))
        if not questions:
            say(f"{injection.name}: there is no place that this would change")
            continue
        answers = bench.judge(injection.name, questions)
        for question, answer in zip(questions, answers, strict=True):
            # Where there is no bar, misses are the rule: they are counted and not told one by one.
            if not answer.is_unfit and injection.bar is not None:
                bench.miss(injection.name, question, answer)
        yield _caught(injection.name, [answer.is_unfit for answer in answers], injection.bar)


def _for_each(measure: Callable[[Bench, str], Iterator[Bar]]) -> Callable[[Bench], Iterator[Bar]]:
    """Measures every file system; one whose undamaged image raises an alarm is broken, and the others go on."""

    def measure_all(bench: Bench) -> Iterator[Bar]:
        for kind in bench.kinds:
            try:
                yield from measure(bench, kind)
            except FalseAlarm as alarm:
                name = f"{kind}: trials whose undamaged image is called whole"
                bench.misses.append(Miss(name=name, what="an image that nobody damaged", told=str(alarm)))
                yield Bar(name=name, value=0, bar=1, holds=False, unit="of 1")

    return measure_all


def _caught(name: str, said: Sequence[bool], bar: float | None) -> Bar:
    value = 100 * sum(said) / len(said)
    holds = None if bar is None else value >= bar
    return Bar(name=name, value=round(value, 1), bar=bar, holds=holds, unit=f"% of {len(said)}")


def metadata(bench: Bench, kind: str) -> Iterator[Bar]:
    """Damage in each area of metadata of each file system."""
    yield from _injected(bench, damage.into_metadata(bench.of_files(kind)))


def tail(bench: Bench, kind: str) -> Iterator[Bar]:
    """Disks whose end is gone."""
    yield from _injected(bench, damage.into_the_tail(bench.of_files(kind)))


def canary(bench: Bench, kind: str) -> Iterator[Bar]:
    """Damage in files of which a policy says what they hold."""
    yield from _injected(bench, damage.into_canaries(bench.of_files(kind)))


def database(bench: Bench, kind: str) -> Iterator[Bar]:
    """Damage in pages of PostgreSQL."""
    yield from _injected(bench, damage.into_database(bench.of_database(kind)))


def gpt(bench: Bench, kind: str) -> Iterator[Bar]:
    """Damage in either copy of the partition table."""
    yield from _injected(bench, damage.into_partition_table(bench.of_files(kind)))


def blocks(bench: Bench, kind: str) -> Iterator[Bar]:
    """Blocks that were lost or swapped since the predecessor was read in full."""
    points = lost_blocks.two_points(bench.of_files(kind), seed=bench.seed + 1)
    say(f"{kind}: {len(points.may_differ)} blocks changed, {len(points.unchanged)} with data did not")
    for what, drawn in lost_blocks.DAMAGES.items():
        name = f"{kind}: {what}"
        damages = [drawn(points, Random(f"{bench.seed}/{name}/{n}")) for n in range(bench.trials)]  # noqa: S311 - from a seed
        said = [lost_blocks.is_noticed(points, one) for one in damages]
        for one, noticed in zip(damages, said, strict=True):
            if not noticed:
                bench.miss(name, Question(path=points.after, damage=one), Answer())
        yield _caught(name, said, 99.0)


def whole(bench: Bench) -> Iterator[Bar]:
    """Images that nobody damaged: made in many ways, and cloned while they were written to."""
    made = [variant for variant in clean.MADE if variant.kind in bench.kinds]
    busy = [variant for variant in clean.WRITTEN_TO if variant.kind in bench.kinds]
    if bench.is_quick:
        made, busy = made[::4], busy[:6]
    answers = [answer for variant in made for answer in _of_a_variant(bench, variant)]
    wanted = max(0, (CLEAN_IMAGES_QUICK if bench.is_quick else CLEAN_IMAGES) - len(answers))
    if busy:
        with clean.cloning_host(bench.folder) as host:
            for number, variant in enumerate(busy):
                count = wanted * (number + 1) // len(busy) - wanted * number // len(busy)
                answers += _of_clones(bench, variant, host, count, bench.seed + number)
    yield from _alarms("whole images", answers)


def _of_a_variant(bench: Bench, variant: clean.Variant) -> list[Answer]:
    image = bench.folder / f"{IS_WHOLE}{variant.kind}-{variant.name}.img"
    try:
        clean.make_clean(variant, image, seed=bench.seed, files=FILES_OF_A_VARIANT)
    except CommandFailed as problem:
        # Other versions of the tools and of the kernel know other features; a clone more is taken in its place.
        say(f"left out: {problem}")
        return []
    return _judged_whole(bench, f"{variant.kind}, {variant.name}", [image])


def _of_clones(bench: Bench, variant: clean.Variant, host: Path, count: int, seed: int) -> list[Answer]:
    say(f"taking {count} clones: {variant.kind}, {variant.name}")
    taken = clean.clones(variant, host, count=count, seed=seed)
    return _judged_whole(bench, f"clones of {variant.kind}, {variant.name}", taken)


def _judged_whole(bench: Bench, what: str, images: Sequence[Path]) -> list[Answer]:
    questions = [Question(path=image) for image in images]
    answers = bench.judge(what, questions)
    for question, answer in zip(questions, answers, strict=True):
        if not answer.is_fit:
            bench.miss(what, question, answer)
        question.path.unlink()
    return answers


def _alarms(what: str, answers: Sequence[Answer]) -> Iterator[Bar]:
    unfit = sum(answer.is_unfit or bool(answer.problem) for answer in answers)
    undecided = sum(not answer.is_fit for answer in answers) - unfit
    for said, count in (("called damaged", unfit), ("left open", undecided)):
        yield Bar(name=f"{what} {said}", value=count, bar=0, holds=count == 0, unit=f"of {len(answers)}")


def verdict(bench: Bench, kind: str) -> Iterator[Bar]:
    """What a verdict on the metadata of 10 GiB takes."""
    say(f"making an image of 10 GiB: {kind}")
    files = FILES_QUICK if bench.is_quick else FILES_OF_A_LARGE_IMAGE
    image = large_image(kind, bench.folder, seed=bench.seed, size_bytes=LARGE_BYTES, files=files)
    found = price.verdict_on(image)
    if found.alarms:
        raise FalseAlarm(f"10 GiB of {kind}: {found.alarms}")
    bar = MOST_BLOCKS if kind in HAVE_A_BAR_OF_BLOCKS else None
    holds = None if bar is None else found.read_blocks <= bar
    name, unit = f"{kind}: blocks read for 10 GiB", f"of {found.written_blocks} written"
    yield Bar(name=name, value=found.read_blocks, bar=bar, holds=holds, unit=unit)
    yield Bar(name=f"{kind}: price of that", value=round(found.usd, 6), bar=None, holds=None, unit="USD")
    image.path.unlink()


def mass_encryption(bench: Bench) -> Iterator[Bar]:
    """Mass encryption in a night's change."""
    say("mass encryption: a model of nights, without images")
    trials = ENCRYPTION_TRIALS_QUICK if bench.is_quick else max(bench.trials, ENCRYPTION_TRIALS)
    for bar in encryption.measure(trials=trials, seed=bench.seed):
        yield Bar(**cast("dict[str, object]", bar))  # pyright: ignore[reportArgumentType] - its docstring says so


CLASSES: Mapping[str, Callable[[Bench], Iterator[Bar]]] = {
    "metadata": _for_each(metadata),
    "tail": _for_each(tail),
    "canary": _for_each(canary),
    "database": _for_each(database),
    "gpt": _for_each(gpt),
    "blocks": _for_each(blocks),
    "clean": whole,
    "verdict": _for_each(verdict),
    "encryption": mass_encryption,
}
"""Every class of trials by what `--only` calls it."""


def of_a_folder(bench: Bench, folder: Path) -> Iterator[Bar]:
    """Images that were made elsewhere, judged against what their names say."""
    images = sorted(path for path in folder.iterdir() if path.is_file())
    whole_ones = [Question(path=path) for path in images if path.name.startswith(IS_WHOLE)]
    damaged = [Question(path=path) for path in images if path.name.startswith(IS_DAMAGED)]
    if not whole_ones and not damaged:
        raise SystemExit(f"{folder} holds no file whose name begins with {IS_WHOLE} or {IS_DAMAGED}")
    for what, questions in (("whole", whole_ones), ("damaged", damaged)):
        answers = bench.judge(f"{what} images of {folder}", questions)
        for question, answer in zip(questions, answers, strict=True):
            if not (answer.is_fit if what == "whole" else answer.is_unfit):
                bench.miss(f"{what} image", question, answer)
        if answers and what == "whole":
            yield from _alarms("whole images", answers)
        elif answers:
            yield _caught("damaged images", [answer.is_unfit for answer in answers], 100.0)


def _line(bar: Bar) -> str:
    head = f"{bar.name:58} {bar.value:12g} {bar.unit:22}"
    if bar.bar is None:
        return head.rstrip()
    return f"{head} {bar.bar:g}: {'holds' if bar.holds else 'BROKEN'}"


def _arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", action="append", choices=CLASSES, help="this class of trials; may be repeated")
    parser.add_argument("--file-system", action="append", choices=KINDS, help="this one; may be repeated")
    parser.add_argument("--line", action="append", help="only damage whose line of the table has this in its name")
    parser.add_argument("--trials", type=int, help=f"of each kind of damage; {TRIALS} when not said")
    parser.add_argument("--quick", action="store_true", help="a few minutes: fewer of everything")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--images", type=Path, help="judge the images of this folder, named clean-* and damaged-*")
    parser.add_argument("--keep", type=Path, help="keep an image of every miss in this folder")
    return parser.parse_args(words)


def measured(asked: argparse.Namespace) -> tuple[list[Bar], list[Miss]]:
    """The bars of everything that was asked for, and what was missed."""
    with scratch_folder() as folder, judges() as processes:
        bench = Bench(
            folder=folder,
            judges=processes,
            kinds=asked.file_system or KINDS,
            trials=asked.trials or (TRIALS_QUICK if asked.quick else TRIALS),
            seed=asked.seed,
            is_quick=asked.quick,
            keep=None if asked.images else asked.keep,
            lines=asked.line or (),
        )
        if asked.images:
            return list(of_a_folder(bench, asked.images)), bench.misses
        bars: list[Bar] = []
        for bar in (bar for name in asked.only or CLASSES for bar in CLASSES[name](bench)):
            say(_line(bar))
            bars.append(bar)
        return bars, bench.misses


def main() -> int:
    asked = _arguments(sys.argv[1:])
    needs_images = not asked.images and set(asked.only or CLASSES) != {"encryption"}
    if needs_images and (problem := why_unfit()):
        say(problem)
        return 2
    try:
        bars, misses = measured(asked)
    except KeyboardInterrupt:
        say("interrupted; every mount is undone")
        return 130
    if asked.json:
        told = {"seed": asked.seed, "bars": [asdict(bar) for bar in bars], "misses": [asdict(miss) for miss in misses]}
        sys.stdout.write(json.dumps(told, indent=2) + "\n")
    else:
        sys.stdout.writelines(f"{_line(bar)}\n" for bar in bars)
        sys.stdout.writelines(f"missed: {miss.name}: {miss.what}: {miss.told}\n" for miss in misses)
    return 1 if any(bar.holds is False for bar in bars) else 0


if __name__ == "__main__":
    sys.exit(main())
