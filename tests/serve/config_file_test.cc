#include "serve/config_file.h"

#include <gmock/gmock.h>

#include "tests/serve/serve_fixture.h"

namespace nacre {
namespace {

using ::testing::HasSubstr;

class ConfigFile : public ServeTest {
 protected:
  std::string file(std::string_view text) {
    write_file("config", text);
    return path("config");
  }
};

TEST_F(ConfigFile, ModelsAsTensorflowServingHasThem) {
  const auto models = read_model_configs(file(R"(
    # two models
    model_config_list {
      config { name: "a" base_path: "/models/a" model_platform: "tensorflow" }
      config {
        name: "b"
        base_path: "/models/b"
        model_version_policy { specific { versions: 3 versions: 5 } }
        version_labels { key: "stable" value: 3 }
        version_labels { key: "canary" value: 5 }
      }
      config { name: "c", base_path: "c", model_version_policy: { all: {} } }
      config { name: "d" base_path: "d" model_version_policy { latest { num_versions: 2 } } }
    }
  )"));
  ASSERT_TRUE(models.ok()) << models.status().message();
  const std::vector<ModelConfig> expected = {
      {"a", "/models/a", LatestVersions{1}, {}},
      {"b", "/models/b", SpecificVersions{{3, 5}}, {{"canary", 5}, {"stable", 3}}},
      {"c", "c", AllVersions{}, {}},
      {"d", "d", LatestVersions{2}, {}},
  };
  EXPECT_EQ(*models, expected);
}

TEST_F(ConfigFile, WhatIsWrongIsNamed) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"model_config_list { config { nome: \"a\" } }", "config:1:"},
      {"model_config_list {\n  config {", "config:2:"},
      {"", "expected a model_config_list"},
      {"model_config_list { config { base_path: \"b\" } }", "has no name"},
      {"model_config_list { config { name: \"a\" base_path: \"b\" model_platform: \"caffe\" } }", "caffe"},
  };
  for (const auto& [text, expected] : cases) {
    const Status status = read_model_configs(file(text)).status();
    EXPECT_EQ(status.code(), StatusCode::kBadData) << text;
    EXPECT_THAT(status.message(), HasSubstr(path("config")));
    EXPECT_THAT(status.message(), HasSubstr(expected));
  }
  EXPECT_EQ(read_model_configs(path("none")).status().code(), StatusCode::kIo);
}

TEST_F(ConfigFile, BatchingParameters) {
  const auto read = read_batching_file(
      file("max_batch_size { value: 128 }\nbatch_timeout_micros { value: 500 }\n"
           "max_enqueued_batches { value: 1000 }\nnum_batch_threads { value: 3 }\nallowed_batch_sizes : 128\n"
           "enable_large_batch_splitting { value: true }\n"));
  ASSERT_TRUE(read.ok()) << read.status().message();
  const BatchingOptions& options = read->options;
  EXPECT_EQ(options.max_batch_size, 128U);
  EXPECT_EQ(options.batch_timeout, std::chrono::microseconds(500));
  EXPECT_EQ(options.max_enqueued_batches, 1000U);
  EXPECT_EQ(options.num_batch_threads, 3U);
  EXPECT_THAT(read->ignored, testing::ElementsAre("allowed_batch_sizes", "enable_large_batch_splitting"));
  EXPECT_EQ(read_batching_file(file(""))->options.max_batch_size, BatchingOptions().max_batch_size);
  for (const char* const text : {"max_batch_size { value: 0 }", "max_batch_size { value: 1000000 }",
                                 "batch_timeout_micros { value: -1 }", "num_batch_threads { value: 0 }"}) {
    EXPECT_THAT(read_batching_file(file(text)).status().message(), HasSubstr(", expected ")) << text;
  }
}

TEST_F(ConfigFile, MonitoringPath) {
  EXPECT_EQ(*read_prometheus_path(file("prometheus_config { enable: true }")),
            "/monitoring/prometheus/metrics");
  EXPECT_EQ(*read_prometheus_path(file("prometheus_config { enable: true path: \"/m\" }")), "/m");
  EXPECT_EQ(*read_prometheus_path(file("prometheus_config { enable: false }")), "");
  EXPECT_EQ(read_prometheus_path(file("prometheus_config { enable: true path: \"m\" }")).status().code(),
            StatusCode::kBadData);
}

}  // namespace
}  // namespace nacre
