"""The draw of three negatives: expected orders come from coreutils' sha256sum, counts from probability."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter

import pytest

from sbr.data.rows.options import distinct_negatives, draw_options, reads_as

NEGATIVES = ("open drawer", "grab knife", "close drawer", "slice onion", "wash hands")


@pytest.mark.parametrize(
    ("seed", "expected"),
    [
        # printf '0\00039\0draw\0open drawer' | sha256sum, and so on: the three smallest, then sorted by "order".
        (0, (("grab knife", "wash hands", "grab onion", "open drawer"), "C")),
        (1, (("slice onion", "grab onion", "close drawer", "wash hands"), "B")),
    ],
)
def test_the_draw_is_the_ranking_by_sha256_of_seed_and_id(seed, expected):
    assert draw_options(seed, "39", "grab onion", NEGATIVES) == expected


def test_the_order_of_the_negatives_does_not_matter():
    draws = {draw_options(3, "7", "grab onion", order) for order in itertools.permutations(NEGATIVES)}
    assert len(draws) == 1


def test_seed_id_and_their_border_matter():
    def draws(keys):
        return [draw_options(seed, name, "grab onion", NEGATIVES)[0] for seed, name in keys]

    assert len(set(draws((seed, "39") for seed in range(50)))) > 30
    assert len(set(draws((0, str(i)) for i in range(50)))) > 30
    # "1" + "12" and "11" + "2" are the same characters: only a separator keeps the draws apart.
    pairs = [((1, f"1{i}"), (11, f"{i}")) for i in range(20)]
    assert sum(draws([a]) != draws([b]) for a, b in pairs) >= 18


def test_the_other_samples_are_no_part_of_a_draw():
    ids = [str(i) for i in range(40)]
    forward = {name: draw_options(5, name, "grab onion", NEGATIVES) for name in ids}
    backward = {name: draw_options(5, name, "grab onion", NEGATIVES) for name in reversed(ids)}
    assert forward == backward


@pytest.mark.parametrize(
    ("answer", "negatives", "expected"),
    [
        ("open tap", ["close tap", "Open tap", "take cup", "close tap"], ("close tap", "take cup")),
        ("a", ["b", "B", " b ", "b\t"], ("b",)),
        ("wash  the cup", ["wash the cup", "wash the  cups"], ("wash the  cups",)),
        ("STRASSE", ["straße", "street"], ("street",)),
        ("a", [], ()),
    ],
)
def test_texts_that_read_the_same_count_once_and_never_as_the_answer(answer, negatives, expected):
    assert distinct_negatives(answer, negatives) == expected


def test_words_and_not_only_letters_make_a_difference():
    assert reads_as(" Open \n the  Tap ") == "open the tap"
    assert reads_as("openthe tap") != reads_as("open the tap")


def test_duplicates_and_the_answer_are_never_drawn():
    negatives = ["b", "B ", "a", " A", "c", "d", "C", "e"]
    seen = Counter()
    for i in range(200):
        options, gold = draw_options(0, str(i), "a", negatives)
        assert len({option.strip().lower() for option in options}) == 4
        assert options["ABCD".index(gold)] == "a"
        seen.update(options)
    assert set(seen) == {"a", "b", "c", "d", "e"} and seen["a"] == 200


def test_a_repeated_text_is_not_likelier_than_another():
    plain = [draw_options(0, str(i), "a", ["b", "c", "d", "e"]) for i in range(50)]
    assert [draw_options(0, str(i), "a", ["b", "B", "b", "c", "d", "e", "b"]) for i in range(50)] == plain


def test_letters_and_negatives_are_balanced_over_many_ids():
    draws = [draw_options(0, f"id{i}", "grab onion", NEGATIVES) for i in range(4000)]
    letters = Counter(gold for _, gold in draws)
    texts = Counter(text for options, _ in draws for text in options)
    # Binomial: 1000 +- 27.4 for a letter and 2400 +- 31.0 for a negative; five standard deviations.
    assert set(letters) == set("ABCD") and all(abs(count - 1000) < 137 for count in letters.values())
    assert set(texts) == {*NEGATIVES, "grab onion"}
    assert all(abs(texts[text] - 2400) < 155 for text in NEGATIVES)


def test_a_negative_has_every_place_alike():
    places = Counter(
        options.index("wash hands")
        for i in range(4000)
        if "wash hands" in (options := draw_options(9, str(i), "grab onion", NEGATIVES)[0])
    )
    assert set(places) == {0, 1, 2, 3} and all(abs(count - 600) < 115 for count in places.values())


def test_text_beyond_ascii_is_hashed_as_utf_8():
    texts = ["thé", "茶", "🍵"]

    def rank(text: str) -> str:
        return hashlib.sha256(b"2\x00n\x00order\x00" + text.encode("utf-8")).hexdigest()

    options, gold = draw_options(2, "n", "café", texts)
    assert list(options) == sorted([*texts, "café"], key=rank)
    assert options["ABCD".index(gold)] == "café"


def test_fewer_than_three_distinct_negatives_are_refused():
    with pytest.raises(ValueError, match="sample 12: 2 distinct negatives, 3 needed"):
        draw_options(0, "12", "a", ["b", "c", "B", "a"])
