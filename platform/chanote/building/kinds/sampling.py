"""Answers of a teacher to prompts: several for each, valued by rewards, the best of them kept."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from typing import Any

from pydantic import Field

from chanote.building.asking import ask_each
from chanote.building.doing import Building
from chanote.building.endpoint import Question, Reply
from chanote.building.funnel import Dropped, Item, Kept, Outcome, Step, write_line
from chanote.building.kinds.base import BuildConfig, BuildKind, EndpointName, Reference
from chanote.building.results import find_clash, make_result
from chanote.building.sampling.choosing import Rule, Sampled, choose, read_answers
from chanote.building.sampling.scoring import read_scores, score_answers
from chanote.datasets.making import read_sourced_rows
from chanote.datasets.models import DatasetVersion
from chanote.datasets.selectors import find_version
from chanote.recipes.checking import check_data
from chanote.recipes.yaml_text import parse_yaml
from trainer.contract.rewards import RewardList
from trainer.contract.scoring import REWARDS
from trainer.contract.stages.rf_nll import RfNllStage

SAMPLE = Step("sample", "Sample answers", "prompts")
VALUE = Step("value", "Value the answers", "prompts")
CHOOSE = Step("choose", "Choose among them", "rows")
TURNS = ("system", "user", "assistant")


class SamplingConfig(BuildConfig):
    prompts: Reference = Field(title="Prompts")
    """Questions; or conversations, which are answered anew from their last question on."""
    endpoint: EndpointName = Field(min_length=1, title="Endpoint that answers")
    samples: int = Field(default=4, ge=1, le=64, title="Answers for each prompt")
    temperature: float = Field(default=0.8, ge=0, le=2, title="Temperature")
    top_p: float = Field(default=1.0, gt=0, le=1, title="Share of probability kept")
    max_tokens: int = Field(default=2048, ge=1, le=131_072, title="Longest answer, in tokens")
    """What is cut off there is left out."""
    system_prompt: str = Field(default="", max_length=20_000, title="System prompt")
    """Put before every prompt that has none, and kept in the rows."""
    rewards: str = Field(default="", max_length=20_000, title="Rewards")
    """YAML list as in a recipe, such as `- kind: exact`; the trainer computes them. Empty: answers are not valued."""
    choose: Rule = Field(default="all", title="Which answers stay")
    """all: every one that reaches the least reward (rejection sampling). best: the one of highest reward (best of n).
    shortest_correct: the shortest that reaches the least reward. best_and_worst: a pair of preferences."""
    least_reward: float | None = Field(default=None, allow_inf_nan=False, title="Least reward")
    """That an answer must reach; of a pair the better one. Empty: any."""
    least_difference: float = Field(default=0.0, ge=0, allow_inf_nan=False, title="Least difference of a pair")
    """Pairs whose rewards differ by no more than this are left out."""
    most_rows: int | None = Field(default=None, ge=1, title="Most prompts")
    """The first so many; empty: all."""


class Sampling(BuildKind[SamplingConfig]):
    name = "sampling"
    title = "Answers of a teacher"
    summary = (
        "Conversations or preferences from a teacher's answers: all good ones, the best, or the shortest right one."
    )
    config_class = SamplingConfig
    steps = (SAMPLE, VALUE, CHOOSE)
    row_kinds = {"prompts": ("prompts", "chat", "preferences")}

    def check(self, config: SamplingConfig, *, project: Any) -> dict[str, str]:
        problems = {}
        if clash := find_clash(project, config.name, _kind_of(config), made_from=config.prompts):
            problems["name"] = clash
        try:
            rewards = read_rewards(config.rewards)
        except ValueError as error:
            return {**problems, "rewards": str(error)}
        if not rewards and (config.choose != "all" or config.least_reward is not None):
            problems["rewards"] = "Without rewards no answer is better than another; name some, or keep all answers."
        if rewards and config.choose == "shortest_correct" and config.least_reward is None:
            problems["least_reward"] = "Which answers are correct? Give the reward that a correct one reaches."
        if config.samples > 1 and config.temperature == 0:
            problems["temperature"] = "At temperature 0 all answers are the same; raise it, or ask for one answer."
        if config.choose == "best_and_worst" and config.samples < 2:
            problems["samples"] = "A pair needs two answers at least."
        return problems

    def build(self, building: Building, config: SamplingConfig) -> DatasetVersion:
        source = find_version(building.project, config.prompts)
        rewards = read_rewards(config.rewards)
        total = min(source.rows, config.most_rows or source.rows)
        funnel = building.funnel
        sampled = funnel.run(SAMPLE, lambda: _sample(building, config, source, total), total=total)
        valued = funnel.run(VALUE, lambda: _value(building, config, rewards, sampled), total=sampled)
        funnel.run(CHOOSE, lambda: _choose(building, config, source), total=valued)
        return make_result(
            building,
            slug=config.name,
            kind=_kind_of(config),
            rows=((item["row"], item["source"]) for item in funnel.read_kept(CHOOSE)),
            drawn_from=[source],
            operation={"name": "sample", "rewards": REWARDS.dump_python(rewards, mode="json")},
            reason=f"Answers to {source.reference}, {config.samples} for each prompt, kept: "
            + config.choose.replace("_", " "),
            endpoints=[config.endpoint],
        )


def _kind_of(config: SamplingConfig) -> str:
    return "preferences" if config.choose == "best_and_worst" else "chat"


def read_rewards(text: str) -> RewardList:
    """The rewards of a YAML list. Raises ValueError with a sentence."""
    if not text.strip():
        return []
    parsed = parse_yaml(text)
    if parsed.problems:
        raise ValueError(str(parsed.problems[0]))
    # A stage is checked in the words of the editor of recipes, so its rewards are here as well.
    stage = {"kind": "rf_nll", "steps": 1, "data": [{"dataset": "prompts"}], "rewards": parsed.data}
    recipe, problems = check_data({"base": "policy", "stages": [stage]})
    if recipe is None:
        raise ValueError(str(problems[0]).replace("stages[0].", "").removeprefix("stages[0]: ") + ".")
    (checked,) = recipe.stages
    assert isinstance(checked, RfNllStage)
    return checked.rewards


def _sample(building: Building, config: SamplingConfig, source: DatasetVersion, total: int) -> Iterator[Outcome]:
    endpoint = building.open_endpoint(config.endpoint)
    refused: dict[int, Dropped] = {}

    def pairs() -> Iterator[tuple[Item, Question]]:
        for number, (row, pk) in enumerate(read_sourced_rows(source, 0, total), 1):
            item: Item = {"number": number, "row": row, "source": pk}
            messages, reason = list_turns(row, config.system_prompt)
            if reason:
                refused[number] = Dropped(item, reason)
                continue
            for sample in range(config.samples):
                yield {**item, "messages": messages}, _ask(messages, sample, config)

    told = 0
    for number, group in groupby(
        ask_each(endpoint, pairs(), leave_if_asked=building.leave_if_asked), key=lambda pair: pair[0]["number"]
    ):
        found = list(group)
        yield from (refused.pop(one) for one in range(told + 1, number) if one in refused)
        told = number
        yield from _gather(found[0][0], [reply for _, reply in found])
    yield from refused.values()


def list_turns(row: Item, system_prompt: str) -> tuple[list[dict[str, str]], str]:
    """What is asked, up to its last question; or why it cannot be."""
    if "question" in row:
        turns: list[Any] = [{"role": "user", "content": row["question"]}]
    else:
        turns = list(row["messages"])
        while turns and turns[-1].get("role") == "assistant":
            turns.pop()
    if not turns:
        return [], "holds no question"
    if any(turn.get("role") not in TURNS or not isinstance(turn.get("content"), str) for turn in turns):
        return [], "holds turns of tools, which this endpoint is not given"
    if system_prompt and turns[0]["role"] != "system":
        turns = [{"role": "system", "content": system_prompt}, *turns]
    return [{"role": turn["role"], "content": turn["content"]} for turn in turns], ""


def _ask(messages: list[dict[str, str]], sample: int, config: SamplingConfig) -> Question:
    extra = {"top_p": config.top_p} if config.top_p < 1 else {}
    return Question(
        messages=tuple(messages),
        sample=sample,
        temperature=config.temperature,
        max_tokens=config.max_tokens,
        extra=extra,
    )


def _gather(item: Item, replies: list[Reply]) -> Iterator[Outcome]:
    """A prompt with its sound answers; each other one is told with its reason."""
    answers = []
    for number, reply in enumerate(replies):
        told = {"number": item["number"], "sample": number, "text": reply.text}
        if reply.fault:
            yield Dropped(told, "the endpoint gave no answer", reply.fault, part=True)
        elif reply.cut:
            yield Dropped(told, "cut off at the longest length", part=True)
        elif not reply.text.strip():
            yield Dropped(told, "the answer is empty", part=True)
        else:
            tokens = reply.completion_tokens
            answers.append({"number": number, "text": reply.text, "tokens": tokens, "counted": reply.counted})
    if answers:
        yield Kept({**item, "answers": answers})
    else:
        yield Dropped(item, "none of its answers could stay")


def _value(building: Building, config: SamplingConfig, rewards: RewardList, total: int) -> Iterator[Outcome]:
    """Beside every answer its reward. The trainer's own command computes it, see chanote.building.sampling.scoring."""
    if not rewards:
        yield from map(Kept, building.funnel.read_kept(SAMPLE))
        return
    folder = building.directory / "scores"
    folder.mkdir(exist_ok=True)
    answers = folder / "answers.jsonl"
    if not answers.exists():  # a process that a killed build left behind may still read it
        partial = answers.with_suffix(".partial")
        with partial.open("w") as file:
            file.writelines(write_line(_describe_group(item, config)) for item in building.funnel.read_kept(SAMPLE))
        partial.replace(answers)

    def tell(done: int) -> None:
        counts = {"in": total, "kept": done, "dropped": 0, "reasons": {}, "parts": {}, "done": False}
        building.funnel.tell(VALUE, counts)

    scores = read_scores(score_answers(answers, folder, rewards, tell=tell))
    for item, scored in zip(building.funnel.read_kept(SAMPLE), scores, strict=True):
        worth = []
        for answer, score in zip(read_answers(item), scored.scores, strict=True):
            worth.append(
                {
                    "number": answer.number,
                    "reward": score.total,
                    "components": score.components,
                    "fault": " ".join(f"{name}: {fault}" for name, fault in score.faults.items()),
                }
            )
        yield Kept({**item, "worth": worth})


def _describe_group(item: Item, config: SamplingConfig) -> Item:
    """As trainer.contract.scoring has it."""
    return {
        "row": item["row"],
        "longest": config.max_tokens,
        "prompt_text": "\n\n".join(message["content"] for message in item["messages"]),
        "answers": [{"text": one.text, "tokens": one.length} for one in read_answers(item)],
    }


def _choose(building: Building, config: SamplingConfig, source: DatasetVersion) -> Iterator[Outcome]:
    model = building.open_endpoint(config.endpoint).endpoint.model
    for item in building.funnel.read_kept(VALUE):
        worth = {one["number"]: one for one in item.get("worth", ())}
        answers = [_with_worth(one, worth.get(one.number)) for one in read_answers(item)]
        if config.choose == "all" and not worth:
            choice = choose(answers, "all", least=None)
        else:
            choice = choose(answers, config.choose, least=config.least_reward, difference=config.least_difference)
        origin = {"prompt": f"{source.reference}#{item['number']}", "model": model, "of": config.samples}
        for one, reason in choice.left:
            told = {"number": item["number"], "sample": one.number, "reward": one.reward, "text": one.text}
            yield Dropped(told, reason, one.fault, part=True)
        if not choice.kept:
            yield Dropped({"number": item["number"], "row": item["row"]}, "none of its answers was chosen")
        elif config.choose == "best_and_worst":
            yield Kept(_make_pair(item, choice.kept[0], choice.kept[1], origin))
        else:
            yield from (Kept(_make_conversation(item, one, origin)) for one in choice.kept)


def _with_worth(answer: Sampled, worth: dict[str, Any] | None) -> Sampled:
    if worth is None:
        return answer
    return replace(answer, reward=worth["reward"], components=worth["components"], fault=worth["fault"])


def _make_conversation(item: Item, answer: Sampled, origin: dict[str, Any]) -> Item:
    worth = {} if answer.reward is None else {"reward": answer.reward, "components": answer.components}
    row = {
        "messages": [*item["messages"], {"role": "assistant", "content": answer.text}],
        "provenance": {**origin, "sample": answer.number, **worth},
    }
    return {"row": row, "source": item["source"]}


def _make_pair(item: Item, best: Sampled, worst: Sampled, origin: dict[str, Any]) -> Item:
    row = {
        "messages": item["messages"],
        "chosen": best.text,
        "rejected": worst.text,
        "provenance": {
            **origin,
            "samples": [best.number, worst.number],
            "reward_chosen": best.reward,
            "reward_rejected": worst.reward,
        },
    }
    return {"row": row, "source": item["source"]}
