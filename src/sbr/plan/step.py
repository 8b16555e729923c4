"""One training step of a recipe on one process, run on tensors without content: the functions of training themselves.

Of a step's equal parts one is run: one microbatch, with gradients there already when others came before it, and one
step of decoding with full caches.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from sbr.algo.algorithm import Algorithm
from sbr.config.recipes import GrpoRecipe, TrainRecipe
from sbr.model.modes import evaluating
from sbr.plan.inputs import make_prompt, text_token
from sbr.plan.ledger import ATEN, FAKE, MADE_EMPTY, Ledger
from sbr.plan.stand_in import Cluster, StandIn, algorithm_of, asked, make_trainer, moments, process_group, sharding_of
from sbr.rollout.generate import PREFILL_PROMPTS, draw, next_logits, prefill
from sbr.rollout.sampling import Sampling, uniforms
from sbr.train.ema import trained
from sbr.train.grpo.update import make_microbatches, update
from sbr.train.sft.loop import learn_responses
from sbr.train.sharding import Mode
from sbr.train.trainer import Trainer
from sbr.types import Completion, Prompt, RolloutGroup

PARTS = (
    *("weights", "gradients", "optimizer", "reference", "average", "buckets", "gathered", "twin", "rounded"),
    *("activations", "caches", "logits", "sampler"),
)
"""In the order of tables; docs/performance.md says what each is."""

GATHERING = ("c10d.", "fsdp.", "_c10d_functional.")
"""Operations whose results are buffers of what processes exchange, as are those of `MADE_EMPTY` where FSDP2 works."""


@dataclass(frozen=True)
class Assumed:
    """What a recipe does not say."""

    text_tokens: int
    """Of a prompt, beside those of its pictures."""
    response_tokens: int
    """Of every completion, or response to learn."""
    responses: int
    """To one prompt."""


@dataclass(frozen=True)
class Phase:
    """Bytes by part when the phase takes most, and operations for one prompt."""

    parts: dict[str, int]
    operations: float

    @property
    def peak(self) -> int:
        return sum(self.parts.values())


@dataclass(frozen=True)
class StepCost:
    mode: Mode
    prompt_tokens: int
    trained: int
    """Numbers that are trained, of the whole model."""
    weights: int
    """Numbers of the whole model."""
    phases: dict[str, Phase]
    """prefill and decoding (the rollout of GRPO; of sampler vllm, rollout), reference (whatever is compared with the
    policy), update."""
    decoding_bytes: float
    """Read in all steps of decoding, for one prompt: weights and caches.  0 in SFT."""


class _Names:
    """Which part a new tensor belongs to."""

    def __init__(self) -> None:
        self.filling = False
        """Whether the twin is given its weights."""
        self.backward = False
        self.vocabulary = 0
        self.shapes: set[tuple[int, ...]] = set()
        """Of all matrices of weights."""
        self.sharded = False

    def know(self, trainer: Trainer, mode: Mode) -> None:
        self.sharded = mode != "none"
        self.shapes = {tuple(weight.shape) for weight in trainer.model.parameters() if weight.ndim > 1}
        self.vocabulary = trainer.model.lm_head.out_features

    def __call__(self, func: Any, tensor: Tensor) -> str:
        shape = tuple(tensor.shape)
        if self.filling:
            return "twin"
        if self.sharded and (func in MADE_EMPTY or str(func).startswith(GATHERING)):
            return "gathered"
        if shape in self.shapes:
            if func is ATEN._to_copy.default and tensor.dtype in (torch.bfloat16, torch.float16):
                return "rounded"
            if self.backward:
                return "gathered" if self.sharded else "gradients"
        return "logits" if shape[-1:] == (self.vocabulary,) else "activations"


def step_cost(recipe: TrainRecipe, cluster: Cluster, assumed: Assumed) -> StepCost:
    """Raises ConfigError and CheckpointError as the run would."""
    algorithm = algorithm_of(recipe)
    mode = sharding_of(recipe, cluster)
    names = _Names()

    def backward(loss: Tensor) -> None:
        names.backward = True
        loss.backward()
        names.backward = False

    accelerator = StandIn(cluster, recipe.model.dtype, backward)
    with process_group(cluster, mode) as cut:
        temperature = recipe.rollout.temperature if isinstance(recipe, GrpoRecipe) else 1.0
        trainer = make_trainer(recipe, algorithm, temperature, accelerator, mode, cut)
        names.know(trainer, mode)
        with Ledger(names) as ledger:
            return _Step(recipe, algorithm, cluster, assumed, mode, trainer, names, ledger).cost()


@dataclass
class _Step:
    recipe: TrainRecipe
    algorithm: Algorithm | None
    cluster: Cluster
    assumed: Assumed
    mode: Mode
    trainer: Trainer
    names: _Names
    ledger: Ledger
    phases: dict[str, Phase] = field(default_factory=dict)
    decoding_bytes: float = 0.0

    def __post_init__(self) -> None:
        train, responses = self.recipe.train, self.assumed.responses
        self.prompts = train.prompts_per_step // self.cluster.gpus
        """Of a step, on this process."""
        self.size = min(train.prompts_per_microbatch, self.prompts)
        self.rows = min(train.completions_per_microbatch or responses, responses)
        """Of a prompt in a microbatch."""
        self.passes = math.ceil(self.prompts / self.size) * math.ceil(responses / self.rows)
        """Microbatches of an update."""

    def cost(self) -> StepCost:
        prompt = make_prompt(self.trainer.model, self.recipe.frames, self.assumed.text_tokens)
        self._state()
        if isinstance(self.recipe, GrpoRecipe):
            match self.recipe.rollout.sampler:
                case "native":
                    self._rollout(self.recipe, prompt)
                case "vllm":
                    self._served_rollout(self.recipe)
            self._grpo(self.recipe, prompt)
        else:
            self._sft(prompt)
        weights = list(self.trainer.model.parameters())
        return StepCost(
            mode=self.mode,
            prompt_tokens=len(prompt),
            trained=sum(weight.numel() for weight in weights if weight.requires_grad),
            weights=sum(weight.numel() for weight in weights),
            phases=self.phases,
            decoding_bytes=self.decoding_bytes,
        )

    def _state(self) -> None:
        """What is there all the time."""
        trainer, add = self.trainer, self.ledger.add
        add("weights", trainer.model.parameters())
        if trainer.reference is not None and self.recipe.lora is None:
            with trainer.reference() as policy:
                add("reference", policy.parameters())
        if trainer.average is not None:
            add("average", trainer.average.averages.values())
        self.kept = moments(trainer.model, self.recipe.train.optimizer)
        add("optimizer", self.kept)
        if self.mode == "none" and self.cluster.gpus > 1:
            with FAKE:  # DistributedDataParallel's, for what is exchanged
                self.buckets = [torch.empty_like(weight) for weight in trained(trainer.model).values()]
            add("buckets", self.buckets)

    @contextmanager
    def _phase(self, name: str, share: float) -> Iterator[None]:
        """`share`: how often the part that is run inside is run for one prompt."""
        self.ledger.restart()
        yield
        parts = {part: self.ledger.peak[part] for part in PARTS if self.ledger.peak[part]}
        self.phases[name] = Phase(parts, self.ledger.operations * share)

    def _rollout(self, recipe: GrpoRecipe, prompt: Prompt) -> None:
        """All prompts of the process are asked together."""
        trainer, share, size = self.trainer, 1 / self.prompts, self.assumed.responses
        with torch.no_grad(), ExitStack() as stack:
            with self._phase("prefill", share):
                self.names.filling = trainer.twin is not None
                model = stack.enter_context(asked(trainer))
                self.names.filling = False
                stack.enter_context(trainer.accelerator.autocast())
                stack.enter_context(evaluating(model))
                steps, static = self.assumed.response_tokens, recipe.rollout.compile or recipe.rollout.graphs
                found = prefill(model, [prompt] * self.prompts, size, steps, static, PREFILL_PROMPTS)
                cache, logits, positions = found
                del found
            kept = [*cache.prompt_keys, *cache.prompt_values, *cache.keys, *cache.values]
            self.ledger.add("caches", kept)
            with self._phase("decoding", share * (steps - 1)):
                if steps > 1:
                    cache.length = steps - 2
                    cache.begin_step()
                    tokens = torch.full((len(positions),), text_token(model))
                    logits = next_logits(model, cache, tokens, positions)
                config = recipe.rollout
                sampling = Sampling(config.temperature, config.top_p, config.top_k, steps)
                drawn = uniforms(range(self.prompts), size, 1).flatten()
                draw(logits, drawn, torch.zeros(1, dtype=torch.long), sampling)
            read = [*model.model.language_model.parameters(), *model.lm_head.parameters(), *kept]
            once = {id(tensor): tensor.numel() * tensor.itemsize for tensor in read}
            self.decoding_bytes = sum(once.values()) * share * (steps - 1)

    def _served_rollout(self, recipe: GrpoRecipe) -> None:
        """The weights are whole on this process while a server, on the same GPU or elsewhere, takes them over."""
        if not recipe.rollout.vllm.urls:
            with FAKE:
                taken = torch.empty(int(recipe.rollout.vllm.gpu_memory * self.cluster.memory), dtype=torch.uint8)
            self.ledger.add("sampler", [taken])
        with torch.no_grad(), self._phase("rollout", 0.0):
            self.names.filling = True
            with asked(self.trainer):
                self.names.filling = False

    def _grpo(self, recipe: GrpoRecipe, prompt: Prompt) -> None:
        algorithm, trainer, tokens = self.algorithm, self.trainer, self.assumed.response_tokens
        assert algorithm is not None
        updates = recipe.algo.updates_per_rollout
        answer = Completion((text_token(trainer.model),) * tokens, (0.0,) * tokens, "", True)
        groups = [RolloutGroup(None, prompt, (answer,) * self.rows)] * self.size  # pyright: ignore[reportArgumentType]
        advantages_PG = torch.ones(self.size, self.rows)
        most = recipe.train.completions_per_microbatch and self.rows
        share = self.passes / self.prompts
        if trainer.reference is not None or updates > 1 or trainer.average is not None:
            with self._phase("reference", share):
                if trainer.average is not None:
                    with torch.no_grad(), trainer.average():
                        trainer.plain([prompt] * self.size, [[answer.token_ids] * self.rows] * self.size, 1.0)
                batches = make_microbatches(trainer, algorithm, groups, advantages_PG, self.size, updates, most)
        else:
            batches = make_microbatches(trainer, algorithm, groups, advantages_PG, self.size, updates, most)
        self._gradients()
        with self._phase("update", share * updates):
            update(trainer, algorithm, batches, recipe.train.max_grad_norm, 1)

    def _sft(self, prompt: Prompt) -> None:
        response = (text_token(self.trainer.model),) * self.assumed.response_tokens
        responses_P = [[response] * self.rows] * self.size
        most = self.recipe.train.completions_per_microbatch and self.rows
        self._gradients()
        with self._phase("update", self.passes / self.prompts):
            learn_responses(self.trainer, [prompt] * self.size, responses_P, self.size, most)

    def _gradients(self) -> None:
        """Those of the microbatches before the one that is run."""
        if self.passes > 1:
            for weight in trained(self.trainer.model).values():
                with FAKE:
                    weight.grad = torch.empty_like(weight)
                self.ledger.add("gradients", [weight.grad])
