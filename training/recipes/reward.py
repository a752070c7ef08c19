"""A reward model (Bradley-Terry, as in Ouyang et al. 2022) with TRL: one number an answer, learnt from the pairs.

    python -m training.recipes.reward SPEC.json

The result is a sequence classifier with one label: all weights by default on a small model, an adapter on a large one.
A row's ``margin`` (Llama 2: the strength of the preference) is subtracted in the loss where the spec says so.
"""

from __future__ import annotations

import sys

from datasets import Dataset
from transformers import AutoModelForSequenceClassification, PrinterCallback
from trl import RewardConfig, RewardTrainer

from training.recipes import checkpoints, data, files, final, frame, loading, progress, scoring
from training.recipes.frame import Run
from training.recipes.score import scores
from training.specs import RewardSpec


def train(run: Run) -> None:
    spec = run.spec
    if not isinstance(spec, RewardSpec):
        raise frame.RecipeError("This spec is not one for a reward model.")
    settings = spec.settings

    # --- data
    tokenizer = loading.load_tokenizer(spec)
    train_rows, held_out = data.training_pairs(run)
    train_rows = data.fitting(run, train_rows, tokenizer, settings.max_length, name="training")
    held_out = data.fitting(run, held_out, tokenizer, settings.max_length, name="held-out")
    columns = ["prompt", "chosen", "rejected"]
    if settings.use_margin and all("margin" in row for row in train_rows):
        columns.append("margin")
    dataset = Dataset.from_list([{name: row[name] for name in columns} for row in train_rows])

    # --- model: the new head is random, drawn from the spec's seed
    model = AutoModelForSequenceClassification.from_pretrained(
        spec.base_model, num_labels=1, **loading.load_kwargs(spec)
    )
    model.config.pad_token_id = tokenizer.pad_token_id

    # --- trainer
    reporter = progress.Reporter(run)
    trainer = RewardTrainer(
        model=model,
        args=RewardConfig(
            **loading.trainer_settings(run, settings),
            center_rewards_coefficient=settings.center_rewards_coefficient or None,
        ),
        train_dataset=dataset,
        processing_class=tokenizer,
        peft_config=loading.lora_config(spec.lora, task="SEQ_CLS") if spec.lora else None,
        callbacks=[reporter],
    )
    trainer.remove_callback(PrinterCallback)
    if not len(trainer.train_dataset):
        raise frame.RecipeError(f"Every training pair is longer than {settings.max_length} tokens; raise max_length.")
    if n_long := len(train_rows) - len(trainer.train_dataset):
        run.log(f"{n_long} training pairs left out: longer than {settings.max_length} tokens.")
    scorer = trainer.model

    def heldout_margins() -> list[float]:
        asked = [(row["prompt"], row[side][0]["content"]) for row in held_out for side in ("chosen", "rejected")]
        found = scores(scorer, tokenizer, asked, settings.max_length)
        return [chosen - rejected for chosen, rejected in zip(found[::2], found[1::2], strict=True)]

    def evaluate() -> dict[str, float]:
        margins = heldout_margins()
        return {
            "heldout_loss": scoring.mean_softplus(margins),
            "heldout_accuracy": scoring.accuracy(margins),
            "heldout_margin": sum(margins) / len(margins),
        }

    reporter.evaluate = evaluate if held_out else None

    # --- train
    checkpoints.train_to_the_end(run, trainer)

    # --- save
    if not run.is_main:
        return
    directory = final.save_final(run, scorer, tokenizer)
    margins = heldout_margins() if held_out else []
    files.write_json(directory / "heldout.json", {"margins": margins})
    final.finish(run, heldout_accuracy=scoring.accuracy(margins) if margins else None)


if __name__ == "__main__":
    sys.exit(frame.main(train))
