"""Who may do what, address by address: the permission matrix written down. A new route without a line here fails the sweep.

A annotator · R reviewer · S researcher · M admin of the project; * every member. Nobody else opens a project page.
``HEAD`` goes with ``GET``; a method that is not named is answered with 405 to those who may open the page.
"""

EVERY = "ARSM"

# Below /p/<project>/. An admin does what reviewers and researchers do, and judges only where they annotate too.
PROJECT: dict[str, str] = {
    "": "GET *",
    # judging
    "annotate/": "GET A",
    "annotate/work/": "GET A",
    "annotate/notes/": "GET A",
    "annotate/questions/<slug:key>/seen/": "POST A",
    "annotate/announcement/<slug:key>/read/": "POST A",
    "annotate/campaign/<slug:key>/": "GET A, POST A",
    "annotate/campaign/<slug:key>/agree/": "POST A",
    "annotate/campaign/<slug:key>/guidelines/": "GET A",
    "annotate/campaign/<slug:key>/mine/": "GET A",
    "annotate/campaign/<slug:key>/way-in/": "GET A, POST A",
    "annotate/campaign/<slug:key>/practise-again/": "POST A",
    "annotate/campaign/<slug:key>/practice/<slug:item>/": "GET A, POST A",
    "annotate/live/<slug:key>/": "GET A, POST A",
    "annotate/live/<slug:key>/<slug:talk>/": "GET A, POST A",
    "annotate/live/<slug:key>/<slug:talk>/pick/": "POST A",
    "annotate/live/<slug:key>/<slug:talk>/<slug:action>/": "POST A",
    "annotate/<slug:key>/": "GET A, POST A",
    "annotate/<slug:key>/ahead/": "POST A",
    "annotate/<slug:key>/ask/": "POST A",
    "annotate/<slug:key>/correct/": "GET A, POST A",
    "annotate/<slug:key>/draft/": "POST A",
    "annotate/<slug:key>/leave/": "POST A",
    "annotate/<slug:key>/renew/": "POST A",
    "annotate/<slug:key>/resume/": "POST A",
    "annotate/<slug:key>/skip/": "POST A",
    "annotate/<slug:key>/undo/": "POST A",
    # campaigns and their people
    "campaigns/": "GET RSM",
    "campaigns/new/": "GET SM, POST SM",
    "campaigns/new/live/": "GET SM, POST SM",
    "campaigns/new/plan/": "POST SM",
    "campaigns/new/try/": "POST SM",
    "campaigns/try/<int:number>/": "GET SM, POST SM",
    "campaigns/import/": "GET SM, POST SM",
    "campaigns/imports/<slug:key>/": "GET SM",
    "campaigns/imports/<slug:key>/again/": "POST SM",
    "campaigns/imports/<slug:key>/begin/": "POST SM",
    "campaigns/imports/<slug:key>/cancel/": "POST SM",
    "campaigns/imports/<slug:key>/columns/": "POST SM",
    "campaigns/imports/<slug:key>/report.csv": "GET SM",
    "campaigns/<slug:key>/change/": "GET SM, POST SM",
    "campaigns/<slug:key>/tasks/": "GET RSM, POST SM",
    "campaigns/<slug:key>/try/<int:number>/": "GET RSM, POST RSM",
    "campaigns/<slug:key>/": "GET RSM",
    "campaigns/<slug:key>/<slug:action>/": "POST SM",
    "campaigns/<slug:key>/guidelines/": "GET RSM, POST SM",
    "campaigns/<slug:key>/guidelines/<int:number>/": "GET RSM",
    "campaigns/<slug:key>/rulings/": "GET RSM, POST RSM",
    "campaigns/<slug:key>/rulings/<slug:ruling>/": "GET RSM, POST RSM",
    "campaigns/<slug:key>/judgements/": "GET RSM",
    "campaigns/<slug:key>/judgements/<slug:judgement>/void/": "POST RM",
    "campaigns/<slug:key>/people/": "GET RSM, POST SM",
    "campaigns/<slug:key>/people/<str:who>/<slug:action>/": "POST RSM",
    "campaigns/<slug:key>/practice/": "GET RSM, POST RSM",
    "campaigns/<slug:key>/practice/new/": "GET RSM, POST RSM",
    "campaigns/<slug:key>/practice/<slug:item>/": "GET RSM, POST RSM",
    "campaigns/<slug:key>/practice/<slug:item>/<slug:action>/": "POST RSM",
    "campaigns/<slug:key>/reveal/": "POST RSM",
    # the desk
    "desk/": "GET RSM",
    "desk/announcements/": "GET RSM, POST RSM",
    "desk/announcements/<slug:key>/": "GET RSM, POST RSM",
    "desk/flags/": "GET RSM",
    "desk/flags/<slug:key>/": "GET RSM, POST RSM",
    "desk/questions/<slug:key>/": "GET RSM, POST RSM",
    "desk/questions/<slug:key>/reopen/": "POST RSM",
    "desk/questions/<slug:key>/rule/": "POST RSM",
    "desk/work/": "GET SM",
    # data, models, training, rounds
    **{
        address: methods
        for methods, addresses in {
            "GET SM": (
                "datasets/<slug:key>/since/",
                "datasets/", "datasets/<slug:key>/", "datasets/<slug:key>/files/<str:name>", "datasets/<slug:key>/rows/<slug:row>/",
                "datasets/pushes/<slug:key>/",
                "datasets/exports/<slug:key>/", "datasets/exports/<slug:key>/file/<str:signed>/<str:name>",
                "deployments/<slug:key>/", "evaluations/", "evaluations/<slug:key>/", "generate/", "generate/<slug:key>/",
                "generate/<slug:key>/answers/", "models/", "models/<slug:key>/", "models/fetches/<slug:key>/", "prompts/",
                "prompts/<slug:key>/", "prompts/<slug:key>/<slug:prompt_key>/", "prompts/imports/<slug:key>/",
                "prompts/imports/<slug:key>/report.csv", "runs/", "runs/<slug:key>/", "rounds/", "rounds/<int:number>/",
            ),
            "GET SM, POST SM": (
                "datasets/<slug:key>/export/", "datasets/<slug:key>/compare/", "datasets/<slug:key>/push/",
                "datasets/new/", "deployments/", "evaluations/new/", "generate/new/", "models/new/", "prompts/<slug:key>/import/",
                "prompts/import/", "runs/new/", "rounds/new/",
            ),
            "POST SM": (
                "datasets/<slug:key>/again/", "datasets/<slug:key>/anew/", "datasets/<slug:key>/cancel/",
                "datasets/<slug:key>/check/", "datasets/<slug:key>/compare/cancel/",
                "datasets/exports/<slug:key>/again/", "datasets/exports/<slug:key>/cancel/",
                "datasets/pushes/<slug:key>/again/", "datasets/pushes/<slug:key>/cancel/",
                "deployments/<slug:key>/cancel/", "deployments/<slug:key>/retire/", "deployments/<slug:key>/retry/",
                "deployments/roll-back/", "evaluations/<slug:key>/again/", "evaluations/<slug:key>/cancel/",
                "evaluations/<slug:key>/reveal/", "generate/<slug:key>/cancel/", "generate/<slug:key>/go-on/",
                "generate/<slug:key>/reveal/", "prompts/<slug:key>/delete/", "prompts/imports/<slug:key>/again/",
                "prompts/imports/<slug:key>/cancel/", "runs/<slug:key>/cancel/", "runs/<slug:key>/go-on/",
                "rounds/<int:number>/<slug:stage>/", "rounds/<int:number>/abandon/", "rounds/<int:number>/reveal/",
            ),
            "POST M": ("datasets/<slug:key>/waive/", "erasures/<slug:key>/again/", "judgements/<slug:key>/erase/"),
            "GET RSM": (
                "judgements/<slug:key>/", "models/<slug:key>/lineage/", "lineage/prompts/<slug:key>/", "lineage/answers/<slug:key>/",
                "lineage/judgements/<slug:key>/", "lineage/models/<slug:key>/",
            ),
            "POST RSM": ("judgements/<slug:key>/reveal/", "models/<slug:key>/lineage/reveal/"),
        }.items()
        for address in addresses
    },
    # the project
    "members/": "GET M, POST M",
    "members/<str:key>/": "GET M, POST M",
    "members/<str:key>/remove/": "POST M",
    "invitations/many/": "GET M, POST M",
    "invitations/<str:key>/revoke/": "POST M",
    "audit/": "GET M",
    "settings/": "GET M, POST M",
    "tokens/": "GET *, POST *",
    "tokens/<str:key>/revoke/": "POST *",
}  # fmt: skip

# Outside projects: "open" to everybody, "signed in", "opens projects" (who may open a project), "site admin" (404 for others, or
# 403 where everybody may know of it: the endpoints of a site are no secret, and an unknown one is refused alike).
SITE: dict[str, str] = {
    "": "signed in",
    "sign-in/": "open",
    "sign-in/link/<str:token>/": "open",
    "sign-out/": "open",
    "join/<str:token>/": "open",
    "theme/": "open",
    "bundle/<slug:digest>/<str:name>": "open",  # scripts and styles
    "account/": "signed in",
    "api-reference/": "signed in",
    "account/password/": "signed in",
    "account/set-password/": "signed in",
    "account/preferences/": "signed in",
    "account/preferences/set/": "signed in",
    "projects/": "signed in",
    "projects/new/": "opens projects",
    "styleguide/": "signed in or 404",
    "people/": "site admin",
    "people/<str:key>/active/": "site admin",
    "people/<str:key>/link/": "site admin",
    "endpoints/": "opens projects",
    "endpoints/new/": "site admin, 403",
    "endpoints/<slug:key>/": "opens projects",
    "endpoints/<slug:key>/edit/": "site admin, 403",
    "endpoints/<slug:key>/test/": "site admin, 403",
}

# The scopes of a token of which an API route asks for one, method by method; the token's own project decides which rows there are.
# "*": any scope. The deploy agent's routes name no project.
IN_PROJECT = "api/v1/projects/<slug:project>"
_READ, _REVIEW, _CAMPAIGN, _EXPORT = "GET read", "GET read/review", "POST campaign", "GET read/export"
API: dict[str, str] = {
    "api/v1/deploy/artifacts/<slug:sha256>/<path:name>": "GET deploy",
    "api/v1/deploy/deployments/<slug:deployment>/beat": "POST deploy",
    "api/v1/deploy/deployments/<slug:deployment>/failed": "POST deploy",
    "api/v1/deploy/deployments/<slug:deployment>/loaded": "POST deploy",
    "api/v1/deploy/endpoints/<slug:endpoint>/claim": "POST deploy",
    "api/v1/deploy/endpoints/<slug:endpoint>/state": "POST deploy",
    "api/v1/deploy/endpoints/<slug:endpoint>/wanted": "GET deploy",
    "api/v1/schema/": "GET *",
    IN_PROJECT: "GET *",
    **{
        f"{IN_PROJECT}/{address}": methods
        for methods, addresses in {
            "GET members": ("members",),
            "GET members, PATCH members, DELETE members": ("members/<slug:key>",),
            "GET members, POST members": ("invitations",),
            "GET members, DELETE members": ("invitations/<slug:key>",),
            "GET audit": ("audit-events",),
            "GET erase": ("erasures", "erasures/<slug:key>"),
            "POST erase": ("erasures/<slug:key>/retry", "judgements/<slug:key>/erase", "datasets/<slug:key>/waive"),
            # prompts, answers, models
            _READ: (
                "work",
                "prompt-sets", "prompt-sets/<slug:key>/prompts", "prompt-sets/<slug:key>/prompts/<slug:prompt>",
                "generation-jobs/<slug:key>", "generation-jobs/<slug:key>/answers", "models/<slug:key>",
            ),
            "GET read, DELETE generate": ("prompt-sets/<slug:key>",),
            "GET read, POST generate": ("generation-jobs", "models"),
            "GET read/generate, POST generate": ("prompt-imports",),
            "GET read/generate": ("prompt-imports/<slug:key>", "prompt-imports/<slug:key>/report", "model-fetches/<slug:key>"),
            "POST generate": (
                "prompt-imports/<slug:key>/cancel", "prompt-imports/<slug:key>/retry", "generation-jobs/<slug:key>/cancel",
                "generation-jobs/<slug:key>/continue", "generation-jobs/<slug:key>/reveal",
            ),
            "GET read/deploy": ("endpoints", "deployments/<slug:key>"),
            "GET read/deploy, POST deploy": ("deployments",),
            "POST deploy": (
                "deployments/roll-back", "deployments/<slug:key>/cancel", "deployments/<slug:key>/retry",
                "deployments/<slug:key>/retire",
            ),
            # campaigns and what they hold
            "GET import, POST import": ("vote-imports",),
            "GET import": ("vote-imports/<slug:key>", "vote-imports/<slug:key>/report"),
            "POST import": (
                "vote-imports/<slug:key>/begin", "vote-imports/<slug:key>/cancel", "vote-imports/<slug:key>/retry",
            ),
            f"{_REVIEW}, {_CAMPAIGN}": ("campaigns",),
            f"{_REVIEW}, PATCH campaign": ("campaigns/<slug:key>",),
            _REVIEW: (
                "campaigns/<slug:key>/progress", "campaigns/<slug:key>/standings", "campaigns/<slug:key>/tasks",
                "campaigns/<slug:key>/tasks/<slug:task>", "campaigns/<slug:key>/judgements", "models/<slug:key>/lineage",
                "models/<slug:key>/judgements", "judgements/<slug:key>/lineage", "lineage/prompts/<slug:key>",
                "lineage/answers/<slug:key>", "lineage/judgements/<slug:key>", "lineage/models/<slug:key>",
            ),
            "POST review/campaign": ("campaigns/<slug:key>/reveal",),
            _CAMPAIGN: (
                "campaigns/live", "campaigns/plan", "campaigns/<slug:key>/pause", "campaigns/<slug:key>/resume",
                "campaigns/<slug:key>/close",
                "campaigns/<slug:key>/reopen", "campaigns/<slug:key>/cancel", "campaigns/<slug:key>/retry",
                "campaigns/<slug:key>/tasks/prioritise", "campaigns/<slug:key>/tasks/retire",
            ),
            f"{_REVIEW}, POST review": ("campaigns/<slug:key>/rulings",),
            "POST review": (
                "campaigns/<slug:key>/rulings/<slug:ruling>/withdraw", "campaigns/<slug:key>/judgements/<slug:judgement>/void",
                "flags/<slug:key>/decide", "questions/<slug:key>/answer", "questions/<slug:key>/reopen",
                "questions/<slug:key>/rule", "announcements/<slug:key>/withdraw", "campaigns/<slug:key>/people/decide",
                "campaigns/<slug:key>/practice-items/<slug:item>/retire", "campaigns/<slug:key>/practice-items/<slug:item>/restore",
            ),
            "GET review, POST review": ("announcements", "campaigns/<slug:key>/practice-items"),
            "GET review, PUT review": ("campaigns/<slug:key>/practice-items/<slug:item>",),
            "GET review": (
                "announcements/<slug:key>", "campaigns/<slug:key>/people", "flags", "flags/<slug:key>", "questions",
                "questions/<slug:key>",
            ),
            "GET annotate": (
                "desk/campaigns", "desk/questions", "desk/assignments/<slug:key>", "desk/announcements", "desk/work",
                "desk/campaigns/<slug:key>/way-in", "desk/conversations/<slug:key>",
            ),
            "GET annotate, POST annotate": ("desk/campaigns/<slug:key>/conversations",),
            "POST annotate": (
                "desk/campaigns/<slug:key>/next", "desk/assignments/<slug:key>/judge", "desk/assignments/<slug:key>/correct",
                "desk/assignments/<slug:key>/undo", "desk/assignments/<slug:key>/skip", "desk/assignments/<slug:key>/ask",
                "desk/assignments/<slug:key>/resume", "desk/announcements/<slug:key>/confirm",
                "desk/campaigns/<slug:key>/way-in/begin", "desk/campaigns/<slug:key>/way-in/practise-again",
                "desk/campaigns/<slug:key>/way-in/<slug:item>/answer", "desk/campaigns/<slug:key>/agree",
                "desk/campaigns/<slug:key>/take-back", "desk/conversations/<slug:key>/prompts",
                "desk/conversations/<slug:key>/pick", "desk/conversations/<slug:key>/again",
                "desk/conversations/<slug:key>/retry", "desk/conversations/<slug:key>/take-back",
                "desk/conversations/<slug:key>/end",
            ),
            # datasets, runs, rounds
            f"{_EXPORT}, POST export": ("datasets", "datasets/<slug:key>/compare"),
            _EXPORT: (
                "datasets/<slug:key>/since",
                "datasets/<slug:key>", "datasets/<slug:key>/rows", "datasets/<slug:key>/rows/<slug:row>/lineage",
                
            ),
            "POST export": (
                "datasets/preview", "datasets/<slug:key>/cancel", "datasets/<slug:key>/retry", "datasets/<slug:key>/check",
                "exports/<slug:key>/cancel", "datasets/<slug:key>/anew", "pushes/<slug:key>/cancel", "pushes/<slug:key>/retry",
            ),
            "GET export": (
                "export-formats", "exports/<slug:key>", "exports/<slug:key>/files/<str:name>",
                "datasets/<slug:key>/files/<str:name>", "push-destinations", "pushes/<slug:key>",
            ),
            "GET export, POST export": ("datasets/<slug:key>/exports", "datasets/<slug:key>/pushes"),
            "GET read/train, POST train": ("runs", "evaluations"),
            "GET read/train": ("runs/<slug:key>", "runs/<slug:key>/metrics", "evaluations/<slug:key>"),
            "POST train": (
                "runs/plan", "runs/<slug:key>/cancel", "runs/<slug:key>/continue", "evaluations/<slug:key>/cancel",
                "evaluations/<slug:key>/retry",
            ),
            "GET read/round, POST round": ("rounds",),
            "GET read/round": ("rounds/<int:number>",),
            "POST round": ("rounds/<int:number>/steps", "rounds/<int:number>/reveal", "rounds/<int:number>/abandon"),
        }.items()
        for address in addresses
    },
}  # fmt: skip
