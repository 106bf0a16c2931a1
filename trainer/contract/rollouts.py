"""Rollouts as they are stored: `rollouts/step-00000012.jsonl.zst`, one `StoredRollout` a line, groups together."""

from pydantic import NonNegativeInt

from trainer.contract.base import Contract


class StoredRollout(Contract):
    """One completion of one prompt, with every number that training took from it."""

    group: NonNegativeInt
    """Rollouts of one prompt share it; counts from 0 within the step."""
    index: NonNegativeInt
    """Place within the group."""
    row: str
    """Identity of the prompt's row: dataset and row number, `name@version#12`."""
    prompt: list[str]
    """Tokens of the prompt as the policy saw them."""
    tokens: list[str]
    """Tokens that follow the prompt, sampled or given by the environment."""
    ids: list[NonNegativeInt] = []
    """Per token, its number in the policy's vocabulary. Empty in files that older trainers wrote."""
    trained: list[bool]
    """Per token: False was not sampled by the policy and gives no gradient."""
    logprobs: list[float | None]
    """Per token, by the policy that sampled it, after temperature; null where it was not sampled."""
    text: str
    reference: str = ""
    """The row's reference answer, where it has one."""
    rewards: dict[str, float | None] = {}
    """Components by name, before their weights; null: this component failed."""
    words: dict[str, str] = {}
    """What components said about their values, such as a judge's reply, up to a length."""
    reward: float | None = None
    """Weighted sum; null when a component failed: the rollout is masked."""
    advantage: float | None = None
    """Null when the algorithm has none, or the rollout is masked."""
    stop_reason: str
    turns: list[tuple[NonNegativeInt, NonNegativeInt]] = []
    """Of an episode with tools: where each turn of the policy begins and ends in `tokens`; what stands between are the
    tools. Its calls are in the step's file of tool calls."""
    age: NonNegativeInt = 0
    """Optimiser steps between the weights that sampled it and those that learned from it."""
    masked: str = ""
    """Why this rollout gives no gradient; empty when it does."""
    detail: dict[str, float | int | str | bool] = {}
    """What the algorithm adds, such as the teacher's divergence; `source` names where off-policy text came from."""
