// Item 40 of the hostile inputs: files that lie outside of the folder that was named.
#include "serialize/tensorflow/within_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "layers/registry.h"
#include "serialize/tensorflow/checkpoint_state.h"
#include "serialize/tensorflow/saved_model_import.h"
#include "serialize/tensorflow/saved_model_summary.h"
#include "serialize/tensorflow/saved_model_writer.h"
#include "serialize/tensorflow/tf_checkpoint.h"
#include "serialize/tensorflow/warmup_records.h"
#include "tests/serialize/test_files.h"
#include "tests/tensorflow/network_fixture.h"

namespace nacre {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

const std::string kFixtures = NACRE_SOURCE_DIR "/tests/tensorflow/fixtures/";

class WithinFolder : public testing::Test {
 protected:
  void SetUp() override {
    fs::create_directories(in_ + "/sub");
    fs::create_directory(temp_.file("out"));
    write_text(in_ + "/a", "a");
  }
  [[nodiscard]] Status check(const std::string& name) const {
    return check_within_folder(in_ + "/" + name, in_);
  }
  static void expect_refused(const Status& status, const std::string& reason) {
    EXPECT_EQ(status.code(), StatusCode::kCorrupt) << status.message();
    EXPECT_THAT(status.message(), HasSubstr(reason));
  }

  TempFolder temp_;
  const std::string in_ = temp_.file("in");
};

TEST_F(WithinFolder, FilesAndLinksInTheFolderAreFine) {
  fs::create_symlink("../a", in_ + "/sub/link");
  fs::create_hard_link(in_ + "/a", in_ + "/sub/b");
  fs::create_hard_link(in_ + "/a", in_ + "/c");
  fs::create_directory_symlink("in", temp_.file("other"));
  for (const char* name : {"a", "sub/link", "sub/b", "c", "nothing", "sub/nothing"}) {
    EXPECT_TRUE(check(name).ok()) << check(name).message();
    EXPECT_TRUE(check_within_folder(temp_.file("other/") + name, temp_.file("other")).ok()) << name;
  }
}

TEST_F(WithinFolder, SymlinksMustNotLeadOut) {
  write_text(temp_.file("out/x"), "x");
  fs::create_symlink("../out/x", in_ + "/x");
  fs::create_directory_symlink(temp_.file("out"), in_ + "/way");
  // A folder whose name goes on where the other's ends is another one.
  fs::create_directory(temp_.file("in2"));
  write_text(temp_.file("in2/y"), "y");
  fs::create_symlink("../in2/y", in_ + "/y");
  for (const char* name : {"x", "way/x", "y", "../out/x"})
    expect_refused(check(name), "leads out of its folder");
}

TEST_F(WithinFolder, HardLinksMustNotHaveANameOutside) {
  fs::create_hard_link(in_ + "/a", in_ + "/b");
  EXPECT_TRUE(check("a").ok());
  fs::create_hard_link(in_ + "/a", temp_.file("out/a"));
  for (const char* name : {"a", "b"})
    expect_refused(check(name), "is a hard link to a file outside its folder");
  // A link to the folder that has the other name does not bring it in.
  fs::create_directory_symlink("../out", in_ + "/way");
  expect_refused(check("a"), "is a hard link to a file outside its folder");
  fs::remove(temp_.file("out/a"));
  EXPECT_TRUE(check("a").ok());
}

/// Two checkpoints, IN/x and OUT/x, and IN/checkpoint.
class CheckpointFolder : public WithinFolder {
 protected:
  void SetUp() override {
    WithinFolder::SetUp();
    for (const char* folder : {"in/", "out/"}) {
      for (const char* suffix : {".index", ".data-00000-of-00002", ".data-00001-of-00002"}) {
        fs::copy_file(kFixtures + "sharded" + suffix, temp_.file(std::string(folder) + "x" + suffix));
      }
    }
    write_state("x");
  }
  void write_state(const std::string& latest) const {
    write_text(in_ + "/checkpoint", checkpoint_state_text({latest, {latest}}));
  }
  /// Of the folder's latest one.
  [[nodiscard]] Status read() const {
    NACRE_ASSIGN_OR_RETURN(const auto found, find_tf_checkpoint(in_));
    return read_tf_checkpoint(found.value(), {}).status();
  }
};

TEST_F(CheckpointFolder, ALinkedSubfolderOfTheStateIsRefused) {
  ASSERT_TRUE(read().ok()) << read().message();
  fs::remove(in_ + "/sub");
  fs::create_directory_symlink("../out", in_ + "/sub");
  write_state("sub/x");
  expect_refused(read(), "sub/x.index: is a link that leads out of its folder");
  // Who names that folder means it.
  EXPECT_TRUE(read_tf_checkpoint({in_ + "/sub/x"}, {}).ok());
}

TEST_F(CheckpointFolder, ASubfoldersFilesMayBeLinksToTheFoldersOwn) {
  for (const char* suffix : {".index", ".data-00000-of-00002"})
    fs::create_symlink(std::string("../x") + suffix, in_ + "/sub/x" + suffix);
  fs::create_hard_link(in_ + "/x.data-00001-of-00002", in_ + "/sub/x.data-00001-of-00002");
  write_state("sub/x");
  EXPECT_TRUE(read().ok()) << read().message();
}

TEST_F(CheckpointFolder, AStateThatLiesOutsideIsRefused) {
  fs::rename(in_ + "/checkpoint", temp_.file("state"));
  fs::create_symlink("../state", in_ + "/checkpoint");
  expect_refused(read(), "checkpoint: is a link that leads out of its folder");
  fs::remove(in_ + "/checkpoint");
  fs::create_hard_link(temp_.file("state"), in_ + "/checkpoint");
  expect_refused(read(), "checkpoint: is a hard link");
}

TEST_F(CheckpointFolder, HardLinksOutOfTheFolderAreRefused) {
  for (const char* suffix : {".index", ".data-00000-of-00002", ".data-00001-of-00002"}) {
    const std::string file = in_ + "/x" + suffix;
    fs::create_hard_link(file, temp_.file("other"));
    expect_refused(read(), file + ": is a hard link");
    expect_refused(read_tf_checkpoint({in_ + "/x"}, {}).status(), file + ": is a hard link");
    expect_refused(summarize_tensor_bundle({in_ + "/x"}).status(), file + ": is a hard link");
    fs::remove(temp_.file("other"));
  }
}

TEST(SavedModelFolder, FilesOutsideItAreRefused) {
  const TempFolder temp;
  const Registry registry = builtin_ops();
  const std::string model = temp.file("model");
  ASSERT_TRUE(write_saved_model(model, make_bundle(), registry, {}).ok());
  const std::string outside = temp.file("outside");
  const std::string links[] = {"saved_model.pb", "variables/variables.index",
                               "variables/variables.data-00000-of-00001", "assets/labels.txt",
                               "assets.extra/tf_serving_warmup_requests"};
  const auto read = [&] {
    const Status warmup = read_warmup_records(model).status();
    if (!warmup.ok()) return warmup;
    const Status labels = read_labels_asset(model).status();
    return labels.ok() ? import_saved_model(model, {}, registry).status() : labels;
  };
  ASSERT_TRUE(read().ok()) << read().message();
  const auto expect_refused = [&](const std::string& name, const std::string& reason) {
    EXPECT_EQ(read().code(), StatusCode::kCorrupt) << name << ": " << read().message();
    EXPECT_THAT(read().message(), HasSubstr(model + "/" + name + ": is " + reason));
  };
  for (const std::string& name : links) {
    const std::string file = model + "/" + name;
    fs::rename(file, outside);
    fs::create_symlink(outside, file);
    expect_refused(name, "a link that leads out of its folder");
    fs::remove(file);
    fs::create_hard_link(outside, file);
    expect_refused(name, "a hard link to a file outside its folder");
    fs::remove(outside);
    // With its other name in the folder it may be a link.
    fs::create_hard_link(file, model + "/other");
    EXPECT_TRUE(read().ok()) << read().message();
    fs::remove(file);
    fs::create_symlink(model + "/other", file);
    EXPECT_TRUE(read().ok()) << read().message();
    fs::remove(file);
    fs::rename(model + "/other", file);
  }
  for (const std::string folder : {"variables", "assets", "assets.extra"}) {
    fs::rename(model + "/" + folder, outside);
    fs::create_directory_symlink(outside, model + "/" + folder);
    EXPECT_EQ(read().code(), StatusCode::kCorrupt) << folder;
    EXPECT_THAT(read().message(), HasSubstr("leads out of its folder"));
    fs::remove(model + "/" + folder);
    fs::rename(outside, model + "/" + folder);
  }
}

}  // namespace
}  // namespace nacre
