"""Weights of a Llama-shaped model laid out for decoding. Tensors: H hidden, O outputs, V vocabulary, D units of a head.

Queries, keys and values come from one product, gate and up from another. On a CPU single-precision weights are stored
in the blocks that oneDNN multiplies by: batches of few rows take down to half the time, and a row's product does not
depend on the rows beside it. The two halves of each rotary pair are put side by side, so that rotating is one complex
product; scores do not change when queries and keys are permuted alike.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from trainer.adapters import is_adapted, merged_weight
from trainer.contract.dimensions import OWN_PATH

ARCHITECTURES = OWN_PATH
"""Values of `model_type` whose forward pass `llama_decoder.py` repeats."""
FIXED_ROTATIONS = frozenset({"default", "linear", "llama3", "yarn"})
"""Kinds of rotary embedding whose frequencies do not depend on the length of the text."""


PROBES = 8
"""Values of each weight that are compared to notice a change."""


PACKED_FOR = 16
"""Rows that packing is told of; the blocks are the same for other numbers."""
_packed_product = torch.ops.mkldnn._linear_pointwise


class NotLlamaShaped(ValueError):
    """The model computes something that the fast path does not; the message says what."""


class FusedLinear:
    """Several linear maps of one input as a single product; `refresh` reads the modules' weights again."""

    def __init__(
        self, modules: Sequence[nn.Linear], *, dtype: torch.dtype, orders: Sequence[Tensor | None] | None = None
    ) -> None:
        """`orders` gives for each module the order in which its outputs are wanted, None for its own."""
        self._modules = list(modules)
        self._orders = list(orders) if orders else [None] * len(self._modules)
        self._dtype = dtype
        first = self._modules[0].weight
        outputs = sum(module.out_features for module in self._modules)
        self._packs = first.device.type == "cpu" and dtype == torch.float32 and torch.backends.mkldnn.is_available()
        self.weight_HO = torch.empty(0)
        """Where weights are packed: opaque, and of no use but in products."""
        biased = any(module.bias is not None for module in self._modules)
        self.bias_O = torch.zeros(outputs, dtype=dtype, device=first.device) if biased else None
        self.refresh()

    def drop(self) -> None:
        """Give the memory back until the next refresh."""
        self.weight_HO = torch.empty(0)

    def refresh(self) -> None:
        if self._packs:
            parts = [self._ordered(place) for place in range(len(self._modules))]
            weight_OH = parts[0] if len(parts) == 1 else torch.cat(parts)
            self.weight_HO = torch.ops.mkldnn._reorder_linear_weight(weight_OH.contiguous(), PACKED_FOR)
        elif not self.weight_HO.numel():
            self.weight_HO = self._allocate()
        start = 0
        for place, (module, order) in enumerate(zip(self._modules, self._orders, strict=True)):
            end = start + module.out_features
            if not self._packs:
                self.weight_HO[:, start:end].copy_(self._ordered(place).t())
            if self.bias_O is not None and module.bias is not None:
                bias_O = read_whole(module.bias)
                self.bias_O[start:end].copy_(bias_O if order is None else bias_O[order])
            start = end

    def _ordered(self, place: int) -> Tensor:
        weight_OH, order = merged_weight(self._modules[place]), self._orders[place]
        return (weight_OH if order is None else weight_OH[order]).to(self._dtype)

    def _allocate(self) -> Tensor:
        device = self._modules[0].weight.device
        outputs = sum(module.out_features for module in self._modules)
        inputs = self._modules[0].in_features
        if device.type == "cpu":
            return torch.empty(inputs, outputs, dtype=self._dtype)
        return torch.empty(outputs, inputs, dtype=self._dtype, device=device).t()

    def __call__(self, input_NH: Tensor) -> Tensor:
        if self._packs:
            return _packed_product(input_NH, self.weight_HO, self.bias_O, "none", [], "")
        if self.bias_O is None:
            return torch.mm(input_NH, self.weight_HO)
        return torch.addmm(self.bias_O, input_NH, self.weight_HO)

    def add_to(self, residual_NO: Tensor, input_NH: Tensor) -> Tensor:
        """residual + map(input)."""
        if self._packs:
            return _packed_product.binary(input_NH, residual_NO, self.weight_HO, self.bias_O, "add")
        if self.bias_O is not None:
            residual_NO = residual_NO + self.bias_O
        return torch.addmm(residual_NO, input_NH, self.weight_HO)


class LayerWeights:
    """One layer: queries, keys and values; attention output; gate and up; down; and the norms before them."""

    def __init__(self, source: Any, *, query_order: Tensor, key_order: Tensor, dtype: torch.dtype) -> None:
        attention, mlp = source.self_attn, source.mlp
        self._source, self._dtype = source, dtype
        self.qkv = FusedLinear(
            [attention.q_proj, attention.k_proj, attention.v_proj], orders=[query_order, key_order, None], dtype=dtype
        )
        self.attention_out = FusedLinear([attention.o_proj], dtype=dtype)
        self.gate_up = FusedLinear([mlp.gate_proj, mlp.up_proj], dtype=dtype)
        self.down = FusedLinear([mlp.down_proj], dtype=dtype)
        self._refresh_norms()

    def refresh(self) -> None:
        for fused in (self.qkv, self.attention_out, self.gate_up, self.down):
            fused.refresh()
        self._refresh_norms()

    def drop(self) -> None:
        for fused in (self.qkv, self.attention_out, self.gate_up, self.down):
            fused.drop()

    def _refresh_norms(self) -> None:
        source, attention = self._source, self._source.self_attn
        self.before_attention_H = read_whole(source.input_layernorm.weight, self._dtype)
        self.before_mlp_H = read_whole(source.post_attention_layernorm.weight, self._dtype)
        self.qk_norm_QKD: Tensor | None = None
        """Gains of the norms over every query and key head, where the model has them."""
        if hasattr(attention, "q_norm"):
            gains = [(attention.q_norm, attention.config.num_attention_heads)]
            gains.append((attention.k_norm, attention.config.num_key_value_heads))
            self.qk_norm_QKD = torch.cat(
                [
                    read_whole(norm.weight, self._dtype)[pair_halves(attention.head_dim)].expand(heads, -1)
                    for norm, heads in gains
                ]
            )


class LlamaWeights:
    """Everything that `LlamaDecoder` reads. Raises NotLlamaShaped for a model that it cannot stand for."""

    def __init__(self, model: Any, *, dtype: torch.dtype) -> None:
        check_shape(model)
        body, config = model.model, model.config
        attention = body.layers[0].self_attn
        self.dtype = dtype
        self.device: torch.device = body.embed_tokens.weight.device
        self.query_heads: int = config.num_attention_heads
        self.key_heads: int = config.num_key_value_heads
        self.head_size: int = attention.head_dim
        self.scale: float = attention.scaling
        self.eps: float = config.rms_norm_eps
        self.window: int | None = getattr(config, "sliding_window", None)
        """Longest text from which a sliding window, if the model has one, hides nothing."""
        self._rotary = body.rotary_emb
        self._embedding, self._norm = body.embed_tokens, body.norm
        self._model = model
        self.dropped = False
        """Whether the memory was given back; a refresh takes it again."""
        orders = {
            "query_order": _order_heads(self.head_size, self.query_heads),
            "key_order": _order_heads(self.head_size, self.key_heads),
        }
        with torch.no_grad():
            self.layers = [LayerWeights(layer, **orders, dtype=dtype) for layer in body.layers]
            self.head = FusedLinear([model.lm_head], dtype=dtype)
        self._refresh_ends()

    def refresh(self) -> None:
        """Read the model's weights again."""
        with torch.no_grad():
            for layer in self.layers:
                layer.refresh()
            self.head.refresh()
        self._refresh_ends()
        self.dropped = False

    def drop(self) -> None:
        """Give the memory back, and hold none of the model's either, until the next refresh."""
        for layer in self.layers:
            layer.drop()
        self.head.drop()
        self.embedding_VH = torch.empty(0)
        self.dropped = True

    def refresh_if_changed(self) -> None:
        """Notice changes that nobody told of. Does nothing when sharded: no process may decide that for itself.

        torch counts changes in place, but not those of its fused optimisers; so some values of every weight are
        compared as well, of which a step of an optimiser leaves hardly any as it was.
        """
        if self.dropped:
            self.refresh()
        if self._seen is None or (now := self._fingerprint()) is None:
            return
        if now[0] != self._seen[0] or not torch.equal(now[1], self._seen[1]):
            self.refresh()

    def rotations(self, length: int) -> Tensor:
        """Complex factors (length, D / 2) by which the rotary pairs at each position turn."""
        frequency_D = self._rotary.inv_freq.detach().float()
        angle_TD = torch.arange(length, device=frequency_D.device)[:, None].float() * frequency_D
        return torch.polar(torch.full_like(angle_TD, float(self._rotary.attention_scaling)), angle_TD)

    def _refresh_ends(self) -> None:
        with torch.no_grad():
            self.embedding_VH = read_whole(self._embedding.weight, self.dtype)
            self.norm_H = read_whole(self._norm.weight, self.dtype)
        self._seen = self._fingerprint()

    def _fingerprint(self) -> tuple[list[tuple[int, int]], Tensor] | None:
        """Where each weight lies with its count of changes, and some of its values; None when sharded."""
        parameters = list(self._model.parameters())
        if any(isinstance(parameter, DTensor) for parameter in parameters):
            return None
        counts = [(p.data_ptr(), 0 if p.is_inference() else p._version) for p in parameters]
        return counts, torch.cat([p.detach().flatten()[:: max(1, p.numel() // PROBES)].float() for p in parameters])


def check_shape(model: Any) -> None:
    """Refuse every model of which a part is not known here."""
    config = model.config
    if config.model_type not in ARCHITECTURES:
        raise NotLlamaShaped(f"its architecture is {config.model_type}")
    if not hasattr(model, "lm_head") or not hasattr(model.model, "layers"):
        raise NotLlamaShaped("it is wrapped in another module")
    body = model.model
    if config.hidden_act != "silu":
        raise NotLlamaShaped(f"its activation is {config.hidden_act}")
    if (kind := body.rotary_emb.rope_type) not in FIXED_ROTATIONS:
        raise NotLlamaShaped(f"its rotary embedding is of the kind {kind}")
    for layer in body.layers:
        attention, mlp = layer.self_attn, layer.mlp
        if hasattr(attention, "q_norm") and attention.q_norm.weight.shape != (attention.head_dim,):
            raise NotLlamaShaped("its query norm runs over several heads")
        for name in ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"):
            module: Any = getattr(attention, name, None) or getattr(mlp, name, None)
            # A subclass, such as a quantised layer, computes more than its weight says; adapters are added in.
            if type(module) is not nn.Linear and not (is_adapted(module) and type(module.base_layer) is nn.Linear):
                raise NotLlamaShaped(f"its {name} is a {type(module).__name__}")
    if type(model.lm_head) is not nn.Linear:
        raise NotLlamaShaped(f"its output head is a {type(model.lm_head).__name__}")
    if len({parameter.device for parameter in model.parameters()}) > 1:
        raise NotLlamaShaped("its weights lie on several devices")


def read_whole(weight: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """A parameter's values, gathered when it is sharded over processes; the parameter's own memory where possible."""
    whole = weight.full_tensor() if isinstance(weight, DTensor) else weight
    return whole.detach() if dtype is None else whole.detach().to(dtype)


def pair_halves(head_size: int) -> Tensor:
    """Order of a head's units that puts the two members of each rotary pair (d, d + D / 2) side by side."""
    return torch.arange(head_size).view(2, -1).t().flatten()


def _order_heads(head_size: int, heads: int) -> Tensor:
    return (torch.arange(heads)[:, None] * head_size + pair_halves(head_size)).flatten()
