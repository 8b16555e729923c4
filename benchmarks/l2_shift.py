"""What L2 of the miniature costs, question by question: L1 against L2, and each part of the shift alone.

Question n of L2 is question n of L1 (`sbr.mini.questions`), so the two answers of a model to question n are a pair.

    python benchmarks/l2_shift.py runs/l2 --arms sft grpo --seeds 5 --out runs/l2/l2_shift.md

reads the evaluations runs/l2/eval_base, eval_ARM_SEED (L1, L2, L3 of the whole world) and, for X of cam, own, none
(late cameras only, other belongings only, neither), eval_base_X, eval_ARM_SEED_X (L2); also look_..., the same with
`--engine.prefill "<think> i see"`, L1 and L2, for those that are there.  Intervals count seeds and questions
(docs/statistics.md).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sbr.analysis.crossed import Answers, Crossed
from sbr.eval.records import RECORDS, read_records
from sbr.mini.questions import MOST

CONDITIONS = ("L1", "none", "cam", "own", "L2", "L3")
TITLES = {
    "L1": "L1", "none": "unseen kitchens", "cam": "+ late camera", "own": "+ belongings", "L2": "L2: both", "L3": "L3",
}  # fmt: skip
DIFFERENCES = ("L2 - L1", "gain on L1", "gain on L2", "difference of gains")


def right(folder: Path, prefix: str, model: str) -> dict[str, np.ndarray]:
    """Condition -> right answers (Q,) in the order of the questions' numbers; those that are there."""
    found: dict[str, dict[int, float]] = {}
    for suffix in ("", "_none", "_cam", "_own"):
        file = folder / f"{prefix}_{model}{suffix}" / RECORDS
        for record in read_records(file) if file.exists() else ():
            condition = suffix[1:] or record.level
            found.setdefault(condition, {})[int(record.sample_id) % MOST] = float(record.correct)
    numbers = {condition: sorted(answers) for condition, answers in found.items()}
    if len({len(these) for these in numbers.values()}) > 1:
        raise SystemExit(f"{folder}/{prefix}_{model}: { ({c: len(n) for c, n in numbers.items()}) } questions")
    return {condition: np.array([answers[n] for n in numbers[condition]]) for condition, answers in found.items()}


def shown(figure: Crossed, signed: bool = False) -> str:
    interval = figure.interval
    sign = "+" if signed else ""
    ends = "" if interval is None else f" [{100 * interval.low:{sign}.1f}, {100 * interval.high:{sign}.1f}]"
    return f"{100 * figure.mean:{sign}.1f}{ends}"


def table(folder: Path, prefix: str, arms: dict[str, list[str]]) -> list[str]:
    """One line an arm: accuracies, then what L2 costs against L1."""
    answers = {model: right(folder, prefix, model) for models in arms.values() for model in models}
    rows = [(model, condition) for model, by in answers.items() for condition in by if condition != "L3"]
    number = {row: k for k, row in enumerate(rows)}
    questions = len(answers[rows[0][0]][rows[0][1]])
    cells = Answers(np.stack([answers[model][condition] for model, condition in rows]), np.arange(questions))
    l3 = [model for model, by in answers.items() if "L3" in by]
    unseen_tasks = Answers(np.stack([answers[m]["L3"] for m in l3]), np.arange(questions)) if l3 else None
    lines = [
        "| " + " | ".join((f"{prefix}: % right", *TITLES.values(), *DIFFERENCES)) + " |",
        "|---" * (1 + len(TITLES) + len(DIFFERENCES)) + "|",
    ]
    for arm, models in arms.items():
        line = [shown(cells.accuracy([[number[model, c] for model in models]])) for c in CONDITIONS[:-1]]
        line.append("" if unseen_tasks is None else shown(unseen_tasks.accuracy([[l3.index(m) for m in models]])))
        line.append(shown(cells.difference([[(number[m, "L1"], number[m, "L2"]) for m in models]]), signed=True))
        if arm == "base":
            line += ["", "", ""]
        else:
            line += [
                shown(cells.difference([[(number["base", level], number[m, level]) for m in models]]), signed=True)
                for level in ("L1", "L2")
            ]
            line.append(shown(_gains(answers, models), signed=True))
        lines.append(f"| {arm} (n = {len(models)}) | " + " | ".join(line) + " |")
    return lines


def _gains(answers: dict[str, dict[str, np.ndarray]], models: Sequence[str]) -> Crossed:
    """(L2 - base's L2) - (L1 - base's L1), seed by seed and question by question."""
    gains = [[answers[m][level] - answers["base"][level] for level in ("L1", "L2")] for m in models]
    shares_RQ = np.stack([gain for pair in gains for gain in pair])
    pairs = [(2 * k, 2 * k + 1) for k in range(len(models))]
    return Answers(shares_RQ, np.arange(shares_RQ.shape[1])).difference([pairs])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--arms", nargs="+", default=["sft", "grpo"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    lines: list[str] = []
    for prefix in ("eval", "look"):
        arms = {"base": ["base"], **{arm: [f"{arm}_{seed}" for seed in range(args.seeds)] for arm in args.arms}}
        arms = {
            arm: models
            for arm, models in arms.items()
            if all((args.folder / f"{prefix}_{model}" / RECORDS).exists() for model in models)
        }
        if arms:
            lines += [*table(args.folder, prefix, arms), ""]
    text = "\n".join(lines)
    if args.out is not None:
        args.out.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
