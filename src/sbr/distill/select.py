"""Which answers of the teacher are good enough to learn from: pure functions of one question's answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sbr.config.asking import DistillConfig
from sbr.data.rows.fields import SPECIAL_TOKEN
from sbr.data.rows.options import reads_as
from sbr.distill.samples import TeacherSample, Verdict
from sbr.reward.answer import extract_answer
from sbr.reward.consistency import consistency
from sbr.reward.format import format_reward
from sbr.reward.health import reasoning_text
from sbr.types import Answer


def judge(samples: Sequence[TeacherSample], config: DistillConfig) -> list[TeacherSample]:
    """The answers to one question, in the order of their indices, with `extracted` and `verdict`.

    An answer is kept when format and answer are right (rejection sampling, arXiv 2503.24376, section 3) and the
    filters of `config` find nothing.  The first reason against it counts, in the order of `Verdict`:

    truncated     the token limit came before the end of the turn
    format        not <think>...</think><answer>...</answer> and nothing else, or with a special token inside, which no
                  row may hold (a server can write one out)
    no_answer     `config.rule` reads no letter
    wrong         it reads a letter that is not the gold one
    inconsistent  `config.consistent`: the reasoning does not end at the chosen option, or a rule cannot tell
                  (`sbr.reward.consistency` is below 1)
    short, long   the reasoning has less than `min_words` or more than `max_words` words
    duplicate     `config.distinct`: reads as an earlier kept answer (letter case and blanks make no difference)
    surplus       `config.keep` answers with a lower index are kept already
    """
    judged: list[TeacherSample] = []
    kept: list[str] = []
    for sample in sorted(samples, key=lambda sample: sample.sample_index):
        answer = extract_answer(sample.response, sample.options, config.rule)
        verdict = _alone(sample, answer, config)
        text = reads_as(sample.response)
        if verdict == "kept" and config.distinct and text in kept:
            verdict = "duplicate"
        if verdict == "kept" and config.keep is not None and len(kept) >= config.keep:
            verdict = "surplus"
        if verdict == "kept":
            kept.append(text)
        judged.append(replace(sample, extracted=answer.letter, verdict=verdict))
    return judged


def _alone(sample: TeacherSample, answer: Answer, config: DistillConfig) -> Verdict:
    """The verdict on an answer without looking at the others."""
    if sample.truncated:
        return "truncated"
    if format_reward(sample.response) == 0 or SPECIAL_TOKEN.search(sample.response):
        return "format"
    if answer.letter is None:
        return "no_answer"
    if answer.letter != sample.gold:
        return "wrong"
    if config.consistent and consistency(sample.response, answer, sample.options).value < 1:
        return "inconsistent"
    words = len(reasoning_text(sample.response).split())
    if words < config.min_words:
        return "short"
    if config.max_words is not None and words > config.max_words:
        return "long"
    return "kept"
