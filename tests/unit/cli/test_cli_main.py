"""The command itself: help without heavy imports, one clear message for wrong use."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from sbr.cli.console import has_control
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


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "runs/a.jsonl"),
            "runs/a.jsonl: No space left on device; free",
        ),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "runs"), "runs: Disk quota exceeded; your quota"),
        (OSError(errno.EROFS, "Read-only file system", "r"), "r: Read-only file system; nothing can be written there"),
        (PermissionError(errno.EACCES, "Permission denied", "r"), "r: Permission denied; the system does not allow it"),
        (OSError(errno.EPERM, "Operation not permitted", "r"), "r: Operation not permitted; the system"),
        (OSError(errno.ELOOP, "Too many levels of symbolic links", "r"), "r: Too many levels of symbolic links; it is"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "r"), "r: File name too long; choose a shorter name"),
        (
            NotADirectoryError(errno.ENOTDIR, "Not a directory", "r"),
            "r: Not a directory; a part of this path is a file",
        ),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "r"), "r: Is a directory; it is a folder: name a file"),
        (
            FileNotFoundError(errno.ENOENT, "No such file or directory", "r"),
            "r: No such file or directory; it does not",
        ),
        (OSError(errno.EMFILE, "Too many open files"), "a file that the system does not name: Too many open files"),
        (OSError(errno.ENOENT, "No such file or directory", b"a\xe9"), "a\ufffd: No such file or directory"),
        (OSError("no file named config.json"), "OSError: no file named config.json"),
        (MemoryError(), "out of memory: no more can be had; lower eval.batch_size"),
        (MemoryError("Unable to allocate 9 TiB"), "out of memory: Unable to allocate 9 TiB; lower eval.batch_size"),
        (
            RuntimeError("CUDA out of memory. Tried\nto allocate"),
            "out of memory: CUDA out of memory. Tried; lower eval",
        ),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: x"), "out of memory: DefaultCPUAllocator"),
    ],
)
def test_what_the_system_refuses_is_one_message(
    error: Exception, words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: list[str]) -> None:
        raise error

    monkeypatch.setattr("sbr.cli.eval.run", fail)
    assert run(["eval"]) == 2
    message = capsys.readouterr().err
    assert message.startswith(f"error: {words}")
    assert message.count("\n") == 1


@pytest.mark.parametrize("error", [RuntimeError("a bug"), KeyError("x"), ValueError("y"), RecursionError("deep")])
def test_bugs_keep_their_traceback(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: list[str]) -> None:
        raise error

    monkeypatch.setattr("sbr.cli.eval.run", fail)
    with pytest.raises(type(error)):
        run(["eval"])


def test_words_that_would_command_the_terminal_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["\x1b[31meval"], ["eval", "--out", "a\x1b]0;x\x07"], ["compare", "a", "b\u202e"]):
        assert run(words) == 2
        message = capsys.readouterr().err
        assert "holds characters that cannot be shown" in message
        assert not has_control(message)


def test_a_reader_that_leaves_ends_the_command_quietly() -> None:
    code = "from sbr.cli.main import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", code, "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


REFUSALS = (
    "grop",
    "grpo nowhere.toml",
    "grpo {recipes}/grpo.toml --data.root nowhere",
    "grpo {recipes}/grpo.toml --train.sed 3",
    "grpo {recipes}/grpo.toml --data.root {data} --model.path no/where/at/all",
    "sft nowhere.toml",
    "sft {recipes}/sft.toml --data.root nowhere",
    "sft {recipes}/sft.toml --data.root {data} --data.cot_file nowhere.jsonl",
    "distill nowhere.toml",
    "distill {recipes}/distill.toml --data.root nowhere",
    "eval",
    "eval nowhere.toml",
    "eval --run nowhere",
    "eval --model nowhere --data nowhere --out out",
    "eval --model nowhere --data {data} --out out --levels L1",
    "eval {recipes}/eval.toml --data.root nowhere",
    "compare nowhere elsewhere",
    "controls nowhere",
    "score nowhere --rule strict --out out",
    "merge no/where/at/all out",
    "data chek",
    "data check nowhere",
    "data cache nowhere",
    "data build nowhere.jsonl --out out",
    "data download nope --root out",
    "mini bild",
    "mini build /proc/x --train 1 --val 1",
    "mini pretrain nowhere.toml",
    "mini reasoning nowhere",
    "demo --train 0 --out out",
    "demo --steps 0 --out out",
)


def test_a_simple_refusal_does_not_wait_for_torch(tmp_path: Path) -> None:
    """Importing it takes seconds.  One process for all verbs: what one of them imports, the next ones have."""
    recipes = Path(__file__).parents[3] / "recipes" / "mini"
    annotations = tmp_path / "data" / "annotations"
    annotations.mkdir(parents=True)
    for name in ("training_6k.jsonl", "training_with_cot_6k.jsonl", "validation_L1.jsonl"):
        (annotations / name).touch()
    code = (
        "import sys\nfrom sbr.cli.main import run\nfor words in sys.argv[1:]:\n"
        "    try: status = run(words.split())\n    except SystemExit as stop: status = stop.code\n"
        "    heavy = [name for name in ('torch', 'transformers', 'accelerate') if name in sys.modules]\n"
        "    if status != 2 or heavy: sys.exit(f'sbr {words}: status {status}, imported {heavy}')\n"
    )
    lines = [line.format(recipes=recipes, data=tmp_path / "data") for line in REFUSALS]
    done = subprocess.run([sys.executable, "-c", code, *lines], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert {path.name for path in tmp_path.iterdir()} == {"data"}
