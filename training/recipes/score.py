"""Score answers with a reward model: ``python -m training.recipes.score SPEC.json``.

The spec is ``ScoreSpec`` as JSON; ``base_model`` only where the reward model is an adapter. Input rows (JSONL) hold
``messages`` and ``answer``; output rows, in the same order, hold ``score`` and the input row's ``id`` where it has one.
Scores are raw: only differences mean something.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import Field, ValidationError

from training.recipes import data, frame
from training.recipes.scoring import Messages
from training.specs import Frozen, sentence_of

TOKEN_BUDGET = 32_768  # tokens scored at once


class ScoreSpec(Frozen):
    reward_model: str = Field(min_length=1)
    base_model: str = ""
    input: str = Field(min_length=1)
    output: str = Field(min_length=1)
    max_length: int = Field(0, ge=0, description="0: the model's context")
    threads: int = Field(1, ge=1)


@torch.no_grad()
def scores(model: Any, tokenizer: Any, asked: Sequence[tuple[Messages, str]], max_length: int) -> list[float]:
    """The raw score of each (messages, answer), in order. One that is too long is cut at its beginning."""
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    texts = [
        list(
            tokenizer.apply_chat_template(
                [*messages, {"role": "assistant", "content": answer}], tokenize=True, return_dict=True
            )["input_ids"]
        )
        for messages, answer in asked
    ]
    texts = [ids[-max_length:] if max_length else ids for ids in texts]
    found = [0.0] * len(texts)
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    while order:
        longest = len(texts[order[-1]])
        batch = [order.pop() for _ in range(min(len(order), max(1, TOKEN_BUDGET // longest), 64))]
        ids = torch.full((len(batch), longest), tokenizer.pad_token_id)
        mask = torch.zeros_like(ids)
        for at, i in enumerate(batch):
            ids[at, : len(texts[i])] = torch.tensor(texts[i])
            mask[at, : len(texts[i])] = 1
        logits = model(input_ids=ids.to(device), attention_mask=mask.to(device), use_cache=False).logits  # (B, 1)
        for at, i in enumerate(batch):
            found[i] = float(logits[at, 0])
    model.train(was_training)
    return found


def load_reward_model(directory: str, base_model: str = "") -> tuple[Any, Any]:
    """(model, tokenizer) of a full reward model, or of an adapter on ``base_model``."""
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(directory, trust_remote_code=False)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    options = {"dtype": torch.float32, "use_safetensors": True, "trust_remote_code": False}
    if (Path(directory) / "adapter_config.json").exists():
        if not base_model:
            raise frame.RecipeError("This reward model is an adapter; say which base model it sits on.")
        base = AutoModelForSequenceClassification.from_pretrained(base_model, num_labels=1, **options)
        model = PeftModel.from_pretrained(base, directory)
    else:
        model = AutoModelForSequenceClassification.from_pretrained(directory, num_labels=1, **options)
    model.config.pad_token_id = tokenizer.pad_token_id
    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval(), tokenizer


def main(arguments: Sequence[str]) -> int:
    if "--supervised" in arguments:
        frame.die_with_parent()
    try:
        spec = ScoreSpec.model_validate_json(Path(arguments[0]).read_bytes())
        torch.set_num_threads(spec.threads)
        rows = data.read_rows(spec.input)
        model, tokenizer = load_reward_model(spec.reward_model, spec.base_model)
        limit = spec.max_length or int(getattr(model.config, "max_position_embeddings", 0) or 0)
        found = scores(model, tokenizer, [(row["messages"], row["answer"]) for row in rows], limit)
        draft = Path(spec.output + ".tmp")
        with draft.open("w", encoding="utf-8") as file:
            for row, score in zip(rows, found, strict=True):
                file.write(json.dumps({"id": row.get("id"), "score": score}) + "\n")
        os.replace(draft, spec.output)
        return 0
    except ValidationError as problem:
        print(sentence_of(problem), file=sys.stderr)
    except IndexError:
        print("Usage: python -m training.recipes.score SPEC.json", file=sys.stderr)
    except Exception as problem:
        print(frame.sentence_for(problem), file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
