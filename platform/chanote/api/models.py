"""What the API remembers of its callers."""

from django.conf import settings
from django.db import models


class IdempotencyKey(models.Model):
    """A request that creates something, by the word its caller gave it: asked again, it is answered, not repeated."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    key = models.CharField(max_length=200)
    request_sha256 = models.CharField(max_length=64)
    """Hash of method, address and content."""
    fence = models.PositiveIntegerField(default=0)
    """Raised when an abandoned request is taken over; the earlier one can no longer finish."""
    status = models.PositiveSmallIntegerField(null=True, blank=True)
    """HTTP status of the answer; empty while the request is being worked on."""
    response = models.JSONField(null=True, blank=True)
    started = models.DateTimeField()
    created = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "key"], name="idempotency_key_used_once")]

    def __str__(self) -> str:
        return f"{self.key} of {self.user_id}"
