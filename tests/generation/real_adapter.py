"""An adapter for a real base with a canary measured by transformers, as the trainer would leave it. Loads torch."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import json, sys
from pathlib import Path
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

base, out, scale, rank, seed = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
torch.manual_seed(seed)
tokenizer = AutoTokenizer.from_pretrained(base)
load = lambda: AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")
model = get_peft_model(load(), config, autocast_adapter_dtype=False)
for name, parameter in model.named_parameters():
    if "lora_B" in name and scale:
        torch.nn.init.normal_(parameter, std=scale)
model.save_pretrained(out)
tokenizer.save_pretrained(out)
(out / "README.md").unlink(missing_ok=True)
texts = [
    [{"role": "user", "content": q}, {"role": "assistant", "content": a}]
    for q, a in (("What is the capital of France?", "It is Paris."), ("How do I cook rice?", "First, wash the rice well."))
]
ids = [list(tokenizer.apply_chat_template(t, tokenize=True, return_dict=True)["input_ids"]) for t in texts]

def figures(model):
    with torch.no_grad():
        rows = [torch.log_softmax(model(torch.tensor([t])).logits.float(), -1)[0] for t in ids]
    return [[float(row[i - 1, t[i]]) for i in range(1, len(t))] for t, row in zip(ids, rows)]

served = {"policy": figures(PeftModel.from_pretrained(load(), out, autocast_adapter_dtype=False).eval()), "parent": figures(load().eval())}
canary = {"version": 1, "token_ids": ids, "logprobs": {"float32": served, "bfloat16": served}, "change": 1.0}
(out / "canary.json").write_text(json.dumps(canary))
"""


def write_adapter(base: Path, out: Path, *, scale: float = 0.05, rank: int = 16, seed: int = 1) -> Path:
    """Made in a process of its own: torch must not come into the one that the web tests run in."""
    out.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-c", SCRIPT, str(base), str(out), str(scale), str(rank), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    assert json.loads((out / "canary.json").read_text())["version"] == 1
    return out
