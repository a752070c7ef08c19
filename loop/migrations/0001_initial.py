import core.ids
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('accounts', '0001_initial'),
        ('accounts', '__first__'),
        ('annotation', '0001_initial'),
        ('generation', '0001_initial'),
        ('training', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='Round',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', models.CharField(default=core.ids.new_key, editable=False, max_length=12, unique=True)),
                ('project', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='rounds', to='accounts.project')),
                ('number', models.PositiveIntegerField()),
                ('status', models.CharField(choices=[('open', 'Open'), ('complete', 'Complete'), ('abandoned', 'Abandoned')], default='open', max_length=10)),
                ('prompt_set', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='generation.promptset')),
                ('policy_in', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='generation.modelversion')),
                ('policy_out', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='generation.modelversion')),
                ('plan', models.JSONField(default=dict)),
                ('started_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('finished_at', models.DateTimeField(blank=True, null=True)),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('project', 'number'), name='round_number_in_project'), models.UniqueConstraint(condition=models.Q(('status', 'open')), fields=('project',), name='one_open_round_per_project'), models.CheckConstraint(condition=models.Q(('status__in', ['open', 'complete', 'abandoned'])), name='round_status_known')],
            },
        ),
        migrations.CreateModel(
            name='RoundEvent',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('before', models.CharField(max_length=20)),
                ('after', models.CharField(max_length=20)),
                ('note', models.TextField(blank=True)),
                ('by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('subject', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='events', to='loop.round')),
            ],
            options={
                'ordering': ['id'],
                'abstract': False,
            },
        ),
        migrations.CreateModel(
            name='RoundStep',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('round', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='steps', to='loop.round')),
                ('stage', models.CharField(choices=[('prompts', 'Prompts'), ('generate', 'Generate'), ('annotate', 'Annotate'), ('dataset', 'Dataset'), ('reward', 'Reward'), ('train', 'Train'), ('evaluate', 'Evaluate'), ('deploy', 'Deploy')], max_length=10)),
                ('attempt', models.PositiveIntegerField(default=1)),
                ('job', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='generation.generationjob')),
                ('campaign', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='round_steps', to='annotation.campaign')),
                ('snapshot', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='training.snapshot')),
                ('run', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='round_steps', to='training.trainingrun')),
                ('evaluation', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='training.evaluation')),
                ('deployment', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='generation.deployment')),
                ('note', models.TextField(blank=True)),
                ('created_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('round', 'stage', 'attempt'), name='one_step_per_stage_and_attempt'), models.CheckConstraint(condition=models.Q(('stage__in', ['prompts', 'generate', 'annotate', 'dataset', 'reward', 'train', 'evaluate', 'deploy'])), name='round_stage_known')],
            },
        ),
    ]
