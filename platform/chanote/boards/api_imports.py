"""Result files of other harnesses over REST."""

from typing import Any

from django.http import FileResponse
from django.shortcuts import get_object_or_404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.parsers import FormParser, MultiPartParser
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response

from chanote.api.errors import Refused
from chanote.api.idempotency import PARAMETER, idempotent
from chanote.api.views import ProjectView
from chanote.boards.imports import file_path, import_upload, list_imported
from chanote.boards.models import Board, ImportedFile
from chanote.boards.services import BoardError
from chanote.web.problems import Problem
from chanote.web.streaming import StreamedFile


class ImportedAnswer(serializers.ModelSerializer[ImportedFile]):
    skipped = serializers.ListField(child=serializers.CharField(), help_text="A sentence for each row not taken.")
    notes = serializers.ListField(
        child=serializers.CharField(), help_text="Whether the harness's own means and standard errors come out again."
    )
    evaluations = serializers.PrimaryKeyRelatedField[Any](many=True, read_only=True)

    class Meta:
        model = ImportedFile
        fields = ("id", "name", "format", "sha256", "bytes", "skipped", "notes", "evaluations", "created")


class ResultsRequest(serializers.Serializer[Any]):
    board = serializers.CharField(max_length=80, help_text="Board that the scores are to stand on.")
    file = serializers.FileField(help_text="The file with the items; its format is found by what is in it.")
    beside = serializers.FileField(
        required=False, help_text="results_*.json of lm-evaluation-harness or lighteval, with the errors to check."
    )
    model = serializers.CharField(
        max_length=120, required=False, default="", allow_blank=True, help_text="Empty: as the file names it."
    )


class ImportedResults(ProjectView):
    scope = "boards"
    serializer_class = ImportedAnswer
    queryset = ImportedFile.objects.none()
    parser_classes = (MultiPartParser, FormParser)

    @extend_schema(responses=ImportedAnswer(many=True), operation_id="imported_results_list", tags=["boards"])
    def get(self, request: Any, project: str) -> Response:
        """Imported files, the newest first."""
        return self.answer_page(list_imported(self.project).prefetch_related("evaluations"), ImportedAnswer)

    @extend_schema(
        request={"multipart/form-data": ResultsRequest},
        responses={201: ImportedAnswer},
        parameters=[PARAMETER],
        operation_id="imported_results_import",
        tags=["boards"],
    )
    @idempotent
    def post(self, request: Any, project: str) -> Response:
        """Put a result file on a board: whole, or not at all. The same file again gives what it gave before."""
        self.require("boards.change")
        given = self.read(ResultsRequest)
        board = Board.objects.filter(project=self.project, slug=given["board"]).first()
        if board is None:
            raise Refused(problems=[Problem("board", f"{given['board']} is no board of this project.")])
        try:
            made = import_upload(**{**given, "board": board}, actor=request.user)
        except BoardError as error:
            raise Refused(str(error), [Problem("file", str(error))]) from error
        return Response(
            ImportedAnswer(made).data, status=201, headers={"Location": self.link("imported_result", made.pk)}
        )


class OneImportedResult(ProjectView):
    scope = "boards"

    @extend_schema(responses=ImportedAnswer, operation_id="imported_results_read", tags=["boards"])
    def get(self, request: Any, project: str, number: int) -> Response:
        """One imported file, by its id."""
        return Response(ImportedAnswer(_find(self, number)).data)


class BytesRenderer(JSONRenderer):
    """Lets clients ask for a file; errors remain JSON."""

    media_type = "application/octet-stream"
    format = "bytes"


class OriginalFile(ProjectView):
    scope = "boards"
    renderer_classes = (BytesRenderer, JSONRenderer)

    @extend_schema(
        responses={(200, "application/octet-stream"): OpenApiTypes.BINARY},
        operation_id="imported_results_file",
        tags=["boards"],
    )
    def get(self, request: Any, project: str, number: int) -> FileResponse:
        """The bytes as they came."""
        file = _find(self, number)
        path = file_path(file.sha256)
        if not path.is_file():
            raise NotFound("The original is no longer kept.")
        return StreamedFile(
            path.open("rb"), as_attachment=True, filename=file.name, content_type="application/octet-stream"
        )


def _find(view: ProjectView, number: int) -> ImportedFile:
    return get_object_or_404(ImportedFile.objects.prefetch_related("evaluations"), project=view.project, pk=number)
