"""The packages that a GPU machine lacks: which, in what version, and their wheels for its Python."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from ddgan_deploy.errors import InputError

SMALL = {
    "pydantic": "manifests",
    "pydantic-core": "pydantic's",
    "annotated-types": "pydantic's",
    "typing-inspection": "pydantic's",
    "typing-extensions": "pydantic asks for a newer one than PyTorch does",
    "rich": "tables, steps",
    "flatbuffers": "onnxruntime-gpu's",
}
"""Package -> why it is in the bundle; in the first piece."""
LARGE = {
    "onnxruntime-gpu": "the CUDA provider",
    "tensorrt-rtx-cu13-libs": "TensorRT-RTX",
    "tensorrt-rtx-cu13-bindings": "TensorRT-RTX in Python",
}
"""Package -> why it is in the bundle; by worth."""
MACHINE = {
    **{"torch": "2.11.0", "triton": "3.6.0", "numpy": "2.5.2", "onnx": "1.23.1", "onnx-ir": "1.0.0"},
    **{"onnxscript": "0.7.2", "onnxruntime": "1.30.0", "pytest": "", "hypothesis": "", "scipy": ""},
    **{"jinja2": "", "markupsafe": "", "markdown-it-py": "", "mdurl": "", "pygments": "", "pillow": ""},
    **{"safetensors": "", "protobuf": "", "ml-dtypes": "", "packaging": "", "sympy": "", "matplotlib": ""},
}
"""Package -> version, "" where it is not known: what such a machine has, with the packages that these need."""
_PLATFORMS = (
    *(f"manylinux_2_{minor}_x86_64" for minor in range(28, 4, -1)),
    "manylinux2014_x86_64",
    "manylinux1_x86_64",
)


@dataclass(frozen=True)
class Wheel:
    """A wheel file and what its METADATA says.

    Attributes:
        name: in its canonical form, such as "pydantic-core".
        requirements: those that hold without extras.
    """

    path: Path
    name: str
    version: str
    requirements: tuple[Requirement, ...]


def pins(constraints: Path) -> dict[str, str]:
    """Package in its canonical form -> version, of lines ``name==version``."""
    lines = (line.partition("==") for line in constraints.read_text(encoding="utf-8").splitlines())
    return {canonicalize_name(name): version.strip() for name, equal, version in lines if equal}


def download(
    names: Sequence[str],
    python: str,
    folder: Path,
    *,
    pinned: Mapping[str, str],
    exact: Mapping[str, str],
    flags: Sequence[str] = (),
) -> list[Wheel]:
    """Fetches the wheels of packages, and not of what they ask for.

    Args:
        names: of packages.
        python: the version of Python that they are for, such as "3.12".
        folder: where the files go; it is empty.
        pinned: package -> the version that is taken, where there is a wheel of it; else the newest is.
        exact: package -> the version that must be taken.
        flags: more arguments for pip.

    Raises:
        InputError: a package has no wheel for that Python, or none can be reached.
    """
    versions = {**pinned, **exact}
    wanted = [f"{name}=={versions[name]}" if name in versions else name for name in names]
    if _pip(wanted, python, folder, flags):
        # One after the other, to know which.
        for name, requirement in zip(names, wanted, strict=True):
            said = _pip([requirement], python, folder, flags)
            other = name in pinned and name not in exact
            if said and not (other and not _pip([name], python, folder, flags)):
                raise InputError(
                    f"{requirement} cannot be had as a wheel for Python {python} ({said}): "
                    "see that pip reaches an index that has it, or leave it out"
                )
    wheels = {wheel.name: wheel for wheel in map(read_wheel, sorted(folder.glob("*.whl")))}
    return [wheels[canonicalize_name(name)] for name in names]


def _pip(requirements: Sequence[str], python: str, folder: Path, flags: Sequence[str]) -> str:
    """What pip says where it fails, on one line; "" where it has fetched them all."""
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", "--python-version", python, "--implementation", "cp", "--dest", str(folder)]
    command += [argument for platform in _PLATFORMS for argument in ("--platform", platform)]
    done = subprocess.run([*command, *flags, *requirements], capture_output=True, text=True)
    errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
    return (errors[-1].removeprefix("ERROR: ") if errors else "pip failed") if done.returncode else ""


def read_wheel(path: Path) -> Wheel:
    """Reads a wheel's METADATA; markers are those of an x86-64 Linux."""
    with zipfile.ZipFile(path) as archive:
        (name,) = (name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name))
        metadata = HeaderParser().parsestr(archive.read(name).decode())
    asked = tuple(Requirement(line) for line in metadata.get_all("Requires-Dist", []))
    return Wheel(path, canonicalize_name(metadata["Name"]), metadata["Version"], asked)


def unmet(asked: Sequence[tuple[str, Requirement]], wheels: Sequence[Wheel], python: str) -> list[str]:
    """What neither the bundle nor the machine has, a clause each, such as "rich asks for pygments".

    Args:
        asked: who asks for what; what the wheels ask for comes on top.
    """
    there = MACHINE | {wheel.name: wheel.version for wheel in wheels}
    environment = {
        **{"python_version": python, "python_full_version": f"{python}.0", "sys_platform": "linux", "extra": ""},
        **{
            "platform_system": "Linux",
            "platform_machine": "x86_64",
            "implementation_name": "cpython",
            "os_name": "posix",
        },
    }
    missing = []
    for name, requirement in [*asked, *((wheel.name, each) for wheel in wheels for each in wheel.requirements)]:
        if requirement.marker is None or requirement.marker.evaluate(environment):
            have = there.get(canonicalize_name(requirement.name))
            if have is None or (have and not requirement.specifier.contains(have, prereleases=True)):
                missing.append(f"{name} asks for {requirement}")
    return missing


def extra_wheels(given: Sequence[str]) -> dict[str, str]:
    """Package -> version, of arguments such as "cuda-python==13.0.1".

    Raises:
        InputError: an argument is something else.
    """
    found = {}
    for text in given:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            requirement = None
        versions = [*requirement.specifier] if requirement else []
        if requirement is None or len(versions) != 1 or versions[0].operator != "==" or requirement.extras:
            raise InputError(f"{text!r} is no package with a version: write it as name==version")
        found[canonicalize_name(requirement.name)] = versions[0].version
    return found
