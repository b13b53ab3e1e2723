// Run folders whose links `latest` and `best` are not as `train` left them: by copies that drop or follow
// links, by hand, by damage.
#include <filesystem>

#include "tests/cli/run_fixture.h"

namespace nacre {
namespace {

namespace fs = std::filesystem;

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

class RunLinksTest : public RunTest {
 protected:
  void SetUp() override {
    RunTest::SetUp();
    ASSERT_EQ(train("whole", {"--epochs", "4", "--keep", "9"}).code, 0);
    ASSERT_EQ(train("run", {"--keep", "9"}).code, 0);
    ASSERT_THAT(checkpoints("run"),
                ElementsAre("best", "latest", "step-00000006.ckpt", "step-00000012.ckpt"));
  }
  [[nodiscard]] std::string target(const std::string& link) const {
    return fs::read_symlink(path("run/checkpoints/" + link)).string();
  }
  void damage(const std::string& file) const {
    std::string bytes = read(file);
    bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
    write(file, bytes);
  }
  [[nodiscard]] Outcome resume() const {
    return nacre({"train", "--resume", "--out", "run", "--epochs", "4"});
  }
  [[nodiscard]] Outcome eval() const { return nacre({"eval", "run", "--data", "idx"}); }
};

TEST_F(RunLinksTest, WithoutLinksARunGoesOnFromItsNewestCheckpoint) {
  const std::string best = target("best");
  fs::remove(path("run/checkpoints/latest"));
  fs::remove(path("run/checkpoints/best"));
  expect_one_line(eval(), 3,
                  "run/checkpoints/latest: leads to no checkpoint; give run/checkpoints/step-00000012.ckpt");
  // Without a step to do, too, the links are there again.
  ASSERT_EQ(nacre({"train", "--resume", "--out", "run"}).code, 0);
  EXPECT_EQ(target("latest"), "step-00000012.ckpt");
  EXPECT_EQ(target("best"), best);
  fs::remove(path("run/checkpoints/latest"));
  const Outcome outcome = resume();
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.err,
              AllOf(HasSubstr("run/checkpoints/latest: leads to no checkpoint; going on from the "
                              "newest that can be read, step-00000012.ckpt\n"),
                    Not(HasSubstr("anew"))));
  EXPECT_TRUE(identical("whole", "run"));
  EXPECT_EQ(metrics("run").size(), 24U);
}

TEST_F(RunLinksTest, OfDamagedCheckpointsTheNewestWholeOneIsTakenOrNamed) {
  damage("run/checkpoints/step-00000012.ckpt");
  fs::remove(path("run/checkpoints/best"));
  const std::string whole = "run/checkpoints/step-00000006.ckpt";
  const std::string place = "; give " + whole + " in its place";
  expect_one_line(eval(), 4, place);
  for (const char* command : {"inspect", "verify"}) expect_one_line(nacre({command, "run"}), 4, place);
  expect_one_line(nacre({"diff", "whole", "run"}), 4, place);
  expect_one_line(nacre({"convert", "run", "--to", "tf_checkpoint", "--out", "tf/model"}), 4, place);
  write("run/checkpoints/step-00000012.ckpt", "");
  for (const char* command : {"inspect", "verify"}) expect_one_line(nacre({command, "run"}), 4, place);
  expect_one_line(resume(), 4, "without the link latest, --resume would go on from " + whole);
  fs::remove(path("run/checkpoints/latest"));
  const Outcome outcome = resume();
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_TRUE(identical("whole", "run"));
}

TEST_F(RunLinksTest, WithoutAReadableCheckpointNothingIsRemoved) {
  for (const char* name : {"step-00000006.ckpt", "step-00000012.ckpt"}) {
    damage(std::string("run/checkpoints/") + name);
  }
  fs::remove(path("run/checkpoints/latest"));
  expect_one_line(resume(), 4, "run/checkpoints/step-00000012.ckpt: ");
  EXPECT_THAT(checkpoints("run"), ElementsAre("best", "step-00000006.ckpt", "step-00000012.ckpt"));
  EXPECT_EQ(metrics("run").size(), 12U);
}

TEST_F(RunLinksTest, ALinkThatLeadsNowhereIsNamed) {
  fs::remove(path("run/checkpoints/" + target("best")));
  fs::remove(path("run/checkpoints/best"));
  fs::create_symlink("step-00000099.ckpt", path("run/checkpoints/best"));
  expect_one_line(eval(), 3, "run/checkpoints/best: leads to no checkpoint; give run/checkpoints/step-");
}

TEST_F(RunLinksTest, ACopyThatFollowedLinksGoesOn) {
  const std::string best = target("best");
  for (const char* link : {"latest", "best"}) {
    const std::string name = target(link);
    fs::remove(path(std::string("run/checkpoints/") + link));
    fs::copy_file(path("run/checkpoints/" + name), path(std::string("run/checkpoints/") + link));
  }
  fs::remove(path("run/checkpoints/step-00000012.ckpt"));
  EXPECT_EQ(eval().code, 0);
  ASSERT_EQ(nacre({"train", "--resume", "--out", "run"}).code, 0);
  EXPECT_EQ(target("latest"), "step-00000012.ckpt");
  EXPECT_EQ(target("best"), best);
  const Outcome outcome = resume();
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_TRUE(identical("whole", "run"));
}

}  // namespace
}  // namespace nacre
