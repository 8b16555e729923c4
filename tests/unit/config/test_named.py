"""Functions of the user's own: where they are found, and what is said when they are not or fail."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sbr.config.named import call_named, call_named_number, load_named, source_files
from sbr.errors import ConfigError, DataError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, which is on no path of Python's yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    load_named.cache_clear()
    return tmp_path


def test_a_function_of_the_current_directory_and_of_a_package_is_found(folder: Path) -> None:
    assert load_named("math:floor", "key")(2.5) == 2
    assert str(folder) not in sys.path  # nothing of it was needed yet
    (folder / "named_one.py").write_text("def double(x):\n    return 2 * x\n")
    (folder / "named_package").mkdir()
    (folder / "named_package" / "deep.py").write_text("import named_one\nhalf = lambda x: x / 2\n")
    assert call_named("named_one:double", "key", 3) == 6
    assert sys.path[-1] == str(folder)  # last, or its files would replace modules that are imported later
    assert call_named_number("named_package.deep:half", "key", 3) == 1.5


def test_a_file_does_not_take_the_place_of_an_installed_module(folder: Path) -> None:
    (folder / "pydantic.py").write_text("raise SystemError\n")
    assert load_named("pydantic:create_model", "key").__module__ == "pydantic.main"


@pytest.mark.parametrize(
    ("text", "name", "words"),
    [
        ("", "named_none:f", r"there is no module 'named_none' in .*start sbr where named_none\.py lies"),
        ("", "named_none.inner:f", r"there is no module 'named_none.inner'"),
        ("", "math:nothing", r"has no function 'nothing'"),
        ("x = 1\n", "named_two:f", r"named_two\.py has no function 'f'"),
        ("f = 1\n", "named_three:f", r"named_three\.py has a int, not a function, 'f'"),
        ("import not_there\n", "named_four:f", r"named_four cannot be imported: ModuleNotFoundError: .*not_there"),
        ("\n1 / 0\n", "named_five:f", r"named_five cannot be imported: ZeroDivisionError: .*named_five\.py:2\)"),
        ("def f(:\n", "named_six:f", r"named_six cannot be imported: SyntaxError"),
    ],
)
def test_what_cannot_be_loaded_is_one_message(folder: Path, text: str, name: str, words: str) -> None:
    if text:
        (folder / f"{name.partition(':')[0]}.py").write_text(text)
    with pytest.raises(ConfigError, match=rf"^reward\.custom is '{name}'.*{words}"):
        load_named(name, "reward.custom")


def test_what_fails_names_the_line_and_errors_of_the_package_pass(folder: Path) -> None:
    (folder / "named_seven.py").write_text(
        "from sbr.errors import DataError\n\ndef bad(x):\n    return x['y']\n\n"
        "def ours(x):\n    raise DataError('file 7')\n"
    )
    with pytest.raises(ConfigError, match=r"key is 'named_seven:bad': it failed with TypeError.*named_seven\.py:4\)"):
        call_named("named_seven:bad", "key", 3)
    with pytest.raises(DataError, match=r"^file 7$"):
        call_named("named_seven:ours", "key", 3)


@pytest.mark.parametrize("value", ["None", "'0.5'", "float('nan')", "float('inf')", "10 ** 400", "[1.0]", "1j"])
def test_a_number_has_to_be_finite(folder: Path, value: str) -> None:
    (folder / "named_eight.py").write_text(f"def f():\n    return {value}\n")
    sys.modules.pop("named_eight", None)
    with pytest.raises(ConfigError, match=r"key is 'named_eight:f': it gave .*a finite number is needed"):
        call_named_number("named_eight:f", "key")


@pytest.mark.parametrize("value", ["True", "1", "__import__('numpy').float32(1)", "__import__('torch').tensor(1.0)"])
def test_numbers_of_other_libraries_are_numbers(folder: Path, value: str) -> None:
    (folder / "named_nine.py").write_text(f"def f():\n    return {value}\n")
    sys.modules.pop("named_nine", None)
    assert call_named_number("named_nine:f", "key") == 1.0


def test_the_files_of_the_users_code(folder: Path) -> None:
    (folder / "named_ten").mkdir()
    for name in ("__init__", "deep"):
        (folder / "named_ten" / f"{name}.py").write_text("f = len\n")
    named = [("algo.name", "named_ten:f"), ("reward.custom", "named_ten.deep:f"), ("reward.custom", "time:time")]
    assert source_files(named) == {  # time is in no file
        "module named_ten": folder / "named_ten" / "__init__.py",
        "module named_ten.deep": folder / "named_ten" / "deep.py",
    }
    with pytest.raises(ConfigError, match=r"^algo\.name is 'named_none:f'"):
        source_files([("algo.name", "named_none:f")])
