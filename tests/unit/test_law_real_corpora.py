"""The real Thai and German laws: recall with its interval, sections found as people cite them."""

import pytest

from toolsandbox.contract import ReadLaw
from toolsandbox.law.bench import measure_references
from toolsandbox.law.gesetze import write_corpus
from toolsandbox.law.index import open_index
from toolsandbox.law.read import LawReader
from toolsandbox.law.recall import bootstrap_interval, measure_recall, read_questions
from toolsandbox.law.search import LawSearch

pytestmark = pytest.mark.shared_data


@pytest.fixture(scope="module")
def thai(shared_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("thai")
    corpus = folder / "thai.jsonl"
    files = sorted((shared_data / "thai_law_sections").glob("*.jsonl"))
    corpus.write_bytes(b"".join(file.read_bytes() for file in files))
    return LawSearch(open_index(corpus, folder=folder))


@pytest.fixture(scope="module")
def german(shared_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("german")
    laws = [shared_data / "german_law" / name for name in ("bgb.md", "gg.md")]
    write_corpus(laws, folder / "german.jsonl")
    return LawSearch(open_index(folder / "german.jsonl", language="de", folder=folder))


def first(search, query):
    place, _ = search.search(query, 1)[0]
    return search.index.sections[place].law_name, search.index.sections[place].section_num


def test_the_citations_of_the_tax_rulings_are_found(thai, shared_data):
    questions = read_questions(shared_data / "nitibench_tax/nitibench_tax_50.jsonl")
    measured = measure_recall(thai, questions, depth=10, name="recall_at_10")
    assert measured["laws.recall_at_10_gold"] == 142
    assert measured["laws.recall_at_10"] >= 0.40
    assert measured["laws.recall_at_10_baseline"] < 0.1
    assert measured["laws.recall_at_10_low"] < measured["laws.recall_at_10"] < measured["laws.recall_at_10_high"]
    assert measured["laws.recall_at_10_gain_low"] > 0.2


def test_cross_references_of_the_german_codes_are_found(german):
    """Reported, not tuned: the fused search must only be better than what knows nothing of words."""
    measured = measure_references(german)
    assert measured["laws.references_at_10_questions"] > 700
    assert measured["laws.references_at_10_low"] < measured["laws.references_at_10"] < 1
    assert measured["laws.references_at_10_gain_low"] > 0


def test_thai_laws_have_no_references_by_paragraph_sign(thai):
    assert measure_references(thai) == {}


def test_every_section_is_read_by_its_own_name_and_number(thai, german):
    for search in (thai, german):
        reader = LawReader(search.index.sections, search.names)
        for section in search.index.sections:
            reply = reader.read(ReadLaw(law_name=section.law_name, section_num=section.section_num))
            assert (reply.answer, reply.section_num) == ("found", section.section_num), section


def test_german_sections_are_found_by_citation_and_by_words(german):
    assert len(german.index.sections) > 2500
    assert first(german, "§ 433 BGB") == ("Bürgerliches Gesetzbuch (BGB)", "433")
    assert first(german, "Die Würde des Menschen ist unantastbar")[1] == "1"
    assert first(german, "Wie lang ist die regelmäßige Verjährungsfrist?") == ("Bürgerliches Gesetzbuch (BGB)", "195")
    reader = LawReader(german.index.sections, german.names)
    reply = reader.read(ReadLaw(law_name="Art. 5 GG"))
    assert reply.section_num == "5"
    assert "Jeder hat das Recht, seine Meinung" in reply.text
    assert reader.read(ReadLaw(law_name="GG", section_num="Präambel")).answer == "found"


def test_the_interval_by_hand():
    """All questions alike: every draw has the same share."""
    import numpy as np

    assert bootstrap_interval(np.array([1, 1, 1]), np.array([2, 2, 2])) == (0.5, 0.5)
