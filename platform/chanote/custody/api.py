"""Bundles, packages and keys over REST."""

from typing import Any

from django.http import FileResponse
from django.shortcuts import get_object_or_404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.parsers import FormParser, MultiPartParser
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response

from chanote.api.errors import Refused
from chanote.api.idempotency import PARAMETER, idempotent
from chanote.api.views import ProjectView
from chanote.custody.exporting import ExportRefused
from chanote.custody.models import BundleExport, Package, Subject, TrustedKey
from chanote.custody.packages import PackageRefused
from chanote.custody.quarantine import accept_package, receive_package, reject_package
from chanote.custody.selectors import find_export, find_package
from chanote.custody.services import start_export
from chanote.custody.trust import distrust_key, find_key_owner, trust_key
from chanote.errands.api import ErrandAnswer
from chanote.web.streaming import StreamedFile


class TarRenderer(JSONRenderer):
    """Lets clients ask for a file; errors remain JSON."""

    media_type = "application/x-tar"
    format = "tar"


class BundleAnswer(serializers.ModelSerializer[BundleExport]):
    author = serializers.CharField(source="created_by.username", default="")
    downloadable = serializers.SerializerMethodField()

    class Meta:
        model = BundleExport
        fields = (
            "id", "kind", "name", "content_sha256", "manifest_sha256", "key", "fingerprint", "bytes", "downloadable",
            "author", "created",
        )  # fmt: skip

    def get_downloadable(self, export: BundleExport) -> bool:
        return export.file is not None


class BundleRequest(serializers.Serializer[Any]):
    kind = serializers.ChoiceField(Subject.choices)
    name = serializers.CharField(max_length=200, help_text="Of the model, or of the dataset version: `slug@number`.")


class PackageAnswer(serializers.ModelSerializer[Package]):
    uploaded_by = serializers.CharField(source="uploaded_by.username", default="")
    decided_by = serializers.CharField(source="decided_by.username", default="")
    version = serializers.CharField(source="version.reference", default="", help_text="What was made of it.")
    manifest = serializers.DictField(help_text="Without the list of files.")
    difference = serializers.DictField(help_text="What of it was inside already when it came.")
    key_owner = serializers.SerializerMethodField(help_text="Empty for a key that nobody accepted.")

    class Meta:
        model = Package
        fields = (
            "id", "name", "state", "rows", "bytes", "manifest", "manifest_sha256", "key", "fingerprint", "key_owner",
            "difference", "uploaded", "uploaded_by", "decided", "decided_by", "reason", "fault", "version",
        )  # fmt: skip

    def get_key_owner(self, package: Package) -> str:
        return find_key_owner(package.project, package.key)


class PackageRequest(serializers.Serializer[Any]):
    file = serializers.FileField()


class DecisionRequest(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=2000)


class KeyAnswer(serializers.ModelSerializer[TrustedKey]):
    accepted_by = serializers.CharField(source="accepted_by.username", default="")

    class Meta:
        model = TrustedKey
        fields = ("id", "key", "fingerprint", "owner", "accepted", "accepted_by")


class KeyRequest(serializers.Serializer[Any]):
    key = serializers.CharField(max_length=64, help_text="64 hexadecimal digits.")
    owner = serializers.CharField(max_length=200, help_text="Whose key it is, as you made sure.")


class Bundles(ProjectView):
    scope = "custody"
    serializer_class = BundleAnswer
    queryset = BundleExport.objects.none()

    @extend_schema(responses=BundleAnswer(many=True), operation_id="custody_bundles", tags=["custody"])
    def get(self, request: Any, project: str) -> Response:
        """Signed bundles that were made here, the newest first."""
        return self.answer_page(BundleExport.objects.filter(project=self.project), BundleAnswer)

    @extend_schema(
        request=BundleRequest,
        responses={202: ErrandAnswer},
        parameters=[PARAMETER],
        operation_id="custody_export",
        tags=["custody"],
    )
    @idempotent
    def post(self, request: Any, project: str) -> Response:
        """Write a signed bundle of a model or a dataset version; the errand's result has its link."""
        self.require("custody.export")
        try:
            errand = start_export(project=self.project, actor=request.user, **self.read(BundleRequest))
        except (ExportRefused, PackageRefused) as refused:
            raise Refused("Nothing was exported.", refused.problems) from refused
        return Response(ErrandAnswer(errand).data, status=202, headers={"Location": self.link("errand", errand.pk)})


class BundleFile(ProjectView):
    scope = "custody"
    renderer_classes = (TarRenderer, JSONRenderer)

    @extend_schema(
        responses={(200, "application/x-tar"): OpenApiTypes.BINARY},
        operation_id="custody_bundle_file",
        tags=["custody"],
    )
    def get(self, request: Any, project: str, number: int) -> FileResponse | Response:
        """The bundle itself, a .tar."""
        self.require("custody.export")
        export = find_export(self.project, number)
        if export.file is None:
            raise Refused("The file of this bundle is not here; export it again.")
        return StreamedFile(
            export.file.open("rb"), as_attachment=True, filename="bundle.tar", content_type="application/x-tar"
        )


class Packages(ProjectView):
    scope = "custody"
    serializer_class = PackageAnswer
    queryset = Package.objects.none()
    parser_classes = (MultiPartParser, FormParser)

    @extend_schema(responses=PackageAnswer(many=True), operation_id="custody_packages", tags=["custody"])
    def get(self, request: Any, project: str) -> Response:
        """Transfer packages that came in, the newest first."""
        packages = Package.objects.filter(project=self.project)
        return self.answer_page(
            packages.select_related("uploaded_by", "decided_by", "version__dataset", "project"), PackageAnswer
        )

    @extend_schema(
        request={"multipart/form-data": PackageRequest},
        responses={201: PackageAnswer},
        parameters=[PARAMETER],
        operation_id="custody_receive",
        tags=["custody"],
    )
    @idempotent(whole=False)
    def post(self, request: Any, project: str) -> Response:
        """Bring a transfer package into quarantine."""
        self.require("custody.release")
        parsed = PackageRequest(data=request.data)
        parsed.is_valid(raise_exception=True)
        try:
            package = receive_package(project=self.project, file=parsed.validated_data["file"].file, actor=request.user)
        except PackageRefused as refused:
            raise Refused("The package was not taken.", refused.problems) from refused
        headers = {"Location": self.link("package", package.pk)}
        return Response(PackageAnswer(package).data, status=201, headers=headers)


class OnePackage(ProjectView):
    scope = "custody"

    @extend_schema(responses=PackageAnswer, operation_id="custody_package", tags=["custody"])
    def get(self, request: Any, project: str, number: int) -> Response:
        """One package."""
        return Response(PackageAnswer(find_package(self.project, number)).data)


class AcceptPackage(ProjectView):
    scope = "custody"

    @extend_schema(
        request=DecisionRequest, responses={202: ErrandAnswer}, operation_id="custody_accept", tags=["custody"]
    )
    def post(self, request: Any, project: str, number: int) -> Response:
        """Let a package in that somebody else brought; an errand makes a draft version of it."""
        self.require("custody.release")
        package = find_package(self.project, number)
        try:
            errand = accept_package(package, actor=request.user, **self.read(DecisionRequest))
        except PackageRefused as refused:
            raise Refused("The package stays where it is.", refused.problems) from refused
        return Response(ErrandAnswer(errand).data, status=202, headers={"Location": self.link("errand", errand.pk)})


class RejectPackage(ProjectView):
    scope = "custody"

    @extend_schema(request=DecisionRequest, responses=PackageAnswer, operation_id="custody_reject", tags=["custody"])
    def post(self, request: Any, project: str, number: int) -> Response:
        """Keep a package out that somebody else brought."""
        self.require("custody.release")
        package = find_package(self.project, number)
        try:
            reject_package(package, actor=request.user, **self.read(DecisionRequest))
        except PackageRefused as refused:
            raise Refused("The package stays where it is.", refused.problems) from refused
        return Response(PackageAnswer(package).data)


class Keys(ProjectView):
    scope = "custody"
    serializer_class = KeyAnswer
    queryset = TrustedKey.objects.none()

    @extend_schema(responses=KeyAnswer(many=True), operation_id="custody_keys", tags=["custody"])
    def get(self, request: Any, project: str) -> Response:
        """Keys whose packages the project takes."""
        return self.answer_page(TrustedKey.objects.filter(project=self.project), KeyAnswer)

    @extend_schema(
        request=KeyRequest,
        responses={201: KeyAnswer},
        parameters=[PARAMETER],
        operation_id="custody_trust",
        tags=["custody"],
    )
    @idempotent
    def post(self, request: Any, project: str) -> Response:
        """Accept somebody's key."""
        self.require("custody.trust")
        try:
            trusted = trust_key(project=self.project, actor=request.user, **self.read(KeyRequest))
        except PackageRefused as refused:
            raise Refused("The key was not accepted.", refused.problems) from refused
        return Response(KeyAnswer(trusted).data, status=201)


class OneKey(ProjectView):
    scope = "custody"

    @extend_schema(responses={204: None}, operation_id="custody_distrust", tags=["custody"])
    def delete(self, request: Any, project: str, number: int) -> Response:
        """Take no further package under this key."""
        self.require("custody.trust")
        distrust_key(get_object_or_404(TrustedKey, project=self.project, pk=number), actor=request.user)
        return Response(status=204)
