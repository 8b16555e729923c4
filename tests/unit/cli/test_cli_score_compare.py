"""`sbr score` and `sbr compare` on files, as a user calls them."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sbr.cli.main import run
from sbr.eval.records import LINES, read_records
from sbr.resume.journal import Journal
from sbr.types import EvalRecord

TAGGED = "<think>the tap</think><answer>{}</answer>"


def records(letters: str, level: str = "L1") -> list[EvalRecord]:
    """One letter an answer, as in "(B)" so that only the strict rule reads it; gold is B."""
    return [
        EvalRecord(
            sample_id=str(i),
            level=level,
            domain="Daily life",
            sample_index=0,
            prompt="p",
            options=("open tap", "close tap"),
            response=TAGGED.format(f"({letter})"),
            extracted=None,
            gold="B",
            correct=False,
            rule="official",
            completion_tokens=1,
            truncated=False,
            seconds=0.1,
            video_id=f"P{i // 2}",
        )
        for i, letter in enumerate(letters)
    ]


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for name, letters in (("base", "AABA"), ("grpo", "BBBA")):
        with Journal(tmp_path / name / "records.jsonl", LINES) as file:
            file.append([*records(letters), *(replace(r, level="L2") for r in records(letters[::-1]))])
    return tmp_path / "base", tmp_path / "grpo"


def test_score_prints_both_accuracies_and_writes_the_file(folders, tmp_path, capsys):
    out = tmp_path / "strict.jsonl"
    assert run(["score", str(folders[1] / "records.jsonl"), "--rule", "strict", "--out", str(out)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["L1", "4", "0.00", "(100.00)", "75.00", "(0.00)", "3", "0"] in lines
    assert [record.correct for record in read_records(out)] == [True, True, True, False, False, True, True, True]


def test_score_takes_the_folder_and_refuses_its_own_records(folders, capsys):
    own = folders[0] / "records.jsonl"
    before = own.read_bytes()
    assert run(["score", str(folders[0]), "--rule", "care", "--out", str(own)]) == 2
    assert "the file that is read" in " ".join(capsys.readouterr().err.split())
    assert own.read_bytes() == before


def test_score_imports_no_model_library(folders, tmp_path):
    code = (
        "import sys\nfrom sbr.cli.main import run\n"
        f"assert run(['score', {str(folders[0])!r}, '--rule', 'care', '--out', {str(tmp_path / 'o.jsonl')!r}]) == 0\n"
        "print([name for name in ('torch', 'transformers', 'scipy') if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_compare_takes_folders_and_files_of_score(folders, tmp_path, capsys):
    assert run(["compare", *map(str, folders)]) == 0
    assert "0.00" in capsys.readouterr().out
    files = [str(tmp_path / f"{folder.name}.jsonl") for folder in folders]
    for folder, file in zip(folders, files, strict=True):
        assert run(["score", str(folder), "--rule", "strict", "--out", file]) == 0
    capsys.readouterr()
    table = tmp_path / "table.md"
    assert run(["compare", *files, "--names", "base", "GRPO", "--out", str(table)]) == 0
    printed, text = capsys.readouterr().out, table.read_text("utf-8")
    for words in (printed, text):
        assert "GRPO against base" in words
        assert "by 2 videos" in words
        assert "+50.00" in words
    assert "Rule strict." in text
    assert "Table 2" not in text


def test_compare_of_several_gives_accuracies_and_the_difference_of_each_two(folders, tmp_path, capsys):
    files = [tmp_path / name for name in ("b.jsonl", "g.jsonl", "third.jsonl")]
    for folder, file in zip(folders, files, strict=False):
        assert run(["score", str(folder), "--rule", "strict", "--out", str(file)]) == 0
    shutil.copy(files[0], files[2])
    table = tmp_path / "table.md"
    words = ["--names", "base", "grpo", "third", "--out", str(table)]
    assert run(["compare", *map(str, files), *words]) == 0
    accuracies, differences = table.read_text("utf-8").split("### ")[1:]
    names = [line.split(" | ")[0].removeprefix("| ") for line in accuracies.splitlines() if line.startswith("| ")]
    assert names == ["model", "base", "grpo", "third"]
    cells = {line.split(" | ")[0]: line.split(" | ")[1:] for line in differences.splitlines() if " against " in line}
    assert list(cells) == ["| grpo against base", "| third against base", "| third against grpo"]
    assert all(cell.startswith("+50.00") for cell in cells["| grpo against base"])
    assert all(cell.startswith("+0.00") and "p 1.000" in cell for cell in cells["| third against base"])
    assert all(cell.startswith("-50.00") for cell in cells["| third against grpo"])
    assert "p-values are not corrected" in differences
    assert "paper:" not in capsys.readouterr().out


def test_compare_prints_the_papers_rows_beside_two_runs_or_one(folders, tmp_path, capsys):
    table = tmp_path / "table.md"
    assert run(["compare", *map(str, folders), "--paper", "--out", str(table)]) == 0
    text = table.read_text("utf-8")
    for words in ("| model | L1 Daily life | L2 Daily life |", "| paper: GRPO | 46.01 [44.04, 48.00] |", "| grpo |"):
        assert words in text
    assert "NOT THE SAME QUESTIONS" in text
    assert "grpo against base" in text
    assert run(["compare", str(folders[0]), "--paper", "--out", str(table)]) == 0
    assert "against" not in table.read_text("utf-8").replace("sbr", "")
    assert "paper: base" in capsys.readouterr().out


def test_compare_prints_published_rows_of_a_file(folders, tmp_path, capsys):
    rows = tmp_path / "rows.toml"
    rows.write_text(
        '[[table]]\nbenchmark = "SEED-Bench-R1"\nsource = "me"\nplace = "a notebook"\nchecked = "itself"\n'
        'columns = ["L1 Daily life"]\nrows = [{ model = "M", method = "RLOO", percent = [46.01] }]\n',
        "utf-8",
    )
    table = tmp_path / "table.md"
    assert run(["compare", str(folders[0]), "--published", str(rows), "--out", str(table)]) == 0
    text = table.read_text("utf-8")
    assert "| M, RLOO (me, a notebook) | 46.01 [44.04, 48.00] | - |" in text
    assert "paper:" not in text
    assert "NOT THE SAME QUESTIONS" in text
    rows.write_text("[[table]]\n", "utf-8")
    assert run(["compare", str(folders[0]), "--published", str(rows)]) == 2
    assert "table 1: benchmark is missing" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["base"], "needs two evaluations, or one and --paper or --published"),
        (["base", "grpo", "--names", "one"], "give 2 different name(s)"),
        (["base", "grpo", "--names", "one", "one"], "give 2 different name(s)"),
        (["base", "grpo/strict.jsonl"], "does not exist"),
    ],
)
def test_compare_refuses_with_one_message(folders, words, message, capsys, monkeypatch):
    monkeypatch.chdir(folders[0].parent)
    assert run(["compare", *words]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_evaluations_of_one_name_are_called_by_their_paths(folders, tmp_path, capsys, monkeypatch):
    for folder in folders:
        (folder / "eval").mkdir()
        (folder / "records.jsonl").rename(folder / "eval" / "records.jsonl")
    monkeypatch.chdir(tmp_path)
    assert run(["compare", "base/eval", "grpo/eval"]) == 0
    assert "grpo/eval against base/eval" in capsys.readouterr().out
