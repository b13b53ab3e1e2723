#include "serialize/tensorflow/tf_checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <filesystem>

#include "serialize/checkpoint_file.h"
#include "serialize/tensorflow/checkpoint_state.h"
#include "serialize/tensorflow/tensor_bundle_reader.h"
#include "serialize/tensorflow/tensor_bundle_writer.h"
#include "tests/serialize/faulty_file_system.h"
#include "tests/serialize/test_files.h"

namespace nacre {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

const std::string kFixtures = std::string(NACRE_SOURCE_DIR) + "/tests/tensorflow/fixtures/";

/// Two layers with slots of Adam's, and values whose bits are easily lost.
Checkpoint adam_checkpoint() {
  Checkpoint checkpoint;
  const Checkpoint sample = sample_checkpoint();
  checkpoint.state = sample.state;
  checkpoint.state.step = 120;
  checkpoint.contract = sample.contract;
  checkpoint.recipe = sample.recipe;
  checkpoint.nacre_version = sample.nacre_version;
  float next = -0.0F;
  for (const char* variable : {"conv1/kernel", "conv1/bias", "out/kernel"}) {
    for (const char* slot : {"", "/adam_m", "/adam_v"}) {
      Tensor tensor(Shape{2, 3});
      for (int64_t i = 0; i < 6; ++i) tensor.data()[i] = std::exchange(next, next + 0.1F);
      tensor.data()[5] = std::bit_cast<float>(uint32_t{0xffabcdef});  // a NaN with payload
      EXPECT_TRUE(checkpoint.variables.add(std::string(variable) + slot, std::move(tensor)).ok());
    }
  }
  EXPECT_TRUE(checkpoint.variables.add("norm/moving_mean", make_tensor({1}, {1e-42F})).ok());
  return checkpoint;
}

const TfWriteOptions kAdam{.names = {}, .beta1 = 0.9, .beta2 = 0.999};

std::vector<std::string> names_in(const std::string& prefix) {
  const auto bundle = TensorBundle::open({prefix});
  EXPECT_TRUE(bundle.ok()) << bundle.status().message();
  std::vector<std::string> names;
  if (!bundle.ok()) return names;
  for (const auto& [name, tensor] : bundle->tensors()) names.push_back(name);
  return names;
}

/// As a nacre checkpoint again.
Checkpoint joined(TfCheckpoint read) {
  EXPECT_TRUE(read.own.has_value());
  Checkpoint checkpoint = std::move(read.own).value();
  checkpoint.variables = std::move(read.variables);
  return checkpoint;
}

TEST(TfCheckpoint, ComesBackToTheBit) {
  const TempFolder folder;
  const Checkpoint written = adam_checkpoint();
  const Status status = write_tf_checkpoint(folder.file("model.ckpt-120"), written, kAdam);
  ASSERT_TRUE(status.ok()) << status.message();
  EXPECT_THAT(folder.names(),
              ElementsAre("checkpoint", "model.ckpt-120.data-00000-of-00001", "model.ckpt-120.index"));
  auto read = read_tf_checkpoint({folder.file("model.ckpt-120")}, {});
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read->step, written.state.step);
  EXPECT_TRUE(read->passed_over.empty());
  const Checkpoint back = joined(std::move(read).value());
  expect_equal(back, written);
  EXPECT_EQ(checkpoint_bytes(back).value(), checkpoint_bytes(written).value());
  EXPECT_EQ(latest_tf_checkpoint(folder.path()).value(), folder.file("model.ckpt-120"));
}

TEST(TfCheckpoint, NamesAreThoseOfTensorFlowsSaver) {
  const TempFolder folder;
  ASSERT_TRUE(write_tf_checkpoint(folder.file("x"), adam_checkpoint(), kAdam).ok());
  EXPECT_THAT(
      names_in(folder.file("x")),
      ElementsAre("beta1_power", "beta2_power", "conv1/bias", "conv1/bias/Adam", "conv1/bias/Adam_1",
                  "conv1/kernel", "conv1/kernel/Adam", "conv1/kernel/Adam_1", "global_step", "nacre/state",
                  "norm/moving_mean", "out/kernel", "out/kernel/Adam", "out/kernel/Adam_1"));
  const auto bundle = TensorBundle::open({folder.file("x")});
  const auto step = static_cast<double>(adam_checkpoint().state.step);
  EXPECT_EQ(bundle->integer("global_step").value(), static_cast<int64_t>(step));
  EXPECT_NEAR(bundle->floats("beta1_power")->data()[0], std::pow(0.9, step + 1), 1e-8);
  EXPECT_NEAR(bundle->floats("beta2_power")->data()[0], std::pow(0.999, step + 1), 1e-5);

  Checkpoint momentum;
  momentum.contract = sample_checkpoint().contract;
  momentum.recipe = "{}";
  ASSERT_TRUE(momentum.variables.add("a/kernel", make_tensor({1}, {1})).ok());
  ASSERT_TRUE(momentum.variables.add("a/kernel/momentum", make_tensor({1}, {2})).ok());
  ASSERT_TRUE(write_tf_checkpoint(folder.file("y"), momentum, kAdam).ok());
  EXPECT_THAT(names_in(folder.file("y")),
              ElementsAre("a/kernel", "a/kernel/Momentum", "global_step", "nacre/state"));
  expect_equal(joined(read_tf_checkpoint({folder.file("y")}, {}).value()), momentum);
}

TEST(TfCheckpoint, PowersOfBetaEndAtZero) {
  const TempFolder folder;
  Checkpoint checkpoint = adam_checkpoint();
  for (const auto& [step, expected] : std::vector<std::pair<uint64_t, float>>{
           {0, 0.9F}, {1, 0.9F * 0.9F}, {2000, 0.0F}, {uint64_t{1} << 62, 0.0F}}) {
    checkpoint.state.step = step;
    TfWriteOptions options = kAdam;
    options.overwrite = true;
    ASSERT_TRUE(write_tf_checkpoint(folder.file("x"), checkpoint, options).ok());
    EXPECT_EQ(TensorBundle::open({folder.file("x")})->floats("beta1_power")->data()[0], expected) << step;
  }
  checkpoint.state.step = uint64_t{1} << 63;
  EXPECT_EQ(write_tf_checkpoint(folder.file("z"), checkpoint, kAdam).code(), StatusCode::kLimit);
}

TEST(TfCheckpoint, ForeignNames) {
  const TempFolder folder;
  const Checkpoint written = adam_checkpoint();
  TfWriteOptions options = kAdam;
  options.names = {{"conv1/kernel", "scope/Variable"},
                   {"conv1/bias", "scope/Variable_1"},
                   {"out/kernel/adam_m", "elsewhere"},
                   {"out/kernel", "conv1/kernel"}};
  const Status status = write_tf_checkpoint(folder.file("x"), written, options);
  ASSERT_TRUE(status.ok()) << status.message();
  EXPECT_THAT(names_in(folder.file("x")),
              ElementsAre("beta1_power", "beta2_power", "conv1/kernel", "conv1/kernel/Adam_1", "elsewhere",
                          "global_step", "nacre/state", "norm/moving_mean", "scope/Variable",
                          "scope/Variable/Adam", "scope/Variable/Adam_1", "scope/Variable_1",
                          "scope/Variable_1/Adam", "scope/Variable_1/Adam_1"));
  auto read = read_tf_checkpoint({folder.file("x")}, options.names);
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read->theirs.find("conv1/bias/adam_v")->second, "scope/Variable_1/Adam_1");
  expect_equal(joined(std::move(read).value()), written);

  const auto unknown = read_tf_checkpoint({folder.file("x")}, {{"conv1/kernel", "nothing"}});
  EXPECT_EQ(unknown.status().code(), StatusCode::kBadData);
  EXPECT_THAT(
      unknown.status().message(),
      HasSubstr(
          "has no tensor \"nothing\", which conv1/kernel is mapped to; it has beta1_power, beta2_power, "
          "conv1/kernel"));
  // What has the name of a variable that is mapped elsewhere is another one.
  const auto shadowed = read_tf_checkpoint({folder.file("x")}, {{"conv1/kernel", "scope/Variable"}});
  ASSERT_TRUE(shadowed.ok()) << shadowed.status().message();
  EXPECT_THAT(shadowed->passed_over, ElementsAre("conv1/kernel (conv1/kernel is mapped to another)"));
  EXPECT_EQ(shadowed->theirs.find("conv1/kernel/adam_v")->second, "scope/Variable/Adam_1");
}

TEST(TfCheckpoint, TheStepMayHaveAnotherName) {
  const TempFolder folder;
  const Checkpoint written = adam_checkpoint();
  TfWriteOptions options = kAdam;
  options.names = {{"global_step", "scope/step"}};
  ASSERT_TRUE(write_tf_checkpoint(folder.file("x"), written, options).ok());
  EXPECT_THAT(names_in(folder.file("x")), AllOf(Contains("scope/step"), Not(Contains("global_step"))));
  auto read = read_tf_checkpoint({folder.file("x")}, options.names);
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read->step, written.state.step);
  expect_equal(joined(std::move(read).value()), written);
  options.names = {{"global_step", "conv1/kernel"}};
  const Status taken = write_tf_checkpoint(folder.file("y"), written, options);
  EXPECT_EQ(taken.code(), StatusCode::kBadData);
  EXPECT_THAT(taken.message(), HasSubstr("conv1/kernel: another tensor is called \"conv1/kernel\""));
  options.names = {{"global_step", "nacre/state"}};
  EXPECT_EQ(write_tf_checkpoint(folder.file("y"), written, options).code(), StatusCode::kBadData);
  // What is called global_step where the map names another is not the step.
  ASSERT_TRUE(
      write_tensor_bundle(folder.file("z"), {{"global_step", int64_t{1}}, {"zz", int64_t{2}}}, false).ok());
  for (const std::string name : {"zz", "global_step"}) {
    const auto both = read_tf_checkpoint({folder.file("z")}, {{"global_step", name}});
    ASSERT_TRUE(both.ok()) << both.status().message();
    EXPECT_EQ(both->step, name == "zz" ? 2U : 1U);
  }
}

TEST(TfCheckpoint, PartitionedVariablesOfForeignNames) {
  const NameMap names{{"out/kernel", "rows"}, {"out/kernel/adam_m", "columns"}, {"conv1/kernel", "kernel"}};
  const auto read = read_tf_checkpoint({kFixtures + "sharded"}, names);
  ASSERT_TRUE(read.ok()) << read.status().message();
  const auto bundle = TensorBundle::open({kFixtures + "sharded"});
  ASSERT_TRUE(bundle.ok());
  for (const auto& [ours, theirs] : names) {
    const Tensor* tensor = read->variables.find(ours);
    ASSERT_NE(tensor, nullptr) << ours;
    EXPECT_EQ(read->theirs.find(ours)->second, theirs);
    EXPECT_EQ(read->variables.find(theirs), nullptr);
    const Tensor expected = bundle->floats(theirs).value();
    ASSERT_EQ(tensor->shape(), expected.shape());
    EXPECT_TRUE(std::equal(tensor->data(), tensor->data() + tensor->size(), expected.data())) << ours;
  }
  EXPECT_EQ(bundle->tensors().find("rows")->second.parts.size(), 3U);
}

TEST(TfCheckpoint, NamesThatWouldMeetOrComeBackAsOthersAreRefused) {
  const TempFolder folder;
  const auto refused = [&](const std::vector<std::string>& variables, const NameMap& names,
                           const std::string& reason) {
    Checkpoint checkpoint;
    checkpoint.contract = sample_checkpoint().contract;
    checkpoint.recipe = "{}";
    for (const std::string& name : variables) {
      ASSERT_TRUE(checkpoint.variables.add(name, make_tensor({1}, {1})).ok());
    }
    const Status status = write_tf_checkpoint(folder.file("x"), checkpoint, {.names = names});
    EXPECT_EQ(status.code(), StatusCode::kBadData) << reason;
    EXPECT_THAT(status.message(), HasSubstr(reason));
    EXPECT_TRUE(folder.names().empty());
  };
  refused({"global_step"}, {}, "global_step: another tensor is called \"global_step\"");
  refused({"nacre/state"}, {}, "another tensor is called \"nacre/state\"");
  refused({"a", "b"}, {{"a", "b"}}, "another tensor is called \"b\"");
  refused({"a", "a/Adam"}, {}, "a/Adam: as \"a/Adam\" it would come back as a/adam_m");
  refused({"a", "a/adam_m", "a/Adam"}, {}, "another tensor is called \"a/Adam\"");
}

TEST(TfCheckpoint, TensorFlowsOwn) {
  const auto read = read_tf_checkpoint({kFixtures + "sharded"}, {});
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read->step, 1234567890123U);
  EXPECT_FALSE(read->own.has_value());
  EXPECT_EQ(read->variables.size(), 5U);
  EXPECT_EQ(read->variables.find("rows")->shape(), (Shape{7, 3}));
  EXPECT_THAT(read->passed_over,
              ElementsAre("count (int32)", "double (float64)", "flags (bool)", "words (string)"));

  const auto objects = read_tf_checkpoint({kFixtures + "objects"}, {{"global_step", "step"}});
  ASSERT_TRUE(objects.ok()) << objects.status().message();
  EXPECT_EQ(objects->step, 5U);
  EXPECT_EQ(objects->theirs, (NameMap{{"out/bias", "out/bias/.ATTRIBUTES/VARIABLE_VALUE"},
                                      {"out/kernel", "out/kernel/.ATTRIBUTES/VARIABLE_VALUE"}}));
  EXPECT_TRUE(objects->passed_over.empty());
  // A map may say the whole name too.
  const auto whole =
      read_tf_checkpoint({kFixtures + "objects"}, {{"fc/bias", "out/bias/.ATTRIBUTES/VARIABLE_VALUE"}});
  ASSERT_TRUE(whole.ok()) << whole.status().message();
  EXPECT_NE(whole->variables.find("fc/bias"), nullptr);
}

TEST(TfCheckpoint, WhatContradictsItselfIsRefused) {
  const TempFolder folder;
  ASSERT_TRUE(write_tf_checkpoint(folder.file("good"), adam_checkpoint(), kAdam).ok());
  const std::string state = TensorBundle::open({folder.file("good")})->text("nacre/state").value();
  const auto refused = [&](std::vector<BundleItem> items, StatusCode code, const std::string& reason) {
    ASSERT_TRUE(write_tensor_bundle(folder.file("x"), std::move(items), true).ok());
    const auto read = read_tf_checkpoint({folder.file("x")}, {});
    EXPECT_EQ(read.status().code(), code) << reason;
    EXPECT_THAT(read.status().message(), HasSubstr(folder.file("x") + ": " + reason));
  };
  const Tensor one = make_tensor({1}, {1});
  refused({{"global_step", int64_t{7}}, {"nacre/state", state}}, StatusCode::kBadData,
          "global_step is 7, but nacre/state says 120");
  refused({{"global_step", int64_t{-1}}}, StatusCode::kBadData, "global_step is -1");
  refused({{"nacre/state", std::string("text")}}, StatusCode::kCorrupt,
          "nacre/state: is text, not a nacre checkpoint");
  refused({{"nacre/state", std::string()}}, StatusCode::kCorrupt, "nacre/state: is empty");
  refused({{"nacre/state", int64_t{7}}}, StatusCode::kUnsupported, "tensor \"nacre/state\" is int64 []");
  refused({{"a", one.view()}, {"a/.ATTRIBUTES/VARIABLE_VALUE", one.view()}}, StatusCode::kBadData,
          "both \"a\" and \"a/.ATTRIBUTES/VARIABLE_VALUE\" would be a");
  const auto with_tensors = checkpoint_bytes(sample_checkpoint()).value();
  refused(
      {{"nacre/state", std::string(reinterpret_cast<const char*>(with_tensors.data()), with_tensors.size())}},
      StatusCode::kCorrupt, "nacre/state: holds tensors");
  EXPECT_EQ(read_tf_checkpoint({folder.file("none")}, {}).status().code(), StatusCode::kIo);
}

TEST(TfCheckpoint, IsFoundByPrefixIndexAndFolder) {
  const TempFolder folder;
  EXPECT_FALSE(find_tf_checkpoint(folder.path()).value().has_value());
  EXPECT_FALSE(find_tf_checkpoint(folder.file("x")).value().has_value());
  ASSERT_TRUE(write_tf_checkpoint(folder.file("x"), adam_checkpoint(), kAdam).ok());
  for (const std::string& path : {folder.path(), folder.file("x"), folder.file("x.index")}) {
    EXPECT_EQ(find_tf_checkpoint(path).value()->prefix, folder.file("x")) << path;
  }
  EXPECT_FALSE(find_tf_checkpoint(folder.file("x.data-00000-of-00001")).value().has_value());
  EXPECT_FALSE(find_tf_checkpoint(folder.file("y.index")).value().has_value());
  write_text(folder.file("checkpoint"), "nonsense");
  EXPECT_EQ(find_tf_checkpoint(folder.path()).status().code(), StatusCode::kCorrupt);
}

TEST(TfCheckpoint, AFolderWhoseStateIsNoneIsLeftAlone) {
  const TempFolder folder;
  write_text(folder.file("checkpoint"), "somebody's notes");
  EXPECT_EQ(write_tf_checkpoint(folder.file("x"), adam_checkpoint(), kAdam).code(), StatusCode::kCorrupt);
  EXPECT_THAT(folder.names(), ElementsAre("checkpoint"));
}

TEST(TfCheckpoint, WhateverFailsNoCheckpointIsHalfThere) {
  using Fault = FaultyFileSystem::Fault;
  const Checkpoint checkpoint = adam_checkpoint();
  const TempFolder before;
  ASSERT_TRUE(write_tf_checkpoint(before.file("old"), checkpoint, kAdam).ok());
  for (const Fault fault : {Fault::kOnce, Fault::kFromThenOn}) {
    for (size_t n = 0;; ++n) {
      const TempFolder folder;
      std::filesystem::copy(before.path(), folder.path());
      FaultyFileSystem fs(fault, n, ENOSPC);
      const Status status = write_tf_checkpoint(folder.file("new"), checkpoint, kAdam, fs);
      if (status.ok()) {
        EXPECT_TRUE(read_tf_checkpoint({folder.file("new")}, {}).ok());
      } else {
        EXPECT_TRUE(fs.fired());
        EXPECT_EQ(status.code(), StatusCode::kIo) << status.message();
      }
      // The latest one is the old one or the new one, and is whole.
      const auto latest = latest_tf_checkpoint(folder.path());
      ASSERT_TRUE(latest.ok()) << latest.status().message();
      auto read = read_tf_checkpoint({*latest}, {});
      ASSERT_TRUE(read.ok()) << read.status().message();
      expect_equal(joined(std::move(read).value()), checkpoint);
      if (std::filesystem::exists(folder.file("new.index"))) {
        EXPECT_TRUE(read_tf_checkpoint({folder.file("new")}, {}).ok());
      }
      if (n == fs.calls().size()) break;
    }
  }
}

}  // namespace
}  // namespace nacre
