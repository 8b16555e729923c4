"""Early warnings: which step raises which, and what they tell to do."""

from dataclasses import replace
from pathlib import Path

import pytest

from sbr.config.inputs import DataConfig, ModelConfig
from sbr.config.recipes import GrpoRecipe
from sbr.train.grpo.alarms import findings
from sbr.train.grpo.metrics import GrpoMetrics

RECIPE = GrpoRecipe(model=ModelConfig(path="m"), data=DataConfig(root=Path("d")), output_dir=Path("runs/a"))
HEALTHY = GrpoMetrics(
    step=1,
    epoch=0.1,
    reward_mean=0.4,
    reward_std=0.4,
    accuracy=0.4,
    accuracy_rewarded=0.4,
    flipped_share=0.0,
    silent_groups=0.2,
    replaced_groups=0,
    silent_in_batch=0.2,
    rollout_rounds=1,
    bonus_mean=0.0,
    format_rate=0.95,
    consistency_rate=0.5,
    contradiction_rate=0.1,
    length_mean=0.0,
    echo_rate=0.0,
    tokens_mean=60.0,
    tokens_max=90,
    truncated_share=0.02,
    loss=0.0,
    kl=0.0,
    entropy=1.0,
    ratio_mean=1.0,
    clip_fraction=0.0,
    rollout_mismatch=0.0,
    grad_norm=1.0,
    learning_rate=1e-6,
    tokens_per_second=1.0,
    validation_accuracy={},
    seconds=1.0,
    seconds_frames=0.0,
    seconds_rollout=0.0,
    seconds_reward=0.0,
    seconds_reference=0.0,
    seconds_update=0.0,
    seconds_validation=0.0,
)


def test_a_healthy_step_is_silent():
    assert findings(HEALTHY, RECIPE) == ()
    assert findings(replace(HEALTHY, format_rate=0.5, truncated_share=0.5, echo_rate=0.5), RECIPE) == ()


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"format_rate": 0.12}, "format", ["only 12%", "--reward.format_weight"]),
        ({"truncated_share": 0.9}, "truncated", ["90%", "256 tokens", "--rollout.max_new_tokens"]),
        ({"silent_groups": 1.0}, "silent", ["mean reward is 0.40", "--rollout.group_size"]),
        ({"silent_groups": 1.0, "reward_mean": 0.0}, "silent", ["no answer was right"]),
        ({"echo_rate": 0.8}, "echo", ["80%", "--train.learning_rate"]),
    ],
)
def test_each_finding_says_what_to_do(change, kind, words):
    (finding,) = findings(replace(HEALTHY, **change), RECIPE)
    assert finding.kind == kind
    for word in ["step 1", "runs/a/completions.jsonl", *words]:
        assert word in finding.text


def test_a_start_cut_by_the_token_limit_raises_all_three():
    step = replace(HEALTHY, format_rate=0.0, truncated_share=1.0, silent_groups=1.0, reward_mean=0.0)
    assert {finding.kind for finding in findings(step, RECIPE)} == {"format", "truncated", "silent"}


def test_rollouts_that_disagree_with_the_training_pass_are_reported():
    (finding,) = findings(replace(HEALTHY, rollout_mismatch=0.3), RECIPE)
    assert finding.kind == "mismatch"
    assert "0.30 nats" in finding.text
    assert findings(replace(HEALTHY, rollout_mismatch=0.05), RECIPE) == ()
