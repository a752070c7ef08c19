"""Tokens, log-probabilities and greedy answers: what a model says of given texts, and what it says itself."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch

LOGIT_BUDGET = 8_000_000  # numbers of logits held at once while scoring

Messages = list[dict[str, str]]
Row = dict[str, Any]


def prompt_ids(tokenizer: Any, prompt: Messages) -> list[int]:
    return list(
        tokenizer.apply_chat_template(prompt, add_generation_prompt=True, tokenize=True, return_dict=True)["input_ids"]
    )


def answer_ids(tokenizer: Any, prompt: Messages, answer: Messages) -> tuple[list[int], int]:
    """The whole conversation's ids and where the answer begins: where it parts from the prompt alone, as TRL has it."""
    before = prompt_ids(tokenizer, prompt)
    whole = list(tokenizer.apply_chat_template(prompt + answer, tokenize=True, return_dict=True)["input_ids"])
    start = next(
        (i for i, (a, b) in enumerate(zip(before, whole, strict=False)) if a != b), min(len(before), len(whole))
    )
    return whole, start


@torch.no_grad()
def token_logprobs(model: Any, sequences: Sequence[Sequence[int]]) -> list[list[float]]:
    """Log-probability (nats) of each token given those before it; the first token of a sequence is left out.

    Scored in the order of their lengths, in batches whose logits fit ``LOGIT_BUDGET``; answered in the given order.
    """
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    n_vocabulary = model.config.get_text_config().vocab_size
    found: list[list[float]] = [[] for _ in sequences]
    order = sorted(range(len(sequences)), key=lambda i: len(sequences[i]))
    while order:
        longest = len(sequences[order[-1]])
        batch = [order.pop() for _ in range(min(len(order), max(1, LOGIT_BUDGET // (longest * n_vocabulary)), 64))]
        ids = torch.zeros(len(batch), longest, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for at, i in enumerate(batch):
            ids[at, : len(sequences[i])] = torch.tensor(sequences[i])
            mask[at, : len(sequences[i])] = 1
        logits = model(input_ids=ids.to(device), attention_mask=mask.to(device), use_cache=False).logits[
            :, :-1
        ]  # (B, T-1, V)
        logp = logits.float().log_softmax(-1).gather(-1, ids[:, 1:, None].to(device)).squeeze(-1).cpu()  # (B, T-1)
        for at, i in enumerate(batch):
            found[i] = logp[at, : len(sequences[i]) - 1].tolist()
    model.train(was_training)
    return found


def answer_logprobs(model: Any, tokenizer: Any, rows: Sequence[Row], max_length: int) -> list[tuple[float, float]]:
    """(chosen, rejected) log-probability of the whole answer, in nats, for each pair."""
    encoded = [answer_ids(tokenizer, row["prompt"], row[side]) for row in rows for side in ("chosen", "rejected")]
    scored = token_logprobs(model, [ids[:max_length] for ids, _ in encoded])
    sums = [math.fsum(logps[start - 1 :]) for logps, (_, start) in zip(scored, encoded, strict=True)]
    return list(zip(sums[::2], sums[1::2], strict=True))


def accuracy(margins: Sequence[float]) -> float:
    """Share of pairs that the model orders as people did; a tie counts one half."""
    return sum(1.0 if margin > 0 else 0.5 if margin == 0 else 0.0 for margin in margins) / len(margins)


def mean_softplus(margins: Sequence[float]) -> float:
    """-log sigmoid(margin), averaged: ln 2 where every margin is 0."""
    return math.fsum(max(-m, 0.0) + math.log1p(math.exp(-abs(m))) for m in margins) / len(margins)


def greedy_answers(model: Any, tokenizer: Any, prompts: Sequence[Messages], n_tokens: int) -> Iterator[tuple[str, str]]:
    """(last user turn, answer) for each prompt. Greedy, and the random state is put back: watching changes nothing."""
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        for prompt in prompts:
            ids = torch.tensor([prompt_ids(tokenizer, prompt)], device=device)
            out = model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=n_tokens,
                do_sample=False,
                pad_token_id=tokenizer.pad_token_id,
                eos_token_id=tokenizer.eos_token_id,
            )
            yield prompt[-1]["content"], tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True).strip()
    model.train(was_training)


def mean_abs_difference(a: Sequence[Sequence[float]], b: Sequence[Sequence[float]]) -> float:
    """Nats per token."""
    differences = [abs(x - y) for one, other in zip(a, b, strict=True) for x, y in zip(one, other, strict=True)]
    return math.fsum(differences) / len(differences)
