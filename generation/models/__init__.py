"""Everything that can speak, and what it said: prompts, model versions, endpoints, jobs and candidates."""

from generation.models.jobs import Candidate, GenerationJob, GenerationJobEvent, JobArm, ModelReveal
from generation.models.prompts import Prompt, PromptImport, PromptImportEvent, PromptSet
from generation.models.registry import ModelFetch, ModelFetchEvent, ModelVersion
from generation.models.serving import Deployment, DeploymentEvent, Endpoint

__all__ = [
    "Candidate",
    "Deployment",
    "DeploymentEvent",
    "Endpoint",
    "GenerationJob",
    "GenerationJobEvent",
    "JobArm",
    "ModelFetch",
    "ModelFetchEvent",
    "ModelReveal",
    "ModelVersion",
    "Prompt",
    "PromptImport",
    "PromptImportEvent",
    "PromptSet",
]
