"""Functions of the package as one file: the same answers in a Python that does not have the package."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sbr.integrations.standalone import standalone
from sbr.integrations.verl_reward import compute_score

REWARD = "sbr.integrations.verl_reward:compute_score"
GOLDEN = Path(__file__).parents[2] / "golden" / "answers.jsonl"

ASK = """
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location("by_path", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)  # not in sys.modules, as verl loads it
score = module.compute_score
assert "sbr" not in sys.modules
cases = [json.loads(line) for line in open(sys.argv[2], encoding="utf-8")]
print(json.dumps([
    score("s", case["response"], "B", {"options": case["options"]}, rule, format_weight=0.5, consistency_weight=0.25)
    for rule in ("official", "care", "strict") for case in cases
]))
"""


def test_the_file_alone_says_what_the_package_says(tmp_path: Path) -> None:
    file = tmp_path / "reward.py"
    file.write_text(standalone("A reward.", [REWARD]), "utf-8")
    words = [sys.executable, "-I", "-S", "-c", ASK, str(file), str(GOLDEN)]  # -S: no installed packages at all
    found = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    cases = [json.loads(line) for line in GOLDEN.read_text("utf-8").splitlines()]
    expected = [
        compute_score("s", case["response"], "B", {"options": case["options"]}, rule, 0.5, 0.25)
        for rule in ("official", "care", "strict")
        for case in cases
    ]
    assert found == expected
    for number, rule in enumerate(("official", "care", "strict")):
        for case, result in zip(cases, found[number * len(cases) :], strict=False):
            assert (result["pred"] or None, result["acc"]) == (case[rule], float(case[rule] == "B")), case["name"]


def module(folder: Path, name: str, text: str) -> None:
    (folder / f"{name}.py").write_text(text, "utf-8")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose modules stand for those of the package."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("sbr.integrations.standalone.PACKAGE", "fake")
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake" / "__init__.py").touch()
    for name in [name for name in sys.modules if name.split(".")[0] == "fake"]:
        monkeypatch.delitem(sys.modules, name)
    from sbr.integrations.standalone import _read

    _read.cache_clear()
    return tmp_path / "fake"


def test_only_what_is_used_is_taken_and_comments_come_along(here: Path) -> None:
    module(
        here, "low", 'import json\nfrom math import pi as turn\n\n# Half.\nHALF = turn / 2\n"""Of it."""\nLEFT = 1\n'
    )
    module(here, "high", "from fake.low import HALF\n\n\ndef area(n):\n    return HALF if n < 1 else area(n - 1)\n")
    text = standalone("About.", ["fake.high:area"])
    assert '# Half.\nHALF = turn / 2\n"""Of it."""\n' in text and "LEFT" not in text and "json" not in text
    assert text.index("HALF = ") < text.index("def area")
    names: dict = {}
    exec(text, names)
    assert names["area"](3) == pytest.approx(1.5707963)


CALLS = "from fake.low import f\ndef g():\n    return f()\n"
CASES = [
    ("import numpy as np\ndef f():\n    return np.pi\n", CALLS, "fake.low takes 'np' from numpy"),
    ("def f():\n    import numpy\n", CALLS, "'f' from an import inside of it"),
    ("X = 1\n", "from fake.low import X as Y\ndef g():\n    return Y\n", "fake.high calls fake.low.X 'Y'"),
    ("X = 1\ndef f():\n    return X\n", f"X = 2\n{CALLS}    return X\n", "'X' of fake.low means something else"),
    ("import re as x\ndef f():\n    return x\n", f"x = 2\n{CALLS}    return x\n", "'x' of fake.high means"),
    ("", "import fake.low\ndef g():\n    return fake.low\n", "takes 'fake' from fake.low"),
    ("", "", "takes 'g' from nowhere"),
]


@pytest.mark.parametrize(("low", "high", "message"), CASES)
def test_what_a_file_cannot_hold_is_refused(here: Path, low: str, high: str, message: str) -> None:
    module(here, "low", low)
    module(here, "high", high)
    with pytest.raises(ValueError, match=message):
        standalone("About.", ["fake.high:g"])
