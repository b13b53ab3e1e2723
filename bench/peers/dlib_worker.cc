// dlib's training step of the layers of face96, as a worker like worker.py: dlib_worker BATCH. Of each line
// on standard input, {"warm_up": W, "steps": N}, it takes the two numbers. dlib draws initial values of its
// own.
#include <dlib/dnn.h>
#include <dlib/revision.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

namespace {

template <long filters, long kernel, typename Below>
using ConvPool = dlib::max_pool<2, 2, 2, 2, dlib::relu<dlib::con<filters, kernel, kernel, 1, 1, Below>>>;

template <typename Input>
using Convolutions = ConvPool<128, 5, ConvPool<64, 3, ConvPool<32, 3, ConvPool<16, 3, Input>>>>;

using Network = dlib::loss_multiclass_log<dlib::fc<
    5, dlib::dropout<dlib::relu<dlib::fc<
           256, dlib::relu<dlib::fc<512, Convolutions<dlib::input<dlib::matrix<dlib::rgb_pixel>>>>>>>>>>;

constexpr double kRate = 1e-4;  // of the preset's recipe
constexpr long kSize = 96;

/// The number behind `"key": ` in a line.
int number_of(const std::string& line, const std::string& key) {
  const size_t at = line.find("\"" + key + "\": ");
  return at == std::string::npos ? 0 : std::atoi(line.c_str() + at + key.size() + 4);
}

}  // namespace

int main(int argc, char** argv) {
  const int batch = argc > 1 ? std::atoi(argv[1]) : 0;
  if (batch <= 0) {
    std::cerr << "usage: dlib_worker BATCH\n";
    return 2;
  }
  dlib::rand random(1);
  std::vector<dlib::matrix<dlib::rgb_pixel>> images(static_cast<size_t>(batch));
  std::vector<unsigned long> labels;
  for (auto& image : images) {
    image.set_size(kSize, kSize);
    for (auto& pixel : image) {
      pixel.red = random.get_random_8bit_number();
      pixel.green = random.get_random_8bit_number();
      pixel.blue = random.get_random_8bit_number();
    }
    labels.push_back(labels.size() % 5);
  }
  Network network;
  dlib::resizable_tensor input;
  network.to_tensor(images.begin(), images.end(), input);
  std::vector<dlib::adam> solvers(Network::num_computational_layers, dlib::adam(0, 0.9F, 0.999F));
  const auto step = [&] {
    const double loss = network.compute_parameter_gradients(input, labels.begin());
    network.update_parameters(dlib::make_sstack(solvers), kRate);
    return loss;
  };
  std::printf("{\"version\": \"%d.%d\", \"loss\": %.6f}\n", DLIB_MAJOR_VERSION, DLIB_MINOR_VERSION, step());
  std::fflush(stdout);
  for (std::string line; std::getline(std::cin, line);) {
    const int warm_up = number_of(line, "warm_up");
    const int steps = number_of(line, "steps");
    std::string times;
    for (int i = 0; i < warm_up + steps; ++i) {
      const auto begin = std::chrono::steady_clock::now();
      step();
      const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
      if (i >= warm_up) times += (times.empty() ? "" : ", ") + std::to_string(took.count());
    }
    std::printf("{\"ms\": [%s]}\n", times.c_str());
    std::fflush(stdout);
  }
}
