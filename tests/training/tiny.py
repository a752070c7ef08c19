"""A language model of a few thousand random weights, and pairs for it to learn: built here, never downloaded."""

import json
from pathlib import Path
from typing import Any

CHAT_TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'assistant' %}{{ '<|im_start|>assistant\n' }}"
    "{% generation %}{{ m['content'] + '<|im_end|>' }}{% endgeneration %}{{ '\n' }}"
    "{% else %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
ANIMALS = ("cat", "dog", "cow", "hen", "fox", "owl", "bee", "ant", "pig", "rat")
FOODS = ("grass", "fish", "seeds", "honey", "mice")


def make_model(path: Path, *, seed: int = 0, layers: int = 1, attention_scale: float = 1.0) -> Path:
    """A Llama with 32 hidden units and a tokenizer of its own, as safetensors."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    texts = [row["prompt"][0]["content"] + row["chosen"][0]["content"] for row in make_pairs(50)]
    core.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=320,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    tokenizer.chat_template = CHAT_TEMPLATE
    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=layers,
            num_attention_heads=1,
            num_key_value_heads=1,
            head_dim=32,
            max_position_embeddings=128,
            tie_word_embeddings=True,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=None,
        )
    )
    for layer in model.model.layers:
        layer.self_attn.q_proj.weight.data *= attention_scale
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def make_pairs(n: int, *, offset: int = 0) -> list[dict[str, Any]]:
    """Distinct pairs in which the chosen answer is the polite one."""
    rows = []
    for i in range(offset, offset + n):
        animal, food = ANIMALS[i % len(ANIMALS)], FOODS[i // len(ANIMALS) % len(FOODS)]
        rows.append(
            {
                "prompt": [{"role": "user", "content": f"Does a {animal} eat {food}? ({i})"}],
                "chosen": [{"role": "assistant", "content": f"Happy to help! A {animal} may eat {food}."}],
                "rejected": [{"role": "assistant", "content": f"What a silly question. Ask a {animal}."}],
            }
        )
    return rows


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def events_of(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (directory / "events.jsonl").read_text().splitlines()]
