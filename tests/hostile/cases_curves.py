"""`sbr analyze curves`: words, folders that are no training runs, metrics that were damaged, pictures to write."""

from __future__ import annotations

from collections.abc import Callable

from cases import Case, words
from full_disk import full_disk
from house import Place

METRICS = "g/metrics.jsonl"


def drawn(name: str, argv: str, *expected: str, prepare: Callable[[Place], object] = lambda _: None) -> Case:
    """The training run g, after `prepare`."""

    def make(place: Place) -> list[str]:
        place.copy("grpo", "g")
        prepare(place)
        return ["analyze", "curves", *argv.split()]

    return Case(f"curves: {name}", make, expected)


def wrote(content: str | bytes) -> Callable[[Place], object]:
    return lambda place: place.write(METRICS, content)


def second(**values: object) -> Callable[[Place], object]:
    """Other values in the second line; `...` takes a key away."""

    def change(place: Place) -> None:
        first, line = place.lines(METRICS)
        line |= values
        place.write_lines(METRICS, [first, {key: value for key, value in line.items() if value is not ...}])

    return change


def damaged(name: str, damage: Callable[[Place], object], *expected: str) -> Case:
    return drawn(name, "g", *expected, prepare=damage)


def replaced(make: Callable[[Place], object]) -> Callable[[Place], object]:
    """The metrics are something else than a file."""

    def change(place: Place) -> None:
        (place.path / METRICS).unlink()
        make(place)

    return change


DEEP = "[" * 200_000
CASES: tuple[Case, ...] = (
    words("curves: nothing", "analyze curves", "needs at least one training run"),
    words("curves: nowhere", "analyze curves nowhere", "nowhere is not the folder of a training run"),
    words("curves: names", "analyze curves a b --names x", "give 2 different --names"),
    words("curves: same names", "analyze curves a b --names x x", "give 2 different --names"),
    words("curves: one run twice", "analyze curves a a", "give 2 different --names"),
    words("curves: no window", "analyze curves a --window 0", "--window is 0"),
    words("curves: words for a window", "analyze curves a --window wide", "--window", "wide"),
    words("curves: no picture", "analyze curves a --out curves.svg", "curves.svg", "ends in .png"),
    drawn("an evaluation", "e", "e is not the folder of a training run", prepare=lambda p: p.copy("eval", "e")),
    drawn("a data root", "data", "there is no recipe.json", prepare=lambda p: p.copy("data")),
    drawn("a file", METRICS, "is not the folder of a training run"),
    damaged("a recipe that is a list", lambda p: p.write("g/recipe.json", "[]"), "g/recipe.json"),
    damaged("a recipe without end", lambda p: p.write("g/recipe.json", DEEP), "g/recipe.json"),
    damaged("no step yet", replaced(lambda _: None), METRICS, "has not taken a step yet"),
    damaged("an empty file", wrote(""), METRICS, "holds no whole line"),
    damaged("nothing but a torn line", wrote('{"step": 1, "loss'), METRICS, "holds no whole line"),
    damaged("garbage", wrote(b"\x00\xff{]\n"), f"{METRICS}:1"),
    damaged("a number", wrote("7\n"), f"{METRICS}:1"),
    damaged("a blank line", wrote('{"step": 1}\n\n'), f"{METRICS}:2", "blank"),
    damaged("a key twice", wrote('{"step": 1, "step": 2}\n'), f"{METRICS}:1", "twice"),
    damaged("nested without end", wrote(DEEP + "\n"), f"{METRICS}:1"),
    damaged("a step twice", second(step=1), f"{METRICS}:2", "a number after 1"),
    damaged("a step that is a text", second(step="\x1b[31m"), f"{METRICS}:2", "step"),
    damaged("a step that is true", second(step=True), f"{METRICS}:2", "step"),
    damaged("a step without a number", second(step=...), f"{METRICS}:2", "step is None, expected a number after 1"),
    damaged("a figure that is missing", second(reward_mean=...), f"{METRICS}:2", "reward_mean is missing"),
    damaged("a figure that is a text", second(reward_mean="\x1b[31mhigh"), f"{METRICS}:2", "reward_mean"),
    damaged("a figure in a list", second(reward_mean=[1.0]), f"{METRICS}:2", "reward_mean"),
    damaged("a reward in a reward", second(custom={"a": {"b": 1}}), f"{METRICS}:2", "custom/a"),
    damaged("metrics that are a folder", replaced(lambda p: (p.path / METRICS).mkdir()), METRICS),
    damaged("metrics that are a pipe", replaced(lambda p: p.pipe(METRICS)), METRICS),
    damaged("metrics without end", replaced(lambda p: p.link(METRICS, "/dev/zero")), METRICS),
    damaged("a damaged cold start", lambda p: p.write("g/cold_start/metrics.jsonl", "{]\n"), "g/cold_start"),
    drawn("picture over another file", "g --out n.png", "left as it is", prepare=lambda p: p.write("n.png", "notes")),
    drawn("picture is a folder", "g --out f.png", "f.png is a folder", prepare=lambda p: (p.path / "f.png").mkdir()),
    drawn("picture in /proc", "g --out /proc/curves.png", "/proc/curves.png"),
    drawn("picture below a file", f"g --out {METRICS}/c.png", METRICS),
    drawn(
        "picture is a loop", "g --out l.png", "l.png is no ordinary file", prepare=lambda p: p.link("l.png", "l.png")
    ),
    Case(
        "curves: disk full",
        lambda place: drawn("", "g --out curves.png").make(place),
        ("curves.png", "File too large"),
        around=full_disk,
    ),
)
