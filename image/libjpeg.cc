#include "image/libjpeg.h"

namespace nacre {
namespace {

[[noreturn]] void leave(j_common_ptr info) {
  auto* errors = reinterpret_cast<JpegErrors*>(info->err);
  errors->code = info->err->msg_code;
  errors->parameter = info->err->msg_parm.i[0];
  info->err->format_message(info, errors->message.data());
  std::longjmp(errors->escape, 1);
}

// Negative levels are warnings; the others are traces.
void on_message(j_common_ptr info, int level) {
  if (level < 0) leave(info);
}

void discard(j_common_ptr /*info*/) {}

}  // namespace

jpeg_error_mgr* make_strict(JpegErrors* errors) {
  jpeg_error_mgr* manager = jpeg_std_error(&errors->manager);
  manager->error_exit = leave;
  manager->emit_message = on_message;
  manager->output_message = discard;
  return manager;
}

}  // namespace nacre
