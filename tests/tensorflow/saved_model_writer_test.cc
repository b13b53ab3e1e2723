// The files of a SavedModel. That TensorFlow reads and runs them is what the judges check (tests/judges).
#include "serialize/tensorflow/saved_model_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "layers/registry.h"
#include "schemas/tensorflow/predict.pb.h"
#include "schemas/tensorflow/saved_model.pb.h"
#include "serialize/tensorflow/saved_model_mark.h"
#include "serialize/tensorflow/tensor_bundle_writer.h"
#include "serialize/tensorflow/warmup_records.h"
#include "tests/serialize/faulty_file_system.h"
#include "tests/serialize/test_files.h"
#include "tests/tensorflow/network_fixture.h"
#include "tests/tensorflow/record_files.h"

namespace nacre {
namespace {

namespace fs = std::filesystem;

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Status write(const std::string& folder, const Bundle& bundle, const SavedModelOptions& options = {},
             FileSystem& file_system = real_file_system()) {
  return write_saved_model(folder, bundle, builtin_ops(), options, file_system).status();
}

/// Relative paths of all files, sorted.
std::vector<std::string> files_of(const std::string& folder) {
  std::vector<std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) files.push_back(fs::relative(entry.path(), folder).string());
  }
  std::ranges::sort(files);
  return files;
}

tensorflow::SavedModel read_model(const std::string& folder) {
  tensorflow::SavedModel model;
  EXPECT_TRUE(model.ParseFromString(read_text(folder + "/saved_model.pb")));
  return model;
}

TEST(SavedModelWriter, WritesTheFilesThatLoadersLookFor) {
  const TempFolder temp;
  const Bundle bundle = make_bundle();
  const auto signatures = write_saved_model(temp.file("out"), bundle, builtin_ops(), {});
  ASSERT_TRUE(signatures.ok()) << signatures.status().message();
  EXPECT_EQ(signatures->size(), 4U);
  EXPECT_THAT(
      files_of(temp.file("out")),
      ElementsAre("assets.extra/nacre.json", "assets.extra/tf_serving_warmup_requests", "assets/labels.txt",
                  "saved_model.pb", "variables/variables.data-00000-of-00001", "variables/variables.index"));
  EXPECT_THAT(temp.names(), ElementsAre("out"));
  EXPECT_EQ(read_text(temp.file("out/assets/labels.txt")), "anna\nbert\ncleo\n");
  const tensorflow::SavedModel model = read_model(temp.file("out"));
  EXPECT_EQ(model.meta_graphs(0).signature_def().size(), 4U);

  // The variables are those of the tensor bundle that any checkpoint is.
  ASSERT_TRUE(write_tensor_bundle(temp.file("variables"), bundle.variables, false).ok());
  for (const std::string suffix : {".index", ".data-00000-of-00001"}) {
    EXPECT_EQ(read_text(temp.file("out/variables/variables" + suffix)),
              read_text(temp.file("variables" + suffix)));
  }
}

TEST(SavedModelWriter, TheMarkHasTheDigestOfEveryOtherFile) {
  const TempFolder temp;
  const std::string folder = temp.file("out");
  ASSERT_TRUE(write(folder, make_bundle()).ok());
  const std::string mark = read_text(folder + "/assets.extra/nacre.json");
  EXPECT_EQ(saved_model_mark(folder).value(), mark);
  for (const std::string& file : files_of(folder)) {
    if (file == "assets.extra/nacre.json") continue;
    EXPECT_THAT(mark, HasSubstr("\"" + file + "\": \""));
  }
  const auto checked = check_saved_model_mark(folder);
  ASSERT_TRUE(checked.ok()) << checked.status().message();
  EXPECT_TRUE(*checked);
  fs::remove(folder + "/assets/labels.txt");
  EXPECT_EQ(check_saved_model_mark(folder).status().code(), StatusCode::kCorrupt);
  fs::remove(folder + "/assets.extra/nacre.json");
  EXPECT_FALSE(check_saved_model_mark(folder).value());
}

TEST(SavedModelWriter, OnlyTheGraphsVariablesAreWritten) {
  const TempFolder temp;
  Bundle bundle = make_bundle();
  ASSERT_TRUE(write(temp.file("a"), bundle).ok());
  ASSERT_TRUE(bundle.variables.add("other/kernel", make_tensor({1}, {1})).ok());
  ASSERT_TRUE(write(temp.file("b"), bundle).ok());
  for (const std::string& file : files_of(temp.file("a"))) {
    EXPECT_EQ(read_text(temp.file("a/" + file)), read_text(temp.file("b/" + file))) << file;
  }
}

TEST(SavedModelWriter, TheSameBundleGivesTheSameBytes) {
  const TempFolder temp;
  for (const bool reference : {false, true}) {
    SavedModelOptions options;
    options.reference = reference;
    const std::string a = temp.file(reference ? "a_reference" : "a");
    const std::string b = temp.file(reference ? "b_reference" : "b");
    ASSERT_TRUE(write(a, make_bundle(), options).ok());
    ASSERT_TRUE(write(b, make_bundle(), options).ok());
    ASSERT_EQ(files_of(a), files_of(b));
    for (const std::string& file : files_of(a)) {
      EXPECT_EQ(read_text(a + "/" + file), read_text(b + "/" + file)) << file;
    }
  }
}

TEST(SavedModelWriter, GoldenVectorsBecomeWarmUpRequestsWithAnswers) {
  const TempFolder temp;
  ASSERT_TRUE(write(temp.file("out"), make_bundle()).ok());
  const std::string text = read_text(temp.file("out/assets.extra/tf_serving_warmup_requests"));
  std::vector<std::string> images;
  for (const std::string& record : records_of(text)) {
    tensorflow::serving::PredictionLog log;
    ASSERT_TRUE(log.ParseFromString(record));
    const auto& request = log.predict_log().request();
    EXPECT_EQ(request.model_spec().signature_name(), "encoded_image");
    const auto& image = request.inputs().at("image");
    EXPECT_EQ(image.dtype(), tensorflow::DT_STRING);
    EXPECT_EQ(image.tensor_shape().dim(0).size(), 1);
    images.push_back(image.string_val(0));
  }
  EXPECT_THAT(images, ElementsAre("one", "two"));
  const auto read = read_warmup_records(temp.file("out"));
  ASSERT_TRUE(read.ok()) << read.status().message();
  ASSERT_EQ(read->size(), 2U);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ((*read)[i].image, make_bundle().golden[i].image);
    EXPECT_EQ((*read)[i].prediction, make_bundle().golden[i].prediction);
  }
}

TEST(SavedModelWriter, WhatABundleLacksIsLeftOut) {
  const TempFolder temp;
  Bundle bundle = make_bundle();
  bundle.golden.clear();
  bundle.contract.labels.clear();
  ASSERT_TRUE(write(temp.file("out"), bundle).ok());
  EXPECT_THAT(files_of(temp.file("out")),
              ElementsAre("assets.extra/nacre.json", "saved_model.pb",
                          "variables/variables.data-00000-of-00001", "variables/variables.index"));
}

TEST(SavedModelWriter, AnOldOneIsReplacedWhenThatIsAskedFor) {
  const TempFolder temp;
  ASSERT_TRUE(write(temp.file("out"), make_bundle()).ok());
  // As TensorFlow leaves it.
  write_text(temp.file("out/fingerprint.pb"), "x");
  const Status refused = write(temp.file("out"), make_bundle());
  EXPECT_EQ(refused.code(), StatusCode::kIo);
  EXPECT_THAT(refused.message(), HasSubstr(temp.file("out") + ": exists already"));
  SavedModelOptions options;
  options.overwrite = true;
  options.reference = true;
  ASSERT_TRUE(write(temp.file("out"), make_bundle(), options).ok());
  EXPECT_EQ(read_model(temp.file("out")).meta_graphs(0).signature_def().size(), 3U);
  EXPECT_FALSE(fs::exists(temp.file("out/fingerprint.pb")));
  // A folder that is no SavedModel is not removed.
  fs::create_directories(temp.file("mine/photos"));
  EXPECT_EQ(write(temp.file("mine"), make_bundle(), options).code(), StatusCode::kIo);
  EXPECT_TRUE(fs::exists(temp.file("mine/photos")));
}

TEST(SavedModelWriter, WhatIsRefusedLeavesNothing) {
  const TempFolder temp;
  const Status status = write(temp.file("out"), make_bundle(kSmallLayers, R"(, "exif": "apply")"));
  EXPECT_EQ(status.code(), StatusCode::kUnsupported);
  EXPECT_THAT(status.message(), HasSubstr(temp.file("out") + ": the input contract"));
  EXPECT_TRUE(temp.names().empty());
}

TEST(SavedModelWriter, AFailedCallLeavesNothingOrAllOfIt) {
  using Fault = FaultyFileSystem::Fault;
  const Bundle bundle = make_bundle();
  for (const Fault fault : {Fault::kOnce, Fault::kFromThenOn}) {
    for (const int error : {ENOSPC, EIO}) {
      for (size_t n = 0;; ++n) {
        const TempFolder temp;
        FaultyFileSystem file_system(fault, n, error);
        const Status status = write(temp.file("out"), bundle, {}, file_system);
        if (n >= file_system.calls().size()) break;
        const std::string where = std::to_string(n) + " " + file_system.calls()[n] + ": " + status.message();
        if (fs::exists(temp.file("out"))) {
          EXPECT_EQ(files_of(temp.file("out")).size(), 6U) << where;
        } else {
          EXPECT_EQ(status.code(), StatusCode::kIo) << where;
          // What cannot be removed stays, beside the target.
          EXPECT_TRUE(fault == Fault::kFromThenOn || temp.names().empty()) << where;
        }
      }
    }
  }
}

TEST(SavedModelWriter, AFailedCallLeavesTheOldOneOrTheNewOne) {
  using Fault = FaultyFileSystem::Fault;
  const TempFolder before;
  ASSERT_TRUE(write(before.file("out"), make_bundle()).ok());
  Bundle bundle = make_bundle();
  bundle.contract.labels = {"dora", "emil", "fritz"};
  SavedModelOptions options;
  options.overwrite = true;
  for (const Fault fault : {Fault::kOnce, Fault::kFromThenOn}) {
    for (const int error : {ENOSPC, EIO}) {
      size_t old_ones = 0;
      for (size_t n = 0;; ++n) {
        const TempFolder temp;
        fs::copy(before.path(), temp.path(), fs::copy_options::recursive);
        FaultyFileSystem file_system(fault, n, error);
        const Status status = write(temp.file("out"), bundle, options, file_system);
        if (n >= file_system.calls().size()) break;
        const std::string where = std::to_string(n) + " " + file_system.calls()[n] + ": " + status.message();
        ASSERT_EQ(files_of(temp.file("out")).size(), 6U) << where;
        const bool is_new = read_text(temp.file("out/assets/labels.txt")) == "dora\nemil\nfritz\n";
        const bool has_new_graph =
            read_text(temp.file("out/saved_model.pb")) != read_text(before.file("out/saved_model.pb"));
        EXPECT_EQ(is_new, has_new_graph) << where;
        if (!is_new) {
          EXPECT_EQ(status.code(), StatusCode::kIo) << where;
          ++old_ones;
        }
      }
      EXPECT_GT(old_ones, 10U);
    }
  }
}

}  // namespace
}  // namespace nacre
