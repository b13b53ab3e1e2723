// Files that examples/library/train_in_code wrote with format version 1: they load, verify and predict for
// ever. A new format version brings files of its own beside these.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "layers/registry.h"
#include "runtime/model.h"
#include "runtime/prediction_bundle.h"
#include "serialize/checkpoint_file.h"

namespace nacre {
namespace {

const std::string kFixtures = NACRE_SOURCE_DIR "/tests/runtime/fixtures/";

/// The probability that the fixtures' picture shows vertical stripes, which the command gave when they were
/// made.
constexpr float kVertical = 0.9742236F;

void expect_knows_the_picture(const Model& model) {
  const auto answers = model.classify_files(std::vector<std::string>{kFixtures + "stripes.jpg"});
  ASSERT_TRUE(answers[0].ok()) << answers[0].status().message();
  const Prediction best = model.best(*answers[0]).front();
  EXPECT_EQ(best.label, "vertical");
  EXPECT_NEAR(best.probability, kVertical, 1e-5);
}

TEST(OldFiles, ABundleOfVersion1VerifiesAndPredicts) {
  for (const bool reference : {false, true}) {
    ModelOptions options;
    options.reference = reference;
    const auto model = Model::load(kFixtures + "v1.nacre", options, {.depth = LoadDepth::kVerify});
    ASSERT_TRUE(model.ok()) << model.status().message();
    const auto golden = model->replay_golden_vectors();
    ASSERT_TRUE(golden.ok()) << golden.status().message();
    EXPECT_THAT(*golden, testing::SizeIs(6));
    expect_knows_the_picture(*model);
  }
}

TEST(OldFiles, ACheckpointOfVersion1VerifiesAndPredictsInItsGraph) {
  auto checkpoint = read_checkpoint(kFixtures + "v1.ckpt", {.depth = LoadDepth::kVerify});
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
  EXPECT_EQ(checkpoint->state.step, 40U);
  const auto bundle = open_bundle(kFixtures + "v1.nacre", builtin_ops());
  ASSERT_TRUE(bundle.ok()) << bundle.status().message();
  auto made = make_prediction_bundle("stripes", bundle->graph, std::move(checkpoint->variables),
                                     checkpoint->contract, builtin_ops());
  ASSERT_TRUE(made.ok()) << made.status().message();
  const auto model = Model::make(std::make_shared<const Bundle>(std::move(*made)), builtin_ops());
  ASSERT_TRUE(model.ok()) << model.status().message();
  expect_knows_the_picture(*model);
}

}  // namespace
}  // namespace nacre
