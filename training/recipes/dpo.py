"""Direct preference optimisation (Rafailov et al. 2023) with TRL: the policy learns from the pairs, held to its parent.

    python -m training.recipes.dpo SPEC.json

An adapter is continued where the spec names one, so the base that vLLM serves never changes; the reference is then that
adapter as it was. Without one, a new adapter starts on the base (or all weights are trained, with ``lora: null``).
"""

from __future__ import annotations

import sys

from datasets import Dataset
from peft import PeftModel
from transformers import AutoModelForCausalLM, PrinterCallback
from trl import DPOConfig, DPOTrainer

from training.recipes import checkpoints, data, files, final, frame, loading, progress, scoring
from training.recipes.frame import Run
from training.specs import DpoSpec


def train(run: Run) -> None:
    spec = run.spec
    if not isinstance(spec, DpoSpec):
        raise frame.RecipeError("This spec is not one for DPO.")
    settings = spec.settings

    # --- data
    tokenizer = loading.load_tokenizer(spec)
    train_rows, held_out = data.training_pairs(run)
    train_rows = data.fitting(run, train_rows, tokenizer, settings.max_length, name="training")
    held_out = data.fitting(run, held_out, tokenizer, settings.max_length, name="held-out")
    columns = ("prompt", "chosen", "rejected")
    dataset = Dataset.from_list([{name: row[name] for name in columns} for row in train_rows])

    # --- model
    model = AutoModelForCausalLM.from_pretrained(spec.base_model, **loading.load_kwargs(spec))
    if spec.adapter:
        model = PeftModel.from_pretrained(model, spec.adapter, is_trainable=True)

    # --- trainer
    reporter = progress.Reporter(run)
    trainer = DPOTrainer(
        model=model,
        args=DPOConfig(
            **loading.trainer_settings(run, settings),
            beta=settings.beta,
            # Beside DPO's own loss, which also falls where both answers become less likely.
            loss_type=[settings.loss_type, *(["sft"] if settings.sft_weight else [])],
            loss_weights=[1.0, settings.sft_weight] if settings.sft_weight else None,
            label_smoothing=settings.label_smoothing,
            precompute_ref_log_probs=True,  # the reference is fixed: one pass before training, not one in each step
        ),
        train_dataset=dataset,
        processing_class=tokenizer,
        peft_config=loading.lora_config(spec.lora, task="CAUSAL_LM") if spec.lora and not spec.adapter else None,
        callbacks=[reporter],
    )
    trainer.remove_callback(PrinterCallback)
    policy = trainer.model

    # --- the parent's own words, before the first step: the policy still is its parent, also when this is a resume
    canary = final.canary_ids(tokenizer, held_out or train_rows)
    parent_canary = scoring.token_logprobs(policy, canary)
    parent_logps = scoring.answer_logprobs(policy, tokenizer, held_out, settings.max_length)

    def heldout_margins() -> list[float]:
        # beta * ((policy_chosen - parent_chosen) - (policy_rejected - parent_rejected)): the implicit reward's margin
        logps = scoring.answer_logprobs(policy, tokenizer, held_out, settings.max_length)  # noqa: F821
        return [
            settings.beta * ((chosen - parent_chosen) - (rejected - parent_rejected))
            for (chosen, rejected), (parent_chosen, parent_rejected) in zip(logps, parent_logps, strict=True)
        ]

    def evaluate() -> dict[str, float]:
        margins = heldout_margins()
        return {
            "heldout_loss": scoring.mean_softplus(margins),
            "heldout_accuracy": scoring.accuracy(margins),
            "heldout_margin": sum(margins) / len(margins),
        }

    prompts = data.sample_prompts(held_out or train_rows, spec.n_samples)
    reporter.evaluate = evaluate if held_out else None
    reporter.sample = lambda: scoring.greedy_answers(policy, tokenizer, prompts, spec.sample_tokens)  # noqa: F821

    # --- train
    checkpoints.train_to_the_end(run, trainer)

    # --- save
    if not run.is_main:
        return
    directory = final.save_final(run, policy, tokenizer)
    margins = heldout_margins() if held_out else []
    files.write_json(directory / "heldout.json", {"margins": margins})
    exact = {"policy": scoring.token_logprobs(policy, canary), "parent": parent_canary}
    del trainer, model, policy  # the closures above are done with it; what follows loads the saved files instead
    served = final.served_logprobs(spec, directory, canary)
    change = scoring.mean_abs_difference(exact["policy"], exact["parent"])
    if change == 0:
        run.log("Training changed nothing that the canary can see.")
    files.write_json(
        directory / "canary.json",
        {"version": 1, "token_ids": canary, "logprobs": {"float32": exact, "bfloat16": served}, "change": change},
    )
    final.finish(run, heldout_accuracy=scoring.accuracy(margins) if margins else None, change=change)


if __name__ == "__main__":
    sys.exit(frame.main(train))
