"""distill(recipe): ask the teacher every training question several times (`sbr.rollout.ask`); keep what is right.

Answers are journalled as they come (samples.jsonl).  Only when all are there are they judged and written in the order
of the questions, so the result does not depend on interruptions or on the order in which a server answered, and other
filters can be tried on a finished folder without asking again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from sbr.config.asking import DistillConfig
from sbr.config.recipes import DistillRecipe
from sbr.data.sources.select import training_path
from sbr.distill.another import NONE_EXCHANGED, exchange, refuse_too_few
from sbr.distill.folder import WORK
from sbr.distill.report import REPORT, Report, report_of, write_report
from sbr.distill.rows import COT_FILE, Asked, load_asked, write_cot_file
from sbr.distill.samples import LINES, SAMPLES, SampleKey, TeacherSample, key_of_answer, sample_of
from sbr.distill.select import judge
from sbr.errors import ConfigError
from sbr.resume.journal import Journal
from sbr.resume.processes import ALONE, Processes
from sbr.rollout.ask import Asking, Watcher, ask
from sbr.rollout.sampling import Sampling


def distill(
    recipe: DistillRecipe, watcher: Watcher[TeacherSample] | None = None, processes: Processes = ALONE
) -> Report:
    """Ask what is not yet answered in `recipe.output_dir`, then write the rows and the report and return the latter.

    With several `processes`, each calls this function and asks its share; all return the same.  Raises as
    `sbr.rollout.ask.ask` does, and ConfigError for settings that make no sense together.
    """
    config = recipe.distill
    sampling = sampling_of(config)
    asked = load_asked(recipe)
    if config.reasoning == "another":
        refuse_too_few(len(asked), "to ask")
    samples, size = [question.sample for question in asked], config.batch_size
    asking: Asking[SampleKey, TeacherSample] = Asking(
        work=WORK,
        section="distill",
        recipe=recipe,
        batches=[samples[at : at + size] for at in range(0, len(samples), size)],
        samples=config.samples,
        sampling=sampling,
        seed=config.seed,
        inputs={recipe.data.train_file: training_path(recipe.data)},
        journal=SAMPLES,
        lines=LINES,
        key=key_of_answer,
        record=sample_of,
        keeps_others=True,
    )
    return ask(asking, partial(_select, recipe, asked), watcher, processes)


def sampling_of(config: DistillConfig) -> Sampling:
    """Raises ConfigError when all answers to a question would be the same."""
    if config.temperature == 0 and config.samples > 1:
        raise ConfigError(
            f"distill.temperature is 0 and distill.samples {config.samples}: all answers to a question would be the "
            "same; raise the temperature, or ask for one"
        )
    return Sampling(config.temperature, config.top_p, config.top_k, config.max_new_tokens)


def _select(
    recipe: DistillRecipe,
    asked: Sequence[Asked],
    journal: Journal[SampleKey, TeacherSample],
    answers: list[TeacherSample],
) -> Report:
    """Judge all answers, question by question, and write everything that follows from them."""
    k = recipe.distill.samples
    judged = [sample for at in range(0, len(answers), k) for sample in judge(answers[at : at + k], recipe.distill)]
    exchanged = NONE_EXCHANGED
    if recipe.distill.reasoning == "another":
        exchanged = exchange([sample for sample in judged if sample.verdict == "kept"], recipe.distill.seed)
    now = {LINES.key(sample) for sample in judged}
    # Answers to questions beyond a lowered data.limit stay for later.
    others = [replace(s, extracted=None, verdict=None) for key, s in journal.done.items() if key not in now]
    journal.rewrite([*judged, *others])
    write_cot_file(recipe.output_dir / COT_FILE, asked, judged, recipe, exchanged)
    report = report_of([question.sample for question in asked], judged, recipe, exchanged)
    write_report(report, recipe.output_dir / REPORT)
    return report
