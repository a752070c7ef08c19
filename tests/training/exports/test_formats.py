"""Every format: exactly its columns, as many rows as a formula says, and what it says that it cannot carry."""

import json
import zipfile

import pytest

from tests.training.exports.world import exported, rows_of
from training.exports.formats import FORMATS
from training.exports.options import Options

pytestmark = pytest.mark.django_db

# Of the dataset's train side: 6 prompts with 2 votes (one of them a tie) and a ranking of 3; rows by vote.
N_PAIRS = 6 * 2 - 1 + 3
N_TEST_PAIRS = 2 * 2
COUNTS = {
    "trl-preference": N_PAIRS, "trl-preference-text": N_PAIRS, "trl-implicit": N_PAIRS, "hh": N_PAIRS,
    "trl-reward": N_PAIRS, "trl-reward-text": N_PAIRS, "openai-preference": N_PAIRS, "ultrafeedback": N_PAIRS,
    "trl-unpaired": 2 * N_PAIRS, "trl-unpaired-text": 2 * N_PAIRS, "sft-best": 7, "sft-best-text": 7, "sft-written": 6,
    "trl-prompts": 7, "trl-prompts-text": 7, "rankings": 7, "helpsteer3": 6, "arena": 6 * 2 + 3,
}  # fmt: skip
TABLES = [each for each in FORMATS if each.columns and each.containers != ("zip",)]


@pytest.mark.parametrize("each", TABLES, ids=lambda each: each.name)
def test_a_format_has_its_columns_and_its_count(dataset, tmp_path, each):
    for options in ({}, {"details": True, "models": True, "people": True}):
        rows = rows_of(exported(dataset, tmp_path, each.name, **options))
        names = [column.name for column in each.columns_for(Options(**options))]
        assert len(rows) == COUNTS[each.name]
        assert all(list(row) == names for row in rows)


def test_every_format_says_what_it_cannot_carry_and_has_a_count_here():
    assert {each.name for each in TABLES} == COUNTS.keys()
    assert all(each.cannot and each.reads and each.one_row for each in FORMATS)


@pytest.mark.parametrize(
    ("name", "n_rows"),
    [("trl-preference", N_TEST_PAIRS), ("arena", N_TEST_PAIRS), ("helpsteer3", 2), ("trl-prompts", 2)],
)
def test_the_held_out_side_is_asked_for_by_name(dataset, tmp_path, name, n_rows):
    held_out = {"6?", "7?"}
    path = exported(dataset, tmp_path, name, split="test")
    assert len(rows_of(path)) == n_rows
    assert all(any(mark in json.dumps(row) for mark in held_out) for row in rows_of(path))
    assert not any(mark in exported(dataset, tmp_path, name).read_text() for mark in held_out)


def test_plain_text_begins_with_the_same_prompt_on_both_sides(dataset, tmp_path):
    explicit = rows_of(exported(dataset, tmp_path, "trl-preference-text"))
    whole = rows_of(exported(dataset, tmp_path, "hh"))
    for row, both in zip(explicit, whole, strict=True):
        assert row["prompt"].endswith("\n\nAssistant:")
        assert (row["prompt"] + row["chosen"], row["prompt"] + row["rejected"]) == (both["chosen"], both["rejected"])


def test_a_chat_is_split_where_the_prompt_ends(dataset, tmp_path):
    explicit = rows_of(exported(dataset, tmp_path, "trl-preference"))
    for row, both in zip(explicit, rows_of(exported(dataset, tmp_path, "trl-reward")), strict=True):
        assert both["chosen"] == row["prompt"] + row["chosen"]
        assert both["rejected"] == row["prompt"] + row["rejected"]
        assert 0 <= both["margin"] <= 1


def test_openai_and_ultrafeedback_are_laid_out_to_the_letter(dataset, tmp_path):
    row = rows_of(exported(dataset, tmp_path, "openai-preference"))[0]
    assert list(row["input"]) == ["messages", "tools", "parallel_tool_calls"]
    assert [message["role"] for message in row["preferred_output"]] == ["assistant"]
    row = rows_of(exported(dataset, tmp_path, "ultrafeedback"))[0]
    assert row["messages"] == row["chosen"]
    assert row["chosen"][-2]["content"] == row["rejected"][-2]["content"] == row["prompt"]
    assert row["score_chosen"] + row["score_rejected"] == 1


def test_arena_battles_name_the_side_that_was_shown_first(dataset, tmp_path):
    battles = rows_of(exported(dataset, tmp_path, "arena", models=True, people=True))
    shown = [battle for battle in battles if battle["model_a"] == "One 7B"]
    assert len(shown) >= 6  # the first person saw the second answer first
    assert all(
        battle["winner"] == "model_b"
        for battle in shown
        if "tie" not in battle["winner"] and "Bad" in battle["conversation_a"][-1]["content"]
    )
    assert sum(battle["winner"] == "tie" for battle in battles) == 1


def test_helpsteer_scores_point_to_the_better_response(dataset, tmp_path):
    for row in rows_of(exported(dataset, tmp_path, "helpsteer3")):
        sign = -1 if row["response1"].startswith("Good") else 1
        scores = {item["score"] * sign for item in row["individual_preference"]}
        assert scores <= {2, 0}  # strength 2 of 3, and 2 where none was asked
        assert row["overall_preference"] * sign == (1 if 0 in scores else 2)
        assert any("=SUM(A1)" in item["reasoning"] for item in row["individual_preference"])


def test_rankings_keep_every_vote(dataset, tmp_path):
    rows = rows_of(exported(dataset, tmp_path, "rankings", people=True, models=True))
    (ranked,) = (row for row in rows if len(row["completions"]) == 3)
    ranks = dict(zip(ranked["completions"], ranked["rankings"][0]["ranks"], strict=True))
    assert ranks == {"best": 1, "middle": 2, "worst": 3}
    pair = next(row for row in rows if len(row["completions"]) == 2)
    assert len(pair["rankings"]) == 2
    scored = next(each for each in pair["rankings"] if each["scores"])
    assert sorted(filter(None, scored["scores"][0]["ratings"])) == [4]


@pytest.mark.parametrize("name", ["arena", "rankings", "whetstone", "sft-written"])
def test_people_and_models_are_numbers_unless_asked_for(dataset, tmp_path, name):
    """T082."""
    hidden, shown = (
        exported(dataset, tmp_path, name, **options).read_text() for options in ({}, {"models": True, "people": True})
    )
    assert "human-" not in hidden
    assert "policy-v2" not in hidden and "One 7B" not in hidden
    assert "human-" in shown
    if name != "sft-written":
        assert "policy-v2" in shown and "One 7B" in shown
    if name == "arena":
        assert {f'"model-{n}"' in hidden and f'"person-{n}"' in hidden for n in (1, 2)} == {True}


def test_the_full_format_is_the_frozen_file_byte_for_byte(dataset, tmp_path):
    from training.snapshots import directory_of

    path = exported(dataset, tmp_path, "whetstone", models=True, people=True)
    assert path.read_bytes() == (directory_of(dataset) / "records.jsonl").read_bytes()


def test_llama_factorys_layout_reads_back_as_its_loader_does(dataset, tmp_path):
    """What LLaMA-Factory does with ``dataset_info.json``: file_name below its data directory, columns by name, roles in turn."""
    import datasets

    path = exported(dataset, tmp_path, "llama-factory", "zip")
    assert path.read_bytes() == exported(dataset, tmp_path, "llama-factory", "zip").read_bytes(), (
        "equal bytes each time"
    )
    with zipfile.ZipFile(path) as archive:
        assert {each.compress_type for each in archive.infolist()} == {zipfile.ZIP_STORED}
        archive.extractall(tmp_path / "data")
    info = json.loads((tmp_path / "data" / "dataset_info.json").read_text())
    assert info.keys() == {"whetstone_preference_train", "whetstone_kto_train", "whetstone_sft_train"}
    expected = {"preference": N_PAIRS, "kto": 2 * N_PAIRS, "sft": 7}
    for name, entry in info.items():
        assert entry["formatting"] == "sharegpt"
        rows = datasets.load_dataset(
            "json", data_files=str(tmp_path / "data" / entry["file_name"]), split="train", cache_dir=str(tmp_path / "c")
        )
        assert len(rows) == expected[name.split("_")[1]]
        assert set(entry["columns"].values()) == set(rows.column_names)
        for row in rows:
            turns = row[entry["columns"]["messages"]]
            assert [turn["from"] for turn in turns] == [("human", "gpt")[n % 2] for n in range(len(turns))]
            if entry.get("ranking"):
                assert len(turns) % 2 == 1
                assert row["chosen"]["from"] == row["rejected"]["from"] == "gpt"
            elif "kto_tag" in entry["columns"]:
                assert len(turns) % 2 == 0 and isinstance(row["kto_tag"], bool)
