"""What a recipe makes of good and of bad data: figures that theory gives, sentences where it cannot go on."""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from config.env import ROOT
from tests.training.bench import Bench, losses
from tests.training.tiny import events_of, make_pairs, write_rows

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def policy(bench: Bench) -> Path:
    assert bench.go(bench.spec("policy", n_samples=2)) == 0, bench.output("policy")
    return bench.root / "policy"


@pytest.fixture(scope="module")
def scorer(bench: Bench) -> Path:
    assert bench.go(bench.spec("scorer", "reward", learning_rate=0.003, epochs=6)) == 0, bench.output("scorer")
    return bench.root / "scorer"


def metrics(directory: Path, name: str) -> dict[int, float]:
    return {e["step"]: e["values"][name] for e in events_of(directory) if name in e.get("values", {})}


def test_the_first_dpo_loss_is_ln_2_and_every_pair_is_a_tie(policy: Path) -> None:
    """Policy and reference are one before the first step (Rafailov et al. 2023, equation 7)."""
    assert losses(policy)[1] == pytest.approx(math.log(2), abs=1e-6)
    assert metrics(policy, "margin")[1] == pytest.approx(0, abs=1e-6)


def test_fine_tuning_on_the_chosen_answers_adds_its_loss_by_its_weight(bench: Bench) -> None:
    found = {}
    for weight in (0.5, 1.0):
        spec = bench.spec(f"sft-{weight}", max_steps=1, sft_weight=weight)
        assert bench.go(spec) == 0, bench.output(f"sft-{weight}")
        found[weight] = losses(bench.root / f"sft-{weight}")[1] - math.log(2)
    assert found[0.5] > 0.1
    assert found[1.0] == pytest.approx(2 * found[0.5], rel=1e-4)


def test_every_trainable_parameter_moved(bench: Bench, policy: Path) -> None:
    from safetensors.torch import load_file

    tensors = load_file(policy / "final" / "adapter_model.safetensors")
    assert len(tensors) == 14  # A and B of seven linear layers
    # B begins at zero; A begins at random and is drawn again here from the same seed.
    assert all(bool(value.any()) for name, value in tensors.items() if "lora_B" in name)
    first = bench.spec("one-step", max_steps=1, learning_rate=1e-12)
    assert bench.go(first) == 0, bench.output("one-step")
    start = load_file(bench.root / "one-step" / "final" / "adapter_model.safetensors")
    assert all(not bool((tensors[name] == start[name]).all()) for name in tensors)


def test_all_weights_of_a_reward_model_moved(bench: Bench, scorer: Path) -> None:
    from safetensors.torch import load_file

    before = load_file(bench.base / "model.safetensors")
    after = load_file(scorer / "final" / "model.safetensors")
    assert "score.weight" in after
    assert set(before) <= set(after)
    assert all(not bool((before[name] == after[name]).all()) for name in before)


def test_it_learns_what_the_held_out_pairs_say(policy: Path, scorer: Path) -> None:
    for directory in (policy, scorer):
        accuracy = metrics(directory, "heldout_accuracy")
        assert accuracy[max(accuracy)] == 1.0
        assert losses(directory)[max(losses(directory))] < 0.6


def test_the_held_out_figures_are_those_of_the_margins_handed_over(policy: Path) -> None:
    margins = json.loads((policy / "final" / "heldout.json").read_text())["margins"]
    assert len(margins) == 6
    last = max(metrics(policy, "heldout_margin"))
    assert metrics(policy, "heldout_margin")[last] == pytest.approx(sum(margins) / 6)
    expected = sum(math.log1p(math.exp(-margin)) for margin in margins) / 6
    assert metrics(policy, "heldout_loss")[last] == pytest.approx(expected)


def test_the_answers_own_log_probabilities_agree_with_the_trainers(bench: Bench) -> None:
    """Our held-out scoring and TRL's loss see the same tokens: on the same rows, after training, the same margins."""
    rows = make_pairs(4)
    data = str(write_rows(bench.root / "four.jsonl", rows))
    spec = json.loads(bench.spec("four", max_steps=3, batch_size=4, evaluate_every=1).read_text())
    spec |= {"train_file": data, "test_file": data}
    (bench.root / "four.json").write_text(json.dumps(spec))
    assert bench.go(bench.root / "four.json") == 0, bench.output("four")
    ours, theirs = metrics(bench.root / "four", "heldout_margin"), metrics(bench.root / "four", "margin")
    # TRL's figure at a step is from before its update, ours from after it.
    assert ours[1] == pytest.approx(theirs[2], rel=1e-4)
    assert ours[2] == pytest.approx(theirs[3], rel=1e-4)


def test_the_canary_says_how_the_policy_differs_from_its_parent(policy: Path) -> None:
    canary = json.loads((policy / "final" / "canary.json").read_text())
    assert len(canary["token_ids"]) == 11
    for dtype in ("float32", "bfloat16"):
        for who in ("policy", "parent"):
            shapes = [len(row) for row in canary["logprobs"][dtype][who]]
            assert shapes == [len(ids) - 1 for ids in canary["token_ids"]]
    assert canary["change"] > 0.01
    exact, served = canary["logprobs"]["float32"], canary["logprobs"]["bfloat16"]
    for who in ("policy", "parent"):
        pairs = [(a, b) for x, y in zip(exact[who], served[who], strict=True) for a, b in zip(x, y, strict=True)]
        assert sum(abs(a - b) for a, b in pairs) / len(pairs) < 0.01


def test_samples_show_the_parent_first_and_then_the_learner(policy: Path) -> None:
    samples = [e for e in events_of(policy) if e["kind"] == "sample"]
    assert [e["step"] for e in samples] == [0, 0, 5, 5, 10, 10, 14, 14]
    assert samples[0]["prompt"] == make_pairs(1, offset=60)[0]["prompt"][0]["content"]


def test_what_is_handed_over_names_no_place_and_holds_no_pickle(bench: Bench, policy: Path, scorer: Path) -> None:
    for directory in (policy, scorer):
        for file in (directory / "final").iterdir():
            assert file.suffix in {".json", ".jinja", ".safetensors"}
            assert str(bench.root).encode() not in file.read_bytes()


def test_the_same_run_elsewhere_gives_the_same_bytes(bench: Bench, policy: Path) -> None:
    assert bench.go(bench.spec("elsewhere", n_samples=0)) == 0, bench.output("elsewhere")
    for name in ("adapter_model.safetensors", "adapter_config.json", "canary.json"):
        assert (bench.root / "elsewhere" / "final" / name).read_bytes() == (policy / "final" / name).read_bytes()


def fail(bench: Bench, name: str, train: list[Any], **overrides: Any) -> str:
    """The sentence with which a run on these rows fails; there must be no model."""
    data = bench.root / f"{name}.jsonl"
    data.write_text("".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in train))
    file = bench.spec(name, **overrides)
    spec = json.loads(file.read_text()) | {"train_file": str(data)}
    file.write_text(json.dumps(spec))
    assert bench.go(file) == 1, bench.output(name)
    assert not (bench.root / name / "final").exists()
    last = events_of(bench.root / name)[-1]
    assert last["kind"] == "failed"
    return str(last["error"])


def test_bad_data_ends_a_run_with_a_sentence_that_says_where(bench: Bench) -> None:
    assert fail(bench, "empty", []) == "The training set has no pairs; judge some more, then freeze the dataset again."
    same = [{**row, "rejected": row["chosen"]} for row in make_pairs(3)]
    assert fail(bench, "same", [*make_pairs(2), *same]).startswith("3 of 5 pairs of the training set have the same")
    assert fail(bench, "broken", [make_pairs(1)[0], "{not json\n"]).startswith("Line 2 of broken.jsonl is not JSON")
    assert fail(bench, "strings", [{"prompt": "a", "chosen": "b", "rejected": "c"}]).startswith(
        "Row 1 of the training set has no list of messages under 'prompt'"
    )
    long = [{**row, "prompt": [{"role": "user", "content": "word " * 300}]} for row in make_pairs(3)]
    assert fail(bench, "long", long).startswith("Every prompt of the training set is longer than 128 tokens")


def test_odd_data_is_said_and_trained_on(bench: Bench) -> None:
    rows = make_pairs(8)
    turned = {**rows[0], "chosen": rows[0]["rejected"], "rejected": rows[0]["chosen"]}
    long = {**rows[1], "prompt": [{"role": "user", "content": "word " * 300}]}
    data = write_rows(bench.root / "odd.jsonl", [*rows, rows[3], turned, long])
    file = bench.spec("odd", max_steps=2)
    file.write_text(json.dumps(json.loads(file.read_text()) | {"train_file": str(data), "test_file": ""}))
    assert bench.go(file) == 0, bench.output("odd")
    said = " ".join(e.get("message", "") for e in events_of(bench.root / "odd"))
    assert "1 training pairs stand in the set more than once." in said
    assert "1 training pairs also stand there the other way round" in said
    assert "1 training pairs left out: their prompt alone fills 128 tokens." in said
    assert "no held-out pairs" in said


def test_a_reward_model_scores_a_file_of_answers(bench: Bench, scorer: Path) -> None:
    rows = make_pairs(6, offset=60)
    asked = [
        {"id": f"{i}-{side}", "messages": row["prompt"], "answer": row[side][0]["content"]}
        for i, row in enumerate(rows)
        for side in ("chosen", "rejected")
    ]
    spec = {
        "reward_model": str(scorer / "final"),
        "input": str(write_rows(bench.root / "asked.jsonl", asked)),
        "output": str(bench.root / "scores.jsonl"),
    }
    (bench.root / "score.json").write_text(json.dumps(spec))
    command = [sys.executable, "-m", "training.recipes.score", str(bench.root / "score.json")]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    found = [json.loads(line) for line in (bench.root / "scores.jsonl").read_text().splitlines()]
    assert [row["id"] for row in found] == [row["id"] for row in asked]
    margins = [a["score"] - b["score"] for a, b in zip(found[::2], found[1::2], strict=True)]
    expected = json.loads((scorer / "final" / "heldout.json").read_text())["margins"]
    assert margins == pytest.approx(expected, abs=1e-4)
    assert all(margin > 0 for margin in margins)


def test_a_spec_that_is_none_is_refused_in_a_sentence(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text('{"method": "dpo", "settings": {"beta": -1}}')
    command = [sys.executable, "-m", "training.recipes.dpo", str(tmp_path / "spec.json")]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr.strip().count("\n") == 0
