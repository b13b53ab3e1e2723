#include "serve/version_model.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

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
  fs::remove_all(path("base/1/assets.extra"));
  const auto model = read();
  ASSERT_TRUE(model.ok()) << model.status().message();
  ASSERT_EQ(model->notes.size(), 2U);
  EXPECT_THAT(model->notes[0], HasSubstr("base/1: signature serving_default does not tell"));
  EXPECT_THAT(model->notes[1], HasSubstr("base/1: signature \"classify\" is not served: "));
  serve({{"m", path("base"), {}, {}}});
  ASSERT_NE(found("m"), nullptr);
  for (const std::string& note : model->notes) EXPECT_THAT(lines(), Contains("model m: " + note));
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
    fs::remove_all(path("base/1/assets.extra"));
    serve({{"m", path("base"), {}, {}}});
    EXPECT_EQ(found("m"), nullptr) << weight;
    const bool nan = std::isnan(weight);
    EXPECT_THAT(lines(), Contains(HasSubstr(nan ? "holds a value that is NaN" : "answer is not finite")));
  }
}

}  // namespace
}  // namespace nacre
