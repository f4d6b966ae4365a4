"""Is a graph's card that we cannot use told key by key?"""

import json

import pytest

from melascope.errors import ExportError
from melascope.tables.exports import ExportCard
from tiny_graph import CARD


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda card: card.update(surprise=1), "surprise: unknown key"),
        (lambda card: card["maps"].update(layr="bn2"), r"maps\.layr: unknown key; did you mean layer\?"),
        (lambda card: card["maps"].pop("unit"), r"maps\.unit: Field required"),
        (lambda card: card["checkpoint"].update(zzz=1), r"checkpoint\.zzz: unknown key"),
        (lambda card: card.update(schema_version=9), "schema 9"),
    ],
)
def test_what_is_wrong_in_a_card_is_named(change, says, tmp_path):
    content = json.loads(CARD.as_text())
    assert ExportCard.from_text(json.dumps(content), where=tmp_path) == CARD
    change(content)
    with pytest.raises(ExportError, match=says):
        ExportCard.from_text(json.dumps(content), where=tmp_path)


@pytest.mark.parametrize("text", [None, "", "{", "[]", "null"])
def test_what_is_no_card_is_refused(text, tmp_path):
    with pytest.raises(ExportError):
        ExportCard.from_text(text, where=tmp_path)
