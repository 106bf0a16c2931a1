"""A client of the published Typhoon-S evaluation protocol, written from its description: an agent that chats.

At most 12 turns. A turn is one message of the model; all its calls are made, by the tool service's `/search` and
`/read`; what a tool says is cut in the middle. A message without calls is the final answer, thoughts left out; when
turns run out the last message is. Search results are shown as documents with titles, queries apart by `---`, in an
object `{"result": …}`.
"""

import json
from dataclasses import dataclass, field
from typing import Any

import httpx

MOST_TURNS = 12
TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": "search_law",
            "description": "Search sections of law.",
            "parameters": {
                "type": "object",
                "properties": {"queries": {"type": "array", "items": {"type": "string"}}},
                "required": ["queries"],
            },
        },
    },
    {
        "type": "function",
        "function": {
            "name": "read_law",
            "description": "Read a section, or a whole law.",
            "parameters": {
                "type": "object",
                "properties": {"law_name": {"type": "string"}, "section_num": {"type": "string"}},
                "required": ["law_name"],
            },
        },
    },
]


@dataclass
class Outcome:
    answer: str
    turns: int
    messages: list[dict[str, Any]]
    made: list[tuple[str, dict[str, Any]]] = field(default_factory=list)


class Agent:
    def __init__(self, model_address: str, tool_address: str, *, model: str, output_characters: int = 4000) -> None:
        self.model, self.most = model, output_characters
        self._chat = httpx.Client(base_url=model_address, timeout=120, trust_env=False)
        self._tools = httpx.Client(base_url=tool_address, timeout=30, trust_env=False)

    def __enter__(self) -> "Agent":
        return self

    def __exit__(self, *raised: object) -> None:
        self._chat.close()
        self._tools.close()

    def answer(self, question: str, *, temperature: float = 0.0, seed: int | None = None) -> Outcome:
        outcome = Outcome("", 0, [{"role": "user", "content": question}])
        while outcome.turns < MOST_TURNS:
            body = {"model": self.model, "messages": outcome.messages, "tools": TOOLS, "temperature": temperature}
            reply = self._chat.post("/v1/chat/completions", json={**body, "seed": seed, "max_tokens": 8192})
            assert reply.status_code == 200, reply.text
            message = reply.json()["choices"][0]["message"]
            outcome.messages.append(message)
            outcome.turns += 1
            if not message.get("tool_calls"):
                break
            for call in message["tool_calls"]:
                content = self._make(outcome, call["function"]["name"], call["function"]["arguments"])
                outcome.messages.append({"role": "tool", "tool_call_id": call["id"], "content": self._cut(content)})
        outcome.answer = (outcome.messages[-1]["content"] or "").rpartition("</think>")[2].strip()
        return outcome

    def _make(self, outcome: Outcome, name: str, arguments: str) -> str:
        try:
            given = json.loads(arguments)
            outcome.made.append((name, given))
            result = self.search(given["queries"]) if name == "search_law" else self.read(given)
        except (ValueError, KeyError, TypeError) as error:
            return f"Error when executing tool: {error}"
        return json.dumps({"result": result}, ensure_ascii=False)

    def search(self, queries: list[str]) -> str:
        reply = self._tools.post("/search", json={"queries": queries, "topk": 3, "return_scores": True})
        reply.raise_for_status()
        return "\n---\n".join(map(_show_documents, reply.json()["result"]))

    def read(self, given: dict[str, Any]) -> str:
        reply = self._tools.post("/read", json={"law_name": given["law_name"], "section_num": given.get("section_num")})
        return str(reply.json()["text"] if reply.status_code == 200 else reply.json()["detail"])

    def _cut(self, text: str) -> str:
        half = self.most // 2
        return text if len(text) <= self.most else f"{text[:half]}...(truncated)...{text[-half:]}"


def _show_documents(found: list[dict[str, Any]]) -> str:
    shown = []
    for number, one in enumerate(found, start=1):
        title, _, rest = one["document"]["contents"].partition("\n")
        shown.append(f"Doc {number} (Title: {title})\n {rest}")
    return "\n".join(shown)
