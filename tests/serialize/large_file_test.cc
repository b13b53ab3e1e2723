// More than 2 GiB of weights, item 30. The weights are zeros that the kernel makes from one page, and they
// are left out of the file as holes, so that the test costs neither memory nor disk.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>

#include "faulty_file_system.h"
#include "serialize/bundle_file.h"
#include "serialize/checkpoint_file.h"
#include "test_files.h"

namespace nacre {
namespace {

/// Makes holes of writes that are all zeros. The last write of a file must not be one.
class SparseFileSystem final : public FaultyFileSystem {
 public:
  ssize_t write(int fd, const void* data, size_t size) override {
    const char* bytes = static_cast<const char*>(data);
    const bool zeros = bytes[0] == 0 && std::memcmp(bytes, bytes + 1, size - 1) == 0;
    if (!zeros) return FaultyFileSystem::write(fd, data, size);
    return lseek(fd, static_cast<off_t>(size), SEEK_CUR) == -1 ? -1 : static_cast<ssize_t>(size);
  }
};

constexpr int64_t kElements = (int64_t{1} << 29) + 1024;
constexpr size_t kBytes = static_cast<size_t>(kElements) * sizeof(float);

/// Adds more than 2 GiB of zeros, and a variable behind them.
void add_large(VariableStore& variables) {
  void* zeros = mmap(nullptr, kBytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  ASSERT_NE(zeros, MAP_FAILED);
  // Only to be quicker.
  madvise(zeros, kBytes, MADV_HUGEPAGE);
  const std::shared_ptr<void> owner(zeros, [](void* memory) { munmap(memory, kBytes); });
  ASSERT_TRUE(variables.add("big", Tensor(Shape{kElements}, static_cast<const float*>(zeros), owner)).ok());
  ASSERT_TRUE(variables.add("last", make_tensor({2}, {1, 2})).ok());
}

void expect_large(const std::string& path, const VariableStore& variables) {
  EXPECT_GT(std::filesystem::file_size(path), kBytes);
  ASSERT_NE(variables.find("big"), nullptr);
  EXPECT_EQ(variables.find("big")->shape(), Shape({kElements}));
  EXPECT_EQ(variables.find("big")->data()[kElements - 1], 0.0F);
  EXPECT_EQ(variables.find("last")->data()[1], 2.0F);
}

TEST(LargeFileTest, ACheckpointOfMoreThanTwoGibibytes) {
  Checkpoint checkpoint = sample_checkpoint();
  ASSERT_NO_FATAL_FAILURE(add_large(checkpoint.variables));
  const TempFolder folder;
  SparseFileSystem file_system;
  const Status status = write_checkpoint(folder.file("a"), checkpoint, false, file_system);
  ASSERT_TRUE(status.ok()) << status.message();
  const auto read = read_checkpoint(folder.file("a"));
  ASSERT_TRUE(read.ok()) << read.status().message();
  expect_large(folder.file("a"), read->variables);
}

TEST(LargeFileTest, ABundleOfMoreThanTwoGibibytes) {
  Bundle bundle = sample_bundle();
  ASSERT_NO_FATAL_FAILURE(add_large(bundle.variables));
  const TempFolder folder;
  SparseFileSystem file_system;
  const Status status = write_bundle(folder.file("a"), bundle, {}, file_system);
  ASSERT_TRUE(status.ok()) << status.message();
  const auto read = read_bundle(folder.file("a"));
  ASSERT_TRUE(read.ok()) << read.status().message();
  expect_large(folder.file("a"), read->variables);
}

}  // namespace
}  // namespace nacre
