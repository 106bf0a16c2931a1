"""Search: scores worked out by hand, one ranking for one query, and an index that is checked before it is read."""

import json
import math
import os
import random
import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from law_rows import ROWS, write_corpus

from toolsandbox.law import index as index_module
from toolsandbox.law.corpus import BadCorpus, read_corpus
from toolsandbox.law.dense import Embedder
from toolsandbox.law.index import open_index
from toolsandbox.law.language import guess_language, open_language
from toolsandbox.law.postings import build_postings, rank_best
from toolsandbox.law.search import LawSearch
from toolsandbox.law.terms import gram_terms, word_terms
from toolsandbox.tools import ToolUnavailable


def terms(*numbers):
    return np.array(numbers, dtype=np.uint64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("law")


@pytest.fixture(scope="module")
def search(folder):
    return LawSearch(open_index(write_corpus(folder / "laws.jsonl"), folder=folder / "indexes"))


def found(search, query, top_k=3):
    return [
        (search.index.sections[place].law_name, search.index.sections[place].section_num)
        for place, _ in search.search(query, top_k)
    ]


def test_bm25_by_hand():
    """Three documents of 2, 2 and 4 terms, mean 8/3. Term 7 is in two of them: idf = ln(1 + 1.5 / 2.5)."""
    postings = build_postings([terms(7, 7), terms(8, 9), terms(7, 9, 9, 9)])
    idf = math.log(1 + 1.5 / 2.5)
    first = idf * 2 * 2.2 / (2 + 1.2 * (0.25 + 0.75 * 2 / (8 / 3)))
    third = idf * 1 * 2.2 / (1 + 1.2 * (0.25 + 0.75 * 4 / (8 / 3)))
    assert postings.score(terms(7)).tolist() == pytest.approx([first, 0.0, third], rel=1e-6)
    assert postings.score(terms(7, 7)).tolist() == pytest.approx([2 * first, 0.0, 2 * third], rel=1e-6)


def test_terms_that_no_document_has_score_nothing():
    postings = build_postings([terms(7), terms(8)])
    assert postings.score(terms(1, 9, 2**64 - 1)).tolist() == [0.0, 0.0]
    assert postings.score(terms()).tolist() == [0.0, 0.0]


def test_equal_scores_keep_the_order_of_the_corpus():
    scores = np.array([0.0, 2.0, 1.0, 2.0, 1.0, 2.0])
    assert rank_best(scores, 10).tolist() == [1, 3, 5, 2, 4]
    assert rank_best(scores, 4).tolist() == [1, 3, 5, 2]
    assert rank_best(scores, 2).tolist() == [1, 3]


def test_words_of_thai_are_found_without_blanks():
    thai = open_language("th")
    assert thai.split("กำไรสุทธิ 20 VAT") == [*thai.split("กำไรสุทธิ"), "20", "VAT"]
    assert "บัญชี" in thai.split("ผู้มีหน้าที่จัดทำบัญชีต้องจัดให้มี")
    assert len(word_terms("กำไรสุทธิ", thai)) >= 1


def test_grams_of_a_text_are_its_runs_of_four():
    assert len(gram_terms("abcdef")) == 3
    assert gram_terms("abcde")[0] == gram_terms("xabcd")[1]
    assert len(gram_terms("abc")) == 0
    codes = {int(code) for word in ("abcd", "bacd", "abdc", "dcba", "กขคง", "กขคจ") for code in gram_terms(word)}
    assert len(codes) == 6


def test_a_cited_section_leads_whatever_else_the_query_says(search):
    query = "กำไรสุทธิที่คำนวณได้จากรายได้ ตามมาตรา ๗๗/๑ และมาตรา 10 แห่งประมวลรัษฎากร"
    assert found(search, query) == [("ประมวลรัษฎากร", "77/1"), ("ประมวลรัษฎากร", "10"), ("ประมวลรัษฎากร", "65")]


def test_a_misspelt_word_is_found_by_its_letters(search):
    assert found(search, "สภาวิชาชีบบัญชี", 1) == [("พระราชบัญญัติวิชาชีพบัญชี พ.ศ. 2547", "8")]


def test_fused_scores_by_hand(search):
    """First in both signals: 2 / 61."""
    (place, score), *_ = search.search("ผู้มีหน้าที่จัดทำบัญชีต้องจัดให้มีการทำบัญชี", 1)
    assert search.index.sections[place].section_num == "8"
    assert score == pytest.approx(2 / 61)


@pytest.mark.parametrize("query", ["", " ", "\x00", "????", "🙂🙂🙂", "zzzz", "\u0e48\u0e49" * 10])
def test_a_query_that_fits_nothing_finds_nothing(search, query):
    assert search.search(query, 5) == []


@pytest.mark.parametrize(
    "query", ["ก" * 200_000, "กำไร" * 50_000, "มาตรา 1 " * 20_000, "(" * 100_000, "1/" * 60_000, "§" * 100_000]
)
def test_a_huge_query_ends(search, query):
    """A quadratic step would take minutes here."""
    search.search(query, 5)


def test_one_query_one_ranking_also_in_another_process(folder, search):
    draw = random.Random(3)
    queries = ["".join(draw.sample(ROWS[place % len(ROWS)][2], 12)) for place in range(20)]
    here = [search.search(query, 10) for query in queries]
    assert here == [search.search(query, 10) for query in queries]
    program = (
        "import json, sys, pathlib\n"
        "from toolsandbox.law.index import open_index\n"
        "from toolsandbox.law.search import LawSearch\n"
        "search = LawSearch(open_index(pathlib.Path(sys.argv[1]), folder=pathlib.Path(sys.argv[2])))\n"
        "print(json.dumps([search.search(query, 10) for query in json.load(sys.stdin)]))"
    )
    for hash_seed in ("1", "2"):
        words = [sys.executable, "-c", program, str(folder / "laws.jsonl"), str(folder / f"indexes-{hash_seed}")]
        answer = subprocess.run(
            words,
            input=json.dumps(queries),
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
        )
        assert json.loads(answer.stdout) == [[list(hit) for hit in hits] for hits in here]
    first, second = (sorted((folder / f"indexes-{seed}").rglob("*.npy")) for seed in ("1", "2"))
    assert [file.read_bytes() for file in first] == [file.read_bytes() for file in second]


def test_the_index_is_built_once_and_read_from_the_disk(folder, search, monkeypatch):
    monkeypatch.setattr("toolsandbox.law.index._build", lambda *_: pytest.fail("built again"))
    again = open_index(folder / "laws.jsonl", folder=folder / "indexes")
    assert isinstance(again.words.weights_P.base, np.memmap)
    assert not again.words.weights_P.flags.writeable
    assert again.sections == search.index.sections


def test_no_file_of_an_index_is_a_pickle(folder, search):
    files = [file for file in (folder / "indexes").rglob("*") if file.is_file()]
    assert {file.suffix for file in files} == {".npy", ".json"}
    for file in files:
        if file.suffix == ".npy":
            np.load(file, allow_pickle=False)


def test_a_damaged_index_is_built_anew(tmp_path):
    corpus = write_corpus(tmp_path / "laws.jsonl")
    before = LawSearch(open_index(corpus, folder=tmp_path / "indexes")).search("บัญชี", 5)
    for damage in (b"", b"\x80\x04K\x01.", None):
        victim = next((tmp_path / "indexes").rglob("words.weights_P.npy"))
        victim.unlink() if damage is None else victim.write_bytes(damage)
        assert LawSearch(open_index(corpus, folder=tmp_path / "indexes")).search("บัญชี", 5) == before
    assert len(list((tmp_path / "indexes").iterdir())) == 1


def test_two_services_that_build_at_once_share_what_the_first_has_built(tmp_path, monkeypatch):
    """The other one finishes between this one's look for an index and its own."""
    corpus, folder = write_corpus(tmp_path / "laws.jsonl"), tmp_path / "indexes"
    build = index_module._build
    with monkeypatch.context() as patched:
        patched.setattr(index_module, "_build", lambda *given: [build(*given) for _ in range(2)])
        index = open_index(corpus, folder=folder)
    [place] = folder.iterdir()
    assert place.name.startswith(index.corpus_hash[:24])
    assert LawSearch(index).search("บัญชี", 5) == LawSearch(open_index(corpus, folder=folder)).search("บัญชี", 5)


def test_a_service_goes_on_when_its_index_is_deleted(tmp_path):
    search = LawSearch(open_index(write_corpus(tmp_path / "laws.jsonl"), folder=tmp_path / "indexes"))
    before = search.search("บัญชี", 5)
    shutil.rmtree(tmp_path / "indexes")
    assert search.search("บัญชี", 5) == before


def test_another_corpus_has_another_index(tmp_path):
    open_index(write_corpus(tmp_path / "laws.jsonl"), folder=tmp_path / "indexes")
    open_index(write_corpus(tmp_path / "laws.jsonl", ROWS[:5]), folder=tmp_path / "indexes")
    assert len(list((tmp_path / "indexes").iterdir())) == 2


def test_dense_vectors_are_a_third_signal(search):
    """A section that neither words nor letters find, first by its vector alone: 1 / 61."""
    vectors = np.zeros((len(ROWS), 2), dtype=np.float32)
    vectors[3] = [1.0, 0.0]
    dense = LawSearch(
        replace(search.index, dense_DE=vectors), embed=lambda query: np.array([1.0, 0.0], dtype=np.float32)
    )
    assert dense.search("zzzz", 3) == [(3, pytest.approx(1 / 61))]


class Embeddings(BaseHTTPRequestHandler):
    """Counts letters: a vector that the test can work out. A text with `broken` gets a vector of zeros."""

    def do_POST(self):
        texts = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["input"]
        rows = [
            {"index": place, "embedding": [0, 0] if "broken" in text else [text.count("บ") + 1, text.count("z")]}
            for place, text in enumerate(texts)
        ]
        body = json.dumps({"data": rows[::-1]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextmanager
def listening(handler):
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1/embeddings"
        server.shutdown()
        thread.join()


@pytest.fixture
def embedder():
    with listening(Embeddings) as url:
        yield Embedder(url, "letters")


@pytest.fixture
def elsewhere(embedder):
    """An address that sends its callers on to the model."""

    class Redirect(Embeddings):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(302)
            self.send_header("Location", embedder.url)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = Embeddings.do_POST

    with listening(Redirect) as url:
        yield url


def test_vectors_come_from_an_embedding_endpoint_and_are_kept_with_the_index(tmp_path, embedder):
    assert embedder.embed_passages(["บบ", "zx"]).tolist() == [[1.0, 0.0], pytest.approx([2**-0.5, 2**-0.5])]
    rows = [(f"กฎหมาย {number}", "1", "ข" if number < 70 else "zzzzzzzz") for number in range(80)]
    corpus = write_corpus(tmp_path / "laws.jsonl", rows)
    plain = open_index(corpus, folder=tmp_path / "indexes")
    index = open_index(corpus, folder=tmp_path / "indexes", embedder=embedder)
    assert plain.dense_DE is None
    assert index.dense_DE.shape == (80, 2)
    again = open_index(corpus, folder=tmp_path / "indexes", embedder=replace(embedder, url="http://127.0.0.1:9/"))
    assert again.dense_DE.tolist() == index.dense_DE.tolist()
    assert LawSearch(index, embed=embedder.embed_query).search("z", 1)[0][0] == 70


def test_queries_and_sections_get_the_prefixes_that_the_model_was_trained_with(tmp_path, embedder):
    """The made-up model counts z: the prefix of queries has one, that of sections three."""
    prefixed = replace(embedder, query_prefix="z: ", passage_prefix="zzz: ")
    assert prefixed.embed_query("x").tolist() == [pytest.approx(2**-0.5)] * 2
    corpus = write_corpus(tmp_path / "laws.jsonl", [("ก", "1", "ข")])
    plain, other = (
        open_index(corpus, folder=tmp_path / "indexes", embedder=each).dense_DE for each in (embedder, prefixed)
    )
    assert plain.tolist() == [[1.0, 0.0]]
    assert other.tolist() == [[pytest.approx(10**-0.5), pytest.approx(3 * 10**-0.5)]]


def test_an_embedding_model_that_points_elsewhere_or_hides_behind_a_proxy_is_not_followed(
    embedder, elsewhere, monkeypatch
):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert embedder.embed_query("บ").tolist() == [1.0, 0.0]
    with pytest.raises(ToolUnavailable, match="does not answer"):
        replace(embedder, url=elsewhere).embed_query("บ")


def test_a_search_without_its_embedding_model_fails_instead_of_ranking_otherwise(tmp_path, embedder):
    index = open_index(write_corpus(tmp_path / "laws.jsonl"), folder=tmp_path / "indexes", embedder=embedder)
    with pytest.raises(ToolUnavailable, match="no usable vector"):
        LawSearch(index, embed=embedder.embed_query).search("broken", 1)
    away = replace(embedder, url="http://127.0.0.1:9/v1/embeddings")
    with pytest.raises(ToolUnavailable, match="does not answer"):
        LawSearch(index, embed=away.embed_query).search("บัญชี", 1)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("{", "line 2: not JSON"),
        ("[" * 100_000, "line 2: not JSON"),
        ("[]", "line 2: a JSON object is needed"),
        ('{"law_name": "a", "section_num": "1"}', "line 2: text must be"),
        ('{"law_name": null, "section_num": "1", "text": "x"}', "line 2: law_name must be"),
        ('{"law_name": "a", "section_num": true, "text": "x"}', "line 2: section_num must be"),
        ('{"law_name": "a", "section_num": "1", "text": "\\ud800"}', "line 2: text holds half of a surrogate pair"),
        ('{"law_name": "b", "section_num": 1, "text": "x"}', "line 2: section '1' of 'b' is already in line 1"),
    ],
)
def test_a_bad_corpus_is_refused_with_its_line(tmp_path, line, fault):
    path = tmp_path / "laws.jsonl"
    path.write_text('{"law_name": "b", "section_num": "1", "text": "x"}\n' + line + "\n")
    with pytest.raises(BadCorpus, match=fault):
        read_corpus(path)


def test_an_empty_corpus_is_refused(tmp_path):
    (tmp_path / "laws.jsonl").write_bytes(b"\n \n")
    with pytest.raises(BadCorpus, match="no section in it"):
        read_corpus(tmp_path / "laws.jsonl")


def test_the_letters_tell_the_language():
    assert guess_language(["มาตรา 1 VAT"]) == "th"
    assert guess_language(["Die Würde des Menschen"]) == "xx"
    with pytest.raises(ValueError, match="ISO 639"):
        open_language("Thai language")
