"""The page as an MCP server, with a real MCP client over HTTP: every named endpoint is a tool that explains itself, and they work."""

import ast
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client

from tests.test_api import Server, serving

SECRET = "a-secret-of-mine"


@pytest.fixture(scope="module")
def server(tiny_folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tiny_folders["llama"], tmp_path_factory.mktemp("mcp")) as running:
        yield running


def with_session(server: Server, talk: Callable[[ClientSession], Awaitable[Any]]) -> Any:
    async def connected() -> Any:
        async with (
            streamablehttp_client(f"{server.url}gradio_api/mcp/") as (reading, writing, _),
            ClientSession(reading, writing) as session,
        ):
            await session.initialize()
            return await talk(session)

    return anyio.run(connected)


def test_every_named_endpoint_is_a_tool_that_says_what_its_arguments_are(server: Server):
    tools = with_session(server, lambda session: session.list_tools()).tools
    named = server.client().view_api(return_format="dict")["named_endpoints"]
    assert {tool.name for tool in tools} == {name.removeprefix("/") for name in named}
    for tool in tools:
        assert tool.description, tool.name
        arguments = tool.inputSchema["properties"]
        assert len(arguments) == len(named[f"/{tool.name}"]["parameters"]), tool.name
        for name, argument in arguments.items():
            assert argument.get("description"), f"{tool.name}({name})"


def test_a_blind_comparison_and_its_vote_over_mcp(server: Server):
    async def talk(session: ClientSession) -> tuple[dict, dict]:
        asked = {
            "prompt": "How do I make tea?",
            "persona": "pirate",
            "max_new_tokens": 4,
            "blind": True,
            "rater": SECRET,
        }
        compared = await session.call_tool("compare", asked)
        assert not compared.isError, compared
        round_ = ast.literal_eval(compared.content[0].text)
        voted = await session.call_tool(
            "vote", {"round_id": round_["round_id"], "choice": "second", "rater": SECRET, "chips": ["clearer"]}
        )
        assert not voted.isError, voted
        return round_, ast.literal_eval(voted.content[0].text)

    round_, vote = with_session(server, talk)
    assert list(round_["answers"]) == ["first", "second"]
    stored = server.services.store.round(round_["round_id"])
    assert vote["choice"] == "second"
    assert (vote["first_arm"], vote["second_arm"]) == (stored.first_arm, stored.second_arm)
    assert server.services.label.clear_choices() == 1


def test_a_wrong_argument_is_told_in_a_sentence(server: Server):
    async def talk(session: ClientSession) -> list[Any]:
        return [
            await session.call_tool("compare", {"prompt": "", "persona": "pirate"}),
            await session.call_tool("compare", {"prompt": "tea", "persona": "nobody-of-this-name"}),
        ]

    empty, unknown = with_session(server, talk)
    assert empty.isError and "the prompt is empty" in empty.content[0].text
    assert unknown.isError and "nobody-of-this-name" in unknown.content[0].text
    assert not any("Traceback" in told.content[0].text for told in (empty, unknown))
