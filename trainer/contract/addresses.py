"""What counts as the address of a service."""

import re
from urllib.parse import urlsplit


def is_address(text: str, *, with_path: bool = False) -> bool:
    """Whether it is `http://host:port` or `https://host`; `with_path`: whether a path may follow, as in `…/v1`.

    A user, a password, a query or white space makes it none; slashes at the end do not.
    """
    try:
        parts = urlsplit(text)
        named = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        return False
    extra = "@" in parts.netloc or parts.query or parts.fragment or re.search(r"[\s\x00-\x1f]", text)
    return bool(named and not extra and (with_path or not parts.path.strip("/")))
