"""A script with a token, and the objects of a world by their API addresses."""

import json
from typing import Any

from django.test import Client

from accounts.models import Project, User
from accounts.tokens import create_token, scopes_for


class Api:
    """``api.get("campaigns")``: below the project's address, with a token of these scopes (all that the person may have)."""

    def __init__(self, project: Project, by: User, *scopes: str) -> None:
        membership = project.memberships.get(user=by)
        wanted = scopes or scopes_for(membership)
        self.secret = create_token(membership=membership, name="script", scopes=wanted)[1]
        self.base = f"/api/v1/projects/{project.slug}"
        self.client = Client(raise_request_exception=False)

    def ask(self, method: str, path: str, data: Any = None, **headers: str) -> Any:
        sent = {} if data is None else {"data": json.dumps(data), "content_type": "application/json"}
        url = path if path.startswith("/") else f"{self.base}/{path}".rstrip("/")
        call = getattr(self.client, method.lower())
        return call(url, **sent, headers={"Authorization": f"Bearer {self.secret}", **headers})

    def get(self, path: str = "", **headers: str) -> Any:
        return self.ask("GET", path, **headers)

    def post(self, path: str, data: Any = None, **headers: str) -> Any:
        return self.ask("POST", path, {} if data is None else data, **headers)

    def patch(self, path: str, data: Any, **headers: str) -> Any:
        return self.ask("PATCH", path, data, **headers)

    def delete(self, path: str, **headers: str) -> Any:
        return self.ask("DELETE", path, **headers)


# An object of an API address, by the address up to it -> the page's address of the same object in ``tests.permissions.world``.
OBJECTS = {
    "members/<slug:key>": "members/<str:key>",
    "invitations/<slug:key>": "invitations/<str:key>",
    "prompt-sets/<slug:key>": "prompts/<slug:key>",
    "prompt-sets/<slug:key>/prompts/<slug:prompt>": "prompts/<slug:key>/<slug:prompt_key>",
    "prompt-imports/<slug:key>": "prompts/imports/<slug:key>",
    "generation-jobs/<slug:key>": "generate/<slug:key>",
    "models/<slug:key>": "models/<slug:key>",
    "model-fetches/<slug:key>": "models/fetches/<slug:key>",
    "deployments/<slug:key>": "deployments/<slug:key>",
    "vote-imports/<slug:key>": "campaigns/imports/<slug:key>",
    "campaigns/<slug:key>": "campaigns/<slug:key>",
    "campaigns/<slug:key>/rulings/<slug:ruling>": "campaigns/<slug:key>/rulings/<slug:ruling>",
    "campaigns/<slug:key>/judgements/<slug:judgement>": "campaigns/<slug:key>/judgements/<slug:judgement>",
    "campaigns/<slug:key>/practice-items/<slug:item>": "campaigns/<slug:key>/practice/<slug:item>",
    "announcements/<slug:key>": "desk/announcements/<slug:key>",
    "desk/announcements/<slug:key>": "desk/announcements/<slug:key>",
    "desk/conversations/<slug:key>": "annotate/live/<slug:key>/<slug:talk>",
    "desk/campaigns/<slug:key>/way-in/<slug:item>": "annotate/campaign/<slug:key>/practice/<slug:item>",
    "erasures/<slug:key>": "erasures/<slug:key>",
    "desk/campaigns/<slug:key>": "campaigns/<slug:key>",
    "desk/assignments/<slug:key>": "annotate/<slug:key>",
    "flags/<slug:key>": "desk/flags/<slug:key>",
    "questions/<slug:key>": "desk/questions/<slug:key>",
    "datasets/<slug:key>": "datasets/<slug:key>",
    "datasets/<slug:key>/rows/<slug:row>": "datasets/<slug:key>/rows/<slug:row>",
    "exports/<slug:key>": "datasets/exports/<slug:key>",
    "exports/<slug:key>/files/<str:name>": "datasets/exports/<slug:key>/file/<str:signed>/<str:name>",
    "pushes/<slug:key>": "datasets/pushes/<slug:key>",
    "runs/<slug:key>": "runs/<slug:key>",
    "evaluations/<slug:key>": "evaluations/<slug:key>",
    "judgements/<slug:key>": "judgements/<slug:key>",
    "lineage/prompts/<slug:key>": "lineage/prompts/<slug:key>",
    "lineage/answers/<slug:key>": "lineage/answers/<slug:key>",
    "lineage/judgements/<slug:key>": "judgements/<slug:key>",
    "lineage/models/<slug:key>": "models/<slug:key>",
    "rounds/<int:number>": "rounds/<int:number>",
}
# Where the campaign of an address has to be another one: the beginning of the address -> the page's address of it.
CAMPAIGNS = {
    "desk/campaigns/<slug:key>/conversations": "annotate/live/<slug:key>",
    "desk/campaigns/<slug:key>/way-in": "annotate/campaign/<slug:key>",
}
