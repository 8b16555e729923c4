"""SBR-Mini's world as data: what can be done, in which order, and where.  No drawing, no files.

An `Episode` is one "uncut video": a task carried out in an environment.  A question stops an episode after `done`
actions and asks for the next one.  Four disjoint sets of environments and three disjoint sets of tasks give the three
levels of generalisation of the benchmark:

    level     tasks                  environments
    train     TRAIN_TASKS            4 kitchens
    L1        TRAIN_TASKS            the same 4 kitchens, other recordings
    L2        TRAIN_TASKS            12 unseen kitchens, darker and more cluttered, whose households own other things
    L3        L3_TASKS, 4 domains    12 other unseen places
    pretrain  all tasks              150 places of every kind
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

FPS = 8
"""Frames a second of every clip."""
FRAMES_PER_ACTION = 8
"""One action takes one second: the official 2 fps then takes two frames of each action, one temporal patch."""

Role = Literal["pretrain", "train", "L2", "L3"]
Place = Literal["kitchen", "workshop", "studio", "garden"]

VERBS = ("take", "put", "open", "close", "wash", "cut", "pour", "heat", "stir")
NOUNS = (
    "cup", "paint", "glue", "oil", "milk", "water", "box", "fridge", "toolbox", "tomato", "onion", "potato",
    "carrot", "rope", "wood", "bowl", "pot", "pan", "bread", "clay", "cloth", "plant", "flower", "fish",
)  # fmt: skip
DOMAINS = ("Daily life", "Hobbies", "Recreation", "Work")


@dataclass(frozen=True, slots=True, order=True)
class Action:
    """
    >>> str(Action("wash", "tomato"))
    'wash tomato'
    """

    verb: str
    noun: str

    def __str__(self) -> str:
        return f"{self.verb} {self.noun}"


@dataclass(frozen=True, slots=True)
class Task:
    """A goal and the actions that reach it, in order, none twice.

    Example: goal "make tomato soup", domain "Daily life", place "kitchen", steps (wash tomato, cut tomato, ...).
    """

    goal: str
    domain: str
    place: Place
    steps: tuple[Action, ...]

    def __post_init__(self) -> None:
        if not 5 <= len(self.steps) <= 7 or len(set(self.steps)) != len(self.steps):
            raise ValueError(f"{self.goal}: 5 to 7 different steps are needed, found {[str(s) for s in self.steps]}")
        for step in self.steps:
            if step.verb not in VERBS or step.noun not in NOUNS:
                raise ValueError(f"{self.goal}: {step} is not a known action")

    @property
    def nouns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(step.noun for step in self.steps))


@dataclass(frozen=True, slots=True)
class Environment:
    """One place: everything that makes its pictures look alike.  `seed` fixes colours, pattern, layout and handedness.

    `light` 1.0 is full daylight, `clutter` counts objects that have nothing to do with the task, `noise` is the
    standard deviation of the sensor noise in grey levels (0-255).  `household` says whose belongings stand there
    (sbr.mini.draw.belongings); 0: what everybody buys.
    """

    env_id: str
    place: Place
    seed: int
    light: float
    clutter: int
    noise: float
    household: int = 0


@dataclass(frozen=True, slots=True)
class Episode:
    """One recording of a task in an environment; `seed` fixes positions and movements."""

    task: Task
    environment: Environment
    seed: int

    @property
    def video_id(self) -> str:
        """
        Like "P03_1042": place of recording, then number of the recording.
        """
        return f"{self.environment.env_id}_{self.seed}"


def _task(goal: str, domain: str, place: Place, steps: str) -> Task:
    actions = tuple(Action(*words.split()) for words in steps.split(", "))
    return Task(goal, domain, place, actions)


_DAILY: tuple[str, Place] = ("Daily life", "kitchen")

TRAIN_TASKS: tuple[Task, ...] = (
    _task("make tomato soup", *_DAILY, "wash tomato, cut tomato, put tomato, pour water, heat pot, stir pot"),
    _task("fry fish", *_DAILY, "open fridge, take fish, close fridge, pour oil, heat pan, put fish"),
    _task("boil potato", *_DAILY, "take potato, wash potato, put pot, pour water, put potato, heat pot"),
    _task("prepare salad", *_DAILY, "take bowl, wash carrot, cut carrot, put carrot, pour oil, stir bowl"),
    _task("drink hot milk", *_DAILY, "open fridge, take milk, close fridge, pour milk, heat cup, stir cup"),
    _task("toast bread", *_DAILY, "take bread, cut bread, open oil, pour oil, heat pan, put bread"),
    _task("clean cup", *_DAILY, "take cup, pour water, wash cup, take cloth, put cup"),
    _task("roast onion", *_DAILY, "open box, take onion, cut onion, put onion, pour oil, heat pan, stir pan"),
    _task("mash potato", *_DAILY, "wash potato, cut potato, heat pot, put potato, pour milk, stir pot"),
    _task("store bread", *_DAILY, "cut bread, take box, open box, put bread, close box"),
    _task("cook carrot stew", *_DAILY, "wash carrot, cut carrot, take pot, put carrot, heat pot, stir pot"),
    _task("make fish sauce", *_DAILY, "wash fish, cut fish, take bowl, open milk, pour milk, stir bowl, put fish"),
)

L3_TASKS: tuple[Task, ...] = (
    _task("make onion broth", *_DAILY, "take onion, wash onion, cut onion, take pot, pour water, heat pot"),
    _task("serve cold milk", *_DAILY, "wash cup, open fridge, take milk, open milk, pour milk, close milk"),
    _task("bake bread pudding", *_DAILY, "cut bread, put bread, take milk, pour milk, stir bowl, heat bowl"),
    _task("clean kitchen box", *_DAILY, "take box, open box, take cloth, wash cloth, put cloth, close box"),
    _task(
        "paint clay figure", "Hobbies", "studio", "take clay, cut clay, heat clay, open paint, stir paint, put paint"
    ),
    _task("glue wood frame", "Hobbies", "workshop", "take wood, cut wood, open glue, pour glue, put wood, close glue"),
    _task("dye cloth", "Hobbies", "studio", "wash cloth, open paint, pour paint, stir bowl, heat bowl, put cloth"),
    _task("grow flower", "Hobbies", "garden", "take flower, cut flower, put flower, pour water, wash bowl, take plant"),
    _task(
        "cook at camp",
        "Recreation",
        "garden",
        "take wood, heat wood, put pot, pour water, cut fish, put fish, heat pot",
    ),
    _task("pack picnic", "Recreation", "garden", "open box, take bread, cut bread, put bread, put cup, close box"),
    _task("set up swing", "Recreation", "garden", "take rope, cut rope, take wood, cut wood, put wood, put rope"),
    _task(
        "catch fish", "Recreation", "garden", "cut rope, put rope, take fish, wash fish, open box, put fish, close box"
    ),
    _task(
        "repair toolbox", "Work", "workshop", "open toolbox, take glue, open glue, pour glue, close glue, close toolbox"
    ),
    _task(
        "paint wall panel", "Work", "workshop", "open paint, stir paint, pour paint, take wood, put wood, wash cloth"
    ),
    _task(
        "plant garden row",
        "Work",
        "garden",
        "open toolbox, take plant, cut plant, put plant, pour water, close toolbox",
    ),
    _task("seal wood board", "Work", "workshop", "cut wood, wash wood, open oil, heat oil, pour oil, take cloth"),
)

# What can sensibly be done with a noun, in the order in which it is done.
_CHAINS: dict[str, tuple[str, ...]] = {
    "cup": ("take", "wash", "heat", "stir", "put"), "paint": ("take", "open", "stir", "pour", "close", "put"),
    "glue": ("take", "open", "pour", "close"), "oil": ("take", "open", "pour", "heat", "close"),
    "milk": ("take", "open", "pour", "close"), "water": ("take", "pour", "heat"),
    "box": ("take", "open", "close", "put"), "fridge": ("open", "close"), "toolbox": ("take", "open", "close"),
    "tomato": ("take", "wash", "cut", "put"), "onion": ("take", "wash", "cut", "put"),
    "potato": ("take", "wash", "cut", "put"), "carrot": ("take", "wash", "cut", "put"),
    "rope": ("take", "cut", "put"), "wood": ("take", "cut", "wash", "heat", "put"),
    "bowl": ("take", "wash", "stir", "heat", "put"), "pot": ("take", "put", "heat", "stir"),
    "pan": ("take", "put", "heat", "stir"), "bread": ("take", "cut", "put"),
    "clay": ("take", "cut", "heat", "put"), "cloth": ("take", "wash", "cut", "put"),
    "plant": ("take", "cut", "put"), "flower": ("take", "cut", "put"), "fish": ("take", "wash", "cut", "put"),
}  # fmt: skip

ALL_ACTIONS: tuple[Action, ...] = tuple(Action(verb, noun) for noun in NOUNS for verb in _CHAINS[noun])
"""Every action that makes sense."""

_NAMES = ("red", "blue", "green", "gold", "small", "big", "old", "new")
_PLACES: dict[str, Place] = {"Daily life": "kitchen", "Hobbies": "studio", "Recreation": "garden", "Work": "workshop"}


def _pretrain_tasks(count: int, seed: int) -> tuple[Task, ...]:
    """Made-up tasks over three nouns, e.g. "try gold carrot kit"; only the base model's pretraining uses them."""
    rng = random.Random(seed)
    tasks: dict[str, Task] = {}
    while len(tasks) < count:
        nouns = rng.sample(NOUNS, 3)
        length = rng.randint(5, 7)
        # Each noun keeps its own order; nouns interleave at random.
        chains = [list(_CHAINS[noun]) for noun in nouns]
        steps: list[Action] = []
        while len(steps) < length and any(chains):
            which = rng.choice([i for i, chain in enumerate(chains) if chain])
            verb = chains[which].pop(0)
            if rng.random() < 0.8:
                steps.append(Action(verb, nouns[which]))
        goal = f"try {rng.choice(_NAMES)} {nouns[0]} kit"
        if len(steps) >= 5 and goal not in tasks:
            domain = rng.choice(DOMAINS)
            tasks[goal] = Task(goal, domain, _PLACES[domain], tuple(steps))
    return tuple(tasks.values())


PRETRAIN_TASKS: tuple[Task, ...] = _pretrain_tasks(count=40, seed=2503)
ALL_TASKS: tuple[Task, ...] = TRAIN_TASKS + L3_TASKS + PRETRAIN_TASKS

_COUNTS: dict[Role, int] = {"pretrain": 150, "train": 4, "L2": 12, "L3": 12}
_PREFIXES: dict[Role, str] = {"pretrain": "W", "train": "P", "L2": "K", "L3": "E"}


def environments(role: Role) -> tuple[Environment, ...]:
    """The fixed places of a role.  L2 and L3 places are darker, noisier and more cluttered than the training kitchens;
    the pretraining places cover the whole range.  In each kitchen of L2 lives another household."""
    rng = random.Random(f"environments/{role}")
    kinds: tuple[Place, ...] = ("kitchen",) if role in ("train", "L2") else ("kitchen", "workshop", "studio", "garden")
    made: list[Environment] = []
    for number in range(_COUNTS[role]):
        hard = {"pretrain": rng.random(), "train": 0.2 * rng.random(), "L2": 0.6 + 0.4 * rng.random(), "L3": 0.6}[role]
        made.append(
            Environment(
                env_id=f"{_PREFIXES[role]}{number + 1:02d}",
                place=kinds[number % len(kinds)],
                seed=rng.getrandbits(32),
                light=1.05 - 0.45 * hard,
                clutter=round(3 * hard),
                noise=2.0 + 8.0 * hard,
                household=number + 1 if role == "L2" else 0,
            )
        )
    return tuple(made)
