import pytest
from django.test import Client

from accounts.models import Membership, Project, Role, User
from tests.accounts.builders import join, make_project, make_user


@pytest.fixture
def project(db: None) -> Project:
    return make_project()


@pytest.fixture
def ravi(project: Project) -> Membership:
    return join(project, "Ravi", Role.ADMIN, Role.RESEARCHER)


@pytest.fixture
def ana(project: Project) -> Membership:
    return join(project, "Ana", Role.ANNOTATOR)


@pytest.fixture
def olga(db: None) -> User:
    return make_user("Olga")


@pytest.fixture
def as_ravi(client: Client, ravi: Membership) -> Client:
    client.force_login(ravi.user)
    return client


@pytest.fixture
def as_ana(ana: Membership) -> Client:
    client = Client()
    client.force_login(ana.user)
    return client


@pytest.fixture
def as_olga(olga: User) -> Client:
    client = Client()
    client.force_login(olga)
    return client
