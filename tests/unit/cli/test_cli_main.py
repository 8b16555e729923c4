"""The command itself: help without heavy imports, one clear message for wrong use."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sbr.cli.main import VERBS, run


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(verb in text for verb in VERBS)


@pytest.mark.parametrize("verb", [[], *([name] for name in VERBS)], ids=["sbr", *VERBS])
def test_help_imports_no_torch(verb: list[str]) -> None:
    code = (
        "import sys\nfrom sbr.cli.main import run\n"
        f"try: run({[*verb, '--help']!r})\nexcept SystemExit as stop: assert not stop.code, stop.code\n"
        "print([name for name in ('torch', 'transformers') if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert "sbr" in done.stdout


def test_unknown_verb_is_one_message(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["grop"]) == 2
    message = capsys.readouterr().err
    assert "unknown verb 'grop'" in message
    assert "Traceback" not in message


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["grpo", "nowhere.toml"], "nowhere.toml does not exist"),
        (["eval"], "--model"),
        (["data", "check", "nowhere"], "nowhere"),
        (["mini", "bild"], "unknown sub-verb 'bild'"),
        (["compare", "nowhere", "elsewhere"], "nowhere"),
    ],
)
def test_user_errors_exit_with_2_and_no_traceback(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    message = capsys.readouterr().err
    assert words in message
    assert "Traceback" not in message
