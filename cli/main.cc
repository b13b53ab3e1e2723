#include "cli/command.h"

int main(int argc, char** argv) {
  return nacre::run_command_line(argc, argv);
}
