#include <fmt/format.h>
#include <fmt/ranges.h>

#include <utility>

#include "cli/console.h"
#include "cli/convert.h"
#include "cli/export_bundle.h"
#include "cli/open_model.h"
#include "cli/output_file.h"
#include "cli/shell_word.h"
#include "runtime/golden.h"
#include "serialize/tensorflow/saved_model_writer.h"

namespace nacre {
namespace {

Status usage(const std::string& reason) {
  return {StatusCode::kUsage, "convert --to saved_model: " + reason};
}

Status check_options(const ConvertOptions& options) {
  if (!options.labels.empty()) return usage("--labels has no meaning here: the bundle has its labels");
  if (!options.map.empty()) return usage("--map has no meaning here");
  if (!options.input_size.empty()) return usage("--input-size has no meaning here");
  if (!options.compat.empty() && options.compat != "reference") {
    return usage(fmt::format("--compat {}: known is reference", options.compat));
  }
  const std::string& signature = options.default_signature;
  if (!signature.empty() && signature != "image" && signature != "float") {
    return usage(fmt::format("--default-signature {}: known are image, float", signature));
  }
  if (!options.compat.empty() && signature == "float") {
    return usage("--compat reference takes encoded images: leave --default-signature float out");
  }
  return {};
}

/// "encoded_image: image string [-1] -> prediction float32 [-1, 5]"
std::string described(const Signature& signature) {
  const auto tensors = [](const std::vector<SignatureTensor>& list) {
    std::string text;
    for (const SignatureTensor& tensor : list) {
      text += fmt::format("{}{} {} [{}]", text.empty() ? "" : ", ", tensor.name, tensor.dtype,
                          fmt::join(tensor.shape, ", "));
    }
    return text;
  };
  return fmt::format("{}: {} -> {}", signature.name, tensors(signature.inputs), tensors(signature.outputs));
}

Status report(const std::string& out, const SavedModelOptions& options, const OpenedModel& opened,
              const std::vector<Signature>& signatures) {
  const Bundle& bundle = opened.model;
  std::string model = bundle.name;
  if (opened.kind == FileKind::kCheckpoint) {
    model += " at step " + with_commas(static_cast<int64_t>(opened.state.step));
  }
  std::string text = fmt::format("Wrote {}: {}, {} classes, {} variables, {} golden vectors.\nSignatures:\n",
                                 out, model, signatures.back().outputs.back().shape.back(),
                                 bundle.variables.size(), bundle.golden.size());
  for (const Signature& signature : signatures) text += "  " + described(signature) + "\n";
  if (options.reference && bundle.contract.jpeg_dct == JpegDct::kAccurate) {
    text +=
        "JPEGs are decoded by TensorFlow's default method here, accurately in the bundle: answers differ by "
        "about 1e-3.\n";
  }
  text += fmt::format(
      "Next: saved_model_cli show --dir {} --all\n"
      "      nacre serve --model_base_path=FOLDER serves what is FOLDER/1, and so does "
      "tensorflow_model_server\n",
      shell_word(out));
  return print(text);
}

}  // namespace

Status convert_to_saved_model(const Session& session, const ConvertOptions& options) {
  NACRE_RETURN_IF_ERROR(check_options(options));
  OpenOptions open;
  open.model = options.model;
  open.which = RunCheckpoint::kLatest;
  NACRE_ASSIGN_OR_RETURN(OpenedModel opened, open_model(session, options.in, open));
  if (opened.kind == FileKind::kCheckpoint) {
    NACRE_RETURN_IF_ERROR(complete_bundle(session, opened, options.threads));
  }
  SavedModelOptions writing;
  writing.reference = options.compat == "reference";
  writing.float_default = options.default_signature == "float";
  writing.overwrite = options.overwrite;
  if (writing.reference) {
    // The answers that go with the graph are to be those of its decoder.
    const JpegDct own = std::exchange(opened.model.contract.jpeg_dct, JpegDct::kFast);
    NACRE_RETURN_IF_ERROR(
        add_golden_vectors(opened.model, session.registry, session.model_options(1, options.threads)));
    opened.model.contract.jpeg_dct = own;
  }
  // Shells end a folder's name with a slash; its parents are not itself.
  std::string out = options.out;
  while (out.size() > 1 && out.back() == '/') out.pop_back();
  NACRE_RETURN_IF_ERROR(make_parents(out));
  NACRE_ASSIGN_OR_RETURN(const std::vector<Signature> signatures,
                         write_saved_model(out, opened.model, session.registry, writing));
  return report(out, writing, opened, signatures);
}

}  // namespace nacre
