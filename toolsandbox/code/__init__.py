"""Code tools: programs of a policy run in hardened containers, judged outside of them."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from toolsandbox.code.provider import CodeProvider
    from toolsandbox.settings import ServiceSettings


def open_code_tools(settings: "ServiceSettings") -> "CodeProvider":
    """The provider that the service mounts. It finds the engine when it starts."""
    from toolsandbox.code.provider import CodeProvider, read_settings

    return CodeProvider(read_settings(settings.code_settings_file))
