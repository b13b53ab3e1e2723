#include "cli/tensorboard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/cli/run_fixture.h"

namespace nacre {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

class TensorBoardTest : public RunTest {
 protected:
  /// The bytes of all event files of RUN/events/`kind`, in the order of their names.
  [[nodiscard]] std::string events(const std::string& run, const std::string& kind) const {
    const std::string folder = run + "/events/" + kind;
    if (!exists(folder)) return "";
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(path(folder))) names.push_back(entry.path().filename());
    std::sort(names.begin(), names.end());
    std::string bytes;
    for (const std::string& name : names) bytes += read(folder + "/" + name);
    return bytes;
  }
  [[nodiscard]] size_t files(const std::string& run, const std::string& kind) const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(path(run + "/events/" + kind)), {}));
  }
};

// What TensorBoard itself reads in these files is for tests/judges.
TEST_F(TensorBoardTest, ScalarsByDefaultAllOnRequestNoneOnRequest) {
  ASSERT_EQ(train("scalars").code, 0);
  const std::string numbers = events("scalars", "train");
  for (const std::string tag : {"batch_loss", "batch_accuracy", "batch_learning_rate",
                                "batch_images_per_second", "epoch_loss", "epoch_learning_rate", "config"})
    EXPECT_THAT(numbers, HasSubstr(tag));
  EXPECT_THAT(numbers, Not(HasSubstr("histogram")));
  EXPECT_THAT(numbers, Not(HasSubstr("images_augmented")));
  const std::string validation = events("scalars", "validation");
  for (const std::string tag : {"evaluation_loss_vs_iterations", "evaluation_accuracy_vs_iterations",
                                "epoch_accuracy", "confusion_matrix"})
    EXPECT_THAT(validation, HasSubstr(tag));

  ASSERT_EQ(train("all", {"--events", "all", "--augment", "flip"}).code, 0);
  EXPECT_THAT(events("all", "train"), HasSubstr("out/kernel/histogram"));
  EXPECT_THAT(events("all", "train"), Not(HasSubstr("adam_m/histogram")));
  EXPECT_THAT(events("all", "train"), HasSubstr("images_augmented"));

  ASSERT_EQ(train("none", {"--events", "none"}).code, 0);
  EXPECT_FALSE(exists("none/events"));
  EXPECT_TRUE(identical("none", "scalars"));

  const Outcome wrong = train("wrong", {"--events", "some"});
  EXPECT_EQ(wrong.code, 2);
  EXPECT_THAT(wrong.err, HasSubstr("--events"));
}

TEST_F(TensorBoardTest, AResumedRunAddsAFileAndAReplacedOneStartsAnew) {
  ASSERT_EQ(train("run").code, 0);
  EXPECT_EQ(files("run", "train"), 1U);
  ASSERT_EQ(train("run", {"--resume", "--epochs", "3"}).code, 0);
  EXPECT_EQ(files("run", "train"), 2U);
  EXPECT_EQ(files("run", "validation"), 2U);
  write("run/events/train/notes.txt", "mine");
  ASSERT_EQ(train("run", {"--overwrite"}).code, 0);
  EXPECT_EQ(files("run", "train"), 2U);  // the new one and the user's own
  EXPECT_EQ(files("run", "validation"), 1U);
  EXPECT_EQ(read("run/events/train/notes.txt"), "mine");
}

TEST(ConfusionPicture, TheShareOfTheTrueClassIsTheColour) {
  Confusion confusion(2);
  confusion.add(0, 0, 3);
  confusion.add(0, 1);
  const Image picture = confusion_picture(confusion);
  ASSERT_EQ(picture.width, 512);
  ASSERT_EQ(picture.pixels.size(), 512U * 512U * 3U);
  const auto red = [&](size_t x, size_t y) { return int{picture.pixels[(y * 512 + x) * 3]}; };
  EXPECT_NEAR(red(10, 10), 247 - 0.75 * 239, 1);
  EXPECT_NEAR(red(500, 10), 247 - 0.25 * 239, 1);
  EXPECT_EQ(red(10, 500), 247);  // a class without images
  Confusion single(1);
  single.add(0, 0);
  EXPECT_EQ(confusion_picture(single).pixels[0], 8);
}

}  // namespace
}  // namespace nacre
