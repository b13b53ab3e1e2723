#include "tests/serve/grpc_fixture.h"

#include <grpc/support/log.h>

#include <filesystem>
#include <span>

#include "engine/plan.h"
#include "image/encode.h"
#include "layers/registry.h"
#include "runtime/golden.h"
#include "runtime/prediction_bundle.h"
#include "serialize/bundle_file.h"

namespace nacre {
namespace {

namespace fs = std::filesystem;

const std::string kFixtures = NACRE_SOURCE_DIR "/tests/runtime/fixtures/";

Bundle one_class_bundle() {
  std::vector<Node> nodes(2);
  nodes[0] = {"flatten", "Flatten", 1, {}, {"input"}};
  nodes[1] = {"out", "Dense", 1, {{"units", int64_t{1}}}, {"flatten"}};
  const Registry registry = builtin_ops();
  auto graph = Graph::make(std::move(nodes));
  const auto plan = Plan::make(*graph, registry, Shape{4, 4, 1}, {});
  InputContract contract;
  contract.height = contract.width = 4;
  contract.channels = 1;
  contract.labels = {"only"};
  auto bundle = make_prediction_bundle("one", *graph, plan->initial_variables(1), contract, registry);
  EXPECT_TRUE(bundle.ok()) << bundle.status().message();
  EXPECT_TRUE(add_golden_vectors(*bundle, registry).ok());
  return std::move(bundle).value();
}

}  // namespace

void GrpcTest::SetUp() {
  // The client's library tells of every handshake that fails.
  gpr_set_log_verbosity(static_cast<gpr_log_severity>(GPR_LOG_SEVERITY_ERROR + 1));
  fs::create_directories(path("stripes/1"));
  fs::create_directories(path("one/3"));
  fs::copy(kFixtures + "v1.nacre", path("stripes/1/model.nacre"));
  const Status written = write_bundle(path("one/3/model.nacre"), one_class_bundle(), {});
  ASSERT_TRUE(written.ok()) << written.message();
  auto model = Model::load(kFixtures + "v1.nacre");
  ASSERT_TRUE(model.ok());
  stripes_ = std::make_shared<const Model>(std::move(*model));
  jpeg_ = read_text(kFixtures + "stripes.jpg");
  Image image{20, 11, 3, {}};
  for (int i = 0; i < 20 * 11 * 3; ++i) image.pixels.push_back(static_cast<uint8_t>(i * 37 % 251));
  const auto png = encode_png(image);
  ASSERT_TRUE(png.ok());
  png_.assign(reinterpret_cast<const char*>(png->data()), png->size());
  core_options_.slots = 2;
  core_options_.models.poll = std::chrono::milliseconds(0);
  options_.address = "127.0.0.1";
  options_.port = 0;
  options_.threads = 4;
  start();
}

void GrpcTest::start() {
  stop();
  core_ = std::make_unique<ServeCore>(core_options_, [](std::string_view) {});
  const RpcStatus loaded = core_->models.reload(configs());
  ASSERT_TRUE(loaded.ok()) << loaded.message();
  auto server = GrpcServer::start(options_, *core_);
  ASSERT_TRUE(server.ok()) << server.status().message();
  server_ = std::move(*server);
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  channel_ = grpc::CreateCustomChannel(address(), grpc::InsecureChannelCredentials(), arguments);
  predictions_ = tensorflow::serving::PredictionService::NewStub(channel_);
  models_ = tensorflow::serving::ModelService::NewStub(channel_);
}

void GrpcTest::stop() {
  server_.reset();
  core_.reset();
}

void GrpcTest::TearDown() {
  stop();
}

std::vector<ModelConfig> GrpcTest::configs() const {
  return {{"stripes", path("stripes"), {}, {{"stable", 1}}}, {"one", path("one"), {}, {}}};
}

std::vector<float> GrpcTest::expected(const std::vector<std::string>& pictures) const {
  std::vector<float> all;
  for (const std::string& picture : pictures) {
    const auto bytes = std::as_bytes(std::span(picture));
    const auto answers = stripes_->classify({&bytes, 1});
    EXPECT_TRUE(answers[0].ok());
    all.insert(all.end(), answers[0]->begin(), answers[0]->end());
  }
  return all;
}

std::string text_of(const grpc::Status& status) {
  if (status.ok()) return "OK";
  return std::string(rpc_code_name(static_cast<RpcCode>(status.error_code()))) + ": " +
         status.error_message();
}

tensorflow::TensorProto string_tensor(const std::vector<std::string>& strings) {
  tensorflow::TensorProto tensor;
  tensor.set_dtype(tensorflow::DT_STRING);
  tensor.mutable_tensor_shape()->add_dim()->set_size(static_cast<int64_t>(strings.size()));
  for (const std::string& text : strings) tensor.add_string_val(text);
  return tensor;
}

tensorflow::TensorProto float_tensor(const std::vector<int64_t>& shape) {
  tensorflow::TensorProto tensor;
  tensor.set_dtype(tensorflow::DT_FLOAT);
  for (const int64_t extent : shape) tensor.mutable_tensor_shape()->add_dim()->set_size(extent);
  return tensor;
}

tensorflow::Example example_of(const std::string& image) {
  tensorflow::Example example;
  (*example.mutable_features()->mutable_feature())["image"].mutable_bytes_list()->add_value(image);
  return example;
}

}  // namespace nacre
