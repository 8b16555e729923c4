"""Several processes on one piece of work: `torchrun --nproc_per_node 4 -m -- sbr eval ...`, or `accelerate launch`.

Rank 0 says what is already done, every rank does its share and appends to a file of its own (`sbr.resume.rank_files`),
rank 0 waits for all and puts the files together.  Between the processes travel only these few messages, over gloo on
the CPU.  There is no time limit: a rank may have hours more to do than another.  When a rank dies, the launcher ends
the others; repeating the command continues, with any number of processes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from sbr.errors import SbrError

if TYPE_CHECKING:
    import torch.distributed as dist

T = TypeVar("T")

_NO_LIMIT = timedelta(days=365)
_POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Processes:
    """This process among those that share one piece of work.  Example: Processes(rank=1, count=4)."""

    rank: int = 0
    count: int = 1
    group: dist.ProcessGroup | None = None
    """What the messages travel in; None for one process."""

    def share(self, items: Sequence[T]) -> list[T]:
        """This rank's items; the shares of two ranks differ by one item at most."""
        return list(items[self.rank :: self.count])

    def from_first(self, value: T | None) -> T:
        """The value that rank 0 passes, on every rank; all ranks call it."""
        box = [value]
        if self.count > 1:
            import torch.distributed as dist

            with _partners():
                dist.broadcast_object_list(box, src=0, group=self.group)
        return box[0]  # pyright: ignore[reportReturnType]

    def wait(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Until all ranks are here; `meanwhile` is called a few times a second.  Raises when another rank is gone."""
        if self.count == 1:
            return
        import torch.distributed as dist

        with _partners():
            arrived = dist.barrier(group=self.group, async_op=True)
            assert arrived is not None
            while not arrived.is_completed():
                meanwhile()
                time.sleep(_POLL_SECONDS)
            arrived.wait()


ALONE = Processes()


@contextmanager
def _partners() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # gloo: the connection was closed
        reason = str(error).split(". ")[0]  # what follows is gloo's advice
        raise SbrError(f"another process of this launch has ended; its own message says why ({reason})") from error


@contextmanager
def launched() -> Iterator[Processes]:
    """The processes that torchrun or accelerate launch started with this one; ALONE without them."""
    if (count := int(os.environ.get("WORLD_SIZE", "1"))) == 1:
        yield ALONE
        return
    import torch
    import torch.distributed as dist

    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    dist.init_process_group("gloo")  # with its time limit: processes that do not find each other end
    try:
        group = dist.new_group(backend="gloo", timeout=_NO_LIMIT)
        assert isinstance(group, dist.ProcessGroup)  # all processes are in it
        yield Processes(dist.get_rank(), count, group)
    finally:
        dist.destroy_process_group()
