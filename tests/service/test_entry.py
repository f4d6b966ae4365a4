"""Who is let in: keys, names, origins; and which headers does every answer carry?"""

from __future__ import annotations

import pytest
from starlette.datastructures import Headers

from melascope.errors import MelascopeError
from melascope.service.gate import Entry
from melascope.service.keys import SHORTEST, Keys
from running_service import serving_service

KEY, OTHER = "k" * 31 + "1", "k" * 31 + "2"
ORIGIN = "https://reader.example"


@pytest.fixture(scope="module")
def guarded(world):
    entry = Entry(Keys.of([KEY, OTHER], where="test"), names=("melascope.example",), origins=(ORIGIN,))
    with serving_service(world.answerer, entry=entry) as found:
        yield found


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": f"Bearer {KEY}"}, 200),
        ({"Authorization": f"bearer  {OTHER}"}, 200),
        ({"X_API_Key": KEY}, 200),
        ({"X_API_Key": KEY[:-1]}, 401),
        ({"X_API_Key": KEY + "1"}, 401),
        ({"X_API_Key": "ä" * 20}, 401),
        ({"Authorization": f"Basic {KEY}"}, 401),
        ({"Authorization": "Bearer wrong", "X_API_Key": KEY}, 401),
    ],
)
def test_only_a_key_lets_in(guarded, good, headers, status):
    reply = guarded.ask("POST", "/v1/predict", good, **headers)
    assert reply.status == status
    if status == 401:
        assert reply.json()["code"] == "no_key" and reply.headers["www-authenticate"].startswith("Bearer")


def test_everything_but_health_and_readiness_needs_the_key(guarded):
    for path in ("/v1/model-card", "/v1/openapi.json", "/metrics", "/v1/none"):
        assert guarded.ask("GET", path).status == 401
    assert guarded.ask("GET", "/health").status == guarded.ask("GET", "/ready").status == 200


def test_the_description_tells_how_a_key_is_sent(guarded, served):
    told = guarded.ask("GET", "/v1/openapi.json", X_API_Key=KEY).json()
    assert told["paths"]["/v1/predict"]["post"]["security"] == [{"bearer": []}, {"header": []}]
    assert "security" not in told["paths"]["/health"]["get"]
    assert "security" not in served.ask("GET", "/v1/openapi.json").json()["paths"]["/v1/predict"]["post"]


def test_keys_are_read_a_line_each_and_short_ones_refused(tmp_path):
    file = tmp_path / "keys"
    file.write_text(f"{KEY}\n\n  {OTHER}  \n")
    keys = Keys.read(file)
    assert all(keys.let_in(Headers({"x-api-key": key})) for key in (KEY, OTHER))
    assert KEY not in repr(keys) and not keys.let_in(Headers({}))
    for text in ("", "\n\n", "k" * (SHORTEST - 1), "k" * 30 + " k", "ä" * 30):
        file.write_text(text)
        with pytest.raises(MelascopeError) as error:
            Keys.read(file)
        assert not text.strip() or text.strip() not in str(error.value)
    with pytest.raises(MelascopeError, match="cannot be read"):
        Keys.read(tmp_path / "none")


def test_no_keys_let_in_everybody():
    assert Keys().let_in(Headers({})) and not Keys()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": ORIGIN}, 200),
        ({"Origin": ORIGIN, "Sec_Fetch_Site": "cross-site"}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "https://["}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
    ],
)
def test_web_pages_of_other_origins_must_be_named(guarded, good, headers, status):
    reply = guarded.ask("POST", "/v1/predict", good, X_API_Key=KEY, **headers)
    assert reply.status == status
    assert reply.headers.get("access-control-allow-origin") == (ORIGIN if headers.get("Origin") == ORIGIN else None)


def test_cors_is_off_unless_asked_for(guarded, served, good):
    asked = {"Origin": ORIGIN, "Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "x-api-key"}
    assert guarded.ask("OPTIONS", "/v1/predict", **asked).headers["access-control-allow-origin"] == ORIGIN
    off = served.ask("OPTIONS", "/v1/predict", **asked)
    assert off.status == 403 and "access-control-allow-origin" not in off.headers
    assert served.ask("POST", "/v1/predict", good, Origin=ORIGIN).status == 403
    evil = guarded.ask("OPTIONS", "/v1/predict", **{**asked, "Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in evil.headers


def test_a_name_that_can_be_pointed_here_is_not_answered(guarded, served):
    assert guarded.ask("GET", "/health", Host="melascope.example").status == 200
    assert served.ask("GET", "/health", Host="melascope.example").json()["code"] == "unknown_host"


@pytest.mark.parametrize("path", ["/health", "/v1/predict", "/none", "/metrics", "/v1/model-card"])
def test_every_answer_carries_the_headers(served, path):
    headers = served.ask("GET", path).headers
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["x-content-type-options"] == "nosniff" and headers["cache-control"] == "no-store"
    assert "server" not in headers
