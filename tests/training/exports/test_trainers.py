"""Each format that is for a trainer in the hands of that trainer: one real step on the exported file, of a tiny model."""

from pathlib import Path
from typing import Any

import pytest

from tests.training.exports.world import exported
from tests.training.tiny import make_model

pytestmark = [pytest.mark.training, pytest.mark.django_db]

OPTIONS = {
    "max_steps": 1, "per_device_train_batch_size": 2, "use_cpu": True, "bf16": False, "gradient_checkpointing": False,
    "report_to": [], "save_strategy": "no", "disable_tqdm": True,
}  # fmt: skip

PREFERENCE = ("trl-preference", "trl-preference-text", "trl-implicit", "hh")


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def rows(dataset, tmp_path):
    """The rows of an export, as ``datasets`` reads them."""
    from datasets import load_dataset

    def read(name: str, container: str = "jsonl", **options: Any) -> Any:
        path = exported(dataset, tmp_path, name, container, **options)
        kind = "parquet" if container == "parquet" else "json"
        return load_dataset(kind, data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))

    return read


def tokenizer_of(model_dir: Path, *, with_template: bool = True) -> Any:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    if not with_template:
        tokenizer.chat_template = None
    return tokenizer


def policy(model_dir: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(model_dir)


@pytest.mark.parametrize(
    ("name", "container"),
    [
        ("trl-preference", "jsonl"),
        ("trl-preference", "parquet"),
        ("trl-preference-text", "jsonl"),
        ("trl-implicit", "jsonl"),
        ("hh", "jsonl"),
    ],
)
def test_dpo(rows, model_dir, tmp_path, name, container):
    from trl import DPOConfig, DPOTrainer

    is_text = name in ("trl-preference-text", "hh")
    trainer = DPOTrainer(
        policy(model_dir), args=DPOConfig(output_dir=str(tmp_path), max_length=128, **OPTIONS),
        train_dataset=rows(name, container, details=True), processing_class=tokenizer_of(model_dir, with_template=not is_text),
    )  # fmt: skip
    # Before the first step policy and reference are one: the loss is ln 2.
    assert trainer.train().training_loss == pytest.approx(0.6931, abs=1e-3)


@pytest.mark.parametrize("name", ["trl-reward", "trl-reward-text"])
def test_reward_with_margin(rows, model_dir, tmp_path, name):
    from transformers import AutoModelForSequenceClassification
    from trl import RewardConfig, RewardTrainer

    is_text = name == "trl-reward-text"
    losses = {}
    for kind in ("with", "without"):
        scorer = AutoModelForSequenceClassification.from_pretrained(model_dir, num_labels=1)
        scorer.score.weight.data.zero_()  # every score is 0, so that only the margin is in the loss
        tokenizer = tokenizer_of(model_dir, with_template=not is_text)
        scorer.config.pad_token_id = tokenizer.pad_token_id
        data = rows(name)
        assert any(margin > 0 for margin in data["margin"])
        data = data if kind == "with" else data.remove_columns("margin")
        options = {**OPTIONS, "per_device_train_batch_size": len(data)}
        trainer = RewardTrainer(
            scorer, args=RewardConfig(output_dir=str(tmp_path), max_length=128, seed=1, **options), train_dataset=data,
            processing_class=tokenizer,
        )  # fmt: skip
        losses[kind] = trainer.train().training_loss
    assert losses["without"] == pytest.approx(0.6931, abs=1e-3)
    assert losses["with"] > losses["without"] + 0.05, "the trainer reads the margin"


@pytest.mark.parametrize("name", ["trl-unpaired", "trl-unpaired-text"])
def test_kto(rows, model_dir, tmp_path, name):
    from trl import KTOConfig, KTOTrainer

    trainer = KTOTrainer(
        policy(model_dir), args=KTOConfig(output_dir=str(tmp_path), max_length=128, **OPTIONS), train_dataset=rows(name),
        processing_class=tokenizer_of(model_dir, with_template=name == "trl-unpaired"),
    )  # fmt: skip
    assert 0.3 < trainer.train().training_loss < 0.7


@pytest.mark.parametrize("name", ["sft-best", "sft-best-text", "sft-written"])
def test_sft(rows, model_dir, tmp_path, name):
    from trl import SFTConfig, SFTTrainer

    trainer = SFTTrainer(
        policy(model_dir), args=SFTConfig(output_dir=str(tmp_path), max_length=128, **OPTIONS), train_dataset=rows(name),
        processing_class=tokenizer_of(model_dir, with_template=name != "sft-best-text"),
    )  # fmt: skip
    assert 4 < trainer.train().training_loss < 8  # ln 320 = 5.8 for random weights


@pytest.mark.parametrize("method", ["GRPO", "RLOO"])
@pytest.mark.parametrize("name", ["trl-prompts", "trl-prompts-text"])
def test_grpo_and_rloo(rows, model_dir, tmp_path, name, method):
    import trl

    seen: list[Any] = []

    def reward(prompts: list[Any], completions: list[Any], **columns: Any) -> list[float]:
        seen.extend(zip(prompts, columns["tags"], strict=True))
        return [float(index) for index, _ in enumerate(completions)]

    config = getattr(trl, f"{method}Config")(
        output_dir=str(tmp_path), num_generations=2, max_completion_length=8, **OPTIONS
    )
    trainer = getattr(trl, f"{method}Trainer")(
        policy(model_dir), reward_funcs=reward, args=config, train_dataset=rows(name, details=True),
        processing_class=tokenizer_of(model_dir, with_template=name == "trl-prompts"),
    )  # fmt: skip
    trainer.train()
    prompt, tags = seen[0]
    assert tags in (["qa"], [])
    assert isinstance(prompt, str if name.endswith("text") else list)
