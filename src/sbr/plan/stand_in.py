"""What a run works with, without content: policy, reference and twin of fake weights, on one of several processes.

Sharding is the real one (`sbr.train.sharding.shard`, FSDP2), over torch's fake process group: collective calls return
at once, and buffers and gathered weights come and go as on a GPU.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from accelerate import DistributedType
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh

from sbr.algo.algorithm import Algorithm
from sbr.algo.select import select
from sbr.config.recipes import GrpoRecipe, TrainRecipe
from sbr.model import lora
from sbr.model.load import load_model
from sbr.model.twin import Twin
from sbr.plan.ledger import FAKE, hollow
from sbr.train import sharding
from sbr.train.ema import AverageWeights, trained
from sbr.train.grpo.loop import refuse_cut, refuse_recipe
from sbr.train.refusals import check_launch, check_recipe, check_sharding
from sbr.train.setup import asks_twin, start_of
from sbr.train.trainer import Policy, Trainer

CPU = torch.device("cpu")
EIGHT_BIT_BLOCK = 256
"""torchao: a scale for so many 8-bit moments; smaller or odd matrices are not cut into blocks."""
EIGHT_BIT_LEAST = 4096


@dataclass(frozen=True)
class Cluster:
    """Processes, one a GPU."""

    gpus: int = 1
    nodes: int = 1
    memory: int = 80 << 30
    """Bytes of a GPU."""


class StandIn:
    """What code of training asks an `accelerate.Accelerator`, of one process of a cluster."""

    device = CPU
    is_main_process = True

    def __init__(self, cluster: Cluster, dtype: str, backward: Callable[[Tensor], None]) -> None:
        self.num_processes = cluster.gpus
        self.distributed_type = DistributedType.MULTI_GPU if cluster.gpus > 1 else DistributedType.NO
        self.backward = backward
        self._dtype = getattr(torch, dtype)

    def autocast(self) -> AbstractContextManager[Any]:
        return nullcontext() if self._dtype == torch.float32 else torch.autocast("cpu", self._dtype)

    def no_sync(self, policy: nn.Module) -> AbstractContextManager[Any]:
        return nullcontext()

    def reduce(self, tensor: Tensor, kind: str) -> Tensor:
        return tensor


class IdleOptimizer:
    """Its step takes nothing that is not there before: on a GPU AdamW is fused, and torchao's is compiled."""

    def step(self) -> None:
        pass

    def zero_grad(self) -> None:
        pass


def check(recipe: TrainRecipe, cluster: Cluster) -> None:
    """Raise ConfigError for what the run would refuse, trackers apart: they are installed where it runs."""
    check_recipe(recipe.model_copy(update={"log": type(recipe.log)()}))
    accelerator: Any = StandIn(cluster, recipe.model.dtype, Tensor.backward)
    check_launch(recipe, accelerator)
    if isinstance(recipe, GrpoRecipe):
        refuse_recipe(recipe)
        refuse_cut(recipe, select(recipe.algo, recipe.rollout.max_new_tokens))


@contextmanager
def process_group(cluster: Cluster, mode: sharding.Mode) -> Iterator[Callable[[Policy], None]]:
    """Inside, a function that cuts a policy as process 0 of the cluster has it."""
    if mode == "none":
        yield lambda policy: None
        return
    from torch.testing._internal.distributed import fake_pg  # torch's own, for what has no other process

    os.environ.setdefault("TORCH_DISTRIBUTED_DEBUG", "OFF")
    distributed.init_process_group("fake", store=fake_pg.FakeStore(), rank=0, world_size=cluster.gpus)
    try:
        local = cluster.gpus // cluster.nodes
        shape, names = (
            ((cluster.gpus,), ("shard",)) if mode == "full" else ((cluster.nodes, local), ("replicate", "shard"))
        )
        mesh = init_device_mesh("cpu", shape, mesh_dim_names=names)
        yield lambda policy: sharding.shard(policy, mesh)
    finally:
        distributed.destroy_process_group()


def sharding_of(recipe: TrainRecipe, cluster: Cluster) -> sharding.Mode:
    """What `train.sharding` means on the cluster, by the rule of `sharding.choose`.  Raises ConfigError as a run."""
    wanted = recipe.train.sharding
    mode: sharding.Mode = "none"
    if cluster.gpus > 1 and wanted == "auto":
        if state_of_a_copy(recipe) > sharding.ROOM * cluster.memory:
            mode = "full" if cluster.nodes == 1 else "hybrid"
    elif cluster.gpus > 1 and wanted != "auto":
        mode = wanted
    accelerator: Any = StandIn(cluster, recipe.model.dtype, Tensor.backward)
    check_sharding(recipe, mode, accelerator)
    return mode


def state_of_a_copy(recipe: TrainRecipe) -> int:
    """Bytes of weights, gradients, moments in float32 and reference, of a process that holds everything."""
    return sharding.state_bytes(trained_model(recipe), copies_of_weights(recipe, algorithm_of(recipe)))


def algorithm_of(recipe: TrainRecipe) -> Algorithm | None:
    return select(recipe.algo, recipe.rollout.max_new_tokens) if isinstance(recipe, GrpoRecipe) else None


def copies_of_weights(recipe: TrainRecipe, algorithm: Algorithm | None) -> int:
    return int(algorithm is not None and algorithm.needs_reference and recipe.lora is None)


def trained_model(recipe: TrainRecipe) -> Any:
    """On the device "meta", as `sbr.train.setup` loads it."""
    model = load_model(start_of(recipe), sharding.META)
    if recipe.lora is not None:
        lora.add_adapter(model, recipe.lora, recipe.model.path, recipe.train.seed)
    return model


def make_trainer(
    recipe: TrainRecipe,
    algorithm: Algorithm | None,
    temperature: float,
    accelerator: StandIn,
    mode: sharding.Mode,
    cut: Callable[[Policy], None],
) -> Trainer:
    """As `sbr.train.setup.make_trainer`, without content; the optimizer is idle."""

    def filled(model: Any) -> Policy:
        policy = Policy(model, temperature, accelerator.autocast)
        cut(policy)
        fill(policy)
        return policy

    policy, reference = filled(trained_model(recipe)), None
    if algorithm is not None and algorithm.needs_reference:
        if recipe.lora is None:
            frozen = load_model(start_of(recipe), sharding.META).requires_grad_(False).eval()
            reference = partial(nullcontext, filled(frozen))
        else:
            reference = policy.without_adapters
    twin = None
    wanted = recipe.rollout.twin if isinstance(recipe, GrpoRecipe) else None
    if asks_twin(wanted, mode, recipe, "cuda"):
        rounding = getattr(torch, recipe.model.dtype) if recipe.model.dtype != "float32" else None
        twin = Twin(load_model(start_of(recipe), sharding.META), policy.model, CPU, rounding)
        fill(twin.model)
    kept = algorithm.average if algorithm else None
    average = AverageWeights(policy.model, kept) if kept else None
    return Trainer(
        cast(Any, accelerator), policy, reference, None, cast(Any, IdleOptimizer()), cast(Any, None), average, twin
    )


def fill(policy: nn.Module) -> None:
    """Fake weights in place of none."""
    if sharding.is_sharded(cast(Any, policy)):
        with FAKE:
            policy._apply(lambda part: torch.empty_like(part, device=CPU) if part.is_meta else part)
        return
    made: dict[int, nn.Parameter] = {}
    for module in policy.modules():
        for name, weight in module.named_parameters(recurse=False):
            if id(weight) not in made:  # tied ones stay tied
                made[id(weight)] = nn.Parameter(hollow(weight.shape, weight.dtype), requires_grad=weight.requires_grad)
            setattr(module, name, made[id(weight)])


@contextmanager
def asked(trainer: Trainer) -> Iterator[Any]:
    """`trainer.whole()`, whose twin takes fake weights and gives them back."""
    whole = trainer.whole()
    with FAKE:
        model = whole.__enter__()
    try:
        yield model
    finally:
        with FAKE:
            whole.__exit__(None, None, None)


def moments(policy: nn.Module, optimizer: str) -> list[Tensor]:
    """The two moments of every weight that is trained, on this process."""
    found: list[Tensor] = []
    for weight in trained(cast(Any, policy)).values():
        numbers = getattr(weight, "_local_tensor", weight).numel()
        blocks, rest = divmod(numbers, EIGHT_BIT_BLOCK)
        if optimizer == "adamw_8bit" and numbers >= EIGHT_BIT_LEAST and not rest:
            kinds = [(numbers, torch.uint8), (blocks, torch.float32)]
        else:
            kinds = [(numbers, torch.float32)]
        found += [hollow((size,), dtype) for size, dtype in kinds * 2]
    return found
