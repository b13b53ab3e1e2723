#include "serve/model_manager.h"

#include <gmock/gmock.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

#include "layers/registry.h"
#include "serialize/tensorflow/saved_model_writer.h"
#include "tests/serve/model_manager_fixture.h"

namespace nacre {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST_F(ModelManagerTest, ServesTheHighestVersion) {
  write_version("base/1", make_small_bundle(1));
  write_version("base/10", make_small_bundle(10));
  write_version("base/9", make_small_bundle(9));
  fs::create_directories(path("base/abc"));
  serve({config()});
  EXPECT_EQ(live(), 10);
  EXPECT_EQ(states(), "10 AVAILABLE OK");
  EXPECT_TRUE(core_->ready());
  EXPECT_EQ(core_->models.find({"m", 9, ""}).status().message(),
            "Servable not found for request: Specific(m, 9)");
  EXPECT_EQ(core_->models.find({"x", std::nullopt, ""}).status().message(),
            "Servable not found for request: Latest(x)");
  EXPECT_EQ(core_->models.find({"m", std::nullopt, "l"}).status().message(),
            "Unrecognized servable version label: l");
}

TEST_F(ModelManagerTest, WarmsAVersionUpBeforeItIsLive) {
  write_version("base/1", make_small_bundle(1));
  serve({config()});
  EXPECT_THAT(core_->metrics.prometheus(),
              HasSubstr(":tensorflow:serving:model_warmup_latency_count{model_name=\"m\"} 1\n"));
}

TEST_F(ModelManagerTest, ANewVersionTakesThePlaceOfTheOldOne) {
  write_version("base/1", make_small_bundle(1));
  serve({config()});
  auto held = found("m");
  write_version("base/2", make_small_bundle(2));
  EXPECT_EQ(live(), 1);
  core_->models.poll_now();
  EXPECT_EQ(live(), 2);
  // What still uses the old one keeps it alive.
  EXPECT_EQ(states(), "2 AVAILABLE OK, 1 UNLOADING OK");
  const std::weak_ptr<const Servable> old = held;
  held.reset();
  EXPECT_TRUE(old.expired());
  EXPECT_EQ(states(), "2 AVAILABLE OK, 1 END OK");
}

TEST_F(ModelManagerTest, PollsByItself) {
  options_.models.poll = std::chrono::milliseconds(10);
  write_version("base/1", make_small_bundle(1));
  serve({config()});
  write_version("base/2", make_small_bundle(2));
  EXPECT_TRUE(eventually([&] { return live() == 2; }));
}

TEST_F(ModelManagerTest, AHalfCopiedVersionNeverGoesLive) {
  write_version("base/1", make_small_bundle(1));
  write_version("new/2", make_small_bundle(2));
  serve({config()});
  std::ifstream whole(path("new/2/model.nacre"), std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(whole)), {});
  for (const size_t copied : {size_t{0}, size_t{7}, bytes.size() / 2, bytes.size() - 1}) {
    write_file("base/2/model.nacre", std::string_view(bytes).substr(0, copied));
    core_->models.poll_now();
    EXPECT_EQ(live(), 1) << copied;
    EXPECT_EQ(states(), "2 END DATA_LOSS, 1 AVAILABLE OK") << copied;
    EXPECT_THAT(reason(2), HasSubstr(path("base/2/model.nacre"))) << copied;
  }
  const size_t lines_before = lines().size();
  core_->models.poll_now();
  EXPECT_EQ(lines().size(), lines_before) << "what has not changed is not tried again";
  write_file("base/2/model.nacre", bytes);
  core_->models.poll_now();
  EXPECT_EQ(live(), 2);
}

TEST_F(ModelManagerTest, ACorruptVersionNeverGoesLive) {
  write_version("base/1", make_small_bundle(1));
  write_version("base/2", make_small_bundle(2));
  const uintmax_t size = fs::file_size(path("base/2/model.nacre"));
  std::fstream file(path("base/2/model.nacre"), std::ios::binary | std::ios::in | std::ios::out);
  file.seekg(static_cast<std::streamoff>(size / 2));
  const char byte = static_cast<char>(file.peek() ^ 1);
  file.seekp(static_cast<std::streamoff>(size / 2));
  file.put(byte);
  file.close();
  serve({config()});
  EXPECT_EQ(live(), 1) << "an older one takes its place";
  EXPECT_EQ(states(), "2 END DATA_LOSS, 1 AVAILABLE OK");
}

TEST_F(ModelManagerTest, AVersionWhoseAnswersHaveChangedNeverGoesLive) {
  write_version("base/1", make_small_bundle(1));
  Bundle bundle = make_small_bundle(2);
  bundle.golden.front().prediction.front() += 0.01F;
  write_version("base/2", bundle);
  serve({config()});
  EXPECT_EQ(live(), 1);
  EXPECT_THAT(reason(2), HasSubstr("golden vector"));
}

TEST_F(ModelManagerTest, AFolderHoldsOneModel) {
  write_version("base/1", make_small_bundle(1));
  fs::create_directories(path("base/2"));
  write_version("base/3", make_small_bundle(3));
  fs::copy_file(path("base/3/model.nacre"), path("base/3/other.nacre"));
  serve({config()});
  EXPECT_EQ(live(), 1);
  EXPECT_EQ(reason(2), path("base/2") + ": holds 0 *.nacre bundles and no SavedModel, expected one of them");
  EXPECT_EQ(reason(3), path("base/3") + ": holds 2 *.nacre bundles and no SavedModel, expected one of them");
}

TEST_F(ModelManagerTest, ServesASavedModelWithItsLabels) {
  Bundle bundle = make_small_bundle(1);
  bundle.contract.labels.front() = "\xef\xbb\xbf" + bundle.contract.labels.front();  // a name may begin so
  fs::create_directories(path("base"));
  const auto written = write_saved_model(path("base/7"), bundle, builtin_ops(), {});
  ASSERT_TRUE(written.ok()) << written.status().message();
  serve({config()});
  ASSERT_EQ(live(), 7) << reason(7);
  EXPECT_EQ(found("m")->labels(), bundle.contract.labels);
}

TEST_F(ModelManagerTest, ASavedModelWithoutAllOfItsFilesNeverGoesLive) {
  fs::create_directories(path("base"));
  const auto written = write_saved_model(path("base/1"), make_small_bundle(1), builtin_ops(), {});
  ASSERT_TRUE(written.ok()) << written.status().message();
  fs::rename(path("base/1/assets"), path("later"));
  serve({config()});
  EXPECT_EQ(live(), -1);
  EXPECT_THAT(reason(1), HasSubstr("labels.txt"));
  const RpcStatus reloaded = core_->models.reload({config()});
  EXPECT_EQ(reloaded.code(), RpcCode::kUnknown);
  EXPECT_THAT(reloaded.message(),
              StartsWith("1 servable(s) did not become available: {{{name: m version: 1} due to error: "));
  fs::rename(path("later"), path("base/1/assets"));
  core_->models.poll_now();
  EXPECT_EQ(live(), 1) << reason(1);
}

TEST_F(ModelManagerTest, SaysOnceThatAFolderCannotBeRead) {
  write_version("base/1", make_small_bundle(1));
  for (size_t i = 0; i <= kMaxVersionFiles; ++i) write_file("base/2/" + std::to_string(i), "");
  serve({config()});
  const size_t said = lines().size();
  for (int i = 0; i < 3; ++i) core_->models.poll_now();
  EXPECT_EQ(lines().size(), said);
  EXPECT_EQ(live(), 1);
}

TEST_F(ModelManagerTest, DeletedFolders) {
  write_version("base/1", make_small_bundle(1));
  write_version("base/2", make_small_bundle(2));
  serve({config()});
  EXPECT_EQ(live(), 2);
  fs::remove_all(path("base/2"));
  core_->models.poll_now();
  EXPECT_EQ(live(), 1) << "the next one takes its place";
  fs::remove_all(path("base/1"));
  core_->models.poll_now();
  EXPECT_EQ(live(), 1) << "the last one stays";
  fs::remove_all(path("base"));
  core_->models.poll_now();
  EXPECT_EQ(live(), 1);
  EXPECT_TRUE(core_->ready());
}

TEST_F(ModelManagerTest, Policies) {
  for (int i = 1; i <= 4; ++i) write_version("base/" + std::to_string(i), make_small_bundle(1));
  serve({config(LatestVersions{2})});
  EXPECT_EQ(states(), "4 AVAILABLE OK, 3 AVAILABLE OK");
  ASSERT_TRUE(core_->models.reload({config(AllVersions{})}).ok());
  EXPECT_EQ(states(), "4 AVAILABLE OK, 3 AVAILABLE OK, 2 AVAILABLE OK, 1 AVAILABLE OK");
  ASSERT_TRUE(core_->models.reload({config(SpecificVersions{{1, 3, 99}})}).ok());
  EXPECT_EQ(states(), "4 END OK, 3 AVAILABLE OK, 2 END OK, 1 AVAILABLE OK");
  EXPECT_EQ(live(), 3);
}

TEST_F(ModelManagerTest, Labels) {
  write_version("base/1", make_small_bundle(1));
  write_version("base/2", make_small_bundle(2));
  ModelConfig given = config(AllVersions{});
  given.labels = {{"stable", 1}, {"canary", 2}};
  serve({given});
  EXPECT_EQ((*core_->models.find({"m", std::nullopt, "stable"}))->version(), 1);
  EXPECT_EQ((*core_->models.find({"m", std::nullopt, "canary"}))->version(), 2);
  given.labels = {{"stable", 3}};
  const RpcStatus refused = core_->models.reload({given});
  EXPECT_EQ(refused.code(), RpcCode::kFailedPrecondition);
  EXPECT_EQ(refused.message(), "model \"m\": label \"stable\" is for version 3, which is not available");
  EXPECT_EQ((*core_->models.find({"m", std::nullopt, "stable"}))->version(), 1);
  write_version("base/3", make_small_bundle(3));
  core_->models.poll_now();
  EXPECT_EQ((*core_->models.find({"m", std::nullopt, "stable"}))->version(), 3) << "as soon as it is there";
  EXPECT_FALSE(core_->models.find({"m", std::nullopt, "canary"}).ok());
}

TEST_F(ModelManagerTest, SeveralModels) {
  write_version("a/1", make_small_bundle(1, 3));
  write_version("b/1", make_small_bundle(1, 5));
  serve({{"a", path("a"), {}, {}}, {"b", path("b"), {}, {}}});
  EXPECT_EQ(found("a")->labels().size(), 3U);
  EXPECT_EQ(found("b")->labels().size(), 5U);
  EXPECT_EQ(core_->models.names(), (std::vector<std::string>{"a", "b"}));
  const std::weak_ptr<const Servable> old = found("b");
  ASSERT_TRUE(core_->models.reload({{"a", path("b"), {}, {}}}).ok());
  EXPECT_EQ(found("a")->labels().size(), 5U) << "another base path brings other versions";
  EXPECT_EQ(found("b"), nullptr);
  EXPECT_TRUE(old.expired());
}

TEST_F(ModelManagerTest, NothingThereYet) {
  serve({config()});
  EXPECT_FALSE(core_->ready());
  EXPECT_EQ(states(),
            "Could not find any versions of model m (" + path("base") + ": No such file or directory)");
  write_version("base/1", make_small_bundle(1));
  core_->models.poll_now();
  EXPECT_TRUE(core_->ready());
}

TEST_F(ModelManagerTest, RefusesConfigurationsThatMakeNoSense) {
  serve({});
  EXPECT_FALSE(core_->ready()) << "no model at all";
  const std::vector<std::pair<std::vector<ModelConfig>, std::string>> cases = {
      {{{"", "b", {}, {}}}, "has no name"},
      {{{"a/b", "b", {}, {}}}, "has a '/'"},
      {{{"a:b", "b", {}, {}}}, "has a '/' or ':'"},
      {{{"a", "", {}, {}}}, "has no base_path"},
      {{{"a", "b", {}, {}}, {"a", "c", {}, {}}}, "is configured twice"},
      {{{"a", "b", LatestVersions{0}, {}}}, "num_versions: 0"},
      {{{"a", "b", SpecificVersions{}, {}}}, "names no version"},
      {{{"a", "b", SpecificVersions{{-1}}, {}}}, "version -1"},
      {{{"a", "b", {}, {{"", 1}}}}, "label is empty"},
      {{{"a", "b", {}, {{"l", -1}}}}, "label \"l\" is for version -1"},
  };
  for (const auto& [configs, expected] : cases) {
    const RpcStatus status = core_->models.reload(configs);
    EXPECT_EQ(status.code(), RpcCode::kInvalidArgument);
    EXPECT_THAT(status.message(), HasSubstr(expected));
  }
}

TEST_F(ModelManagerTest, ListsOnlyTheLastVersionsThatWereLetGo) {
  write_version("base/1", make_small_bundle(1));
  serve({config()});
  for (int i = 2; i < 30; ++i) {
    fs::rename(path("base/" + std::to_string(i - 1)), path("base/" + std::to_string(i)));
    core_->models.poll_now();
    ASSERT_EQ(live(), i);
  }
  core_->models.poll_now();
  EXPECT_LE(core_->models.status({"m", std::nullopt, ""})->size(), 17U);
}

// The promise of a swap: every call has an answer, of one version or the other and of no mixture.
TEST_F(ModelManagerTest, SwapsUnderLoad) {
  constexpr int kSwaps = 20;
  const std::vector<std::byte> picture = make_picture(1);
  const EncodedImage image(picture);
  std::vector<std::vector<float>> expected;
  for (uint64_t seed = 0; seed < 2; ++seed) {
    const auto bundle = std::make_shared<const Bundle>(make_small_bundle(seed));
    const auto model = Model::make(bundle, builtin_ops());
    expected.push_back(*model->classify({&image, 1}).front());
    write_version("spare/" + std::to_string(seed), *bundle);
  }
  fs::create_directories(path("base"));
  fs::copy(path("spare/0"), path("base/100"));
  serve({config()});
  std::atomic<bool> stop{false};
  std::atomic<int> answers{0};
  std::atomic<int> wrong{0};
  {
    std::vector<std::jthread> clients;
    for (int i = 0; i < 3; ++i) {
      clients.emplace_back([&] {
        while (!stop) {
          const auto servable = found("m");
          if (servable == nullptr) {
            ++wrong;
            continue;
          }
          const auto scores = core_->predictor.run(*servable, {&image, 1}, {});
          const auto& right = expected[static_cast<size_t>(servable->version() % 2)];
          ++(scores.ok() && scores->values == right ? answers : wrong);
        }
      });
    }
    for (int i = 1; i <= kSwaps; ++i) {
      fs::copy(path("spare/" + std::to_string(i % 2)), path("base/.copying"));
      fs::rename(path("base/.copying"), path("base/" + std::to_string(100 + i)));
      fs::remove_all(path("base/" + std::to_string(99 + i)));
      core_->models.poll_now();
      EXPECT_EQ(live(), 100 + i);
    }
    stop = true;
  }
  EXPECT_GT(answers, 0);
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace nacre
