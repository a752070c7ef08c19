"""What a training run is asked to do, frozen: one spec per method, and the presets that fill one in.

Plain pydantic, no Django and no torch, so a recipe, a form and a person with a shell all read the same file. Every
derived value says where it comes from. A new method is one spec class (in ``RunSpec`` too), one preset and
one row in ``METHODS``.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from core.ids import canonical_json, sha256_hex

Effort = Literal["smoke", "small", "full"]
EFFORTS: tuple[Effort, ...] = get_args(Effort)
TINY_PARAMETERS = 100_000_000  # below it the starter model's settings hold; above it those of the literature
SMOKE_STEPS = 8
SMALL_ROWS = 2_000
BY_HAND = "set by hand"
ROW_FIGURES = ("margin", "weight", "vote_share", "n_votes")  # columns of a frozen row beside its texts
# How a recipe ends: done, failed (the last event says why), no spec, cancelled, directory held by another trainer.
EXIT_DONE, EXIT_FAILED, EXIT_BAD_SPEC, EXIT_CANCELLED, EXIT_LOCKED = 0, 1, 2, 3, 75

# The names under which recipes report figures, in the order in which pages show them.
METRICS: Mapping[str, str] = {
    "loss": "Loss",
    "heldout_loss": "Loss, held out",
    "train_accuracy": "Accuracy on the batch being trained",
    "heldout_accuracy": "Accuracy on held-out pairs",
    "margin": "Margin",
    "heldout_margin": "Margin, held out",
    "chosen_reward": "Reward of chosen answers",
    "rejected_reward": "Reward of rejected answers",
    "learning_rate": "Learning rate",
    "grad_norm": "Gradient norm",
}


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Lora(Frozen):
    """A low-rank adapter. ``target_modules`` is "all-linear" or module names separated by commas."""

    r: int = Field(16, ge=1, le=512)
    alpha: int = Field(32, ge=1, le=2048)
    dropout: float = Field(0.0, ge=0, lt=1)
    target_modules: str = "all-linear"


class Optimisation(Frozen):
    """What every method has: how long, how fast, how much at once."""

    learning_rate: float = Field(gt=0, le=1)
    epochs: float = Field(gt=0, le=100)
    max_steps: int = Field(0, ge=0, description="0: as many as the epochs need")
    batch_size: int = Field(ge=1, le=4096)
    gradient_accumulation: int = Field(1, ge=1, le=4096)
    max_length: int = Field(ge=16, le=1_000_000)
    warmup_share: float = Field(0.1, ge=0, lt=1)
    scheduler: Literal["cosine", "linear", "constant", "constant_with_warmup"] = "cosine"
    weight_decay: float = Field(0.0, ge=0, le=1)
    max_grad_norm: float = Field(1.0, gt=0)
    gradient_checkpointing: bool = False


class DpoSettings(Optimisation):
    beta: float = Field(0.1, gt=0, le=100)
    loss_type: Literal["sigmoid", "hinge", "ipo", "robust", "sigmoid_norm"] = "sigmoid"
    label_smoothing: float = Field(0.0, ge=0, lt=0.5)
    sft_weight: float = Field(
        0.0, ge=0, le=10, description="weight of the loss of plain fine-tuning on the chosen answers (Pang et al. 2024)"
    )


class RewardSettings(Optimisation):
    use_margin: bool = Field(True, description="use a row's margin, where it has one")
    center_rewards_coefficient: float = Field(0.0, ge=0, le=10)


class Spec(Frozen):
    """What every method's spec holds. Relative paths are relative to the home directory until ``located``."""

    version: Literal[1] = 1
    effort: Effort = "small"
    base_model: str = Field(min_length=1, description="directory (or hub id) of the full weights underneath")
    base_revision: str = ""
    adapter: str = Field("", description="the parent's adapter, which training continues")
    train_file: str = Field(min_length=1)
    test_file: str = ""
    output_dir: str = Field(min_length=1)
    seed: int = Field(0, ge=0, le=2**31 - 1)
    threads: int = Field(1, ge=1, le=1024)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    lora: Lora | None = Field(Lora(), description="null: all weights are trained")
    log_every: int = Field(1, ge=1)
    evaluate_every: int = Field(ge=1, description="steps between held-out figures and samples")
    save_every: int = Field(ge=1, description="steps between checkpoints")
    keep_checkpoints: int = Field(2, ge=1)
    n_samples: int = Field(3, ge=0, le=50)
    sample_tokens: int = Field(64, ge=1, le=4096)
    sources: Mapping[str, str] = Field(default_factory=dict, description="where each derived value comes from")

    @property
    def sha256(self) -> str:
        return sha256_hex(canonical_json(self.model_dump(mode="json")))

    def located(self, home: Path) -> Any:
        """The same spec with absolute paths, as a recipe needs it."""
        names = ("base_model", "adapter", "train_file", "test_file", "output_dir", "reward_model")
        given = {name: str(value) for name in names if (value := getattr(self, name, ""))}
        # A hub id looks like a relative path; it is left alone unless the home directory has such a path.
        return self.model_copy(
            update={
                name: str(home / value)
                for name, value in given.items()
                if not Path(value).is_absolute() and (name != "base_model" or (home / value).exists())
            }
        )

    def write(self, path: Path) -> None:
        path.write_bytes(json.dumps(self.model_dump(mode="json"), indent=2, ensure_ascii=False).encode() + b"\n")


class DpoSpec(Spec):
    method: Literal["dpo"] = "dpo"
    settings: DpoSettings

    @model_validator(mode="after")
    def _continues_with_an_adapter(self) -> DpoSpec:
        if self.adapter and not self.lora:
            raise ValueError("all weights are trained from full weights, not from an adapter; choose the base below it")
        return self


class RewardSpec(Spec):
    method: Literal["reward"] = "reward"
    settings: RewardSettings

    @model_validator(mode="after")
    def _from_full_weights(self) -> RewardSpec:
        if self.adapter:
            raise ValueError("a reward model is trained from full weights, not from a policy's adapter")
        return self


RunSpec = Annotated[DpoSpec | RewardSpec, Field(discriminator="method")]
_ADAPTER: TypeAdapter[DpoSpec | RewardSpec] = TypeAdapter(RunSpec)


@dataclass(frozen=True)
class Facts:
    """What a preset needs to know: the model's size and context, and how much there is to learn from."""

    n_parameters: int
    context_length: int
    n_train: int

    @property
    def is_tiny(self) -> bool:
        return self.n_parameters <= TINY_PARAMETERS


@dataclass(frozen=True)
class Derived:
    """A preset's answer: values, each with its source; names as in the spec (``lora`` is whole).

    other_rate  the learning rate where a person asks for the other tuning (full weights for an adapter, or back)
    """

    values: Mapping[str, tuple[Any, str]]
    other_rate: tuple[float, str]


@dataclass(frozen=True)
class Method:
    """One row of the registry: what a run form shows, which recipe runs, what it makes."""

    name: str
    label: str
    summary: str
    spec: type[Spec]
    settings: type[Optimisation]
    module: str
    produces: Literal["policy", "reward"]
    data: str
    preset: Callable[[Effort, Facts], Derived]
    uses: tuple[str, ...] = ()  # of ROW_FIGURES, those that the method's loss reads

    @property
    def uses_in_words(self) -> str:
        """What it makes of the figures of a row, for the run form."""
        ignored = [name for name in ROW_FIGURES if name not in self.uses]
        used = f"uses the {' and the '.join(self.uses)} of a row; " if self.uses else ""
        return f"{used}{', '.join(ignored)}: not used"


# --- presets --------------------------------------------------------------------------------------------------------

OWN = "measured on the starter model (docs/methods.md; docs/log.md)"


def _length(facts: Facts, cap: int) -> tuple[int, str]:
    return min(facts.context_length, cap), f"the model's context, at most {cap} tokens"


def _tiny_dpo(effort: Effort, facts: Facts) -> Derived:
    return Derived(
        {
            "lora": (Lora(r=16, alpha=32), OWN),
            "beta": (0.2, OWN),
            "label_smoothing": (0.2, f"{OWN}: people's labels are noisy, and smoothing keeps facts"),
            # Without it one run in some forgets where an answer ends (docs/log.md, entry 19).
            "sft_weight": (0.25, f"{OWN}: DPO alone may make both answers of a pair less likely"),
            "learning_rate": (4e-3, f"{OWN}; TRL's 1e-6 changes nothing on so small a model"),
            # More steps than about 140 undo what was learnt (docs/log.md, entry 6), however many pairs there are.
            "epochs": (
                3 if facts.n_train <= 250 else 2 if facts.n_train <= 400 else 1.5,
                f"{OWN}: 3 up to 250 pairs, 2 up to 400, 1.5 above, so about 90 steps",
            ),
            "batch_size": (8, OWN),
            "max_length": _length(facts, 512),
        },
        other_rate=(3e-4, f"{OWN}, all weights"),
    )


def _large_dpo(effort: Effort, facts: Facts) -> Derived:
    rate, full_rate = (1e-5, 1e-6) if facts.n_parameters < 1_000_000_000 else (5e-6, 5e-7)
    rank = 16 if effort != "full" else 64
    return Derived(
        {
            "lora": (
                Lora(r=rank, alpha=rank * 2),
                "alpha = 2 r, all linear layers: QLoRA (Dettmers et al. 2023), section 4",
            ),
            "beta": (0.1, "Rafailov et al. 2023, DPO, section 6"),
            "learning_rate": (rate, "alignment-handbook, zephyr-7b-beta DPO with QLoRA: 5e-6; twice that below 1 B"),
            "epochs": (1, "Zephyr (Tunstall et al. 2023): one epoch; more overfits"),
            "batch_size": (2, "fits a 24 GB card with 1,024 tokens"),
            "gradient_accumulation": (8, "16 pairs a step, as the alignment-handbook"),
            "max_length": _length(facts, 1024),
            "gradient_checkpointing": (True, "TRL's default: memory before speed"),
        },
        other_rate=(full_rate, "alignment-handbook, zephyr-7b-beta DPO, all weights: a tenth of the adapter's rate"),
    )


def _dpo_preset(effort: Effort, facts: Facts) -> Derived:
    return _tiny_dpo(effort, facts) if facts.is_tiny else _large_dpo(effort, facts)


def _tiny_reward(effort: Effort, facts: Facts) -> Derived:
    return Derived(
        {
            "lora": (None, f"{OWN}: all weights; the model is small"),
            "learning_rate": (2e-4, OWN),
            # Two at 480 pairs read better than five at 216 (docs/log.md, entry 19); three were measured from 600 on.
            "epochs": (
                5 if facts.n_train <= 300 else 2 if facts.n_train <= 550 else 3,
                f"{OWN}: 5 up to 300 pairs, 2 up to 550, 3 above",
            ),
            "batch_size": (8, OWN),
            "max_length": _length(facts, 512),
        },
        other_rate=(2e-3, "ten times the rate for all weights"),
    )


def _large_reward(effort: Effort, facts: Facts) -> Derived:
    return Derived(
        {
            "lora": (Lora(r=32, alpha=16), "TRL's reward modelling example"),
            "learning_rate": (1e-4, "TRL's reward modelling example, LoRA"),
            "epochs": (1, "InstructGPT (Ouyang et al. 2022) and Llama 2: one epoch; more overfits"),
            "batch_size": (4, "fits a 24 GB card with 1,024 tokens"),
            "gradient_accumulation": (4, "16 pairs a step"),
            "max_length": _length(facts, 1024),
            "center_rewards_coefficient": (0.01, "Eisenstein et al. 2023: keeps the scores around zero"),
            "gradient_checkpointing": (True, "TRL's default: memory before speed"),
        },
        other_rate=(1e-5, "TRL's reward modelling example, all weights"),
    )


def _reward_preset(effort: Effort, facts: Facts) -> Derived:
    return _tiny_reward(effort, facts) if facts.is_tiny else _large_reward(effort, facts)


METHODS: Mapping[str, Method] = {
    method.name: method
    for method in (
        Method(
            name="dpo",
            label="DPO",
            summary="Trains the policy on the pairs directly, with its parent as the reference.",
            spec=DpoSpec,
            settings=DpoSettings,
            module="training.recipes.dpo",
            produces="policy",
            data="preference",
            preset=_dpo_preset,
        ),
        Method(
            name="reward",
            label="Reward model",
            summary="Learns to score answers as people do; used to evaluate, to pick the best of n and to steer RLHF.",
            spec=RewardSpec,
            settings=RewardSettings,
            module="training.recipes.reward",
            produces="reward",
            data="preference",
            preset=_reward_preset,
            uses=("margin",),
        ),
    )
}


# --- reading and deriving -------------------------------------------------------------------------------------------


def method_named(name: str) -> Method:
    """Raises ValueError with a sentence for a method that there is none of."""
    if name not in METHODS:
        raise ValueError(f"There is no method {name!r}; there are {', '.join(METHODS)}.")
    return METHODS[name]


def parse_spec(value: Mapping[str, Any]) -> DpoSpec | RewardSpec:
    return _ADAPTER.validate_python(dict(value))


def read_spec(path: Path) -> DpoSpec | RewardSpec:
    return _ADAPTER.validate_json(path.read_bytes())


def n_steps(settings: Optimisation, n_train: int) -> int:
    """How many optimiser steps a run takes."""
    if settings.max_steps:
        return settings.max_steps
    batches = math.ceil(n_train / settings.batch_size)
    return max(1, math.ceil(max(1, math.ceil(batches / settings.gradient_accumulation)) * settings.epochs))


def derive(
    method: str,
    effort: Effort,
    *,
    n_parameters: int,
    context_length: int,
    n_train: int,
    base_model: str,
    train_file: str,
    output_dir: str,
    base_revision: str = "",
    adapter: str = "",
    test_file: str = "",
    seed: int = 0,
    threads: int = 1,
    overrides: Mapping[str, Any] | None = None,
) -> DpoSpec | RewardSpec:
    """The whole spec for a model of this size and this many rows; ``overrides`` wins, and is recorded as set by hand.

    Names in ``overrides`` are those of the settings, of ``lora`` (r, alpha, dropout, target_modules), ``tuning``
    ("lora" or "full") and of the spec itself (log_every, save_every, ...).
    Raises ValueError with a sentence for an unknown name or a value out of range.
    """
    chosen = method_named(method)
    facts = Facts(n_parameters, context_length, n_train)
    preset = chosen.preset(effort, facts)
    values = dict(preset.values)
    tuning = (overrides or {}).get("tuning")
    if tuning in ("lora", "full") and (tuning == "lora") != (values["lora"][0] is not None):
        values["learning_rate"] = preset.other_rate
    if adapter:
        values["lora"] = (values["lora"][0] or Lora(), "rank and layers are those of the adapter that is continued")
    _apply(values, overrides or {}, chosen)
    settings = {name: value for name, (value, _) in values.items() if name in chosen.settings.model_fields}
    _limit(settings, values, effort, facts)
    try:
        steps = n_steps(chosen.settings(**settings), max(1, n_train))
        values.setdefault(
            "evaluate_every", (max(1, steps // 6), "six times a run: held-out figures cost forward passes")
        )
        values.setdefault("save_every", (max(1, steps // 10), "ten times a run: a kill costs a tenth at most"))
        rest = {name: value for name, (value, _) in values.items() if name not in chosen.settings.model_fields}
        return parse_spec(
            {
                **rest,
                "method": method,
                "effort": effort,
                "base_model": base_model,
                "base_revision": base_revision,
                "adapter": adapter,
                "train_file": train_file,
                "test_file": test_file,
                "output_dir": output_dir,
                "seed": seed,
                "threads": threads,
                "settings": settings,
                "sources": {name: source for name, (_, source) in sorted(values.items())},
            }
        )
    except ValidationError as problem:
        raise ValueError(sentence_of(problem)) from None


def _apply(values: dict[str, tuple[Any, str]], overrides: Mapping[str, Any], method: Method) -> None:
    given = dict(overrides)
    tuning = given.pop("tuning", None)
    if tuning not in (None, "lora", "full"):
        raise ValueError("tuning is lora or full.")
    if tuning == "full":
        values["lora"] = (None, BY_HAND)
    elif tuning == "lora" and values["lora"][0] is None:
        values["lora"] = (Lora(), BY_HAND)
    of_lora = {name: given.pop(name) for name in list(given) if name in Lora.model_fields}
    if of_lora:
        if values["lora"][0] is None:
            raise ValueError("A rank makes sense for an adapter only; set tuning to lora.")
        try:
            values["lora"] = (Lora(**{**values["lora"][0].model_dump(), **of_lora}), BY_HAND)
        except ValidationError as problem:
            raise ValueError(sentence_of(problem)) from None
    free = {"log_every", "evaluate_every", "save_every", "keep_checkpoints", "n_samples", "sample_tokens", "device"}
    for name, value in given.items():
        if name.removeprefix("use_") in ROW_FIGURES and name not in method.settings.model_fields:
            figure = name.removeprefix("use_").replace("_", " ")
            raise ValueError(
                f"{method.label} ignores the {figure} of a row: its loss counts every pair alike. Leave {name} out, or "
                "keep weak and thin pairs out of the dataset when you freeze it."
            )
        if name not in method.settings.model_fields and name not in free:
            raise ValueError(f"There is no setting {name!r} for {method.label}.")
        values[name] = (value, BY_HAND)


def _limit(settings: dict[str, Any], values: dict[str, tuple[Any, str]], effort: Effort, facts: Facts) -> None:
    """Cap a run's length by its effort, unless its length was set by hand."""
    if any(values.get(name, ("", ""))[1] == BY_HAND for name in ("max_steps", "epochs")) or effort == "full":
        return
    if effort == "smoke":
        settings["max_steps"], values["max_steps"] = SMOKE_STEPS, (SMOKE_STEPS, "smoke test: does it run at all?")
    elif facts.n_train > SMALL_ROWS:
        a_step = settings["batch_size"] * settings.get("gradient_accumulation", 1)
        cap = math.ceil(SMALL_ROWS * settings["epochs"] / a_step)
        settings["max_steps"], values["max_steps"] = cap, (cap, f"small: the steps that {SMALL_ROWS} rows take")


def sentence_of(problem: ValidationError) -> str:
    """The first thing that is wrong, for a person."""
    error = problem.errors()[0]
    name = ".".join(str(part) for part in error["loc"] if part not in METHODS) or "spec"
    return f"{name}: {error['msg'].removeprefix('Value error, ')}."


def command_for(spec: Spec, spec_file: str) -> list[str]:
    """What repeats the run by hand, from the project's root directory."""
    return ["python", "-m", METHODS[getattr(spec, "method")].module, spec_file]  # noqa: B009 (the union's members have it)


# --- by hand: python -m training.specs dpo --base-model DIR --train-file F --output-dir OUT > spec.json -------------


def _main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training.specs", description="Write the spec of a run from its preset."
    )
    parser.add_argument("method", choices=list(METHODS))
    parser.add_argument("--effort", choices=EFFORTS, default="small")
    for name in ("base-model", "train-file", "output-dir"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("adapter", "test-file"):
        parser.add_argument(f"--{name}", default="")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="any setting, e.g. --set beta=0.3"
    )
    given = parser.parse_args(arguments)
    try:
        n_parameters, context_length = _size_of(Path(given.base_model))
        with open(given.train_file, "rb") as file:
            n_train = sum(1 for line in file if line.strip())
        spec = derive(
            given.method,
            given.effort,
            n_parameters=n_parameters,
            context_length=context_length,
            n_train=n_train,
            base_model=str(Path(given.base_model).absolute()),
            adapter=given.adapter and str(Path(given.adapter).absolute()),
            train_file=str(Path(given.train_file).absolute()),
            test_file=given.test_file and str(Path(given.test_file).absolute()),
            output_dir=str(Path(given.output_dir).absolute()),
            seed=given.seed,
            threads=given.threads,
            overrides=dict(_assignment(text) for text in given.set),
        )
    except (ValueError, OSError) as problem:
        print(problem, file=sys.stderr)
        return 2
    print(json.dumps(spec.model_dump(mode="json"), indent=2, ensure_ascii=False))
    return 0


def _assignment(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"--set wants NAME=VALUE, not {text!r}.")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def _size_of(directory: Path) -> tuple[int, int]:
    """Parameters and context of a model directory, from its config and its safetensors headers."""
    config = json.loads((directory / "config.json").read_bytes())
    n_parameters = 0
    for file in sorted(directory.glob("*.safetensors")):
        with file.open("rb") as weights:
            header = json.loads(weights.read(int.from_bytes(weights.read(8), "little")))
        n_parameters += sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
    return n_parameters, int(config.get("max_position_embeddings") or 1024)


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
