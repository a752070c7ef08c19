"""Models, tokenizers and the settings that TRL's trainers share."""

from __future__ import annotations

from typing import Any

import torch

from training.recipes.frame import RecipeError, Run, device_of
from training.specs import Lora, Spec


def load_kwargs(spec: Spec) -> dict[str, Any]:
    """Safetensors only and no code of the model's own, whatever the directory holds."""
    # A frozen base is held in bfloat16 on a GPU; what is trained is held in float32.
    dtype = torch.bfloat16 if spec.lora and device_of(spec).type == "cuda" else torch.float32
    revision = {"revision": spec.base_revision} if spec.base_revision else {}
    return {"dtype": dtype, "use_safetensors": True, "trust_remote_code": False, **revision}


def load_tokenizer(spec: Spec) -> Any:
    from transformers import AutoTokenizer

    revision = {"revision": spec.base_revision} if spec.base_revision else {}
    tokenizer = AutoTokenizer.from_pretrained(spec.base_model, trust_remote_code=False, **revision)
    if not tokenizer.chat_template:
        raise RecipeError(
            "This model has no chat template, so prompts cannot be written for it; "
            "use an instruct model, or add chat_template.jinja."
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def lora_config(lora: Lora, *, task: str) -> Any:
    from peft import LoraConfig

    modules: str | list[str] = lora.target_modules
    if modules != "all-linear":
        modules = [name.strip() for name in lora.target_modules.split(",")]
    return LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=modules,
        task_type=task,
        modules_to_save=["score"] if task == "SEQ_CLS" else None,
    )


def trainer_settings(run: Run, settings: Any) -> dict[str, Any]:
    """What TRL's configs share. Held-out figures, samples and the order among checkpoints are ours (``Reporter``)."""
    spec = run.spec
    on_gpu = device_of(spec).type == "cuda"
    return {
        "output_dir": str(run.checkpoints),
        "per_device_train_batch_size": settings.batch_size,
        "gradient_accumulation_steps": settings.gradient_accumulation,
        "learning_rate": settings.learning_rate,
        "num_train_epochs": settings.epochs,
        "max_steps": settings.max_steps or -1,
        "max_length": settings.max_length,
        "warmup_steps": settings.warmup_share,  # below 1 it is a share of the steps
        "lr_scheduler_type": settings.scheduler,
        "weight_decay": settings.weight_decay,
        "max_grad_norm": settings.max_grad_norm,
        "gradient_checkpointing": settings.gradient_checkpointing,
        "seed": spec.seed,
        "data_seed": spec.seed,
        "use_cpu": not on_gpu,
        "bf16": on_gpu,
        "dataloader_pin_memory": on_gpu,
        "logging_steps": spec.log_every,
        # The filter would print the last finite loss in place of a NaN, and hide it.
        "logging_nan_inf_filter": False,
        "save_strategy": "steps",
        "save_steps": spec.save_every,
        # Ours: the trainer would delete the older checkpoint before the newer one is known to be complete.
        "save_total_limit": None,
        "eval_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
    }
