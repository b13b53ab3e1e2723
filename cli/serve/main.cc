#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>

#include "cli/serve/serve_main.h"

int main(int argc, char** argv) {
  // OpenMP's threads, which --tensorflow_intra_op_parallelism asks for, must not spin while they wait: the
  // CPU is for other requests. OpenMP reads this when it is loaded, which is before main.
  if (std::getenv("OMP_WAIT_POLICY") == nullptr && setenv("OMP_WAIT_POLICY", "passive", 1) == 0) {
    std::error_code error;
    const std::string self = std::filesystem::read_symlink("/proc/self/exe", error).string();
    if (!error) execv(self.c_str(), argv);  // without it the server still works
  }
  return nacre::run_server(argc, argv);
}
