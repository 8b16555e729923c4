"""Where a model lies: a folder, a name on the hub, or the one inside the package.  Imports nothing heavy."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

from sbr.errors import CheckpointError

BUILT_IN = {"sbr:mini": ("sbr.mini", "base")}
"""Names of checkpoints inside the package: (package, folder)."""

HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


def resolve_model_path(path: str) -> str:
    """A folder, or the hub name `path` stands for.

    "sbr:mini" is the base model inside the package.  An existing folder is itself.  "owner/name" is a hub name unless
    a folder `owner` lies here.  Anything else raises CheckpointError: a mistyped folder is never looked up on the hub.
    """
    if path in BUILT_IN:
        package, name = BUILT_IN[path]
        folder = Path(str(resources.files(package))) / name
        if not folder.is_dir():
            raise CheckpointError(
                f"{path} is not in this installation ({folder} is missing); install the package again"
            )
        return str(folder)
    if path.startswith("sbr:"):
        raise CheckpointError(f"there is no built-in model {path!r}; there is {', '.join(BUILT_IN)}")
    folder = Path(path).expanduser()
    if folder.is_dir():
        return str(folder)
    if folder.exists():
        raise CheckpointError(f"model {path} is a file; give the folder that holds config.json")
    if HUB_NAME.fullmatch(path) and not Path(path.split("/")[0]).exists():
        return path
    raise CheckpointError(f"model folder {path} does not exist; give a folder, a hub name (owner/name) or sbr:mini")
