"""A task package for lmms-eval: a folder that `lmms-eval --include_path` reads, without this package being there.

    README.md              how it is run
    sbr_seed_bench_r1_l1.yaml, ..._l2.yaml, ..._l3.yaml
    utils.py               what the YAML files call; it holds the answer rule (`sbr.integrations.standalone`)
    L1.jsonl, L2.jsonl, L3.jsonl   questions as they are asked, media relative to the data root

Read in lmms-eval 0.7.3: a built-in task wins over another one of its name; data files are looked for beside the YAML
file; a metric is averaged over the questions that give it, so that a domain can be a metric; answers end at an empty
line unless the task says `until`; <think>...</think> is cut out of answers before they are scored, and an <answer> in
it with it, unless the task has `reasoning_tags: "none"` (`auto_strip_thinking` is another switch, off by itself); its
Qwen2-VL wrapper goes on without a video that it cannot read, so `visual` raises.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sbr.config.section import Rule
from sbr.errors import DataError
from sbr.files import check_output, replace_file
from sbr.integrations.standalone import definitions
from sbr.prompt.template import question_text
from sbr.reward import answer
from sbr.types import Sample

TAG = "sbr_seed_bench_r1"
METRIC = "sbr_acc"
EXTRACTOR = "sbr.reward.answer:extract_answer"
VIDEO_SUFFIXES = (".mp4", ".avi", ".mov")
"""What its Qwen2-VL wrapper takes for a video; anything else it leaves out without a word."""

_UTILS_START = '"""SEED-Bench-R1 in lmms-eval'
_YAML_START = "# SEED-Bench-R1 in lmms-eval"
_README_START = "# SEED-Bench-R1 in lmms-eval"
_ROWS_START = '{"sample_id": '

_UTILS = '''{start}: what the YAML files beside it call.  Written by sbr {version}; needs nothing of it.

Media are looked for below the folder of the environment variable SBR_DATA_ROOT, or else below DATA_ROOT.

{rules}
"""

import os
from pathlib import Path

from PIL import Image, ImageOps

{code}

DATA_ROOT = {root!r}
RULE = {rule!r}


def visual(doc):
    """The clip as a path, then the current observation as a picture; a question without progress has no clip."""
    shown = [str(_medium(doc["video"]))] if doc["video"] else []
    with Image.open(_medium(doc["image"])) as picture:
        if picture.has_transparency_data:
            raise ValueError(f"image {{doc['image']}} is transparent in parts; convert it to RGB")
        return [*shown, ImageOps.exif_transpose(picture).convert("RGB")]


def text(doc, lmms_eval_specific_kwargs=None):
    return doc["text"]


def process(doc, results):
    """The verdict, once for the whole level and once for its domain."""
    (response,) = results
    letter = extract_answer(response, doc["options"], RULE).letter
    verdict = {{
        "score": int(letter == doc["answer"]),
        "video_id": doc["video_id"],
        "sample_id": doc["sample_id"],
        "extracted": letter or "",
    }}
    return {{name: verdict for name in ({metric!r}, doc["domain_metric"]) if name}}


def agg(items):
    return sum(item["score"] for item in items) / len(items)


def _medium(name):
    file = Path(os.environ.get("SBR_DATA_ROOT") or DATA_ROOT) / name
    if not file.is_file():
        raise FileNotFoundError(f"{{file}} does not exist; SBR_DATA_ROOT names the folder with videos/ and images/")
    return file
'''

_YAML = """\
{start} {level}, written by sbr {version}; answers are read by the rule "{rule}".
task: {task}
tag: {tag}
dataset_path: json
dataset_kwargs:
  data_files:
    test: {level}.jsonl
test_split: test
output_type: generate_until
doc_to_visual: !function utils.visual
doc_to_text: !function utils.text
doc_to_target: answer
process_results: !function utils.process
generation_kwargs:
  max_new_tokens: {max_new_tokens}
  temperature: 0
  do_sample: false
  until: []
reasoning_tags: "none"
metric_list:
{metrics}
cluster_key: video_id
score_key: score
metadata:
  version: 1.0
  rule: {rule}
"""

_YAML_METRIC = """\
  - metric: {metric}
    aggregation: !function utils.agg
    higher_is_better: true"""

_README = """\
{start}

    lmms-eval --include_path {folder} --tasks {tag} --model qwen2_vl \\
        --model_args pretrained=Qwen/Qwen2-VL-7B-Instruct,max_num_frames=16,min_pixels=63504,max_pixels=63504 \\
        --batch_size 1 --log_samples --output_path results

Tasks: {tasks}. All of them: {tag}. {metric} is the share of right answers; L3 has one metric a domain more.
Answers are read by the rule "{rule}" (utils.py); `--log_samples` keeps the letter of every answer.

This folder may be moved as a whole. The media lie below {root}; elsewhere, say so: SBR_DATA_ROOT=<data root>.
"""


@dataclass(frozen=True, slots=True)
class LmmsEvalPackage:
    """What was written: task names and their numbers of questions."""

    folder: Path
    tasks: Mapping[str, int]


def task_name(level: str) -> str:
    """
    >>> task_name("L1")
    'sbr_seed_bench_r1_l1'
    """
    return f"{TAG}_{level.lower()}"


def domain_metric(domain: str) -> str:
    """
    >>> domain_metric("Daily life")
    'sbr_acc_daily_life'
    """
    return f"{METRIC}_{re.sub(r'[^a-z0-9]+', '_', domain.casefold()).strip('_')}"


def export_lmms_eval(
    folder: Path,
    root: Path,
    levels: Mapping[str, Sequence[Sample]],
    rule: Rule,
    max_new_tokens: int,
    version: str,
) -> LmmsEvalPackage:
    """Write the package of the questions of `levels` (level -> samples of SEED-Bench-R1 below `root`) into `folder`.

    Raises ConfigError when one of its files is there and is something else; DataError for a level without questions,
    media that are missing, clips that lmms-eval takes for no video, and domains that are no metric.  Then nothing is
    written.
    """
    root = root.resolve()  # as the readers of questions do
    values = {"version": version, "rule": rule, "tag": TAG, "metric": METRIC, "root": str(root)}
    names = ", ".join(task_name(level) for level in levels)
    files = {
        "README.md": _README.format(start=_README_START, folder=folder, tasks=names, **values),
        "utils.py": _UTILS.format(start=_UTILS_START, rules=_rules(), code=definitions([EXTRACTOR]), **values),
    }
    for level, samples in levels.items():
        metrics = _metrics(level, samples)
        listed = "\n".join(_YAML_METRIC.format(metric=name) for name in (METRIC, *metrics.values()))
        files[f"{task_name(level)}.yaml"] = _YAML.format(
            start=_YAML_START,
            level=level,
            task=task_name(level),
            metrics=listed,
            max_new_tokens=max_new_tokens,
            **values,
        )
        rows = (_row(sample, root, metrics.get(sample.domain, "")) for sample in samples)
        files[f"{level}.jsonl"] = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    starts = {".md": _README_START, ".py": _UTILS_START, ".yaml": _YAML_START, ".jsonl": _ROWS_START}
    for name in files:
        check_output(folder / name, starts[Path(name).suffix].encode())
    for name, text in files.items():
        replace_file(folder / name, text.encode())
    return LmmsEvalPackage(folder, {task_name(level): len(samples) for level, samples in levels.items()})


def _metrics(level: str, samples: Sequence[Sample]) -> dict[str, str]:
    """Domain -> its metric, in the order of their names; none where all questions are of one domain."""
    if not samples:
        raise DataError(
            f"{level} has no questions, and lmms-eval reads no empty file; name the other levels (--levels)"
        )
    domains = sorted({sample.domain for sample in samples})
    if len(domains) == 1:
        return {}
    metrics = {domain: domain_metric(domain) for domain in domains}
    if len(set(metrics.values())) < len(metrics) or f"{METRIC}_" in metrics.values():
        raise DataError(
            f"{level}: the domains {', '.join(domains)} do not differ in a-z and 0-9, which make up names of metrics; "
            "rename them in the annotation file"
        )
    return metrics


def _row(sample: Sample, root: Path, metric: str) -> dict[str, object]:
    """One line of the data file: the question as it is asked."""
    video, image = sample.video, sample.image
    if not isinstance(image, Path) or not (video is None or isinstance(video, Path)):
        raise ValueError(f"sample {sample.sample_id} is not of SEED-Bench-R1: its media are not whole files")
    if video is not None and video.suffix not in VIDEO_SUFFIXES:
        raise DataError(
            f"{video} of sample {sample.sample_id}: lmms-eval takes {', '.join(VIDEO_SUFFIXES)} for videos and leaves "
            "out others without saying so; convert it"
        )
    for file in (image, video):
        if file is not None and not file.is_file():
            raise DataError(f"{file} of sample {sample.sample_id} does not exist; `sbr data check {root}` lists all")
    return {
        "sample_id": sample.sample_id,
        "level": sample.split,
        "domain": sample.domain,
        "domain_metric": metric,
        "video_id": sample.video_id,
        "video": video.relative_to(root).as_posix() if video else None,
        "image": image.relative_to(root).as_posix(),
        "text": question_text(sample),
        "options": list(sample.options),
        "answer": sample.gold,
    }


def _rules() -> str:
    """What the three rules are, in the words of `reward/answer.py`: its docstring without the first paragraph."""
    return inspect.cleandoc(answer.__doc__ or "").partition("\n\n")[2]
