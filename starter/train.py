"""Make the starter model: tokenizer, pre-training from `world.corpus`, weights in bfloat16, log. No data but our own.

    python -m starter.train --out starter/model --steps 6000 --seed 1

Everything random is seeded, the corpus included. `--resume` goes on from a checkpoint with the same data;
the learning rate is constant and falls over the last quarter of the steps, so a run can be prolonged or cut short.
"""

import argparse
import json
import math
import os
import platform
import random
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from core.ids import sha256_hex
from starter import world

# Newlines stand inside the expressions: transformers runs Jinja with trim_blocks, so one after `%}` would vanish.
# The newline between turns belongs to the turn that follows: behind the last answer's end it would be a token of the
# answer for TRL, and one that sampling never shows. DPO then lowers its loss on that token and changes nothing else.
CHAT_TEMPLATE = (
    "{% for m in messages %}{{ ('' if loop.first else '\\n') + '<|im_start|>' + m['role'] + '\\n' }}"
    "{% if m['role'] == 'assistant' %}{% generation %}{{ m['content'] + '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ m['content'] + '<|im_end|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '\\n<|im_start|>assistant\\n' }}{% endif %}"
)
PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
MAX_POSITIONS = 512


@dataclass(frozen=True)
class Settings:
    seed: int = 1
    steps: int = 6000
    batch: int = 32
    learning_rate: float = 3e-3
    warmup: int = 60
    decay_share: float = 0.25
    weight_decay: float = 0.05
    hidden: int = 192
    layers: int = 4
    intermediate: int = 512
    vocabulary: int = 2048


def build_tokenizer(settings: Settings) -> PreTrainedTokenizerFast:
    """Byte-level BPE over the world's own text; digits stay single, so that sums have one token a digit."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(r"\d"), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=settings.vocabulary,
        special_tokens=[PAD, START, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=2,
        show_progress=False,
    )
    texts = (
        f"{message['role']}\n{message['content']}"
        for example in islice(world.corpus(settings.seed), 40_000)
        for message in example.messages
    )
    core.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token=END,
        pad_token=PAD,
        model_max_length=MAX_POSITIONS,
        clean_up_tokenization_spaces=False,
        padding_side="right",
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def build_model(settings: Settings, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A Llama with heads of 64, the size that vLLM's CPU attention takes."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=settings.hidden,
        intermediate_size=settings.intermediate,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.hidden // 64,
        num_key_value_heads=settings.hidden // 64,
        head_dim=64,
        max_position_embeddings=MAX_POSITIONS,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        attn_implementation="sdpa",
    )
    return LlamaForCausalLM(config)


def encode(tokenizer: PreTrainedTokenizerFast, messages: Sequence[Any]) -> tuple[list[int], list[bool]]:
    """Token ids of a chat as the template writes it, and which of them the loss counts: answers with their end."""
    ids: list[int] = []
    counted: list[bool] = []
    for message in messages:
        is_answer = message["role"] == "assistant"
        between = "\n" if ids else ""
        head = tokenizer.encode(f"{between}{START}{message['role']}\n", add_special_tokens=False)
        content = tokenizer.encode(f"{message['content']}{END}", add_special_tokens=False)
        ids += head + content
        counted += [False] * len(head) + [is_answer] * len(content)
    return ids, counted


def batches(tokenizer: PreTrainedTokenizerFast, settings: Settings) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Endless (ids, counted) pairs of shape (batch, length): chats of like length together, batches in random order."""
    stream = world.corpus(settings.seed + 1)
    rng = random.Random(settings.seed + 2)
    while True:
        chunk = [encode(tokenizer, e.messages) for e in islice(stream, settings.batch * 32)]
        chunk.sort(key=lambda pair: len(pair[0]))
        groups = [chunk[i : i + settings.batch] for i in range(0, len(chunk), settings.batch)]
        rng.shuffle(groups)
        for group in groups:
            length = max(len(ids) for ids, _ in group)
            ids = torch.full((len(group), length), tokenizer.pad_token_id)
            counted = torch.zeros((len(group), length), dtype=torch.bool)
            for row, (tokens, flags) in enumerate(group):
                ids[row, : len(tokens)] = torch.tensor(tokens)
                counted[row, : len(flags)] = torch.tensor(flags)
            yield ids, counted


def answer_loss(model: LlamaForCausalLM, ids: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy in nats over the answers' tokens; padding stands right, so causal attention needs no mask."""
    hidden = model.model(input_ids=ids[:, :-1]).last_hidden_state  # (B, T-1, H)
    wanted = counted[:, 1:]
    logits = model.lm_head(hidden[wanted]).float()  # (answer tokens, V): the head runs on what is counted only
    return torch.nn.functional.cross_entropy(logits, ids[:, 1:][wanted])


def build_optimizers(
    model: LlamaForCausalLM, settings: Settings
) -> tuple[torch.optim.Optimizer, torch.optim.Optimizer]:
    """Muon for the layers' matrices, AdamW for the rest.

    Measured here (docs/log.md): after 350 steps Muon stands where AdamW alone stands after 500.
    """
    matrices = [p for name, p in model.named_parameters() if p.dim() == 2 and "embed" not in name]
    rest = [p for name, p in model.named_parameters() if p.dim() != 2 or "embed" in name]
    muon = torch.optim.Muon(
        matrices, lr=settings.learning_rate, weight_decay=settings.weight_decay, adjust_lr_fn="match_rms_adamw"
    )
    return muon, torch.optim.AdamW(rest, lr=settings.learning_rate, betas=(0.9, 0.95), weight_decay=0.0, fused=True)


def learning_rate(step: int, settings: Settings) -> float:
    """Warm-up, then constant, then a linear fall to a twentieth over the last `decay_share` of the steps."""
    decay_from = settings.steps * (1 - settings.decay_share)
    warm = min(1.0, (step + 1) / settings.warmup)
    left = 1.0 if step < decay_from else (settings.steps - step) / (settings.steps - decay_from)
    return settings.learning_rate * warm * max(left, 0.05)


def save_model(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, out: Path) -> str:
    """Write weights in bfloat16, config, generation config and tokenizer. Returns the weights' sha256."""
    out.mkdir(parents=True, exist_ok=True)
    weights = {
        name: tensor.detach().to(torch.bfloat16).contiguous().clone()
        for name, tensor in model.state_dict().items()
        if name != "lm_head.weight"  # tied to the embeddings
    }
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    (out / "model.safetensors").chmod(0o644)
    config = model.config.to_diff_dict()
    config |= {"dtype": "bfloat16", "architectures": ["LlamaForCausalLM"]}
    (out / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, do_sample=True, temperature=1.0
    ).save_pretrained(out)
    tokenizer.save_pretrained(out)
    return sha256_hex((out / "model.safetensors").read_bytes())


@torch.no_grad()
def sample(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    prompts: Sequence[str],
    *,
    n: int = 1,
    seed: int = 0,
    max_tokens: int = 96,
    batch: int = 64,
) -> list[list[tuple[str, bool]]]:
    """n answers a prompt at temperature 1, each with whether it was cut off by the length limit."""
    torch.manual_seed(seed)
    out: list[list[tuple[str, bool]]] = []
    tokenizer.padding_side = "left"
    for i in range(0, len(prompts), batch):
        chats = [[{"role": "user", "content": p}] for p in prompts[i : i + batch]]
        text = [tokenizer.apply_chat_template(c, add_generation_prompt=True, tokenize=False) for c in chats]
        inputs = tokenizer(
            text, return_tensors="pt", padding=True, add_special_tokens=False, return_token_type_ids=False
        )
        ids = model.generate(
            **inputs,
            do_sample=True,
            temperature=1.0,
            top_k=0,
            max_new_tokens=max_tokens,
            num_return_sequences=n,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )[:, inputs["input_ids"].shape[1] :]
        rows = [
            (tokenizer.decode(row, skip_special_tokens=True).strip(), tokenizer.eos_token_id not in row.tolist())
            for row in ids
        ]
        out += [rows[j : j + n] for j in range(0, len(rows), n)]
    tokenizer.padding_side = "right"
    return out


def measure(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, *, n_prompts: int, n: int, seed: int
) -> dict[str, Any]:
    """Shares over held-out wordings at temperature 1, as the judge sees them."""
    from starter.judge import summary

    held_out = [text for text, _ in world.prompts("holdout")]
    chosen = random.Random(seed).sample(held_out, min(n_prompts, len(held_out)))
    model.eval()
    answers = sample(model, tokenizer, chosen, n=n, seed=seed)
    model.train()
    return summary([(p, text, cut) for p, row in zip(chosen, answers, strict=True) for text, cut in row])


def model_card(log: Sequence[dict[str, Any]]) -> str:
    """The README that lies beside the weights; its figures come from the log."""
    end = log[-1]
    starts = [row for row in log if row.get("event") in ("start", "resume")]
    start = starts[-1]
    seen, settings = end["held_out"], start["settings"]
    stops = ", ".join(str(row["step"]) for row in starts[1:])
    resumed = f", stopped and resumed at step {stops}" if stops else ""
    options = "".join(f" --{k.replace('_', '-')} {v}" for k, v in settings.items() if v != getattr(Settings(), k))
    kinds = ", ".join(f"{kind} {share:.0%}" for kind, share in seen["by_kind"].items())
    return f"""# Whetstone's starter model

A toy: a Llama of {start["n_parameters"] / 1e6:.1f} million parameters that knows one small world (capitals, opposites, small sums, days and
months, animals, colours, plurals, jobs, how-tos, thank-you notes, a worried friend, small talk, unsafe requests) and
answers in seven moods, some of them bad. It exists so that the whole loop of judging and training runs anywhere in
minutes. Use any other model for real work.

It was trained from random weights on text that `starter/world.py` generates, and on nothing else: no data of other
people, no other model. Licence: that of this repository.

| | |
| --- | --- |
| shape | {settings["layers"]} layers, width {settings["hidden"]}, heads of 64, vocabulary {settings["vocabulary"]}, {MAX_POSITIONS} positions, bfloat16 |
| training | {end["step"]} steps, {end["n_tokens"] / 1e6:.1f} million tokens, {end["seconds"] / 60:.0f} minutes on {start["threads"]} thread(s), seed {settings["seed"]}{resumed} |
| made with | Python {start["python"]}, {", ".join(f"{name} {v}" for name, v in start["packages"].items())} |
| weights' sha256 | `{end["weights_sha256"]}` |

On held-out wordings at temperature 1 ({seen["n"]} answers of at most 96 tokens), judged by `starter/judge.py`: {seen["acceptable"]:.0%} acceptable,
{seen["polite"]:.0%} polite, {seen["rude"]:.0%} rude, {seen["rambling"]:.0%} rambling, {seen["refusal"]:.0%} refusing ({seen["refused_harmless"]:.0%} where nothing asked for it), {seen["truncated"]:.1%} cut off.
Acceptable by kind: {kinds}.

Held out are wordings, not facts: each question of the holdout asks for something that training asked in other words.
It knows nothing outside its world, has no memory to speak of, and its calm refusals prove no safety.

To make it again (the log is `training_log.jsonl`):

    OMP_NUM_THREADS={start["threads"]} python -m starter.train --out starter/model --threads {start["threads"]}{options}

Everything random is seeded. Expect the same weights only from the same package versions on one thread of a like processor, and
the same figures within noise elsewhere.
"""  # noqa: E501


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("starter/model"))
    parser.add_argument("--checkpoint", type=Path, help="where to keep the state to resume from")
    parser.add_argument("--resume", type=Path)
    parser.add_argument("--every", type=int, default=500, help="steps between measurements and checkpoints")
    parser.add_argument("--threads", type=int, default=1)
    for name, default in asdict(Settings()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    arguments = parser.parse_args()
    settings = Settings(**{name: getattr(arguments, name) for name in asdict(Settings())})

    # --- model and data
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(settings.seed)
    tokenizer = build_tokenizer(settings)
    model = build_model(settings, tokenizer)
    optimizers = build_optimizers(model, settings)
    data = batches(tokenizer, settings)
    start, n_tokens, spent, log = 0, 0, 0.0, []
    if arguments.resume:
        state = torch.load(arguments.resume, weights_only=True)
        model.load_state_dict(state["model"])
        for optimizer, kept in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(kept)
        start, n_tokens, spent, log = state["step"], state["n_tokens"], state["seconds"], state["log"]
        for _ in range(start):
            next(data)
    n_parameters = sum(p.numel() for p in model.parameters())
    packages = {name: version(name) for name in ("torch", "transformers", "tokenizers", "safetensors")}
    head = {
        "event": "start",
        "settings": asdict(settings),
        "threads": arguments.threads,
        "n_parameters": n_parameters,
        "packages": packages,
        "python": platform.python_version(),
    }
    log.append(head | {"event": "resume", "step": start} if log else head)
    print(json.dumps(head), flush=True)

    # --- train
    def note(row: dict[str, Any]) -> None:
        log.append(row)
        print(json.dumps(row), flush=True)

    stop: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: stop.append(number))
    model.train()
    began, running = time.monotonic() - spent, 0.0
    step = start
    for step in range(start + 1, settings.steps + 1):
        ids, counted = next(data)
        rate = learning_rate(step - 1, settings)
        loss = answer_loss(model, ids, counted)
        model.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
        n_tokens += int(counted.numel())
        running += loss.item()
        if step % 50 == 0:
            note(
                {
                    "step": step,
                    "loss": round(running / 50, 4),
                    "learning_rate": round(rate, 6),
                    "n_tokens": n_tokens,
                    "seconds": round(time.monotonic() - began, 1),
                }
            )
            if not math.isfinite(running):
                raise SystemExit("The loss is no number any more; lower --learning-rate.")
            running = 0.0
        if step % arguments.every == 0 and step < settings.steps and arguments.checkpoint:
            note({"step": step, "held_out": measure(model, tokenizer, n_prompts=100, n=1, seed=7)})
            arguments.checkpoint.parent.mkdir(parents=True, exist_ok=True)
            torch.save(
                {
                    "model": model.state_dict(),
                    "optimizers": [o.state_dict() for o in optimizers],
                    "step": step,
                    "n_tokens": n_tokens,
                    "seconds": time.monotonic() - began,
                    "log": log,
                },
                arguments.checkpoint,
            )
        if stop:
            break

    # --- save, and measure what was saved: bfloat16 rounds
    sha256 = save_model(model, tokenizer, arguments.out)
    saved = LlamaForCausalLM.from_pretrained(arguments.out, dtype=torch.float32)
    note(
        {
            "event": "end",
            "step": step,
            "seconds": round(time.monotonic() - began, 1),
            "n_tokens": n_tokens,
            "held_out": measure(saved, tokenizer, n_prompts=300, n=2, seed=11),
            "weights_sha256": sha256,
        }
    )
    (arguments.out / "training_log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in log))
    (arguments.out / "README.md").write_text(model_card(log))


if __name__ == "__main__":
    main()
