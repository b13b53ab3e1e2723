#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace nacre {

/// Help in lines that fit a terminal of 80 columns: "--threads N" in place of CLI11's "--threads N:INT in [1
/// - 1024]".
class HelpFormatter : public CLI::Formatter {
 public:
  HelpFormatter();

  std::string make_help(const CLI::App* app, std::string name, CLI::AppFormatMode mode) const override;
  std::string make_option_opts(const CLI::Option* option) const override;
  std::string make_option_desc(const CLI::Option* option) const override;
};

}  // namespace nacre
