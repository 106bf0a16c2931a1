"""Addresses of the rights in the API, below `projects/<project>/`."""

from django.urls import URLPattern, path

from chanote.rights import api

ROW = "datasets/<slug:slug>/versions/<number:number>/rows/<number:row>/"


def list_addresses(base: str) -> list[URLPattern]:
    """Called where the converter `number` is registered."""
    one = f"{base}exceptions/<number:number>/"
    return [
        path(f"{base}sources/", api.Sources.as_view(), name="sources"),
        path(f"{base}sources/<slug:slug>/", api.OneSource.as_view(), name="source"),
        path(f"{base}sources/<slug:slug>/impact/", api.SourceImpact.as_view(), name="source_impact"),
        path(f"{base}sources/<slug:slug>/withdraw/", api.SourceWithdrawal.as_view(), name="source_withdraw"),
        path(f"{base}sources/<slug:slug>/retrain/", api.SourceRetraining.as_view(), name="source_retrain"),
        path(f"{base}retrain/", api.Retraining.as_view(), name="retrain"),
        path(f"{base}{ROW}impact/", api.RowImpact.as_view(), name="row_impact"),
        path(f"{base}{ROW}withdraw/", api.RowWithdrawal.as_view(), name="row_withdraw"),
        path(f"{base}exceptions/", api.Exceptions.as_view(), name="exceptions"),
        path(one, api.OneException.as_view(), name="exception"),
        path(f"{one}approve/", api.Approval.as_view(), name="exception_approve"),
        path(f"{one}refuse/", api.Refusing.as_view(), name="exception_refuse"),
        path(f"{one}revoke/", api.Revocation.as_view(), name="exception_revoke"),
        path(f"{one}take-back/", api.TakingBack.as_view(), name="exception_take_back"),
    ]
