"""attention.jsonl and its maps: read back as written; whatever is wrong with them is told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attention_cases import EVEN_NV, TEXTS, attention, keep

from sbr.analysis.attention_records import (
    LINES,
    MAPS,
    RECORDS,
    AttentionRecord,
    Effect,
    attention_folder,
    read_attention,
    read_maps,
)
from sbr.errors import DataError


def test_records_and_maps_are_read_as_they_were_kept(tmp_path: Path) -> None:
    effect = Effect("think", 0.3, 2, -1.5, (-0.5, -0.25), reasoning_top=-2.0, reasoning_random=(0.0, -1.0))
    records = [attention("1", effects=(effect,), map_layers=(1,)), attention("2", answer_logprob=None)]
    keep(tmp_path, records)
    assert read_attention(tmp_path) == records
    tokens_NV, general_V = read_maps(tmp_path, records[0])
    assert tokens_NV.dtype == general_V.dtype == np.float32
    np.testing.assert_allclose(tokens_NV, EVEN_NV, atol=1e-4)
    assert general_V.shape == (5,)


def test_a_record_of_the_first_form_is_read() -> None:
    """Without what came later: layers of the maps, effects on the reasoning."""
    values = json.loads(LINES.line(attention(effects=(Effect("think", 0.1, 1, -1.0, (0.0,)),))))
    del values["effects"][0]["reasoning_top"], values["effects"][0]["reasoning_random"]
    assert "map_layers" not in values
    (record,) = LINES.parse(json.dumps(values).encode() + b"\n", Path("f"))
    assert record.map_layers == () and record.effects[0].reasoning_top is None


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"starts": (0, 1)}, "starts is 2 others"),
        ({"starts": (0, 7, 5, 11, 19, 27, 28, 37)}, "starts is 8 others"),
        ({"starts": (0, 7, 9, 11, 19, 27, 28, 38)}, "starts is 8 others"),
        ({"layers": (0, 1, 2)}, "shares is 2 x"),
        ({"shares": ((), ())}, "shares is 2 x"),
        ({"sinks": (5,)}, "sinks is"),
        ({"sinks": (-1,)}, "sinks is"),
        ({"video_grid": None, "sinks": (1,)}, "sinks is"),
        ({"maps": "../../etc/passwd.npz"}, "maps is"),
        ({"maps": "L1.npy"}, "maps is"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_line(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    keep(tmp_path, [attention("1")])
    file = attention_folder(tmp_path) / RECORDS
    with file.open("a") as stream:
        stream.write(LINES.line(replace(attention("2"), **changes)))
    with pytest.raises(DataError, match=f"attention.jsonl:2: {told}"):
        read_attention(tmp_path)


def test_no_attention_and_a_torn_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist; `sbr analyze attention"):
        read_attention(tmp_path)
    keep(tmp_path, [attention("1"), attention("2")])
    file = attention_folder(tmp_path) / RECORDS
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"attention\.jsonl:2: the last line is torn; `sbr analyze attention"):
        read_attention(tmp_path)


def damage(content: bytes) -> dict[str, bytes]:
    return {"empty": b"", "torn": content[: len(content) // 2], "another": b"\x93NUMPY", "zeros": bytes(len(content))}


@pytest.mark.parametrize("kind", ["empty", "torn", "another", "zeros", "flipped"])
def test_damaged_maps_are_refused(tmp_path: Path, kind: str) -> None:
    keep(tmp_path, [record := attention("1")])
    file = attention_folder(tmp_path) / MAPS / record.maps
    content = file.read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 3] ^= 0xFF
    file.write_bytes((damage(content) | {"flipped": bytes(flipped)})[kind])
    with pytest.raises(DataError, match=r"L1-1\.npz .*delete .*and run `sbr analyze attention"):
        read_maps(tmp_path, record)


@pytest.mark.parametrize(
    ("maps", "told"),
    [
        (EVEN_NV[:, :4], "holds maps of the shapes"),
        (EVEN_NV[1:], "holds maps of the shapes"),
        (np.where(np.eye(len(TEXTS), 5), np.nan, EVEN_NV), "not finite"),
    ],
)
def test_maps_of_another_answer_and_numbers_that_are_none(tmp_path: Path, maps: np.ndarray, told: str) -> None:
    keep(tmp_path, [record := attention("1")], maps)
    with pytest.raises(DataError, match=told):
        read_maps(tmp_path, record)


def test_missing_maps_are_named(tmp_path: Path) -> None:
    keep(tmp_path, [record := attention("1")])
    (attention_folder(tmp_path) / MAPS / record.maps).unlink()
    with pytest.raises(DataError, match=r"L1-1\.npz does not exist; delete"):
        read_maps(tmp_path, record)


def test_pickles_are_not_opened(tmp_path: Path) -> None:
    record: AttentionRecord = attention("1")
    keep(tmp_path, [record])
    file = attention_folder(tmp_path) / MAPS / record.maps
    with file.open("wb") as stream:
        np.savez(stream, tokens_NV=np.array([{"a": 1}], dtype=object), general_V=EVEN_NV[0])
    with pytest.raises(DataError, match="is damaged"):
        read_maps(tmp_path, record)
