"""The text of the report page; how it behaves in a browser: tests/browser."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from sbr.report.page.data import Fraction, PageAnswer, PageCase, PageData, PageFrames, ResultRow, RunCard
from sbr.report.page.render import FOLDER, LIBRARIES, SCRIPTS, START, render

PIXEL = "data:image/webp;base64,UklGRhoAAABXRUJQVlA4TA0AAAAvAAAAEAcQERGIiP4HAA=="


def page_of(text: str = "plain", value: float = 0.5) -> PageData:
    """One run, one case."""
    card = RunCard(text, text, text, "greedy", "official", 0, 900, ((text, text, text),), None)
    answer = PageAnswer(text, "A", True, 3, False, (text,), None, None, None, None)
    frames = PageFrames(PIXEL, 1, 1, 0, True, (), None, (1, 1))
    case = PageCase("L1/1", "L1", text, None, None, text, text, (text, text), "A", (), "1", 1.0, frames, (answer,))
    results = (ResultRow(text, False, (Fraction(value, None, None, 9), None)),)
    return PageData(
        title=text, made=text, lead=text, runs=(card,), levels=("L1",), columns=(text, text), results=results,
        results_note=text, differences=(), findings=(text,), limits=(text,), sections=(), cases=(case,),
        cases_note=text, tags=(text,),
    )  # fmt: skip


class Blocks(HTMLParser):
    """The scripts and data of a page, the policy and the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.blocks: list[tuple[dict[str, str | None], str]] = []
        self.policy, self.text, self.inside = "", "", ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.inside = tag
        if tag == "script":
            self.blocks.append((dict(attrs), ""))
        if ("http-equiv", "Content-Security-Policy") in attrs:
            self.policy = dict(attrs)["content"] or ""

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside == "script":
            self.blocks[-1] = (self.blocks[-1][0], self.blocks[-1][1] + data)
        elif self.inside != "style":
            self.text += data


def test_begins_as_promised_and_is_utf8() -> None:
    page = render(page_of("\ud83d \x00 \x1b[31m"))
    assert page.startswith(START)
    page.encode("utf-8")
    assert "\x00" not in page and "\x1b" not in page
    assert "\N{REPLACEMENT CHARACTER} \N{SYMBOL FOR NULL} \N{SYMBOL FOR ESCAPE}[31m" in Blocks(page).text


def test_policy_has_the_hash_of_every_script_and_no_other() -> None:
    found = Blocks(render(page_of()))
    scripts = [text for attributes, text in found.blocks if "type" not in attributes]
    assert len(scripts) == len(LIBRARIES) + 1
    hashes = {f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in scripts}
    rules = dict(rule.split(" ", 1) for rule in found.policy.split("; "))
    assert set(rules["script-src"].split()) == hashes
    assert rules["default-src"] == "'none'" and "connect-src" not in rules
    assert rules["img-src"] == "data: blob:"


def test_data_come_back() -> None:
    text = "</script> <!-- \u2028 \u202e \" ' é 👩\u200d🍳 " + "w" * 10_000
    found = Blocks(render(page_of(text)))
    blocks = {attributes["id"]: body for attributes, body in found.blocks if attributes.get("id")}
    head = json.loads(gzip.decompress(base64.b64decode(blocks["head"])))
    assert head["title"] == text and head["cases"][0]["answers"][0]["response"] == text
    assert "sprite" not in head["cases"][0]["frames"]
    assert blocks == {"head": blocks["head"], "sprite-0": PIXEL}  # no maps
    assert found.text.count(text) >= 10


def test_the_same_page_every_time() -> None:
    assert render(page_of()) == render(page_of())


def test_figures_that_are_not_finite_are_refused_with_their_place() -> None:
    with pytest.raises(
        ValueError, match=r"page\.results\[0\]\.cells\[0\]\.value is nan; a figure that is missing is None"
    ):
        render(page_of(value=float("nan")))


@pytest.mark.parametrize(
    "sprite", ["https://example.org/a.png", 'data:image/webp;base64,A"><script>', "data:text/html;base64,AA"]
)
def test_sprites_that_are_no_pictures_are_refused(sprite: str) -> None:
    page = page_of()
    frames = replace(page.cases[0].frames or pytest.fail(), sprite=sprite)
    with pytest.raises(ValueError, match="the sprite of case L1/1 is not a data: URI of a picture"):
        render(replace(page, cases=(replace(page.cases[0], frames=frames),)))


def test_cases_without_one_answer_a_run_are_refused() -> None:
    page = page_of()
    with pytest.raises(ValueError, match="case L1/1 has 0 answers for 1 runs"):
        render(replace(page, cases=(replace(page.cases[0], answers=()),)))


def test_libraries_are_those_that_are_listed() -> None:
    rows = re.findall(
        r"^\| (\S+\.js) \|.*\| (?:[\w-]+\.?\d?), (LICENSE\.\w+|.*?) \| ([0-9a-f]{64}) \|$",
        (FOLDER / "vendor/VENDORED.md").read_text(),
        re.MULTILINE,
    )
    assert {name for name, _, _ in rows} == set(LIBRARIES) == {file.name for file in (FOLDER / "vendor").glob("*.js")}
    for name, licence, digest in rows:
        assert hashlib.sha256((FOLDER / "vendor" / name).read_bytes()).hexdigest() == digest, name
        assert (FOLDER / "vendor" / licence).is_file()


@pytest.mark.skipif(shutil.which("node") is None, reason="no node: the syntax of the page's scripts is not checked")
def test_scripts_are_javascript(tmp_path: Path) -> None:
    assert {file.stem for file in FOLDER.glob("*.js")} == set(SCRIPTS)
    for name in SCRIPTS:
        done = subprocess.run(["node", "--check", FOLDER / f"{name}.js"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert all(len((FOLDER / f"{name}.js").read_text().splitlines()) <= 300 for name in SCRIPTS)
