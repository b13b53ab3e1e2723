#include "serve/version_model.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "layers/registry.h"
#include "serialize/tensorflow/saved_model_writer.h"
#include "tests/serve/serve_fixture.h"

namespace nacre {
namespace {

namespace fs = std::filesystem;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class VersionModelTest : public ServeTest {
 protected:
  void write_saved_model_of(const Bundle& bundle, bool float_default = false) const {
    fs::create_directories(path("base"));
    SavedModelOptions writing;
    writing.float_default = float_default;
    const auto written = write_saved_model(path("base/1"), bundle, builtin_ops(), writing);
    ASSERT_TRUE(written.ok()) << written.status().message();
  }
  /// As if another program had written it.
  void make_foreign() const {
    fs::remove_all(path("base/1/assets.extra"));
    const std::string version = "\n\x05nacre";  // of the meta graph
    std::string graph = file_text(path("base/1/saved_model.pb"));
    const size_t at = graph.find(version);
    ASSERT_NE(at, std::string::npos);
    graph.replace(at, version.size(), "\n\x05other");
    std::ofstream(path("base/1/saved_model.pb"), std::ios::binary) << graph;
  }
  [[nodiscard]] static std::string file_text(const std::string& file) {
    std::ifstream stream(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
  }
  [[nodiscard]] Result<VersionModel> read() const {
    return read_version_model("m", path("base/1"), builtin_ops());
  }
};

TEST_F(VersionModelTest, ASavedModelOfNacresHasItsWholeContract) {
  Bundle bundle = make_small_bundle(1);
  bundle.contract.scale = 0.0078F;
  bundle.contract.jpeg_dct = JpegDct::kFast;
  bundle.contract.resize = ResizePolicy::kExact;
  write_saved_model_of(bundle, /*float_default=*/true);
  const auto model = read();
  ASSERT_TRUE(model.ok()) << model.status().message();
  EXPECT_EQ(model->bundle.contract, bundle.contract);
  EXPECT_THAT(model->notes, IsEmpty());
}

TEST_F(VersionModelTest, WhatAnotherProgramsSignatureLeavesOpenIsLogged) {
  write_saved_model_of(make_small_bundle(1), /*float_default=*/true);
  make_foreign();
  const auto model = read();
  ASSERT_TRUE(model.ok()) << model.status().message();
  ASSERT_EQ(model->notes.size(), 2U);
  EXPECT_THAT(model->notes[0], HasSubstr("base/1: signature serving_default does not tell"));
  EXPECT_THAT(model->notes[1], HasSubstr("base/1: signature \"classify\" is not served: "));
  serve({{"m", path("base"), {}, {}}});
  ASSERT_NE(found("m"), nullptr);
  for (const std::string& note : model->notes) EXPECT_THAT(lines(), Contains("model m: " + note));
}

/// Files may come in any order.
TEST_F(VersionModelTest, AHalfCopiedSavedModelIsNoneWhateverIsMissing) {
  for (const bool float_default : {false, true}) {
    fs::remove_all(path("base"));
    write_saved_model_of(make_small_bundle(1), float_default);
    std::vector<fs::path> files;
    for (const auto& entry : fs::recursive_directory_iterator(path("base/1")))
      if (entry.is_regular_file()) files.push_back(fs::relative(entry.path(), path("base/1")));
    ASSERT_EQ(files.size(), 6U);
    fs::rename(path("base/1"), path("whole"));
    for (unsigned there = 0; there < (1U << files.size()); ++there) {
      fs::remove_all(path("base/1"));
      fs::create_directories(path("base/1"));
      std::string copied;
      for (size_t i = 0; i < files.size(); ++i) {
        if ((there >> i & 1U) == 0) continue;
        fs::create_directories((path("base/1") / files[i]).parent_path());
        fs::copy_file(path("whole") / files[i], path("base/1") / files[i]);
        copied += files[i].string() + ' ';
      }
      EXPECT_EQ(read().ok(), there + 1 == 1U << files.size()) << "only " << copied;
    }
    fs::remove_all(path("whole"));
  }
}

TEST_F(VersionModelTest, AForeignSavedModelHasTheFilesThatItNames) {
  write_saved_model_of(make_small_bundle(1));
  make_foreign();
  EXPECT_TRUE(read().ok());
  fs::remove_all(path("base/1/assets"));
  EXPECT_THAT(read().status().message(), HasSubstr("base/1/assets/labels.txt: is missing"));
}

TEST_F(VersionModelTest, TheRecordsOfASavedModelAreReplayed) {
  Bundle bundle = make_small_bundle(1);
  bundle.golden.front().prediction.front() += 0.01F;
  write_saved_model_of(bundle);
  const auto model = read();
  ASSERT_TRUE(model.ok()) << model.status().message();
  EXPECT_EQ(model->bundle.golden.size(), bundle.golden.size());
  serve({{"m", path("base"), {}, {}}});
  EXPECT_EQ(found("m"), nullptr);
  EXPECT_THAT(lines(), Contains(HasSubstr("base/1: golden vector \"record 1\"")));
}

/// Of another program, which recorded none.
TEST_F(VersionModelTest, WhatGivesNoFiniteAnswersNeverGoesLive) {
  for (const float weight : {NAN, 3e38F}) {
    fs::remove_all(path("base"));
    Bundle bundle = make_small_bundle(1);
    Tensor& kernel = *bundle.variables.find("conv/kernel");
    std::fill_n(kernel.data(), kernel.size(), weight);
    write_saved_model_of(bundle);
    make_foreign();
    serve({{"m", path("base"), {}, {}}});
    EXPECT_EQ(found("m"), nullptr) << weight;
    const bool nan = std::isnan(weight);
    EXPECT_THAT(lines(), Contains(HasSubstr(nan ? "holds a value that is NaN" : "answer is not finite")));
  }
}

}  // namespace
}  // namespace nacre
