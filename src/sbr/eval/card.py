"""Finished evaluations -> the results block of a model card."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from sbr.card.blocks import CARD, plain, put
from sbr.card.card import RESULTS, Evaluation, Result, results_text
from sbr.config.load import read_resolved
from sbr.config.recipes import EvalRecipe
from sbr.errors import ConfigError
from sbr.eval.records import SUMMARY
from sbr.eval.summary import Slice, Summary, read_summary
from sbr.files import replace_file
from sbr.resume.folder import INPUTS, RECIPE, fingerprint, read_json, weight_files

TENSORS = ".safetensors"


def write_results(card: str, model: Path, folders: Sequence[Path]) -> None:
    """Put the results of the evaluations in `folders` into `card`, the text of README.md in `model`, and write it.

    They take the place of the results that were there; all other text stays.  The file is replaced as a whole.  Raises
    ConfigError when an evaluation has asked other weights, DataError when one is not finished, is damaged, or the marks
    of the card do not pair up; OSError when nothing can be written there.
    """
    weights = {file.name: fingerprint(file) for file in weight_files(model) if file.suffix == TENSORS}
    if not weights:
        raise ConfigError(f"{model} holds no weights (*{TENSORS}); name the folder of a run or of a model")
    found = [evaluation_of(folder, model, weights) for folder in folders]
    text = put(card, RESULTS, results_text(found), str(model / CARD))
    replace_file(model / CARD, text.encode())


def evaluation_of(folder: Path, model: Path, weights: dict[str, str]) -> Evaluation:
    """What a card says of the evaluation in `folder`, after making sure that it asked `weights` (name -> fingerprint).

    Raises as `write_results`.
    """
    summary = read_summary(folder / SUMMARY)
    recipe = read_resolved(EvalRecipe, folder / RECIPE)
    inputs = read_json(folder / INPUTS, "name a folder that `sbr eval` has written")
    asked = {(PurePosixPath(name).name, digest) for name, digest in inputs.items()}
    if not any(name.endswith(TENSORS) for name, _ in asked):
        raise ConfigError(
            f"the evaluation in {folder} does not say which weights answered (engine {recipe.engine.kind}, model "
            f"{recipe.model.path}); evaluate the folder {model} itself"
        )
    if other := [name for name, digest in weights.items() if (name, digest) not in asked]:
        raise ConfigError(
            f"the evaluation in {folder} asked other weights than those in {model} ({other[0]} differs; it asked "
            f"{recipe.model.path}); name evaluations of this model"
        )
    return Evaluation(_setting(summary, recipe, inputs), tuple(_results(summary)))


def _setting(summary: Summary, recipe: EvalRecipe, inputs: dict[str, str]) -> str:
    frames, files = recipe.frames, [name for name in inputs if "/" not in name or name.startswith("annotations/")]
    how = (
        "greedy" if summary.protocol == "greedy" else f"{summary.samples} samples at temperature 1, seed {summary.seed}"
    )
    control = {"none": "", "blind": ", without video and image", "no_video": ", without video"}[summary.control]
    rotated = ", every rotation of the options" if summary.shuffle_options else ""
    limit = f", the first {recipe.eval.limit} questions of a level" if recipe.eval.limit else ""
    prints = ", ".join(f"{PurePosixPath(name).name} {inputs[name][:12]}" for name in files)
    return (
        f"{recipe.data.source}{limit}{control}{rotated}; {how}, at most {summary.max_new_tokens} tokens, rule "
        f"{summary.rule}, weights as {recipe.model.dtype}, frames {frames.fps:g} a second, {frames.min_frames} to "
        f"{frames.max_frames}, {frames.height} x {frames.width}" + (f" ({prints})" if prints else "")
    )


def _results(summary: Summary) -> list[Result]:
    found: list[Result] = []
    for level in summary.levels:
        found.append(_result(level.level, level.overall))
        if len(level.domains) > 1:
            found += [_result(f"{level.level}: {domain.name}", domain) for domain in level.domains]
    return found


def _result(name: str, part: Slice) -> Result:
    return Result(plain(name), part.questions, part.accuracy, part.interval.low, part.interval.high)
