"""What is in memory while a pass runs on tensors without content, and how many operations it takes.

Tensors of numbers are fake (`torch._subclasses.FakeTensor`: shape and dtype, no content); tensors of indices are real,
because the packing of rows reads them.  Every operation goes through `Ledger`, which notes the storages that come and
go.  torch's own `MemTracker` does the first half; it wants every outermost module called once only, and does not know
logits from other activations.  `tests/unit/plan` compares the two.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, UntypedStorage
from torch._guards import active_fake_mode
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.distributed.tensor import DTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from torch.utils.flop_counter import flop_registry

ATEN = torch.ops.aten
MADE_EMPTY = (ATEN.empty.memory_format, ATEN.empty_strided.default)

RESIZE = "resize_"
"""No operation, so a method that has to be replaced, as torch's `MemTracker` does."""

FAKE = FakeTensorMode(allow_non_fake_inputs=True)
"""The mode that all fake tensors of the process belong to."""


def hollow(shape: Iterable[int], dtype: torch.dtype) -> Tensor:
    """A fake tensor on the CPU."""
    with FAKE:
        return torch.empty(tuple(shape), dtype=dtype)


class Ledger(TorchDispatchMode):
    """`with Ledger(...) as ledger:` everything that runs inside is noted.

    `name` says which part a new fake tensor belongs to: (operation, tensor) -> part.  Where the content of a fake
    tensor is asked for (`.item()`), it is 1.
    """

    def __init__(self, name: Callable[[Any, Tensor], str]) -> None:
        super().__init__()
        self._name = name
        self._known: dict[int, tuple[weakref.ref[UntypedStorage], str, int]] = {}
        """Of every live storage, by its address: the storage, its part, its bytes."""
        self.live: Counter[str] = Counter()
        """Bytes in memory, by part."""
        self.peak: Counter[str] = Counter()
        """`live` when all parts together were the largest since `restart`."""
        self._total = self._highest = 0
        self.operations = 0
        """Of matrix products and attention, 2 a multiply-add; a causal call counts the triangle that it needs."""

    def restart(self) -> None:
        """Forget the peak and the operations so far."""
        self.peak, self._highest, self.operations = self.live.copy(), self._total, 0

    def add(self, part: str, tensors: Iterable[Tensor]) -> None:
        """Note fake tensors that exist already."""
        for tensor in tensors:
            self._note(getattr(tensor, "_local_tensor", tensor), part)

    def __enter__(self) -> Ledger:
        self._resize = UntypedStorage.resize_

        def resized(storage: UntypedStorage, size: int) -> Any:
            done = self._resize(storage, size)  # how FSDP2 frees gathered weights and gets them back
            self._resized(storage)
            return done

        setattr(UntypedStorage, RESIZE, resized)
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        setattr(UntypedStorage, RESIZE, self._resize)
        super().__exit__(*error)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        if func is torch.ops.prim.device.default and isinstance(args[0], FakeTensor):
            return args[0].fake_device  # every second call
        if active_fake_mode() not in (None, FAKE):
            return func(*args, **kwargs or {})  # DTensor looks what shapes come out; nothing is taken
        if any(issubclass(kind, DTensor) for kind in types):
            return NotImplemented  # it turns into operations on its part
        kwargs = kwargs or {}
        if func is ATEN._local_scalar_dense.default and isinstance(args[0], FakeTensor):
            return torch.ones((), dtype=args[0].dtype).item()
        if func is ATEN.index.Tensor:
            args = (args[0], _without_masks(args[1]))
        out = _run(func, args, kwargs)
        formula = FORMULAS.get(func.overloadpacket) if hasattr(func, "overloadpacket") else None
        if formula is not None:
            self.operations += formula(*args, **kwargs, out_val=out)
        for tensor in tree_iter(out):
            if isinstance(tensor, FakeTensor):
                self._note(tensor, None, func)
        return out

    def _note(self, tensor: Any, part: str | None, func: Any = None) -> None:
        storage = tensor.untyped_storage()
        address = storage._cdata
        if address in self._known:
            if part is None:
                return
            self._forget(address)
        part = part or self._name(func, tensor)
        size = storage.nbytes()
        reference = weakref.ref(storage, lambda _: self._forget(address))
        self._known[address] = (reference, part, size)
        self._count(part, size)

    def _resized(self, storage: UntypedStorage) -> None:
        if (found := self._known.get(storage._cdata)) is None:
            return
        reference, part, size = found
        part = "gathered" if storage.nbytes() > size else part
        self._count(found[1], -size)
        self._known[storage._cdata] = (reference, part, storage.nbytes())
        self._count(part, storage.nbytes())

    def _forget(self, address: int) -> None:
        if (found := self._known.pop(address, None)) is not None:
            self._count(found[1], -found[2])

    def _count(self, part: str, size: int) -> None:
        self.live[part] += size
        self._total += size
        if self._total > self._highest:
            self._highest = self._total
            self.peak = self.live.copy()


def _run(func: Any, args: Any, kwargs: Mapping[str, Any]) -> Any:
    """What is made without content, such as the buffers of FSDP2, is fake."""
    if func in MADE_EMPTY and (kwargs.get("dtype") or torch.get_default_dtype()).is_floating_point:
        with FAKE:
            return func(*args, **kwargs)
    return func(*args, **kwargs)


def _without_masks(indices: Any) -> list[Tensor | None]:
    """Real indices in place of real masks: how many elements a mask takes is not known of fake tensors."""
    found: list[Tensor | None] = []
    for index in indices:
        if isinstance(index, Tensor) and index.dtype == torch.bool and not isinstance(index, FakeTensor):
            found += index.nonzero().unbind(1)
        else:
            found.append(index)
    return found


def _attention_forward(query: Tensor, key: Tensor, value: Tensor, dropout=0.0, is_causal=False, **_: Any) -> int:
    """Scores and their product with the values."""
    return 2 * _one_product(query, key, is_causal)


def _attention_backward(grad, query, key, value, out, logsumexp, dropout, is_causal, **_: Any) -> int:
    """Scores again, and the gradients of weights, values, queries and keys."""
    return 5 * _one_product(query, key, is_causal)


def _one_product(query: Tensor, key: Tensor, is_causal: bool) -> int:
    batch, heads, queries, width = query.shape
    pairs = queries * (queries + 1) // 2 if is_causal else queries * key.shape[2]
    return 2 * batch * heads * pairs * width


FORMULAS: dict[Any, Callable[..., int]] = {
    **flop_registry,
    ATEN._scaled_dot_product_flash_attention_for_cpu: _attention_forward,
    ATEN._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}
"""torch's own, and the attention of CPUs, which it lacks."""
