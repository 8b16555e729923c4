"""How outcomes move from model to model: right to wrong, wrong to right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from sbr.errors import ConfigError
from sbr.eval.compare import refuse_unlike
from sbr.eval.records import correct_by_question
from sbr.eval.stats import mcnemar_exact
from sbr.eval.summary import in_natural_order
from sbr.types import EvalRecord

ALL_LEVELS = "all"


@dataclass(frozen=True, slots=True)
class Flow:
    """Questions by what became of them from one model to the next, on one level or on all.

    Example: Flow("L1", "base", "GRPO", right_right=115, right_wrong=7, wrong_right=150, wrong_wrong=28).
    """

    level: str
    base: str
    other: str
    right_right: int
    right_wrong: int
    wrong_right: int
    wrong_wrong: int

    @property
    def p_value(self) -> float:
        """Exact McNemar test that as many questions were fixed as broken (`sbr.eval.stats`)."""
        return mcnemar_exact(self.right_wrong, self.wrong_right)


def flows_of(runs: Mapping[str, Sequence[EvalRecord]]) -> tuple[Flow, ...]:
    """From every model to the next one in order, by level and, when there are several levels, over all.

    A question has one outcome a model, that of its first answer (`first_answers`).  Raises as `first_answers` does.
    """
    first = {name: first_answers(records) for name, records in same_questions(runs).items()}
    levels = in_natural_order({record.level for records in first.values() for record in records.values()})
    flows: list[Flow] = []
    for base, other in pairwise(first):
        pairs = [(record.level, record.correct, first[other][key].correct) for key, record in first[base].items()]
        for level in [*levels, ALL_LEVELS] if len(levels) > 1 else levels:
            counts = Counter((one, two) for of, one, two in pairs if level in (of, ALL_LEVELS))
            flows.append(
                Flow(
                    level,
                    base,
                    other,
                    right_right=counts[True, True],
                    right_wrong=counts[True, False],
                    wrong_right=counts[False, True],
                    wrong_wrong=counts[False, False],
                )
            )
    return tuple(flows)


def first_answers(records: Sequence[EvalRecord]) -> dict[tuple[str, str], EvalRecord]:
    """(level, sample id) -> the first sample of the question in the benchmark's own order of options.

    Further samples and rotations have texts and outcomes of their own; a vote among them would have a result but no
    text, so nothing is made of them here.
    """
    first = (record for record in records if record.sample_index == 0 and record.rotation == 0)
    return {(record.level, record.sample_id): record for record in first}


def same_questions(runs: Mapping[str, Sequence[EvalRecord]]) -> Mapping[str, Sequence[EvalRecord]]:
    """`runs`, when there are several and all answer the same questions, every one as often.

    Raises ConfigError for fewer than two, DataError as `sbr.eval.compare.refuse_unlike` and `correct_by_question` do.
    """
    if len(runs) < 2:
        raise ConfigError("a comparison of answers needs at least two evaluations of the same questions")
    (base_name, base), *others = runs.items()
    for name, records in others:
        refuse_unlike(base, records, base_name, name)
    correct_by_question(base)
    return runs
