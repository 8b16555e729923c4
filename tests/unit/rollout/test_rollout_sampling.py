import numpy as np
import pytest
import torch
from transformers import TopKLogitsWarper, TopPLogitsWarper

from sbr.errors import ConfigError
from sbr.rollout.sampling import Sampling, inverse_cdf, next_tokens, uniforms

POINTS = 4000


def grid() -> torch.Tensor:
    """Evenly spaced uniforms: the share of each token is its probability to 1 / POINTS, without chance."""
    return (torch.arange(POINTS, dtype=torch.float64) + 0.5) / POINTS


def shares(logits: list[float], sampling: Sampling) -> np.ndarray:
    tokens = next_tokens(torch.tensor(logits).expand(POINTS, -1), grid(), sampling)
    return np.bincount(tokens.numpy(), minlength=len(logits)) / POINTS


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_shares_are_the_softmax(temperature) -> None:
    logits = [0.3, -1.0, 2.0, -np.inf, 0.0]
    exponentials = np.exp(np.array(logits) / temperature)
    expected = exponentials / exponentials.sum()
    found = shares(logits, Sampling(temperature, 1.0, 0, 1))
    np.testing.assert_allclose(found, expected, atol=1.0 / POINTS)
    assert found[3] == 0


def test_top_k_and_top_p_by_hand() -> None:
    logits = np.log([0.4, 0.1, 0.3, 0.2]).tolist()
    np.testing.assert_allclose(shares(logits, Sampling(1.0, 1.0, 2, 1)), [4 / 7, 0, 3 / 7, 0], atol=1 / POINTS)
    # 0.4 + 0.3 is not yet 0.75, so 0.2 belongs to the set as well.
    np.testing.assert_allclose(shares(logits, Sampling(1.0, 0.75, 0, 1)), [4 / 9, 0, 3 / 9, 2 / 9], atol=1 / POINTS)
    np.testing.assert_allclose(shares(logits, Sampling(1.0, 0.01, 0, 1)), [1, 0, 0, 0], atol=0)


@pytest.mark.parametrize(("top_k", "top_p"), [(7, 1.0), (0, 0.6), (0, 0.05), (20, 0.9), (1, 1.0)])
def test_filters_agree_with_transformers(top_k, top_p) -> None:
    torch.manual_seed(0)
    logits = torch.randn(1, 50, dtype=torch.float64) * 2
    expected = logits / 0.8
    if top_k:
        expected = TopKLogitsWarper(top_k)(None, expected)
    if top_p < 1:
        expected = TopPLogitsWarper(top_p)(None, expected)
    found = shares(logits[0].tolist(), Sampling(0.8, top_p, top_k, 1))
    np.testing.assert_allclose(found, expected.softmax(-1)[0].numpy(), atol=2 / POINTS)


def test_greedy_is_argmax() -> None:
    logits = torch.tensor([[0.0, 3.0, 2.0], [-1.0, -torch.inf, -2.0]])
    assert next_tokens(logits, torch.zeros(2), Sampling(0.0, 1.0, 0, 1)).tolist() == [1, 0]


@pytest.mark.parametrize("uniform", [0.0, 1 - 2**-53])
def test_the_extremes_never_give_a_token_of_probability_zero(uniform) -> None:
    torch.manual_seed(0)
    probabilities = torch.rand(200, 100, dtype=torch.float64)
    probabilities[:, :10] = 0
    probabilities[:, -10:] = 0
    tokens = inverse_cdf(probabilities, torch.full((200,), uniform, dtype=torch.float64))
    assert (probabilities.gather(1, tokens[:, None]) > 0).all()
    assert ((tokens == 10) if uniform == 0 else (tokens == 89)).all()


def test_uniforms_depend_on_seed_place_and_step_only() -> None:
    all_PGL = uniforms([3, 5], group_size=4, steps=6)
    assert all_PGL.shape == (2, 4, 6)
    assert torch.equal(uniforms([5], group_size=2, steps=3)[0], all_PGL[1, :2, :3])
    assert len(all_PGL.unique()) == 2 * 4 * 6


def test_wrong_settings_name_themselves() -> None:
    with pytest.raises(ConfigError, match=r"temperature is -1.*top_p is 0.*top_k is -2.*max_new_tokens is 0"):
        Sampling(-1, 0, -2, 0)
