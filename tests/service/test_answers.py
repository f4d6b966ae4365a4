"""Does the service say what the run says: probabilities, threshold, maps, overlays, or that a picture is unlike?"""

from __future__ import annotations

import io
import json
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from melascope.classes import CLASSES, RESEARCH_ONLY
from melascope.data.decode import decode_image
from melascope.explain.overlay import encode_overlay
from melascope.service import openapi
from melascope.service.answers import ExplainAnswer, Health, PredictAnswer, Readiness
from melascope.service.card import ModelCard
from melascope.service.refusals import STATUS
from served_page import SANITY, as_bytes


def test_predict_says_what_the_run_says(served, world, good):
    reply = served.ask("POST", "/v1/predict", good)
    answer = PredictAnswer.model_validate_json(reply.body)
    own = world.answerer.answer(decode_image(good, name=""))
    assert reply.status == 200 and answer.notice == RESEARCH_ONLY and answer.likeness.is_alike
    assert list(answer.classified.probabilities.values()) == pytest.approx(list(own.classified.probabilities))
    assert answer.classified.p_target == pytest.approx(own.classified.p_target)
    assert answer.classified.threshold == world.answerer.point.threshold
    assert answer.classified.called is own.classified.called
    assert answer.model.operating_point_sha256 == world.answerer.point.sha256
    assert (answer.image.width, answer.image.height) == (600, 450)


def test_the_threshold_itself_is_called_and_a_temperature_is_applied(world):
    card = world.answerer.looker.card
    assert card.temperature == 1.0  # so the set logits are the answer; another one must move it
    from dataclasses import replace

    warm = replace(world.answerer.looker, card=card.model_copy(update={"temperature": 4.0}))
    rgb = world.train[0]
    cold_answer = world.answerer.answer(rgb).classified
    warm_answer = replace(world.answerer, looker=warm).answer(rgb).classified
    assert abs(warm_answer.p_target - 1 / 7) < abs(cold_answer.p_target - 1 / 7)


def test_explain_gives_all_maps_as_arrays(served, world, good):
    answer = ExplainAnswer.model_validate_json(served.ask("POST", "/v1/explain", good).body)
    assert set(answer.maps.values) == set(CLASSES) and answer.maps.scale == 1
    assert answer.maps.values["mel"][0][0] == 1 and answer.maps.values["nv"][2][3] == 0.5
    assert answer.maps.method == "gradcam" and answer.maps.contrasted_class != "mel"
    assert answer.maps.sanity == SANITY.words == served.ask("GET", "/v1/model-card").json()["maps"]["sanity"]


@pytest.mark.parametrize(("form", "kind"), [("png", "PNG"), ("jpeg", "JPEG")])
def test_explain_draws_a_map_over_the_picture(served, world, good, form, kind):
    reply = served.ask("POST", f"/v1/explain?format={form}&class=nv", good)
    assert reply.status == 200 and reply.headers["content-type"] == f"image/{form}"
    assert reply.headers["x-melascope-notice"] == RESEARCH_ONLY and reply.headers["x-melascope-class"] == "nv"
    assert reply.headers["x-melascope-map-sanity"] == "failed"
    rgb, own = decode_image(good, name=""), world.answerer.answer(decode_image(good, name="")).classified
    places = world.answerer.looker.places
    assert reply.body == encode_overlay(rgb, own.maps[CLASSES.index("nv")], scale=1, places=places, form=kind)


def test_a_large_picture_is_shown_reduced(served, world):
    large = as_bytes(np.asarray(Image.fromarray(world.train[0]).resize((2400, 1800))))
    reply = served.ask("POST", "/v1/explain?format=jpeg", large)
    assert Image.open(io.BytesIO(reply.body)).size == (1600, 1200)


def test_a_picture_unlike_those_of_training_is_not_classified(served, unlike):
    for path in ("/v1/predict", "/v1/explain"):
        answer = served.ask("POST", path, unlike).json()
        assert answer["classified"] is None and answer["likeness"]["strangeness"] > answer["likeness"]["limit"]
        assert "probabilit" not in json.dumps(answer)
    assert served.ask("POST", "/v1/explain", unlike).json()["maps"] is None
    drawn = served.ask("POST", "/v1/explain?format=png", unlike)
    assert drawn.status == 422 and drawn.json()["code"] == "unlike"


def test_many_clients_get_the_answer_to_their_own_picture(served, world):
    drawn = [*world.train[:12], *world.validation[:4]]
    alone = [served.ask("POST", "/v1/predict", as_bytes(one)).json() for one in drawn]
    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(lambda one: served.ask("POST", "/v1/predict", as_bytes(one)).json(), drawn))
    for one, other in zip(alone, together, strict=True):
        assert one["likeness"] == other["likeness"]
        if one["classified"]:
            assert other["classified"]["p_target"] == pytest.approx(one["classified"]["p_target"], abs=1e-6)
    assert len({one["likeness"]["strangeness"] for one in alone}) == len(drawn)


@pytest.mark.parametrize(
    ("data", "status", "code", "word"),
    [
        (b"", 415, "no_picture", "empty"),
        (b"not a picture", 415, "no_picture", "not read"),
        (b"GIF89a" + bytes(50), 415, "no_picture", "not read"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "no_picture", "not read"),
        (as_bytes(np.zeros((20, 20, 4), np.uint8), "PNG"), 422, "unusable_picture", "transparent"),
        (
            as_bytes(np.arange(30_000).astype(np.uint8).reshape(100, 100, 3))[:-900],
            422,
            "unusable_picture",
            "truncated",
        ),
    ],
)
def test_what_is_no_picture_is_refused_by_its_content(served, data, status, code, word):
    reply = served.ask("POST", "/v1/predict", data, Content_Type="image/jpeg")
    assert (reply.status, reply.json()["code"]) == (status, code)
    assert word in reply.json()["error"] and reply.json()["fix"]


def test_the_content_type_does_not_matter(served, good):
    assert served.ask("POST", "/v1/predict", good, Content_Type="text/plain").status == 200


def test_a_bomb_is_refused_from_its_header(served):
    def chunk(kind: bytes, data: bytes) -> bytes:
        import zlib

        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"\0" * 50) + chunk(b"IEND", b"")
    reply = served.ask("POST", "/v1/predict", bomb)
    assert reply.status == 422 and "megapixels" in reply.json()["error"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/predict", 405, "method_not_allowed"),
        ("GET", "/v2/predict", 404, "not_found"),
        ("GET", "/", 404, "not_found"),
        ("POST", "/v1/predict/", 404, "not_found"),
        ("POST", "/v1/explain?format=gif", 422, "bad_parameter"),
        ("POST", "/v1/explain?class=cat", 422, "bad_parameter"),
    ],
)
def test_other_addresses_are_refused_in_the_same_form(served, method, path, status, code):
    reply = served.ask(method, path)
    assert (reply.status, reply.json()["code"]) == (status, code) and set(reply.json()) == {"code", "error", "fix"}


def test_the_card_tells_whose_model_it_is(served, world):
    card = served.ask("GET", "/v1/model-card").json()
    assert card["notice"] == RESEARCH_ONLY and card["model"]["source"] == "phantom"
    assert list(card["classes"]) == list(CLASSES) and card["operating_point"]["sha256"] == world.answerer.point.sha256
    assert card["card"] == [] and card["not_described"] and "/" not in card["not_described"]


def test_the_card_of_an_evaluated_run_has_its_nine_parts(world, tmp_path):
    from dataclasses import replace

    from melascope.service.answers import model_name
    from melascope.service.card import card_of
    from melascope.tables.runs import RunDirectory
    from run_folder import write_run

    answerer = replace(world.answerer, run=RunDirectory(write_run(tmp_path / "drawn")))
    card = card_of(answerer, model_name(answerer))
    assert [part.title for part in card.card][:3] == ["Model details", "Intended use", "Factors"] and len(
        card.card
    ) == 9
    assert "sensitivity" in next(part.text for part in card.card if part.title == "Metrics").lower()


def test_health_readiness_and_counts(served, good):
    assert Health.model_validate_json(served.ask("GET", "/health").body).status == "alive"
    assert Readiness.model_validate_json(served.ask("GET", "/ready").body).status == "ready"
    served.ask("POST", "/v1/predict", good)
    served.ask("POST", "/v1/predict", b"x")
    served.ask("GET", "/v1/somebodys-words")
    text = served.ask("GET", "/metrics").body.decode()
    assert 'melascope_requests_total{route="/v1/predict",status="200"}' in text
    assert 'melascope_refused_total{code="no_picture"}' in text and 'route="other"' in text
    assert "somebody" not in text and "melascope_places_taken 0.0" in text and "melascope_bytes_held 0.0" in text
    assert "process_resident_memory_bytes" in text


def test_examples_are_of_the_described_form():
    models = {"predict": PredictAnswer, "explain": ExplainAnswer, "health": Health, "ready": Readiness}
    models["model-card"] = ModelCard
    assert set(openapi.EXAMPLE_ANSWERS) == set(models)
    for name, model in models.items():
        model.model_validate(openapi.EXAMPLE_ANSWERS[name])
    probabilities = openapi.EXAMPLE_ANSWERS["predict"]["classified"]["probabilities"]
    assert sum(probabilities.values()) == pytest.approx(1)
    assert set(STATUS) - set(openapi.EXAMPLES) == {"client_left", "not_found", "method_not_allowed"}


def test_the_description_has_an_example_of_each_answer(served):
    paths = served.ask("GET", "/v1/openapi.json").json()["paths"]
    assert set(paths) == {"/v1/predict", "/v1/explain", "/v1/model-card", "/health", "/ready", "/metrics"}
    for path, form in {"/v1/model-card": "application/json", "/metrics": "text/plain"}.items():
        assert paths[path]["get"]["responses"]["200"]["content"][form]["example"]
    for path in ("/v1/predict", "/v1/explain"):
        told = paths[path]["post"]["responses"]
        assert "example" in told["200"]["content"]["application/json"]
        assert {"408", "413", "415", "422", "503"} <= set(told) and "Retry-After" in told["503"]["headers"]


def test_the_page_of_the_docs_names_every_code_and_every_count(served):
    page = (Path(__file__).parents[2] / "docs/service.md").read_text(encoding="utf-8")
    counted = {
        line.split()[2]
        for line in served.ask("GET", "/metrics").body.decode().splitlines()
        if line.startswith("# TYPE")
    }
    ours = {name.removesuffix("_total").removesuffix("_created") for name in counted if name.startswith("melascope_")}
    for word in (*STATUS, *ours):
        assert f"`{word}" in page, word
