// Many threads share one model and must all get the same bits: threads MODEL.nacre IMAGE
#include <nacre/runtime/model.h>

#include <atomic>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const auto model = nacre::Model::load(argv[1]);
  if (!model.ok()) return std::fprintf(stderr, "%s\n", model.status().message().c_str()), 1;
  const std::vector<std::string> images(5, argv[2]);
  const auto expected = model->classify_files(images);
  if (!expected.front().ok()) return 1;
  std::atomic<int> different = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&, copy = *model] {
      for (int repeat = 0; repeat < 20; ++repeat) {
        for (const auto& answer : copy.classify_files(images)) {
          if (!answer.ok() || *answer != *expected.front()) ++different;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::printf("%d answers differ\n", different.load());
  return different == 0 ? 0 : 1;
}
