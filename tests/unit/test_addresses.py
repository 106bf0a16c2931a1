"""What people write where an address of a service is wanted."""

import pytest

from trainer.contract.addresses import is_address


@pytest.mark.parametrize("text", ["http://127.0.0.1:8930", "https://tools.example", "http://[::1]:80/", "http://a:1//"])
def test_a_host_with_or_without_a_port(text: str):
    assert is_address(text)
    assert is_address(text, with_path=True)


def test_a_path_only_where_one_may_follow():
    assert is_address("http://127.0.0.1:8000/v1", with_path=True)
    assert not is_address("http://127.0.0.1:8000/v1")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "127.0.0.1:8930",
        "ftp://host",
        "file:///etc/passwd",
        "http://",
        "http://host:0",
        "http://host:99999",
        "http://host:port",
        "http://[::1",
        "http://user@host",
        "http://user:word@host",
        "http://@host",
        "http://host?x=1",
        "http://host#x",
        "http://ho st",
        "http://host\n",
        "http://host\x00",
    ],
)
def test_what_is_none(text: str):
    assert not is_address(text)
    assert not is_address(text, with_path=True)
