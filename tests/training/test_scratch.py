"""What killed work left behind goes once nobody is at it."""

import pytest

from core.ids import new_key
from core.jobs import TERMINAL, JobStatus
from core.storage import home
from tests.training.judged import freeze, make_judged, make_project
from training.exports.job import start_export
from training.models import ExportJob
from training.scratch import remove_scratch

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _home_of_its_own(settings, tmp_path):
    settings.WHETSTONE = settings.WHETSTONE.model_copy(update={"home": tmp_path})


@pytest.mark.parametrize("status", list(JobStatus))
def test_the_workspace_of_an_export_goes_when_the_export_is_over(status):
    project = make_project()
    snapshot = freeze(project, [make_judged(project, ["A", "B", "A"])])
    export = start_export(snapshot=snapshot, file_format="trl-preference", container="jsonl", by=None)
    ExportJob.objects.filter(pk=export.pk).update(status=status)
    left = home() / "exporting" / f"{export.key}-{new_key()}"
    left.mkdir(parents=True)  # no test can kill itself in the middle
    (left / "rows.jsonl").write_text("a secret")
    remove_scratch()
    assert left.exists() == (status not in TERMINAL)


@pytest.mark.parametrize("kind", ["freezing", "exporting", "pushing", "erasing"])
def test_what_belongs_to_no_work_any_more_goes_too(kind):
    left = home() / kind / f"{new_key()}-{new_key()}"
    (left / "deep").mkdir(parents=True)
    assert remove_scratch() == 1
    assert not left.exists()
    assert remove_scratch() == 0
