from django.apps import AppConfig
from django.db.models.signals import post_migrate, pre_migrate


class TrainingConfig(AppConfig):
    name = "training"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from generation.registry import add_lineage_source
        from training.lineage_links import links_of
        from training.sealed import guard, release

        add_lineage_source(links_of)
        pre_migrate.connect(release, sender=self)
        post_migrate.connect(guard, sender=self)
