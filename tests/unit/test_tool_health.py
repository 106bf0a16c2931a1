"""What the platform says of a tool service in any state, and that no state keeps a page waiting."""

import json
import time

import pytest
from tool_service import answer_with, find_dead_address, point_platform_at

from chanote.environment import SettingError, read_addresses
from chanote.tools import health
from chanote.tools.client import ServiceFailed, ask
from chanote.tools.endpoints import Endpoint, find_endpoint
from chanote.tools.health import look

TOOLS = [{"type": "function", "function": {"name": name, "parameters": {}}} for name in ("search_law", "run_python")]
LAWS = {"ready": True, "detail": "", "facts": {"corpus_hash": "c" * 64, "sections": 10, "language": "th"}}
POOL = {"ready": True, "detail": "", "facts": {"image_digest": "sha256:" + "d" * 64, "warm": 4, "leased": 1}}
NO_ENGINE = {"ready": True, "detail": "unavailable: no container engine; start it", "facts": {}}


def replies(*parts, status=200, tools=TOOLS):
    ready = {"status": "ready", "parts": {str(number): part for number, part in enumerate(parts)}}
    return {
        "/readyz": (status, json.dumps(ready).encode()),
        "/v1/tools": (200, json.dumps({"tools": tools}).encode()),
    }


def test_a_service_that_has_everything_is_ready(settings):
    with answer_with(replies(LAWS, POOL)) as (address, _):
        point_platform_at(settings, address)
        found = look()
    assert (found.state, found.sentence) == ("ready", "Law and code tools answer.")
    assert found.facts["warm"] == 4
    assert found.why_not("run_python") == ""
    assert found.why_not("read_law") == f"The tool service at {address} does not offer read_law."


def test_without_an_engine_the_reason_and_the_way_out_are_told(settings):
    with answer_with(replies(LAWS, NO_ENGINE)) as (address, _):
        point_platform_at(settings, address)
        found = look()
    assert found.state == "partly"
    assert "Law tools work. Code tools answer “unavailable: no container engine”. Start" in found.sentence
    assert found.why_not("run_python") == "unavailable: no container engine; start it"
    assert found.why_not("search_law") == ""


def test_without_code_tools_at_all_that_is_the_reason(settings):
    with answer_with(replies(LAWS, tools=TOOLS[:1])) as (address, _):
        point_platform_at(settings, address)
        assert "Start it without --no-code" in look().sentence


def test_a_service_that_is_not_ready_says_what_it_waits_for(settings):
    waits = {"ready": False, "detail": "the index is not open yet", "facts": {}}
    with answer_with(replies(waits, status=503)) as (address, _):
        point_platform_at(settings, address)
        found = look()
    assert (found.state, found.answers) == ("starting", False)
    assert "It says: the index is not open yet." in found.sentence


def test_no_service_is_set_up(settings):
    point_platform_at(settings)
    assert look().state == "absent"
    assert "CHANOTE_SANDBOX_URL" in look().sentence


def test_nothing_listens(settings):
    point_platform_at(settings, find_dead_address())
    assert look().state == "unreachable"
    assert "cannot be reached (Connection refused); start it, or correct CHANOTE_SANDBOX_URL." in look().sentence


def test_a_wrong_token_is_told_and_not_shown(settings, tmp_path):
    token = tmp_path / "token"
    token.write_text("# made by hand\nplatform:not-the-token-of-it\n")
    with answer_with({"/readyz": (401, b"{}")}) as (address, seen):
        point_platform_at(settings, address, token_file=token)
        sentence = look().sentence
    assert seen[0][1] == "Bearer not-the-token-of-it"
    assert "does not take this platform's token" in sentence
    assert "not-the-token" not in sentence


def test_a_token_file_that_is_gone_is_named(settings, tmp_path):
    point_platform_at(settings, "http://127.0.0.1:1", token_file=tmp_path / "gone")
    assert f"The token file {tmp_path / 'gone'} cannot be read" in look().sentence


@pytest.mark.parametrize("answer", [(200, b"<html>"), (200, b"[]"), (302, b""), (200, b"[" * 100_000)])
def test_what_is_no_tool_service_is_called_so(settings, answer):
    with answer_with({"/readyz": answer}) as (address, seen):
        point_platform_at(settings, address)
        assert "is no tool service" in look().sentence
    assert [path for path, _, _ in seen] == ["/readyz"], "a redirect was followed"


def test_a_service_that_drips_is_cut_off_as_a_whole(settings):
    with answer_with(replies(LAWS), drip_s=0.2) as (address, _):
        started = time.monotonic()
        with pytest.raises(ServiceFailed, match=r"within 0\.5 s"):
            ask(Endpoint(address), "/readyz", seconds=0.5)
        # Each byte alone would be in time: all of them take half a minute.
        assert time.monotonic() - started < 15


def test_a_page_waits_less_than_two_seconds(settings):
    assert settings.SANDBOX_PATIENCE_MS < 2000


def test_a_look_is_kept_for_a_while_whatever_it_found(settings, monkeypatch):
    monkeypatch.setattr(health, "KEPT_S", 600)
    monkeypatch.setattr(health, "KEPT_WHEN_BAD_S", 600)
    with answer_with(replies(LAWS, POOL)) as (address, seen):
        point_platform_at(settings, address)
        assert look() is look()
        assert [path for path, _, _ in seen] == ["/readyz", "/v1/tools"]
    assert look().state == "ready"
    assert look(fresh=True).state == "unreachable"
    point_platform_at(settings, address)
    assert look().state == "unreachable"
    assert look() is look()


def test_only_addresses_of_the_installation_are_asked(settings, tmp_path):
    token = tmp_path / "token"
    token.write_text("platform:0123456789abcdef\n")
    with answer_with(replies(LAWS)) as (stranger, seen):
        point_platform_at(settings, "http://127.0.0.1:1", token_file=token)
        assert find_endpoint(stranger) is None
        assert "knows no tool service at" in look(stranger).sentence
    assert seen == []


@pytest.mark.parametrize(
    "address", ["127.0.0.1:8930", "ftp://laws", "http://", "http://me:secret@laws", "http://laws/v1"]
)
def test_an_address_that_cannot_be_used_stops_the_start_with_a_sentence(monkeypatch, address):
    monkeypatch.setenv("CHANOTE_SANDBOX_URL", address)
    with pytest.raises(SettingError, match="is no address like"):
        read_addresses("CHANOTE_SANDBOX_URL")


def test_several_addresses_are_read_once_each(monkeypatch):
    monkeypatch.setenv("CHANOTE_SANDBOX_URL", "http://laws:8930/, http://code:8930, http://laws:8930")
    assert read_addresses("CHANOTE_SANDBOX_URL") == ["http://laws:8930", "http://code:8930"]
