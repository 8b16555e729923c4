"""Refilling of groups without signal, with rollouts that are made up."""

from functools import partial
from types import SimpleNamespace
from typing import Any

from sbr.config.training import TrainConfig
from sbr.train.grpo.collect import ScoredGroup, refill
from sbr.train.order import Slot, slots_of_step, spare_slot

CONFIG = TrainConfig(prompts_per_step=4, seed=7)


def samples_of(count: int) -> Any:
    return [SimpleNamespace(sample_id=str(number)) for number in range(count)]


def scored(slot: Slot, letters: str, rewards: tuple[float, ...] = (0.0, 0.0)) -> ScoredGroup:
    """Two completions that chose `letters`, where B earns."""
    scores: Any = tuple(
        SimpleNamespace(answer=SimpleNamespace(letter=letter), rewarded="B", reward=reward)
        for letter, reward in zip(letters, rewards, strict=True)
    )
    group: Any = slot.sample
    return ScoredGroup(slot, group, scores)


def run(signal: set[tuple[int, int]], extra_rounds: int):
    """Slots 0 to 3; (slot, round) in `signal` teach something.  Returns what was collected and what was asked."""
    samples, asked = samples_of(30), []

    def ask(slots):
        asked.append([(slot.index, slot.round) for slot in slots])
        return [scored(slot, "AB" if (slot.index, slot.round) in signal else "AC") for slot in slots]

    first = ask(slots_of_step(samples, 2, CONFIG, 0, 1))
    return refill(first, ask, partial(spare_slot, samples, 2, CONFIG), extra_rounds), asked


def test_only_silent_slots_are_asked_again_until_all_have_signal():
    found, asked = run({(0, 0), (2, 0), (1, 1), (3, 2)}, extra_rounds=5)
    assert asked == [[(0, 0), (1, 0), (2, 0), (3, 0)], [(1, 1), (3, 1)], [(3, 2)]]
    assert [(group.slot.index, group.slot.round) for group in found.batch] == [(0, 0), (1, 1), (2, 0), (3, 2)]
    assert [(group.slot.index, group.slot.round) for group in found.replaced] == [(1, 0), (3, 0), (3, 1)]


def test_rounds_are_limited_and_the_batch_is_full_all_the_same():
    found, asked = run({(0, 0)}, extra_rounds=2)
    assert len(asked) == 3
    assert [(group.slot.index, group.slot.round) for group in found.batch] == [(0, 0), (1, 2), (2, 2), (3, 2)]
    assert len(found.replaced) == 6
    found, asked = run(set(), extra_rounds=0)
    assert (len(asked), len(found.batch), found.replaced) == (1, 4, ())


def test_spares_are_new_prompts_the_same_on_every_process_and_in_every_run():
    samples = samples_of(30)
    own = {slot.sample.sample_id for slot in slots_of_step(samples, 3, CONFIG, 0, 1)}
    spares = [spare_slot(samples, 3, CONFIG, index, number) for number in (1, 2, 3) for index in range(4)]
    names = [slot.sample.sample_id for slot in spares]
    assert len(set(names)) == 12
    assert not own & set(names)
    assert spares == [spare_slot(samples, 3, CONFIG, index, number) for number in (1, 2, 3) for index in range(4)]
    assert len({slot.seed for slot in spares} | {slot.seed for slot in slots_of_step(samples, 3, CONFIG, 0, 1)}) == 16
    other_step = [spare_slot(samples, 4, CONFIG, index, 1).sample.sample_id for index in range(4)]
    other_seed = [
        spare_slot(samples, 3, CONFIG.model_copy(update={"seed": 8}), i, 1).sample.sample_id for i in range(4)
    ]
    assert names[:4] != other_step
    assert names[:4] != other_seed


def test_few_data_are_asked_again_from_the_start():
    samples = samples_of(5)
    (spare,) = {str(n) for n in range(5)} - {slot.sample.sample_id for slot in slots_of_step(samples, 1, CONFIG, 0, 1)}
    drawn = [spare_slot(samples, 1, CONFIG, index, number) for number in (1, 2) for index in range(4)]
    assert {slot.sample.sample_id for slot in drawn} == {spare}
    assert len({slot.seed for slot in drawn}) == 8  # the same prompt, other completions
    everything = [spare_slot(samples_of(4), 1, CONFIG, index, 1).sample.sample_id for index in range(4)]
    assert sorted(everything) == ["0", "1", "2", "3"]


def test_a_group_is_silent_when_all_or_none_are_right_whatever_else_they_earn():
    slot = slots_of_step(samples_of(9), 1, CONFIG, 0, 1)[0]
    assert scored(slot, "BB", (1.0, 0.5)).silent
    assert scored(slot, "AC", (0.0, -0.02)).silent
    assert not scored(slot, "AB", (0.5, 0.5)).silent
