"""Presets derive a whole spec, and say where each value comes from."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from config.env import ROOT
from tests.training.tiny import make_pairs, write_rows
from training.specs import EFFORTS, METHODS, DpoSpec, RewardSpec, derive, n_steps, parse_spec, read_spec

STARTER = ROOT / "starter" / "model"


def make_spec(method: str = "dpo", effort: Any = "small", **more: Any) -> Any:
    options: dict[str, Any] = {
        "n_parameters": 2_000_000,
        "context_length": 512,
        "n_train": 300,
        "base_model": "artifacts/models/abc",
        "train_file": "artifacts/datasets/def/train.jsonl",
        "output_dir": "runs/r1",
    }
    return derive(method, effort, **{**options, **more})


def test_a_small_model_gets_what_was_measured_on_the_starter_model() -> None:
    spec = make_spec()
    assert isinstance(spec, DpoSpec)
    assert (spec.settings.beta, spec.settings.learning_rate, spec.settings.epochs) == (0.2, 4e-3, 2)
    assert (spec.settings.label_smoothing, spec.settings.sft_weight) == (0.2, 0.25)
    assert spec.settings.batch_size == 8
    assert spec.lora is not None
    assert (spec.lora.r, spec.lora.alpha) == (16, 32)
    assert n_steps(spec.settings, 300) == 76
    assert (make_spec(n_train=200).settings.epochs, make_spec(n_train=480).settings.epochs) == (3, 1.5)


def test_a_large_model_gets_what_the_literature_says() -> None:
    spec = make_spec(n_parameters=7_000_000_000, context_length=32_768)
    assert (spec.settings.beta, spec.settings.learning_rate, spec.settings.max_length) == (0.1, 5e-6, 1024)
    assert spec.settings.batch_size * spec.settings.gradient_accumulation == 16
    full = make_spec(n_parameters=7_000_000_000, overrides={"tuning": "full"})
    assert full.lora is None
    assert full.settings.learning_rate == 5e-7


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("n_parameters", [1_000_000, 500_000_000, 8_000_000_000])
def test_every_derived_value_has_a_source(method: str, effort: str, n_parameters: int) -> None:
    spec = make_spec(method, effort, n_parameters=n_parameters)
    defaults = type(spec.settings)(**{n: getattr(spec.settings, n) for n in _required(type(spec.settings))})
    changed = [n for n in type(spec.settings).model_fields if getattr(spec.settings, n) != getattr(defaults, n)]
    assert set(changed) | {"learning_rate", "epochs", "batch_size", "max_length", "lora"} <= set(spec.sources)
    assert all(spec.sources.values())


def _required(model: Any) -> list[str]:
    return [name for name, field in model.model_fields.items() if field.is_required()]


def test_effort_changes_how_long_and_not_what() -> None:
    smoke, small, full = (make_spec(effort=effort, n_train=10_000) for effort in EFFORTS)
    steps = [n_steps(spec.settings, 10_000) for spec in (smoke, small, full)]
    assert steps == [8, 375, 1875]
    assert len({spec.settings.learning_rate for spec in (smoke, small, full)}) == 1


def test_what_is_set_by_hand_wins_and_is_recorded_as_that() -> None:
    spec = make_spec(effort="smoke", overrides={"beta": 0.3, "epochs": 4, "r": 8, "save_every": 5})
    assert (spec.settings.beta, spec.settings.epochs, spec.settings.max_steps) == (0.3, 4, 0)
    assert spec.lora is not None
    assert (spec.lora.r, spec.lora.alpha, spec.save_every) == (8, 32, 5)
    assert {name for name, source in spec.sources.items() if source == "set by hand"} == {
        "beta",
        "epochs",
        "lora",
        "save_every",
    }


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ({"betta": 1}, "There is no setting 'betta' for DPO"),
        ({"beta": -1}, "beta: Input should be greater than 0"),
        ({"learning_rate": "fast"}, "learning_rate: Input should be a valid number"),
        ({"tuning": "half"}, "tuning is lora or full"),
        ({"tuning": "full", "r": 8}, "set tuning to lora"),
        ({"r": 0}, "r: Input should be greater"),
        ({"output_dir": "/etc"}, "There is no setting 'output_dir'"),
        ({"train_file": "/etc/passwd"}, "There is no setting 'train_file'"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_in_a_sentence(overrides: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make_spec(overrides=overrides)


def test_a_spec_survives_the_way_through_json_and_keeps_its_hash(tmp_path: Path) -> None:
    spec = make_spec("reward", overrides={"center_rewards_coefficient": 0.01})
    assert isinstance(spec, RewardSpec)
    assert parse_spec(spec.model_dump(mode="json")) == spec
    spec.write(tmp_path / "spec.json")
    assert read_spec(tmp_path / "spec.json").sha256 == spec.sha256
    assert make_spec("reward").sha256 != spec.sha256


def test_located_makes_paths_absolute_and_leaves_a_hub_id_alone(tmp_path: Path) -> None:
    spec = make_spec().located(tmp_path)
    assert spec.train_file == f"{tmp_path}/artifacts/datasets/def/train.jsonl"
    assert spec.output_dir == f"{tmp_path}/runs/r1"
    assert spec.test_file == ""
    assert make_spec(base_model="owner/name@abc").located(tmp_path).base_model == "owner/name@abc"
    assert make_spec(base_model="/models/x").located(tmp_path).base_model == "/models/x"


def test_a_reward_model_never_starts_from_an_adapter_nor_full_weights_of_a_policy() -> None:
    with pytest.raises(ValueError, match="not from a policy's adapter"):
        make_spec("reward", adapter="artifacts/models/x")
    with pytest.raises(ValueError, match="not from an adapter"):
        make_spec(adapter="artifacts/models/x", overrides={"tuning": "full"})


def test_a_spec_is_made_by_hand_from_the_shell(tmp_path: Path) -> None:
    data = write_rows(tmp_path / "train.jsonl", make_pairs(20))
    command = [sys.executable, "-m", "training.specs", "dpo", "--base-model", str(STARTER), "--train-file", str(data)]
    more = ["--output-dir", str(tmp_path / "out"), "--set", "beta=0.4", "--effort", "smoke"]
    ended = subprocess.run([*command, *more], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    spec = parse_spec(json.loads(ended.stdout))
    assert isinstance(spec, DpoSpec)
    assert spec.settings.beta == 0.4
    assert spec.settings.max_length == 512
    wrong = subprocess.run([*command, *more, "--set", "betta=1"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert "There is no setting 'betta'" in wrong.stderr
