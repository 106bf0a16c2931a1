"""Answers that a browser already has are not sent again."""

import gzip
import hashlib

from django.http import HttpRequest, HttpResponse
from django.utils.cache import get_conditional_response, patch_vary_headers

SMALLEST_COMPRESSED = 1000


def answer_unchanged(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """The response with an ETag, 304 when the browser has it, compressed when the browser can read that.

    Only for answers without secrets: a page with a CSRF token must not be compressed (BREACH).
    """
    etag = f'"{hashlib.sha256(response.content).hexdigest()[:32]}"'
    response["ETag"] = etag
    response["Cache-Control"] = "private, no-cache"
    patch_vary_headers(response, ["Accept-Encoding", "Cookie"])
    conditional = get_conditional_response(request, etag=etag, response=response)
    if conditional is not response or len(response.content) < SMALLEST_COMPRESSED:
        return conditional or response
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        response.content = gzip.compress(response.content, compresslevel=5, mtime=0)
        response["Content-Encoding"] = "gzip"
        response["Content-Length"] = str(len(response.content))
    return response
