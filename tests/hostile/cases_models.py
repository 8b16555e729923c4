"""Model folders that are damaged, or want to run code."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

from cases import Case
from house import Place

WEIGHTS = "model/model.safetensors"


def model(
    name: str, damage: Callable[[Place], object], *expected: str, verb: str = "eval", path: str = "model"
) -> Case:
    def make(place: Place) -> list[str]:
        place.copy("model")
        damage(place)
        levels = {"eval.levels": ["L1"]} if verb == "eval" else {}
        place.copy("data")
        return [verb, str(place.recipe(verb, **{"model.path": path}, **levels))]

    return Case(f"{verb}: {name}", make, expected)


def config(file: str = "config.json", section: str | None = None, **values: Any) -> Callable[[Place], object]:
    """A JSON file of the model with other values, in itself or in one of its sections; `...` takes a key away."""

    def change(place: Place) -> None:
        content = json.loads((place.path / "model" / file).read_text("utf-8"))
        part = content if section is None else content[section]
        part.update(values)
        for key in [key for key, value in part.items() if value is ...]:
            del part[key]
        place.write(f"model/{file}", json.dumps(content))

    return change


def gone(*files: str) -> Callable[[Place], object]:
    def change(place: Place) -> None:
        for file in files:
            (place.path / "model" / file).unlink()

    return change


def written(file: str, content: str | bytes) -> Callable[[Place], object]:
    return lambda place: place.write(f"model/{file}", content)


def index(name: str) -> Callable[[Place], object]:
    """Weights in parts, one of which lies where `name` says."""

    def change(place: Place) -> None:
        (place.path / WEIGHTS).unlink()
        weight_map = {"model.language_model.norm.weight": name}
        place.write(f"{WEIGHTS}.index.json", json.dumps({"metadata": {}, "weight_map": weight_map}))

    return change


def merged(name: str, prepare: Callable[[Place], object], *expected: str) -> Case:
    def make(place: Place) -> list[str]:
        place.copy("model")
        prepare(place)
        return ["merge", "model", "out"]

    return Case(f"merge: {name}", make, expected)


TEMPLATE = "chat_template.jinja"


def planned(name: str, damage: Callable[[Place], object], *expected: str, more: str = "", **values: Any) -> Case:
    """A recipe of GRPO and a model folder, of which a plan reads config.json only."""

    def make(place: Place) -> list[str]:
        place.copy("model")
        damage(place)
        return ["plan", str(place.recipe("grpo", **values)), *more.split()]

    return Case(f"plan: {name}", make, expected)


CASES: tuple[Case, ...] = (
    planned("no config", gone("config.json"), "model", "config.json"),
    planned("config that is none", written("config.json", "[]"), "config.json"),
    planned("heads that do not divide", config(section="text_config", num_attention_heads=7), "no multiple of it"),
    planned("code to run", config(auto_map={"AutoModel": "x.Y"}), "auto_map"),
    planned("another family", config(model_type="llama"), "this version trains"),
    planned("uneven GPUs", lambda place: None, "cannot share evenly", more="--gpus 3"),
    planned("longer than a completion", lambda place: None, "--response-tokens is 9", more="--response-tokens 9"),
    planned("unknown key", lambda place: None, "--train.sed", more="--train.sed 3"),
    planned("unknown flag", lambda place: None, "--gpu", more="--gpu 3"),
    planned("no such model", lambda place: None, "model folder no/where/at", **{"model.path": "no/where/at"}),
    planned(
        "file of something else",
        lambda place: place.write("a.json", "[1]"),
        "a.json holds something else",
        more="--json a.json",
    ),
    planned("group of one", lambda place: None, "rollout.group_size is 1", **{"rollout.group_size": 1}),
    model("a model that is nowhere", lambda _: None, "no/such/folder", path="no/such/folder"),
    model("a model that is nowhere", lambda _: None, "no/such/folder", verb="grpo", path="no/such/folder"),
    model("a model that is nowhere", lambda _: None, "no/such/folder", verb="distill", path="no/such/folder"),
    merged("no adapter", lambda _: None, "model holds no adapter"),
    merged("out is there", lambda p: p.write("out", "mine"), "out already exists"),
    merged("out is a loop", lambda p: p.link("out", "out"), "out already exists"),
    merged("an adapter that is none", written("adapter_config.json", "[]"), "adapter_config.json"),
    model("a model that is a file", lambda _: None, "model/config.json is a file", path="model/config.json"),
    model("an unknown built-in model", lambda _: None, "sbr:maxi", path="sbr:maxi"),
    model("a model with an escape", lambda _: None, r"model.path is 'a\x1b[31mb/c/d'", path="a\x1b[31mb/c/d"),
    model("no weights", gone("model.safetensors"), "model"),
    model("cut weights", lambda p: p.write(WEIGHTS, (p.path / WEIGHTS).read_bytes()[:1000]), "weights"),
    model("weights that are none", written("model.safetensors", b"\xff" * 100), "weights"),
    model("weights with an endless header", written("model.safetensors", struct.pack("<Q", 1 << 62)), "weights"),
    model(
        "weights that are a pickle",
        lambda p: (gone("model.safetensors")(p), p.write("model/pytorch_model.bin", b"\x80")),
    ),
    model("parts outside", index("../../outside.safetensors"), "model"),
    model("parts that are absolute", index("/etc/passwd"), "model"),
    model("no config", gone("config.json"), "config.json"),
    model("config that is not JSON", written("config.json", "{]"), "config.json"),
    model("config that is a list", written("config.json", "[]"), "model"),
    model("config nested without end", written("config.json", "[" * 200_000), "model"),
    model("another family", config(model_type="llama"), "llama"),
    model("an unknown family", config(model_type="\x1b[31mfoo"), "model"),
    model("remote code", config(auto_map={"AutoConfig": "evil.C"}, model_type="evil"), "model"),
    model("no heads", config(section="text_config", num_attention_heads=0), "model"),
    model("other sizes", config(section="text_config", hidden_size=128), "model"),
    model("more than any memory", config(section="text_config", hidden_size=1 << 40), "model"),
    model("no tokenizer", gone("tokenizer.json"), "model"),
    model("a tokenizer that is none", written("tokenizer.json", "{}"), "model"),
    model("no processor", gone("processor_config.json"), "model"),
    model("a processor that is none", written("processor_config.json", "[]"), "model"),
    model("no template", gone(TEMPLATE), "chat template"),
    model("a template with an error", written(TEMPLATE, "{% if %}\x1b[31m"), "template"),
    model("a template that raises", written(TEMPLATE, "{{ raise_exception('\x1b[2Jno') }}"), "template"),
    model("a template without end", written(TEMPLATE, "{% for i in range(10**12) %}x{% endfor %}"), "template"),
    model("a template that wants out", written(TEMPLATE, "{{ ''.__class__.__mro__ }}"), "template"),
    model("generation config that is none", written("generation_config.json", "[]"), "model"),
)
