"""What `sbr export lmms-eval` writes, without lmms-eval; tests/parity runs it with the real one."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sbr.cli.main import run
from sbr.config.inputs import DataConfig
from sbr.config.section import Rule
from sbr.data.sources.select import load_questions
from sbr.integrations.lmms_eval import EXTRACTOR, domain_metric
from sbr.integrations.standalone import definitions
from sbr.mini.build import build
from sbr.prompt.template import question_text
from sbr.reward.answer import extract_answer

GOLDEN = Path(__file__).parents[2] / "golden" / "answers.jsonl"
CASES = [json.loads(line) for line in GOLDEN.read_text("utf-8").splitlines()]
RULES: tuple[Rule, ...] = get_args(Rule)
PIECES = (
    "<answer>",
    "</answer>",
    "<think>",
    "</think>",
    "A",
    "B",
    "b",
    "E",
    "(",
    ")",
    ".",
    ":",
    " - ",
    "\n",
    " ",
    "**",
)
WORDS = ("The answer is ", "option ", "open tap", "close tap", "Any", "\uff22", "\u2014", "'", "`", "or ")


def loaded(source: str, name: str = "utils") -> ModuleType:
    """Run `source` as frameworks do: without an entry in sys.modules."""
    module = ModuleType(name)
    exec(compile(source, name, "exec", dont_inherit=True), module.__dict__)
    return module


@pytest.fixture(scope="module")
def alone() -> ModuleType:
    return loaded(definitions([EXTRACTOR]))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mini")
    build(root, train=8, val=8, seed=3, workers=1)
    return root


@pytest.fixture(scope="module")
def package(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tasks") / "sbr"
    assert run(["export", "lmms-eval", str(folder), "--data", str(root), "--rule", "strict"]) == 0
    return folder


def task(package: Path, level: str) -> dict[str, Any]:
    text = (package / f"sbr_seed_bench_r1_{level.lower()}.yaml").read_text("utf-8")
    return yaml.safe_load(text.replace("!function ", ""))


def docs(package: Path, level: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (package / f"{level}.jsonl").read_text("utf-8").splitlines()]


def test_rule_alone_imports_the_standard_library_only() -> None:
    imports = re.findall(r"^(?:from|import) (\w+)", definitions([EXTRACTOR]), re.MULTILINE)
    assert imports and set(imports) <= sys.stdlib_module_names


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_rule_alone_reads_the_golden_answers(alone: ModuleType, case: dict[str, Any], rule: Rule) -> None:
    assert alone.extract_answer(case["response"], case["options"], rule).letter == case[rule]


@given(
    response=st.one_of(st.text(), st.lists(st.sampled_from(PIECES + WORDS)).map("".join)),
    inside=st.lists(st.sampled_from(PIECES[4:] + WORDS), max_size=5).map("".join),
    options=st.lists(
        st.sampled_from(("open tap", "close tap", "A", "yes", "take vitamin C", "")), min_size=2, max_size=5
    ),
    rule=st.sampled_from(RULES),
)
@settings(deadline=None, max_examples=500)
def test_rule_alone_is_the_extractor(
    alone: ModuleType, response: str, inside: str, options: list[str], rule: Rule
) -> None:
    for text in (response, f"{response}<answer>{inside}</answer>"):
        ours = extract_answer(text, options, rule)
        theirs = alone.extract_answer(text, options, rule)
        assert (theirs.letter, theirs.rule, theirs.reason) == (ours.letter, ours.rule, ours.reason)


def test_rows_are_the_questions(package: Path, root: Path) -> None:
    for level in ("L1", "L2", "L3"):
        samples = load_questions(DataConfig(root=root), level, None)
        for doc, sample in zip(docs(package, level), samples, strict=True):
            assert (doc["sample_id"], doc["answer"]) == (sample.sample_id, sample.gold)
            assert (doc["text"], tuple(doc["options"])) == (question_text(sample), sample.options)
            assert root.resolve() / doc["image"] == sample.image
            assert (root.resolve() / doc["video"] if doc["video"] else None) == sample.video


def test_tasks_say_what_lmms_eval_would_do_otherwise(package: Path) -> None:
    found = task(package, "L1")
    assert found["generation_kwargs"] == {"max_new_tokens": 256, "temperature": 0, "do_sample": False, "until": []}
    assert found["reasoning_tags"] == "none"
    assert (found["cluster_key"], found["score_key"]) == ("video_id", "score")
    assert [metric["metric"] for metric in found["metric_list"]] == ["sbr_acc"]
    metrics = {metric["metric"] for metric in task(package, "L3")["metric_list"]}
    assert metrics == {"sbr_acc"} | {doc["domain_metric"] for doc in docs(package, "L3")}
    assert len(metrics) > 2


def test_utils_score_and_show(package: Path, root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    utils = loaded((package / "utils.py").read_text("utf-8"))
    doc = next(doc for doc in docs(package, "L3") if doc["video"])
    verdicts = utils.process(doc, [f"<answer>({doc['answer']})</answer>"])  # the strict rule reads brackets
    assert verdicts.keys() == {"sbr_acc", doc["domain_metric"]}
    assert verdicts["sbr_acc"]["score"] == 1
    assert verdicts["sbr_acc"]["video_id"] == doc["video_id"]
    wrong = utils.process(doc, ["no tags"])["sbr_acc"]
    assert utils.agg([verdicts["sbr_acc"], wrong]) == 0.5
    video, image = utils.visual(doc)
    assert Path(video) == root.resolve() / doc["video"] and isinstance(image, Image.Image)
    assert len(utils.visual({**doc, "video": None})) == 1
    monkeypatch.setenv("SBR_DATA_ROOT", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="SBR_DATA_ROOT"):
        utils.visual(doc)


def test_utils_run_without_the_package(package: Path) -> None:
    code = "import sys; sys.path.insert(0, '.'); import utils; assert 'sbr' not in sys.modules; print(utils.RULE)"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=package, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "strict"


def test_export_again_replaces_its_own_files_and_no_others(package: Path, root: Path, tmp_path: Path) -> None:
    assert run(["export", "lmms-eval", str(package), "--data", str(root), "--rule", "strict"]) == 0
    (tmp_path / "utils.py").write_text("mine")
    assert run(["export", "lmms-eval", str(tmp_path), "--data", str(root)]) == 2
    assert [file.name for file in tmp_path.iterdir()] == ["utils.py"]


def test_missing_media_are_refused(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sample = load_questions(DataConfig(root=root), "L1", None)[0]
    assert isinstance(sample.image, Path)
    kept = sample.image.rename(sample.image.with_suffix(".kept"))
    try:
        assert run(["export", "lmms-eval", str(tmp_path / "out"), "--data", str(root)]) == 2
    finally:
        kept.rename(sample.image)
    assert sample.image.name in re.sub(r"\s", "", capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "words", [["nemo"], ["lmms-eval", "x", "--data", "y", "--max-new-tokens", "0"], ["lmms-eval", "x", "--data", "no"]]
)
def test_wrong_use_is_refused(words: list[str]) -> None:
    assert run(["export", *words]) == 2


def test_names_of_domain_metrics() -> None:
    assert domain_metric("Daily life") == "sbr_acc_daily_life"
    assert domain_metric("Work & Play!") == "sbr_acc_work_play"
