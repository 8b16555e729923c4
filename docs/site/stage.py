"""Puts together what the documentation site is built from: `make docs`.

README becomes the first page; the pages of docs/ stay as they are; the command line is what `sbr VERB --help` prints;
the pages of the API name the modules whose docstrings are read; one page shows recipes and job files.  Links are
written for the repository and led to the same thing on the site; one that leads nowhere ends the build.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import posixpath
import re
import shutil
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sbr import __version__
from sbr.cli.main import VERBS

REPOSITORY = Path(__file__).parents[2]
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""Pages from outside docs/ -> their names on the site."""
SHOWN = ("recipes", "examples")
"""Folders whose files stand on the page `files.md`."""
COLUMNS = 88
"""Of what `--help` prints; as wide as a page."""
LINK = re.compile(r"(?<=\]\()(?!https?:|#|mailto:)([^)#\s]+)(#[^)\s]*)?(?=\))")

SUBVERBS = {"data": ("check", "build", "cache", "download"), "study": ("list",)}
"""Of verbs whose module has no table of them."""

API = {
    "What travels between the stages": ("sbr.types", "sbr.errors"),
    "Recipes": (
        *("sbr.config.recipes", "sbr.config.inputs", "sbr.config.training", "sbr.config.algo", "sbr.config.asking"),
        *("sbr.config.study", "sbr.config.named", "sbr.config.load"),
    ),
    "Data": ("sbr.data.sources.source", "sbr.data.sources.select", "sbr.data.rows.annotations"),
    "Rewards": ("sbr.reward.answer", "sbr.reward.score", "sbr.reward.consistency", "sbr.reward.custom"),
    "Algorithms": (
        *("sbr.algo.algorithm", "sbr.algo.loss", "sbr.algo.advantages", "sbr.algo.grpo", "sbr.algo.dr_grpo"),
        *("sbr.algo.dapo", "sbr.algo.gspo", "sbr.algo.reg_grpo", "sbr.algo.grpo_care", "sbr.algo.sft"),
    ),
    "Samplers and engines": ("sbr.rollout.sampler", "sbr.rollout.engine", "sbr.rollout.sampling", "sbr.rollout.open"),
    "Evaluation and statistics": ("sbr.eval.stats", "sbr.eval.compare", "sbr.eval.records"),
    "Model": ("sbr.model.load", "sbr.model.shared_prefix", "sbr.model.logprobs"),
}
"""Title -> modules."""


def main() -> None:
    out = Path(sys.argv[1])
    pages = out / "pages"
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(REPOSITORY / "docs", pages, ignore=shutil.ignore_patterns("site"))
    for name in ("zensical.toml", "docstrings.py"):
        shutil.copy(Path(__file__).with_name(name), out / name)
    for source, name in PAGES.items():
        shutil.copy(REPOSITORY / source, pages / name)
    for source in [*PAGES, *(page.relative_to(REPOSITORY).as_posix() for page in docs())]:
        page = pages / on_site(source)
        page.write_text(led(page.read_text(encoding="utf-8"), source), encoding="utf-8")
    (pages / "files.md").write_text(files(), encoding="utf-8")
    (pages / "cli.md").write_text(commands(), encoding="utf-8")
    (pages / "api").mkdir()
    for title, modules in API.items():
        name = re.sub(r"\W+", "_", title.lower())
        for module in modules:
            if importlib.util.find_spec(module) is None:
                raise SystemExit(f"there is no {module}; correct API in {__file__}")
        body = "\n\n".join(f"::: {module}" for module in modules)
        (pages / "api" / f"{name}.md").write_text(f"# {title}\n\n{body}\n", encoding="utf-8")


def docs() -> list[Path]:
    return sorted(page for page in (REPOSITORY / "docs").rglob("*.md") if "site" not in page.parts)


def led(text: str, source: str) -> str:
    """The page with its links led to the site; `source` is its name in the repository."""

    def lead(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), match[1]))
        if not (REPOSITORY / target).exists():
            raise SystemExit(f"{source}: a link leads to {target}, which is not there")
        place, _, part = on_site(target).partition("#")
        near = posixpath.relpath(place, posixpath.dirname(on_site(source)))
        return near + (match[2] or (f"#{part}" if part else ""))

    return LINK.sub(lead, text)


def on_site(target: str) -> str:
    """Where a file of the repository is on the site: "docs/img/x.png" -> "img/x.png"."""
    if target in PAGES:
        return PAGES[target]
    if target.startswith("docs/"):
        return target.removeprefix("docs/")
    if target.partition("/")[0] in SHOWN:
        return f"files.md#{anchor(target)}"
    raise SystemExit(f"a link leads to {target}, which is not on the site; say in {__file__} where it is")


def anchor(target: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", target.lower()).strip("-")


def files() -> str:
    """Recipes and job files, one section each, and one for each folder that pages lead to."""
    lines = ["# Recipes and job files", "", "As they are in the repository; the recipes come with the package too."]
    kinds = {".toml": "toml", ".py": "python", ".sh": "bash", ".sbatch": "bash", ".yaml": "yaml"}
    for folder in SHOWN:
        lines += ["", f"## {folder}/ {{#{folder}}}"]
        for path in sorted((REPOSITORY / folder).rglob("*")):
            name = path.relative_to(REPOSITORY).as_posix()
            if path.is_dir() and path.name != "__pycache__":
                lines += ["", f'<a id="{anchor(name)}"></a>']
            elif path.suffix in kinds:
                lines += [
                    "",
                    f"### {name} {{#{anchor(name)}}}",
                    "",
                    f"```{kinds[path.suffix]}",
                    path.read_text().rstrip("\n"),
                ]
                lines += ["```"]
    return "\n".join(lines) + "\n"


def commands() -> str:
    """`--help` of every verb and sub-verb."""
    asked: list[tuple[str, ...]] = [(verb,) for verb in VERBS]
    for verb, about in VERBS.items():
        names = SUBVERBS.get(verb) or getattr(importlib.import_module(about.module), "SUBVERBS", ())
        asked += [(verb, name) for name in names]
    with ThreadPoolExecutor(2) as pool:
        found = dict(zip(asked, pool.map(printed, asked), strict=True))
    lines = ["# Command line", "", f"Version {__version__}. What `--help` prints, verb by verb."]
    for verb, about in VERBS.items():
        lines += ["", f"## sbr {verb}", "", f"{about.summary[0].upper()}{about.summary[1:]}.", "", *found[(verb,)]]
        for words in asked:
            if words[0] == verb and len(words) == 2:
                lines += ["", f"### sbr {' '.join(words)}", "", *found[words]]
    return "\n".join(lines) + "\n"


def printed(words: tuple[str, ...]) -> list[str]:
    environment = {**os.environ, "COLUMNS": str(COLUMNS), "NO_COLOR": "1", "TERM": "dumb"}
    command = [sys.executable, "-m", "sbr", *words, "--help"]
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    text = result.stdout.strip("\n")
    if not text:
        raise SystemExit(f"`sbr {' '.join(words)} --help` printed nothing")
    return ["```text", *(part for line in text.splitlines() for part in cut(line.rstrip())), "```"]


def cut(line: str) -> list[str]:
    """A description is one long line, which a terminal breaks and a page would not."""
    blank = " " * (len(line) - len(line.lstrip()))
    return [line] if len(line) <= COLUMNS else textwrap.wrap(line, COLUMNS, subsequent_indent=blank)


if __name__ == "__main__":
    main()
