"""`sbr distill`: its words, its help, and what it prints of a report."""

from pathlib import Path

import pytest
from rich.console import Console

from sbr.cli.distill import headline, parse, report_tables
from sbr.cli.main import run
from sbr.config.load import load_recipe
from sbr.config.recipes import DistillRecipe
from sbr.distill.report import Hard, Report

RECIPES = Path(__file__).parents[3] / "recipes"


@pytest.mark.parametrize(
    "words", [["--limit", "7"], ["--limit=7"], ["--data.limit", "7"], ["--distill.keep", "2", "--limit", "7"]]
)
def test_limit_stands_for_the_key_of_the_data(words: list[str]) -> None:
    recipe = parse([str(RECIPES / "mini" / "distill.toml"), *words])
    assert recipe.data.limit == 7
    assert recipe.distill.keep == (2 if "--distill.keep" in words else None)
    assert parse(["--limit", "7", str(RECIPES / "mini" / "distill.toml")]).data.limit == 7


def test_the_recipes_of_the_project_load() -> None:
    small = load_recipe(DistillRecipe, RECIPES / "mini" / "distill.toml")
    large = load_recipe(DistillRecipe, RECIPES / "qwen2vl_7b" / "distill.toml")
    assert (small.engine.kind, large.engine.kind) == ("native", "endpoint")
    trained = load_recipe(DistillRecipe, RECIPES / "mini" / "distill.toml").data
    assert trained.train_file == large.data.train_file == "training_6k.jsonl"


def test_help_shows_examples_and_every_key(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        run(["distill", "--help"])
    assert stop.value.code == 0
    assert "sbr distill recipes/mini/distill.toml --limit 100" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        run(["distill", str(RECIPES / "mini" / "distill.toml"), "--help"])
    assert "--distill.max-words" in capsys.readouterr().out.replace("max_words", "max-words")


def test_tables_show_reasons_that_occurred_and_the_hardest_questions() -> None:
    report = Report(
        teacher="big",
        engine="endpoint",
        questions=20,
        samples=2,
        answers=40,
        kept=10,
        questions_kept=8,
        verdicts={"kept": 10, "format": 0, "wrong": 30},
        kept_per_question=(12, 6, 2),
        right_per_question=(12, 6, 2),
        seconds=20.0,
        answers_per_second=2.0,
        tokens=None,
        tokens_per_second=None,
        hardest=tuple(Hard(f"id{n}", "make tea", "boil kettle", 0, "wrong") for n in range(12)),
    )
    line = headline(report)
    assert line == "10 of 40 answers kept (25.0 %), for 8 of 20 questions; 20 s of asking, 2.00 answers/s"
    console = Console(width=120, record=True)
    for table in report_tables(report):
        console.print(table)
    text = console.export_text()
    assert "75.0" in text
    assert "format" not in text
    assert "id9" in text
    assert "id10" not in text
    assert "12 questions, the hardest 10" in text
