#include "cli/serve/serve_main.h"

int main(int argc, char** argv) {
  return nacre::run_server(argc, argv);
}
