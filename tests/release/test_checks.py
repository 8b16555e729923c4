""".pre-commit-config.yaml and the workflow: what they call is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
ENVIRONMENT = ".venv/bin/"
DEPENDENCIES = (ROOT / "constraints.txt").read_text(encoding="utf-8")


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def test_hooks_fetch_nothing_and_call_what_is_there() -> None:
    (repository,) = read(".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    called: set[str] = set()
    for hook in repository["hooks"]:
        assert hook["language"] == "system"
        words = [word for word in shlex.split(hook["entry"]) if "=" not in word and word != "env"]
        assert words[0].startswith(ENVIRONMENT), hook["id"]
        program = words[0].removeprefix(ENVIRONMENT)
        if program == "python":
            assert words[1] == "-m"
            program = words[2]
        assert re.search(rf"^{program}==", DEPENDENCIES, re.MULTILINE), f"{program} is not installed by make setup"
        files = [word for word in words[1:] if "/" in word]
        assert [file for file in files if not (ROOT / file).is_file()] == []
        called |= {program, *files}
        if "files" in hook:
            pattern = re.compile(hook["files"])
            assert all(pattern.match(file) for file in files)
            assert pattern.match("src/sbr/cli/main.py")
    assert called == {"ruff", "pytest", "tests/unit/test_tracked_files.py", "tests/unit/test_architecture.py"}


def test_the_workflow_runs_what_ci_runs() -> None:
    workflow = read(".github/workflows/ci.yml")
    assert set(workflow[True]) == {"push", "pull_request"}  # YAML 1.1 reads "on" as true
    (job,) = workflow["jobs"].values()
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert "bash .ci/run" in commands
    assert (ROOT / ".ci" / "run").is_file()
    setup = next(step["with"] for step in job["steps"] if "setup-python" in step.get("uses", ""))
    assert (ROOT / setup["cache-dependency-path"]).is_file()
    assert tuple(map(int, setup["python-version"].split("."))) >= (3, 11)


def test_targets_of_make_that_ci_calls_are_there() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    called = set(re.findall(r"^make ([\w-]+)", (ROOT / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE))
    assert {"check", "test", "docs"} <= called <= targets
