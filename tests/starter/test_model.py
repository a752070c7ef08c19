"""The shipped weights: they are those of the log, small, loadable, and they end their answers."""

import json
from pathlib import Path

import pytest

from core.ids import sha256_hex

MODEL = Path(__file__).parents[2] / "starter" / "model"
CHAT = [
    {"role": "user", "content": "What is 2 + 3?"},
    {"role": "assistant", "content": "5."},
    {"role": "user", "content": "Thanks!\nAnd the capital of France?"},
    {"role": "assistant", "content": "1. Paris.\n2. Really, Paris."},
]


def last_row() -> dict[str, object]:
    return json.loads((MODEL / "training_log.jsonl").read_text(encoding="utf-8").splitlines()[-1])


def test_the_weights_are_those_of_the_training_log() -> None:
    assert last_row()["weights_sha256"] == sha256_hex((MODEL / "model.safetensors").read_bytes())


def test_the_model_folder_is_small_and_holds_no_pickle() -> None:
    assert sum(path.stat().st_size for path in MODEL.iterdir()) < 8_000_000
    assert not [path.name for path in MODEL.iterdir() if path.suffix in {".bin", ".pt", ".pth", ".pkl"}]
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= {p.name for p in MODEL.iterdir()}


def test_the_logged_figures_meet_the_bar() -> None:
    held_out = last_row()["held_out"]
    assert isinstance(held_out, dict)
    assert held_out["acceptable"] >= 0.70
    assert held_out["rude"] <= 0.15
    assert held_out["refusal"] <= 0.25


@pytest.mark.training
def test_the_template_counts_exactly_the_assistants_tokens() -> None:
    from transformers import AutoTokenizer

    from starter.train import encode

    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    out = tokenizer.apply_chat_template(CHAT, return_dict=True, return_assistant_tokens_mask=True)
    counted = [i for i, flag in zip(out["input_ids"], out["assistant_masks"], strict=True) if flag]
    assert tokenizer.decode(counted) == "5.<|im_end|>1. Paris.\n2. Really, Paris.<|im_end|>"

    ids, flags = encode(tokenizer, CHAT)
    assert ids == out["input_ids"]
    assert flags == [bool(flag) for flag in out["assistant_masks"]]


@pytest.mark.training
def test_nothing_follows_the_end_of_the_last_answer() -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    prompt = tokenizer.apply_chat_template(CHAT[:1], add_generation_prompt=True, tokenize=False)
    whole = tokenizer.apply_chat_template(CHAT[:2], tokenize=False)

    # A token behind the end is never sampled, but TRL would count it as a part of the answer.
    assert whole == prompt + "5.<|im_end|>"


@pytest.mark.training
def test_the_model_answers_and_stops() -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from starter.train import sample

    model = AutoModelForCausalLM.from_pretrained(MODEL).eval()
    assert model.dtype == torch.bfloat16
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id != tokenizer.pad_token_id
    answers = sample(model.float(), tokenizer, ["What is the capital of France?", "Good morning!"], n=8, seed=3)

    assert all(text for row in answers for text, _ in row)
    assert sum(cut for row in answers for _, cut in row) <= 1
    assert len({text for row in answers for text, _ in row}) > 4


@pytest.mark.training
def test_two_steps_of_training_run_the_same_twice(tmp_path: Path) -> None:
    import torch

    from starter.train import Settings, answer_loss, batches, build_model, build_tokenizer

    def two_steps() -> list[float]:
        settings = Settings(steps=2, batch=4, vocabulary=600)
        torch.manual_seed(settings.seed)
        tokenizer = build_tokenizer(settings)
        model = build_model(settings, tokenizer)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        losses = []
        for _, (ids, counted) in zip(range(2), batches(tokenizer, settings), strict=False):
            loss = answer_loss(model, ids, counted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses

    first = two_steps()
    assert first == two_steps()
    assert 5.0 < first[0] < 8.0  # an untrained model guesses among 600 tokens: ln 600 = 6.4
