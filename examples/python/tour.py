"""A tour of Caravan in Python: list models, chat as a stream, call with a tool, get an embedding, and handle an error.

Run it against `make run`:  python examples/python/tour.py [HOST:PORT]
"""

import asyncio
import sys

import caravan
from caravan import errors
from caravan.registry.v1 import models_pb2

WEATHER = {
    "tool_name": "get_weather",
    "description": "Tells the weather in a city.",
    "parameters": {"city": {"param_type": "string", "description": "Name of the city."}},
}


async def main(target: str | None) -> None:
    # The timeout is each call's deadline: when it passes, the servers stop working on the call, too.
    async with caravan.AsyncClient(target, timeout=60) as client:
        models = [model async for model in client.models.list()]
        print("models:", ", ".join(model.model_id for model in models))
        by_type = {model.model_type: model.model_id for model in reversed(models)}  # the first of each type
        chat_model = by_type[models_pb2.MODEL_TYPE_LLM]
        embedding_model = by_type.get(models_pb2.MODEL_TYPE_EMBEDDING)

        print("chat:   ", end="")
        stream = client.chat(chat_model, "What is Caravan?", stream=True, max_tokens=64)
        async for text in stream.texts():  # leaving this loop early would cancel the call
            print(text, end="", flush=True)
        print(f"  ({stream.so_far.usage['completion_tokens']} tokens)")

        question = "What is the weather in Paris?"
        reply = await client.chat(chat_model, question, tools=[WEATHER], tool_choice="required", max_tokens=64)
        for call in reply.tool_calls:
            print("tool:   ", call.tool_name, caravan.tool_arguments(call))
            result = {"role": "tool", "call_id": call.call_id, "tool_name": call.tool_name, "content": "Sunny, 24 °C."}
            reply = await client.chat(chat_model, [question, reply.message, result], tools=[WEATHER], max_tokens=64)
            print("answer: ", reply.text)

        if embedding_model:
            [vector] = await client.embed(embedding_model, "A caravan crosses the desert.")
            print(f"vector:  {len(vector)} numbers, the first {vector[0]:+.4f}")

        try:
            await client.chat("no-such-model", "Hello?")
        except errors.NotFoundError as error:
            print(f"error:   {error.code.name} {error.reason}: {error.message}")


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else None))
    except errors.CaravanError as error:
        sys.exit(f"failed: {error.message}")
