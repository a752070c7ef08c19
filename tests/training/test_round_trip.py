"""Out, in, and out again: what a format carries comes back, and what it cannot carry is what its entry says.

x is a campaign of our own votes; the second export is made in a project that knows nothing but the first one's file.
"""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from annotation.models import Campaign, Judgement
from generation.models import Candidate, Prompt
from generation.prompt_importing import run_import
from generation.prompts import start_import
from tests.annotation.votes import import_votes, vote
from tests.training.judged import make_project
from tests.training.round_trip import (
    FULL_OPTIONS,
    LOSSLESS,
    UNPAIRED,
    brought,
    exported,
    frozen,
    judge_all,
    lines_of,
    prompts,
    rows,
)
from training.exports.formats import FORMATS
from training.models import Snapshot

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_broker")]


TRIED: set[str] = set()


def tries(*names: str) -> pytest.MarkDecorator:
    """A test of these formats. It alone says that they are tried: a test that is deleted is missed below."""
    TRIED.update(names)
    return pytest.mark.parametrize("name", names)


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
    judge_all(job.set)
    second = exported(frozen(job.set.project), name, container, details=True)
    assert first.read_bytes() == second.read_bytes()


@tries("whetstone")
def test_the_full_format_loses_nothing(snapshot: Snapshot, name: str) -> None:
    first = exported(snapshot, name, **FULL_OPTIONS)
    again = frozen(brought(first))
    assert exported(again, name, **FULL_OPTIONS).read_bytes() == first.read_bytes()
    assert again.sha256 == snapshot.sha256, "and the dataset has the same rows"


def test_every_format_is_tried_here() -> None:
    assert {each.name for each in FORMATS} == TRIED
    assert all(each.back for each in FORMATS)
