"""Tables of a summary whose figures are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from attention_cases import EVEN_NV, TEXTS, attention

from sbr.analysis.attention_records import AttentionRecord, Effect
from sbr.analysis.attention_shares import AttentionSummary, attention_summary
from sbr.report.attention_tables import attention_tables, phrase_table
from sbr.report.tables import TextTable


def summary(count: int = 12) -> AttentionSummary:
    """GRPO looks 10 points more at the video in layer 1 and its answers lose 1 nat where those of the base lose 0.5;
    one of them has no letter."""

    def effects(top: float) -> tuple[Effect, ...]:
        return (Effect("think", 0.3, 2, top, (0.0, -0.1), reasoning_top=2 * top, reasoning_random=(0.0, 0.0)),)

    base = [attention(str(q), video=(0.2, 0.3), effects=effects(-0.5)) for q in range(count)]
    other = [attention(str(q), video=(0.2, 0.4), effects=effects(-1.0), same_tokens=q > 0) for q in range(count)]
    other[3] = replace(other[3], effects=())
    return attention_summary({"base": base, "GRPO": other}, lambda name, record: EVEN_NV, {}, resamples=100)


def rows(tables: list[TextTable], title: str) -> dict[str, tuple[str, ...]]:
    (table,) = [table for table in tables if table.title.startswith(title)]
    assert all(len(row) == len(table.header) for row in table.rows)
    return {row[0]: row[1:] for row in table.rows}


def test_cells_say_what_was_found() -> None:
    tables = attention_tables(summary())
    assert rows(tables, "Where the attention goes")["GRPO, reasoning"] == (
        *("30.0 [30.0, 30.0]", "10.0 [10.0, 10.0]", "60.0 [60.0, 60.0]", "0.0 [0.0, 0.0]"),
    )
    assert rows(tables, "Attention on the video by layer")["1"] == ("30.0 [30.0, 30.0]", "40.0 [40.0, 40.0]")
    assert rows(tables, "How dense")["base, answer"][:2] == ("1.000 [1.000, 1.000]", "60.0 [60.0, 60.0]")
    letter = rows(tables, "What painting over does to the log-probability of the answer letter")
    assert letter["GRPO, reasoning, 30 %"] == (
        *("-1.000 [-1.000, -1.000]", "-0.050 [-0.050, -0.050]", "-0.950 [-0.950, -0.950]"),
    )
    reasoning = rows(tables, "What painting over does to the log-probability of the reasoning")
    assert reasoning["base, reasoning, 30 %"][2] == "-1.000 [-1.000, -1.000]"
    shares = rows(tables, "Paired differences of shares")
    assert shares["GRPO - base, answer"][0] == "+5.0 [+5.0, +5.0]"
    effects = rows(tables, "Paired differences of top - random, 30 %")
    assert effects == {"GRPO - base, reasoning": ("-1.000 [-1.000, -1.000]", "-0.500 [-0.500, -0.500]")}


def test_what_is_missing_is_counted() -> None:
    notes = {table.title.split(",")[0]: table.note for table in attention_tables(summary())}
    assert "not known to be those that were generated: GRPO 1." in notes["Where the attention goes"]
    letter = notes["What painting over does to the log-probability of the answer letter"]
    assert "Questions without answer letter to score: GRPO 1." in letter


def test_few_questions_have_no_intervals_and_one_run_no_differences() -> None:
    found = attention_summary({"base": [attention("1")]}, lambda name, record: EVEN_NV, {}, resamples=100)
    tables = attention_tables(found)
    assert rows(tables, "Where the attention goes")["base, all tokens"][0] == "30.0 (too few)"
    assert not [table for table in tables if table.title.startswith(("Paired", "What painting"))]


def test_a_phrase_and_the_pairs_it_looks_at() -> None:
    """While it writes "so B" the model looks at the second pair of frames, more than under the general prompt."""
    maps, general = np.full((len(TEXTS), 5), 0.01), np.full(5, 0.02)
    maps[1:3, 2:4] = 0.09

    def read(name: str, record: AttentionRecord) -> tuple[np.ndarray, np.ndarray]:
        return maps, general

    records = [attention(str(q)) for q in range(7)]
    silent = [replace(record, response="<thunk>no C</thunk><answer>B</answer>") for record in records]
    table = phrase_table("SO b", {"GRPO": records, "base": silent}, read)
    assert table.rows[0] == ("GRPO: 7 of 7 answers", "30.0", "10.0", "", "")
    assert table.rows[1] == ("  L1 0", "30.0", "10.0", "2: 86, 1: 10, image: 5", "2: 4.50, 1: 0.50, image: 0.50")
    assert len(table.rows) == 1 + 5 + 1
    assert table.rows[-1] == ("base: in no answer of 7", "", "", "", "")
