"""Recipes: TOML files read into frozen pydantic models.  Defaults are the official setting of arXiv 2503.24376.

A recipe is a tree of sections; every stage receives only its own section.  `load_recipe` reads the file, applies
`--section.key value` overrides (parsed by tyro from the same models) and refuses unknown keys with a suggestion.
`write_resolved` saves what was really used beside the run.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import tyro
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sbr.errors import ConfigError

Source = Literal["seed_bench_r1", "egoplan", "egoplan2", "longvideobench"]
Level = Literal["L1", "L2", "L3", "val"]
"""Levels of all sources; which source has which: sbr.data.sources."""
Rule = Literal["official", "care", "strict"]
Control = Literal["none", "blind", "no_video"]
DType = Literal["float32", "bfloat16", "float16"]


class Section(BaseModel):
    """Base of all recipe sections: frozen, and unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelConfig(Section):
    path: str
    """Hugging Face folder or hub name; `sbr:mini` is the base model shipped with the package."""
    dtype: DType = "bfloat16"
    train_vision: bool = True
    """False freezes the vision tower."""
    gradient_checkpointing: bool = False


class LoraConfig(Section):
    """Train low-rank adapters only (LoRA, arXiv 2106.09685).  Without this section all weights are trained."""

    rank: int = Field(default=64, ge=1)
    alpha: int = Field(default=128, ge=1)
    """The product of the two matrices is scaled by alpha / rank."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Above 0 the policy that learns differs from the one that sampled, and from that of the old log-probabilities."""
    target_modules: tuple[str, ...] | None = None
    """Last parts of the names of linear layers, such as q_proj (None: all linear layers)."""
    vision: bool = False
    """Adapters in the vision tower too; needs model.train_vision."""


class DataConfig(Section):
    root: Path
    """Folder of the data, laid out as its source asks for (docs/formats.md)."""
    source: Source = "seed_bench_r1"
    """Whose files lie in `root`: the SEED-Bench-R1 release (L1, L2, L3), EgoPlan-Bench (L1, L2), EgoPlan-Bench2 (L3) or
    LongVideoBench (val)."""
    train_file: str = "training_6k.jsonl"
    """Of EgoPlan-Bench: EgoPlan_IT.json."""
    cot_file: str = "training_with_cot_6k.jsonl"
    """Chats with responses to learn, for SFT: a name lies in <root>/annotations, a path with a "/" lies where it says.
    Media paths in it are relative to `root`."""
    subtitles: bool = False
    """LongVideoBench only: show the frames as single pictures, twice the tokens, with the subtitles between them."""
    limit: int | None = Field(default=None, ge=1)
    """Use only the first rows of the file (None: all)."""
    seed: int = 0
    """Seed of drawing three negatives and shuffling the options of a training row."""
    cache: Literal["off", "auto", "on"] = "auto"
    """Frames kept by `sbr data cache`.  auto: use what is there and replace what is damaged or outdated; on: also keep
    what had to be decoded.  The frames are the same."""
    cache_dir: Path | None = None
    """Where they are kept (None: <root>/.cache/sbr_frames)."""


class FramesConfig(Section):
    """Official sampling: facts in docs/faithfulness.md, section "Frames"."""

    fps: float = Field(default=2.0, gt=0)
    min_frames: int = Field(default=4, ge=2)
    max_frames: int = Field(default=16, ge=2)
    height: int = Field(default=256, ge=28)
    width: int = Field(default=256, ge=28)


class PromptConfig(Section):
    max_tokens: int = Field(default=16384, ge=1)
    """A longer prompt is an error; media tokens are never cut."""


class RolloutConfig(Section):
    group_size: int = Field(default=8, ge=1)
    temperature: float = Field(default=1.0, gt=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    top_k: int = Field(default=0, ge=0)
    """0 keeps the whole vocabulary."""
    max_new_tokens: int = Field(default=256, ge=1)
    compile: bool = False
    """Run the decoding steps through torch.compile with static shapes: for GPUs and weights in 16 bits (float32 weights
    would be converted in every step).  The first steps take a minute more."""


class RewardConfig(Section):
    """The reward is the sum of weight * part; every part is logged, whatever its weight."""

    rule: Rule = "official"
    accuracy_weight: float = 1.0
    format_weight: float = 0.0
    consistency_weight: float = 0.0
    """1 when the reasoning ends at the chosen option, 0 when it contradicts it, 0.5 when a rule cannot tell."""
    length_weight: float = 0.0
    """0 for a short answer, down to -1 at rollout.max_new_tokens (DAPO's soft overlong punishment)."""
    length_share: float = Field(default=0.2, gt=0, le=1)
    """The part of rollout.max_new_tokens over which the length reward falls."""
    noise: float = Field(default=0.0, ge=0, le=1)
    """Share of training questions whose gold letter is replaced by another one, to study robustness."""
    noise_seed: int = 0
    """Which questions those are; they do not depend on train.seed."""


AlgoName = Literal["grpo", "dr_grpo", "dapo", "gspo", "reg_grpo", "grpo_care"]

ALGO_DEFAULTS: dict[AlgoName, dict[str, float]] = {
    "grpo": {"beta": 0.1, "clip_low": 0.2, "clip_high": 0.2, "advantage_eps": 1e-4},
    "dr_grpo": {"beta": 0.0, "clip_low": 0.2, "clip_high": 0.2},
    "dapo": {
        "clip_low": 0.2,
        "clip_high": 0.28,
        "advantage_eps": 1e-4,
        "extra_rounds": 9,
        "overlong_weight": 0.5,
    },
    "gspo": {"beta": 0.0, "clip_low": 3e-4, "clip_high": 4e-4, "advantage_eps": 1e-4},
    "reg_grpo": {"beta": 0.1, "advantage_eps": 1e-4},
    "grpo_care": {
        "clip_low": 0.2,
        "clip_high": 0.2,
        "advantage_eps": 1e-4,
        "bonus": 0.5,
        "margin": 0.0,
        "likelihood_cap": 0.95,
        "ema_decay": 0.995,
        "ema_every": 10,
    },
}
"""Which keys an algorithm uses, each with its default; sources: docs/algorithms.md."""


class AlgoConfig(Section):
    """A key that is not set takes the default of its algorithm; one that its algorithm does not use is an error.

    Another `--algo.name` on the command line starts from that algorithm's defaults, whatever the recipe sets here.
    """

    name: AlgoName = "grpo"
    beta: float | None = Field(default=None, ge=0)
    """Weight of the KL term; 0 loads no reference model (grpo, reg_grpo 0.1; dr_grpo, gspo 0)."""
    clip_low: float | None = Field(default=None, ge=0)
    """The ratio of policies counts down to 1 - clip_low (0.2; gspo 0.0003; not reg_grpo)."""
    clip_high: float | None = Field(default=None, ge=0)
    """... and up to 1 + clip_high (0.2; dapo 0.28; gspo 0.0004; not reg_grpo)."""
    advantage_eps: float | None = Field(default=None, gt=0)
    """Added to the standard deviation that rewards are divided by (1e-4; not dr_grpo)."""
    extra_rounds: int | None = Field(default=None, ge=0)
    """dapo: rollout rounds in which other prompts take the place of groups without signal, at most (9)."""
    overlong_weight: float | None = Field(default=None, ge=0)
    """dapo: weight of its soft overlong punishment, beside that of reward.length_weight (0.5: DAPO's right and wrong
    answers are worth +1 and -1, here 1 and 0, so half its weight gives the same advantages)."""
    bonus: float | None = Field(default=None, ge=0)
    """grpo_care: reward of a right answer that its reasoning makes likely (0.5)."""
    margin: float | None = Field(default=None, ge=0)
    """grpo_care: how far below the mean of its group's right answers a likelihood may be (0)."""
    likelihood_cap: float | None = Field(default=None, gt=0, le=1)
    """grpo_care: likelihoods above count as this (0.95)."""
    ema_decay: float | None = Field(default=None, ge=0, lt=1)
    """grpo_care: weight of the old average when the reference follows the policy (0.995)."""
    ema_every: int | None = Field(default=None, ge=1)
    """grpo_care: training steps between two such updates (10)."""
    updates_per_rollout: int = Field(default=1, ge=1)
    """Optimizer updates on the same completions; a training step is one rollout with all its updates."""

    @model_validator(mode="after")
    def _fill(self) -> AlgoConfig:
        used = ALGO_DEFAULTS[self.name]
        for key in type(self).model_fields:
            if key in used and getattr(self, key) is None:
                object.__setattr__(self, key, used[key])  # the model is frozen for everyone else
            elif key not in used and key not in ("name", "updates_per_rollout") and getattr(self, key) is not None:
                users = ", ".join(name for name, keys in ALGO_DEFAULTS.items() if key in keys)
                raise ValueError(f"{key} is not used by {self.name} but by {users}; remove it, or change algo.name")
        return self


class TrainConfig(Section):
    prompts_per_step: int = Field(default=8, ge=1)
    """Prompts of one optimizer step, over all processes."""
    prompts_per_microbatch: int = Field(default=1, ge=1)
    """Prompts of one forward/backward pass of one process; gradients accumulate up to `prompts_per_step`."""
    epochs: int = Field(default=1, ge=1)
    max_steps: int | None = Field(default=None, ge=1)
    """Take so many steps, over as many epochs as needed (None: `epochs` decides).  The schedule spans these steps."""
    optimizer: Literal["adamw", "adamw_8bit"] = "adamw"
    """adamw_8bit keeps the moments of matrices in 8 bits (torchao): 10 instead of 16 bytes a trained parameter.  It
    compiles its step, so a CPU needs a C++ compiler."""
    weights: Literal["float32", "bfloat16"] = "float32"
    """bfloat16 trains the weights in 16 bits: 6 bytes a parameter.  Needs adamw_8bit, which then rounds stochastically,
    so that steps below the resolution of a weight are kept on average.  Moments of biases and norms are bfloat16 then,
    plainly rounded.  One process only."""
    learning_rate: float = Field(default=1e-6, gt=0)
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    warmup_ratio: float = Field(default=0.0, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0)
    adam_beta1: float = Field(default=0.9, ge=0, lt=1)
    adam_beta2: float = Field(default=0.999, ge=0, lt=1)
    max_grad_norm: float = Field(default=1.0, gt=0)
    seed: int = 0
    save_every: int = Field(default=100, ge=1)
    """Optimizer steps between checkpoints; the last step is always saved."""
    keep_checkpoints: int = Field(default=2, ge=1)


class SftTrainConfig(TrainConfig):
    """Official sft configuration: 8 GPUs x 1 x 16 rows a step, learning rate 2e-5, cosine with warm-up over a tenth."""

    prompts_per_step: int = Field(default=128, ge=1)
    """Prompts of one optimizer step, over all processes, each with all its responses."""
    learning_rate: float = Field(default=2e-5, gt=0)
    schedule: Literal["linear", "cosine", "constant"] = "cosine"
    warmup_ratio: float = Field(default=0.1, ge=0, lt=1)


class ValidationConfig(Section):
    """Looks at the model while SFT goes on.  They change nothing of what is learned, apart from the rows held out."""

    every: int = Field(default=10, ge=1)
    """Optimizer steps between looks; the last step is always looked at."""
    share: float = Field(default=0.0, ge=0, lt=1)
    """Share of the questions whose responses are not trained on but measured: whole uncut videos, drawn with
    train.seed."""
    level: Level | None = None
    """Also the greedy accuracy on the first `questions` questions of this level (it is then no untouched test set)."""
    questions: int = Field(default=200, ge=1)
    max_new_tokens: int = Field(default=256, ge=1)
    """Longest answer, here and as the default of `sbr eval --run`."""
    rule: Rule = "official"
    batch_size: int = Field(default=8, ge=1)
    """Questions looked at together, on each process."""


class ColdStartConfig(Section):
    """SFT before GRPO, on data.cot_file into <output_dir>/cold_start; GRPO starts from its final model, which is also
    the reference of the KL term."""

    train: SftTrainConfig = SftTrainConfig()
    validation: ValidationConfig = ValidationConfig()


class TrackConfig(Section):
    trackers: tuple[str, ...] = ()
    """accelerate trackers ("tensorboard", "wandb", "trackio"); metrics.jsonl is always written."""


class LogConfig(TrackConfig):
    completions_every: int = Field(default=10, ge=1)
    """Write the completions of every n-th step to completions.jsonl."""


class EvalConfig(Section):
    levels: tuple[Level, ...] = ()
    """Which levels, in which order (none named: all of data.source)."""
    protocol: Literal["greedy", "paper"] = "greedy"
    """greedy: one answer by argmax.  paper: sampled at temperature 1 (official infer.py), `samples` times."""
    samples: int = Field(default=1, ge=1)
    max_new_tokens: int = Field(default=256, ge=1)
    rule: Rule = "official"
    batch_size: int = Field(default=8, ge=1)
    """Questions answered at once."""
    compile: bool = False
    """Run the decoding steps through torch.compile with static shapes: for GPUs; the start takes a minute more."""
    limit: int | None = Field(default=None, ge=1)
    """At most so many questions a level."""
    control: Control = "none"
    """blind: ask without video and image.  no_video: with the image only.  The words of the question stay."""
    shuffle_options: bool = False
    """Ask every question once for each rotation of its options."""
    seed: int = 0


class EngineConfig(Section):
    """Where answers come from; `model.path` is then the model's name at the server."""

    kind: Literal["native", "vllm", "endpoint"] = "native"
    """native: the model in this process.  vllm: vLLM in this process.  endpoint: an OpenAI-compatible server."""
    url: str | None = None
    """Of the endpoint, such as http://localhost:8000/v1, without a password: it is saved with the answers."""
    api_key_env: str = "OPENAI_API_KEY"
    """Environment variable that holds the endpoint's key; unset means none."""
    concurrency: int = Field(default=16, ge=1)
    """Requests under way at the same time."""
    retries: int = Field(default=5, ge=0)
    """How often a request is repeated: after timeouts, lost connections and the statuses 408, 409, 429 and 5xx."""
    timeout: float = Field(default=600.0, gt=0)
    """Seconds without an answer after which a request has failed."""
    media: Literal["frames", "video_jpeg"] = "frames"
    """frames: every frame is a picture (PNG, lossless).  video_jpeg: frames as one video of JPEGs, as vLLM reads it."""
    extra: dict[str, Any] = Field(default_factory=dict)
    """Further fields of every request to the endpoint, such as top_k or chat_template_kwargs; in a recipe file only."""
    tensor_parallel: int = Field(default=1, ge=1)
    """Of vllm: GPUs that share the weights."""
    gpu_memory: float = Field(default=0.9, gt=0, le=1)
    """Of vllm: share of a GPU's memory it may use."""
    eager: bool = False
    """Of vllm: no compilation and no CUDA graphs; starts faster, answers slower."""

    @model_validator(mode="after")
    def _url_of_endpoint(self) -> EngineConfig:
        if self.kind == "endpoint" and self.url is None:
            raise ValueError("kind endpoint needs url, the address of the server, such as http://localhost:8000/v1")
        if self.kind != "endpoint" and self.url is not None:
            raise ValueError(f"url is for kind endpoint, and kind is {self.kind}")
        # It is saved beside the answers and shown in messages; this one does not show it either.
        if self.url is not None and "@" in self.url.partition("//")[2].partition("/")[0]:
            raise ValueError("url holds a user or password; leave out what stands before the @ and use api_key_env")
        return self


class DistillConfig(Section):
    """Which answers are asked for, and which are kept.  What only filters may be changed for a finished folder: nothing
    is asked again."""

    samples: int = Field(default=8, ge=1)
    """Answers asked for, a question."""
    temperature: float = Field(default=1.0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    top_k: int = Field(default=0, ge=0)
    """0 keeps the whole vocabulary."""
    max_new_tokens: int = Field(default=256, ge=1)
    batch_size: int = Field(default=8, ge=1)
    """Questions asked at once, by the engines native and vllm."""
    seed: int = 0
    rule: Rule = "official"
    """How answers are read (filter)."""
    consistent: bool = False
    """Keep an answer only when its reasoning ends at the option it chooses (filter; sbr.reward.consistency is 1)."""
    min_words: int = Field(default=0, ge=0)
    """Fewest words of a reasoning (filter)."""
    max_words: int | None = Field(default=None, ge=1)
    """Most words of a reasoning (filter)."""
    distinct: bool = True
    """Keep one of several answers to a question that read the same (filter)."""
    keep: int | None = Field(default=None, ge=1)
    """Keep at most so many answers to a question, those asked for first (filter; None: all)."""


class TrainRecipe(Section):
    """What every training run is made of.  A recipe may have more in a section than this says: it is frozen, so the
    type checker's objection to narrower fields does not hold."""

    model: ModelConfig
    data: DataConfig
    output_dir: Path
    frames: FramesConfig = FramesConfig()
    prompt: PromptConfig = PromptConfig()
    lora: LoraConfig | None = None
    train: TrainConfig = TrainConfig()
    log: TrackConfig = TrackConfig()


class GrpoRecipe(TrainRecipe):
    """`sbr grpo RECIPE`"""

    rollout: RolloutConfig = RolloutConfig()
    reward: RewardConfig = RewardConfig()
    algo: AlgoConfig = AlgoConfig()
    log: LogConfig = LogConfig()  # pyright: ignore[reportIncompatibleVariableOverride]
    cold_start: ColdStartConfig | None = None


class SftRecipe(TrainRecipe):
    """`sbr sft RECIPE`"""

    train: SftTrainConfig = SftTrainConfig()  # pyright: ignore[reportIncompatibleVariableOverride]
    validation: ValidationConfig = ValidationConfig()


class EvalRecipe(Section):
    """`sbr eval RECIPE`"""

    model: ModelConfig
    data: DataConfig
    output_dir: Path
    frames: FramesConfig = FramesConfig()
    prompt: PromptConfig = PromptConfig()
    engine: EngineConfig = EngineConfig()
    eval: EvalConfig = EvalConfig()


class DistillRecipe(Section):
    """`sbr distill RECIPE`"""

    model: ModelConfig
    """The teacher."""
    data: DataConfig
    output_dir: Path
    frames: FramesConfig = FramesConfig()
    prompt: PromptConfig = PromptConfig()
    engine: EngineConfig = EngineConfig()
    distill: DistillConfig = DistillConfig()


RecipeT = TypeVar("RecipeT", bound=Section)


def load_recipe(kind: type[RecipeT], file: Path, overrides: Sequence[str] = ()) -> RecipeT:
    """Read `file` as a `kind`; `overrides` are command-line words such as ["--train.seed", "3"], which win.

    Raises ConfigError with the file, the key, what is allowed and, for an unknown key, the nearest known one.  Wrong
    overrides end the program through tyro's own message (exit status 2); "--help" lists every key with its default.
    """
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"recipe {file} does not exist; recipes that ship with the project lie in recipes/") from None
    except IsADirectoryError:
        raise ConfigError(f"recipe {file} is a folder; give the .toml file itself") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not valid TOML: {error}") from None
    recipe = validate(kind, values, source=str(file))
    return override(recipe, overrides, prog=f"{verb(kind)} {file}") if overrides else recipe


def validate(kind: type[RecipeT], values: Mapping[str, Any], source: str) -> RecipeT:
    """Check a tree of plain values against `kind`; raises ConfigError naming `source` and every wrong key."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        lines = [_explain(kind, problem) for problem in error.errors()]
        raise ConfigError(f"{source}: " + "\n  ".join(lines)) from None


def override(recipe: RecipeT, words: Sequence[str], prog: str) -> RecipeT:
    """Apply command-line words to a valid recipe.  A word of an optional section (--lora.rank 8) switches it on."""
    config = (tyro.conf.AvoidSubcommands,)  # an optional section is no choice between commands
    try:
        default = _with_algorithm(_with_sections(recipe, words), words)
        return tyro.cli(
            type(recipe), default=default, args=list(words), prog=prog, description=recipe.__doc__, config=config
        )
    except ValidationError as error:
        lines = [_explain(type(recipe), problem) for problem in error.errors()]
        raise ConfigError(f"{prog}: " + "\n  ".join(lines)) from None


def write_resolved(recipe: Section, file: Path) -> None:
    """Write the recipe as used, defaults included, as JSON; `read_resolved` reads it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.tmp")
    draft.write_text(recipe.model_dump_json(indent=2) + "\n", encoding="utf-8")
    draft.replace(file)


def read_resolved(kind: type[RecipeT], file: Path) -> RecipeT:
    return validate(kind, json.loads(file.read_text(encoding="utf-8")), source=str(file))


def with_defaults(kind: type[Section], saved: Mapping[str, Any]) -> Mapping[str, Any]:
    """A resolved recipe as an earlier version wrote it, with the defaults of keys that are new since then.

    What is no valid recipe any more is returned as it is; a comparison then names the keys.
    """
    try:
        return kind.model_validate(saved).model_dump(mode="json")
    except ValidationError:
        return saved


def known_keys(kind: type[Section], prefix: str = "") -> list[str]:
    """All dotted keys of a recipe, sections included, e.g. "train", "train.learning_rate"."""
    keys: list[str] = []
    for name, field in kind.model_fields.items():
        keys.append(prefix + name)
        if section := _section(field.annotation):
            keys += known_keys(section, f"{prefix}{name}.")
    return keys


def verb(kind: type[Section]) -> str:
    """The command a recipe belongs to, e.g. "sbr mini pretrain": its docstring is "`sbr mini pretrain RECIPE`"."""
    return (kind.__doc__ or "").strip().strip("`").removesuffix(" RECIPE")


def _with_sections(recipe: RecipeT, words: Sequence[str]) -> RecipeT:
    """`recipe` with the defaults of every absent section that `words` name; --help shows them all."""
    named = {
        name: section()
        for name, field in type(recipe).model_fields.items()
        if getattr(recipe, name) is None and (section := _section(field.annotation))
        if any(word.startswith(f"--{name}.") or word in ("-h", "--help") for word in words)
    }
    return recipe.model_copy(update=named)


def _with_algorithm(recipe: RecipeT, words: Sequence[str]) -> RecipeT:
    """`recipe` with the algorithm that `words` name.  Its keys start from its own defaults: those in the recipe were
    chosen for the recipe's algorithm, and a clip range of GRPO would be wrong for GSPO."""
    algo = getattr(recipe, "algo", None)
    joined = " ".join(words).replace("--algo.name=", "--algo.name ").split()
    names = [name for word, name in pairwise(joined) if word == "--algo.name"]
    if not isinstance(algo, AlgoConfig) or not names or names[-1] == algo.name or names[-1] not in ALGO_DEFAULTS:
        return recipe
    fresh = AlgoConfig(name=names[-1], updates_per_rollout=algo.updates_per_rollout)
    return recipe.model_copy(update={"algo": fresh})


def _section(annotation: Any) -> type[Section] | None:
    """The section class in a field's type: `DataConfig`, or `LoraConfig | None`."""
    parts = (annotation, *get_args(annotation))
    return next((part for part in parts if isinstance(part, type) and issubclass(part, Section)), None)


def _explain(kind: type[Section], problem: Any) -> str:
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key, known_keys(kind), n=1, cutoff=0.4)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"unknown key {key!r}{hint} (`{verb(kind)} RECIPE --help` lists all keys)"
    if problem["type"] == "missing":
        return f"{key} is missing; set it in the recipe"
    if problem["type"] == "value_error":  # of a section as a whole
        return f"{key}.{problem['ctx']['error']}"
    return f"{key} is {problem['input']!r}: {problem['msg']}"
