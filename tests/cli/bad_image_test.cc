// Images that turn out to be bad in the middle of a training.
#include <sys/resource.h>

#include <filesystem>

#include "image/encode.h"
#include "tests/cli/run_fixture.h"

namespace nacre {
namespace {

namespace fs = std::filesystem;

using testing::HasSubstr;
using testing::Not;

class BadImageTest : public RunTest {
 protected:
  void SetUp() override {
    RunTest::SetUp();
    write_csv("faces");
    write_colour_model("colour.json");
  }
  [[nodiscard]] Outcome train(const std::string& run, const std::vector<std::string>& more = {}) const {
    std::vector<std::string> arguments{
        "train",    "--model", "colour.json", "--data", "faces/list.csv", "--out", run,
        "--epochs", "2",       "--threads",   "1",      "--batch-size",   "2",     "--no-shuffle"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return nacre(arguments);
  }
  /// The same file without its end marker.
  void damage(const std::string& jpeg) const {
    std::string bytes = read(jpeg);
    bytes.replace(bytes.size() - 2, 2, 2, '\0');
    write(jpeg, bytes);
  }
};

TEST_F(BadImageTest, StepsBeforeItAreKept) {
  ASSERT_EQ(train("whole").code, 0);
  const std::string good = read("faces/faces07.jpg");
  damage("faces/faces07.jpg");
  for (const std::vector<std::string>& more : {std::vector<std::string>{}, {"--resume"}}) {
    const Outcome outcome = train("run", more);
    EXPECT_EQ(outcome.code, 3) << outcome.err;
    EXPECT_THAT(lines_of(outcome.err).back(), HasSubstr("faces/faces07.jpg: "));
    EXPECT_THAT(lines_of(outcome.err).back(), HasSubstr("; step 3 is kept: --resume goes on from there"));
    EXPECT_EQ(fs::read_symlink(path("run/checkpoints/latest")), "step-00000003.ckpt");
    EXPECT_EQ(metrics("run").size(), 3U);
  }
  write("faces/faces07.jpg", good);
  const Outcome outcome = train("run", {"--resume"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_TRUE(identical("whole", "run"));
}

TEST_F(BadImageTest, StepsBeforeItAreKeptWhenItIsLeftOut) {
  damage("faces/faces07.jpg");
  ASSERT_EQ(train("run").code, 3);
  const Outcome outcome = train("run", {"--resume", "--skip-bad", "1", "--force"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("going on from step 3"));
}

TEST_F(BadImageTest, StepsBeforeAValidationThatFailsAreKept) {
  write("faces/held_out.csv", read("faces/list.csv"));
  fs::copy(path("faces"), path("others"));
  damage("others/faces07.jpg");
  const Outcome outcome = train("run", {"--validation", "others/held_out.csv", "--validate-every", "2"});
  EXPECT_EQ(outcome.code, 3) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("others/faces07.jpg: "));
  EXPECT_THAT(outcome.err, HasSubstr("; step 2 is kept"));
  ASSERT_EQ(metrics("run").size(), 2U);
  EXPECT_FALSE(metrics("run").back().contains("validation_loss"));
}

#ifndef __SANITIZE_ADDRESS__  // which needs all of the address space
TEST_F(BadImageTest, OneThatMemoryDoesNotSufficeForIsNamed) {
  const Image image{8000, 8000, 3, std::vector<uint8_t>(size_t{8000} * 8000 * 3, 7)};
  const auto bytes = encode_jpeg(image, 50);
  ASSERT_TRUE(bytes.ok());
  write("faces/big.jpg", {reinterpret_cast<const char*>(bytes->data()), bytes->size()});
  write("faces/list.csv", "big.jpg,upper,0\nfaces01.png,lower,1\n");
  rlimit limit{};
  ASSERT_EQ(getrlimit(RLIMIT_AS, &limit), 0);
  for (const std::vector<std::string>& more :
       {std::vector<std::string>{}, {"--skip-bad", "1", "--overwrite"}}) {
    Outcome outcome;
    {
      std::vector<std::string> arguments{"train", "--model", "colour.json", "--data", "faces/list.csv",
                                         "--out", "run",     "--steps",     "1",      "--threads",
                                         "1"};
      arguments.insert(arguments.end(), more.begin(), more.end());
      const rlimit small{rlim_t{180} << 20, limit.rlim_max};
      ASSERT_EQ(setrlimit(RLIMIT_AS, &small), 0);
      Process process(arguments, folder_);
      ASSERT_EQ(setrlimit(RLIMIT_AS, &limit), 0);
      outcome = process.wait();
    }
    EXPECT_EQ(outcome.code, 7) << outcome.err;
    EXPECT_THAT(lines_of(outcome.err).back(), HasSubstr("faces/big.jpg: out of memory"));
  }
}
#endif

TEST_F(BadImageTest, BeforeTheFirstStepThereIsNothingToKeep) {
  write("faces/list.csv", "faces02.jpg,upper,0\nfaces01.png,lower,1\n");
  damage("faces/faces02.jpg");
  const Outcome outcome = train("run");
  EXPECT_EQ(outcome.code, 3) << outcome.err;
  EXPECT_THAT(outcome.err, Not(HasSubstr("kept")));
}

}  // namespace
}  // namespace nacre
