#pragma once

#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "serialize/checkpoint_file.h"
#include "serialize/tensorflow/tensor_bundle_writer.h"
#include "tests/cli/run_fixture.h"

namespace nacre {

class ConvertCheckpointTest : public RunTest {
 protected:
  [[nodiscard]] Outcome convert(const std::string& in, const std::string& to, const std::string& out,
                                const std::vector<std::string>& more = {}) const {
    std::vector<std::string> arguments{"convert", in, "--to", to, "--out", out};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return nacre(arguments);
  }
  /// A TensorFlow checkpoint "foreign/x" of nobody's knowing: the variables of a run's latest checkpoint,
  /// with names changed by `rename`, and a few tensors more.
  void write_foreign(
      const std::string& run,
      const std::function<std::string(const std::string&)>& rename = [](auto& name) { return name; }) const {
    const auto checkpoint = read_checkpoint(path(run + "/checkpoints/latest"));
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
    const Tensor more(Shape{2});
    std::vector<BundleItem> items{
        {"global_step", int64_t{77}}, {"words", std::string("w")}, {"more", more.view()}};
    for (const auto& [name, tensor] : checkpoint->variables.tensors()) {
      if (name.find("/adam_") == std::string::npos) items.push_back({rename(name), tensor.view()});
    }
    std::filesystem::create_directories(path("foreign"));
    const Status status = write_tensor_bundle(path("foreign/x"), std::move(items), /*overwrite=*/true);
    ASSERT_TRUE(status.ok()) << status.message();
  }
  static void expect_one_line(const Outcome& outcome, int code, const std::string& reason) {
    EXPECT_EQ(outcome.code, code) << outcome.err;
    EXPECT_THAT(outcome.err, testing::HasSubstr(reason));
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
  }
};

}  // namespace nacre
