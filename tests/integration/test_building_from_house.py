"""The house's own server as the endpoint of a build."""

from chanote.building.endpoint import ChatEndpoint, Endpoint, Limits, Question
from tests.model_serving import make_policy, serve_here


def test_a_served_checkpoint_answers_a_build_and_a_seed_holds(tmp_path):
    with serve_here(make_policy(), tokens=(b"the-key-of-the-house",)) as served:
        where = Endpoint(base_url=f"{served.address}/v1", model="tiny")

        def ask(folder: str, *seeds: int) -> list[str]:
            messages = ({"role": "user", "content": "ตลาด"},)
            questions = [Question(messages, temperature=1.0, max_tokens=8, seed=seed) for seed in seeds]
            client = ChatEndpoint(
                where, replies=tmp_path / folder, key="the-key-of-the-house", limits=Limits(concurrency=2)
            )
            with client:
                replies = [reply for _, reply in client.ask_all(questions)]
                assert client.cost()["uncounted_replies"] == 0
            assert [reply.fault for reply in replies] == [""] * len(seeds)
            return [reply.text for reply in replies]

        first = ask("first", 1, 2, 3)
        assert ask("again", 3, 2, 1) == first[::-1]
        assert len(set(first)) > 1
