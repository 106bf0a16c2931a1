"""The API's description and the page that explores it. Both are open: they show addresses, nobody's data."""

from typing import Any

from django.views.generic import TemplateView
from drf_spectacular.views import SpectacularAPIView


class Schema(SpectacularAPIView):
    """OpenAPI 3; `?format=json` for JSON."""

    authentication_classes: Any = ()
    permission_classes: Any = ()
    throttle_classes: Any = ()


class Docs(TemplateView):
    template_name = "api/docs.html"
