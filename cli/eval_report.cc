#include "cli/eval_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <tuple>

#include "cli/console.h"

namespace nacre {
namespace {

/// Of more, the JSON lists the cells that are not zero: a matrix would be nearly all zeros, and megabytes of
/// them.
constexpr size_t kMostMatrixClasses = 1000;

/// How one class did.
struct ClassScore {
  int64_t count = 0;      ///< images of the class
  int64_t predicted = 0;  ///< images taken for it
  int64_t correct = 0;

  static std::optional<double> ratio(int64_t part, int64_t whole) {
    if (whole == 0) return std::nullopt;
    return static_cast<double>(part) / static_cast<double>(whole);
  }
  [[nodiscard]] std::optional<double> precision() const { return ratio(correct, predicted); }
  [[nodiscard]] std::optional<double> recall() const { return ratio(correct, count); }
  [[nodiscard]] std::optional<double> f1() const { return ratio(2 * correct, count + predicted); }
};

std::vector<ClassScore> class_scores(const Evaluation& evaluation) {
  std::vector<ClassScore> scores(evaluation.confusion.classes());
  for (const auto& [pair, n] : evaluation.confusion.cells()) {
    const auto& [truth, guess] = pair;
    scores[truth].count += n;
    scores[guess].predicted += n;
    if (truth == guess) scores[truth].correct += n;
  }
  return scores;
}

std::string percent(const std::optional<double>& share) {
  return share.has_value() ? fmt::format("{:.1f}%", 100 * *share) : "-";
}

/// "3 shirt"; "3" where the class has no other name.
std::string numbered(size_t index, const std::string& label) {
  const std::string number = std::to_string(index);
  return label == number ? number : number + " " + label;
}

std::string matrix_text(const Evaluation& evaluation, const std::vector<std::string>& labels) {
  std::vector<Table::Column> columns{{"true \\ predicted"}};
  for (size_t i = 0; i < labels.size(); ++i) columns.push_back({std::to_string(i), Table::Align::kRight});
  Table table(std::move(columns));
  for (size_t i = 0; i < labels.size(); ++i) {
    std::vector<std::string> row{numbered(i, labels[i])};
    for (size_t j = 0; j < labels.size(); ++j) {
      const int64_t n = evaluation.confusion.at(i, j);
      row.push_back(n == 0 ? "." : std::to_string(n));
    }
    table.add_row(std::move(row));
  }
  return "Confusion matrix (rows: true class, columns: predicted class)\n" + table.to_string();
}

std::string confusions_text(const Evaluation& evaluation, const std::vector<std::string>& labels) {
  constexpr size_t kMostShown = 20;
  std::vector<std::tuple<int64_t, size_t, size_t>> pairs;
  for (const auto& [pair, n] : evaluation.confusion.cells()) {
    if (pair.first != pair.second) pairs.emplace_back(-n, pair.first, pair.second);
  }
  if (pairs.empty()) return "No class was taken for another.\n";
  std::sort(pairs.begin(), pairs.end());
  pairs.resize(std::min(pairs.size(), kMostShown));
  Table table({{"true class"}, {"taken for"}, {"images", Table::Align::kRight}});
  for (const auto& [minus, i, j] : pairs) table.add_row({labels[i], labels[j], with_commas(-minus)});
  return "Most confused (--json gives all)\n" + table.to_string();
}

/// The matrix as a list of its rows.
nlohmann::ordered_json matrix_json(const Confusion& confusion) {
  std::vector<std::vector<int64_t>> rows(confusion.classes(), std::vector<int64_t>(confusion.classes()));
  for (const auto& [pair, n] : confusion.cells()) rows[pair.first][pair.second] = n;
  return rows;
}

nlohmann::ordered_json cells_json(const Confusion& confusion) {
  nlohmann::ordered_json cells = nlohmann::ordered_json::array();
  for (const auto& [pair, n] : confusion.cells()) cells.push_back({pair.first, pair.second, n});
  return cells;
}

}  // namespace

std::string eval_json(const Evaluation& evaluation, const std::vector<std::string>& labels) {
  const auto number = [](const std::optional<double>& x) {
    return x.has_value() ? nlohmann::ordered_json(*x) : nlohmann::ordered_json(nullptr);
  };
  nlohmann::ordered_json json;
  json["accuracy"] = evaluation.accuracy();
  json["loss"] = evaluation.loss;
  json["count"] = evaluation.count;
  json["per_class"] = nlohmann::ordered_json::array();
  const std::vector<ClassScore> scores = class_scores(evaluation);
  for (size_t i = 0; i < scores.size(); ++i) {
    json["per_class"].push_back({{"label", labels[i]},
                                 {"index", i},
                                 {"count", scores[i].count},
                                 {"precision", number(scores[i].precision())},
                                 {"recall", number(scores[i].recall())},
                                 {"f1", number(scores[i].f1())}});
  }
  if (evaluation.confusion.classes() <= kMostMatrixClasses) {
    json["confusion"] = matrix_json(evaluation.confusion);
  } else {
    json["confusion"] = nullptr;
    json["confusion_cells"] = cells_json(evaluation.confusion);
  }
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

std::string eval_text(const Evaluation& evaluation, const std::vector<std::string>& labels) {
  constexpr size_t kMostColumns = 20;
  std::string text =
      fmt::format("Accuracy {:.2f}% ({} of {} images), loss {:.4f}\n\n", 100 * evaluation.accuracy(),
                  with_commas(evaluation.correct), with_commas(evaluation.count), evaluation.loss);
  Table table({{"class"},
               {"images", Table::Align::kRight},
               {"precision", Table::Align::kRight},
               {"recall", Table::Align::kRight},
               {"F1", Table::Align::kRight}});
  const std::vector<ClassScore> scores = class_scores(evaluation);
  for (size_t i = 0; i < scores.size(); ++i) {
    table.add_row({numbered(i, labels[i]), with_commas(scores[i].count), percent(scores[i].precision()),
                   percent(scores[i].recall()), percent(scores[i].f1())});
  }
  text += table.to_string() + "\n";
  return text + (labels.size() <= kMostColumns ? matrix_text(evaluation, labels)
                                               : confusions_text(evaluation, labels));
}

}  // namespace nacre
