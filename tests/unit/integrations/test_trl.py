"""Reward functions with TRL's signature: equal to our scorer, alone and inside a step of TRL's own GRPOTrainer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from accelerate.state import AcceleratorState

from sbr.config.section import Rule
from sbr.config.training import RewardConfig
from sbr.data.sources.select import load_training
from sbr.errors import DataError
from sbr.integrations import trl as rewards
from sbr.mini.build import build
from sbr.prompt.template import question_text
from sbr.reward.answer import extract_answer
from sbr.reward.score import score
from sbr.types import LETTERS, Sample

GOLDEN = [
    json.loads(line)
    for line in (Path(__file__).parents[2] / "golden" / "answers.jsonl").read_text("utf-8").splitlines()
]


@pytest.fixture(autouse=True, scope="module")
def _precision():
    """accelerate keeps one precision per process, and TRL's default is another one than ours."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    from sbr.config.inputs import DataConfig

    root = tmp_path_factory.mktemp("mini") / "data"
    build(root, 4, 1, 0, 1)
    return load_training(DataConfig(root=root))


def columns(cases: list[dict[str, Any]]) -> dict[str, Any]:
    """What TRL passes beside the completions; every second gold letter is B."""
    golds = [LETTERS[number % 2] for number in range(len(cases))]
    return {"prompts": [""] * len(cases), "options": [case["options"] for case in cases], "gold": golds}


@pytest.mark.parametrize("rule", ["official", "care", "strict"])
@pytest.mark.parametrize("conversational", [False, True])
def test_rewards_of_the_golden_answers_are_our_scorers(rule: Rule, conversational: bool, sbr_sample) -> None:
    texts = [case["response"] for case in GOLDEN]
    completions = [[{"role": "assistant", "content": text}] for text in texts] if conversational else texts
    given = columns(GOLDEN)
    ids = [list(range(10 * (number % 5))) for number in range(len(texts))]
    functions = (
        rewards.get_accuracy_reward(rule),
        rewards.format_reward,
        rewards.get_consistency_reward(rule),
        rewards.get_length_reward(40, share=0.5),
    )
    found = zip(*(f(completions=completions, completion_ids=ids, **given) for f in functions), strict=True)
    config = RewardConfig(rule=rule, length_share=0.5)
    for case, gold, tokens, (accuracy, format_, consistency, length) in zip(
        GOLDEN, given["gold"], ids, found, strict=True
    ):
        sample = Sample("0", "L1", "", None, "", "", None, None, None, "", tuple(case["options"]), gold)
        expected = score(case["response"], sample, config, len(tokens), 40)
        assert (accuracy, format_) == (expected.accuracy, expected.format), case["name"]
        assert (consistency, length) == (expected.consistency, expected.length), case["name"]
        assert accuracy == float(case[rule] == gold), case["name"]


def test_log_functions_get_letters_and_rates() -> None:
    extra: dict[str, list[str]] = {}
    metrics: dict[str, float] = {}
    completions = ["<think>x y</think><answer>B. b</answer>", "no tags", "<think>A</think><answer>A</answer>"]
    given = {"options": [["a", "b"]] * 3, "gold": ["B", "A", "B"], "completion_ids": [[1]] * 3}
    logs = {"log_extra": extra.__setitem__, "log_metric": metrics.__setitem__, "trainer_state": object()}
    assert rewards.accuracy_reward(prompts=[""] * 3, completions=completions, **given, **logs) == [1.0, 0.0, 0.0]
    assert rewards.get_accuracy_reward("care")(completions=completions, **given, **logs) == [0.0, 0.0, 0.0]
    assert rewards.format_reward(completions=completions, **given, **logs) == [1.0, 0.0, 1.0]
    assert extra == {"answer": ["B", "", "A"], "care_answer": ["", "", "A"]}
    assert metrics == pytest.approx({"no_answer": 1 / 3, "care_no_answer": 2 / 3, "echo": 1 / 3})


def test_content_may_be_parts_and_the_last_message_answers() -> None:
    parts = [{"role": "tool", "content": "x"}, {"role": "assistant", "content": [{"type": "text", "text": "a"}, "b"]}]
    assert rewards.texts_of([parts]) == ["ab"]
    for odd in (None, [], 5, [{"role": "assistant"}], [{"role": "assistant", "content": [{"type": "image"}]}]):
        with pytest.raises(DataError, match="completion 1 is"):
            rewards.texts_of(["", odd])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gold": None}, "accuracy_reward needs the column 'gold' in the dataset, which has level, options; .*get_acc"),
        ({"options": None}, "accuracy_reward needs the column 'options'"),
        ({"gold": ["E"]}, "'gold' is 'E' in row 0, expected a letter of ABCD"),
        ({"gold": ["AB"]}, "'gold' is 'AB' in row 0"),
        ({"gold": ["A", "B"]}, "2 values of the column 'gold' for 1 completions"),
        ({"options": ["abcd"]}, "'options' is 'abcd' in row 0, expected the texts of 2 to 5 options"),
        ({"options": [["a"]]}, "expected the texts of 2 to 5 options"),
        ({"options": [["a", 2]]}, "expected the texts of 2 to 5 options"),
    ],
)
def test_a_wrong_column_is_named(change: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"options": [list("abcd")], "gold": ["A"], "level": ["L1"], "log_extra": print}
    given = {key: value for key, value in (given | change).items() if value is not None}
    with pytest.raises(DataError, match=message):
        rewards.accuracy_reward(prompts=[""], completions=["x"], completion_ids=[[1]], **given)


def test_a_column_may_have_another_name() -> None:
    named = rewards.get_accuracy_reward("strict", options="choices", gold="letter")
    assert named.__name__ == "strict_accuracy_reward"
    assert named(completions=["<answer>(b)</answer>"], choices=[["x", "y"]], letter=["B"]) == [1.0]


def test_length_reward_refuses_impossible_limits() -> None:
    for limit, share in ((0, 0.2), (10, 0.0), (10, 1.1)):
        with pytest.raises(ValueError, match="expected 1 or more tokens"):
            rewards.get_length_reward(limit, share)
    with pytest.raises(DataError, match="1 completion_ids for 2"):
        rewards.get_length_reward(10)(completions=["", ""], completion_ids=[[1]])


def test_rows_of_questions_without_an_image_are_refused(sbr_sample) -> None:
    sample = sbr_sample("7")
    (row,) = rewards.question_rows([sample], image=False)
    assert row["prompt"] == [{"role": "user", "content": question_text(sample)}] and "image" not in row
    blind = Sample("7", "L1", "", None, "", "", None, None, None, "", ("a", "b"), "A")
    with pytest.raises(DataError, match="sample 7 has no image"):
        list(rewards.question_rows([blind]))


@pytest.mark.parametrize("image", [False, True], ids=["text", "image"])
def test_a_step_of_trls_trainer_earns_what_our_scorer_says(image: bool, samples, tmp_path) -> None:
    """The package's base model, greedy apart from temperature 1: two questions, four completions each."""
    pytest.importorskip("trl")
    from datasets import Dataset
    from transformers import AutoModelForImageTextToText, AutoProcessor
    from trl import GRPOConfig, GRPOTrainer

    from sbr.config.inputs import FramesConfig
    from sbr.model.paths import resolve_model_path

    seen: list[dict[str, Any]] = []

    def remember(prompts, completions, completion_ids, **given):
        seen.append({"completions": completions, "ids": completion_ids, "gold": given["gold"], "rows": given})
        return [0.0] * len(completions)

    frames = FramesConfig(height=84, width=84)
    folder = resolve_model_path("sbr:mini")
    trainer = GRPOTrainer(
        model=AutoModelForImageTextToText.from_pretrained(folder),
        processing_class=AutoProcessor.from_pretrained(folder),
        reward_funcs=[
            rewards.accuracy_reward,
            rewards.format_reward,
            rewards.consistency_reward,
            rewards.get_length_reward(40, share=0.9),
            remember,
        ],
        train_dataset=Dataset.from_list(list(rewards.question_rows(samples, image, frames))),
        args=GRPOConfig(
            output_dir=str(tmp_path),
            max_steps=1,
            per_device_train_batch_size=8,
            num_generations=4,
            max_completion_length=40,
            reward_weights=[1.0, 0.5, 0.25, 0.125, 0.0],
            log_completions=False,
            report_to="none",
            use_cpu=True,
            save_strategy="no",
            logging_steps=1,
            disable_tqdm=True,
            seed=3,
        ),
    )
    trainer.train()
    by_id = {sample.sample_id: sample for sample in samples}
    config = RewardConfig(format_weight=0.5, consistency_weight=0.25, length_weight=0.125, length_share=0.9)
    (step,) = seen
    chosen = [by_id[sample_id] for sample_id in step["rows"]["sample_id"]]
    texts = rewards.texts_of(step["completions"])
    assert len(texts) == 8 and len({sample.sample_id for sample in chosen}) == 2
    assert [sample.gold for sample in chosen] == step["gold"]
    scores = [
        score(text, sample, config, len(ids), 40) for text, sample, ids in zip(texts, chosen, step["ids"], strict=True)
    ]
    logged = next(line for line in trainer.state.log_history if "reward" in line)
    parts = {"accuracy_reward": "accuracy", "format_reward": "format", "consistency_reward": "consistency"}
    for name, field in {**parts, "length_reward": "length"}.items():
        expected = [getattr(one, field) for one in scores]
        assert logged[f"rewards/{name}/mean"] == pytest.approx(sum(expected) / 8, abs=1e-6), name
        assert list(trainer._logs["rewards"][name]) == pytest.approx(expected, abs=1e-6)
    assert logged["reward"] == pytest.approx(sum(one.reward for one in scores) / 8, abs=1e-6)
    letters = [
        extract_answer(text, sample.options, "official").letter or ""
        for text, sample in zip(texts, chosen, strict=True)
    ]
    assert list(trainer._logs["extra"]["answer"]) == letters
    assert logged["no_answer"] == pytest.approx(letters.count("") / 8)
    assert len({one.reward for one in scores}) > 1, "nothing to tell apart: choose another seed"
