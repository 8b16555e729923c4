"""GRPO of Qwen2-VL-7B on 2 nodes of 8 GPUs of a Ray cluster.  From the repository's folder:

    ray job submit --working-dir . -- python examples/cluster/ray_job.py

Ray gives each node a copy of that folder; weights, data and runs lie on a file system that all nodes see.  Ray reserves
the GPUs of whole nodes and starts examples/cluster/node.sh once on each; torchrun starts the processes.  After a lost
node everything is started again, as soon as there are enough nodes, and goes on from the newest checkpoint.
"""

from __future__ import annotations

import os
import subprocess
import time

import ray
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

NODES = 2
GPUS_PER_NODE = 8
CPUS_PER_NODE = 1
"""What Ray counts; torchrun's processes take all that a node has."""
ATTEMPTS = 4
ENDING = 900
"""Seconds that the others get to end by themselves when one node has: torchrun then ends its processes in order."""
MASTER_PORT = 29500
COMMAND = (
    *("sbr", "grpo", "recipes/qwen2vl_7b/grpo.toml", "--train.prompts_per_step", "16"),
    *("--model.path", "/shared/Qwen2-VL-7B-Instruct", "--data.root", "/shared/SEED-Bench-R1"),
    *("--output_dir", "/shared/runs/grpo", "--data.cache", "on", "--data.cache_dir", "/scratch/sbr_frames"),
)


@ray.remote(max_retries=0)
def address() -> str:
    """Of the node this runs on."""
    return ray.util.get_node_ip_address()


@ray.remote(max_retries=0)
def run_node(environment: dict[str, str]) -> None:
    """Raises CalledProcessError when the command fails."""
    subprocess.run(["examples/cluster/node.sh", *COMMAND], env={**os.environ, **environment}, check=True)


def on_node(group: PlacementGroup, rank: int) -> dict[str, object]:
    """Options of a task on one of the reserved nodes."""
    return {"scheduling_strategy": PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=rank)}


def attempt(number: int) -> None:
    """Run the command on all nodes.  Raises RayError when one of them fails or is lost."""
    group = placement_group([{"GPU": GPUS_PER_NODE, "CPU": CPUS_PER_NODE}] * NODES, strategy="STRICT_SPREAD")
    try:
        ray.get(group.ready())
        ranks = range(NODES)
        addresses = ray.get([address.options(num_cpus=0, **on_node(group, rank)).remote() for rank in ranks])
        everywhere = {
            "NODES": str(NODES),
            "GPUS_PER_NODE": str(GPUS_PER_NODE),
            "MASTER_ADDR": addresses[0],
            "MASTER_PORT": str(MASTER_PORT),
            "RUN_ID": f"{ray.get_runtime_context().get_job_id()}-{number}",
            "SBR_RESTART_COUNT": str(number),
        }
        resources = {"num_cpus": CPUS_PER_NODE, "num_gpus": GPUS_PER_NODE}
        runs = [
            run_node.options(**resources, **on_node(group, rank)).remote(
                {**everywhere, "NODE_RANK": str(rank), "LOCAL_ADDR": addresses[rank]}
            )
            for rank in ranks
        ]
        _, others = ray.wait(runs)
        if others:
            ray.wait(others, num_returns=len(others), timeout=ENDING)
        ray.get(runs)
    finally:
        remove_placement_group(group)  # which ends what still runs there


def main() -> None:
    ray.init()
    for number in range(ATTEMPTS):
        try:
            attempt(number)
            return
        except ray.exceptions.RayError as error:
            if number == ATTEMPTS - 1:
                raise
            print(f"attempt {number + 1} of {ATTEMPTS} failed: {error}", flush=True)
            time.sleep(30)


if __name__ == "__main__":
    main()
