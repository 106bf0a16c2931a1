"""Episodes with tools: every way to end, tokens kept as they were sampled, and a slow tool in nobody else's way."""

import asyncio
import json
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.contract.toolsets import ToolLimits
from trainer.rollouts.calls import Call
from trainer.rollouts.episode import Episode, State, cut_output
from trainer.rollouts.playing import play
from trainer.rollouts.prompts import Prompt
from trainer.rollouts.rollout import Ending, ToolResult
from trainer.rollouts.turns import TurnWriter
from trainer.sampling.engine import Completion, SamplingRequest, StopReason
from trainer.tokenizer import train_tokenizer

SCHEMA = {"search_law": {"properties": {"query": {"type": "string"}}}}
TOKENIZER = train_tokenizer(["the law says in section 12 that"] * 3, vocab_size=300, context_length=8192)
WRITER = TurnWriter(TOKENIZER, [])
END = TOKENIZER.convert_tokens_to_ids("<|im_end|>")
CALL = '<tool_call>\n{"name": "search_law", "arguments": {"query": "12"}}\n</tool_call>'
LIMITS = ToolLimits(turns=3, calls_per_turn=2, failed_calls=2)


def make_episode(number: int = 0, *, room: int = 1000, limits: ToolLimits = LIMITS) -> Episode:
    prompt = Prompt(name=f"some@1#{number}", row={}, ids=(5, 6, number), text="question")
    return Episode(prompt, 0, number, 7 + number, room, limits, WRITER, SCHEMA, frozenset({END}))


def say(text: str, *, reason: StopReason = StopReason.END_TOKEN) -> Completion:
    ids = TOKENIZER(text, add_special_tokens=False)["input_ids"] + ([END] if reason is StopReason.END_TOKEN else [])
    return Completion(token_ids=tuple(ids), logprobs=(-0.5,) * len(ids), text=text, stop_reason=reason)


def found(text: str = "section 12", status: str = "ok") -> ToolResult:
    return ToolResult(status, text)


def ask(episode: Episode) -> SamplingRequest:
    return episode.request(temperature=1.0, top_p=1.0)


def test_the_next_prompt_is_what_was_sampled_and_what_the_template_puts_after_it():
    episode = make_episode()
    assert ask(episode).prompt_ids == (5, 6, 0)
    turn = say(CALL)
    episode.wrote(turn)
    assert episode.state is State.CALLING
    assert episode.calls() == [
        Call("search_law", {"query": "12"}, written='\n{"name": "search_law", "arguments": {"query": "12"}}\n')
    ]
    episode.answered([found()])
    between = WRITER.between(["section 12"], ended=True)
    assert ask(episode).prompt_ids == (5, 6, 0, *turn.token_ids, *between)
    answer = say("<think>it says</think>Section 12.")
    episode.wrote(answer)
    assert (episode.state, episode.ending, episode.answer) == (State.ENDED, Ending.ANSWERED, "Section 12.")
    rollout = episode.rollout()
    assert rollout.token_ids == [*turn.token_ids, *between, *answer.token_ids]
    first, last = len(turn.token_ids), len(answer.token_ids)
    assert rollout.trained == [True] * first + [False] * len(between) + [True] * last
    assert rollout.logprobs == [-0.5] * first + [None] * len(between) + [-0.5] * last
    assert rollout.turns == [(0, first), (first + len(between), first + len(between) + last)]
    assert (rollout.text, rollout.masked, rollout.truncated) == ("Section 12.", "", False)


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 255), min_size=1, max_size=12), min_size=1, max_size=3))
def test_tokens_are_never_split_anew(turns: list[list[int]]):
    """Single bytes are a split that the tokenizer itself would hardly make; they stay as they were sampled."""
    bytes_of = [TOKENIZER.convert_tokens_to_ids(one) for one in sorted(TOKENIZER.get_vocab()) if len(one) == 1]
    episode = make_episode(limits=LIMITS.model_copy(update={"turns": 4}))
    history: list[int] = list(episode.prompt.ids)
    for turn in turns:
        assert list(ask(episode).prompt_ids) == history
        sampled = [bytes_of[place % len(bytes_of)] for place in turn] + [END]
        text = TOKENIZER.decode(sampled, skip_special_tokens=True) + CALL
        episode.wrote(
            Completion(
                token_ids=tuple(sampled), logprobs=(0.0,) * len(sampled), text=text, stop_reason=StopReason.END_TOKEN
            )
        )
        if episode.state is State.ENDED:
            return
        episode.answered([found() for _ in episode.calls()])
        if episode.state is State.ENDED:
            return
        history += sampled + WRITER.between(
            [one.result.text for one in episode.made if one.turn == episode.turns], ended=True
        )
    assert list(ask(episode).prompt_ids) == history


PIECES = {one for one in TOKENIZER.get_vocab() if one not in TOKENIZER.all_special_tokens}


@st.composite
def splits(draw: st.DrawFn, text: str) -> list[int]:
    """Token ids of a text, split as a policy may and the tokenizer would not: any pieces of the vocabulary in a row."""
    written = "".join(TOKENIZER.convert_ids_to_tokens(TOKENIZER(text, add_special_tokens=False)["input_ids"]))
    ids, at = [], 0
    while at < len(written):
        fits = [size for size in range(1, 12) if written[at : at + size] in PIECES and at + size <= len(written)]
        size = draw(st.sampled_from(fits))
        ids.append(TOKENIZER.convert_tokens_to_ids(written[at : at + size]))
        at += size
    return ids


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_whatever_way_a_turn_is_split_it_is_read_kept_and_trained_as_it_was_sampled(data: st.DataObject):
    """Calls and Thai letters whose bytes lie in several tokens, through all of an episode."""
    query = "มาตรา ๑๒ the law"
    call = f'<tool_call>\n{{"name": "search_law", "arguments": {{"query": "{query}"}}}}\n</tool_call>'
    turns = [
        [*data.draw(splits(text)), END]
        for text in (
            call,
            "says ภาษี",
        )
    ]
    turns.insert(1, [*data.draw(splits(call)), END])
    logprobs = iter(range(1, 10_000))
    sampled: list[tuple[int, float]] = []

    def script(number: int, request: SamplingRequest) -> Completion:
        ids = turns.pop(0)
        logp = [-float(next(logprobs)) for _ in ids]
        sampled.extend(zip(ids, logp, strict=True))
        text = TOKENIZER.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return Completion(token_ids=tuple(ids), logprobs=tuple(logp), text=text, stop_reason=StopReason.END_TOKEN)

    async def answer(call: Call, session: str) -> ToolResult:
        assert call.arguments == {"query": query}
        return found("มาตรา 12")

    episode, engine = make_episode(), Scripted(script)
    play_all([episode], engine, Answers(answer))
    rollout = episode.rollout()
    assert (rollout.stop_reason, rollout.text) == (Ending.ANSWERED, "says ภาษี")
    kept = list(zip(rollout.token_ids, rollout.logprobs, rollout.trained, strict=True))
    assert [(token, logp) for token, logp, trained in kept if trained] == sampled
    between = WRITER.between(["มาตรา 12"], ended=True)
    assert [token for token, _, trained in kept if not trained] == between * 2
    ids = (*rollout.prompt.ids, *rollout.token_ids)
    assert all(ids[: len(prompt)] == prompt for prompt in engine.prompts)  # every turn saw what is trained on


def test_a_call_in_the_last_turn_is_never_made():
    episode = make_episode()
    for _ in range(2):
        episode.wrote(say(CALL))
        episode.answered([found()])
    episode.wrote(say(CALL))
    assert (episode.ending, len(episode.made), episode.rollout().text) == (Ending.TURN_LIMIT, 2, "")


def test_calls_beyond_those_of_a_turn_are_answered_as_not_made():
    episode = make_episode()
    episode.wrote(say(CALL * 3))
    assert len(episode.calls()) == 2
    episode.answered([found("a"), found("b")])
    assert [one.result.text for one in episode.made] == ["a", "b", "Error: not made: a turn may make 2 calls."]


def test_a_call_that_cannot_be_read_is_answered_and_counts_as_a_failed_one():
    episode = make_episode()
    episode.wrote(say("<tool_call>{</tool_call>"))
    assert episode.calls() == []
    episode.answered([])
    assert episode.state is State.WRITING
    assert "Error: the call is not valid JSON" in TOKENIZER.decode(ask(episode).prompt_ids)
    episode.wrote(say(CALL))
    episode.answered([found("top_k: what is that?", "rejected")])
    assert (episode.ending, episode.failed_calls) == (Ending.FAILED_CALLS, 2)


def test_a_program_that_fails_was_called_rightly():
    episode = make_episode()
    for status in ("error", "timeout"):
        episode.wrote(say(CALL))
        episode.answered([found("Traceback", status)])
    assert (episode.state, episode.failed_calls) == (State.WRITING, 0)


def test_a_turn_that_was_cut_off_ends_the_episode_whatever_it_called():
    episode = make_episode()
    episode.wrote(say(CALL, reason=StopReason.LENGTH))
    assert (episode.ending, episode.rollout().truncated) == (Ending.LENGTH, True)


def test_what_a_tool_says_must_leave_room_for_a_token():
    turn, between = say(CALL), WRITER.between(["section 12"], ended=True)
    tight = make_episode(room=len(turn.token_ids) + len(between))
    tight.wrote(turn)
    tight.answered([found()])
    assert (tight.ending, len(tight.token_ids)) == (Ending.LENGTH, len(turn.token_ids))
    roomy = make_episode(room=len(turn.token_ids) + len(between) + 1)
    roomy.wrote(turn)
    roomy.answered([found()])
    assert ask(roomy).max_new_tokens == 1


def test_a_service_that_fails_masks_the_rollout():
    episode = make_episode()
    episode.wrote(say(CALL))
    episode.answered([found("the engine is gone", "infra_error")])
    rollout = episode.rollout()
    assert (episode.ending, rollout.masked) == (Ending.SERVICE_FAILED, "A tool could not be asked: the engine is gone")


@pytest.mark.parametrize(
    ("cut", "read"),
    [
        ("end", "a" * 50 + "b" * 14 + "\n[36 characters left out]"),
        ("start", "[36 characters left out]\n" + "a" * 14 + "b" * 50),
        ("middle", "a" * 32 + "\n[36 characters left out]\n" + "b" * 32),
    ],
)
def test_long_outputs_are_cut_where_asked_for_and_say_so(cut: Any, read: str):
    limits = ToolLimits(output_characters=64, output_cut=cut)
    assert cut_output("a" * 50 + "b" * 50, limits) == read
    assert cut_output("a" * 64, limits) == "a" * 64


class Scripted:
    """An engine whose completions are given by the number of the prompt's last token and the turn; takes requests as
    they come."""

    def __init__(self, script: Any) -> None:
        self.script = script
        self.prompts: list[tuple[int, ...]] = []

    def serve(self, requests: Any, *, most: int, longest: int, should_stop: Any) -> None:
        while not should_stop() and requests.wait():
            for number, request in requests.take():
                self.prompts.append(request.prompt_ids)
                requests.answer(number, self.script(number, request))


class Rounds:
    def __init__(self, script: Any) -> None:
        self.script = script

    def sample(self, requests: Sequence[SamplingRequest], *, should_stop: Any) -> list[Completion]:
        return [self.script(one.prompt_ids[2], one) for one in requests]


class Answers:
    """Tools whose answer comes when `open_after` says so."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[tuple[str, str]] = []
        self.ended: list[str] = []
        self.closed = False

    async def call(self, call: Call, *, session: str, key: str) -> ToolResult:
        self.asked.append((session, key))
        result: ToolResult = await self.answer(call, session)
        return result

    async def end(self, session: str) -> None:
        self.ended.append(session)

    async def close(self) -> None:
        self.closed = True


def call_then_answer(number: int, request: SamplingRequest) -> Completion:
    return say(CALL) if len(request.prompt_ids) == 3 else say(f"answer {number}")


def play_all(episodes: Sequence[Episode], engine: Any, tools: Answers, **more: Any) -> None:
    play(
        episodes,
        engine,
        lambda: tools,
        request=ask,
        name=lambda episode: f"rollout {episode.index}",
        longest=2000,
        **more,
    )


@pytest.mark.parametrize(
    "engine", [Scripted(call_then_answer), Rounds(call_then_answer)], ids=["as they come", "rounds"]
)
def test_every_episode_is_played_to_its_end(engine: Any):
    async def answer(call: Call, session: str) -> ToolResult:
        return found(f"for {session}")

    episodes, tools = [make_episode(number) for number in range(20)], Answers(answer)
    play_all(episodes, engine, tools)
    assert [episode.answer for episode in episodes] == [f"answer {number}" for number in range(20)]
    assert sorted(tools.asked) == sorted((f"rollout {n}", f"rollout {n}/1/0") for n in range(20))
    assert [one.made[0].result.text for one in episodes] == [f"for rollout {n}" for n in range(20)]
    assert sorted(tools.ended) == sorted(f"rollout {n}" for n in range(20))
    assert tools.closed


def test_a_slow_tool_delays_its_own_episode_only():
    """Its answer comes only after all others have ended; were they waiting for it, nobody would ever end."""
    ended = 0

    def script(number: int, request: SamplingRequest) -> Completion:
        nonlocal ended
        completion = call_then_answer(number, request)
        if len(request.prompt_ids) > 3 and number:
            ended += 1
        return completion

    async def answer(call: Call, session: str) -> ToolResult:
        if session == "rollout 0":
            while ended < 9:
                await asyncio.sleep(0.001)
        return found()

    episodes = [make_episode(number) for number in range(10)]
    play_all(episodes, Scripted(script), Answers(answer))
    assert {episode.ending for episode in episodes} == {Ending.ANSWERED}


def test_in_step_the_batches_do_not_depend_on_how_fast_tools_are():
    """Episodes of 1, 2 and 3 turns; whatever the tools' delays, turns go together."""
    together: list[list[int]] = []

    class Recording(Scripted):
        def serve(self, requests: Any, *, most: int, longest: int, should_stop: Any) -> None:
            while requests.wait():
                taken = requests.take()
                together.append([number for number, _ in taken])
                for number, request in taken:
                    requests.answer(number, self.script(number, request))

    turns: dict[int, int] = {}

    def script(number: int, request: SamplingRequest) -> Completion:
        turns[number] = turns.get(number, 0) + 1
        return say(CALL) if turns[number] <= number else say("done")

    async def answer(call: Call, session: str) -> ToolResult:
        await asyncio.sleep(0.02 * (session == "rollout 1"))
        return found()

    play_all([make_episode(number) for number in range(3)], Recording(script), Answers(answer), in_step=True)
    assert together == [[0, 1, 2], [1, 2], [2]]


def test_the_deadline_of_an_episode_is_its_own_and_waits_for_no_tool():
    async def answer(call: Call, session: str) -> ToolResult:
        if session == "rollout 1":
            await asyncio.Event().wait()  # never
        return found()

    limits = LIMITS.model_copy(update={"episode_seconds": 30.0})
    late = LIMITS.model_copy(update={"episode_seconds": 0.1})
    episodes = [make_episode(0, limits=limits), make_episode(1, limits=late)]
    play_all(episodes, Scripted(call_then_answer), Answers(answer))
    assert [episode.ending for episode in episodes] == [Ending.ANSWERED, Ending.DEADLINE]
    [call] = episodes[1].made
    assert (call.result.status, call.call.name) == ("timeout", "search_law")
    assert episodes[1].rollout().trained == [True] * len(episodes[1].token_ids), "nothing is put after its turn"


def test_a_fault_of_the_program_itself_comes_out_and_leaves_no_thread():
    async def answer(call: Call, session: str) -> ToolResult:
        raise ZeroDivisionError("a fault")

    tools = Answers(answer)
    with pytest.raises(ZeroDivisionError, match="a fault"):
        play_all([make_episode(number) for number in range(3)], Scripted(call_then_answer), tools)
    assert tools.closed
    assert not [thread for thread in threading.enumerate() if thread.name == "tools"]


def test_asking_to_stop_ends_what_waits_for_a_tool():
    asked = threading.Event()

    async def answer(call: Call, session: str) -> ToolResult:
        asked.set()
        await asyncio.sleep(3600)
        return found()

    def script(number: int, request: SamplingRequest) -> Completion:
        if number == 1:
            asked.wait(60)
            return say("", reason=StopReason.INTERRUPTED)
        return call_then_answer(number, request)

    episodes = [make_episode(0), make_episode(1)]
    play_all(episodes, Scripted(script), Answers(answer), should_stop=asked.is_set)
    assert [episode.ending for episode in episodes] == [Ending.INTERRUPTED, Ending.INTERRUPTED]


def test_asking_to_stop_does_not_wait_for_a_tool_that_hangs():
    """Also when every episode waits for one, and nothing is left to be sampled."""
    hanging = threading.Semaphore(0)

    async def answer(call: Call, session: str) -> ToolResult:
        hanging.release()
        await asyncio.sleep(3600)
        return found()

    left = [2]

    def asked_to_stop() -> bool:
        while left[0] and hanging.acquire(blocking=False):
            left[0] -= 1
        return not left[0]

    episodes, tools = [make_episode(0), make_episode(1)], Answers(answer)
    play_all(episodes, Scripted(call_then_answer), tools, should_stop=asked_to_stop)
    assert [episode.ending for episode in episodes] == [Ending.INTERRUPTED, Ending.INTERRUPTED]
    assert tools.closed


def test_arguments_reach_the_service_as_they_were_written():
    seen: list[Any] = []

    async def answer(call: Call, session: str) -> ToolResult:
        seen.append(call.arguments)
        return found()

    query = {"query": "มาตรา ๑๒ \" ' \\ \n"}
    turn = "<tool_call>" + json.dumps({"name": "search_law", "arguments": query}) + "</tool_call>"
    play_all(
        [make_episode()], Rounds(lambda n, r: say(turn) if len(r.prompt_ids) == 3 else say("done")), Answers(answer)
    )
    assert seen == [query]
