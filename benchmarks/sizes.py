"""Measures what is deployed: synthesises the app for real and adds up what each asset unzips to.

python benchmarks/sizes.py [--json]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
MB = 1_000_000
INSPECTION_MB = 60
"""numpy and google-crc32c for the platform of Lambda, with some room for their next versions."""


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


def asset_of(code: Mapping[str, Any], folder: Path) -> Path:
    """The folder that becomes the code of a function or the content of a layer."""
    return folder / f"asset.{code['S3Key'].removesuffix('.zip')}"


def largest_function_bytes(folder: Path) -> int:
    """What the function with the most in it unzips to: its code and all of its layers."""
    largest = 0
    for path in folder.glob("*.template.json"):
        resources = json.loads(path.read_text(encoding="utf-8"))["Resources"]
        for function in (it["Properties"] for it in resources.values() if it["Type"] == "AWS::Lambda::Function"):
            layers = (resources[layer["Ref"]]["Properties"]["Content"] for layer in function["Layers"])
            parts = [asset_of(part, folder) for part in (function["Code"], *layers)]
            largest = max(largest, sum(unzipped_bytes(part) for part in parts))
    return largest


def measured() -> list[Bar]:
    """The unzipped sizes, each told apart by what lies in it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        synthesised(folder)
        assets = [path for path in folder.glob("asset.*") if path.is_dir()]
        (code,) = (unzipped_bytes(asset) for asset in assets if (asset / "functions").is_dir())
        (libraries,) = (unzipped_bytes(asset) for asset in assets if (asset / "python" / "botocore").is_dir())
        (inspection,) = (unzipped_bytes(asset) for asset in assets if (asset / "python" / "numpy").is_dir())
        largest = largest_function_bytes(folder)
    return [
        below("runtime layer, unzipped", libraries, bar_mb=60),
        below("inspection layer, unzipped", inspection, bar_mb=INSPECTION_MB),
        below("function code, unzipped", code, bar_mb=2),
        # Lambda's own limit of 250 MB for code and layers together, which it counts in units of 1,048,576.
        below("code and layers of the largest function", largest, bar_mb=262.144),
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
