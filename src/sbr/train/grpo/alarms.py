"""Early warnings: a run whose rewards say nothing should tell so in its first step, not after a night.

Seen in peers: a fine-tuned start whose answers were all cut by the token limit earned reward 0 for a whole run, and a
policy that shrank to `<think>A</think><answer>A</answer>` kept a perfect format rate.
"""

from __future__ import annotations

from dataclasses import dataclass

from sbr.config.recipes import GrpoRecipe
from sbr.train.grpo.metrics import GrpoMetrics

LIMIT = 0.5
MISMATCH = 0.1
"""Nats per token; float32 gives about 1e-6, bfloat16 about 1e-2."""


@dataclass(frozen=True, slots=True)
class Finding:
    kind: str
    """"format", "truncated", "silent", "echo" or "mismatch"; a warning is given when a kind appears, not every step."""
    text: str


def findings(metrics: GrpoMetrics, recipe: GrpoRecipe) -> tuple[Finding, ...]:
    """Return what is wrong with a step, each with what to do about it."""
    found = []
    look = f"look at {recipe.output_dir / 'completions.jsonl'}"
    if metrics.format_rate < LIMIT:
        found.append(
            Finding(
                "format",
                f"step {metrics.step}: only {metrics.format_rate:.0%} of the answers have the form "
                f"<think>...</think><answer>...</answer>, so most rewards are 0 whatever the model sees; {look}; start "
                "from a model that knows the form (fine-tune it first) or give the form a reward with "
                "--reward.format_weight 0.5",
            )
        )
    if metrics.truncated_share > LIMIT:
        found.append(
            Finding(
                "truncated",
                f"step {metrics.step}: {metrics.truncated_share:.0%} of the answers reached the limit of "
                f"{recipe.rollout.max_new_tokens} tokens before they ended; raise --rollout.max_new_tokens, or, when "
                f"they only repeat themselves, start from a better model or lower --rollout.temperature; {look}",
            )
        )
    if metrics.silent_groups == 1.0:
        why = "no answer was right" if metrics.reward_mean <= 0 else f"the mean reward is {metrics.reward_mean:.2f}"
        found.append(
            Finding(
                "silent",
                f"step {metrics.step}: in every group all rewards are equal ({why}), so it taught nothing; {look}; "
                "if it goes on, raise --rollout.group_size or --train.prompts_per_step, choose easier or harder "
                "questions, or check that the answers can be read (--reward.rule)",
            )
        )
    if metrics.echo_rate > LIMIT:
        found.append(
            Finding(
                "echo",
                f"step {metrics.step}: in {metrics.echo_rate:.0%} of the answers the reasoning is empty or only a "
                f"letter: it has collapsed or never started; {look}; lower --train.learning_rate, add a KL term "
                "(--algo.beta, where the algorithm has one) or go back to an earlier checkpoint",
            )
        )
    if metrics.rollout_mismatch > MISMATCH:
        found.append(
            Finding(
                "mismatch",
                f"step {metrics.step}: sampling and training disagree by {metrics.rollout_mismatch:.2f} nats per token "
                "about the same completions, so the gradient is not that of the policy that sampled; weigh the tokens "
                "(--algo.importance token), or compare with --model.dtype float32, and report it if the disagreement "
                "stays",
            )
        )
    return tuple(found)
