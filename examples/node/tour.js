// A tour of Caravan in Node.js: list models, chat as a stream, call with a tool, get an embedding, and handle an error.
//
// Run it against `make run`:  npm install && node tour.js [HOST:PORT]

import { readFileSync } from "node:fs";
import { promisify } from "node:util";
import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";

// The contract as one file, made by `make protos`; no .proto files are needed.
const contract = new URL("../../caravan/descriptors.binpb", import.meta.url);
const definition = protoLoader.loadFileDescriptorSetFromBuffer(readFileSync(contract), {
  keepCase: true, // field names as in the protos
  longs: String,
  enums: String,
  oneofs: true, // event.event tells which member is set
});
const { caravan, google } = grpc.loadPackageDefinition(definition);

const target = process.argv[2] ?? process.env.CARAVAN_TARGET ?? "localhost:8321";
const credentials = grpc.credentials.createInsecure();
const models = new caravan.registry.v1.ModelsService(target, credentials);
const inference = new caravan.inference.v1.InferenceService(target, credentials);

// When the deadline passes, the servers stop working on the call, too.
const within = (seconds) => ({ deadline: Date.now() + seconds * 1000 });

const unary = (client, method) => {
  const call = promisify(client[method].bind(client));
  return (request) => call(request, new grpc.Metadata(), within(60));
};
const listModels = unary(models, "ListModels");
const chatCompletion = unary(inference, "ChatCompletion");
const embeddings = unary(inference, "Embeddings");

const content = (text) => ({ items: [{ text }] });
const textOf = (message) => (message.content?.items ?? []).map((item) => item.text).join("");

const weather = {
  tool_name: "get_weather",
  description: "Tells the weather in a city.",
  // From a descriptor set, proto-loader makes a map field a list of its entries; on the wire both are the same.
  parameters: [{ key: "city", value: { param_type: "string", description: "Name of the city." } }],
};

// An error carries google.rpc details beside its code and message. ErrorInfo has the reason for programs.
const rpc = protoLoader.fromJSON({
  nested: {
    Status: { fields: { details: { rule: "repeated", type: "Any", id: 3 } } },
    Any: { fields: { typeUrl: { type: "string", id: 1 }, value: { type: "bytes", id: 2 } } },
    ErrorInfo: { fields: { reason: { type: "string", id: 1 }, domain: { type: "string", id: 2 } } },
  },
});

function reasonOf(error) {
  const [bytes] = error.metadata?.get("grpc-status-details-bin") ?? [];
  const details = bytes ? rpc.Status.deserialize(bytes).details : [];
  const info = details.find((detail) => detail.typeUrl.endsWith("/google.rpc.ErrorInfo"));
  return info ? rpc.ErrorInfo.deserialize(info.value).reason : "";
}

async function main() {
  const { data } = await listModels({});
  console.log("models: ", data.map((model) => model.model_id).join(", "));
  const chatModel = data.find((model) => model.model_type === "MODEL_TYPE_LLM").model_id;
  const embeddingModel = data.find((model) => model.model_type === "MODEL_TYPE_EMBEDDING")?.model_id;

  const question = { user: { content: content("What is Caravan?") } };
  const stream = inference.StreamChatCompletion(
    { model_id: chatModel, messages: [question], sampling_params: { max_tokens: 64 } },
    new grpc.Metadata(),
    within(60),
  );
  process.stdout.write("chat:    ");
  // Leaving this loop early destroys the stream, which cancels the call.
  for await (const event of stream) {
    if (event.event === "progress") process.stdout.write(event.progress.delta.text ?? "");
    if (event.event === "complete") console.log(`  (${event.complete.stop_reason})`);
  }

  const messages = [{ user: { content: content("What is the weather in Paris?") } }];
  const { completion_message: message } = await chatCompletion({
    model_id: chatModel,
    messages,
    tools: [weather],
    tool_config: { tool_choice: "TOOL_CHOICE_REQUIRED" },
    sampling_params: { max_tokens: 64 },
  });
  for (const call of message.tool_calls) {
    console.log("tool:    ", call.tool_name, JSON.parse(call.arguments_json));
    const result = { tool: { call_id: call.call_id, tool_name: call.tool_name, content: content("Sunny, 24 °C.") } };
    const answer = await chatCompletion({
      model_id: chatModel,
      messages: [...messages, { assistant: message }, result],
      tools: [weather],
      sampling_params: { max_tokens: 64 },
    });
    console.log("answer:  ", textOf(answer.completion_message));
  }

  if (embeddingModel) {
    const response = await embeddings({ model_id: embeddingModel, contents: [content("A caravan crosses the desert.")] });
    const { values } = response.embeddings[0];
    console.log(`vector:   ${values.length} numbers, the first ${values[0].toFixed(4)}`);
  }

  try {
    await chatCompletion({ model_id: "no-such-model", messages: [question] });
  } catch (error) {
    console.log(`error:    ${grpc.status[error.code]} ${reasonOf(error)}: ${error.details}`);
  }
}

try {
  await main();
} catch (error) {
  console.error(`failed: ${grpc.status[error.code] ?? error.name}: ${error.details ?? error.message}`);
  process.exitCode = 1;
} finally {
  models.close();
  inference.close();
}
