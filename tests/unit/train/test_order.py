"""The order of prompts and seeds: permutations, epochs, shares of processes, stability."""

from pathlib import Path

import pytest

from sbr.config.training import TrainConfig
from sbr.errors import ConfigError
from sbr.train.order import group_seed, left_over, prompt_order, slots_of_step, total_steps
from sbr.types import Sample

CONFIG = TrainConfig(prompts_per_step=4, seed=7)


def make_samples(count: int) -> list[Sample]:
    image = Path("/nowhere/image.png")
    return [
        Sample(f"s{i}", "train", "Daily life", None, "EpicKitchens", "P01", None, image, "", "", ("a", "b"), "A")
        for i in range(count)
    ]


def ids(samples, step, config=CONFIG, process=0, processes=1):
    return [slot.sample.sample_id for slot in slots_of_step(samples, step, config, process, processes)]


def test_order_is_a_permutation_that_depends_on_seed_and_epoch():
    orders = {(seed, epoch): tuple(prompt_order(50, seed, epoch)) for seed in range(3) for epoch in range(3)}
    assert all(sorted(order) == list(range(50)) for order in orders.values())
    assert len(set(orders.values())) == 9
    assert prompt_order(50, 1, 2) == list(orders[1, 2])


def test_epochs_follow_each_other_without_a_gap():
    samples = make_samples(10)
    stream = [sample_id for step in range(1, 6) for sample_id in ids(samples, step)]  # 20 prompts: two epochs
    assert sorted(stream[:10]) == sorted(stream[10:]) == sorted(sample.sample_id for sample in samples)
    assert stream[:10] != stream[10:]


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_processes_share_the_same_slots_and_seeds(processes):
    samples = make_samples(10)
    whole = slots_of_step(samples, 3, CONFIG, 0, 1)
    shares = [slots_of_step(samples, 3, CONFIG, process, processes) for process in range(processes)]
    assert {len(share) for share in shares} == {4 // processes}
    assert sorted((slot for share in shares for slot in share), key=lambda slot: slot.index) == list(whole)


def test_two_visits_of_one_prompt_in_a_step_get_different_seeds():
    slots = slots_of_step(make_samples(2), 1, CONFIG, 0, 1)
    assert len({slot.sample.sample_id for slot in slots}) == 2
    assert len({slot.seed for slot in slots}) == 4


def test_group_seed_is_fixed_for_all_time():
    # printf '0/1/0/115' | b2sum -l 64, shifted right by one bit
    assert group_seed(0, 1, 0, "115") == 0xA506F5F047E78810 >> 1
    seeds = {group_seed(*key) for key in [(0, 1, 0, "115"), (1, 1, 0, "115"), (0, 2, 0, "115"), (0, 1, 1, "115")]}
    assert len(seeds) == 4
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_number_of_steps():
    assert total_steps(6000, TrainConfig()) == 750  # the paper's run
    assert total_steps(10, CONFIG) == 2
    assert left_over(10, CONFIG) == 2
    assert total_steps(10, TrainConfig(prompts_per_step=4, epochs=2)) == 5
    assert left_over(10, TrainConfig(prompts_per_step=4, epochs=2)) == 0
    assert total_steps(10, TrainConfig(prompts_per_step=4, max_steps=100)) == 100
    assert left_over(10, TrainConfig(prompts_per_step=4, max_steps=100)) == 0
    with pytest.raises(ConfigError, match=r"prompts_per_step is 8.*5 prompts"):
        total_steps(5, TrainConfig(prompts_per_step=8))
