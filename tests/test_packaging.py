"""What is installed: the pins fit the ranges, and the wheel works where there is nothing else."""

import os
import subprocess
import sys
import tomllib
import venv
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.tiny import write_corpus

ROOT = Path(__file__).parents[1]


def project() -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return table


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pairs}


@pytest.mark.unit
def test_what_make_installs_is_pinned_inside_its_range() -> None:
    extras = project()["optional-dependencies"]
    wanted = [Requirement(text) for text in [*project()["dependencies"], *extras["dev"], *extras["demo"]]]
    for requirement in wanted:
        if requirement.name != "transduce":
            assert requirement.specifier.contains(pins()[canonicalize_name(requirement.name)]), requirement


@pytest.mark.unit
def test_pins_name_no_local_build() -> None:
    """`2.13.0+cpu` exists on some machines only; `2.13.0` is found everywhere, and accepts it."""
    assert not [name for name, version in pins().items() if "+" in version]


@pytest.mark.slow
def test_the_wheel_trains_in_an_empty_environment_anywhere(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path, ROOT], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    package = ROOT / "src" / "transduce"
    data = {
        path.relative_to(package.parent).as_posix()
        for suffix in ("toml", "html")
        for path in package.rglob(f"*.{suffix}")
    }
    shipped = set(ZipFile(wheel).namelist())
    assert data | {"transduce/py.typed", "transduce/data/measured.sha256"} <= shipped
    assert not [name for name in shipped if name.startswith(("tests/", "tools/", "benchmarks/"))]

    environment = tmp_path / "environment"
    venv.create(environment, with_pip=True)
    binaries = environment / ("Scripts" if sys.platform == "win32" else "bin")
    pip = [str(binaries / "python"), "-m", "pip", "install", "--quiet", "--constraint", str(ROOT / "constraints.txt")]
    subprocess.run([*pip, f"torch=={pins()['torch']}", f"{wheel}[demo]"], check=True)
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "TRANSDUCE"))}
    program = str(binaries / "transduce")
    subprocess.run([program, "demo"], cwd=tmp_path, env=outside, check=True)

    elsewhere = write_corpus(tmp_path / "elsewhere")
    files = ["--source", "train.aa", "--target", "train.bb", "--out", "run", "--minutes", "0.3"]
    subprocess.run([program, "train", *files], cwd=elsewhere, env=outside, check=True)
    command = [program, "translate", "elsewhere/run", "the green bird"]
    said = subprocess.run(command, cwd=tmp_path, env=outside, check=True, capture_output=True, text=True)
    assert len(said.stdout.split()) >= 1
