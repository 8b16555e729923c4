"""From the section `algo` to functions: those of the package and the user's own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sbr.algo.algorithm import Algorithm
from sbr.algo.select import select
from sbr.config.algo import ALGORITHMS, OwnAlgo, RegGrpoAlgo
from sbr.config.named import load_named
from sbr.errors import ConfigError

OWN = """
from functools import partial
from sbr.algo.advantages import centred_rewards
from sbr.algo.algorithm import Algorithm
from sbr.algo.dapo import dapo_loss

def best(options, max_new_tokens):
    return Algorithm(centred_rewards, partial(dapo_loss, clip_low=options["low"], clip_high=1 / max_new_tokens))

def nothing(options, max_new_tokens):
    return None
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "own_algorithm", raising=False)
    load_named.cache_clear()
    (tmp_path / "own_algorithm.py").write_text(OWN)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_section_names_its_maker(name):
    section = ALGORITHMS[name]
    assert section.model_fields["name"].default == name
    assert isinstance(select(section(), 8), Algorithm)


@pytest.mark.usefixtures("own")
def test_an_algorithm_of_ones_own_gets_its_options_and_the_length():
    made = select(OwnAlgo(name="own_algorithm:best", options={"low": 0.1}), 4)
    assert made.loss.keywords == {"clip_low": 0.1, "clip_high": 0.25}  # type: ignore[attr-defined]


@pytest.mark.usefixtures("own")
def test_what_is_no_algorithm_is_refused():
    with pytest.raises(ConfigError, match=r"algo\.name is 'own_algorithm:nothing': it returned a NoneType"):
        select(OwnAlgo(name="own_algorithm:nothing"), 4)
    with pytest.raises(ConfigError, match=r"algo\.name is 'own_algorithm:best': it failed with KeyError: 'low'"):
        select(OwnAlgo(name="own_algorithm:best"), 4)
    with pytest.raises(ConfigError, match=r"no function 'bast'"):
        select(OwnAlgo(name="own_algorithm:bast"), 4)


def test_a_kl_term_that_does_nothing_is_told():
    assert "set algo.beta to 0" in str(select(RegGrpoAlgo(), 8).warning)
    assert select(RegGrpoAlgo(beta=0.0), 8).warning is None
    assert [name for name in ALGORITHMS if select(ALGORITHMS[name](), 8).warning] == ["reg_grpo"]


@pytest.mark.parametrize(
    ("name", "keys", "reference", "silent", "rounds", "length"),
    [
        ("grpo", {}, True, True, 0, 0.0),
        ("grpo", {"beta": 0.0}, False, False, 0, 0.0),
        ("dr_grpo", {}, False, False, 0, 0.0),
        ("dr_grpo", {"beta": 0.1}, True, True, 0, 0.0),
        ("dapo", {}, False, False, 9, 0.5),
        ("dapo", {"extra_rounds": 2, "overlong_weight": 0.25}, False, False, 2, 0.25),
        ("gspo", {"beta": 0.1}, True, True, 0, 0.0),
        ("reg_grpo", {}, True, True, 0, 0.0),
        ("reg_grpo", {"beta": 0.0}, False, True, 0, 0.0),
        ("grpo_care", {}, False, False, 0, 0.0),
    ],
)
def test_what_an_algorithm_asks_of_the_loop(name, keys, reference, silent, rounds, length):
    made = select(ALGORITHMS[name](**keys), 8)
    assert (made.needs_reference, made.silent_groups_teach) == (reference, silent)
    assert (made.extra_rounds, made.length_weight) == (rounds, length)
    assert (made.bonus is None) == (made.average is None) == (name != "grpo_care")
