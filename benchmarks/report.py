"""Raw times of grpo_step.py -> ratios, tables and pictures.  Nothing is measured here."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.ticker import LogLocator
from rich.table import Table

STAGES = ("rollout", "reference", "train", "optimizer")
NAMES = {"ours": "sbr", "repeated": "plain", "official": "official", "trl": "TRL"}
COLOURS = {"rollout": "#4c72b0", "reference": "#8c8c8c", "train": "#dd8452", "optimizer": "#55a868"}
BEGIN, END = "<!-- grpo_step: begin -->", "<!-- grpo_step: end -->"

EVAL_TOKENS = 150
"""The longer of the two usual lengths.  The ratio grows with the answer: reading the prompt is the same work."""

median = statistics.median


def times_faster(seconds: Mapping[str, Mapping[str, list[float]]], stage: str, baseline: str) -> float:
    """Median of the baseline's stage divided by ours."""
    return median(seconds[baseline][stage]) / median(seconds["ours"][stage])


def step_ratios(seconds: Mapping[str, Mapping[str, list[float]]]) -> dict[str, float]:
    """Ratios of one setting; above 1 ours is faster."""
    return {
        "step_vs_official": times_faster(seconds, "step", "official"),
        "step_vs_repeated": times_faster(seconds, "step", "repeated"),
        "train_pass": times_faster(seconds, "train", "repeated"),
        "train_pass_vs_official": times_faster(seconds, "train", "official"),
        "reference_vs_official": times_faster(seconds, "reference", "official"),
        "generation_vs_official": times_faster(seconds, "rollout", "official"),
        "generation_vs_batched": times_faster(seconds, "rollout", "repeated"),
    }


def ratios(result: Mapping[str, Any]) -> dict[str, float]:
    """The headline figures, of the first setting of every section; a section not measured yet is left out.

    train_peak_memory is ours divided by the repeated prompt's (below 1 ours needs less), growth_g16_over_g8 the step
    of twice the group over that of the group, gemm_share counted operations over (time x rate of matrix products).
    """
    found: dict[str, float] = {}
    if steps := result.get("steps"):
        found |= steps[0]["ratios"]
    if trl := result.get("trl"):
        found["step_vs_trl"] = trl[0]["ratio"]
    for entry in result.get("evaluation", ()):
        ratio = median(entry["seconds"]["official"]) / median(entry["seconds"]["ours"])
        found[f"eval_vs_official_{entry['tokens']}_tokens"] = ratio
        if entry["tokens"] == EVAL_TOKENS or len(result["evaluation"]) == 1:
            found["eval_vs_official"] = ratio
    if growth := result.get("growth"):
        found["growth_g16_over_g8"] = median(growth["seconds"]["double"]) / median(growth["seconds"]["single"])
    if gemm := result.get("gemm"):
        found["gemm_share"] = gemm["flops"] / (median(gemm["seconds"]) * median(gemm["flops_per_second"]))
    if memory := result.get("memory"):
        for suffix, kind in (("", "pass"), ("_process", "peak")):
            for baseline, name in (("repeated", ""), ("official", "_vs_official")):
                found[f"train_peak_memory{suffix}{name}"] = memory["ours"][kind] / memory[baseline][kind]
    return found


def terminal_table(result: Mapping[str, Any]) -> Table:
    table = Table(title="GRPO step, median seconds")
    for column in ("setting", "", *STAGES, "step"):
        table.add_column(column, justify="left" if column in ("setting", "") else "right", no_wrap=True)
    for entry in result.get("steps", ()):
        for name, seconds in entry["seconds"].items():
            figures = [f"{median(seconds[stage]):.2f}" for stage in (*STAGES, "step")]
            table.add_row(_setting(entry), NAMES[name], *figures)
    for entry in result.get("trl", ()):
        figures = [f"{median(entry['seconds']['ours'][stage]):.2f}" for stage in (*STAGES, "step")]
        table.add_row(f"{_setting(entry)}, images", NAMES["ours"], *figures)
        table.add_row(f"{_setting(entry)}, images", NAMES["trl"], *[""] * 4, f"{median(entry['seconds']['trl']):.2f}")
    return table


def markdown(result: Mapping[str, Any]) -> str:
    """The tables of docs/performance.md."""
    steps = result["steps"]
    lines = ["| part, against which baseline | " + " | ".join(_setting(entry) for entry in steps) + " |"]
    lines.append("|---" * (len(steps) + 1) + "|")
    rows = (
        ("whole step, official schedule", "step", "official"),
        ("whole step, plain transformers", "step", "repeated"),
        ("training pass, plain transformers", "train", "repeated"),
        ("training pass, official schedule", "train", "official"),
        ("generation, G `generate` calls (official)", "rollout", "official"),
        ("generation, one batched `generate` call", "rollout", "repeated"),
    )
    for title, stage, baseline in rows:
        cells = []
        for entry in steps:
            ours, theirs = (median(entry["seconds"][name][stage]) for name in ("ours", baseline))
            cells.append(f"{theirs:.2f} s / {ours:.2f} s = {theirs / ours:.1f}")
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    found = result["ratios"]
    more: list[tuple[str, str]] = []
    for entry in result.get("trl", ()):
        theirs, ours = median(entry["seconds"]["trl"]), median(entry["seconds"]["ours"]["step"])
        more.append(
            (
                f"whole step, TRL's GRPOTrainer, pictures as images ({_setting(entry)})",
                f"{theirs:.2f} s / {ours:.2f} s = {entry['ratio']:.1f}",
            )
        )
    for entry in result.get("evaluation", ()):
        theirs, ours = (median(entry["seconds"][name]) for name in ("official", "ours"))
        title = f"{entry['questions']} evaluation questions, answers of {entry['tokens']} tokens, one at a time"
        more.append((title, f"{theirs:.2f} s / {ours:.2f} s = {theirs / ours:.1f}"))
    if "profile" in result:
        seconds = result["profile"]["seconds"]
        total = sum(seconds.values())
        shares = ", ".join(f"{kind} {value / total:.0%}" for kind, value in seconds.items())
        more.append((f"where our training pass spends its time ({_setting(result['profile'])})", shares))
    if "check" in result:
        flops = {name: count / 1e9 for name, count in result["check"]["training_pass_flops"].items()}
        for name, title in (("repeated", "plain transformers"), ("official", "official schedule")):
            figure = f"{flops[name]:.0f} / {flops['ours']:.0f} GFLOP = {flops[name] / flops['ours']:.1f}"
            more.append((f"counted operations of the training pass, {title} ({_setting(steps[0])})", figure))
    if "memory" in result:
        for name, title in (("repeated", "plain transformers"), ("official", "official schedule")):
            ours, theirs = (result["memory"][key]["pass"] / 1e9 for key in ("ours", name))
            more.append(
                (f"peak memory of the training pass, {title}", f"{ours:.2f} GB / {theirs:.2f} GB = {ours / theirs:.2f}")
            )
    if "growth" in result:
        more.append(("a step with G = 16 over one with G = 8", f"{found['growth_g16_over_g8']:.2f}"))
    if "gemm" in result:
        title = f"operations of the training pass over what matrix products reach ({result['gemm']['size']})"
        more.append((title, f"{found['gemm_share']:.0%}"))
    lines += ["", "| more | |", "|---|---|", *(f"| {title} | {figure} |" for title, figure in more)]
    return "\n".join(lines)


def write_markdown(result: Mapping[str, Any], page: Path) -> None:
    """Replace what stands between the two markers of `page`."""
    text = page.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise SystemExit(f"{page}: the lines {BEGIN} and {END} must each stand there once")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    page.write_text(f"{before}{BEGIN}\n{markdown(result)}\n{END}{after}", encoding="utf-8")


def plot(result: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write grpo_step.png (stages) and grpo_step_curves.png (one panel a curve); return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    if result.get("steps"):
        written.append(_save(_plot_stages(result["steps"]), folder / "grpo_step.png"))
    if result.get("curves"):
        written.append(_save(_plot_curves(result["curves"]), folder / "grpo_step_curves.png"))
    return written


def _plot_stages(steps: list[Mapping[str, Any]]) -> Any:
    figure, axes = plt.subplots(1, len(steps), figsize=(3.6 * len(steps), 3), squeeze=False)
    for axis, entry in zip(axes[0], steps, strict=True):
        left = dict.fromkeys(entry["seconds"], 0.0)
        for stage in STAGES:
            for name, seconds in entry["seconds"].items():
                width = median(seconds[stage])
                axis.barh(NAMES[name], width, left=left[name], color=COLOURS[stage])
                left[name] += width
        axis.set(title=_setting(entry), xlabel="seconds a step")
        axis.invert_yaxis()
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes[0][1:]:
        axis.set_yticklabels([])
    patches = [plt.Rectangle((0, 0), 1, 1, color=COLOURS[stage]) for stage in STAGES]
    figure.legend(patches, STAGES, frameon=False, ncols=len(STAGES), loc="upper center", bbox_to_anchor=(0.5, 0.02))
    return figure


def _plot_curves(curves: Mapping[str, list[Mapping[str, Any]]]) -> Any:
    titles = {"group_size": "completions G", "frames": "frames", "tokens": "tokens of a completion"}
    figure, axes = plt.subplots(1, len(curves), figsize=(3.8 * len(curves), 3), squeeze=False, sharey=True)
    for axis, (kind, points) in zip(axes[0], curves.items(), strict=True):
        for name in NAMES:
            measured = [(point["value"], point["seconds"][name]) for point in points if name in point["seconds"]]
            if measured:
                values = [value for value, _ in measured]
                axis.plot(values, [median(seconds["step"]) for _, seconds in measured], "o-", label=NAMES[name])
        axis.set(xlabel=titles[kind], xscale="log", yscale="log")
        axis.set_xticks(ticks := [point["value"] for point in points], [str(tick) for tick in ticks])
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter("{x:g}")
        axis.minorticks_off()
        axis.spines[["top", "right"]].set_visible(False)
    axes[0][0].set_ylabel("seconds a step")
    axes[0][0].legend(frameon=False)
    return figure


def _save(figure: Any, file: Path) -> Path:
    figure.tight_layout()
    figure.savefig(file, dpi=110, bbox_inches="tight")
    plt.close(figure)
    return file


def _setting(entry: Mapping[str, Any]) -> str:
    return f"{entry['size']}, {entry['tokens']} tokens"
