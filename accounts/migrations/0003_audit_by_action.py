from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0002_project_guidelines")]

    operations = [
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(fields=["action", "created_at"], name="audit_by_action"),
        ),
    ]
