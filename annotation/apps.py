from django.apps import AppConfig


class AnnotationConfig(AppConfig):
    name = "annotation"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from accounts.members import when_member_leaves
        from accounts.templatetags.shell import count_waiting
        from annotation.expiry import release_leases_of
        from annotation.lead_desk import n_waiting

        when_member_leaves(release_leases_of)
        count_waiting("desk/", n_waiting)
