"""Amulet, arXiv 2502.19148: how far its per-token optimisation goes from the base to the prompted logits. Plain numbers, no tensors.

Amulet plays `steps` rounds of follow-the-regularised-leader at every token. From `log pi_1 = log pi_p`, with the payoffs
`q_t = alpha (log pi_t - log pi_0)`, each round sets

    log pi_(t+1) = (lambda log pi_p + mean(q_1 .. q_t) + log pi_t / (eta t)) / (lambda + 1 / (eta t))

and renormalises. Every term is a sum of `log pi_p`, `log pi_0` and a constant over the vocabulary, and the weights of the first two
always add up to one: if `log pi_t = log pi_p + c_t (log pi_p - log pi_0)` holds for all rounds so far, it holds for the next, with

    c_(t+1) = (alpha mean(1 + c_1 .. 1 + c_t) + c_t / (eta t)) / (lambda + 1 / (eta t)),    c_1 = 0,

and renormalising once, at the end, is enough. So the whole game is one step of linear alignment whose ratio depends on the four
numbers alone and on no logits. That it is so is our finding, not the paper's; the tests hold it against figures of the authors'
code and against the game played out on tensors.
"""


def step_size(alpha: float, lambda_: float, eta: float, steps: int) -> float:
    """The ratio r for which `l_p + r (l_p - l_0)` is Amulet's last policy, but for a constant.

    Nothing is carried over from token to token.

    Args:
        alpha: how much the difference that the principle makes is worth; 0 gives 0, the prompted distribution.
        lambda_: the pull back to the prompted distribution, > 0.
        eta: learning rate, > 0.
        steps: rounds of the game, at least 1.
    """
    size, advantages = 0.0, 0.0
    for t in range(1, steps + 1):
        advantages += 1 + size
        size = (alpha * advantages / t + size / (eta * t)) / (lambda_ + 1 / (eta * t))
    return size
