// Says what is in an image: classify MODEL.nacre IMAGE.jpg...
#include <nacre/runtime/model.h>

#include <cstdio>
#include <string>
#include <vector>

int main(int argc, char** argv) {
  if (argc < 3) return std::fprintf(stderr, "usage: classify MODEL.nacre IMAGE...\n"), 2;
  const auto model = nacre::Model::load(argv[1]);
  if (!model.ok()) return std::fprintf(stderr, "%s\n", model.status().message().c_str()), 1;
  int bad = 0;
  for (const auto& answer : model->classify_files(std::vector<std::string>(argv + 2, argv + argc))) {
    if (answer.ok()) {
      const nacre::Prediction best = model->best(*answer).front();
      std::printf("%s %.1f%%\n", best.label.c_str(), 100 * best.probability);
    } else {
      std::fprintf(stderr, "%s\n", answer.status().message().c_str());
      ++bad;
    }
  }
  return bad == 0 ? 0 : 1;
}
