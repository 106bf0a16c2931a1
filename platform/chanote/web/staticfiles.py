"""The files below static/: their names and how they are served."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.contrib.staticfiles.storage import HashedFilesMixin, StaticFilesStorage
from django.http import HttpRequest, HttpResponse
from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.responders import StaticFile
from whitenoise.storage import CompressedManifestStaticFilesStorage


class CollectedFiles(CompressedManifestStaticFilesStorage):
    """Hashed names of compressed copies once `collectstatic` has run; before that, the source under its own name."""

    support_js_module_import_aggregation = True
    # Modules name their imports by the hashed names too; in files of others, words in comments look like imports.
    _js_module_import_aggregation_patterns = ("js/*.js", HashedFilesMixin._js_module_import_aggregation_patterns[1])  # type: ignore[attr-defined]

    def url(self, name: str | None, force: bool = False) -> str:
        if not self.hashed_files and not force:
            return StaticFilesStorage.url(self, name)
        return super().url(name, force)


class StaticFilesMiddleware(WhiteNoiseMiddleware):
    """WhiteNoise that runs on the event loop, so that no request waits for a thread on its way to a view.

    Files are read whole: they are small, and a file object would be handed on as a blocking iterator.
    """

    async_capable = True
    sync_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse | Awaitable[HttpResponse]]) -> None:
        super().__init__(get_response)
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def add_files(self, root: str, prefix: str | None = None) -> None:
        """Before `collectstatic` has run there is no directory to add, which is no reason for a warning."""
        if Path(root).is_dir():
            super().add_files(root, prefix)

    def __call__(self, request: HttpRequest) -> HttpResponse | Awaitable[HttpResponse]:
        if iscoroutinefunction(self.get_response):
            return self._answer_async(request)
        return super().__call__(request)

    async def _answer_async(self, request: HttpRequest) -> HttpResponse:
        path = request.path_info
        file = self.find_file(path) if self.autorefresh else self.files.get(path)
        return self.serve(file, request) if file is not None else await self.get_response(request)

    @staticmethod
    def serve(static_file: StaticFile, request: HttpRequest) -> HttpResponse:
        found = static_file.get_response(request.method, request.META)
        content = b""
        if found.file is not None:
            with found.file:
                content = found.file.read()
        response = HttpResponse(content, status=int(found.status))
        del response["Content-Type"]
        for name, value in found.headers:
            response[name] = value
        return response
