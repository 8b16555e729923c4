"""`sbr data download` against a server that speaks the part of the hub that is used."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import subprocess
import sys
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from sbr.cli.data_download import Download, _wanted
from sbr.cli.main import run
from sbr.data.hub import archives_for, plan_media, unpack
from sbr.errors import DataError

COMMIT = "0" * 40
NEGATIVES = ["take cup", "close tap", "pour water"]


def row(i: int, source: str = "EpicKitchens") -> dict[str, Any]:
    return {
        "sample_id": i,
        "video_source": source,
        "video_id": f"v{i}",
        "video_basename": f"v{i}.mp4",
        "current_observation_basename": f"v{i}.png",
        "current_observation_frame": 100,
        "task_goal": "drink",
        "question": "what next?",
        "answer": "open tap",
        "task_progress_metadata": [{"narration_text": "take cup", "start_frame": 1, "stop_frame": 9}],
        "negative_answers": NEGATIVES,
    }


def lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(r) + "\n" for r in rows).encode()


def archive(members: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return packed.getvalue()


class Hub:
    """with Hub("owner/name", {path: bytes}) as hub: hub.url, hub.fetched (paths whose content was asked for)"""

    def __init__(self, repository: str, files: dict[str, bytes], status: int = 200) -> None:
        self.fetched: list[str] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None:
                pass

            def do_HEAD(self) -> None:
                self.answer(False)

            def do_GET(self) -> None:
                self.answer(True)

            def answer(self, body: bool) -> None:
                path = self.path.split("?")[0]
                known = f"/datasets/{repository}/resolve/"
                headers = {"X-Repo-Commit": COMMIT}
                if status != 200:
                    data, code = b"{}", status
                    headers |= {"X-Error-Code": "GatedRepo", "X-Error-Message": "gated"} if status == 403 else {}
                elif path.startswith(f"/api/datasets/{repository}/tree/"):
                    tree = [{"type": "file", "path": p, "size": len(d), "oid": "a" * 40} for p, d in files.items()]
                    data, code = json.dumps(tree).encode(), 200
                elif path.startswith(f"/api/datasets/{repository}"):
                    siblings = [{"rfilename": p} for p in files]
                    info = {"id": repository, "sha": COMMIT, "siblings": siblings, "private": False}
                    data, code = json.dumps(info).encode(), 200
                elif path.startswith(known) and (name := path.removeprefix(known).partition("/")[2]) in files:
                    data, code = files[name], 200
                    headers["ETag"] = f'"{hashlib.sha1(data).hexdigest()}"'
                    if body:
                        hub.fetched.append(name)
                else:
                    data, code = b"{}", 404
                    headers["X-Error-Code"] = "EntryNotFound"
                self.send_response(code)
                for key, value in headers.items():
                    self.send_header(key, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if body:
                    self.wfile.write(data)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> Hub:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


def sbr(url: str, home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A process of its own: huggingface_hub reads HF_ENDPOINT once, when it is imported."""
    environment = os.environ | {
        "HF_ENDPOINT": url,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "COLUMNS": "200",
    }
    # The hub's own client waits longer and longer for a server that is not there.
    code = "import sys, time\ntime.sleep = lambda _: None\nfrom sbr.cli.main import main\nmain()"
    command = [sys.executable, "-c", code, "data", "download", *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)


REPOSITORY = "TencentARC/SEED-Bench-R1"
FILES = {
    "README.md": b"hello",
    "annotations/training_6k.jsonl": lines([row(1), row(2)]),
    "annotations/training_with_cot_6k.jsonl": b"{}\n",
    "annotations/validation_L1.jsonl": b"{}\n",
    "annotations/validation_L2.jsonl": b"{}\n",
    "annotations/validation_L3.jsonl": b"{}\n",
    "videos/EpicKitchens/batch_1.tar.gz": archive({"flat/v1.mp4": b"one", "flat/v9.mp4": b"nine"}),
    "videos/EpicKitchens/batch_2.tar.gz": archive({"flat/v2.mp4": b"two"}),
    "videos/EpicKitchens/batch_10.tar.gz": archive({"flat/v3.mp4": b"three"}),
    "videos/Ego4D/batch_1.tar.gz": archive({"flat/v1.mp4": b"wrong"}),
    "images/EpicKitchens/v1.png": b"p1",
    "images/EpicKitchens/v2.png": b"p2",
    "images/EpicKitchens/v9.png": b"p9",
}
TRAIN = ("seed_bench_r1", "--levels", "train")


def test_only_what_the_rows_name_is_fetched(tmp_path: Path) -> None:
    root = tmp_path / "root"
    with Hub(REPOSITORY, FILES) as hub:
        refused = sbr(hub.url, tmp_path, *TRAIN, "--root", str(root))
        assert refused.returncode == 2 and "--accept-licences" in refused.stderr
        assert "Epic-Kitchens" in refused.stdout and "Ego4D" in refused.stdout and hub.fetched == []
        dry = sbr(hub.url, tmp_path, *TRAIN, "--root", str(root), "--dry-run")
        assert dry.returncode == 0, dry.stderr
        assert "4 named by rows, 0 there; 2 to fetch as files, 2 inside 3 archives" in dry.stdout
        assert hub.fetched == ["annotations/training_6k.jsonl"]
        done = sbr(hub.url, tmp_path, *TRAIN, "--root", str(root), "--accept-licences")
        assert done.returncode == 0, done.stderr + done.stdout
        # batch_10 is not needed: everything was found before it.
        assert sorted(hub.fetched[1:]) == [
            *("images/EpicKitchens/v1.png", "images/EpicKitchens/v2.png"),
            *("videos/EpicKitchens/batch_1.tar.gz", "videos/EpicKitchens/batch_2.tar.gz"),
        ]
        fetched = len(hub.fetched)
        again = sbr(hub.url, tmp_path, *TRAIN, "--root", str(root), "--accept-licences")
        assert again.returncode == 0 and len(hub.fetched) == fetched
    videos = root / "videos" / "EpicKitchens"
    assert {file.name: file.read_bytes() for file in videos.iterdir()} == {"v1.mp4": b"one", "v2.mp4": b"two"}
    assert not list((root / ".archives").rglob("*.tar.gz"))


def question(i: int) -> dict[str, Any]:
    choices = dict(zip(["choice_a", "choice_b", "choice_c", "choice_d"], ["open tap", *NEGATIVES], strict=True))
    return (
        {key: value for key, value in row(i).items() if key != "negative_answers"}
        | choices
        | {"golden_choice_idx": "A"}
    )


def test_an_archive_gives_the_media_of_another_level_and_deleted_ones_again(tmp_path: Path) -> None:
    root = tmp_path / "root"
    files = FILES | {"annotations/validation_L1.jsonl": lines([question(9)])}
    root.mkdir()  # a line of an older version, which says only that some files were unpacked
    (root / ".unpacked.jsonl").write_text('{"archive": "videos/EpicKitchens/batch_1.tar.gz"}\n')
    with Hub(REPOSITORY, files) as hub:
        flags = ("--root", str(root), "--accept-licences")
        assert sbr(hub.url, tmp_path, *TRAIN, *flags).returncode == 0
        first = len(hub.fetched)
        other = sbr(hub.url, tmp_path, "seed_bench_r1", "--levels", "L1", *flags)
        assert other.returncode == 0, other.stdout + other.stderr
        assert sorted(hub.fetched[first:]) == [
            "annotations/validation_L1.jsonl",
            "images/EpicKitchens/v9.png",
            "videos/EpicKitchens/batch_1.tar.gz",  # and no other
        ]
        deleted = root / "videos" / "EpicKitchens" / "v2.mp4"
        deleted.unlink()
        second = len(hub.fetched)
        assert sbr(hub.url, tmp_path, *TRAIN, *flags).returncode == 0
        assert hub.fetched[second:] == ["videos/EpicKitchens/batch_2.tar.gz"] and deleted.read_bytes() == b"two"
    assert {file.name for file in deleted.parent.iterdir()} == {"v1.mp4", "v2.mp4", "v9.mp4"}


def test_media_that_are_nowhere_are_named(tmp_path: Path) -> None:
    files = {name: data for name, data in FILES.items() if "batch_2" not in name and not name.endswith("v2.png")}
    with Hub(REPOSITORY, files) as hub:
        result = sbr(hub.url, tmp_path, *TRAIN, "--root", str(tmp_path / "root"), "--accept-licences")
    assert result.returncode == 1
    assert "videos/EpicKitchens/v2.mp4" in result.stdout and "2 are missing" in result.stdout


def test_recipes_and_other_sources(tmp_path: Path) -> None:
    recipe = tmp_path / "grpo.toml"
    recipe.write_text('output_dir = "o"\n[model]\npath = "m"\n[data]\nroot = "d"\n[train]\n')
    flags = ("--root", str(tmp_path / "root"), "--annotations-only", "--accept-licences")
    with Hub(REPOSITORY, FILES) as hub:
        assert sbr(hub.url, tmp_path, str(recipe), *flags).returncode == 0
        # [train] alone may be a recipe of GRPO or of SFT.
        assert hub.fetched == ["annotations/training_6k.jsonl", "annotations/training_with_cot_6k.jsonl"]
    with Hub("longvideobench/LongVideoBench", {"lvb_val.json": b"[]", "videos.tar.part.aa": b"x"}) as hub:
        result = sbr(hub.url, tmp_path, "longvideobench", "--root", str(tmp_path / "lvb"), "--accept-licences")
        assert result.returncode == 0 and hub.fetched == ["lvb_val.json"]
        assert "videos.tar.part" in result.stdout


TRAIN_FILE, COT_FILE = "annotations/training_6k.jsonl", "annotations/training_with_cot_6k.jsonl"
LEVEL_FILES = [f"annotations/validation_{level}.jsonl" for level in ("L1", "L2", "L3")]


@pytest.mark.parametrize(
    ("sections", "files"),
    [
        ("[rollout]\n", [TRAIN_FILE]),
        ("[validation]\n", [TRAIN_FILE, COT_FILE]),
        ("[validation]\nshare = 0.1\nlevels = ['L2']\n", [TRAIN_FILE, COT_FILE, LEVEL_FILES[1]]),
        ("[cold_start.validation]\nlevels = ['L1']\n", [TRAIN_FILE, COT_FILE, LEVEL_FILES[0]]),
        ("[distill]\n", [TRAIN_FILE]),
        ("[eval]\nlevels = ['L3']\n", [LEVEL_FILES[2]]),
        ("[data]\ntrain_file = 'mine/t.jsonl'\ncot_file = 'mine/c.jsonl'\n[cold_start]\n", []),
        ("[data]\nsource = 'egoplan2'\n[eval]\n", ["EgoPlan-Bench2.json"]),
    ],
)
def test_every_kind_of_recipe_gets_its_files(tmp_path: Path, sections: str, files: list[str]) -> None:
    recipe = tmp_path / "r.toml"
    data = "" if "[data]" in sections else "[data]\n"
    text = 'output_dir = "o"\n[model]\npath = "m"\n' + data + sections
    recipe.write_text(text.replace("[data]\n", '[data]\nroot = "d"\n'))
    assert _wanted(Download(str(recipe), tmp_path))[1] == files


def test_a_source_gets_all_its_files(tmp_path: Path) -> None:
    assert _wanted(Download("seed_bench_r1", tmp_path))[1] == [TRAIN_FILE, COT_FILE, *LEVEL_FILES]
    recipes = Path(__file__).parents[3] / "recipes" / "qwen2vl_7b"
    assert _wanted(Download(str(recipes / "sft.toml"), tmp_path))[1] == [COT_FILE]
    assert _wanted(Download(str(recipes / "grpo.toml"), tmp_path))[1] == [TRAIN_FILE]


@pytest.mark.parametrize("name", [TRAIN_FILE, "build_report.json"])
def test_a_root_of_something_else_is_left_alone(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "annotations").mkdir()
    (tmp_path / name).write_text("precious")
    for flag in ("--accept-licences", "--dry-run"):
        assert run(["data", "download", *TRAIN, "--root", str(tmp_path), flag]) == 2
        assert f"holds {name}, which did not come from the hub" in capsys.readouterr().err
    assert (tmp_path / name).read_text() == "precious"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("egoplan",), "Google Drive"),
        (("nothing",), "neither a recipe"),
        (("seed_bench_r1", "--levels", "L9"), "has no L9; it has train, cot, L1, L2, L3"),
        (("none.toml",), "does not exist"),
    ],
)
def test_what_cannot_be_fetched(tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    result = sbr("http://127.0.0.1:9", tmp_path, *words, "--root", str(tmp_path / "root"), "--accept-licences")
    assert result.returncode == 2 and message in result.stderr


def test_a_hub_that_is_away_gated_or_changed(tmp_path: Path) -> None:
    flags = (*TRAIN, "--root", str(tmp_path / "root"), "--accept-licences")
    away = sbr("http://127.0.0.1:9", tmp_path, *flags)
    assert away.returncode == 2 and "cannot be reached" in away.stderr and "Traceback" not in away.stderr
    with Hub(REPOSITORY, FILES, status=403) as hub:
        gated = sbr(hub.url, tmp_path, *flags)
    assert gated.returncode == 2 and "is gated" in gated.stderr and "Traceback" not in gated.stderr
    with Hub(REPOSITORY, {"README.md": b""}) as hub:
        changed = sbr(hub.url, tmp_path, *flags)
    assert changed.returncode == 2 and "has no annotations/training_6k.jsonl" in changed.stderr


def test_plans() -> None:
    listing = [
        "videos/Ego4D/batch_10.tar.gz",
        "videos/Ego4D/batch_2.tar.gz",
        "images/Ego4D/a.png",
        "images.tar",
        "x.zip",
    ]
    wanted = ["videos/Ego4D/a.mp4", "images/Ego4D/a.png", "images/Ego4D/b.png", "videos/EpicKitchens/c.mp4"]
    plan = plan_media(wanted, 5, listing, {"videos/Ego4D/batch_2.tar.gz": ["c.mp4"]})
    assert plan.files == ("images/Ego4D/a.png",) and plan.nowhere == ("videos/EpicKitchens/c.mp4",)
    assert set(plan.archives) == {"videos/Ego4D/batch_10.tar.gz", "images.tar"}
    # Of these archives one holds the medium, of one nothing is known.
    plan = plan_media(wanted[:1], 5, listing, {"videos/Ego4D/batch_10.tar.gz": ["a.mp4"], "x.tar": []})
    assert plan.archives == ("videos/Ego4D/batch_10.tar.gz", "videos/Ego4D/batch_2.tar.gz")
    assert archives_for("videos/Ego4D/a.mp4", ["videos/EpicKitchens/b.tar.gz", "videos/Ego4D.tar.gz", "Ego4D.tar"]) == [
        "videos/Ego4D.tar.gz"
    ]


def test_unpacking_takes_plain_wanted_files_only(tmp_path: Path) -> None:
    packed = tmp_path / "b.tar.gz"
    with tarfile.open(packed, "w:gz") as tar:
        for name, data in {"../../a.mp4": b"a", "other_b.mp4": b"no", "x/c.mp4": b"c"}.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("b.mp4")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    wanted = ["videos/Ego4D/a.mp4", "videos/Ego4D/b.mp4"]
    # The place of a file is the one the rows name, wherever the archive wants it.
    assert unpack(packed, wanted, tmp_path / "root") == (["videos/Ego4D/a.mp4"], ["a.mp4", "other_b.mp4", "c.mp4"])
    assert [str(f.relative_to(tmp_path / "root")) for f in (tmp_path / "root").rglob("*.mp4")] == wanted[:1]
    packed.write_bytes(packed.read_bytes()[:60])
    with pytest.raises(DataError, match="cannot be unpacked"):
        unpack(packed, wanted, tmp_path / "root")


def test_one_wrong_bit_in_an_archive_is_noticed(tmp_path: Path) -> None:
    packed, wanted = tmp_path / "b.tar.gz", ["videos/Ego4D/a.mp4"]
    content = bytes(random.Random(0).choices(b"abcdefgh ", k=40_000))
    whole = archive({"a.mp4": content})
    for place in range(1000, len(whole) - 1000, 1501):
        packed.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        with pytest.raises(DataError, match="cannot be unpacked"):
            unpack(packed, wanted, tmp_path)
    assert not (tmp_path / wanted[0]).exists()
    packed.write_bytes(whole)
    assert unpack(packed, wanted, tmp_path)[0] == wanted
    assert (tmp_path / wanted[0]).read_bytes() == content


def test_a_full_disk_is_not_a_damaged_archive(tmp_path: Path) -> None:
    packed = tmp_path / "b.tar"
    packed.write_bytes(archive({"a.mp4": b"1234"}))
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "videos").write_text("a file where a folder has to be")
    with pytest.raises(DataError, match=r"a\.mp4 cannot be written: .*make room"):
        unpack(packed, ["videos/Ego4D/a.mp4"], tmp_path / "root")
