// What is wrong with a configuration or a base path is said, while what was served is served on.

#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>

#include "tests/serve/model_manager_fixture.h"

namespace nacre {
namespace {

namespace fs = std::filesystem;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class ModelFaultsTest : public ModelManagerTest {
 protected:
  /// That a reload is refused for this reason, which the log says once, and that version 1 stays.
  void expect_unmet(const ModelConfig& given, const std::string& reason) const {
    const RpcStatus refused = core_->models.reload({given});
    EXPECT_EQ(refused.code(), RpcCode::kUnknown);
    EXPECT_EQ(refused.message(),
              "1 servable(s) did not become available: {{{name: m} due to error: " + reason + "}, }");
    core_->models.poll_now();
    EXPECT_THAT(lines(), Contains("model m: " + reason).Times(1));
    EXPECT_EQ(states(), "1 AVAILABLE OK");
    EXPECT_TRUE(core_->ready());
  }
};

TEST_F(ModelFaultsTest, AReloadIsRefusedWhenNothingThatItAsksForIsThere) {
  write_version("base/1", make_small_bundle(1));
  serve({config()});
  expect_unmet(config(SpecificVersions{{77}}), "version 77 is not in " + path("base") + "; version 1 stays");
  expect_unmet(config({}, "none"), path("none") + ": No such file or directory; version 1 stays");
  EXPECT_TRUE(core_->models.reload({config()}).ok());
  EXPECT_EQ(states(), "1 AVAILABLE OK");
}

TEST_F(ModelFaultsTest, AVersionOfAnotherBasePathDoesNotCount) {
  write_version("base/1", make_small_bundle(1));
  write_file("other/1/model.nacre", "broken");
  serve({config()});
  const RpcStatus refused = core_->models.reload({config({}, "other")});
  EXPECT_EQ(refused.code(), RpcCode::kUnknown);
  EXPECT_THAT(refused.message(), HasSubstr("{name: m version: 1} due to error: " + path("other/1/")));
  EXPECT_EQ(live(), 1);
  EXPECT_TRUE(core_->models.reload({config()}).ok());
  EXPECT_EQ(states(), "1 AVAILABLE OK") << "the other's failure is none of its own";
}

TEST_F(ModelFaultsTest, VersionsThatAreAskedForAndNotThereAreNamed) {
  for (const char* version : {"base/1", "base/2", "base/3"}) write_version(version, make_small_bundle(1));
  serve({config(SpecificVersions{{1, 3, 99}})});
  EXPECT_EQ(states(), "3 AVAILABLE OK, 1 AVAILABLE OK");
  EXPECT_THAT(lines(), Contains("model m: version 99 is not in " + path("base")));
  fs::remove_all(path("base/1"));
  fs::remove_all(path("base/3"));
  core_->models.poll_now();
  EXPECT_THAT(lines(), Contains("model m: version 1 is not in " + path("base") + "; versions 3, 1 stay"));
}

TEST_F(ModelFaultsTest, ABasePathWithoutVersionFoldersIsNamed) {
  write_version("base", make_small_bundle(1));
  serve({config(), {"n", path("base"), {}, {}}});
  const std::string fault =
      path("base") + ": holds no numbered version folder, such as " + path("base") + "/1";
  EXPECT_THAT(lines(), Contains("model m: " + fault).Times(1));
  EXPECT_THAT(lines(), Contains("not ready: no version is available of m, n"));
  EXPECT_EQ(states(), "Could not find any versions of model m (" + fault + ")");
  EXPECT_THAT(core_->models.reload({config()}).message(), HasSubstr(fault));
}

/// What the system refused is tried again, though nothing of the files that a look compares has changed.
TEST_F(ModelFaultsTest, AFileThatMayNotBeReadIsTriedAgain) {
  write_version("base/1", make_small_bundle(1));
  const fs::path file = path("base/1/model.nacre");
  const auto written = fs::last_write_time(file);
  fs::permissions(file, fs::perms::none);
  // Root may read everything.
  const uid_t user = geteuid();
  for (const std::string& folder : {folder_.path(), path("base"), path("base/1")}) {
    fs::permissions(folder, fs::perms::all);
  }
  if (user == 0) {
    ASSERT_EQ(seteuid(65534), 0);
  }
  serve({config()});
  core_->models.poll_now();
  if (user == 0) {
    ASSERT_EQ(seteuid(0), 0);
  }
  EXPECT_EQ(states(), "1 END UNAVAILABLE");
  EXPECT_THAT(reason(1), HasSubstr("Permission denied"));
  EXPECT_THAT(lines(), Contains(HasSubstr("is not served")).Times(1));
  fs::permissions(file, fs::perms::owner_read);
  ASSERT_EQ(fs::last_write_time(file), written);
  EXPECT_TRUE(eventually([&] {
    core_->models.poll_now();
    return live() == 1;
  }));
}

TEST(RetryTest, PausesGrow) {
  Retry retry;
  EXPECT_FALSE(retry.is_due());
  retry.failed(true);
  EXPECT_FALSE(retry.is_due());
  EXPECT_TRUE(eventually([&] { return retry.is_due(); }));
  const auto begun = std::chrono::steady_clock::now();
  retry.failed(true);
  EXPECT_TRUE(eventually([&] { return retry.is_due(); }));
  EXPECT_GE(std::chrono::steady_clock::now() - begun, std::chrono::seconds(2));
  retry.failed(false);
  EXPECT_FALSE(retry.is_due());
}

TEST_F(ModelFaultsTest, AVersionThatChangesAfterItWasLoadedIsToldOfOnce) {
  const std::string told = "model m: " + path("base/1") + " has changed since it was loaded";
  const auto times = [&](int count) { return Contains(StartsWith(told)).Times(count); };
  write_version("base/1", make_small_bundle(1));
  serve({config()});
  core_->models.poll_now();
  EXPECT_THAT(lines(), times(0));
  const auto before = found("m");
  fs::remove_all(path("base/1"));
  core_->models.poll_now();
  write_version("base/1", make_small_bundle(2));
  for (int i = 0; i < 3; ++i) core_->models.poll_now();
  EXPECT_THAT(lines(), times(1));
  EXPECT_EQ(found("m"), before) << "served on";
  // Under a new number it is loaded, and the old one is there to be loaded anew.
  fs::rename(path("base/1"), path("base/2"));
  core_->models.poll_now();
  EXPECT_EQ(states(), "2 AVAILABLE OK, 1 UNLOADING OK");
  EXPECT_THAT(lines(), times(1));
}

}  // namespace
}  // namespace nacre
