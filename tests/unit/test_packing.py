"""Documents share a sequence and never see each other."""

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM, Qwen3Config, Qwen3ForCausalLM

from trainer.attention import PER_DOCUMENT
from trainer.contract.mixture import MixtureSource
from trainer.data.batch import TokenBatch, flatten
from trainer.data.mixing import Mixture
from trainer.data.packing import Packer, count_steps, first_fit
from trainer.losses import IGNORED
from trainer.policy import Policy

SIZES = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
CPU = torch.device("cpu")


def documents_of(*lengths: int, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    generator = np.random.default_rng(seed)
    return [(generator.integers(0, 50, n).astype(np.int32), np.ones(n, dtype=bool)) for n in lengths]


def mix(lengths: list[np.ndarray], *weights: float, seed: int = 0) -> Mixture:
    sources = [MixtureSource(dataset=f"source-{place}", weight=weight) for place, weight in enumerate(weights)]
    return Mixture(lengths, sources, seed=(seed, 0))


def make_packer(lengths: list[int], **options: int) -> Packer:
    return Packer(mix([np.array(lengths)], 1.0), lambda key: lengths[key[1]], **options)


def test_items_go_into_the_first_sequence_with_room():
    assert first_fit([6, 5, 4, 3, 2, 9], bins=2, capacity=10) == ([[0, 2], [1, 3, 4]], [5])


def test_an_epoch_sees_every_document_once_and_no_sequence_is_too_long():
    lengths = [3, 9, 4, 4, 10, 1, 7, 2, 5, 5, 8, 6]
    packer = make_packer(lengths, sequences=2, sequence_length=10, tokens=sum(lengths))
    seen: list[int] = []
    while sequences := packer.next_step():
        assert len(sequences) <= 2
        for sequence in sequences:
            assert sum(lengths[document] for _, document in sequence) <= 10
            seen += [document for _, document in sequence]
    assert sorted(seen) == list(range(12))


def test_what_does_not_fit_goes_first_into_the_next_step():
    # 6 + 6 + 6 tokens are drawn for two sequences of 8: the third waits, and leads the next step.
    packer = make_packer([6, 6, 6, 6], sequences=2, sequence_length=8)
    packer.next_step()
    waiting = packer.state()["left"]
    assert len(waiting) == 1
    assert packer.next_step()[0][0] == waiting[0]


def test_a_restored_packer_goes_on_as_if_nothing_had_happened():
    lengths = [3, 9, 4, 4, 10, 1, 7, 2, 5, 5, 8, 6]
    packer = make_packer(lengths, sequences=2, sequence_length=12)
    for _ in range(5):
        packer.next_step()
    again = make_packer(lengths, sequences=2, sequence_length=12)
    again.restore(packer.state())
    assert [again.next_step() for _ in range(9)] == [packer.next_step() for _ in range(9)]


def test_half_an_epoch_ends_after_half_the_tokens():
    packer = make_packer([5] * 8, sequences=1, sequence_length=10, tokens=20)
    assert count_steps(packer) == 2


def test_weights_are_shares_of_tokens_whatever_the_length_of_documents():
    mixture = mix([np.full(50, 30), np.full(50, 3)], 3.0, 1.0, seed=7)
    tokens = [0, 0]
    for _ in range(400):
        source, _ = mixture.draw()
        tokens[source] += (30, 3)[source]
    assert tokens[0] / sum(tokens) == pytest.approx(0.75, abs=0.01)


def test_every_pass_has_its_own_order_and_the_seed_decides_it():
    def draw(seed: int) -> list[int]:
        mixture = mix([np.full(20, 1)], 1.0, seed=seed)
        return [mixture.draw()[1] for _ in range(40)]

    assert draw(1) == draw(1) != draw(2)
    first, second = draw(1)[:20], draw(1)[20:]
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != second


def test_the_first_token_of_a_document_is_no_target_of_the_one_before():
    yes, no = np.array([True] * 3), np.array([False, False, True])
    batch = flatten([(np.array([5, 6, 7], np.int32), yes), (np.array([8, 9, 10], np.int32), no)], device=CPU)
    assert batch.labels_N.tolist() == [6, 7, IGNORED, IGNORED, 10, IGNORED]
    assert batch.positions_N.tolist() == [0, 1, 2, 0, 1, 2]
    assert (batch.targets, batch.document_lengths) == (3, [3, 3])


def make_model(architecture: str) -> torch.nn.Module:
    torch.manual_seed(0)
    if architecture == "qwen3":
        model: torch.nn.Module = Qwen3ForCausalLM(Qwen3Config(**SIZES, head_dim=8))
    elif architecture == "llama":
        model = LlamaForCausalLM(LlamaConfig(**SIZES))
    else:
        model = MistralForCausalLM(MistralConfig(**SIZES, sliding_window=4))
    for weight in model.parameters():  # the default initialisation is so small that leaks would hide in it
        torch.nn.init.normal_(weight, std=0.3)
    return model.eval()


@pytest.mark.parametrize("architecture", ["qwen3", "llama", "mistral with a window of 4"])
def test_logits_of_packed_documents_equal_those_of_each_document_alone(architecture: str):
    model = make_model(architecture)
    documents = documents_of(7, 2, 13, 5)
    with torch.no_grad():
        alone = torch.cat([model(torch.from_numpy(ids.astype(np.int64))[None]).logits[0] for ids, _ in documents])
        model.set_attn_implementation(PER_DOCUMENT)
        packed = Policy(model, None).hidden(flatten(documents, device=CPU)) @ model.get_output_embeddings().weight.T
    assert alone.abs().max() > 1
    assert (packed - alone).abs().max() <= 1e-5


def test_one_document_has_no_gradient_from_another():
    model = make_model("qwen3")
    model.set_attn_implementation(PER_DOCUMENT)
    batch = flatten(documents_of(6, 4), device=CPU)
    embedded = torch.nn.functional.embedding(batch.ids_N[None], model.get_input_embeddings().weight).detach()
    embedded.requires_grad_()
    states = model.model(
        inputs_embeds=embedded,
        position_ids=batch.positions_N[None],
        use_cache=False,
        document_lengths=batch.document_lengths,
    ).last_hidden_state[0]
    states[6:].pow(2).sum().backward()
    assert embedded.grad is not None
    assert embedded.grad[0, :6].abs().max() == 0
    assert embedded.grad[0, 6:].abs().max() > 0


def test_the_order_of_documents_changes_no_document():
    model = make_model("qwen3")
    model.set_attn_implementation(PER_DOCUMENT)
    documents = documents_of(6, 4, 9)
    policy = Policy(model, None)

    def hidden(order: list[int]) -> dict[int, torch.Tensor]:
        batch: TokenBatch = flatten([documents[i] for i in order], device=CPU)
        return dict(zip(order, policy.hidden(batch).split(batch.document_lengths), strict=True))

    with torch.no_grad():
        forward, backward = hidden([0, 1, 2]), hidden([2, 1, 0])
    for number in range(3):
        assert (forward[number] - backward[number]).abs().max() <= 1e-5
