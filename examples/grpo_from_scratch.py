"""GRPO on pictures, from scratch, in one file: run it and watch a model learn to look, in half a minute on a CPU.

    python examples/grpo_from_scratch.py [seed]

Group Relative Policy Optimization (arXiv 2402.03300) is the method SEED-Bench-R1 (arXiv 2503.24376) trains video models
with.  The whole idea is: ask the same question G times, let the model think and answer G different ways, check the
answers, and make the ways that were right likelier than the ways that were wrong.  Nobody tells the model what is in
the picture; "right" or "wrong" is all it ever hears.

The model is a real Qwen2-VL, only tiny and with random weights.  The question is always the same kind:

    [picture of a coloured square]   what colour ?  A.blue  B.red  C.yellow  D.green
    <think> red B </think> <answer> B </answer> <end>

    1  base model   learns by imitation to write like that, with a colour out of thin air: 25 % right, by luck
    2  GRPO         reward 1 for the right letter, else 0: the accuracy climbs as the model discovers its eyes

One trick makes this cheap, and it is the trick of the package: a group shares its prompt, so picture and question are
computed ONCE per group, both when sampling and when learning, and the G answers continue from the same keys and values.

Shapes are written into names:
    P prompts    G answers per prompt    B = P * G answers    S prompt tokens    L answer tokens    V vocabulary
"""

import copy
import sys
import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache, Qwen2VLConfig, Qwen2VLForConditionalGeneration, Qwen2VLImageProcessor

Qwen2VL = Qwen2VLForConditionalGeneration

# ------------------------------------------------------------------------------------------------ settings
BASE_STEPS, BASE_RATE = 100, 3e-3
STEPS, RATE = 200, 5e-4  # at 3e-3 whole groups soon give one and the same answer, and it stays near chance
P, G = 16, 8  # questions per step, answers per question
BETA = 0.04  # weight of the KL term, which holds the model near its base
CLIP = 0.2

# ------------------------------------------------------------------------------------------------ a small language
COLOURS = {"red": (220, 40, 40), "green": (40, 180, 60), "blue": (50, 80, 230), "yellow": (230, 210, 40)}
LETTERS = "ABCD"
SPECIAL = ["<pad>", "<end>", "<vision>", "</vision>", "<image>"]
WORDS = [*SPECIAL, "what", "colour", "?", "<think>", "</think>", "<answer>", "</answer>", *COLOURS, *LETTERS]
WORDS += [f"{letter}.{colour}" for letter in LETTERS for colour in COLOURS]
ID = {word: number for number, word in enumerate(WORDS)}
ANSWER_TOKENS = 8  # <think> colour letter </think> <answer> letter </answer> <end>


def encode(text: str) -> list[int]:
    return [ID[word] for word in text.split()]


def decode(ids: list[int]) -> str:
    return " ".join(WORDS[number] for number in ids)


# ------------------------------------------------------------------------------------------------ questions
@dataclass(frozen=True)
class Question:
    picture_HWC: np.ndarray
    options: tuple[str, ...]
    gold: str  # the right letter
    colour: str  # what the picture shows; used for checking, never for teaching


def make_question(random: np.random.Generator) -> Question:
    """A square of one of four colours somewhere on a grey, noisy ground; the options in random order."""
    colour = str(random.choice(list(COLOURS)))
    picture_HWC = random.normal(128, 20, (56, 56, 3))
    y, x = random.integers(0, 56 - 28, 2)
    picture_HWC[y : y + 28, x : x + 28] += np.array(COLOURS[colour]) - 128
    options = tuple(str(option) for option in random.permutation(list(COLOURS)))
    return Question(picture_HWC.clip(0, 255).astype(np.uint8), options, LETTERS[options.index(colour)], colour)


def reward(answer: str, question: Question) -> float:
    """1 if the answer has the form and the right letter.  What was thought is not judged."""
    words = answer.split()
    return float(words[3:] == ["</think>", "<answer>", question.gold, "</answer>", "<end>"])


# ------------------------------------------------------------------------------------------------ the model
def make_model() -> Qwen2VL:
    """A Qwen2-VL with two text layers and one vision layer instead of 28 and 32."""
    text = {
        "vocab_size": len(WORDS),
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "initializer_range": 0.15,  # large, so that two layers learn to look a letter up within seconds
        "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [4, 6, 6]},
        "bos_token_id": None,
        "eos_token_id": ID["<end>"],
    }
    vision = {"depth": 1, "embed_dim": 32, "num_heads": 2, "mlp_ratio": 2, "hidden_size": 64, "initializer_range": 0.15}
    media = {"image_token_id": ID["<image>"], "video_token_id": ID["<pad>"]}
    borders = {"vision_start_token_id": ID["<vision>"], "vision_end_token_id": ID["</vision>"]}
    config = Qwen2VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=True, **media, **borders)
    return Qwen2VL(config)


IMAGES = Qwen2VLImageProcessor(do_resize=False)


def read_prompts(model: Qwen2VL, questions: list[Question]) -> tuple[DynamicCache, Tensor]:
    """Run pictures and questions through the model, once each.

    Returns their keys and values, and logits_PV: what comes first in an answer.  All prompts here are equally long, so
    that none needs padding.
    """
    pictures = IMAGES(images=[question.picture_HWC for question in questions], return_tensors="pt")
    picture_tokens = int(pictures["image_grid_thw"][0].prod()) // 4  # 2 x 2 patches become one token
    ids_PS = []
    for question in questions:
        options = " ".join(f"{letter}.{option}" for letter, option in zip(LETTERS, question.options, strict=True))
        ids_PS.append(encode("<vision> " + "<image> " * picture_tokens + f"</vision> what colour ? {options}"))
    ids_PS = torch.tensor(ids_PS)
    cache = DynamicCache()
    output = model(
        input_ids=ids_PS,
        mm_token_type_ids=(ids_PS == ID["<image>"]).int(),  # tells where to count positions in two dimensions
        past_key_values=cache,
        logits_to_keep=1,
        **pictures,
    )
    return cache, output.logits[:, -1]


# ------------------------------------------------------------------------------------------------ 1. ask G times
@torch.no_grad()
def sample(model: Qwen2VL, questions: list[Question], group: int, greedy: bool = False) -> Tensor:
    """Return ids_BL: `group` answers to each question, in the order question 0 answer 0, question 0 answer 1, ..."""
    cache, logits_PV = read_prompts(model, questions)
    cache.batch_repeat_interleave(group)  # the answers of a group start from the same keys and values
    logits_BV = logits_PV.repeat_interleave(group, dim=0)
    columns = []
    for _ in range(ANSWER_TOKENS):
        ids_B = logits_BV.argmax(-1) if greedy else torch.multinomial(logits_BV.softmax(-1), 1)[:, 0]
        columns.append(ids_B)
        logits_BV = model(input_ids=ids_B[:, None], past_key_values=cache).logits[:, -1]
    return torch.stack(columns, dim=1)


# ------------------------------------------------------------------------------------------------ 2. compare
def group_advantages(rewards_PG: Tensor) -> Tensor:
    """How much better than its own group was each answer?  If all were right, or all wrong, nobody learns anything."""
    mean_P1, std_P1 = rewards_PG.mean(1, keepdim=True), rewards_PG.std(1, keepdim=True)
    return (rewards_PG - mean_P1) / (std_P1 + 1e-4)


# ------------------------------------------------------------------------------------------------ 3. learn
def answer_logprobs(model: Qwen2VL, questions: list[Question], ids_BL: Tensor) -> Tensor:
    """Return logprobs_BL, the log-probability of every answer token.

    Again the prompts run once: each answer attends to the keys and values of its prompt, and the gradients of all G
    answers of a group add up in that one computation.  Same numbers as repeating the prompt G times, at a G-th of the
    cost.
    """
    group = len(ids_BL) // len(questions)
    cache, logits_PV = read_prompts(model, questions)
    cache.batch_repeat_interleave(group)
    first_B1V = logits_PV.repeat_interleave(group, dim=0)[:, None]
    later_BLV = model(input_ids=ids_BL[:, :-1], past_key_values=cache).logits
    logprobs_BLV = torch.cat([first_B1V, later_BLV], dim=1).log_softmax(-1)
    return logprobs_BLV.gather(-1, ids_BL[..., None]).squeeze(-1)


def grpo_loss(
    logprobs_BL: Tensor, old_BL: Tensor, reference_BL: Tensor, mask_BL: Tensor, advantages_B: Tensor
) -> Tensor:
    """The GRPO objective with its sign turned: mean over answers of the mean over tokens.

        min(ratio A, clip(ratio) A) - BETA KL      ratio = p(now) / p(when sampled)

    The clip stops pushing a token whose probability has already changed by 20 %.
    """
    advantages_B1 = advantages_B[:, None]
    ratio_BL = (logprobs_BL - old_BL).exp()
    clipped_BL = ratio_BL.clamp(1 - CLIP, 1 + CLIP)
    difference_BL = reference_BL - logprobs_BL
    kl_BL = difference_BL.exp() - difference_BL - 1  # never negative, and right on average
    objective_BL = torch.minimum(ratio_BL * advantages_B1, clipped_BL * advantages_B1) - BETA * kl_BL
    return -((objective_BL * mask_BL).sum(1) / mask_BL.sum(1)).mean()


def until_end(ids_BL: Tensor) -> Tensor:
    """mask_BL: True up to and including the first <end>."""
    ended_BL = (ids_BL == ID["<end>"]).int().cumsum(1)
    return (ended_BL == 0) | ((ended_BL == 1) & (ids_BL == ID["<end>"]))


# ------------------------------------------------------------------------------------------------ the two stages
def train_base(model: Qwen2VL, random: np.random.Generator) -> None:
    """Imitation of answers that never looked: a random colour, then the letter that goes with that colour."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=BASE_RATE)
    for _ in range(BASE_STEPS):
        questions = [make_question(random) for _ in range(64)]
        answers = []
        for question in questions:
            guess = str(random.choice(list(COLOURS)))
            letter = LETTERS[question.options.index(guess)]
            answers.append(encode(f"<think> {guess} {letter} </think> <answer> {letter} </answer> <end>"))
        loss = -answer_logprobs(model, questions, torch.tensor(answers)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def train_grpo(model: Qwen2VL, random: np.random.Generator) -> None:
    reference = copy.deepcopy(model).requires_grad_(False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
    for step in range(1, STEPS + 1):
        questions = [make_question(random) for _ in range(P)]
        ids_BL = sample(model, questions, G)
        rewards = [reward(decode(ids), questions[b // G]) for b, ids in enumerate(ids_BL.tolist())]
        rewards_PG = torch.tensor(rewards).view(P, G)
        advantages_B = group_advantages(rewards_PG).flatten()

        logprobs_BL = answer_logprobs(model, questions, ids_BL)
        with torch.no_grad():
            reference_BL = answer_logprobs(reference, questions, ids_BL)
        # One update per batch, so the policy that sampled is the policy now: the ratio is 1, its gradient is not 0.
        loss = grpo_loss(logprobs_BL, logprobs_BL.detach(), reference_BL, until_end(ids_BL), advantages_B)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 20 == 0:
            silent = (rewards_PG.amax(1) == rewards_PG.amin(1)).float().mean()
            print(f"step {step:3d}   reward {rewards_PG.mean():.2f}   groups without signal {silent:4.0%}   ", end="")
            print(f"e.g. {decode(ids_BL[0].tolist())}  (the square is {questions[0].colour})")


def accuracy(model: Qwen2VL) -> float:
    """Greedy accuracy on 400 questions that training never asks (another seed)."""
    random = np.random.default_rng(999_999)
    questions = [make_question(random) for _ in range(400)]
    ids_PL = sample(model, questions, group=1, greedy=True).tolist()
    return float(np.mean([reward(decode(ids), question) for ids, question in zip(ids_PL, questions, strict=True)]))


def main() -> None:
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    start = time.perf_counter()
    model = make_model()
    print(f"a Qwen2-VL of {sum(p.numel() for p in model.parameters()):,} parameters; chance is 25 %")
    train_base(model, random)
    before = accuracy(model)
    print(f"base model: writes in the right form, {before:.0%} right   ({time.perf_counter() - start:.0f} s)")
    train_grpo(model, random)
    print(
        f"accuracy on 400 new questions: {before:.0%} -> {accuracy(model):.0%}   ({time.perf_counter() - start:.0f} s)"
    )


if __name__ == "__main__":
    main()
