"""5,000 rows: exactly the planted faults are found.  The time for 50,000 is in docs/performance.md."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

from sbr.data.audit.root import audit_root

SCRIPT = Path(__file__).parents[4] / "benchmarks" / "data_check.py"


def test_the_planted_faults_among_5000_rows(tmp_path):
    spec = importlib.util.spec_from_file_location("data_check", SCRIPT)
    assert spec and spec.loader
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    root = tmp_path / "root"
    script.write_root(root, 5000)
    audit = audit_root(root)
    assert audit.ok and [split.rows for split in audit.splits] == [4502, 166, 166, 166]
    assert len(audit.named) == 10_000

    file = root / "annotations" / "training_6k.jsonl"
    lines = file.read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    rows[100]["sample_id"] = rows[3]["sample_id"]
    rows[200]["negative_answers"] = rows[200]["negative_answers"][:2]
    rows[300]["negative_answers"].append(rows[300]["answer"].upper())
    rows[400]["task_progress_metadata"] = []
    lines = [json.dumps(row) for row in rows]
    lines[500] = lines[500][:-5]
    file.write_text("\n".join(lines) + "\n")
    row = rows[600]
    (root / "videos" / row["video_source"] / row["video_basename"]).unlink()
    audit = audit_root(root)
    split = audit.splits[0]
    assert [(problem.line, problem.field) for problem in audit.problems] == [
        (101, "sample_id"),
        (201, "negative_answers"),
        (501, "line"),
    ]
    assert (split.rows, split.bad_rows, split.duplicate_ids, split.without_video) == (4499, 3, 1, 1)
    assert (split.repeated_options, split.repeated_gold) == (1, 1)
    assert [medium.line for medium in audit.missing] == [601]
