// What is written comes back to the bit; what may not be written is refused; files of version 1 are read.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "serialize/bundle_file.h"
#include "serialize/checkpoint_file.h"
#include "test_files.h"

namespace nacre {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr ReadOptions kEveryOption[] = {{LoadDepth::kLoad, true, false},
                                        {LoadDepth::kVerify, true, false},
                                        {LoadDepth::kLoad, false, false},
                                        {LoadDepth::kVerify, false, true}};

TEST(RoundTripTest, CheckpointComesBackToTheBit) {
  const TempFolder folder;
  const Checkpoint written = sample_checkpoint();
  ASSERT_TRUE(write_checkpoint(folder.file("a"), written, false).ok());
  EXPECT_THAT(folder.names(), ElementsAre("a"));
  for (const ReadOptions& options : kEveryOption) {
    const auto read = read_checkpoint(folder.file("a"), options);
    ASSERT_TRUE(read.ok()) << read.status().message();
    expect_equal(*read, written);
  }
}

TEST(RoundTripTest, BundleComesBackToTheBit) {
  const TempFolder folder;
  const Bundle written = sample_bundle();
  ASSERT_TRUE(write_bundle(folder.file("a"), written).ok());
  for (const ReadOptions& options : kEveryOption) {
    const auto read = read_bundle(folder.file("a"), options);
    ASSERT_TRUE(read.ok()) << read.status().message();
    expect_equal(*read, written);
    EXPECT_TRUE(std::signbit(std::get<double>(read->graph.nodes()[1].attributes.at("rate"))));
  }
}

TEST(RoundTripTest, TensorsAreUsedInPlaceAndOutliveTheFile) {
  const TempFolder folder;
  ASSERT_TRUE(write_bundle(folder.file("a"), sample_bundle()).ok());
  auto read = read_bundle(folder.file("a"));
  ASSERT_TRUE(read.ok());
  const VariableStore variables = std::move(read->variables);
  for (const auto& [name, tensor] : variables.tensors()) {
    EXPECT_TRUE(tensor.borrowed());
    EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.data()) % kAlignment, 0U);
  }
  // Replaced and removed, the mapped file lives on.
  Bundle other = sample_bundle();
  other.name = "other";
  ASSERT_TRUE(write_bundle(folder.file("a"), other, {.overwrite = true}).ok());
  ASSERT_EQ(std::remove(folder.file("a").c_str()), 0);
  EXPECT_TRUE(same_bits(variables, sample_bundle().variables));
}

TEST(RoundTripTest, TheSameContentGivesTheSameBytes) {
  const TempFolder folder;
  ASSERT_TRUE(write_checkpoint(folder.file("a"), sample_checkpoint(), false).ok());
  ASSERT_TRUE(write_checkpoint(folder.file("b"), sample_checkpoint(), false).ok());
  EXPECT_EQ(read_bytes(folder.file("a")), read_bytes(folder.file("b")));
  // What was read is written as it was.
  const auto read = read_bundle(NACRE_SOURCE_DIR "/tests/serialize/fixtures/v1.nacre");
  ASSERT_TRUE(read.ok()) << read.status().message();
  ASSERT_TRUE(write_bundle(folder.file("c"), *read).ok());
  ASSERT_TRUE(write_bundle(folder.file("d"), sample_bundle()).ok());
  EXPECT_EQ(read_bytes(folder.file("c")), read_bytes(folder.file("d")));
}

TEST(RoundTripTest, EmptyAndExtremeContent) {
  const TempFolder folder;
  Checkpoint checkpoint;
  checkpoint.contract.height = 1 << 16;
  checkpoint.contract.width = 1;
  checkpoint.contract.channels = 1;
  ASSERT_TRUE(write_checkpoint(folder.file("a"), checkpoint, false).ok());
  auto read = read_checkpoint(folder.file("a"));
  ASSERT_TRUE(read.ok()) << read.status().message();
  expect_equal(*read, checkpoint);

  std::vector<float> values(1 << 8);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  ASSERT_TRUE(checkpoint.variables.add("a", make_tensor({2, 2, 2, 2, 2, 2, 2, 2}, values)).ok());
  ASSERT_TRUE(checkpoint.variables.add("a-b", make_tensor({17}, std::vector<float>(17, 1.0F))).ok());
  ASSERT_TRUE(checkpoint.variables.add("a/b", make_tensor({16}, std::vector<float>(16, 2.0F))).ok());
  checkpoint.state.best_accuracy = 1;
  checkpoint.recipe = std::string(100000, 'x');
  ASSERT_TRUE(write_checkpoint(folder.file("a"), checkpoint, true).ok());
  read = read_checkpoint(folder.file("a"), {.depth = LoadDepth::kVerify});
  ASSERT_TRUE(read.ok()) << read.status().message();
  expect_equal(*read, checkpoint);
}

/// Expects that writing is refused with this code and reason, and that nothing is left.
template <typename Change>
void expect_refused(Change change, StatusCode code, const std::string& reason) {
  const TempFolder folder;
  Checkpoint checkpoint = sample_checkpoint();
  change(checkpoint);
  const Status status = write_checkpoint(folder.file("a"), checkpoint, false);
  EXPECT_EQ(status.code(), code) << status.message();
  EXPECT_THAT(status.message(), HasSubstr(folder.file("a") + ": "));
  EXPECT_THAT(status.message(), HasSubstr(reason));
  EXPECT_THAT(folder.names(), ElementsAre());
}

TEST(RoundTripTest, WhatTheReaderWouldRefuseIsNotWritten) {
  const StatusCode bad = StatusCode::kBadData;
  const auto add = [](Checkpoint& c, const char* name) {
    EXPECT_TRUE(c.variables.add(name, Tensor(Shape{1})).ok());
  };
  expect_refused([&](Checkpoint& c) { add(c, "../x"); }, bad, "'../x'");
  expect_refused([&](Checkpoint& c) { add(c, ""); }, bad, "''");
  expect_refused([&](Checkpoint& c) { add(c, "/etc/passwd"); }, bad, "'/etc/passwd'");
  expect_refused([&](Checkpoint& c) { add(c, "a//b"); }, bad, "'a//b'");
  expect_refused([&](Checkpoint& c) { c.contract.height = 0; }, bad, "0 x 6");
  expect_refused([&](Checkpoint& c) { c.contract.channels = 2; }, bad, "2 channels");
  expect_refused([&](Checkpoint& c) { c.contract.scale = NAN; }, bad, "scale");
  expect_refused([&](Checkpoint& c) { c.contract.labels = {"\xc3"}; }, bad, "label 0 is not UTF-8");
  expect_refused([&](Checkpoint& c) { c.contract.labels = {"a\nb"}; }, bad, "control character");
  expect_refused([&](Checkpoint& c) { c.recipe = std::string("a\0b", 3); }, bad, "NUL");
  expect_refused([&](Checkpoint& c) { c.state.best_accuracy = NAN; }, bad, "best accuracy");
  expect_refused([&](Checkpoint& c) { c.recipe = std::string(kMaxMetadataBytes + 1, ' '); },
                 StatusCode::kLimit, "limit");
  expect_refused([&](Checkpoint& c) { EXPECT_TRUE(c.variables.add("none", Tensor()).ok()); },
                 StatusCode::kInternal, "'none'");
}

TEST(RoundTripTest, NonFiniteWeightsOfABundleAreRefusedUnlessAllowed) {
  for (const float value :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    const TempFolder folder;
    Bundle bundle = sample_bundle();
    bundle.variables.find("out/kernel")->data()[3] = value;
    const Status refused = write_bundle(folder.file("a"), bundle);
    EXPECT_EQ(refused.code(), StatusCode::kDiverged);
    EXPECT_THAT(refused.message(), HasSubstr("'out/kernel'"));
    EXPECT_THAT(folder.names(), ElementsAre());
    ASSERT_TRUE(write_bundle(folder.file("a"), bundle, {.allow_nonfinite = true}).ok());
    EXPECT_EQ(read_bundle(folder.file("a")).status().code(), StatusCode::kDiverged);
    const auto read = read_bundle(folder.file("a"), {.allow_nonfinite = true});
    ASSERT_TRUE(read.ok());
    EXPECT_TRUE(same_bits(read->variables, bundle.variables));
  }
}

// The files of a released version load for ever. When the format changes on purpose: raise the version in
// serialize/container.h, keep the old fixtures with a test like the first of these, and take the new ones
// from the folder that the second one names.
TEST(FixtureTest, FilesOfVersion1AreRead) {
  const std::string folder = NACRE_SOURCE_DIR "/tests/serialize/fixtures/";
  const auto checkpoint = read_checkpoint(folder + "v1.ckpt", {.depth = LoadDepth::kVerify});
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
  Checkpoint expected = sample_checkpoint();
  expected.state.validations_since_best = 0;  // of which version 1.0 knows nothing
  expect_equal(*checkpoint, expected);
  const auto bundle = read_bundle(folder + "v1.nacre", {.depth = LoadDepth::kVerify});
  ASSERT_TRUE(bundle.ok()) << bundle.status().message();
  expect_equal(*bundle, sample_bundle());
}

TEST(FixtureTest, CheckpointsOfVersion1Point1AreRead) {
  const auto checkpoint =
      read_checkpoint(NACRE_SOURCE_DIR "/tests/serialize/fixtures/v1.1.ckpt", {.depth = LoadDepth::kVerify});
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
  expect_equal(*checkpoint, sample_checkpoint());
}

TEST(FixtureTest, TheCurrentVersionIsWrittenByteForByte) {
  const std::string fixtures = NACRE_SOURCE_DIR "/tests/serialize/fixtures/";
  const std::string made = NACRE_BINARY_DIR "/";
  ASSERT_TRUE(write_checkpoint(made + "v1.1.ckpt", sample_checkpoint(), true).ok());
  ASSERT_TRUE(write_bundle(made + "v1.nacre", sample_bundle(), {.overwrite = true}).ok());
  EXPECT_TRUE(read_bytes(made + "v1.1.ckpt") == read_bytes(fixtures + "v1.1.ckpt"))
      << "see " << made << "v1.1.ckpt";
  EXPECT_TRUE(read_bytes(made + "v1.nacre") == read_bytes(fixtures + "v1.nacre"))
      << "see " << made << "v1.nacre";
}

}  // namespace
}  // namespace nacre
