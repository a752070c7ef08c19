from django.apps import AppConfig


class LoopConfig(AppConfig):
    name = "loop"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from loop.rounds import campaigns_by_round
        from training.selecting import add_round_source

        add_round_source(campaigns_by_round)
