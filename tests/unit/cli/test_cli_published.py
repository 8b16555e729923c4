"""`sbr published`: tables in the terminal, the document, files of one's own."""

from pathlib import Path

from sbr.cli.main import run

DOCUMENT = Path(__file__).parents[3] / "docs" / "published.md"
ROWS = """
[[table]]
benchmark = "SEED-Bench-R1"
source = "me"
place = "a notebook"
checked = "itself"
columns = ["L1 Daily life"]
rows = [{ model = "M", method = "RLOO", percent = [46.01] }]
"""


def test_tables_are_printed_and_the_document_is_written(tmp_path, capsys):
    assert run(["published"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for words in (
        "SEED-Bench-R1: levels",
        "LongVideoBench",
        "SBR-Mini, version 0.1",
        "Totals that their parts do not make",
    ):
        assert words in shown
    file = tmp_path / "published.md"
    assert run(["published", "--out", str(file)]) == 0
    assert file.read_bytes() == DOCUMENT.read_bytes()
    assert run(["published", "--out", str(file)]) == 0, "its own document is replaced"


def test_rows_of_a_file_stand_in_tables_and_document(tmp_path, capsys):
    rows, file = tmp_path / "rows.toml", tmp_path / "published.md"
    rows.write_text(ROWS, "utf-8")
    assert run(["published", str(rows), "--out", str(file)]) == 0
    assert "| M, RLOO | 46.01 [44.04, 48.00] | - | - |" in file.read_text("utf-8")
    rows.write_text(ROWS.replace("46.01", "460.1"), "utf-8")
    assert run(["published", str(rows), "--out", str(file)]) == 2
    assert "row 1 (M, RLOO): percent[0] is 460.1" in " ".join(capsys.readouterr().err.split())


def test_another_file_is_not_overwritten(tmp_path, capsys):
    file = tmp_path / "notes.md"
    file.write_text("# Notes\n", "utf-8")
    assert run(["published", "--out", str(file)]) == 2
    assert file.read_text("utf-8") == "# Notes\n"
    assert "holds something else" in " ".join(capsys.readouterr().err.split())
