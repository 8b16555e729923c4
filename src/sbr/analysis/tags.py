"""What can be told of one answer from its text and outcome, by rule.  Every tag says exactly what was computed.

fixed           right, and the model before was wrong
broken          wrong, and the model before was right
contradicts     a letter was answered, and the last option that the reasoning names is another one (0 in
                `sbr.reward.consistency`)
last sentence names no option
                a letter was answered, there is a reasoning, and its last sentence names no option.  When it contradicts
                too, it is an earlier sentence that names the other option, perhaps as something seen
right against its own reasoning
                contradicts, right, and it is the last sentence that names the other option
done before     wrong, and the chosen option is an action that was narrated before the question: same verb, and the
                things of one are among those of the other (`sbr.data.build.meaning`)
last step not named
                wrong, there is a whole reasoning, and it does not name the last action narrated before the question
                (`sbr.analysis.mentions`)
cut off         the token limit ended the answer
letters only    the reasoning is empty or says no more than a letter (`sbr.reward.health`)
no answer       no letter was read

The paper's failures (arXiv 2503.24376, Fig. 7 and 8) are a missed visual cue, missing common sense, and an answer that
contradicts the reasoning.  The third is "contradicts".  What a model saw cannot be told from what it wrote: "done
before" and "last step not named" are signs of a missed cue, no proof; a model may see and not say, or say by guessing.
Missing common sense cannot be told at all without knowledge of the task, so no tag claims it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sbr.analysis.mentions import names_action, same_action
from sbr.reward.answer import Answer
from sbr.reward.consistency import consistency, named_options, sentences_of
from sbr.reward.health import health, reasoning_text
from sbr.types import LETTERS, EvalRecord, ProgressStep

FIXED = "fixed"
BROKEN = "broken"
CONTRADICTS = "contradicts"
NO_OPTION_LAST = "last sentence names no option"
RIGHT_AGAINST = "right against its own reasoning"
DONE_BEFORE = "done before"
NOT_NAMED = "last step not named"
CUT_OFF = "cut off"
LETTERS_ONLY = "letters only"
NO_ANSWER = "no answer"

TAGS = (
    *(FIXED, BROKEN, CONTRADICTS, NO_OPTION_LAST, RIGHT_AGAINST, DONE_BEFORE, NOT_NAMED),
    *(CUT_OFF, LETTERS_ONLY, NO_ANSWER),
)
"""All, in the order in which an answer has them."""
OF_PROGRESS = (DONE_BEFORE, NOT_NAMED)
"""Need the actions narrated before the question."""


def tags_of(
    record: EvalRecord, before: EvalRecord | None = None, progress: Sequence[ProgressStep] | None = None
) -> tuple[str, ...]:
    """The tags of one answer.  `before` is the answer of the model before, if there is one; without `progress` (of the
    question, `Sample.progress`) the tags `OF_PROGRESS` are not given."""
    return tuple(_tags(record, before, progress or ()))


def _tags(record: EvalRecord, before: EvalRecord | None, progress: Sequence[ProgressStep]) -> Iterator[str]:
    if before is not None and record.correct != before.correct:
        yield FIXED if record.correct else BROKEN
    echo = health(record.response).echo
    if record.extracted is not None:
        answer = Answer(record.extracted, record.rule, "")
        contradicts = consistency(record.response, answer, record.options).value == 0
        sentences = sentences_of(reasoning_text(record.response))
        concludes = bool(sentences and named_options(sentences[-1], record.options))
        if contradicts:
            yield CONTRADICTS
        if not echo and not concludes:
            yield NO_OPTION_LAST
        if contradicts and concludes and record.correct:
            yield RIGHT_AGAINST
    if progress and not record.correct:
        if record.extracted is not None:
            chosen = record.options[LETTERS.index(record.extracted)]
            if any(same_action(chosen, step.narration_text) for step in progress):
                yield DONE_BEFORE
        whole = not echo and not record.truncated
        if whole and not names_action(reasoning_text(record.response), progress[-1].narration_text):
            yield NOT_NAMED
    if record.truncated:
        yield CUT_OFF
    if echo:
        yield LETTERS_ONLY
    if record.extracted is None:
        yield NO_ANSWER
