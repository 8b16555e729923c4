"""GrpoMetrics of two processes against values computed by hand."""

import math

import pytest

from sbr.algo.loss import LossMetrics
from sbr.train.grpo.metrics import BatchFigures, CompletionRecord, ProcessStep, combine
from sbr.train.journal import numbers
from sbr.train.learner import Done
from sbr.train.stopwatch import slowest
from sbr.train.validation import Seen


def record(slot, index, reward, tokens, **changes):
    values = {
        "format": 1.0,
        "echo": False,
        "truncated": False,
        "rewarded": "A",
        "consistency": 0.5,
        "length": 0.0,
        "round": 0,
        "replaced": False,
        "bonus": 0.0,
        **changes,
    }
    return CompletionRecord(
        step=3,
        slot=slot,
        index=index,
        sample_id=f"s{slot}",
        response="",
        extracted="A" if reward else "C",
        gold="A",
        consistency_reason="",
        reward=reward,
        accuracy=reward,
        reason="",
        tokens=tokens,
        **values,
    )


def batch(rows, tokens, value, kl, **weights):
    metrics = LossMetrics(rows, tokens, loss=value, kl=kl, ratio_mean=value, clip_fraction=value, **weights)
    return BatchFigures(metrics, entropy=value, mismatch=value)


FIRST = ProcessStep(
    completions=(record(0, 0, 1.0, 10), record(0, 1, 0.0, 20, truncated=True, format=0.0, length=-1.0)),
    batches=(batch(2, 30, 1.0, 0.5),),
    grad_norms=(2.0, 4.0),
)
SECOND = ProcessStep(
    completions=(record(1, 0, 1.0, 5, echo=True, consistency=1.0), record(1, 1, 1.0, 5, rewarded="B", consistency=0.0)),
    batches=(batch(1, 4, 2.0, 1.0), batch(1, 6, 4.0, 2.0)),
    grad_norms=(2.0, 4.0),
)


STAGES = ("frames", "rollout", "reward", "reference", "update", "step", "validation")
SECONDS = slowest(
    [
        dict(zip(STAGES, (1.0, 2.0, 0.1, 0.2, 3.0, 8.0, 0.0), strict=True)),
        dict(zip(STAGES, (2.0, 1.0, 0.1, 0.2, 4.0, 10.0, 0.5), strict=True)),
    ]
)


def test_two_processes_by_hand():
    metrics = combine(Done(3, 0.5, 1e-6, SECONDS, Seen(accuracy={"L1": 0.4, "L3": 0.25})), [FIRST, SECOND])
    assert (metrics.step, metrics.epoch, metrics.learning_rate) == (3, 0.5, 1e-6)
    assert metrics.reward_mean == 0.75
    assert metrics.reward_std == pytest.approx(math.sqrt(0.5) / 2)  # groups (1, 0) and (1, 1)
    assert metrics.silent_groups == 0.5
    assert metrics.format_rate == 0.75
    assert metrics.echo_rate == 0.25
    assert (metrics.accuracy, metrics.accuracy_rewarded, metrics.flipped_share) == (0.75, 0.5, 0.25)
    assert (metrics.consistency_rate, metrics.contradiction_rate, metrics.length_mean) == (0.25, 0.25, -0.25)
    assert metrics.truncated_share == 0.25
    assert (metrics.tokens_mean, metrics.tokens_max) == (10.0, 20)
    assert metrics.loss == pytest.approx((1 + (2 + 4)) / 2 / 2)  # 2 processes, 2 updates
    by_token = (30 * 1 + 4 * 2 + 6 * 4) / 40
    assert metrics.entropy == metrics.ratio_mean == metrics.clip_fraction == pytest.approx(by_token)
    assert metrics.rollout_mismatch == pytest.approx(by_token)
    assert metrics.kl == pytest.approx(by_token / 2)
    assert metrics.grad_norm == 3.0
    assert metrics.tokens_per_second == 4.0  # 40 tokens in the 10 s of the slower process
    assert (metrics.seconds, metrics.seconds_frames, metrics.seconds_rollout) == (10.0, 2.0, 2.0)
    found = numbers(metrics)
    assert (found["validation_accuracy/L1"], found["validation_accuracy/L3"], found["accuracy"]) == (0.4, 0.25, 0.75)
    assert "validation_accuracy" not in found


def test_replaced_groups_count_as_sampled_and_not_as_learned_from():
    replaced = (record(0, 0, 0.0, 10, replaced=True), record(0, 1, 0.0, 10, replaced=True))
    taken = (record(0, 0, 1.5, 10, round=1, bonus=0.5), record(0, 1, 0.0, 10, round=1))
    other = (record(1, 0, 1.0, 10), record(1, 1, 1.0, 10))
    part = ProcessStep((*taken, *other, *replaced), (batch(4, 40, 1.0, None),), (1.0,))
    metrics = combine(Done(1, 0.1, 1e-6, SECONDS, Seen()), [part])
    assert (metrics.replaced_groups, metrics.rollout_rounds) == (1, 2)
    assert metrics.silent_groups == pytest.approx(2 / 3)
    assert metrics.silent_in_batch == 0.5
    assert metrics.reward_mean == pytest.approx(3.5 / 6)
    assert metrics.bonus_mean == pytest.approx(0.5 / 6)


def test_without_a_reference_there_is_no_kl():
    part = ProcessStep(FIRST.completions, (batch(2, 30, 1.0, None),), (1.0,))
    metrics = combine(Done(1, 0.1, 1e-6, SECONDS, Seen()), [part])
    assert metrics.kl is None
    assert "kl" not in numbers(metrics)
    assert numbers(metrics)["reward_mean"] == 0.5
    assert "step" not in numbers(metrics)


def test_importance_weights_and_own_rewards_are_averaged():
    rows = [record(0, 0, 1.0, 10, custom=(("m:f", 2.0),)), record(0, 1, 0.0, 10, custom=(("m:f", -1.0),))]
    batches = tuple(
        batch(1, tokens, 1.0, None, importance_mean=mean, importance_capped=share)
        for tokens, mean, share in ((30, 1.0, 0.0), (10, 2.0, 0.5))
    )
    metrics = combine(Done(1, 0.1, 1e-6, SECONDS, Seen()), [ProcessStep(tuple(rows), batches, (1.0,))])
    assert (metrics.importance_mean, metrics.importance_capped, metrics.custom) == (1.25, 0.125, {"m:f": 0.5})
    assert numbers(metrics)["custom/m:f"] == 0.5
    plain = combine(Done(1, 0.1, 1e-6, SECONDS, Seen()), [FIRST])
    assert (plain.importance_mean, plain.importance_capped, plain.custom) == (None, None, {})
