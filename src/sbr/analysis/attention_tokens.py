"""A response as the tokens that the model wrote, and where among them its answer letter stands."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

from sbr.errors import CheckpointError, DataError
from sbr.prompt.encode import PromptEncoder
from sbr.reward.answer import answer_span
from sbr.types import EvalRecord


@dataclass(frozen=True, slots=True)
class ResponseTokens:
    """Example: ids (7, 9, 2), texts ("<answer>", "B", "<|im_end|>"), starts (0, 8, 9)."""

    ids: tuple[int, ...]
    texts: tuple[str, ...]
    starts: tuple[int, ...]
    """The character of the response at which each begins; a token that ends inside a character begins where it does."""


def response_tokens(encoder: PromptEncoder, record: EvalRecord) -> ResponseTokens:
    """The response of `record`, tokenised again, with the end of turn unless it was cut off.

    Raises DataError for a response that holds a special token: no model wrote it as text.
    """
    tokenizer, response = encoder.tokenizer, record.response
    if not tokenizer.is_fast:
        raise CheckpointError("the tokenizer does not say where its tokens stand in the text; it has no tokenizer.json")
    if found := next((token for token in tokenizer.all_special_tokens if token in response), None):
        raise DataError(
            f"question {record.sample_id} of {record.level}: the response holds the special token {found}, which "
            "cannot be told from the model's own; leave the question out"
        )
    encoded = tokenizer(response, add_special_tokens=False, return_offsets_mapping=True)
    ids, ends = list(encoded["input_ids"]), [end for _, end in encoded["offset_mapping"]]
    starts = [0, *ends[:-1]] if ids else []
    texts = [response[start:end] for start, end in pairwise([*starts, len(response)])]
    if not record.truncated:
        ids.append(encoder.end_of_turn)
        starts.append(len(response))
        texts.append(tokenizer.convert_ids_to_tokens(encoder.end_of_turn))
    return ResponseTokens(tuple(ids), tuple(texts), tuple(starts))


def letter_place(record: EvalRecord) -> int | None:
    """The character of the response that is the chosen letter; None without an answer, or when the answer was read
    from an option's text.

    >>> letter_place(record)  # of "<answer>B. open tap</answer>", read as B
    8
    """
    span = answer_span(record.response)
    if record.extracted is None or span is None:
        return None
    first, last = span
    if record.response[first] == record.extracted:  # the official rule reads "Any" as A
        return first
    alone = re.compile(rf"(?<![^\W_]){re.escape(record.extracted)}(?![^\W_])", re.IGNORECASE)
    found = alone.search(record.response, first, last)
    return None if found is None else found.start()
