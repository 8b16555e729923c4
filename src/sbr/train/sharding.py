"""Weights in parts on the processes (FSDP2, `torch.distributed.fsdp.fully_shard`).

Each block of the vision tower and each layer of the text model is a unit: its weights are gathered for its forward and
backward pass and freed after each.  What is left (embedding, head, norms, merger) is the outermost unit, the `Policy`,
because the head runs once a chunk of tokens and processes differ in their chunks.  Gradients are summed into parts
after every microbatch, so no process ever holds all of them.

"full" cuts over all processes.  "hybrid" cuts inside a node and keeps a copy on each, so only gradients travel between.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any, Literal

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import distributed, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict, set_model_state_dict
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from sbr.config.training import Sharding
from sbr.model.families import VisionLanguageModel
from sbr.train.trainer import Policy

Mode = Literal["none", "full", "hybrid"]
META = torch.device("meta")
ROOM = 0.5
"""Share of a device's memory that "auto" lets the state of training take before it cuts it; the rest is for activations
and rollouts."""

logger = logging.getLogger(__name__)


def choose(wanted: Sharding, structure: Callable[[], nn.Module], copies: int, accelerator: Accelerator) -> Mode:
    """Return what "auto" means here; the main process decides.  All processes call it.

    `structure` makes the policy, without weights; `copies` says how many more of it are held (the reference).
    """
    if not distributed.is_initialized():
        return "none"  # one process has nobody to share with
    if wanted != "auto":
        return wanted
    found: list[Any] = ["none"]
    if accelerator.is_main_process and accelerator.num_processes > 1:
        needed, room = state_bytes(structure(), copies), ROOM * memory_of_process(accelerator.device)
        if needed > room:
            found = ["full" if local_processes() == accelerator.num_processes else "hybrid"]
        logger.info(
            'train.sharding "auto" is "%s": the state of training takes %.1f GB, and a process may give it %.1f GB',
            *(found[0], needed / 1e9, room / 1e9),
        )
    broadcast_object_list(found)
    return found[0]


def state_bytes(policy: nn.Module, copies: int) -> int:
    """Weights, gradients, two float32 moments, and `copies` of all weights, on one process that holds everything."""
    weights = list(policy.parameters())
    trained = sum(weight.numel() * (weight.itemsize + 8) for weight in weights if weight.requires_grad)
    return trained + (1 + copies) * sum(weight.numel() * weight.itemsize for weight in weights)


def memory_of_process(device: torch.device) -> int:
    """Bytes that one of the processes of this machine may take."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // local_processes()


def local_processes() -> int:
    """Processes on this node, as the launcher says."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", os.environ.get("WORLD_SIZE", "1")))


def make_mesh(mode: Literal["full", "hybrid"], accelerator: Accelerator) -> DeviceMesh:
    """(processes,), or (nodes, processes of a node)."""
    kind, processes, local = accelerator.device.type, accelerator.num_processes, local_processes()
    if mode == "full":
        return init_device_mesh(kind, (processes,), mesh_dim_names=("shard",))
    return init_device_mesh(kind, (processes // local, local), mesh_dim_names=("replicate", "shard"))


def loader(mode: Mode, accelerator: Accelerator) -> Callable[[Callable[[torch.device], Policy]], Policy]:
    """How a policy is loaded: given how it is made on a device, returns it on this process, whole or in parts."""
    if mode == "none":
        return lambda make: make(accelerator.device)
    mesh = make_mesh(mode, accelerator)
    return lambda make: load_sharded(make, mesh, accelerator)


def load_sharded(make: Callable[[torch.device], Policy], mesh: DeviceMesh, accelerator: Accelerator) -> Policy:
    """The policy that `make` gives, in parts.  All processes call it.

    Weights are read once, by the main process, which needs room for them in its host memory; the others make the
    structure only and are sent their parts, one weight after the other.
    """
    weights = make(torch.device("cpu")).model.state_dict() if accelerator.is_main_process else {}
    policy = make(META)
    shard(policy, mesh)
    device = accelerator.device
    policy._apply(lambda part: torch.empty_like(part, device=device) if part.is_meta else part.to(device))
    set_model_state_dict(
        policy.model, weights, options=StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
    )
    return policy


def shard(policy: Policy, mesh: DeviceMesh) -> None:
    """Cut all weights of `policy`, in place.

    Every unit, the outermost too, frees its weights after the forward pass.  By default the outermost would keep them,
    and a pass without gradient would leave it with weights that no later update reaches.
    """
    core = policy.model.model
    for unit in (*core.visual.blocks, *core.language_model.layers, policy):
        fully_shard(unit, mesh=mesh, reshard_after_forward=True)


def is_sharded(model: nn.Module) -> bool:
    return any(isinstance(weight, DTensor) for weight in model.parameters())


def gathered_state(model: VisionLanguageModel, frozen: bool) -> dict[str, torch.Tensor]:
    """Weights, also `frozen` ones or not, whole in the host memory of the main process; nothing on the others.

    All processes call it.
    """
    options = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=not frozen)
    found: Any = get_model_state_dict(model, options=options)
    return found
