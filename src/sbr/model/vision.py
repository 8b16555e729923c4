"""The vision tower: one call for all pictures of a batch, one attention for all pictures (or windows) of a size.

transformers cuts the row of patches into pictures and calls attention for each, in every layer, with a look at the
lengths on the host.  Here it gets the whole row as one piece, and the layout among the keyword arguments does the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.vision_utils import get_vision_window_index

from sbr.model.families import VisionLanguageModel
from sbr.types import Prompt


class PatchProjection(nn.Conv3d):
    """The vision tower's first layer as the matrix product it is: its windows do not overlap.

    The same weights and result as the convolution, whose general kernels are several times slower at this.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(patches, channels, frames, height, width) -> (patches, width of the tower, 1, 1, 1)"""
        flat = nn.functional.linear(input.flatten(1), self.weight.flatten(1), self.bias)
        return flat[..., None, None, None]


@dataclass(frozen=True, eq=False)
class Pieces:
    """A row of tokens cut into pieces; every token attends to its own piece."""

    groups: tuple[tuple[int, Tensor], ...]
    """Lengths that occur, and the tokens of all pieces of that length in order."""
    order: Tensor
    """(tokens,): where each token of the row lies when the groups stand behind each other."""

    @classmethod
    def of(cls, lengths: Sequence[int], device: torch.device) -> Pieces:
        """`lengths` of the pieces in order."""
        length_of_token = torch.tensor(lengths).repeat_interleave(torch.tensor(lengths))
        tokens = [(length, (length_of_token == length).nonzero().squeeze(1)) for length in sorted(set(lengths))]
        order = torch.cat([places for _, places in tokens]).argsort()
        return cls(tuple((length, places.to(device)) for length, places in tokens), order.to(device))

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scaling: float, dropout: float) -> Tensor:
        """(1, heads, tokens, D) each -> (1, tokens, heads, D)."""
        if len(self.groups) == 1:
            return _batched((query, key, value), self.groups[0][0], scaling, dropout)
        outputs = [
            _batched([part.index_select(2, places) for part in (query, key, value)], length, scaling, dropout)
            for length, places in self.groups
        ]
        return torch.cat(outputs, 1).index_select(1, self.order)


def _batched(heads: Sequence[Tensor], length: int, scaling: float, dropout: float) -> Tensor:
    """Pieces of one length behind each other as a batch: (1, heads, pieces * length, D) -> (1, tokens, heads, D)."""
    query, key, value = (part[0].unflatten(1, (-1, length)).transpose(0, 1) for part in heads)
    out = scaled_dot_product_attention(query, key, value, scale=scaling, dropout_p=dropout)
    return out.transpose(1, 2).flatten(0, 1)[None]


@dataclass(frozen=True, eq=False)
class PictureLayout:
    """A `Layout` (`sbr.model.shared_prefix`) of the tower: who attends to whom in each layer."""

    pictures: Pieces
    """Every two frames of a video are a picture of their own."""
    windows: Pieces | None = None
    """Parts of a picture, in Qwen2.5-VL."""
    whole_layers: frozenset[int] = frozenset()
    """With windows: layers that attend to the whole picture."""

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float, dropout: float) -> Tensor:
        windowed = self.windows is not None and layer not in self.whole_layers
        pieces = self.windows if windowed and self.windows is not None else self.pictures
        return pieces.attend(query, key, value, scaling, dropout)


@dataclass(frozen=True, eq=False)
class MediaFeatures:
    """What the tower makes of the pictures of a batch."""

    by_kind: dict[str, BaseModelOutputWithPooling]
    """"image" and "video", where the batch has such, as the models of transformers take them."""
    unused: Tensor | None
    """A scalar 0 that depends on every weight of the tower, of a batch without any picture; None otherwise."""


def encode_media(model: VisionLanguageModel, prompts: Sequence[Prompt]) -> MediaFeatures:
    """Features of all pictures of all prompts from ONE call of the vision tower.

    One call whatever the batch holds: under distributed training every process must make the same calls, and every
    weight needs a gradient, so a batch without pictures encodes the smallest one, black.  Images and videos go through
    the same layers in every family.
    """
    images = [(p.pixel_values, p.image_grid_thw) for p in prompts if p.pixel_values is not None]
    videos = [(p.pixel_values_videos, p.video_grid_thw) for p in prompts if p.pixel_values_videos is not None]
    media: list[Any] = images + videos
    if not media:
        return MediaFeatures({}, _nothing_of(_features(model, *_smallest_picture(model))))
    found = _features(model, torch.cat([patches for patches, _ in media]), torch.cat([grid for _, grid in media]))
    image_count = sum(len(grid) for _, grid in images if grid is not None)
    split = {"image": slice(image_count), "video": slice(image_count, None)}
    kinds = {kind: _part(found, pictures) for kind, pictures in split.items() if found.pooler_output[pictures]}
    return MediaFeatures(kinds, None)


def _features(model: VisionLanguageModel, pixels: Tensor, grids: Tensor) -> Any:
    """Patches (N, D) and grids (pictures, 3) -> the tower's output, cut into pictures."""
    core: Any = model.model
    config, grids, device = core.visual.config, grids.cpu(), model.device
    whole_row = torch.tensor([0, len(pixels)])  # on the CPU, where every layer reads it
    lengths = (grids[:, 1] * grids[:, 2]).repeat_interleave(grids[:, 0])
    layout = PictureLayout(Pieces.of(lengths.tolist(), device))
    lies: dict[str, Tensor] = {"image_cu_seqlens": whole_row}
    if hasattr(config, "fullatt_block_indexes"):
        index, ends = get_vision_window_index(grids, config.spatial_merge_size, config.window_size, config.patch_size)
        windows = Pieces.of(ends.diff().tolist(), device)
        layout = PictureLayout(layout.pictures, windows, frozenset(config.fullatt_block_indexes))
        lies |= {"image_window_index": index.to(device), "image_cu_window_seqlens": whole_row}
    return core.get_image_features(pixels.to(device), grids.to(device), return_dict=True, layout=layout, **lies)


def _smallest_picture(model: VisionLanguageModel) -> tuple[Tensor, Tensor]:
    """Patches and grid of one visual token."""
    core: Any = model.model
    merge, projection = core.visual.config.spatial_merge_size, core.visual.patch_embed.proj.weight
    return torch.zeros(merge**2, projection.shape[1:].numel()), torch.tensor([[1, merge, merge]])


def _nothing_of(found: Any) -> Tensor:
    features = [*found.pooler_output, *(picture for level in found.get("deepstack_features", ()) for picture in level)]
    return sum(((0 * picture).sum() for picture in features), start=torch.zeros((), device=features[0].device))


def _part(found: Any, pictures: slice) -> BaseModelOutputWithPooling:
    """The features of some pictures; Qwen3-VL has more of them, one set for each of its first text layers."""
    part = type(found)(pooler_output=found.pooler_output[pictures])
    if "deepstack_features" in found:
        part.deepstack_features = [level[pictures] for level in found.deepstack_features]
    return part
