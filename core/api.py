"""How the REST API says what went wrong. Apart from ``core.problems``, which is loaded before REST framework may be."""

import json
from typing import Any

from rest_framework.response import Response
from rest_framework.views import exception_handler

from core.problems import Problem, problem_json


def api_exception_handler(exception: Exception, context: dict[str, Any]) -> Response | None:
    """REST framework's own errors in the same form; ``how`` lists what is wrong, field by field."""
    response = exception_handler(exception, context)
    if response is None:
        return None
    detail = response.data.get("detail") if isinstance(response.data, dict) else None
    problem = Problem(
        status=response.status_code,
        title="",
        sentence=str(detail) if detail else "The request does not have the expected form.",
        how="" if detail else json.dumps(response.data, ensure_ascii=False),
        request_id=getattr(context["request"]._request, "request_id", ""),
    )
    response.data = problem_json(problem)
    return response
