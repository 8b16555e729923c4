"""Model cards: what they say, what the hub reads in them, whose text stays, and that their code answers as we do."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from safetensors.torch import load_file, save_file

from sbr.card import blocks
from sbr.card.card import Evaluation, Result, card_of_merged, card_of_training, holds_card, results_text
from sbr.card.loading import code_in, transformers_code
from sbr.card.training import Trained, changed
from sbr.cli.main import run
from sbr.config.inputs import DataConfig, FramesConfig
from sbr.config.load import validate
from sbr.config.recipes import EvalRecipe, GrpoRecipe, SftRecipe
from sbr.data.sources.select import load_questions
from sbr.errors import DataError
from sbr.eval.records import read_records
from sbr.eval.runner import evaluate
from sbr.eval.summary import read_summary
from sbr.mini.build import build
from sbr.model.paths import resolve_model_path
from sbr.prompt.template import question_text

MINI = FramesConfig(height=84, width=84)


def recipe(kind: Any = GrpoRecipe, **sections: Any) -> Any:
    values = {"model": {"path": "Qwen/Qwen2-VL-7B-Instruct"}, "data": {"root": "/secret/data"}, **sections}
    return validate(kind, {"output_dir": "/secret/run", **values}, "test")


def line(step: int, **figures: Any) -> dict[str, Any]:
    return {"step": step, "epoch": step * 8 / 400, "reward_mean": 0.1 * step, "loss": -0.5, "kl": None, **figures}


def trained(kind: Any = GrpoRecipe, steps: int = 12, **sections: Any) -> Trained:
    lines = [line(step, validation_accuracy={"L1": 0.25} if step == 6 else {}) for step in range(1, steps + 1)]
    return Trained(recipe(kind, **sections), steps, lines, {"training_6k.jsonl": "ab12", "/secret/cot.jsonl": "cd34"})


def test_the_hub_reads_the_front() -> None:
    data = ModelCard(card_of_training(trained())).data.to_dict()
    assert data == {
        "library_name": "transformers",
        "pipeline_tag": "video-text-to-text",
        "license": "other",
        "base_model": "Qwen/Qwen2-VL-7B-Instruct",
        "base_model_relation": "finetune",
        "tags": ["seed-bench-r1", "video", "reasoning", "grpo"],
    }
    data = ModelCard(card_of_training(trained(SftRecipe, lora={"rank": 4}))).data.to_dict()
    assert (data["library_name"], data["base_model_relation"]) == ("peft", "adapter")
    assert data["tags"][-2:] == ["sft", "lora"]


def test_it_says_recipe_data_curves_and_no_place_of_this_machine() -> None:
    text = card_of_training(trained(train={"seed": 7, "learning_rate": 3e-6}, frames={"max_frames": 8}))
    for words in (
        "train.learning_rate = 3e-06\n",
        "frames.max_frames = 8\n",
        "| seeds | train.seed 7, data.seed 0 |",
        "| steps | 12, each of 8 questions |",
        "\n400 questions.\n",
        "| training_6k.jsonl | `ab12` |",
        "| cot.jsonl | `cd34` |",
        "| reward | 0.75 |",  # the mean of 0.3 to 1.2
        "mean of the last 10 steps",
        "| L1, % right | 25.0 | 6 |",
        "max_frames",
        "torch 2.",
    ):
        assert words in text, words
    assert "/secret" not in text and "KL to" not in text and "save_every" not in text
    assert dict(changed(recipe(train={"seed": 7}))) == {"train.seed": 7}


def test_a_model_of_a_folder_is_named_by_its_own_card(tmp_path: Path) -> None:
    folder = tmp_path / "sft | `final`"
    folder.mkdir()
    text = card_of_training(trained(model={"path": str(folder)}))
    assert "base_model:" not in text and "# GRPO of sft \\| 'final'\n" in text and str(tmp_path) not in text
    (folder / "README.md").write_text(card_of_training(trained(SftRecipe)), "utf-8")
    assert (
        ModelCard(card_of_training(trained(model={"path": str(folder)}))).data.base_model == "Qwen/Qwen2-VL-7B-Instruct"
    )
    (folder / "README.md").write_bytes(b"\xff\xfe no text")
    assert "base_model:" not in card_of_training(trained(model={"path": str(folder)}))


def test_a_recipe_cannot_end_a_block() -> None:
    odd = 'a<!-- /sbr:training -->```\n"'.replace("\n", " ")
    text = card_of_training(trained(model={"path": f"x/{odd}/y"}, data={"root": "d", "train_file": odd}))
    assert blocks.names_of(text, "card") == ["training", "results", "loading"]
    assert blocks.body_of(text, "training").count("```") == 2


def test_what_people_wrote_stays_when_the_model_is_replaced() -> None:
    old = (
        card_of_training(trained())
        .replace("license: other", "license: apache-2.0")
        .replace("## Results", "## Mine\n\nx")
    )
    old = blocks.put(old, "results", "99 %", "card")
    new = card_of_training(trained(steps=20), old)
    assert "license: apache-2.0" in new and "## Mine\n\nx\n" in new and "99 %" not in new
    assert "| steps | 20, each" in new and "| steps | 12, each" not in new
    assert card_of_training(trained(), "# somebody's\n") == card_of_training(trained())


@pytest.mark.parametrize(
    "text",
    [
        *("<!-- sbr:a -->", "<!-- /sbr:a -->", "<!-- /sbr:a --><!-- sbr:a -->", "<!-- sbr:a --><!-- /sbr:b -->"),
        *("<!-- sbr:a --><!-- sbr:b --><!-- /sbr:a --><!-- /sbr:b -->", 2 * "<!-- sbr:a --><!-- /sbr:a -->"),
    ],
)
def test_marks_that_do_not_pair_up_are_refused(text: str) -> None:
    with pytest.raises(DataError, match=r"^here: the marks .* do not pair up"):
        blocks.put(text, "a", "new", "here")


def test_a_block_is_replaced_and_the_rest_is_not_touched() -> None:
    text = "before\r\n<!-- sbr:a -->\nold\n<!-- /sbr:a -->\n\n\nafter \\1"
    assert blocks.put(text, "a", "new \\1", "x") == "before\r\n<!-- sbr:a -->\nnew \\1\n<!-- /sbr:a -->\n\n\nafter \\1"
    assert blocks.put("mine\n\n\n", "a", "new", "x") == "mine\n\n<!-- sbr:a -->\nnew\n<!-- /sbr:a -->\n"


def test_results_have_their_intervals() -> None:
    text = results_text([Evaluation("greedy | x", (Result("L1", 2432, 0.4601, 0.4404, 0.48),))])
    assert "greedy \\| x:" in text and "| L1 | 2,432 | 46.0 [44.0, 48.0] |" in text


def test_a_merged_adapter_has_the_card_of_the_adapter(tmp_path: Path) -> None:
    text = card_of_training(trained(lora={"rank": 4}, frames={"height": 84, "width": 84})) + "\nMy words.\n"
    adapter = tmp_path / "final"
    adapter.mkdir()
    (adapter / "README.md").write_text(blocks.put(text, "results", "99 %", "x"), "utf-8")
    merged = card_of_merged(adapter, "Qwen/Qwen2-VL-7B-Instruct", "bfloat16")
    data = ModelCard(merged).data.to_dict()
    assert (data["library_name"], data["base_model_relation"]) == ("transformers", "finetune")
    assert "My words." in merged and "99 %" not in merged and "sbr merge" not in merged
    assert "holds the adapter `final` added to its base in float32, as bfloat16." in merged
    assert code_in(blocks.body_of(merged, "loading")) == transformers_code(MINI, 256)
    (adapter / "README.md").write_text("---\nlibrary_name: peft\n---\npeft's own\n")
    assert "peft" not in card_of_merged(adapter, "sbr:mini", "float32")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mini") / "data"
    build(root, 1, 2, 0, 1)
    return root


@pytest.fixture(scope="module")
def evaluated(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with model/, the package's base model with a card, and eval/, its greedy answers to L1."""
    place = tmp_path_factory.mktemp("evaluated")
    shutil.copytree(resolve_model_path("sbr:mini"), place / "model")
    (place / "model" / "README.md").write_text(card_of_training(trained(frames=MINI.model_dump())), "utf-8")
    evaluate(asked(root, place / "model", place / "eval"))
    return place


def asked(root: Path, model: Path, out: Path) -> EvalRecipe:
    values = {"model": {"path": str(model), "dtype": "float32"}, "data": {"root": root}, "output_dir": out}
    values |= {"frames": MINI.model_dump(), "eval": {"levels": ["L1"], "max_new_tokens": 32}}
    return validate(EvalRecipe, values, "test")


def test_the_code_of_a_card_answers_as_our_engine_does(
    root: Path, evaluated: Path, tmp_path: Path, monkeypatch
) -> None:
    """Greedy, float32, the official rule of frames: the same text for both questions."""
    monkeypatch.chdir(tmp_path)
    records = read_records(evaluated / "eval" / "records.jsonl")
    text = blocks.read_card(evaluated / "model")
    code = code_in(blocks.body_of(text or "", "loading"))
    assert code is not None and "(84, 84)" in code
    for sample, record in zip(load_questions(DataConfig(root=root), "L1", None), records, strict=True):
        shutil.copy(str(sample.video), "clip.mp4")
        shutil.copy(str(sample.image), "now.png")
        start = code.index('question = """')
        end = code.index('"""', start + 14) + 3
        program = code[:start] + f"question = {question_text(sample)!r}" + code[end:]
        program = program.replace('folder = "."', f"folder = {str(evaluated / 'model')!r}")
        program = program.replace("max_new_tokens=256", "max_new_tokens=32")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(program, {})
        assert (sample.sample_id, printed.getvalue()) == (record.sample_id, record.response + "\n")


def test_results_go_into_the_card_and_nothing_else_changes(evaluated: Path, tmp_path: Path, capsys) -> None:
    shutil.copytree(evaluated, tmp_path / "copy")
    model, folder = tmp_path / "copy" / "model", tmp_path / "copy" / "eval"
    mine = (model / "README.md").read_text("utf-8") + "\nMine.\n"
    (model / "README.md").write_text(mine, "utf-8")
    for _ in range(2):  # again gives the same
        assert run(["card", str(model), str(folder)]) == 0
        new = (model / "README.md").read_text("utf-8")
        summary = read_summary(folder / "summary.json").levels[0].overall
        low, high = 100 * summary.interval.low, 100 * summary.interval.high
        assert f"| L1 | 2 | {100 * summary.accuracy:.1f} [{low:.1f}, {high:.1f}] |" in blocks.body_of(new, "results")
        assert "greedy, at most 32 tokens, rule official, weights as float32" in new
        assert blocks.put(new, "results", blocks.body_of(mine, "results"), "x") == mine
    assert holds_card(model) and sorted(path.name for path in model.glob("*.tmp")) == []


def test_results_of_other_weights_are_refused(evaluated: Path, tmp_path: Path, capsys) -> None:
    shutil.copytree(evaluated, tmp_path / "copy")
    model, folder = tmp_path / "copy" / "model", tmp_path / "copy" / "eval"
    before = (model / "README.md").read_bytes()
    weights = load_file(model / "model.safetensors")
    weights[min(weights)] += 1e-3
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    assert run(["card", str(model), str(folder)]) == 2
    assert "asked other weights than those" in " ".join(capsys.readouterr().err.split())
    (folder / "inputs.json").write_text('{"annotations/validation_L1.jsonl": "00"}')
    assert run(["card", str(model), str(folder)]) == 2
    assert "does not say which weights answered" in " ".join(capsys.readouterr().err.split())
    (folder / "summary.json").unlink()
    assert run(["card", str(model), str(folder)]) == 2
    assert "summary.json does not exist" in " ".join(capsys.readouterr().err.split())
    assert (model / "README.md").read_bytes() == before


def test_wrong_use_is_refused(evaluated: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "empty").mkdir()
    for words, message in (
        ([str(tmp_path / "nowhere"), "x"], "is no folder of a finished run or of a model"),
        ([str(evaluated / "model")], "name the folders of the evaluations"),
        ([str(tmp_path / "empty"), str(evaluated / "eval")], "has no README.md to write into"),
    ):
        assert run(["card", *words]) == 2
        assert message in " ".join(capsys.readouterr().err.split())
    (tmp_path / "empty" / "README.md").write_text("mine")
    assert run(["card", str(tmp_path / "empty"), str(evaluated / "eval")]) == 2
    assert "holds no weights" in " ".join(capsys.readouterr().err.split())


def test_a_run_from_before_there_were_cards_gets_one(evaluated: Path, tmp_path: Path) -> None:
    shutil.copytree(evaluated / "model", tmp_path / "run" / "final")
    shutil.copytree(evaluated / "eval", tmp_path / "run" / "eval")
    (tmp_path / "run" / "final" / "README.md").unlink()
    (tmp_path / "run" / "recipe.json").write_text(recipe(train={"seed": 5}).model_dump_json())
    (tmp_path / "run" / "metrics.jsonl").write_text("".join(json.dumps(line(step)) + "\n" for step in (1, 2)))
    assert run(["card", str(tmp_path / "run")]) == 0
    text = (tmp_path / "run" / "final" / "README.md").read_text("utf-8")
    assert "train.seed = 5" in text and "| steps | 2, each" in text and "| L1 | 2 |" in text
