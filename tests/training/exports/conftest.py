"""The dataset that these tests export."""

import pytest

from tests.training.exports.world import make_dataset
from training.models import Snapshot


@pytest.fixture
def dataset(db: None) -> Snapshot:
    return make_dataset()
