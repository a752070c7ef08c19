"""The API of models: versions, fetches from a hub, endpoints, deployments."""

from typing import Any

from rest_framework import serializers

from accounts.api.base import JOB_FIELDS, Given, InProject, ProjectApi, call, key_of
from accounts.tokens import Scope
from core.api import StrictSerializer
from generation import deploy, registry
from generation.models import Deployment, Endpoint, ModelFetch, ModelVersion


class ModelVersionSerializer(serializers.ModelSerializer[ModelVersion]):
    parent = key_of(allow_null=True)

    class Meta:
        model = ModelVersion
        fields = (
            "key", "slug", "kind", "purpose", "parent", "source", "artifact_sha256", "chat_template_sha256", "licence", "is_toy",
            "facts", "note", "created_at",
        )  # fmt: skip


class ModelFilterSerializer(serializers.Serializer[Any]):
    kind = serializers.ChoiceField(required=False, choices=ModelVersion.Kind.choices)
    purpose = serializers.ChoiceField(required=False, choices=ModelVersion.Purpose.choices)


class NewModelSerializer(StrictSerializer):
    source = serializers.CharField(  # type: ignore[assignment]  # a field of ours, not the argument of the same name
        max_length=500, help_text="a directory on the server, or a hub id with or without @revision"
    )
    slug = serializers.SlugField(default="", allow_blank=True, max_length=60, help_text="empty: made of the source")
    licence = serializers.CharField(default="", allow_blank=True, max_length=100)
    note = serializers.CharField(default="", allow_blank=True, max_length=2000)


class ModelFetchSerializer(serializers.ModelSerializer[ModelFetch]):
    model = key_of(source="model_version", allow_null=True)

    class Meta:
        model = ModelFetch
        fields = ("key", "source", "slug", "licence", "note", *JOB_FIELDS, "model")


class RegisteredSerializer(serializers.Serializer[Any]):
    """A directory is registered at once; a hub's model is fetched by a job."""

    model = ModelVersionSerializer(allow_null=True)
    fetch = ModelFetchSerializer(allow_null=True)


class Models(ProjectApi):
    @call(Scope.READ, query=ModelFilterSerializer, lists=ModelVersionSerializer)
    def get(self, given: Given) -> Any:
        """Model versions, newest first."""
        wanted = {name: given[name] for name in ("kind", "purpose") if name in given}
        return self.project.model_versions.select_related("parent").filter(**wanted)

    @call(Scope.GENERATE, asks=NewModelSerializer, tells=RegisteredSerializer, status=201, once=True)
    def post(self, given: Given) -> Any:
        """Register a base model."""
        if registry.is_hub_id(given["source"]):
            fetch = registry.start_fetch(project=self.project, by=self.by, **given)
            return {"model": None, "fetch": fetch}
        return {"model": registry.register_base(project=self.project, by=self.by, **given), "fetch": None}


class OneModel(ProjectApi):
    @call(Scope.READ, tells=ModelVersionSerializer)
    def get(self, given: Given, key: str) -> Any:
        """One model version."""
        return self.found(self.project.model_versions.select_related("parent"), key=key)


class OneModelFetch(ProjectApi):
    @call(Scope.READ, Scope.GENERATE, tells=ModelFetchSerializer)
    def get(self, given: Given, key: str) -> Any:
        """Where the fetching of a hub's model stands."""
        return self.found(self.project.model_fetches.select_related("model_version"), key=key)


# ---- endpoints and deployments -----------------------------------------------------------------------------------------


class EndpointSerializer(serializers.ModelSerializer[Endpoint]):
    """Its address and secret are the site's."""

    class Meta:
        model = Endpoint
        fields = (
            "key", "name", "engine", "reach", "base_served_name", "state", "version", "max_loras", "max_lora_rank",
            "max_model_length", "max_concurrency",
        )  # fmt: skip


class Endpoints(ProjectApi):
    @call(Scope.READ, Scope.DEPLOY, lists=EndpointSerializer)
    def get(self, given: Given) -> Any:
        """The site's endpoints that are in use."""
        return Endpoint.objects.filter(is_enabled=True)


class DeploymentSerializer(serializers.ModelSerializer[Deployment]):
    model = key_of(source="model_version")
    endpoint = key_of()
    replaces = key_of(allow_null=True)

    class Meta:
        model = Deployment
        fields = (
            "key", "alias", "stage", "model", "endpoint", "served_name", "replaces", *JOB_FIELDS, "canary", "live_at", "retired_at",
        )  # fmt: skip


class DeploymentFilterSerializer(serializers.Serializer[Any]):
    stage = serializers.ChoiceField(required=False, choices=Deployment.Stage.choices)
    alias = serializers.SlugField(required=False, max_length=60)


class NewDeploymentSerializer(StrictSerializer):
    model = InProject(lambda project: project.model_versions.filter(purpose="policy").exclude(kind="outside"))
    endpoint = InProject(lambda project: Endpoint.objects.filter(is_enabled=True))
    alias = serializers.SlugField(default=deploy.POLICY, max_length=60)


class RollBackSerializer(StrictSerializer):
    alias = serializers.SlugField(default=deploy.POLICY, max_length=60)


class _Deployments(ProjectApi):
    @property
    def rows(self) -> Any:
        return Deployment.objects.filter(project=self.project).select_related(
            "model_version", "endpoint", "replaces", "project"
        )

    def told(self, deployment: Deployment) -> Any:
        return self.found(self.rows, pk=deployment.pk)


class Deployments(_Deployments):
    @call(Scope.READ, Scope.DEPLOY, query=DeploymentFilterSerializer, lists=DeploymentSerializer)
    def get(self, given: Given) -> Any:
        """Deployments, newest first."""
        return self.rows.filter(**{name: given[name] for name in ("stage", "alias") if name in given})

    @call(Scope.DEPLOY, asks=NewDeploymentSerializer, tells=DeploymentSerializer, status=201, once=True)
    def post(self, given: Given) -> Any:
        """Deploy a version; nothing changes for anyone until its canary has passed."""
        return deploy.request_deployment(
            version=given["model"], endpoint=given["endpoint"], alias=given["alias"], project=self.project, by=self.by
        )


class OneDeployment(_Deployments):
    @call(Scope.READ, Scope.DEPLOY, tells=DeploymentSerializer)
    def get(self, given: Given, key: str) -> Any:
        """Where a deployment stands."""
        return self.found(self.rows, key=key)


class RollBack(_Deployments):
    @call(Scope.DEPLOY, asks=RollBackSerializer, tells=DeploymentSerializer, once=True)
    def post(self, given: Given) -> Any:
        """Let the version before the live one answer again."""
        return self.told(deploy.roll_back(project=self.project, alias=given["alias"], by=self.by))


class CancelDeployment(_Deployments):
    @call(Scope.DEPLOY, tells=DeploymentSerializer)
    def post(self, given: Given, key: str) -> Any:
        """Stop a deployment that is on its way."""
        found = self.found(self.rows, key=key)
        deploy.cancel_deployment(found, by=self.by)
        return self.told(found)


class RetryDeployment(_Deployments):
    @call(Scope.DEPLOY, tells=DeploymentSerializer)
    def post(self, given: Given, key: str) -> Any:
        """Try a failed or cancelled deployment again."""
        found = self.found(self.rows, key=key)
        deploy.retry_deployment(found, by=self.by)
        return self.told(found)


class RetireDeployment(_Deployments):
    @call(Scope.DEPLOY, tells=DeploymentSerializer)
    def post(self, given: Given, key: str) -> Any:
        """Unload a deployment that nobody needs any more."""
        found = self.found(self.rows, key=key)
        deploy.retire_deployment(found, by=self.by)
        return self.told(found)
