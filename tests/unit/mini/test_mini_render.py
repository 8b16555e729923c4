"""The pictures of the miniature: reproducible, and different where what happens is different."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from sbr.mini.draw import actions, scenes
from sbr.mini.draw.belongings import MADE
from sbr.mini.draw.nouns import noun_sprite
from sbr.mini.render import SIZE, render_action, render_clip, render_observation
from sbr.mini.world import ALL_ACTIONS, NOUNS, TRAIN_TASKS, VERBS, Action, Environment, Episode, environments

KITCHEN = environments("train")[1]
EPISODE = Episode(TRAIN_TASKS[0], KITCHEN, seed=7)


def small(frame_HWC: np.ndarray) -> np.ndarray:
    """As the model of the miniature sees it."""
    return np.asarray(Image.fromarray(frame_HWC).resize((84, 84), Image.Resampling.BICUBIC)).astype(np.float32)


def test_an_action_is_eight_frames_and_any_of_them_can_be_asked_for() -> None:
    action = EPISODE.task.steps[0]
    frames_THWC = render_action(EPISODE, action)
    assert frames_THWC.shape == (8, SIZE, SIZE, 3) and frames_THWC.dtype == np.uint8
    np.testing.assert_array_equal(render_action(EPISODE, action, [6, 1]), frames_THWC[[6, 1]])


def test_a_clip_is_its_actions_one_after_the_other() -> None:
    clip_THWC = render_clip(EPISODE, 2)
    np.testing.assert_array_equal(clip_THWC[:8], render_action(EPISODE, EPISODE.task.steps[0]))
    np.testing.assert_array_equal(clip_THWC[8:], render_action(EPISODE, EPISODE.task.steps[1]))
    assert render_clip(EPISODE, 0).shape == (0, SIZE, SIZE, 3)


def test_a_picture_does_not_depend_on_what_was_drawn_before() -> None:
    action = Action("cut", "tomato")
    first = render_action(EPISODE, action)
    for function in (scenes.background, scenes.look, noun_sprite):
        function.cache_clear()
    render_action(Episode(TRAIN_TASKS[3], environments("L2")[0], 1), Action("stir", "bowl"))
    np.testing.assert_array_equal(render_action(EPISODE, action), first)


def test_recordings_and_environments_differ() -> None:
    action = Action("take", "cup")
    here = render_action(EPISODE, action, [4])[0]
    later = render_action(replace(EPISODE, seed=8), action, [4])[0]
    elsewhere = render_action(replace(EPISODE, environment=environments("train")[2]), action, [4])[0]
    assert np.abs(small(here) - small(later)).mean() > 2
    assert np.abs(small(here) - small(elsewhere)).mean() > 10


@pytest.mark.parametrize("frame", range(8))
def test_every_action_looks_different_from_every_other_at_every_moment(frame: int) -> None:
    """At one and the same spot, on grey, at the size the model sees: 3 grey levels on average over the whole frame."""
    seen = []
    for action in ALL_ACTIONS:
        canvas = Image.new("RGB", (SIZE, SIZE), (150, 150, 150))
        stage = actions.Stage(canvas, action.noun, scenes.look(KITCHEN), 82, 97, 90, outdoors=False, phase=frame)
        actions.VERBS[action.verb](stage, frame / 7, True)
        seen.append(small(np.asarray(canvas)))
    for k, one in enumerate(seen[:-1]):
        apart = [np.abs(other - one).mean() for other in seen[k + 1 :]]
        nearest = int(np.argmin(apart))
        assert apart[nearest] > 3, f"{ALL_ACTIONS[k]} looks like {ALL_ACTIONS[k + 1 + nearest]}"


def test_any_verb_can_be_drawn_with_any_noun() -> None:
    for noun in NOUNS:
        for verb in VERBS:
            frame = render_action(EPISODE, Action(verb, noun), [5])[0]
            assert frame.std() > 10


def test_what_is_handled_is_large() -> None:
    """40-60 % of the frame in its longer direction: the model's visual token is a third of the frame."""
    for noun in NOUNS:
        alpha = np.asarray(noun_sprite(noun, "whole", 90))[..., 3] > 128
        rows, columns = np.flatnonzero(alpha.any(axis=1)), np.flatnonzero(alpha.any(axis=0))
        longest = max(rows[-1] - rows[0], columns[-1] - columns[0])
        assert 0.4 * SIZE < longest < 0.6 * SIZE, noun


def test_the_observation_shows_the_result_of_the_last_action() -> None:
    seen = [small(render_observation(EPISODE, done)) for done in range(len(EPISODE.task.steps) + 1)]
    for k, one in enumerate(seen):
        for other in seen[k + 1 :]:
            assert np.abs(one - other).mean() > 2.5


def test_the_hand_is_gone_in_the_observation() -> None:
    """The lower right corner, where a right arm comes in, is as in the empty scene."""
    episode = replace(EPISODE, environment=replace(KITCHEN, noise=0.0, clutter=0))
    assert not scenes.look(KITCHEN).mirrored
    last = render_action(episode, Action("take", "tomato"), [0])[0].astype(int)
    after = render_observation(episode, 1).astype(int)
    corner = (slice(SIZE - 24, SIZE), slice(SIZE - 24, SIZE))
    assert np.abs(last[corner] - after[corner]).mean() > 20


def test_light_and_noise_are_those_of_the_environment() -> None:
    def seen(**changes: float) -> np.ndarray:
        environment: Environment = replace(KITCHEN, **{"light": 0.7, "noise": 0.0, **changes})
        return render_observation(replace(EPISODE, environment=environment), 1).astype(np.float64)

    noise = seen(noise=8.0) - seen()
    assert noise.mean() == pytest.approx(0, abs=0.3)
    assert noise.std() == pytest.approx(8.0, rel=0.15)
    assert seen(light=0.35).mean() / seen().mean() == pytest.approx(0.5, rel=0.02)


def test_clutter_is_as_many_things_as_asked_for_and_none_of_the_task() -> None:
    for environment in environments("L2"):
        for task in TRAIN_TASKS:
            around = scenes.clutter(environment, task.nouns)
            assert len(around) == environment.clutter
            assert not set(around) & set(task.nouns)


def test_an_unseen_household_owns_other_things_of_the_same_kind() -> None:
    """Against grey: other colours, and the shop's outline, perhaps narrower, lower or facing the other way."""

    def seen(noun: str, household: int) -> tuple[np.ndarray, np.ndarray]:
        sprite = noun_sprite(noun, "whole", 90, household=household)
        canvas = Image.new("RGB", sprite.size, (150, 150, 150))
        canvas.paste(sprite, (0, 0), sprite)
        return np.asarray(canvas).astype(np.float32), np.asarray(sprite)[..., 3] > 128

    changes: dict[str, list[float]] = {noun: [] for noun in NOUNS}
    for noun in NOUNS:
        shop, outline = seen(noun, 0)
        for place in environments("L2"):
            own, shape = seen(noun, place.household)
            changes[noun].append(float(np.abs(own - shop).mean()))
            kept = max(float((shape & o).sum() / (shape | o).sum()) for o in (outline, outline[:, ::-1]))
            assert kept > 0.6, (noun, place.env_id)
    made = np.mean([np.mean(changes[noun]) for noun in NOUNS if noun in MADE])
    grown = np.mean([np.mean(changes[noun]) for noun in NOUNS if noun not in MADE])
    assert made > 25 > grown > 8
    assert all(place.household == 0 for role in ("train", "L3", "pretrain") for place in environments(role))


def test_a_late_camera_shows_the_end_of_the_clip() -> None:
    np.testing.assert_array_equal(render_clip(EPISODE, 4, first=2), render_clip(EPISODE, 4)[16:])
    with pytest.raises(ValueError, match="first is 3, done is 2"):
        render_clip(EPISODE, 2, first=3)


def test_left_handed_places_are_mirrored_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    episode = replace(EPISODE, environment=replace(KITCHEN, noise=0.0))
    right = render_action(episode, Action("wash", "cup"), [3])[0]
    mirrored = replace(scenes.look(episode.environment), mirrored=True)
    monkeypatch.setattr("sbr.mini.render.look", lambda environment: mirrored)
    np.testing.assert_array_equal(render_action(episode, Action("wash", "cup"), [3])[0], right[:, ::-1])


def test_impossible_moments_are_refused() -> None:
    with pytest.raises(ValueError, match="frame 8"):
        render_action(EPISODE, EPISODE.task.steps[0], [8])
    with pytest.raises(ValueError, match="done is 7"):
        render_clip(EPISODE, 7)
    with pytest.raises(ValueError, match="done is -1"):
        render_observation(EPISODE, -1)
