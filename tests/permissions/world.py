"""One project with one of everything that an address can name, and a member for each role."""

import json
from datetime import timedelta
from types import SimpleNamespace

from django.utils import timezone

from accounts.invitations import invite
from accounts.models import ApiToken, Membership, Project, Role, User
from annotation import announcements, guidelines, questions, rulings
from annotation.assign import next_assignment
from annotation.judge import submit_judgement
from annotation.live import start_conversation
from annotation.models import Campaign, Flag, PracticeAnswer, VoteImport
from annotation.onboarding import Onboarding
from annotation.people import annotator_for
from annotation.practice import begin, place_of
from annotation.protocol import Said
from annotation.votes.files import report_path as vote_report
from core.ids import new_key
from generation.models import Deployment, Endpoint, GenerationJob, ModelFetch, PromptImport
from generation.prompts import report_path
from loop.models import Round
from tests.annotation.builders import make_campaign, make_job, make_model, make_project, make_user
from tests.annotation.live_world import make_live
from tests.annotation.test_practice import write_items
from tests.training.judged import freeze, make_arm, make_judged
from training.exports.job import run_export, start_export
from training.exports.links import link_for
from training.models import Erasure, Evaluation, PushJob, Snapshot, TrainingRun
from training.snapshots import directory_of

YEAR = timedelta(days=365)
ROLES = {"A": Role.ANNOTATOR, "R": Role.REVIEWER, "S": Role.RESEARCHER, "M": Role.ADMIN}
UNKNOWN = {"int": "987654", "path": "nosuch", "uuid": "00000000-0000-0000-0000-000000000000"}
# What an address says besides naming an object: a value that its view knows.
WORDS = {
    "annotate/live/<slug:key>/<slug:talk>/<slug:action>": "end",
    "campaigns/<slug:key>/<slug:action>": "pause",
    "campaigns/<slug:key>/try/<int:number>": "1",
    "campaigns/try/<int:number>": "1",
    "campaigns/<slug:key>/people/<str:who>/<slug:action>": "off",
    "campaigns/<slug:key>/practice/<slug:item>/<slug:action>": "retire",
    "datasets/<slug:key>/files/<str:name>": "manifest.json",
    "rounds/<int:number>/<slug:stage>": "generate",
}


# What a view has to read before it looks for its object, or to know what it is asked.
POSTS = {
    "desk/flags/<slug:key>/": {"decision": "dismiss", "note": "x"},
    "rounds/<int:number>/abandon/": {"note": "x"},
}


class World:
    """``values`` holds, for each parameter of an address (by the address up to it), the key of an object of this project."""

    def __init__(self) -> None:
        self.project: Project = make_project()
        self.members: dict[str, User] = {
            letter: make_user(letter, self.project, role) for letter, role in ROLES.items()
        }
        self.all_roles = make_user("All", self.project, *ROLES.values())
        self.values: dict[str, str] = {}
        self.instead: dict[str, dict[str, str]] = {}  # address -> another object, in the state that it needs
        self._work()
        self._way_in()
        self._live()
        self._people()
        self._training()

    def _job(self, model: str, n_prompts: int) -> GenerationJob:
        # Named models: the builders number theirs by two counts, which meet.
        return make_job(self.project, n_prompts=n_prompts, models=[make_model(self.project, model)])

    def _work(self) -> None:
        """Ana has a judged task, one that she asked about, and one open."""
        ana = self.ana = annotator_for(self.members["A"], self.project)
        campaign = self.campaign = make_campaign(
            self.project, job=self._job("canary-judged", 6), overlap=2, guidelines="# Be fair"
        )
        guidelines.first_version(campaign, by=None)
        guidelines.confirm(ana, campaign, 1)
        first = next_assignment(ana, campaign)
        self.judgement = submit_judgement(assignment_key=first.key, annotator=ana, said=Said("tie"))
        other = next_assignment(ana, campaign)
        question = questions.ask(assignment_key=other.key, annotator=ana, text="Why?")
        questions.answer(question=question, text="Because.", by=self.members["S"])
        flag = Flag.objects.create(task=first.task, annotator=ana, kind="broken")
        ruling = rulings.rule(campaign=campaign, title="A ruling", text="It is so.", by=self.members["S"])
        note = announcements.announce(project=self.project, text="News", by=self.members["S"])
        open_turn = next_assignment(ana, campaign)
        self.instead["annotate/<slug:key>/resume/"] = {"annotate/<slug:key>": other.key}
        self.instead["annotate/<slug:key>/correct/"] = {"annotate/<slug:key>": first.key}
        self.values |= {
            "annotate/<slug:key>": open_turn.key,
            "annotate/questions/<slug:key>": question.key,
            "annotate/announcement/<slug:key>": note.key,
            "campaigns/<slug:key>": campaign.key,
            "campaigns/<slug:key>/guidelines/<int:number>": "1",
            "campaigns/<slug:key>/rulings/<slug:ruling>": ruling.key,
            "campaigns/<slug:key>/judgements/<slug:judgement>": self.judgement.key,
            "campaigns/<slug:key>/people/<str:who>": ana.pseudonym,
            "desk/announcements/<slug:key>": note.key,
            "desk/flags/<slug:key>": flag.key,
            "desk/questions/<slug:key>": question.key,
            "judgements/<slug:key>": self.judgement.key,
        }
        write_items(campaign, practice=1)
        self.values["campaigns/<slug:key>/practice/<slug:item>"] = campaign.practice_items.get().key

    def _way_in(self) -> None:
        campaign = make_campaign(self.project, job=self._job("canary-practised", 1))
        Campaign.objects.filter(pk=campaign.pk).update(onboarding=Onboarding(n_practice=2).stored())
        campaign.refresh_from_db()
        write_items(campaign, practice=2)
        begin(place_of(self.ana, campaign))
        self.values["annotate/campaign/<slug:key>"] = campaign.key
        row = PracticeAnswer.objects.filter(place__campaign=campaign).order_by("id")[0]
        self.values["annotate/campaign/<slug:key>/practice/<slug:item>"] = row.item.key

    def _live(self) -> None:
        campaign = make_live(SimpleNamespace(url=f"http://127.0.0.1:1/{self.project.slug}"), self.project)  # type: ignore[arg-type]
        talk = start_conversation(campaign=campaign, annotator=self.ana)
        self.values |= {"annotate/live/<slug:key>": campaign.key, "annotate/live/<slug:key>/<slug:talk>": talk.key}

    def _people(self) -> None:
        admin = Membership.objects.get(user=self.members["M"])
        invitation, _ = invite(project=self.project, roles=[Role.ANNOTATOR], by=admin)
        removable = make_user("Leaver", self.project, Role.ANNOTATOR)
        everybody = {**self.members, "*": self.all_roles}
        self.tokens = {
            letter: ApiToken.objects.create(
                user=user, project=self.project, name="t", token_sha256=new_key(), expires_at=timezone.now() + YEAR
            ).key
            for letter, user in everybody.items()
        }
        self.values |= {
            "members/<str:key>": removable.key,
            "invitations/<str:key>": invitation.key,
            "tokens/<str:key>": self.tokens["*"],
        }

    def _training(self) -> None:
        project, job = self.project, self.campaign.jobs.get()
        prompt = job.arms.get().candidates.first().prompt
        snapshot = self._dataset()
        base = make_model(project, "canary-base")
        endpoint = Endpoint.objects.create(name=f"e {project.slug}", engine="vllm", base_url="http://127.0.0.1:1")
        deployment = Deployment.objects.create(
            project=project,
            endpoint=endpoint,
            model_version=base,
            served_name=f"b-{base.key}",
            alias="b",
            status="failed",
        )
        imported = PromptImport.objects.create(
            set=prompt.set, stored_name=f"none-{new_key()}", file_format="jsonl", status="succeeded"
        )
        report_path(imported).parent.mkdir(parents=True, exist_ok=True)
        report_path(imported).write_text("line,reason,text\n")
        votes = VoteImport.objects.create(
            project=project,
            name="Votes",
            source="elsewhere",
            stored_name=f"none-{new_key()}",
            sha256="0" * 64,
            file_format="votes",
            status="failed",
        )
        vote_report(votes).write_text("line,reason,text\n")
        fetch = ModelFetch.objects.create(project=project, source="x/y", slug="fetched")
        run = TrainingRun.objects.create(project=project, method="dpo", base=base, snapshot=snapshot, status="failed")
        evaluation = Evaluation.objects.create(project=project, model_version=base, judge="people", status="failed")
        round_ = Round.objects.create(project=project, number=int(f"7{project.pk}"), policy_in=base)
        self.values |= {
            "lineage/prompts/<slug:key>": prompt.key,
            "lineage/answers/<slug:key>": job.arms.get().candidates.first().key,
            "lineage/judgements/<slug:key>": self.judgement.key,
            "lineage/models/<slug:key>": base.key,
            "datasets/<slug:key>": snapshot.key,
            "deployments/<slug:key>": deployment.key,
            "evaluations/<slug:key>": evaluation.key,
            "generate/<slug:key>": job.key,
            "models/<slug:key>": base.key,
            "models/fetches/<slug:key>": fetch.key,
            "campaigns/imports/<slug:key>": votes.key,
            "prompts/<slug:key>": prompt.set.key,
            "prompts/<slug:key>/<slug:prompt_key>": prompt.key,
            "prompts/imports/<slug:key>": imported.key,
            "runs/<slug:key>": run.key,
            "rounds/<int:number>": str(round_.number),
        }

    def _dataset(self) -> Snapshot:
        snapshot = freeze(
            self.project,
            [make_judged(self.project, arm=make_arm(self.project, make_model(self.project, "canary-frozen")))],
        )
        rows = [json.loads(line) for line in (directory_of(snapshot) / "train.jsonl").read_text().splitlines()]
        self.values["datasets/<slug:key>/rows/<slug:row>"] = rows[0]["id"]
        erasure = Erasure.objects.create(
            project=self.project,
            what="comment",
            judgement_key="abc",
            prompt_sha256="0" * 64,
            note="asked",
            status="failed",
        )
        self.values["erasures/<slug:key>"] = erasure.key
        job = start_export(snapshot=snapshot, file_format="hh", container="jsonl", by=None)
        run_export(job.pk)
        job.refresh_from_db()
        push = PushJob.objects.create(
            project=self.project, snapshot=snapshot, destination="s3", target="frozen", address="s3://bucket/frozen", status="failed"
        )  # fmt: skip
        self.values["datasets/pushes/<slug:key>"] = push.key
        links = {letter: link_for(job, user) for letter, user in {**self.members, "*": self.all_roles}.items()}
        signed = "datasets/exports/<slug:key>/file/<str:signed>"
        self.links = {letter: {signed: link.split("/")[-2]} for letter, link in links.items()}
        self.values |= {"datasets/exports/<slug:key>": job.key, f"{signed}/<str:name>": job.filename, **self.links["*"]}
        return snapshot
