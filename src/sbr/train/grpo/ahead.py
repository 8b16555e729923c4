"""Rollouts one step ahead: the sampler draws for the next step while this one is learned from.

    weights after step t - 1 -> sampler -> completions of step t + 1
    completions of step t -> update -> weights after step t

So what a step learns from was drawn by a policy that is one step older, never more; `algo.importance` weighs it for
that.  The first step of a run, resumed ones too, is drawn by the present policy: nothing was drawn before.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import replace

from sbr.train.grpo.collect import Collected
from sbr.train.grpo.rollouts import Rollouts
from sbr.train.learner import Share
from sbr.train.stopwatch import Stopwatch
from sbr.types import Sample


class RolloutsAhead:
    """In place of `Rollouts`, for a sampler that computes elsewhere."""

    def __init__(self, rollouts: Rollouts) -> None:
        self._rollouts = rollouts
        self._begun: tuple[ExitStack, Future[Collected], Stopwatch] | None = None

    def collect(self, share: Share[Sample]) -> Collected:
        """What was begun in the step before, and begin that of the next step.

        "rollout" is the time that was waited; the other stages of drawing took theirs while nobody waited.

        Raises what drawing has raised.
        """
        if self._begun is None:
            collected = self._rollouts.collect(share)
        else:
            present, future, clock = self._begun
            with share.clock("rollout"), present:
                collected = future.result()
            for stage, seconds in clock.seconds.items():
                if stage != "rollout":
                    share.clock.seconds[stage] = share.clock.seconds.get(stage, 0.0) + seconds
        following = share.following()
        self._begun = None if following is None else self._begin(following, share.clock)
        return collected

    def _begin(self, share: Share[Sample], clock: Stopwatch) -> tuple[ExitStack, Future[Collected], Stopwatch]:
        present = ExitStack()
        with clock("rollout"):  # the weights are handed over while nothing else goes on
            present.enter_context(self._rollouts.present())
        future: Future[Collected] = Future()
        unwatched = replace(share, clock=Stopwatch(self._rollouts.bench.trainer.accelerator.device))

        def draw() -> None:
            try:
                future.set_result(self._rollouts.draw(unwatched))
            except BaseException as error:  # for whoever waits
                future.set_exception(error)

        threading.Thread(target=draw, name="rollouts", daemon=True).start()  # never keeps a run alive that ends
        return present, future, unwatched.clock
