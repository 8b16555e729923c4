"""What is released: an sdist, the wheel made of it, and the demo from that wheel, without the repository.

The wheel lies in an environment of its own, which finds the dependencies of the present one but not its sbr.  That it
installs with dependencies of its own is tried by `make test-release`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

import sbr

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "sbr"
NOT_SHIPPED = {"__pycache__"}
"""Of what lies in the package's folder."""
BUILD = "import sys; from setuptools import build_meta; print(getattr(build_meta, sys.argv[1])(sys.argv[2]))"


def call(*command: str | Path, cwd: Path) -> str:
    """Standard output of a program that finds no sbr by the environment's variables."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SBR_"))}
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env={**environment, "OMP_NUM_THREADS": "1"}, capture_output=True
    )
    assert done.returncode == 0, f"{command}\n{done.stdout.decode()}\n{done.stderr.decode()}"
    return done.stdout.decode()


def shipped() -> set[str]:
    """Every file of the package's folder, through the link to recipes/ too: "sbr/mini/base/config.json"."""
    files = (Path(folder) / name for folder, _, names in os.walk(SOURCE, followlinks=True) for name in names)
    return {file.relative_to(SOURCE.parent).as_posix() for file in files if not NOT_SHIPPED & set(file.parts)}


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built in a copy: setuptools leaves folders beside what it builds, and takes what lies there for a part of it."""
    folder = tmp_path_factory.mktemp("source")
    for name in ("src", "recipes", "docs"):
        shutil.copytree(
            ROOT / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
        )
    for file in ROOT.iterdir():
        if file.is_file():
            shutil.copy(file, folder)
    out = tmp_path_factory.mktemp("sdist")
    call(sys.executable, "-c", BUILD, "build_sdist", out, cwd=folder)
    return next(out.glob("*.tar.gz"))


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    unpacked, out = tmp_path_factory.mktemp("unpacked"), tmp_path_factory.mktemp("wheel")
    with tarfile.open(sdist) as archive:
        archive.extractall(unpacked, filter="data")
    call(sys.executable, "-c", BUILD, "build_wheel", out, cwd=next(unpacked.iterdir()))
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The environment's folder.  A path in a .pth file adds that folder alone: the .pth files in it, such as that of an
    editable sbr, are not read."""
    venv = tmp_path_factory.mktemp("clean") / "venv"
    call(sys.executable, "-m", "venv", "--without-pip", venv, cwd=venv.parent)
    python = venv / "bin" / "python"
    call(
        *(sys.executable, "-m", "pip", "--python", python, "install", "--no-index", "--no-deps", "--no-compile", wheel),
        cwd=venv.parent,
    )
    packages = Path(call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=venv).strip())
    ours = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (packages / "dependencies.pth").write_text("".join(f"{folder}\n" for folder in sorted(ours)))
    return venv


def test_sdist_and_wheel_hold_every_file_of_the_package(sdist: Path, wheel: Path) -> None:
    with tarfile.open(sdist) as archive:
        in_sdist = {name.partition("/src/")[2] for name in archive.getnames() if "/src/sbr/" in name}
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = set(archive.namelist())
    wanted = shipped()
    assert {"sbr/py.typed", "sbr/recipes/mini/grpo.toml", "sbr/mini/base/model.safetensors"} <= wanted
    assert wanted - in_sdist == set()
    assert wanted - in_wheel == set()
    assert f"-{sbr.__version__}-" in wheel.name


def test_the_wheel_is_what_runs(installed: Path, tmp_path: Path) -> None:
    place = call(installed / "bin" / "python", "-I", "-c", "import sbr; print(sbr.__file__)", cwd=tmp_path).strip()
    assert Path(place).is_relative_to(installed)
    assert call(installed / "bin" / "sbr", "--version", cwd=tmp_path) == f"sbr {sbr.__version__}\n"
    verbs = call(installed / "bin" / "python", "-I", "-m", "sbr", "--help", cwd=tmp_path)
    assert all(verb in verbs for verb in ("demo", "grpo", "eval", "report"))
    keys = call(installed / "bin" / "sbr", "grpo", "recipes/mini/grpo.toml", "--help", cwd=tmp_path)
    assert "runs/mini/grpo" in keys  # the default that the packaged recipe sets


def test_the_demo_runs_without_the_repository(installed: Path, tmp_path: Path) -> None:
    small = ("--train", "16", "--val", "4", "--steps", "1", "--out", "demo")
    said = call(installed / "bin" / "python", "-I", "-m", "sbr", "demo", *small, cwd=tmp_path)
    assert re.search(r"Took \d+\.\d minutes", said)
    page = (tmp_path / "demo" / "report_0.html").read_text(encoding="utf-8")
    assert f"sbr {sbr.__version__}" in page
    assert "SFT+GRPO" in (tmp_path / "demo" / "table_0.md").read_text(encoding="utf-8")
