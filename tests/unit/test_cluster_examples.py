"""examples/cluster: three ways to start one command on several nodes say the same, and torchrun understands it."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from torch.distributed.run import get_args_parser

from sbr.cli.grpo import GRPO

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "cluster"
NODE = FOLDER / "node.sh"
SCRIPTS = (NODE, FOLDER / "slurm.sbatch")


def slurm() -> tuple[list[str], dict[str, str], set[str]]:
    """The command after node.sh, the #SBATCH options, and the names of the environment it gives."""
    text = (FOLDER / "slurm.sbatch").read_text(encoding="utf-8")
    options = dict(re.findall(r"^#SBATCH --([\w-]+)(?:=(.*))?$", text, re.MULTILINE))
    line = next(line for line in text.replace("\\\n", " ").splitlines() if line.startswith("srun"))
    words = shlex.split(line)
    exported = {
        word.partition("=")[0] for line in re.findall(r"^export (.*)$", text, re.MULTILINE) for word in line.split()
    }
    assert words[-1] == "&"
    return words[words.index("examples/cluster/node.sh") + 1 : -1], options, exported | {"SLURM_NODEID"}


def ray() -> tuple[dict[str, Any], set[str]]:
    """Constants of the script, and the keys of the environments it gives."""
    tree = ast.parse((FOLDER / "ray_job.py").read_text(encoding="utf-8"))
    constants: dict[str, Any] = {}
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            constants[statement.targets[0].id] = eval(compile(ast.Expression(statement.value), "", "eval"), {})
    tables = [node for node in ast.walk(tree) if isinstance(node, ast.Dict)]
    return constants, {str(key.value) for table in tables for key in table.keys if isinstance(key, ast.Constant)}


def jobset() -> tuple[Any, Any, dict[str, Any]]:
    """The JobSet, its container, and the container's environment."""
    found = yaml.safe_load((FOLDER / "jobset.yaml").read_text(encoding="utf-8"))
    (job,) = found["spec"]["replicatedJobs"]
    (container,) = job["template"]["spec"]["template"]["spec"]["containers"]
    return found, container, {variable["name"]: variable.get("value") for variable in container["env"]}


def test_all_three_start_the_same_command_and_it_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    command, options, _ = slurm()
    constants, _ = ray()
    _, container, _ = jobset()
    assert command == list(constants["COMMAND"]) == container["args"]
    assert container["command"] == ["examples/cluster/node.sh"]
    assert command[:2] == ["sbr", "grpo"]
    recipe, resume = GRPO.parse(command[2:])
    assert not resume
    assert recipe.train.prompts_per_step % (int(options["nodes"]) * int(options["gpus-per-node"])) == 0
    for place in (recipe.data.root, recipe.output_dir):
        assert place.is_relative_to("/shared")  # a relative one would be of each node with Ray
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert {"/shared", "/scratch", "/dev/shm"} == mounts
    assert recipe.data.cache_dir is not None and recipe.data.cache_dir.is_relative_to("/scratch")


def test_all_three_mean_the_same_machines() -> None:
    text = (FOLDER / "slurm.sbatch").read_text(encoding="utf-8")
    _, options, _ = slurm()
    constants, _ = ray()
    found, container, environment = jobset()
    job = found["spec"]["replicatedJobs"][0]
    assert options["ntasks-per-node"] == "1"
    assert f"GPUS_PER_NODE={options['gpus-per-node']} " in text
    nodes, gpus = int(options["nodes"]), int(options["gpus-per-node"])
    assert (constants["NODES"], constants["GPUS_PER_NODE"]) == (nodes, gpus)
    assert job["template"]["spec"]["parallelism"] == job["template"]["spec"]["completions"] == nodes
    assert (environment["NODES"], environment["GPUS_PER_NODE"]) == (str(nodes), str(gpus))
    assert container["resources"]["limits"]["nvidia.com/gpu"] == str(gpus)
    assert found["apiVersion"] == "jobset.x-k8s.io/v1alpha2"
    name = found["metadata"]["name"]
    assert environment["MASTER_ADDR"] == f"{name}-{job['name']}-0-0.{name}"
    assert environment["MASTER_PORT"] == str(container["ports"][0]["containerPort"])


def test_all_three_give_the_environment_that_a_node_needs() -> None:
    needed = set(re.findall(r"\$\{([A-Z_]+):\?", NODE.read_text(encoding="utf-8")))
    assert needed == {"NODES", "GPUS_PER_NODE", "MASTER_ADDR", "MASTER_PORT", "RUN_ID", "SLURM_NODEID"}
    rank = {"SLURM_NODEID", "NODE_RANK"}
    for given in (slurm()[2], ray()[1], set(jobset()[2])):
        assert needed - rank <= given
        assert rank & given
    for given in (ray()[1], set(jobset()[2])):  # SLURM counts its own
        assert "SBR_RESTART_COUNT" in given


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_scripts_are_read_by_the_shell(script: Path) -> None:
    assert os.access(script, os.X_OK)
    done = subprocess.run(["bash", "-n", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("rank", [0, 1])
def test_a_node_starts_torchrun_with_words_it_knows(rank: int, tmp_path: Path) -> None:
    stub = tmp_path / "torchrun"
    stub.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    stub.chmod(0o755)
    given = {"NODES": "2", "GPUS_PER_NODE": "8", "MASTER_ADDR": "node0", "MASTER_PORT": "29500", "RUN_ID": "7"}
    given |= {"PATH": f"{tmp_path}:{os.environ['PATH']}", "NODE_RANK": str(rank), "LOCAL_ADDR": f"10.0.0.{rank}"}
    command = slurm()[0]
    done = subprocess.run([NODE, *command], env=given, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    words = get_args_parser().parse_args(done.stdout.splitlines())
    assert (words.nnodes, words.nproc_per_node, words.rdzv_backend) == ("2", "8", "c10d")
    assert (words.rdzv_endpoint, words.rdzv_id) == ("node0:29500", "7")
    assert words.rdzv_conf == f"is_host={'false' if rank else 'true'}"  # one node holds the meeting point
    assert words.local_addr == f"10.0.0.{rank}"
    assert (words.max_restarts, words.shutdown_timeout, words.module) == (3, 600, True)
    assert [words.training_script, *words.training_script_args] == command


def test_a_node_that_lacks_something_says_what() -> None:
    done = subprocess.run([NODE, "sbr"], env={"PATH": os.environ["PATH"]}, capture_output=True, text=True)
    assert done.returncode != 0
    assert "NODES: number of nodes" in done.stderr
