"""What is reported while a model learns."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from training.recipes.checkpoints import seal
from training.recipes.files import file_sha256
from training.recipes.frame import RecipeError, Run

# The trainers' own names -> ours (training.specs.METRICS).
METRIC_NAMES = {
    "loss": "loss",
    "learning_rate": "learning_rate",
    "grad_norm": "grad_norm",
    "rewards/accuracies": "train_accuracy",
    "rewards/margins": "margin",
    "rewards/chosen": "chosen_reward",
    "rewards/rejected": "rejected_reward",
    "accuracy": "train_accuracy",
    "margin": "margin",
}


class Reporter(TrainerCallback):
    """Turns the trainer's steps into events, stops at a step's end when asked to, and seals each checkpoint.

    evaluate   held-out figures by our names; called every ``evaluate_every`` steps and at the end
    sample     prompt and answer of a few held-out prompts; or None
    """

    def __init__(
        self,
        run: Run,
        *,
        evaluate: Callable[[], Mapping[str, float]] | None = None,
        sample: Callable[[], Iterable[tuple[str, str]]] | None = None,
    ) -> None:
        self.run, self.evaluate, self.sample = run, evaluate, sample
        self.data_sha256 = file_sha256(Path(run.spec.train_file))

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.run.emit("steps", step=state.global_step, total_steps=state.max_steps)
        if state.global_step == 0:
            self._show(0)

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any], **_: Any) -> None:
        values = {METRIC_NAMES[name]: float(value) for name, value in logs.items() if name in METRIC_NAMES}
        if "loss" not in values:
            return  # the summary at the end; it averages differently after a resume
        for name, value in values.items():
            if not math.isfinite(value):
                raise RecipeError(
                    f"The {name.replace('_', ' ')} became {value} at step {state.global_step}; "
                    "lower the learning rate or look for broken rows. No model was made."
                )
        self.run.emit("metric", step=state.global_step, total_steps=state.max_steps, values=values)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.run.cancel_asked and state.global_step < state.max_steps:
            control.should_training_stop = True
            control.should_save = True
            return
        if state.global_step % self.run.spec.evaluate_every == 0 or state.global_step >= state.max_steps:
            self._measure(state)
            self._show(state.global_step)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.run.is_main:
            seal(self.run, state.global_step, self.data_sha256)

    def _measure(self, state: Any) -> None:
        if self.evaluate:
            values = dict(self.evaluate())
            if all(math.isfinite(value) for value in values.values()):
                self.run.emit("metric", step=state.global_step, total_steps=state.max_steps, values=values)

    def _show(self, step: int) -> None:
        if self.sample:
            for prompt, answer in self.sample():
                self.run.emit("sample", step=step, prompt=prompt, answer=answer)
