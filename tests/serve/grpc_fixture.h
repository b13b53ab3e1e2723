#pragma once

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/model.h"
#include "schemas/tensorflow/services.grpc.pb.h"
#include "serve/grpc/grpc_server.h"
#include "tests/serialize/test_files.h"

namespace nacre {

/// A gRPC server on a port of its own that serves "stripes", version 1 (tests/runtime/fixtures/v1.nacre: grey
/// pictures of 16x16 pixels, classes "horizontal" and "vertical"), and "one", version 3, a network of one
/// class; with stubs of clients.
class GrpcTest : public testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;
  /// Anew, as options say.
  void start();
  void stop();

  [[nodiscard]] std::string path(const std::string& name) const { return folder_.file(name); }
  [[nodiscard]] std::string address() const { return "127.0.0.1:" + std::to_string(server_->port()); }
  [[nodiscard]] std::vector<ModelConfig> configs() const;

  /// What the runtime says of encoded pictures: [pictures, 2].
  [[nodiscard]] std::vector<float> expected(const std::vector<std::string>& pictures) const;

  TempFolder folder_;
  std::string jpeg_;                      ///< of vertical stripes
  std::string png_;                       ///< of another size
  std::shared_ptr<const Model> stripes_;  ///< as the runtime has it
  ServeCore::Options core_options_;
  GrpcOptions options_;
  std::unique_ptr<ServeCore> core_;
  std::unique_ptr<GrpcServer> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<tensorflow::serving::PredictionService::Stub> predictions_;
  std::unique_ptr<tensorflow::serving::ModelService::Stub> models_;
};

/// "OK" or "INVALID_ARGUMENT: message".
std::string text_of(const grpc::Status& status);

/// DT_STRING of shape [strings] in string_val.
tensorflow::TensorProto string_tensor(const std::vector<std::string>& strings);
/// DT_FLOAT without elements.
tensorflow::TensorProto float_tensor(const std::vector<int64_t>& shape);

tensorflow::Example example_of(const std::string& image);

}  // namespace nacre
