"""A frozen dataset in the hands of those that it is for: datasets reads it, TRL's own functions take its rows."""

import pytest

from tests.training.judged import (
    freeze,
    judge,
    make_annotator,
    make_answer,
    make_arm,
    make_campaign,
    make_project,
    make_prompt,
    make_set,
    make_task,
)
from tests.training.tiny import make_model
from training.formats.files import read_rows
from training.snapshots import directory_of

pytestmark = [pytest.mark.training, pytest.mark.django_db]

ODD = ["naïve 日本 🙂", "two\nlines\r\n", "\u2028 separators \x85", "<|im_end|> and {{ braces }}", "-0", "\u202eback"]


@pytest.fixture
def directory():
    project = make_project()
    prompts, arm, campaign = make_set(project), make_arm(project), make_campaign(project)
    for number, text in enumerate(ODD):
        messages = [{"role": "system", "content": f"Be brief. {text}"}, {"role": "user", "content": text}]
        prompt = make_prompt(prompts, text, messages=messages, split="holdout" if number == 0 else "train")
        task = make_task(campaign, [make_answer(arm, prompt, f"{word} {text}") for word in ("Good", "Bad")])
        judge(task, make_annotator(project), "A")
    return directory_of(freeze(project, [campaign]))


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_datasets_reads_every_row_back_byte_for_byte(directory, tmp_path, ending):
    from datasets import load_dataset

    files = {split: str(directory / f"{split}.{ending}") for split in ("train", "test")}
    kind = {"jsonl": "json", "parquet": "parquet"}[ending]
    loaded = load_dataset(kind, data_files=files, cache_dir=str(tmp_path))
    for split in ("train", "test"):
        assert loaded[split].to_list() == list(read_rows(directory / f"{split}.jsonl"))
    assert (loaded["train"].num_rows, loaded["test"].num_rows) == (5, 1)


def test_trl_knows_the_rows_as_conversational_preferences_with_an_explicit_prompt(directory, tmp_path):
    from transformers import AutoTokenizer
    from trl.data_utils import is_conversational, maybe_apply_chat_template, maybe_extract_prompt

    tokenizer = AutoTokenizer.from_pretrained(make_model(tmp_path / "model"))
    for row in read_rows(directory / "train.jsonl"):
        example = {name: row[name] for name in ("prompt", "chosen", "rejected")}
        assert is_conversational(example)
        assert maybe_extract_prompt(example) == example, "the prompt is explicit: there is nothing to take out"
        text = maybe_apply_chat_template(example, tokenizer)
        whole = tokenizer.apply_chat_template(row["prompt"] + row["chosen"], tokenize=False)
        assert text["prompt"] + text["chosen"] == whole
        assert text["prompt"].endswith("<|im_start|>assistant\n")
        assert row["rejected"][0]["content"] in text["rejected"]


def test_trls_dpo_and_reward_trainers_take_a_step_on_the_file_as_it_is(directory, tmp_path):
    from datasets import load_dataset
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
    from trl import DPOConfig, DPOTrainer, RewardConfig, RewardTrainer

    model_dir = make_model(tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    rows = load_dataset("json", data_files=str(directory / "train.jsonl"), cache_dir=str(tmp_path / "cache"))["train"]
    options = {
        "max_steps": 1, "per_device_train_batch_size": 2, "max_length": 128, "use_cpu": True, "bf16": False,
        "gradient_checkpointing": False, "report_to": [], "save_strategy": "no", "disable_tqdm": True,
    }  # fmt: skip
    policy = DPOTrainer(
        AutoModelForCausalLM.from_pretrained(model_dir), args=DPOConfig(output_dir=str(tmp_path / "dpo"), **options),
        train_dataset=rows, processing_class=tokenizer,
    )  # fmt: skip
    assert policy.train().training_loss == pytest.approx(0.6931, abs=1e-3)
    scorer = AutoModelForSequenceClassification.from_pretrained(model_dir, num_labels=1)
    scorer.config.pad_token_id = tokenizer.pad_token_id
    reward = RewardTrainer(
        scorer,
        args=RewardConfig(output_dir=str(tmp_path / "reward"), **options),
        train_dataset=rows,
        processing_class=tokenizer,
    )
    assert 0.3 < reward.train().training_loss < 1.5
