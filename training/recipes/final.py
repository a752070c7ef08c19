"""The finished directory: weights, tokenizer, and the canary by which a server is known to serve them."""

from __future__ import annotations

import gc
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from training.recipes.files import manifest_of, sync, write_last
from training.recipes.frame import Run, device_of
from training.recipes.loading import load_kwargs
from training.recipes.scoring import Row, token_logprobs
from training.specs import Spec

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
)
CANARY_SENTENCES = (
    "The capital of the country is a large city by the river.",
    "First, wash the rice well. Then add two cups of water.",
    "I am sorry to hear that. Take five slow breaths.",
)
CANARY_TOKENS = 96
CANARY_PAIRS = 4


def save_final(run: Run, model: Any, tokenizer: Any) -> Path:
    """Write weights and tokenizer beside ``final``; the caller adds to the directory, then ``finish`` renames it."""
    shutil.rmtree(run.scratch, ignore_errors=True)
    run.scratch.mkdir(parents=True)
    options = {"selected_adapters": ["default"]} if run.spec.lora else {}
    model.save_pretrained(run.scratch, **options)
    (run.scratch / "README.md").unlink(missing_ok=True)
    if run.spec.lora:
        _neutral_adapter_config(run.scratch / "adapter_config.json")
    base = Path(run.spec.base_model)
    if base.is_dir():
        # Byte for byte the parent's: an unchanged template is seen to be unchanged.
        for name in TOKENIZER_FILES:
            if (base / name).is_file():
                shutil.copyfile(base / name, run.scratch / name)
    else:
        tokenizer.save_pretrained(run.scratch)
    return run.scratch


def _neutral_adapter_config(path: Path) -> None:
    """The same bytes on every machine: no path of the base, and sets in order."""
    config = json.loads(path.read_bytes())
    config["base_model_name_or_path"] = None
    for name, value in config.items():
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            config[name] = sorted(value)
    path.write_bytes(json.dumps(config, indent=2, sort_keys=True).encode() + b"\n")


def finish(run: Run, **figures: Any) -> None:
    """Rename the finished directory into place, write its manifest last, and say so."""
    for file in run.scratch.rglob("*"):
        if file.is_file():
            sync(file)
    shutil.rmtree(run.final, ignore_errors=True)
    run.scratch.rename(run.final)
    files = manifest_of(run.final)
    write_last(run.directory / "final.json", {"files": files})
    run.emit("done", files=files, **figures)


def canary_ids(tokenizer: Any, rows: Sequence[Row]) -> list[list[int]]:
    """Fixed texts as token ids: some sentences, and both answers of the first pairs, where a change shows."""
    texts = [
        [{"role": "user", "content": "Say something."}, {"role": "assistant", "content": s}] for s in CANARY_SENTENCES
    ]
    for row in rows[:CANARY_PAIRS]:
        texts += [row["prompt"] + row["chosen"], row["prompt"] + row["rejected"]]
    encoded = [
        list(tokenizer.apply_chat_template(t, tokenize=True, return_dict=True)["input_ids"])[:CANARY_TOKENS]
        for t in texts
    ]
    return [ids for ids in encoded if len(ids) >= 2]


def served_logprobs(spec: Spec, final: Path, texts: Sequence[Sequence[int]]) -> dict[str, list[list[float]]]:
    """The canary's log-probabilities in bfloat16, as servers hold weights, from the saved files: so they do load."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    gc.collect()
    options = {**load_kwargs(spec), "dtype": torch.bfloat16}
    device = device_of(spec)
    if spec.lora is None:
        policy = token_logprobs(
            AutoModelForCausalLM.from_pretrained(final, **{**options, "revision": "main"}).to(device), texts
        )
        gc.collect()
        return {
            "policy": policy,
            "parent": token_logprobs(
                AutoModelForCausalLM.from_pretrained(spec.base_model, **options).to(device), texts
            ),
        }
    model = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(spec.base_model, **options).to(device), final, autocast_adapter_dtype=False
    )
    policy = token_logprobs(model, texts)
    if spec.adapter:
        model.load_adapter(spec.adapter, "parent", autocast_adapter_dtype=False)
        model.set_adapter("parent")
        return {"policy": policy, "parent": token_logprobs(model, texts)}
    with model.disable_adapter():
        return {"policy": policy, "parent": token_logprobs(model, texts)}
