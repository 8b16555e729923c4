"""The tensors of a checkpoint beside the weights: moments of AdamW and averaged weights, by the names of the weights.

They are safetensors files, into which each process writes its parts (torch's distributed checkpoints, without their
pickled index), so a run goes on with any number of processes, its weights in parts or not.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor, distributed, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from sbr.errors import CheckpointError
from sbr.train.ema import AverageWeights, trained

MOMENTS = ("step", "exp_avg", "exp_avg_sq")
"""What AdamW keeps of a parameter, under torch's names."""


def save_tensors(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write `tensors`, whole ones or parts, into the new folder `folder`.  All processes call it.

    Raises OSError when the disk does not take them, on all processes.
    """
    writer = HuggingFaceStorageWriter(str(folder), save_distributed=True)
    try:
        with _alone():
            save(dict(tensors), storage_writer=writer, no_dist=not distributed.is_initialized())
    except CheckpointException as error:
        failed = [cause for cause, _ in error.failures.values()]
        raise OSError(f"{folder.name}: {failed[0]}") from error


def load_tensors(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """Fill `tensors` with what lies in `folder`, each process with its parts.  All processes call it.

    Raises CheckpointError when a tensor is not there or has another shape.
    """
    reader = HuggingFaceStorageReader(str(folder))
    try:
        with _alone():
            load(dict(tensors), storage_reader=reader, no_dist=not distributed.is_initialized())
    except (
        CheckpointException,
        OSError,
        SafetensorError,
        LookupError,
        ValueError,
        RuntimeError,
        AssertionError,
    ) as error:
        checkpoint = folder.parent.parent
        raise CheckpointError(
            f"{folder} is damaged or of another model ({type(error).__name__}); remove {checkpoint} and resume "
            "again: the run then continues from the checkpoint before it"
        ) from error


@contextmanager
def _alone() -> Iterator[None]:
    """Without torch's warning that there is only one process."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled", UserWarning)
        yield


def get_moments(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The moments of AdamW by "<name of the weight>.<name of the moment>", of all weights that are trained.

    Those of a weight that was not updated yet are what they start from.
    """
    found: dict[str, Tensor] = {}
    for name, weight in trained(model).items():
        start = {"step": torch.zeros(()), "exp_avg": torch.zeros_like(weight), "exp_avg_sq": torch.zeros_like(weight)}
        state = optimizer.state.get(weight) or start
        found |= {f"{name}.{kind}": state[kind].detach() for kind in MOMENTS}
    return found


def set_moments(model: nn.Module, optimizer: torch.optim.Optimizer, found: Mapping[str, Tensor]) -> None:
    """The reverse of `get_moments`."""
    names = {id(weight): name for name, weight in trained(model).items()}
    weights = [names[id(weight)] for group in optimizer.param_groups for weight in group["params"]]
    state = {place: {kind: found[f"{name}.{kind}"] for kind in MOMENTS} for place, name in enumerate(weights)}
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def averages(average: AverageWeights) -> dict[str, Tensor]:
    return {f"{name}.average": tensor for name, tensor in average.averages.items()}
