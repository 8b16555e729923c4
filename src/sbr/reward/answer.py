"""The one answer extractor.  Training, evaluation and analysis all read responses through `extract_answer`.

Three named rules.  All of them want <answer>...</answer>: a response without the tags has no answer.

- official (arXiv 2503.24376, official grpo.py, accuracy_reward): the first character of the stripped text inside the
  FIRST tag pair is compared with the gold letter.  "Any of them" counts as A, "b" as nothing.
- care (GRPO-CARE, arXiv 2506.16141, its grpo.py, accuracy_reward): the stripped text inside the first tag pair is
  exactly one offered letter.  "A." is no answer.  (Its eval_bench.py also takes a bare "A" without tags; its training
  reward does not, and neither do we.)
- strict (ours): what a careful reader would accept, and nothing else.  See `_read`.

Numbers under different rules are not comparable; every record says which rule was used.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence

from sbr.config.section import Rule
from sbr.types import LETTERS, Answer

_PAIR = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
_PREFIX = re.compile(
    r"(?:(?:so|therefore|thus|hence)\s*,?\s+)?(?:(?:the|my)\s+)?(?:(?:final|correct|right|best)\s+)?"
    r"(?:answer|option|choice)(?:\s+is(?:\s*:\s*|\s+)|\s*:\s*|\s+)(?:option\s+)?",
    re.IGNORECASE,
)
_LETTER = re.compile(r"(?:\(\s*([A-Za-z])\s*\)|\[\s*([A-Za-z])\s*\]|([A-Za-z]))(.*)", re.DOTALL)
_SEPARATOR = re.compile(r"\s*[.:,)](?P<glued>\S?)|\s+[-\u2013\u2014]\s")
_ALONE = re.compile(r"(?<![\w'])[A-Zb-z](?![\w'])")
"""A letter standing alone; a lower-case "a" is an article."""
_QUOTES = "\"'\u2018\u2019\u201c\u201d"


def extract_answer(response: str, options: Sequence[str], rule: Rule) -> Answer:
    """Read the chosen letter out of `response`; never raises on any text.

    `options` are the option texts in their order; they say which letters are offered (the first len(options) of
    LETTERS) and what their own texts are.  The letter is None when the rule finds no answer; `reason` says why.
    """
    if (pair := _PAIR.search(response)) is None:
        missing = "<answer> is never closed" if "<answer>" in response else "no <answer> tags"
        return Answer(None, rule, missing)
    if rule == "strict":
        return _strict(_PAIR.findall(response), options)
    content = pair[1].strip()
    if not content:
        return Answer(None, rule, "<answer> is empty")
    return _RULES[rule](content, LETTERS[: len(options)])


def answer_span(response: str) -> tuple[int, int] | None:
    """Return where the answer stands: first and past-the-last character inside the first tag pair, blanks left out.

    >>> "<answer> B </answer>"[slice(*answer_span("<answer> B </answer>"))]
    'B'
    """
    if (pair := _PAIR.search(response)) is None:
        return None
    start = pair.start(1) + len(pair[1]) - len(pair[1].lstrip())
    return start, start + len(pair[1].strip())


def _official(content: str, offered: str) -> Answer:
    letter = content[0]
    if letter not in offered:
        return Answer(None, "official", f"first character inside <answer> is {letter!r}, not one of {offered}")
    return Answer(letter, "official", f"first character inside <answer> is {letter}")


def _care(content: str, offered: str) -> Answer:
    if len(content) != 1 or content not in offered:
        return Answer(None, "care", f"text inside <answer> is {_short(content)}, not exactly one letter of {offered}")
    return Answer(content, "care", f"text inside <answer> is exactly {content}")


_RULES: dict[str, Callable[[str, str], Answer]] = {"official": _official, "care": _care}


def _strict(contents: Sequence[str], options: Sequence[str]) -> Answer:
    """All tag pairs must be readable and agree."""
    readings = [_read(content, options) for content in contents]
    letters = {letter for letter, _ in readings}
    if len(letters) == 1:
        letter, reason = readings[0]
        return Answer(letter, "strict", reason)
    named = ", ".join(letter or "none" for letter, _ in readings)
    return Answer(None, "strict", f"{len(contents)} <answer> pairs disagree: {named}")


def _read(content: str, options: Sequence[str]) -> tuple[str | None, str]:
    """The strict reading of one tag's content: (letter, reason).

    Full-width characters, markdown stars, backquotes and outer quotes count as their plain form.  Accepted is
    - an offered letter, alone or in brackets: A, (A), [A], each with an optional . : , or ) behind it;
    - that, then an option's text or other words: "A. open tap", "A: open tap", "A) open tap", "A - open tap".  Without
      a separator ("A open tap") only the option's own text may follow, because "A person ..." is an article;
    - "The answer is A", "Answer: A", "Option A" and the like in front of any of these;
    - the text of exactly one option, whatever the case, with or without a final full stop.
    A lower-case letter counts as its capital in the same places: it can be meant for nothing else there.
    No answer is what names two options ("A or B", "A. <text of B>"), and a letter that is not offered.
    """
    text = _plain(content)
    if not text:
        return None, "<answer> is empty"
    body = text[prefix.end() :] if (prefix := _PREFIX.match(text)) else text
    own_texts = [text_key(option) for option in options[: len(LETTERS)]]
    by_letter, reason = _lettered(body, own_texts)
    keys = {text_key(text), text_key(body)}
    by_text = [letter for letter, own in zip(LETTERS, own_texts, strict=False) if own and own in keys]
    if len(by_text) > 1:
        return None, f"{_short(text)} is the text of options {' and '.join(by_text)}"
    if by_text and by_letter not in (None, by_text[0]):
        return None, f"{_short(text)} is the text of option {by_text[0]} and also names {by_letter}"
    return (by_text[0], f"text of option {by_text[0]}") if by_text else (by_letter, reason)


def _lettered(body: str, own_texts: Sequence[str]) -> tuple[str | None, str]:
    """Read a letter at the start, and make sure that what follows does not contradict it."""
    offered = LETTERS[: len(own_texts)]
    unreadable = f"{_short(body)} is neither a letter nor an option's text"
    if (match := _LETTER.fullmatch(body)) is None:
        return None, unreadable
    letter = (match[1] or match[2] or match[3]).upper()
    own = own_texts[offered.index(letter)] if letter in offered else ""
    words = _words_behind(match[4], own, bracketed=match[3] is None)
    if words is None:
        return None, unreadable
    if letter not in offered:
        return None, f"letter {letter} is not one of {offered}"
    if other := _other_option(words, letter, own_texts):
        return None, f"{_short(body)} names both {letter} and {other}"
    return letter, f"letter {letter}"


def _words_behind(rest: str, own: str, bracketed: bool) -> str | None:
    """The words behind the letter; None when the letter is only the beginning of a word or an article."""
    if not rest.strip():
        return ""
    separator = _SEPARATOR.match(rest)
    if separator is None:
        words = rest.strip()
        return words if rest[0].isspace() and (text_key(words) == own or bracketed) else None
    glued = separator["glued"] or ""
    words = glued + rest[separator.end() :]
    # "A.open tap" is an answer, "A.M. shift" is not.
    return words.strip() if not glued or glued in ".:," or text_key(words) == own else None


def _other_option(words: str, letter: str, own_texts: Sequence[str]) -> str | None:
    """Letter of another option that `words` (all that follows the answer letter) name, or None."""
    key = text_key(words)
    offered = LETTERS[: len(own_texts)]
    own = own_texts[offered.index(letter)]
    if not key or key == own:
        return None
    if key in own_texts:
        return offered[own_texts.index(key)]
    if key.strip("()[]") == "a" and letter != "A":
        return "A"
    for mention in _ALONE.findall(words):
        if mention.upper() in offered and mention.upper() != letter:
            return mention.upper()
    left = as_words(own).sub(" ", key) if own else key
    for other, text in zip(offered, own_texts, strict=True):
        if text and text != own and as_words(text).search(left):
            return other
    return None


def as_words(text: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(text)}(?!\w)")


def _plain(text: str) -> str:
    """NFKC (full-width to plain), without markdown emphasis and outer quotes."""
    text = unicodedata.normalize("NFKC", text)
    text = re.sub(r"\*+|`+|__+", "", text)
    return text.strip().strip(_QUOTES).strip()


def text_key(text: str) -> str:
    """What two writings of one option text have in common."""
    return " ".join(_plain(text).casefold().split()).rstrip(". ")


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")
