from django.apps import AppConfig


class AnnotationConfig(AppConfig):
    name = "annotation"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from accounts.members import when_member_leaves
        from annotation.assign import release_leases_of

        when_member_leaves(release_leases_of)
