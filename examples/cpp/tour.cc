// A tour of Caravan in C++: list models, chat as a stream, call with a tool, get an embedding, and handle an error.
//
// Run it against `make run`:  cmake -B build && cmake --build build && build/tour [HOST:PORT]

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>

#include "caravan/inference/v1/inference.grpc.pb.h"
#include "caravan/registry/v1/models.grpc.pb.h"

namespace inference = caravan::inference::v1;
namespace registry = caravan::registry::v1;
namespace types = caravan::types::v1;

namespace {

// When the deadline passes, the servers stop working on the call, too.
std::unique_ptr<grpc::ClientContext> Within(std::chrono::seconds seconds) {
  auto context = std::make_unique<grpc::ClientContext>();
  context->set_deadline(std::chrono::system_clock::now() + seconds);
  return context;
}

void Require(const grpc::Status& status) {
  if (status.ok()) return;
  throw std::runtime_error("code " + std::to_string(status.error_code()) + ": " + status.error_message());
}

void Say(types::Message* message, const std::string& text) {
  message->mutable_user()->mutable_content()->add_items()->set_text(text);
}

std::string TextOf(const types::CompletionMessage& message) {
  std::string text;
  for (const auto& item : message.content().items()) text += item.text();
  return text;
}

void AddWeatherTool(inference::ChatCompletionRequest* request) {
  auto* tool = request->add_tools();
  tool->set_tool_name("get_weather");
  tool->set_description("Tells the weather in a city.");
  auto& city = (*tool->mutable_parameters())["city"];
  city.set_param_type("string");
  city.set_description("Name of the city.");
}

void StreamedChat(inference::InferenceService::Stub& stub, const std::string& model) {
  inference::StreamChatCompletionRequest request;
  request.set_model_id(model);
  request.mutable_sampling_params()->set_max_tokens(64);
  Say(request.add_messages(), "What is Caravan?");

  auto context = Within(std::chrono::seconds(60));
  auto reader = stub.StreamChatCompletion(context.get(), request);
  inference::StreamChatCompletionResponse event;
  std::cout << "chat:    ";
  // To leave this loop early, call context->TryCancel(): generation then stops at once.
  while (reader->Read(&event)) {
    if (event.has_progress()) std::cout << event.progress().delta().text() << std::flush;
    if (event.has_complete()) std::cout << "  (" << types::StopReason_Name(event.complete().stop_reason()) << ")\n";
  }
  Require(reader->Finish());
}

void ToolCall(inference::InferenceService::Stub& stub, const std::string& model) {
  inference::ChatCompletionRequest request;
  request.set_model_id(model);
  request.mutable_sampling_params()->set_max_tokens(64);
  Say(request.add_messages(), "What is the weather in Paris?");
  AddWeatherTool(&request);
  request.mutable_tool_config()->set_tool_choice(types::TOOL_CHOICE_REQUIRED);

  inference::ChatCompletionResponse response;
  Require(stub.ChatCompletion(Within(std::chrono::seconds(60)).get(), request, &response));
  *request.add_messages()->mutable_assistant() = response.completion_message();
  for (const auto& call : response.completion_message().tool_calls()) {
    std::cout << "tool:    " << call.tool_name() << " " << call.arguments_json() << "\n";
    auto* result = request.add_messages()->mutable_tool();
    result->set_call_id(call.call_id());
    result->set_tool_name(call.tool_name());
    result->mutable_content()->add_items()->set_text("Sunny, 24 °C.");
  }
  request.mutable_tool_config()->set_tool_choice(types::TOOL_CHOICE_AUTO);
  inference::ChatCompletionResponse answer;
  Require(stub.ChatCompletion(Within(std::chrono::seconds(60)).get(), request, &answer));
  std::cout << "answer:  " << TextOf(answer.completion_message()) << "\n";
}

void Embed(inference::InferenceService::Stub& stub, const std::string& model) {
  inference::EmbeddingsRequest request;
  request.set_model_id(model);
  request.add_contents()->add_items()->set_text("A caravan crosses the desert.");
  inference::EmbeddingsResponse response;
  Require(stub.Embeddings(Within(std::chrono::seconds(60)).get(), request, &response));
  const auto& values = response.embeddings(0).values();
  std::cout << "vector:  " << values.size() << " numbers, the first " << values[0] << "\n";
}

void UnknownModel(inference::InferenceService::Stub& stub) {
  inference::ChatCompletionRequest request;
  request.set_model_id("no-such-model");
  Say(request.add_messages(), "Hello?");
  inference::ChatCompletionResponse response;
  const grpc::Status status = stub.ChatCompletion(Within(std::chrono::seconds(60)).get(), request, &response);
  // status.error_details() holds a google.rpc.Status with the reason and, for bad input, the fields.
  if (status.error_code() == grpc::StatusCode::NOT_FOUND) std::cout << "error:   " << status.error_message() << "\n";
}

void Tour(const std::string& target) {
  auto channel = grpc::CreateChannel(target, grpc::InsecureChannelCredentials());
  registry::ModelsService::Stub models(channel);
  inference::InferenceService::Stub stub(channel);

  registry::ListModelsResponse list;
  Require(models.ListModels(Within(std::chrono::seconds(10)).get(), registry::ListModelsRequest(), &list));
  std::string chat_model, embedding_model;
  std::cout << "models: ";
  for (const auto& model : list.data()) {
    std::cout << " " << model.model_id();
    std::string& chosen = model.model_type() == registry::MODEL_TYPE_EMBEDDING ? embedding_model : chat_model;
    if (chosen.empty()) chosen = model.model_id();
  }
  std::cout << "\n";
  if (chat_model.empty()) throw std::runtime_error("no language model is served");

  StreamedChat(stub, chat_model);
  ToolCall(stub, chat_model);
  if (!embedding_model.empty()) Embed(stub, embedding_model);
  UnknownModel(stub);
}

}  // namespace

int main(int argc, char** argv) {
  const char* from_environment = std::getenv("CARAVAN_TARGET");
  const std::string target = argc > 1 ? argv[1] : from_environment ? from_environment : "localhost:8321";
  try {
    Tour(target);
  } catch (const std::exception& error) {
    std::cerr << "failed: " << error.what() << "\n";
    return EXIT_FAILURE;
  }
  return EXIT_SUCCESS;
}
