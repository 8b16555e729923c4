"""PageData made up by a seed: four models, three levels, every part that a page can have."""

from __future__ import annotations

import base64
import io
import re
from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw

from sbr.eval.stats import paired_interval, wilson_interval
from sbr.report.page.data import (
    Bar,
    Bars,
    Curve,
    Difference,
    Flow,
    Fraction,
    Line,
    PageAnswer,
    PageAttention,
    PageCase,
    PageData,
    PageEffect,
    PageFrames,
    PageTable,
    ResultRow,
    RunCard,
    Section,
)

NAMES = ("base", "SFT", "GRPO", "SFT+GRPO", "GRPO, seed 1", "GRPO, seed 2", "DAPO", "GSPO")
LEVELS = ("L1", "L2", "L3")
RIGHT = {"L1": (0.41, 0.83, 0.88, 0.95), "L2": (0.41, 0.78, 0.86, 0.94), "L3": (0.34, 0.49, 0.46, 0.49)}
VERBS = ("open", "close", "wash", "peel", "fetch", "pour", "cut", "stir")
THINGS = ("the fridge", "the red cup", "a carrot", "the pan", "warm milk", "the drawer", "an onion", "rice")
DOMAINS = ("Daily life", "Hobbies", "Work")


def made_page(cases: int = 24, runs: int = 4, attention: bool = True, size: int = 84, video: int = 8) -> PageData:
    """Example: made_page(200) is the page of a demo; made_page(0, 1) has one run and no case."""
    rng = np.random.default_rng(0)
    names = NAMES[:runs]
    made = tuple(_case(rng, number, names, attention and number % 3 != 2, size, video) for number in range(cases))
    rows = tuple(
        ResultRow(name, False, tuple(_share(RIGHT[level][min(run, 3)], 300) for level in LEVELS))
        for run, name in enumerate(names)
    )
    paper = tuple(
        ResultRow(name, True, tuple(_share(value, n) for value, n in zip(values, (2432, 923, 1321), strict=True)))
        for name, values in (
            ("base", (0.348, 0.340, 0.316)),
            ("SFT", (0.438, 0.441, 0.382)),
            ("GRPO", (0.46, 0.502, 0.449)),
        )
    )
    return PageData(
        title="SFT and GRPO on the miniature kitchen",
        made="30 November 2026 · sbr 0.9.0 · commit 4f2c91e · torch 2.14.0, transformers 5.20.2",
        lead="Four models answered the same 900 questions about short egocentric clips, greedily: a 2 million parameter"
        " Qwen2-VL, the same after SFT on its own right answers, after GRPO, and after both. Chance is 25 %.",
        runs=tuple(_card(run, name) for run, name in enumerate(names)),
        levels=LEVELS,
        columns=("L1: seen tasks, seen kitchens", "L2: seen tasks, unseen kitchens", "L3: unseen tasks and places"),
        results=rows + paper,
        results_note="300 questions a level, Wilson intervals. The paper's rows are Qwen2-VL-7B on real footage: their "
        "level and their differences can be compared, not their height.",
        differences=_differences(names),
        findings=(
            "GRPO answers 47.0 points more of L1 right than base, 95 % [41.0, 52.5].",
            "SFT, then GRPO is ahead of either alone on L1 and L2; on L3 the three cannot be told apart.",
            "Without the video GRPO falls from 88.0 to 31.3 %: it answers from what it sees.",
            "GRPO's reasoning names the option it chooses in 68 %, base's in 95 %.",
        ),
        limits=(
            "A miniature: drawn clips of 84 x 84 pixels and a model of 2 million parameters.",
            "One seed a recipe: another rounding gives another run, so differences of a few points mean nothing.",
            "Where a token looks is not why it was written; the effect of painting over stands beside each map.",
        ),
        sections=_sections(rng, names),
        cases=made,
        cases_note=f"{cases} of 900 questions: those on which the models differ most, and 20 drawn at random.",
        tags=("fixed", "broken", "contradicts", "right against its own reasoning", "last step not named", "cut off"),
    )


def _share(value: float, n: int) -> Fraction:
    interval = wilson_interval(round(value * n), n)
    return Fraction(round(value * n) / n, interval.low, interval.high, n)


def _card(run: int, name: str) -> RunCard:
    training = (None, "SFT, 100 steps, seed 0, 2.1 minutes", "GRPO, 150 steps, seed 0, 4.1 minutes")[min(run, 2)]
    differences = (
        ("model.path", "sbr:mini", f"runs/demo/{name}/final"),
        ("training: train.learning_rate", "not set", "4e-4"),
        ("training: train.seed", "not set", str(run)),
    )
    return RunCard(
        name=name,
        folder=f"runs/demo/eval_{run}",
        model="sbr:mini" if run == 0 else f"runs/demo/{name}/final",
        protocol="greedy, 32 tokens",
        rule="official",
        seed=0,
        questions=900,
        differences=differences if run else (),
        training=training,
    )


def _differences(names: tuple[str, ...]) -> tuple[Difference, ...]:
    found = []
    for level in LEVELS:
        for base, other in [(0, run) for run in range(1, len(names))] + ([(1, 3), (2, 3)] if len(names) > 3 else []):
            p, q = (round(300 * RIGHT[level][min(run, 3)]) for run in (base, other))
            both = round(0.9 * min(p, q))
            interval = paired_interval(both, q - both, p - both, 300 - p - q + both)
            low, high = interval.low, interval.high
            wider = 0.02 + 0.2 * (high - low)
            found.append(
                Difference(
                    names[base], names[other], level, (q - p) / 300, low, high, 1e-9, low - wider, high + wider, 71
                )
            )
    return tuple(found)


def _sections(rng: np.random.Generator, names: tuple[str, ...]) -> tuple[Section, ...]:
    steps = tuple(range(1, 151, 3))

    def line(name: str, start: float, end: float, noise: float) -> Line:
        mean = start + (end - start) * (1 - np.exp(-np.array(steps) / 40))
        raw = [mean + noise * rng.standard_normal(len(steps)) for _ in range(3)]
        middle, spread = np.mean(raw, axis=0), np.std(raw, axis=0, ddof=1)
        return Line(
            name,
            steps,
            *(tuple(map(float, row)) for row in (middle, middle - spread, middle + spread)),
            tuple(tuple(map(float, row)) for row in raw),
        )

    trained = [name for name in names if "GRPO" in name][:2] or [names[0]]
    curves = tuple(
        Curve(
            title,
            unit,
            about,
            tuple(line(name, start + 0.1 * k * (end - start), end, noise) for k, name in enumerate(trained)),
        )
        for title, unit, about, start, end, noise in (
            ("Reward", "", "Mean over the completions of a step; 2 is right and in the format.", 0.9, 1.8, 0.08),
            (
                "Right answers",
                "%",
                "Share of completions with the right letter, on training questions.",
                0.4,
                0.88,
                0.05,
            ),
            ("Length", "tokens", "Tokens of a completion.", 15, 19, 0.6),
            ("Entropy", "nats", "Of the next token, mean over generated tokens.", 0.9, 0.2, 0.04),
            (
                "Prompts with a signal",
                "%",
                "Share of prompts whose completions are not all equally good.",
                0.9,
                0.3,
                0.05,
            ),
            ("Seconds of a step", "s", "By the clock.", 1.6, 1.7, 0.1),
        )
    )
    controls = Bars(
        "Without seeing",
        "L1 with the video, without it, and without any picture. Near chance: the score is vision.",
        "%",
        tuple(
            Bar(name, group, _share(value, 300))
            for group, k in (("video and image", 0), ("no video", 1), ("blind", 2))
            for name, value in zip(
                names,
                ((0.41, 0.83, 0.88, 0.95), (0.3, 0.33, 0.31, 0.34), (0.22, 0.23, 0.21, 0.25))[k] * 2,
                strict=False,
            )
        ),
        0.25,
    )
    letters = Bars(
        "Chosen letters",
        "How often each letter is chosen; the right ones are spread evenly.",
        "%",
        tuple(
            Bar(name, letter, _share(0.25 + 0.02 * (run - 1) * (place - 1.5), 900))
            for place, letter in enumerate("ABCD")
            for run, name in enumerate(names)
        ),
        0.25,
    )
    by_layer = Bars(
        "Attention to the video, by layer",
        "Share of a generated token's attention, mean over heads and answers.",
        "%",
        tuple(
            Bar(name, f"layer {layer}", Fraction(v := 0.1 + 0.02 * layer % 0.13 + 0.02 * run, v - 0.01, v + 0.01, 120))
            for layer in range(12)
            for run, name in enumerate(names)
        ),
    )
    effects = Bars(
        "What painting over costs",
        "Change of the answer's log-probability; 30 % of the visual tokens replaced.",
        "nats",
        tuple(
            Bar(kind, name, Fraction(v := scale * (1 + 0.2 * run), v - 0.2, v + 0.2, 120))
            for run, name in enumerate(names)
            for kind, scale in (("most attended", -1.4), ("at random", -0.4))
        ),
    )
    flows = tuple(
        Flow(level, base, other, 110, 13, 138 - 20 * n, 39 + 20 * n)
        for n, level in enumerate(LEVELS)
        for base, other in pairwise(names)
    )
    table = PageTable(
        "Reasoning and answer",
        ("", "names its choice", "right when it does", "right when it does not"),
        tuple((name, "95.2 [93.6, 96.4]", "41.1 [37.8, 44.5]", "30.2 [18.6, 45.1]") for name in names),
        "By rule: the last option that the reasoning names. 900 questions.",
    )
    return (
        Section(
            "curves", "Training", "The mean of three seeds with its standard deviation; each seed behind it.", curves
        ),
        Section("controls", "Controls", "What part of the score is not vision.", bars=(controls, letters)),
        Section("consistency", "Reasoning and answer", "Does the reasoning entail the answer?", tables=(table,)),
        Section("attention", "Attention", "Where the models look while they write.", bars=(by_layer, effects)),
        Section("flows", "From model to model", "Which questions each step of training won and lost.", flows=flows),
    )


def _case(
    rng: np.random.Generator, number: int, names: tuple[str, ...], attention: bool, size: int, video: int
) -> PageCase:
    level = LEVELS[number % 3]
    options = tuple(
        f"{VERBS[i]} {THINGS[j]}" for i, j in zip(rng.permutation(8)[:4], rng.permutation(8)[:4], strict=True)
    )
    gold = int(rng.integers(4))
    goal = f"make {('soup', 'tea', 'a salad', 'porridge')[number % 4]}"
    answers = tuple(
        _answer(rng, options, gold, bool(rng.random() < RIGHT[level][min(run, 3)]), run, video if attention else None)
        for run in range(len(names))
    )
    return PageCase(
        id=f"{level}/{100 + number}",
        level=level,
        domain=DOMAINS[number % 7 % 3],
        scenario="cooking" if number % 2 else None,
        video=f"P{number % 9:02}_{number:03}",
        goal=goal,
        question="Considering the progress shown in the video and my current observation in the last frame, what "
        f"action should I take next in order to {goal}?",
        options=options,
        gold="ABCD"[gold],
        progress=("fetch a bowl", "open the fridge", "take milk"),
        flow="".join(str(int(answer.correct)) for answer in answers),
        interest=1 - number / 1000,
        frames=PageFrames(
            _sprite(rng, size, video),
            size,
            size,
            video,
            True,
            tuple(0.5 * i for i in range(video)),
            (video // 2, 3, 3),
            (3, 3),
        ),
        answers=answers,
    )


def _answer(
    rng: np.random.Generator, options: tuple[str, ...], gold: int, correct: bool, run: int, video: int | None
) -> PageAnswer:
    chosen = gold if correct else int((gold + rng.integers(1, 4)) % 4)
    named = chosen if rng.random() < 0.8 else int(rng.integers(4))
    think = f"the goal is far . the video shows {THINGS[int(rng.integers(8))]} . next {options[named]}"
    response = f"<think> {think} </think><answer>{'ABCD'[chosen]}</answer>"
    start = response.index("<answer>") + len("<answer>")
    tags = [name for name, is_it in (("fixed", correct and run > 1), ("broken", not correct and run > 1)) if is_it]
    if named != chosen:
        tags.append("contradicts")
    return PageAnswer(
        response=response,
        letter="ABCD"[chosen],
        correct=correct,
        tokens=len(response.split()),
        truncated=False,
        tags=tuple(tags),
        think=(len("<think>"), response.index("</think>")),
        answer=(start, start + 1),
        consistency=None if named == chosen else f"the reasoning names {'ABCD'[named]}, the answer is {'ABCD'[chosen]}",
        attention=None if video is None else _attention(rng, response, video // 2 * 9 + 9),
    )


def _attention(rng: np.random.Generator, response: str, visual: int) -> PageAttention:
    found = list(re.finditer(r"</?\w+>|\s*[^\s<]+", response))
    tokens = (*(match.group() for match in found), "<|im_end|>")
    starts = (*(match.start() for match in found), len(response))
    raw = rng.gamma(0.5, 1.0, (len(tokens), visual))
    raw[:, 0] += 4
    scale = float(raw.max())
    general = rng.gamma(2.0, 1.0, visual)

    def packed(array: np.ndarray) -> str:
        return base64.b64encode(np.round(255 * array / array.max()).astype(np.uint8).tobytes()).decode()

    return PageAttention(
        tokens=tokens,
        starts=starts,
        raw=packed(raw),
        scale=0.004 * scale,
        general=packed(general),
        general_scale=0.004 * float(general.max()),
        sinks=(0, visual - 9),
        shares=tuple(tuple(map(float, row)) for row in rng.dirichlet((2, 1, 6, 3), len(tokens))),
        layers=(2, 3, 4),
        effects=tuple(
            PageEffect(
                span,
                part,
                round(part * visual),
                *(-scale * float(rng.gamma(2, k)) for scale in (0.01, 1) for k in (0.8, 0.2)),
            )
            for span in ("think", "answer")
            for part in (0.1, 0.3)
        ),
        exact=True,
    )


def _sprite(rng: np.random.Generator, size: int, video: int) -> str:
    """A bench with a cup that moves from frame to frame."""
    picture = Image.new("RGB", (size * (video + 1), size))
    draw = ImageDraw.Draw(picture)
    wall, bench, cup = (tuple(map(int, rng.integers(90, 220, 3))) for _ in range(3))
    for frame in range(video + 1):
        x = size * frame
        draw.rectangle((x, 0, x + size, size), fill=wall)
        draw.rectangle((x, 0.6 * size, x + size, size), fill=bench)
        draw.rectangle(
            (x + 0.1 * size, 0.1 * size, x + 0.3 * size, 0.5 * size), fill=(240, 240, 230), outline=(60, 60, 60)
        )
        at = x + size * (0.3 + 0.5 * frame / (video + 1))
        draw.ellipse((at - 0.1 * size, 0.45 * size, at + 0.1 * size, 0.7 * size), fill=cup, outline=(20, 20, 20))
    stream = io.BytesIO()
    picture.save(stream, "WEBP", quality=60)
    return "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode()
