"""What the functions are made of: our code, the libraries it needs, and the settings it reads. Nothing needs Docker."""

# pyright: reportArgumentType=false
# jsii's classes and its interfaces disagree about the names of parameters, and pyright about both.

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import aws_cdk as cdk
import jsii
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.errors import CannotSynthesise

ROOT = Path(__file__).parent.parent
PYTHON_VERSION = "3.13"
PLATFORM = "aarch64-manylinux_2_28"
"""Older platform tags install too, and silently hold libraries back to the last version that was built for them."""

TRIMMED = ("__pycache__", "test", "tests")
CODE = ("*", "!functions", "!functions/**", "**/__pycache__", "**/*.md")


class Package(Construct):
    """The code and the layers, shared by all functions of a stack."""

    def __init__(self, scope: Construct, id: str, *, block: object) -> None:
        super().__init__(scope, id)
        self.code = lambda_.Code.from_asset(str(ROOT), ignore_mode=cdk.IgnoreMode.GIT, exclude=list(CODE))
        # Only a stack that is really bundled needs uv; tests look at templates and leave the layers empty.
        self._is_bundled = cdk.Stack.of(self).bundling_required
        self.layers = (
            self._libraries("Libraries", RUNTIME, "What the functions import and Lambda lacks"),
            self._layer("Settings", SettingsLayer(block), "The holdfast block of cdk.json"),
        )

    @cached_property
    def content_layers(self) -> tuple[lambda_.ILayerVersion, ...]:
        """As `layers`, with the native libraries of the functions that read content; made when first asked for."""
        return (*self.layers, self._libraries("Inspection", INSPECTION, "What reads checksums and pages fast"))

    def _libraries(self, id: str, which: Sequence[str], description: str) -> lambda_.LayerVersion:
        libraries = LibrariesLayer(exported_requirements(which) if self._is_bundled else "")
        try:
            return self._layer(id, libraries, description)
        except RuntimeError:
            # On its way through the CDK's core an error of ours becomes one of Node's; the cause is told instead.
            if libraries.problem:
                raise libraries.problem from None
            raise

    def _layer(self, id: str, content: LibrariesLayer | SettingsLayer, description: str) -> lambda_.LayerVersion:
        return lambda_.LayerVersion(
            self,
            id,
            description=description,
            compatible_runtimes=[lambda_.Runtime.PYTHON_3_13],
            compatible_architectures=[lambda_.Architecture.ARM_64],
            code=lambda_.Code.from_asset(
                # A bundled asset must name a folder it comes from; ours come from the lock and from the settings.
                str(Path(__file__).parent / "workflows"),
                asset_hash_type=cdk.AssetHashType.CUSTOM,
                asset_hash=content.fingerprint,
                bundling=cdk.BundlingOptions(image=cdk.DockerImage.from_registry("none"), local=content),
            ),
        )


@jsii.implements(cdk.ILocalBundling)
class LibrariesLayer:
    """Locked dependencies, as wheels for Lambda's platform whatever this machine is."""

    def __init__(self, requirements: str) -> None:
        self._requirements = requirements
        self.problem: CannotSynthesise | None = None

    @property
    def fingerprint(self) -> str:
        """The same for the same content, so that a second synth finds the first one's bundle."""
        return _digest(self._requirements, PLATFORM, PYTHON_VERSION, *TRIMMED)

    def try_bundle(self, output_dir: str, options: cdk.BundlingOptions) -> bool:  # noqa: ARG002 - jsii passes both
        """The layer's content is in `output_dir`. Never False: the CDK would then go on to Docker and blame that."""
        target = Path(output_dir) / "python"
        try:
            install(self._requirements, target)
        except CannotSynthesise as problem:
            self.problem = problem
            raise
        trim(target)
        return True


@jsii.implements(cdk.ILocalBundling)
class SettingsLayer:
    """The settings as a package that holds one file."""

    def __init__(self, block: object) -> None:
        self._text = json.dumps(block, indent=2, sort_keys=True)

    @property
    def fingerprint(self) -> str:
        return _digest(self._text)

    def try_bundle(self, output_dir: str, options: cdk.BundlingOptions) -> bool:  # noqa: ARG002 - jsii passes both
        """`holdfast_settings` can be imported, and settings.json lies in it."""
        package = Path(output_dir) / "python" / "holdfast_settings"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "settings.json").write_text(self._text, encoding="utf-8")
        return True


RUNTIME = ("--no-default-groups",)
INSPECTION = ("--only-group", "inspection")
"""Which of the locked dependencies a layer holds, in the words of uv."""


def exported_requirements(which: Sequence[str] = RUNTIME) -> str:
    """The locked dependencies of a layer with their hashes, as a requirements file."""
    options = ("--frozen", *which, "--no-emit-project", "--no-header", "--no-annotate", "--quiet")
    return _run([*uv(), "export", *options, "--project", str(ROOT)])


def install(requirements: str, target: Path) -> None:
    """Exactly these wheels, their hashes checked, lie in `target`; nothing is built and nothing of it is run."""
    wheels = ("--python-platform", PLATFORM, "--python-version", PYTHON_VERSION, "--only-binary", ":all:")
    checks = ("--require-hashes", "--no-deps", "--quiet")
    command = [*uv(), "pip", "install", "--python", sys.executable, "--target", str(target), *wheels, *checks]
    _run([*command, "--requirements", "-"], given=requirements)


def trim(folder: Path) -> None:
    """The folder holds no tests, no compiled Python and no command-line scripts."""
    unwanted = [path for path in folder.rglob("*") if path.is_dir() and path.name in TRIMMED]
    for path in (*unwanted, folder / "bin"):
        shutil.rmtree(path, ignore_errors=True)  # ignored: a folder inside one that is gone already
    (folder / ".lock").unlink(missing_ok=True)


def uv() -> Sequence[str]:
    """The command that runs uv.

    Errors: CannotSynthesise when there is no uv.
    """
    made_here = shutil.which("uv", path=str(ROOT / "build" / "tools" / "bin"))
    found = os.environ.get("UV") or shutil.which("uv") or made_here
    if found:
        return (found,)
    if importlib.util.find_spec("uv"):
        return (sys.executable, "-m", "uv")
    raise CannotSynthesise(
        "there is no uv, which packs the libraries of the functions\n"
        "Hint: run `make setup`, or install uv and put it on PATH or its path into UV."
    )


def _run(command: Sequence[str], *, given: str = "") -> str:
    try:
        done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)  # noqa: S603 - no shell
    except OSError as problem:
        raise CannotSynthesise(f"{command[0]} does not run: {problem.strerror}\nHint: check UV.") from problem
    if done.returncode:
        raise CannotSynthesise(
            f"`{' '.join(command)}` ended with {done.returncode}:\n{done.stderr.strip()}\n"
            "Hint: is the package registry reachable, and does uv.lock belong to pyproject.toml?"
        )
    return done.stdout


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
