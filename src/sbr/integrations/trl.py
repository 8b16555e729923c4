"""Reward functions with TRL's signature, and questions as rows of its GRPO dataset.  TRL itself is not imported.

    from datasets import Dataset
    from sbr.integrations.trl import accuracy_reward, format_reward, question_rows

    rows = Dataset.from_list(list(question_rows(samples)))
    GRPOTrainer(model, reward_funcs=[accuracy_reward, format_reward], train_dataset=rows, ...)

A function gets every column of the dataset as a list with one value a completion (trl 1.16) and returns one number a
completion, by the same code as `sbr grpo`.  How the parts are weighed is TRL's `reward_weights`.
TRL's GRPO takes pictures but no videos, so `question_rows` shows the current observation alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from sbr.config.inputs import FramesConfig
from sbr.config.section import Rule
from sbr.errors import DataError
from sbr.prompt.template import question_text
from sbr.reward import consistency as consistencies
from sbr.reward import length as lengths
from sbr.reward.accuracy import accuracy_reward as accuracy_of
from sbr.reward.answer import extract_answer
from sbr.reward.format import format_reward as format_of
from sbr.reward.health import health
from sbr.types import LETTERS, Sample

RewardFunction = Callable[..., list[float]]
"""f(prompts, completions, completion_ids, **columns, trainer_state, log_extra, log_metric): one number a completion."""

OPTIONS, GOLD = "options", "gold"
"""Columns that `question_rows` makes: the texts of the options in order, and the letter of the right one."""


def get_accuracy_reward(rule: Rule = "official", options: str = OPTIONS, gold: str = GOLD) -> RewardFunction:
    """1 where `rule` reads the letter in column `gold`, else 0; `options` is the column of the options' texts.

    Adds the column "answer" (the letter that was read, or "") to TRL's table of completions and the metric
    "no_answer", the share of completions in which the rule finds none.  TRL names a reward after its function: another
    rule than the official one stands in front, as in "strict_accuracy_reward".
    """

    def reward(completions: Sequence[Any], **given: Any) -> list[float]:
        texts = texts_of(completions)
        options_B = _options_column(reward.__name__, options, given, len(texts))
        golds_B = _gold_column(reward.__name__, gold, given, options_B)
        answers = [extract_answer(text, offered, rule) for text, offered in zip(texts, options_B, strict=True)]
        prefix = "" if rule == "official" else f"{rule}_"
        _log_extra(given, f"{prefix}answer", [answer.letter or "" for answer in answers])
        _log_share(given, f"{prefix}no_answer", [answer.letter is None for answer in answers])
        return [accuracy_of(answer, letter) for answer, letter in zip(answers, golds_B, strict=True)]

    reward.__name__ = reward.__qualname__ = "accuracy_reward" if rule == "official" else f"{rule}_accuracy_reward"
    return reward


def get_consistency_reward(rule: Rule = "official", options: str = OPTIONS) -> RewardFunction:
    """1 where the reasoning ends at the chosen option, 0 where it contradicts it, 0.5 where a rule cannot tell
    (`sbr.reward.consistency`).  Adds the column "consistency", the reason in words."""

    def consistency_reward(completions: Sequence[Any], **given: Any) -> list[float]:
        texts = texts_of(completions)
        options_B = _options_column("consistency_reward", options, given, len(texts))
        found = [
            consistencies.consistency(text, extract_answer(text, offered, rule), offered)
            for text, offered in zip(texts, options_B, strict=True)
        ]
        _log_extra(given, "consistency", [one.reason for one in found])
        return [one.value for one in found]

    return consistency_reward


def get_length_reward(limit: int, share: float = 0.2) -> RewardFunction:
    """0 for a short completion, down to -1 at `limit` tokens over the last `share` of them (`sbr.reward.length`).

    `limit` is the trainer's `max_completion_length`.  Raises ValueError for a limit below 1 or a share outside (0, 1].
    """
    if limit < 1 or not 0 < share <= 1:
        raise ValueError(f"limit is {limit} and share {share}, expected 1 or more tokens and a share in (0, 1]")

    def length_reward(completions: Sequence[Any], completion_ids: Sequence[Sequence[int]], **_: Any) -> list[float]:
        if len(completion_ids) != len(completions):
            raise DataError(
                f"length_reward got {len(completion_ids)} completion_ids for {len(completions)} completions"
            )
        return [lengths.length_reward(len(ids), limit, share) for ids in completion_ids]

    return length_reward


def format_reward(completions: Sequence[Any], **given: Any) -> list[float]:
    """1 where the whole completion is <think>...</think><answer>...</answer>, else 0.

    Adds the metric "echo", the share of completions whose reasoning is empty or only a letter (`sbr.reward.health`).
    """
    texts = texts_of(completions)
    _log_share(given, "echo", [health(text).echo for text in texts])
    return [format_of(text) for text in texts]


accuracy_reward = get_accuracy_reward()
"""The official rule on the columns of `question_rows`."""
consistency_reward = get_consistency_reward()


def texts_of(completions: Sequence[Any]) -> list[str]:
    """What the model wrote, out of plain completions (texts) or conversational ones (lists of messages).

    Of several messages (tools) the last one is the answer.  Raises DataError for anything else.
    """
    return [_text_of(completion, number) for number, completion in enumerate(completions)]


def question_rows(samples: Iterable[Sample], image: bool = True, frames: FramesConfig | None = None) -> Iterator[dict]:
    """Rows for `datasets.Dataset.from_list`: prompt (one user message), options, gold, and where they come from.

    With `image` also the current observation as a picture of the size of `frames` (default: the official 252 x 252),
    which TRL puts in front of the text.  The words are the official ones, so they still speak of a video.
    Raises DataError for a sample without an image, MediaError for one that cannot be read.
    """
    from PIL import Image

    from sbr.frames.load import load_image
    from sbr.frames.sampling import resized_size

    size = resized_size(frames or FramesConfig())
    for sample in samples:
        row = {
            "prompt": [{"role": "user", "content": question_text(sample)}],
            OPTIONS: list(sample.options),
            GOLD: sample.gold,
            "sample_id": sample.sample_id,
            "level": sample.split,
            "domain": sample.domain,
            "video_id": sample.video_id,
        }
        if image:
            if sample.image is None:
                raise DataError(
                    f"sample {sample.sample_id} has no image; question_rows(samples, image=False) shows none"
                )
            row["image"] = Image.fromarray(load_image(sample.image, size).pixels)
        yield row


def _text_of(completion: Any, number: int) -> str:
    if isinstance(completion, str):
        return completion
    last = completion[-1] if isinstance(completion, list) and completion else None
    content = last.get("content") if isinstance(last, dict) else None
    if isinstance(content, list):
        texts = [text for part in content if isinstance(text := _part_text(part), str)]
        content = "".join(texts) if len(texts) == len(content) else content
    if not isinstance(content, str):
        raise DataError(
            f"completion {number} is {completion!r:.80}, expected a text or messages with a text as content"
        )
    return content


def _part_text(part: Any) -> Any:
    return part.get("text") if isinstance(part, dict) else part


def _column(name: str, column: str, given: dict[str, Any], count: int) -> Sequence[Any]:
    if column not in given:
        others = sorted(given.keys() - {"prompts", "completion_ids", "trainer_state", "log_extra", "log_metric"})
        raise DataError(
            f"{name} needs the column {column!r} in the dataset, which has {', '.join(others) or 'no other columns'}; "
            f"sbr.integrations.trl.question_rows makes it, or name yours: get_{name.split('_')[-2]}_reward(...)"
        )
    values = given[column]
    if len(values) != count:
        raise DataError(f"{name} got {len(values)} values of the column {column!r} for {count} completions")
    return values


def _options_column(name: str, column: str, given: dict[str, Any], count: int) -> list[tuple[str, ...]]:
    values = _column(name, column, given, count)
    for number, value in enumerate(values):
        listed = isinstance(value, Sequence) and not isinstance(value, str)
        if not listed or not 1 < len(value) <= len(LETTERS) or not all(isinstance(text, str) for text in value):
            raise DataError(
                f"{name}: the column {column!r} is {value!r:.80} in row {number}, expected the texts of 2 to "
                f"{len(LETTERS)} options"
            )
    return [tuple(value) for value in values]


def _gold_column(name: str, column: str, given: dict[str, Any], options_B: list[tuple[str, ...]]) -> Sequence[str]:
    values = _column(name, column, given, len(options_B))
    for number, (value, offered) in enumerate(zip(values, options_B, strict=True)):
        letters = LETTERS[: len(offered)]
        if value not in list(letters):
            raise DataError(
                f"{name}: the column {column!r} is {value!r} in row {number}, expected a letter of {letters}"
            )
    return values


def _log_extra(given: dict[str, Any], column: str, values: list[str]) -> None:
    if log := given.get("log_extra"):
        log(column, values)


def _log_share(given: dict[str, Any], name: str, flags: Sequence[bool]) -> None:
    if flags and (log := given.get("log_metric")):
        log(name, sum(flags) / len(flags))
