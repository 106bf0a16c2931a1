"""New weights are sampled from: held to a forward pass on the new weights, since "it changed" would prove nothing."""

import pytest
import torch
from sampler_models import LLAMA_SHAPED, OTHERS, largest_error, make_model, make_requests, make_tokenizer

from trainer.sampling import TorchEngine


@torch.no_grad()
def nudge(model, *, through_data=False):
    generator = torch.Generator().manual_seed(3)
    for parameter in model.parameters():
        noise = 0.05 * torch.randn(parameter.shape, generator=generator)
        (parameter.data if through_data else parameter).add_(noise)


@pytest.mark.parametrize("name", [*LLAMA_SHAPED, "gpt_neox"])
def test_new_weights_are_sampled_from_after_an_update(name):
    model = make_model((LLAMA_SHAPED | OTHERS)[name]())
    engine = TorchEngine(model, make_tokenizer())
    requests = make_requests(4)
    before = engine.sample(requests)
    nudge(model, through_data=True)
    engine.update_weights()
    after = engine.sample(requests)
    assert largest_error(model, requests, after) <= 1e-5
    assert [c.token_ids for c in after] != [c.token_ids for c in before]


@pytest.mark.parametrize("options", [{}, {"fused": True}, {"foreach": True}])
def test_a_step_of_the_optimiser_that_nobody_told_of_is_noticed(options):
    model = make_model(LLAMA_SHAPED["qwen 3"]())
    engine = TorchEngine(model, make_tokenizer())
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.02, **options)
    requests = make_requests(4)
    for _ in range(2):
        model(torch.tensor([[5, 6, 7, 8]])).logits.square().mean().backward()
        optimiser.step()
        assert largest_error(model, requests, engine.sample(requests)) <= 1e-5


def test_weights_put_in_place_of_others_are_noticed():
    model = make_model(LLAMA_SHAPED["llama"]())
    engine = TorchEngine(model, make_tokenizer())
    model.load_state_dict(make_model(LLAMA_SHAPED["llama"](), seed=1).state_dict(), assign=True)
    requests = make_requests(4)
    assert largest_error(model, requests, engine.sample(requests)) <= 1e-5


def test_every_weight_of_the_model_reaches_the_fast_path():
    model = make_model(LLAMA_SHAPED["llama with biases"]())
    engine = TorchEngine(model, make_tokenizer())
    request = make_requests(1, max_new_tokens=3)
    start = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    for name, weight in model.named_parameters():
        with torch.no_grad():
            weight.mul_(1.5).add_(0.1)
        engine.update_weights()
        assert largest_error(model, request, engine.sample(request)) <= 1e-5, name
        with torch.no_grad():
            weight.copy_(start[name])


def test_sampling_adds_nothing_to_the_model():
    model = make_model(LLAMA_SHAPED["qwen 3"]())
    state = {name: weight.clone() for name, weight in model.state_dict().items()}
    model.train()
    TorchEngine(model, make_tokenizer()).sample(make_requests(3))
    assert model.training
    assert all(torch.equal(weight, state[name]) for name, weight in model.state_dict().items())
    model(torch.tensor([[5, 6, 7]])).logits.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.fixture
def process_group():
    from torch import distributed

    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def test_a_sharded_policy_is_gathered_for_the_fast_path(process_group):
    """One process, whose shards are whole; two processes are tested where training is."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    whole, sharded = (make_model(LLAMA_SHAPED["qwen 3"]()) for _ in range(2))
    mesh = init_device_mesh("cpu", (1,))
    for layer in sharded.model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(sharded, mesh=mesh)
    engine = TorchEngine(sharded, make_tokenizer())
    assert engine.fallback_reason is None
    requests = make_requests(4)
    assert largest_error(whole, requests, engine.sample(requests)) <= 1e-5
    for model in (whole, sharded):
        optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
        model(torch.tensor([[5, 6, 7, 8]])).logits.square().mean().backward()
        optimiser.step()
    engine.update_weights()
    assert largest_error(whole, requests, engine.sample(requests)) <= 1e-5
