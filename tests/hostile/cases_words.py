"""Words on the command line that no verb can do anything with."""

from __future__ import annotations

from cases import Case, words

CALLS = ("eval", "controls", "demo", "compare a b", "score a --rule care --out b", "data download x --root y")

CASES: tuple[Case, ...] = (
    words("unknown verb", "grop", "unknown verb 'grop'", "grpo"),
    words("empty verb", "''", "unknown verb"),
    Case("escape in a verb", lambda _: ["\x1b[2Jgrpo"], (r"the argument '\x1b[2Jgrpo' holds characters",)),
    Case("escape in a path", lambda _: ["compare", "a\x9b31m", "b"], (r"the argument 'a\x9b31m' holds characters",)),
    Case("turned text in a path", lambda _: ["eval", "a\u202eb"], (r"the argument 'a\u202eb' holds characters",)),
    Case("NUL in a recipe's name", lambda _: ["grpo", "a\0b"], (r"the argument 'a\x00b' holds characters",)),
    *(words(f"{call.split()[0]}: unknown flag", f"{call} --nonsense 3", "--nonsense") for call in CALLS),
    words("grpo: no recipe", "grpo", "Missing from sbr grpo", "The TOML file"),
    words("sft: no recipe", "sft", "Missing from sbr sft", "The TOML file"),
    words("distill: no recipe", "distill", "Missing from sbr distill", "The TOML file"),
    words("eval: nothing", "eval", "--model, --data, --out"),
    words("eval: no data", "eval --model sbr:mini --out out", "--data"),
    words("eval: run and recipe", "eval --run a --recipe b", "--run or --recipe, not both"),
    words("eval: blind and no video", "eval --model m --data d --out o --dtype float32 --blind --no-video", "not both"),
    words("eval: wrong protocol", "eval --protocol greddy", "--protocol", "greddy"),
    words("eval: words for a number", "eval --limit ten", "--limit", "ten"),
    words("eval: unknown level", "eval --model sbr:mini --data d --out o --dtype float32 --levels L9", "L9"),
    words(
        "eval: level twice", "eval --model sbr:mini --data d --out o --dtype float32 --levels L1,L1", "every level once"
    ),
    words("eval: no limit", "eval --model sbr:mini --data d --out o --dtype float32 --limit 0", "eval.limit is 0"),
    words("eval: run that is none", "eval --run nowhere", "--run nowhere is not a finished training run"),
    words("compare: one", "compare nowhere", "needs two evaluations"),
    words("compare: nowhere", "compare nowhere elsewhere", "nowhere does not exist"),
    words("compare: nothing", "compare", "The first evaluation"),
    words("compare: names", "compare a b --names c", "give 2 different name(s)"),
    words("compare: same names", "compare a b --names c c", "give 2 different name(s)"),
    words("score: nothing", "score", "records.jsonl of an evaluation"),
    words("score: no rule", "score a --out b", "--rule"),
    words("score: wrong rule", "score a --rule loose --out b", "loose"),
    words("score: nowhere", "score nowhere --rule care --out b", "nowhere does not exist"),
    words("controls: nothing", "controls", "needs at least one evaluation"),
    words("controls: nowhere", "controls nowhere", "nowhere does not exist"),
    words("controls: twice", "controls a a", "one evaluation twice"),
    words("data: nothing", "data", "check"),
    words("data: unknown sub-verb", "data chek x", "chek"),
    words("data check: nowhere", "data check nowhere", "data root nowhere does not exist"),
    words("data check: quick and full", "data check x --quick --full", "--quick opens no medium"),
    words("data check: no media and quick", "data check x --no-media --quick", "--no-media looks for no medium"),
    words("data check: fewer than no workers", "data check x --workers -1", "--workers is -1"),
    words("data check: wrong level", "data check x --levels L4", "L4"),
    words("data cache: nowhere", "data cache nowhere", "data root nowhere does not exist"),
    words("data cache: no workers", "data cache x --workers 0", "--workers is 0"),
    words("data cache: wrong split", "data cache x --splits L1,L7", "'L7'"),
    words("data cache: no factor", "data cache x --factor 0", "--factor is 0"),
    words("data cache: no frames", "data cache x --max-frames 0", "max_frames is 0"),
    words(
        "data cache: recipe that is none", "data cache x --recipe nowhere.toml", "recipe nowhere.toml does not exist"
    ),
    words("data build: nothing", "data build --out o", "give one annotation file or more"),
    words("data build: nowhere", "data build nowhere.jsonl --out o", "nowhere.jsonl"),
    words("data build: url without model", "data build a.csv --out o --goal-url http://x", "belong together"),
    words(
        "data build: goals twice", "data build a.csv --out o --goals g --goal-url u --goal-model m", "one of the two"
    ),
    words("data build: odd height", "data build a.csv --out o --height 287", "--height is 287"),
    words("data build: small window", "data build a.csv --out o --goal-window 1", "--goal-window is 4 or more"),
    words("data download: unknown source", "data download nope --root r", "'nope' is neither a recipe"),
    words("data download: nothing", "data download", "Folder to fill"),
    words("mini: unknown sub-verb", "mini bild", "unknown sub-verb 'bild'"),
    words("mini build: nothing", "mini build", "Missing from sbr mini build"),
    words("mini build: no questions", "mini build out --train 0", "train is 0"),
    words("mini build: negative", "mini build out --val -3", "val is -3"),
    words("mini build: endless", "mini build out --train 100000000", "train is 100000000"),
    words("mini build: seed", "mini build out --seed -1", "seed is -1"),
    words("mini build: in /proc", "mini build /proc/x", "/proc/x"),
    words("mini preview: in /proc", "mini preview /proc/x.png", "/proc/x.png"),
    words("mini preview: a device", "mini preview /dev/null", "/dev/null is no ordinary file"),
    words("mini pretrain: nowhere", "mini pretrain nowhere.toml", "recipe nowhere.toml does not exist"),
    words("mini reasoning: nowhere", "mini reasoning nowhere", "nowhere does not exist"),
    words("mini reasoning: nothing", "mini reasoning", "needs at least one evaluation"),
    words("demo: no questions", "demo --out out --train 0", "train is 0"),
    words("demo: words for a number", "demo --seed one", "one"),
)
