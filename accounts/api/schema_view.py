"""Where the OpenAPI document is served."""

from drf_spectacular.views import SpectacularAPIView
from rest_framework.authentication import SessionAuthentication
from rest_framework.permissions import IsAuthenticated

from accounts.tokens import TokenAuthentication


class SchemaView(SpectacularAPIView):
    """The OpenAPI document. It names no object of any project, so whoever is signed in, or holds any token, may read it."""

    authentication_classes = [TokenAuthentication, SessionAuthentication]
    permission_classes = [IsAuthenticated]
