"""For Python's start-up where a CPU torch lies beside torchvision's wheel for GPUs, which then lacks two operators.

torchvision does not load without them; nothing here calls them.  `make test-vllm` puts this folder on PYTHONPATH.
"""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from types import ModuleType
from typing import Any

SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)

kept: list[Any] = []


class BeforeTorchvision(MetaPathFinder):
    def find_spec(self, fullname: str, path: object = None, target: ModuleType | None = None) -> None:
        if fullname == "torchvision":
            sys.meta_path.remove(self)
            from torch.library import Library

            kept.append(Library("torchvision", "DEF"))  # it takes its operators along when it goes
            for schema in SCHEMAS:
                kept[0].define(schema)


sys.meta_path.insert(0, BeforeTorchvision())
