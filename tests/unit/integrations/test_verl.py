"""What `sbr export verl` writes, read with pyarrow alone; verl reads it in tests/parity/test_verl_reads_export.py."""

from __future__ import annotations

import builtins
import json
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from sbr.cli import export_verl as command
from sbr.config.inputs import DataConfig, FramesConfig
from sbr.data.sources.select import load_questions, load_training
from sbr.errors import ConfigError, DataError
from sbr.integrations import verl
from sbr.integrations.verl_reward import compute_score
from sbr.mini.build import build
from sbr.prompt.template import question_text
from sbr.types import VideoRange

FRAMES = FramesConfig(height=84, width=84, max_frames=8)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mini") / "data"
    build(root, 5, 2, 0, 1)
    return root


def test_rows_hold_the_questions(root: Path, tmp_path: Path) -> None:
    data = DataConfig(root=root, seed=3)
    exported = verl.export_verl(tmp_path, data, FRAMES)
    assert exported == verl.Exported(
        {"train.parquet": 5, "val_L1.parquet": 2, "val_L2.parquet": 2, "val_L3.parquet": 2}, ()
    )
    for split in ("train", "L1", "L3"):
        samples = load_training(data) if split == "train" else load_questions(data, split, None)
        rows = pq.read_table(tmp_path / verl.file_of(split)).to_pylist()
        for number, (row, sample) in enumerate(zip(rows, samples, strict=True)):
            assert row["data_source"] == f"seed_bench_r1_{split}"
            assert row["prompt"] == [{"role": "user", "content": f"<video><image>{question_text(sample)}"}]
            size = {"resized_height": 84, "resized_width": 84}
            rule = {"fps": 2.0, "min_frames": 4, "max_frames": 8}
            assert row["videos"] == [{"video": str(sample.video), **rule, **size}]
            assert row["images"] == [{"image": str(sample.image), **size}]
            assert row["reward_model"] == {"style": "rule", "ground_truth": sample.gold}
            extra = {"index": number, "split": split, "level": split, "options": list(sample.options)}
            named = {name: getattr(sample, name) for name in ("sample_id", "domain", "video_id")}
            assert row["extra_info"] == extra | named
            text = f"<think>a b</think><answer>{sample.gold}</answer>"
            result = compute_score(row["data_source"], text, row["reward_model"]["ground_truth"], row["extra_info"])
            assert (result["score"], result["pred"]) == (1.0, sample.gold)
    manifest = json.loads((tmp_path / "export.json").read_text())
    assert manifest["rows"] == {"train": 5, "L1": 2, "L2": 2, "L3": 2} and manifest["seed"] == 3


def test_a_question_without_video_has_no_placeholder_for_one(sbr_sample, tmp_path: Path) -> None:
    row = verl.row_of(sbr_sample(video=False), 0, "seed_bench_r1", FRAMES)
    assert row["videos"] == [] and row["prompt"][0]["content"].startswith("<image>Considering")
    file = tmp_path / "rows.parquet"
    file.write_bytes(verl._parquet()([row, verl.row_of(sbr_sample(), 1, "seed_bench_r1", FRAMES)]))
    read = pq.read_table(file).to_pylist()
    assert read[0]["videos"] == [] and len(read[1]["videos"]) == 1


def test_what_verl_cannot_show_is_refused(sbr_sample) -> None:
    sample = sbr_sample("9")
    with pytest.raises(DataError, match="sample 9 holds <video> in its text"):
        verl.row_of(replace(sample, question="a <video>"), 0, "s", FRAMES)
    with pytest.raises(ConfigError, match="sample 9 shows VideoRange"):
        verl.row_of(replace(sample, video=VideoRange(Path("a.mp4"), 0, 9)), 0, "s", FRAMES)


def test_missing_media_and_splits_are_refused(root: Path, tmp_path: Path, monkeypatch) -> None:
    data = DataConfig(root=root)
    with pytest.raises(ConfigError, match="no split 'L4'; seed_bench_r1 has train, L1, L2, L3"):
        verl.export_verl(tmp_path / "a", data, FRAMES, ["L4"])
    other = data.model_copy(update={"train_file": "other.jsonl"})
    with pytest.raises(DataError, match="no annotation file of train"):
        verl.export_verl(tmp_path / "a", other, FRAMES, ["train"])
    assert verl.export_verl(tmp_path / "a", other, FRAMES).left_out == ("train",)
    video = load_questions(data, "L2", None)[0].video
    monkeypatch.setattr(Path, "is_file", lambda self, real=Path.is_file: self != video and real(self))
    with pytest.raises(DataError, match=f"1 of the media of L2 are not there, the first is {video}"):
        verl.export_verl(tmp_path / "b", data, FRAMES, ["L1", "L2"])
    assert not (tmp_path / "b").exists()


def test_only_its_own_folder_is_written_again(root: Path, tmp_path: Path) -> None:
    data = DataConfig(root=root)
    verl.export_verl(tmp_path / "a", data, FRAMES, ["L1"])
    verl.export_verl(tmp_path / "a", data.model_copy(update={"limit": 1}), FRAMES, ["L1"])
    assert pq.read_table(tmp_path / "a" / "val_L1.parquet").num_rows == 1
    for name in ("notes.txt", "export.json"):
        (tmp_path / name[:5]).mkdir()
        (tmp_path / name[:5] / name).write_text('{"kind": "lmms-eval"}')
        with pytest.raises(ConfigError, match="something else than an export for verl"):
            verl.export_verl(tmp_path / name[:5], data, FRAMES)


def test_without_pyarrow_the_extra_is_named(root: Path, tmp_path: Path, monkeypatch) -> None:
    def refuse(name, *rest, real=builtins.__import__):
        if name.startswith("pyarrow"):
            raise ModuleNotFoundError("No module named 'pyarrow'")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ConfigError, match=r"pip install 'seed-bench-r1\[verl\]'"):
        verl.export_verl(tmp_path, DataConfig(root=root), FRAMES)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"extra_info": None}, "no extra_info.options"),
        ({"extra_info": {"index": 1}}, "no extra_info.options"),
        ({"ground_truth": "C"}, "ground truth of a row of 's' is 'C'"),
        ({"rule": "lenient"}, "the rule is 'lenient'"),
    ],
)
def test_rows_that_cannot_be_scored_are_named(change: dict, message: str) -> None:
    given = {"data_source": "s", "solution_str": "", "ground_truth": "A", "extra_info": {"options": ["x", "y"]}}
    with pytest.raises(ValueError, match=message):
        compute_score(**(given | change))


def test_the_command_says_how_verl_reads_it(root: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    recipe = Path(__file__).parents[3] / "recipes" / "mini" / "grpo.toml"
    out = tmp_path / "out"
    command.run([str(out), "--data", str(root), "--recipe", str(recipe), "--splits", "train,L3", "--limit", "2"])
    shown = capsys.readouterr().out
    assert "train.parquet: 2 questions" in shown and f"data.val_files=[{out / 'val_L3.parquet'}]" in shown
    assert pq.read_table(out / "train.parquet").to_pylist()[0]["images"][0]["resized_height"] == 84
    with pytest.raises(ConfigError, match="--limit is 0"):
        command.run([str(out), "--data", str(root), "--limit", "0"])
