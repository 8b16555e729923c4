"""Puts together what the documentation site is built from: `make docs`.

README becomes the first page; the pages of docs/ stay as they are; the command line is what `sbr VERB --help` prints;
the pages of the API name the modules whose docstrings are read.  Links of the repository work on the site.
"""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from sbr import __version__
from sbr.cli.main import VERBS

REPOSITORY = Path(__file__).parents[2]

API = {
    "What travels between the stages": ("sbr.types", "sbr.errors"),
    "Recipes": tuple(f"sbr.config.{part}" for part in ("recipes", "inputs", "training", "algo", "asking")),
    "Rewards": ("sbr.reward.answer", "sbr.reward.score", "sbr.reward.consistency", "sbr.reward.custom"),
    "Algorithms": ("sbr.algo.algorithm", "sbr.algo.grpo", "sbr.algo.dapo", "sbr.algo.gspo", "sbr.algo.grpo_care"),
    "Samplers and engines": ("sbr.rollout.sampler", "sbr.rollout.engine", "sbr.rollout.sampling"),
    "Evaluation and statistics": ("sbr.eval.stats", "sbr.eval.compare", "sbr.eval.records"),
    "Model": ("sbr.model.shared_prefix", "sbr.model.logprobs"),
}
"""Title -> modules."""


def main() -> None:
    out = Path(sys.argv[1])
    pages = out / "pages"
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(REPOSITORY / "docs", pages, ignore=shutil.ignore_patterns("site"))
    for folder in ("examples", "recipes"):
        shutil.copytree(REPOSITORY / folder, pages / folder)
    shutil.copy(Path(__file__).with_name("zensical.toml"), out / "zensical.toml")
    readme = (REPOSITORY / "README.md").read_text().replace("](docs/", "](")
    (pages / "index.md").write_text(readme)
    (pages / "contributing.md").write_text((REPOSITORY / "CONTRIBUTING.md").read_text().replace("](docs/", "]("))
    (pages / "changelog.md").write_text((REPOSITORY / "CHANGELOG.md").read_text().replace("](docs/", "]("))
    for page in pages.glob("**/*.md"):
        text = page.read_text()
        text = text.replace("](../CONTRIBUTING.md", "](contributing.md").replace("](../examples/", "](examples/")
        page.write_text(text)
    (pages / "cli.md").write_text(commands())
    (pages / "api").mkdir()
    for title, modules in API.items():
        name = re.sub(r"\W+", "_", title.lower())
        for module in modules:
            importlib.import_module(module)  # a module that has moved is an error here, not an empty page
        body = "\n\n".join(f"::: {module}" for module in modules)
        (pages / "api" / f"{name}.md").write_text(f"# {title}\n\n{body}\n")


def commands() -> str:
    """`--help` of every verb and sub-verb."""
    lines = ["# Command line", "", f"Version {__version__}. What `--help` prints, verb by verb."]
    for verb, about in VERBS.items():
        lines += ["", f"## sbr {verb}", "", f"{about.summary[0].upper()}{about.summary[1:]}.", "", *printed(verb)]
        for name in getattr(importlib.import_module(about.module), "SUBVERBS", {}):
            lines += ["", f"### sbr {verb} {name}", "", *printed(verb, name)]
    return "\n".join(lines) + "\n"


def printed(*words: str) -> list[str]:
    environment = {**os.environ, "COLUMNS": "110", "NO_COLOR": "1", "TERM": "dumb"}
    command = [sys.executable, "-m", "sbr", *words, "--help"]
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    text = result.stdout.strip("\n")
    if not text:
        raise SystemExit(f"`sbr {' '.join(words)} --help` printed nothing")
    return ["```text", *(line.rstrip() for line in text.splitlines()), "```"]


if __name__ == "__main__":
    main()
