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
                "datasets/", "datasets/<slug:key>/", "datasets/<slug:key>/files/<str:name>", "datasets/<slug:key>/rows/<slug:row>/",
                "exports/<slug:key>/", "exports/<slug:key>/file/<str:signed>/<str:name>",
                "deployments/<slug:key>/", "evaluations/", "evaluations/<slug:key>/", "generate/", "generate/<slug:key>/",
                "generate/<slug:key>/answers/", "models/", "models/<slug:key>/", "models/fetches/<slug:key>/", "prompts/",
                "prompts/<slug:key>/", "prompts/<slug:key>/<slug:prompt_key>/", "prompts/imports/<slug:key>/",
                "prompts/imports/<slug:key>/report.csv", "runs/", "runs/<slug:key>/", "rounds/", "rounds/<int:number>/",
            ),
            "GET SM, POST SM": (
                "datasets/<slug:key>/export/",
                "datasets/new/", "deployments/", "evaluations/new/", "generate/new/", "models/new/", "prompts/<slug:key>/import/",
                "prompts/import/", "runs/new/", "rounds/new/",
            ),
            "POST SM": (
                "datasets/<slug:key>/again/", "datasets/<slug:key>/cancel/", "datasets/<slug:key>/check/",
                "exports/<slug:key>/again/", "exports/<slug:key>/cancel/",
                "deployments/<slug:key>/cancel/", "deployments/<slug:key>/retire/", "deployments/<slug:key>/retry/",
                "deployments/roll-back/", "evaluations/<slug:key>/again/", "evaluations/<slug:key>/cancel/",
                "evaluations/<slug:key>/reveal/", "generate/<slug:key>/cancel/", "generate/<slug:key>/go-on/",
                "generate/<slug:key>/reveal/", "prompts/<slug:key>/delete/", "prompts/imports/<slug:key>/again/",
                "prompts/imports/<slug:key>/cancel/", "runs/<slug:key>/cancel/", "runs/<slug:key>/go-on/",
                "rounds/<int:number>/<slug:stage>/", "rounds/<int:number>/abandon/", "rounds/<int:number>/reveal/",
            ),
            "GET RSM": ("judgements/<slug:key>/", "models/<slug:key>/lineage/"),
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

# The scope of a token that an API route asks for; the view's own project decides which rows there are.
API: dict[str, str] = {
    "api/v1/deploy/artifacts/<slug:sha256>/<path:name>": "deploy",
    "api/v1/deploy/deployments/<slug:deployment>/beat": "deploy",
    "api/v1/deploy/deployments/<slug:deployment>/failed": "deploy",
    "api/v1/deploy/deployments/<slug:deployment>/loaded": "deploy",
    "api/v1/deploy/endpoints/<slug:endpoint>/claim": "deploy",
    "api/v1/deploy/endpoints/<slug:endpoint>/state": "deploy",
    "api/v1/deploy/endpoints/<slug:endpoint>/wanted": "deploy",
    "api/v1/projects/<slug:project>/datasets/<slug:key>/files/<str:name>": "export",
    "api/v1/projects/<slug:project>/exports/<slug:key>/files/<str:name>": "export",
    "api/v1/projects/<slug:project>/vote-imports": "import",
    "api/v1/projects/<slug:project>/vote-imports/<slug:key>": "import",
    "api/v1/projects/<slug:project>/vote-imports/<slug:key>/begin": "import",
    "api/v1/projects/<slug:project>/vote-imports/<slug:key>/cancel": "import",
    "api/v1/projects/<slug:project>/vote-imports/<slug:key>/report": "import",
    "api/v1/projects/<slug:project>/vote-imports/<slug:key>/retry": "import",
}
