"""Measures what is deployed: synthesises the app for real and adds up what each asset unzips to.

python benchmarks/sizes.py [--json]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
MB = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """What was measured, and what it must stay below."""

    name: str
    value: float
    bar: float
    holds: bool
    unit: str


def below(name: str, size_bytes: int, *, bar_mb: float) -> Bar:
    value = round(size_bytes / MB, 2)
    return Bar(name=name, value=value, bar=bar_mb, holds=value < bar_mb, unit="MB")


def synthesised(folder: Path) -> None:
    """The assembly, layers and all, is in `folder`."""
    subprocess.run(  # noqa: S603 - our own app under our own Python
        [sys.executable, str(ROOT / "app.py")],
        cwd=ROOT,
        env={**os.environ, "CDK_OUTDIR": str(folder)},
        check=True,
        stdout=sys.stderr,
    )


def unzipped_bytes(asset: Path) -> int:
    return sum(path.stat().st_size for path in asset.rglob("*") if path.is_file())


def measured() -> list[Bar]:
    """The unzipped sizes, each told apart by what lies in it."""
    with tempfile.TemporaryDirectory() as folder:
        synthesised(Path(folder))
        assets = [path for path in Path(folder).glob("asset.*") if path.is_dir()]
        (code,) = (unzipped_bytes(asset) for asset in assets if (asset / "functions").is_dir())
        (libraries,) = (unzipped_bytes(asset) for asset in assets if (asset / "python" / "botocore").is_dir())
        (settings,) = (unzipped_bytes(asset) for asset in assets if (asset / "python" / "holdfast_settings").is_dir())
    return [
        below("runtime layer, unzipped", libraries, bar_mb=60),
        below("function code, unzipped", code, bar_mb=2),
        # Lambda's own limit for code and layers together, in its own units.
        below("code and layers of a function, unzipped", code + libraries + settings, bar_mb=262.144),
    ]


def main() -> int:
    bars = measured()
    if "--json" in sys.argv[1:]:
        sys.stdout.write(json.dumps({"bars": [asdict(bar) for bar in bars]}, indent=2) + "\n")
    else:
        for bar in bars:
            said = "holds" if bar.holds else "BROKEN"
            sys.stdout.write(f"{bar.name:42} {bar.value:8.2f} {bar.unit}   below {bar.bar:g}: {said}\n")
    return 0 if all(bar.holds for bar in bars) else 1


if __name__ == "__main__":
    sys.exit(main())
