// More than 2 GiB of weights, item 30. The weights are zeros that the kernel makes from one page, so that the
// test costs disk but hardly memory.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <filesystem>

#include "serialize/checkpoint_file.h"
#include "test_files.h"

namespace nacre {
namespace {

TEST(LargeFileTest, MoreThanTwoGibibytesOfWeights) {
  constexpr int64_t kElements = (int64_t{1} << 29) + 1024;
  constexpr size_t kBytes = static_cast<size_t>(kElements) * sizeof(float);
  void* zeros = mmap(nullptr, kBytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  ASSERT_NE(zeros, MAP_FAILED);
  const std::shared_ptr<void> owner(zeros, [](void* memory) { munmap(memory, kBytes); });
  Checkpoint checkpoint = sample_checkpoint();
  ASSERT_TRUE(
      checkpoint.variables.add("big", Tensor(Shape{kElements}, static_cast<const float*>(zeros), owner))
          .ok());
  ASSERT_TRUE(checkpoint.variables.add("last", make_tensor({2}, {1, 2})).ok());

  const TempFolder folder;
  const Status status = write_checkpoint(folder.file("a"), checkpoint, false);
  ASSERT_TRUE(status.ok()) << status.message();
  EXPECT_GT(std::filesystem::file_size(folder.file("a")), kBytes);
  const auto read = read_checkpoint(folder.file("a"));
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read->variables.find("big")->shape(), Shape({kElements}));
  EXPECT_EQ(read->variables.find("big")->data()[kElements - 1], 0.0F);
  EXPECT_EQ(read->variables.find("last")->data()[1], 2.0F);
}

}  // namespace
}  // namespace nacre
