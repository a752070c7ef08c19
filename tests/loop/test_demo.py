"""What the demo says about its engine."""

from types import SimpleNamespace
from typing import cast

import pytest

from generation.models import Deployment
from loop.demo import Demo, failed_deployment
from tests.annotation.builders import make_model
from tests.loop.builders import World

pytestmark = pytest.mark.django_db


def test_a_failure_that_was_tried_again_since_does_not_stop_the_demo():
    world = World()
    demo = cast(Demo, SimpleNamespace(project=world.project))
    assert failed_deployment(demo) is None
    failed = world.deployed(make_model(world.project, "adapter"), stage=Deployment.Stage.FAILED)
    assert failed_deployment(demo) == failed
    world.deployed(make_model(world.project, "another"))
    assert failed_deployment(demo) is None
