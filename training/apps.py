from django.apps import AppConfig


class TrainingConfig(AppConfig):
    name = "training"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from generation.registry import add_lineage_source
        from training.lineage_links import links_of

        add_lineage_source(links_of)
