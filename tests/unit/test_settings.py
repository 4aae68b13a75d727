from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest

from orchestrator.settings import SettingsError, load_settings, origin_of

KEY = "a signing key of some length"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*R2, *REFUSED, "CDN_DOMAIN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("REROOM_SIGNING_KEY", KEY)


def test_reads_the_names_of_the_replaced_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://there:1/2")
    monkeypatch.setenv("API_BASE_URL", "https://rooms.example/")
    monkeypatch.setenv("ALLOWED_ORIGINS", "https://a.example, http://localhost:3000/ ,")
    settings = load_settings()
    assert settings.redis_url == "redis://there:1/2"
    assert settings.api_base_url == "https://rooms.example"
    assert settings.allowed_origins == ("https://a.example", "http://localhost:3000")


@pytest.mark.parametrize(
    ("value", "urls"),
    [
        ("", ("127.0.0.1:8001",)),
        ("triton:8001", ("triton:8001",)),
        (" [::1]:8001 , gpu-2.example:9001,", ("[::1]:8001", "gpu-2.example:9001")),
    ],
)
def test_one_triton_or_several(monkeypatch: pytest.MonkeyPatch, value: str, urls: tuple[str, ...]) -> None:
    monkeypatch.setenv("REROOM_TRITON_URL", value)
    assert load_settings().triton_urls == urls


def test_defaults_open_nothing() -> None:
    settings = load_settings()
    assert (settings.allowed_origins, settings.admin_token, settings.host) == ((), None, "127.0.0.1")


def test_an_empty_variable_is_an_absent_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REROOM_ADMIN_TOKEN", "")
    assert load_settings().admin_token is None
    monkeypatch.setenv("REROOM_SIGNING_KEY", "")
    with pytest.raises(SettingsError, match="REROOM_SIGNING_KEY"):
        load_settings()


def test_open_is_what_no_other_machine_reaches(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not load_settings().open
    monkeypatch.setenv("REROOM_OPEN", "true")
    for host in ("127.0.0.1", "127.8.0.1", "::1", "localhost"):
        monkeypatch.setenv("REROOM_HOST", host)
        assert load_settings().open
    for host in ("0.0.0.0", "::", "192.0.2.7", "rooms.example"):
        monkeypatch.setenv("REROOM_HOST", host)
        with pytest.raises(SettingsError, match=f"REROOM_OPEN lets everyone in who reaches {host}") as caught:
            load_settings()
        assert "\n" not in str(caught.value)


REFUSED = {
    "REROOM_SIGNING_KEY": ["too short"],
    "REROOM_ADMIN_TOKEN": ["short"],
    "REROOM_PORT": ["http"],
    "REROOM_URL_TTL": ["0"],
    "REROOM_UPLOAD_TTL": ["0"],
    "REROOM_ANSWER_SECONDS": ["0"],
    "REROOM_API_PROCESSES": ["0"],
    "REROOM_MAX_UPLOAD_BYTES": ["-1"],
    "REDIS_URL": ["localhost:6379", "redis://localhost:port"],
    "REROOM_TRITON_URL": ["http://localhost:8001", "a:8001,b", "a:8001, b:8001, a:8001", ","],
    "REROOM_TRUSTED_PROXIES": ["proxy.example", "10.0.0.0/33"],
    "API_BASE_URL": ["rooms.example"],
    "ALLOWED_ORIGINS": ["https://a.example/path", "a.example"],
    "R2_ENDPOINT_URL": ["account.r2.cloudflarestorage.com", "https://account.r2.cloudflarestorage.com/rooms"],
    "REROOM_S3_PREFIX": ["staging", "/staging/", "../"],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in REFUSED for value in REFUSED[name]])
def test_says_which_variable_is_wrong(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=name) as caught:
        load_settings()
    assert "\n" not in str(caught.value)


R2 = {
    "R2_BUCKET_NAME": "rooms",
    "R2_ENDPOINT_URL": "https://account.r2.cloudflarestorage.com",
    "R2_ACCESS_KEY_ID": "an-id",
    "R2_SECRET_ACCESS_KEY": "not for logs",
}


@pytest.mark.parametrize("missing", R2)
def test_r2_wants_all_of_its_variables(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    for name, value in R2.items():
        if name != missing:
            monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=missing) as caught:
        load_settings()
    message = str(caught.value)
    assert "\n" not in message
    assert "not for logs" not in message
    monkeypatch.setenv(missing, R2[missing])
    settings = load_settings()
    assert settings.r2_bucket_name == "rooms"
    assert "not for logs" not in repr(settings)


def test_a_cdn_of_the_replaced_service_is_not_silently_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().warnings == []
    monkeypatch.setenv("CDN_DOMAIN", "cdn.example")
    assert "CDN_DOMAIN" in load_settings().warnings[0]


def test_no_secret_shows_in_a_message_or_a_representation(monkeypatch: pytest.MonkeyPatch) -> None:
    assert KEY not in repr(load_settings())
    monkeypatch.setenv("REROOM_SIGNING_KEY", "kurz")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert "kurz" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://a.example/x?y", "https://a.example"), ("https://a.example:443", "https://a.example"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"), ("http://[::1]:8000/", "http://[::1]:8000"),
        ("ftp://a.example", None), ("a.example", None), ("http://a:port", None), ("", None),
    ],
)  # fmt: skip
def test_origins(url: str, origin: Any) -> None:
    assert origin_of(url) == origin


@pytest.mark.parametrize(
    ("base", "others"),
    [
        ("http://127.0.0.1:8000", ["http://[::1]:8000", "http://localhost:8000"]),
        ("http://localhost:8000/api", ["http://127.0.0.1:8000", "http://[::1]:8000"]),
        ("http://[::1]", ["http://127.0.0.1", "http://localhost"]),
        ("https://rooms.example", []),
    ],
)
def test_pages_of_this_service_may_call_it_by_any_name_of_this_machine(
    monkeypatch: pytest.MonkeyPatch, base: str, others: list[str]
) -> None:
    monkeypatch.setenv("API_BASE_URL", base)
    monkeypatch.setenv("ALLOWED_ORIGINS", "https://else.example")
    assert set(load_settings().origins) == {"https://else.example", origin_of(base), *others}
    assert load_settings().hosts >= {"else.example", urlsplit(base).hostname}
