// Classifies images with a server, over gRPC. The messages and stubs are made of the project's protos, which
// are TensorFlow Serving's on the wire: the same program asks either.
//
//   predict_grpc HOST:PORT MODEL IMAGE...
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <exception>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>

#include "schemas/tensorflow/services.grpc.pb.h"

namespace {

int classify(const std::string& address, const std::string& model, int count, char** files) {
  tensorflow::serving::ClassificationRequest request;
  request.mutable_model_spec()->set_name(model);
  for (int i = 0; i < count; ++i) {
    std::ifstream file(files[i], std::ios::binary);
    if (!file) {
      std::fprintf(stderr, "%s: cannot be read\n", files[i]);
      return 1;
    }
    const std::string bytes{std::istreambuf_iterator<char>(file), {}};
    auto& features = *request.mutable_input()->mutable_example_list()->add_examples()->mutable_features();
    (*features.mutable_feature())["image"].mutable_bytes_list()->add_value(bytes);
  }
  const auto channel = grpc::CreateChannel(address, grpc::InsecureChannelCredentials());
  const auto stub = tensorflow::serving::PredictionService::NewStub(channel);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
  tensorflow::serving::ClassificationResponse response;
  const grpc::Status status = stub->Classify(&context, request, &response);
  if (!status.ok()) {
    std::fprintf(stderr, "%s: %s\n", address.c_str(), status.error_message().c_str());
    return 1;
  }
  for (int i = 0; i < response.result().classifications_size(); ++i) {
    const auto& classes = response.result().classifications(i).classes();
    const auto best = std::max_element(classes.begin(), classes.end(),
                                       [](const auto& a, const auto& b) { return a.score() < b.score(); });
    std::printf("%s: %s %.1f%%\n", files[i], best->label().c_str(), 100 * best->score());
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "usage: predict_grpc HOST:PORT MODEL IMAGE...\n");
    return 2;
  }
  try {
    return classify(argv[1], argv[2], argc - 3, argv + 3);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "predict_grpc: %s\n", error.what());
    return 1;
  }
}
