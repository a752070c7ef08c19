"""Out, in, and out again: what a format carries comes back, and what it cannot carry is what its entry says.

x is a campaign of our own votes; the second export is made in a project that knows nothing but the first one's file.
"""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from accounts.models import Project
from annotation.models import Campaign, Judgement
from annotation.votes import judged
from core.ids import group_sha256, split_for
from generation.models import Candidate, Prompt, PromptSet
from generation.prompt_importing import run_import
from generation.prompts import start_import
from tests.annotation.votes import import_votes, row, vote
from tests.training.judged import (
    judge,
    make_annotator,
    make_answer,
    make_arm,
    make_campaign,
    make_project,
    make_task,
)
from training.exports.formats import FORMATS
from training.exports.job import file_of, run_export, start_export
from training.formats import records
from training.freezing import run_freeze, start_freeze
from training.models import Snapshot

pytestmark = pytest.mark.django_db
ODD = [
    "CR\r\nLF",
    "U+2028 \u2028 inside",
    "\u202eright to left\u202c",
    'tab\tand \\N and "quotes"',
    "emoji \U0001f468\u200d\U0001f469\u200d\U0001f467",
    " space before",
]
SELECTION = {"with_unblinded": True}
LOSSLESS = (
    "trl-preference",
    "trl-preference-text",
    "trl-implicit",
    "hh",
    "trl-reward",
    "trl-reward-text",
    "openai-preference",
)
UNPAIRED = {"unpaired": True}
FULL_OPTIONS = {"models": True, "people": True}


TRIED: set[str] = set()


def tries(*names: str) -> pytest.MarkDecorator:
    """A test of these formats. It alone says that they are tried: a test that is deleted is missed below."""
    TRIED.update(names)
    return pytest.mark.parametrize("name", names)


@pytest.fixture(autouse=True)
def _no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.jobs._send", lambda job: None)


def prompts() -> Iterator[str]:
    """Prompts that lie on the side of training by their own hash, so that they do so wherever they come in."""
    number = 0
    while True:
        text = f"Question {number}? {ODD[number % len(ODD)]}"
        if split_for(group_sha256(text)) == "train":
            yield text
        number += 1


def rows(n: int = 12) -> list[dict[str, Any]]:
    found = []
    for number, text in zip(range(n), prompts(), strict=False):
        odd = ODD[(number + 1) % len(ODD)]
        answers = [
            {"model": f"M{number % 3}", "text": f"{number} first {odd}"},
            {"model": "N", "text": f"second {odd} {number}"},
        ]
        prompt: Any = text
        if number % 3 == 1:
            prompt = [
                {"role": "system", "content": "Be brief."}, {"role": "user", "content": text},
                {"role": "assistant", "content": f"Well. {odd}"}, {"role": "user", "content": "And then?"},
            ]  # fmt: skip
        time = f"2026-01-02T03:04:{number:02}Z"
        votes = [
            vote(
                "7",
                "ab"[number % 2],
                order=["ab", "ba"][number % 2],
                strength=1 + number % 3,
                time=time,
                vote_id=f"v{number}",
                **({"better_answer": f"{odd}, better"} if number % 5 == 1 else {}),
            )
        ]
        if number % 4 == 2:
            votes = [
                vote(
                    "8", ["tie", "both_good", "both_bad"][number // 4 % 3], order="ab", time=time, vote_id=f"v{number}"
                )
            ]
        found.append(row(number, prompt=prompt, answers=answers, votes=votes, id=f"t{number}", **details_of(number)))
    return found


def details_of(number: int) -> dict[str, Any]:
    return {"tags": ["odd", "even, too"][: number % 3], "reference": f"Reference {number}" if number % 2 else ""}


def frozen(project: Project, name: str = "x", **options: Any) -> Snapshot:
    campaigns = list(Campaign.objects.filter(project=project).order_by("pk"))
    snapshot = start_freeze(project=project, name=name, campaigns=campaigns, selection=SELECTION, by=None, **options)
    run_freeze(snapshot.pk)
    snapshot.refresh_from_db()
    assert snapshot.status == "succeeded", snapshot.error
    return snapshot


def exported(snapshot: Snapshot, name: str, container: str = "", **options: Any) -> Path:
    chosen = next(each for each in FORMATS if each.name == name)
    job = start_export(
        snapshot=snapshot, file_format=name, container=container or chosen.containers[0], options=options, by=None
    )
    run_export(job.pk)
    job.refresh_from_db()
    assert job.status == "succeeded", job.error
    return file_of(job)


def lines_of(path: Path) -> list[str]:
    """The rows, whatever their order: it follows from where a prompt ends, which an implicit one does not say."""
    return sorted(path.read_text(encoding="utf-8").removesuffix("\n").split("\n"))


def brought(path: Path) -> Project:
    """A project that has only what the file says."""
    project = make_project()
    job = import_votes(project, path, name="again")
    assert job.status == "succeeded", (job.error, job.bad_rows[:3])
    return project


@pytest.fixture
def snapshot() -> Snapshot:
    project = make_project()
    job = import_votes(project, *rows())
    assert job.status == "succeeded", (job.error, job.bad_rows)
    return frozen(project)


@tries(*LOSSLESS)
def test_pairs_come_back_whole(snapshot: Snapshot, name: str) -> None:
    # T077
    first = exported(snapshot, name)
    second = exported(frozen(brought(first)), name)
    assert lines_of(first) == lines_of(second) and len(lines_of(first)) == 9


@pytest.mark.parametrize("container", ["jsonl.zst", "parquet", "csv"])
def test_every_container_comes_back_whole(snapshot: Snapshot, container: str) -> None:
    plain = exported(snapshot, "trl-reward", "jsonl")
    packed = exported(snapshot, "trl-reward", container)
    second = exported(frozen(brought(packed)), "trl-reward", "jsonl")
    assert lines_of(plain) == lines_of(second)


@tries("ultrafeedback")
def test_shares_of_votes_come_back_where_the_voters_were_of_one_mind(snapshot: Snapshot, name: str) -> None:
    first = exported(snapshot, name)
    second = exported(frozen(brought(first)), name)
    assert lines_of(first) == lines_of(second)
    assert not Prompt.objects.exclude(metadata={}).exists(), "scores that follow from the votes are no metadata"


@tries("trl-unpaired", "trl-unpaired-text")
def test_answers_judged_alone_come_back_without_their_pairs(snapshot: Snapshot, name: str) -> None:
    whole = frozen(snapshot.project, name="with ties", pair_policy=UNPAIRED)
    first = exported(whole, name)
    second = exported(frozen(brought(first), pair_policy=UNPAIRED), name)
    assert lines_of(first) == lines_of(second)
    assert len(lines_of(first)) == 2 * 9 + 2 * 2, "both answers of nine pairs, and of a pair both good and one both bad"


@pytest.mark.parametrize("options", [{}, {"models": True}], ids=["numbered", "models named"])
@tries("arena", "rankings", "helpsteer3")
def test_votes_come_back_whole(snapshot: Snapshot, name: str, options: dict[str, bool]) -> None:
    """Byte for byte, with people numbered: strength and ties, times, the side shown, what each format carries of them."""
    first = exported(snapshot, name, **options)
    second = exported(frozen(brought(first)), name, **options)
    assert lines_of(first) == lines_of(second) and len(lines_of(first)) == 12


def by_many() -> list[dict[str, Any]]:
    """Tasks of a dozen people, most of whom say the same at the same time; three tasks of each prompt, and rankings of three."""
    found: list[dict[str, Any]] = []
    for number, text in zip(range(5), prompts(), strict=False):
        answers = [{"model": f"M{(7 * number + n) % 5}", "text": f"{number} answer {n}"} for n in range(3)]
        for place, (one, other) in enumerate(((0, 1), (1, 2), (2, 0))):
            votes = [
                vote(
                    f"{person * 7 % 12}", "ab"[(person + number * place) % 3 == 0], order=["ab", "ba"][person % 2],
                    time="2026-01-02T03:04:05Z", vote_id=f"v{number}-{place}-{person}",
                    **({"comment": f"{person}, so"} if person % 5 == 1 else {}),
                )
                for person in range(9 + place)
            ]  # fmt: skip
            found.append(
                {"prompt": text, "answers": [answers[one], answers[other]], "votes": votes, "id": f"t{number}-{place}"}
            )
        ranks = [[1, 2, 3], [3, 1, 2], [1, 2, 3]]
        votes = [
            {
                "annotator": f"ranks-{11 - n}",
                "ranks": each,
                "time": "2026-01-02T03:04:06Z",
                "vote_id": f"r{number}-{n}",
                "order": "bca",
            }
            for n, each in enumerate(ranks)
        ]
        found.append({"prompt": text, "answers": answers, "votes": votes, "id": f"r{number}"})
    return found


@pytest.mark.parametrize("name", ["arena", "rankings", "helpsteer3", "whetstone"])
def test_the_votes_of_many_people_come_back_in_the_same_order(name: str) -> None:
    """To the byte and in every order of the pseudonyms, which each import draws anew; people who are numbered keep their numbers."""
    project = make_project()
    assert import_votes(project, *by_many()).status == "succeeded"
    whole = frozen(project)
    first = exported(whole, name)
    n_rows = {"arena": 5 * (9 + 10 + 11 + 3 * 3), "rankings": 5 * 4, "helpsteer3": 5 * 3, "whetstone": 5 * 4 + 1}[name]
    assert len(lines_of(first)) == n_rows
    for _ in range(2):
        second = exported(frozen(brought(first)), name)
        assert second.read_bytes() == first.read_bytes()


@pytest.mark.parametrize(("name", "key"), [("arena", "judge"), ("rankings", "annotator")])
def test_people_who_are_named_come_back_under_another_name_each(snapshot: Snapshot, name: str, key: str) -> None:
    first = exported(snapshot, name, **FULL_OPTIONS)
    project = brought(first)
    second = exported(frozen(project), name, **FULL_OPTIONS)
    renamed: dict[str, str] = {}
    for one, other in zip(*(map(json.loads, lines_by(path, name)) for path in (first, second)), strict=True):
        for was, now in zip(_people_in(one, key), _people_in(other, key), strict=True):
            assert renamed.setdefault(was.pop(key), now[key]) == now.pop(key)
        assert one == other
    assert len(renamed) == len(set(renamed.values())) == 2
    people = Judgement.objects.filter(assignment__task__campaign__project=project)
    assert set(people.values_list("assignment__annotator__pseudonym", flat=True)) == set(renamed.values())


def lines_by(path: Path, name: str) -> list[str]:
    """The rows by what stays of them, whoever is named in them."""
    return sorted(lines_of(path), key=lambda line: json.loads(line)["question_id" if name == "arena" else "task"])


def _people_in(row: dict[str, Any], key: str) -> list[dict[str, Any]]:
    return [row] if key in row else row["rankings"]


@tries("llama-factory")
def test_the_files_of_llama_factory_come_back(snapshot: Snapshot, name: str, tmp_path: Path) -> None:
    def preferences(of: Snapshot) -> Path:
        path = exported(of, name)
        with zipfile.ZipFile(path) as bundle:
            member = next(each for each in bundle.namelist() if "preference" in each)
            found = tmp_path / f"{of.pk}.jsonl"
            found.write_bytes(bundle.read(member))
        return found

    first = preferences(snapshot)
    second = preferences(frozen(brought(first)))
    assert lines_of(first) == lines_of(second) and len(lines_of(first)) == 9


@tries("sft-best", "sft-best-text", "sft-written")
def test_single_answers_come_in_as_answers_that_nobody_has_judged(snapshot: Snapshot, name: str) -> None:
    """Why they cannot come out again: no vote stands in the file. The conversations themselves are kept."""
    project = brought(exported(snapshot, name))
    assert not Campaign.objects.filter(project=project).exists()
    candidates = Candidate.objects.filter(prompt__set__project=project).select_related("prompt", "arm__model_version")
    assert {candidate.arm.model_version.kind for candidate in candidates} == {"outside"}
    found = [[*each.prompt.messages, {"role": "assistant", "content": each.text}] for each in candidates]
    origin = lines_of(exported(snapshot, "sft-written" if name == "sft-written" else "sft-best"))
    key = json.dumps
    assert sorted(found, key=key) == sorted((json.loads(line)["messages"] for line in origin), key=key)
    assert len(found) == (2 if name == "sft-written" else 9)


@pytest.mark.parametrize("container", ["jsonl", "jsonl.zst", "parquet", "csv"])
@tries("trl-prompts", "trl-prompts-text")
def test_prompts_come_back_and_go_out_again_once_they_are_judged(snapshot: Snapshot, name: str, container: str) -> None:
    first = exported(snapshot, name, container, details=True)
    job = start_import(project=make_project(), upload=first, filename=first.name, name="again", by=None)
    run_import(job.pk)
    job.refresh_from_db()
    assert (job.status, job.n_added) == ("succeeded", 12), (job.error, job.bad_rows[:3])
    _judge_all(job.set)
    second = exported(frozen(job.set.project), name, container, details=True)
    assert first.read_bytes() == second.read_bytes()


def _judge_all(prompt_set: PromptSet) -> None:
    """Two answers to each prompt, and somebody who prefers the first."""
    arm, person = make_arm(prompt_set.project), make_annotator(prompt_set.project)
    campaign = make_campaign(prompt_set.project)
    for prompt in prompt_set.prompts.all():
        judge(make_task(campaign, [make_answer(arm, prompt, text) for text in ("yes", "no")]), person, "A")


@tries("whetstone")
def test_the_full_format_loses_nothing(snapshot: Snapshot, name: str) -> None:
    first = exported(snapshot, name, **FULL_OPTIONS)
    again = frozen(brought(first))
    assert exported(again, name, **FULL_OPTIONS).read_bytes() == first.read_bytes()
    assert again.sha256 == snapshot.sha256, "and the dataset has the same rows"


def comes_back_whole(first: Snapshot, **options: Any) -> list[dict[str, Any]]:
    """The tasks of its full format, once they are known to come back to the byte, and the rows with the same hash."""
    path = exported(first, "whetstone", **FULL_OPTIONS)
    again = frozen(brought(path), **options)
    assert exported(again, "whetstone", **FULL_OPTIONS).read_bytes() == path.read_bytes()
    assert again.sha256 == first.sha256
    found = [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]
    return [each for each in found if isinstance(each["campaign"], str)]


def test_strengths_on_the_fine_scale_of_margins_come_back() -> None:
    pairs = [
        {"prompt": f"Margin {m}?", "chosen": "Yes", "rejected": "No", "margin": m} for m in (0.25, 1 / 3, 0.75, 1.0)
    ]
    project = make_project()
    assert import_votes(project, *pairs).status == "succeeded"
    tasks = comes_back_whole(frozen(project))
    assert sorted(task["votes"][0]["strength"] for task in tasks) == [3, 4, 9, 12]


@pytest.mark.parametrize("n_votes", [450, 30])
def test_a_task_of_many_votes_comes_back(n_votes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one line where that can be read, else as several, of which an import makes the one task again."""
    is_split = n_votes == 30
    comment = "long " * 4_000 if is_split else ""
    votes = [
        vote(n, "ab"[n % 3 == 0], comment=f"{comment}{n}", time="2026-01-02T03:04:05Z", vote_id=f"v{n}")
        for n in range(n_votes)
    ]
    if is_split:
        monkeypatch.setattr("training.formats.records.MAX_LINE_BYTES", 250_000)
    project = make_project()
    assert import_votes(project, *(row(n, votes=votes, id=f"t{n}") for n in (1, 2))).status == "succeeded"
    first = frozen(project)
    tasks = comes_back_whole(first)
    assert len(tasks) == (8 if is_split else 2)
    assert {task["id"] for task in tasks} == {"t1", "t2"} and sum(len(task["votes"]) for task in tasks) == 2 * n_votes
    hidden = exported(first, "whetstone")
    assert len(lines_of(hidden)) == 1 + len(tasks), "with names hidden, too, no line is too long"
    assert exported(frozen(brought(hidden)), "whetstone").read_bytes() == hidden.read_bytes()
    split = tasks[0]["split"].replace("holdout", "test")
    rankings = [json.loads(line)["rankings"] for line in lines_of(exported(first, "rankings", split=split))]
    assert {len(each) for each in rankings} == {n_votes}, "whole again in the other formats"


def test_a_line_holds_no_more_votes_than_an_import_reads() -> None:
    assert records.MAX_VOTES == judged.MAX_VOTES
    written = records.readable({"votes": list(range(10_001))}, lambda part: json.dumps(part).encode())
    parts = [json.loads(line)["votes"] for line in written]
    assert [len(part) for part in parts] == [5_000, 5_001] and [*parts[0], *parts[1]] == list(range(10_001))


def twin(id_: str = "", text: str = "Yes.", **more: Any) -> dict[str, Any]:
    return {"model": "A", "text": text, **({"id": id_} if id_ else {}), **more}


NO = {"model": "B", "text": "No."}
SAME = {"prompt": "Yes or no?", "split": "train"}


@pytest.mark.parametrize("choices", ["aa", "ab", "ba"])
def test_tasks_that_only_ids_tell_apart_come_back_as_two(choices: str) -> None:
    rows = [
        {**SAME, "answers": [twin(id_), NO], "votes": [vote("x", choice), vote("y", "a")]}
        for id_, choice in zip("12", choices, strict=True)
    ]
    project = make_project()
    assert import_votes(project, *rows).status == "succeeded"
    tasks = comes_back_whole(frozen(project))
    assert [sorted(answer.get("id", "") for answer in task["answers"]) for task in tasks] in (
        [["", "1"], ["", "2"]],
        [["", "2"], ["", "1"]],
    )


def test_answers_of_one_text_that_were_sampled_otherwise_stay_two() -> None:
    """Three tasks of a prompt: two that share an answer, and two whose answers look the same and have other seeds."""
    header = {"campaign": {"id": "c1", "name": "Sampled", "kind": "rank"}}
    others = [{"model": "B", "text": text} for text in ("No.", "Never.", "Perhaps.")]
    first, second = twin("7", seed=5), twin("8", seed=40, sampling={"temperature": 0.7})
    rows: list[dict[str, Any]] = [
        {**SAME, "campaign": "c1", "answers": answers, "votes": [vote(f"human-{who}", "b") for who in range(3)]}
        for answers in ([first, others[0]], [second, others[1]], [others[2], second])
    ]
    rows.append(
        {**SAME, "campaign": "c1", "answers": [second, first, NO], "votes": [{"ranks": [1, 2, 2], "order": "cab"}]}
    )
    project = make_project()
    assert import_votes(project, header, *rows).status == "succeeded"
    tasks = comes_back_whole(frozen(project))
    seeds = {(a.get("id"), a.get("seed")) for task in tasks for a in task["answers"] if a["text"] == "Yes."}
    assert seeds == {("1", 40), ("2", 5)}


def test_answers_that_look_the_same_in_one_task_are_told_apart_by_their_places() -> None:
    header = {"campaign": {"id": "c1", "name": "Same", "kind": "rank"}}
    votes = [{"annotator": "human-1", "ranks": [2, 3, 1], "order": "bca", "time": "2026-01-02T03:04:05Z"}]
    answers = [twin("x", sampling={"top_p": 0.5}), twin("y"), NO]
    both: dict[str, Any] = {"campaign": "c1", "answers": answers, "votes": votes}
    project = make_project()
    assert import_votes(project, header, *({**both, "prompt": f"Same {n}?"} for n in range(6))).status == "succeeded"
    tasks = comes_back_whole(frozen(project))
    assert {tuple(answer["id"] for answer in task["answers"]) for task in tasks} == {("1", "2", "3")}


def test_the_same_file_twice_needs_no_ids() -> None:
    project = make_project()
    for name in ("one", "two"):
        assert import_votes(project, *rows(3), name=name).status == "succeeded"
    assert not any("id" in answer for task in comes_back_whole(frozen(project)) for answer in task["answers"])


# ---- both sides of the split -----------------------------------------------------------------------------------------


@pytest.fixture
def two_sided() -> Snapshot:
    """Every second prompt is held out, whatever its hash says."""
    project = make_project()
    held_out = [{**each, "split": "holdout"} if number % 2 else each for number, each in enumerate(rows(16))]
    assert import_votes(project, *held_out).status == "succeeded"
    return frozen(project, pair_policy=UNPAIRED)


BY_PROMPT = ("trl-prompts", "trl-prompts-text")


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("name", [*LOSSLESS, "ultrafeedback", "trl-unpaired", "arena", "rankings", "helpsteer3"])
def test_a_side_comes_back_where_the_import_is_told_which_it_is(two_sided: Snapshot, name: str, split: str) -> None:
    first = exported(two_sided, name, split=split)
    project = make_project()
    job = import_votes(project, first, name="again", choices={"is_holdout_only": split == "test"})
    assert job.status == "succeeded", (job.error, job.bad_rows[:3])
    again = frozen(project, pair_policy=UNPAIRED)
    assert lines_of(exported(again, name, split=split)) == lines_of(first)
    other = "train" if split == "test" else "test"
    assert not again.counts["rows"][other]


@pytest.mark.parametrize("name", BY_PROMPT)
def test_prompts_that_are_held_out_come_back_so_where_the_import_is_told(two_sided: Snapshot, name: str) -> None:
    first = exported(two_sided, name, split="test", details=True)
    job = start_import(
        project=make_project(), upload=first, filename=first.name, name="again", by=None, is_holdout_only=True
    )
    run_import(job.pk)
    job.refresh_from_db()
    _judge_all(job.set)
    again = frozen(job.set.project)
    assert exported(again, name, split="test", details=True).read_bytes() == first.read_bytes()


def test_the_full_format_keeps_both_sides(two_sided: Snapshot) -> None:
    tasks = comes_back_whole(two_sided, pair_policy=UNPAIRED)
    assert [sum(task["split"] == side for task in tasks) for side in ("train", "holdout")] == [8, 8]


# ---- what cannot come back, as each format says ----------------------------------------------------------------------


def cannot(name: str) -> str:
    return "; ".join(next(each for each in FORMATS if each.name == name).cannot)


def test_every_format_with_sides_says_that_it_does_not_carry_them() -> None:
    assert all(("which side of the split" in cannot(each.name)) == each.has_split for each in FORMATS)


@pytest.fixture
def of_three() -> Snapshot:
    """Two of three people are for one answer, slightly and clearly."""
    header = {"campaign": {"id": "c1", "name": "Three", "strength_levels": 3}}
    votes = [vote("x", "a", strength=1), vote("y", "a", strength=3), vote("z", "b", strength=2)]
    project = make_project()
    assert import_votes(project, header, row(prompt=next(prompts()), campaign="c1", votes=votes)).status == "succeeded"
    return frozen(project)


def once_and_again(snapshot: Snapshot, name: str, **options: Any) -> tuple[list[Any], list[Any]]:
    first = exported(snapshot, name)
    second = exported(frozen(brought(first), **options), name)
    one, other = ([json.loads(line) for line in lines_of(path)] for path in (first, second))
    return one, other


def test_the_mean_of_margins_comes_back_as_none(of_three: Snapshot) -> None:
    (one,), (other,) = once_and_again(of_three, "trl-reward")
    assert (one.pop("margin"), other.pop("margin")) == (0.222222, 0.0) and one == other
    assert "twelfths" in cannot("trl-reward") and "twelfths" in cannot("trl-reward-text")


def test_shares_of_divided_votes_come_back_as_one_and_none(of_three: Snapshot) -> None:
    (one,), (other,) = once_and_again(of_three, "ultrafeedback")
    assert (one.pop("score_chosen"), one.pop("score_rejected")) == (0.666667, 0.333333)
    assert (other.pop("score_chosen"), other.pop("score_rejected")) == (1.0, 0.0) and one == other
    assert "shares of votes" in cannot("ultrafeedback")


def test_the_answers_of_a_ranking_come_back_once_each_and_the_middle_one_not_at_all() -> None:
    answers = [{"model": "M", "text": text} for text in ("best", "middle", "worst")]
    project = make_project()
    ranked = row(prompt=next(prompts()), answers=answers, votes=[{"annotator": "7", "ranks": [1, 2, 3]}])
    assert import_votes(project, ranked).status == "succeeded"
    one, other = once_and_again(frozen(project), "trl-unpaired", pair_policy=UNPAIRED)
    assert len(one) == 6
    assert {(each["completion"][0]["content"], each["label"]) for each in other} == {("best", True), ("worst", False)}
    assert len(other) == 2
    assert "how often an answer was in a pair" in cannot("trl-unpaired")


def test_two_votes_of_a_person_on_the_same_answers_are_refused_as_battles_where_they_differ() -> None:
    answers = [{"model": "M", "text": text} for text in ("best", "middle", "worst")]
    prompt = next(prompts())
    project = make_project()
    ranked = row(prompt=prompt, answers=answers, votes=[{"annotator": "7", "ranks": [1, 2, 3]}])
    paired = row(prompt=prompt, answers=answers[:2], votes=[vote("7", "b")])
    assert import_votes(project, ranked, paired).status == "succeeded"
    job = import_votes(make_project(), exported(frozen(project), "arena"), name="again")
    assert job.status == "failed" and "said something else" in job.bad_rows[0]["reason"]
    assert "second vote" in cannot("arena")


@pytest.mark.parametrize(("name", "n_rows"), [("rankings", 2), ("helpsteer3", 2)])
def test_tasks_whose_answers_read_the_same_come_back_as_one_without_their_models(name: str, n_rows: int) -> None:
    prompt = next(prompts())
    alike = [
        row(prompt=prompt, answers=[{"model": model, "text": "Yes."}, NO], votes=[vote(model)]) for model in ("A", "C")
    ]
    project = make_project()
    assert import_votes(project, *alike).status == "succeeded"
    one, (only,) = once_and_again(frozen(project), name)
    assert len(one) == n_rows
    assert len(only["rankings" if name == "rankings" else "individual_preference"]) == 2
    assert "read the same" in cannot(name)


def test_strengths_on_the_scale_of_margins_are_refused_in_rankings() -> None:
    project = make_project()
    pair = {"prompt": next(prompts()), "chosen": "Yes", "rejected": "No", "margin": 0.75}
    assert import_votes(project, pair).status == "succeeded"
    job = import_votes(make_project(), exported(frozen(project), "rankings"), name="again")
    assert job.status == "failed" and "from 1 to 4" in job.bad_rows[0]["reason"]
    assert "strengths above 4" in cannot("rankings")


def test_of_a_prompt_in_two_sets_the_full_format_brings_back_what_one_says() -> None:
    project = make_project()
    for name in ("one", "two"):
        each = row(prompt=next(prompts()), answers=[{"model": name, "text": "Yes."}, NO], tags=[name])
        assert import_votes(project, each, name=name).status == "succeeded"
    one, other = once_and_again(frozen(project), "whetstone")
    assert {tuple(line["tags"]) for line in one if "tags" in line} == {("one",), ("two",)}
    assert len({tuple(line["tags"]) for line in other if "tags" in line}) == 1
    assert "several sets" in cannot("whetstone")


def test_every_format_is_tried_here() -> None:
    assert {each.name for each in FORMATS} == TRIED
    assert all(each.back for each in FORMATS)
